//! The loop of one run against a coordinator that lies, is silent or goes away.

mod asking;
mod bench;
mod coordinator;
mod ending;
mod floods;
mod rollback;
