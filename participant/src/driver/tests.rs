//! The loop of one run against a coordinator that lies, is silent or goes away.

mod bench;
mod ending;
mod rollback;
