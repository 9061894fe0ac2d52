//! The loop of one run against a coordinator that lies, is silent or goes away.

mod accusing;
mod asking;
mod bench;
mod coordinator;
#[path = "../../../engine/src/tests/kit/dealer.rs"]
mod dealer;
mod ending;
mod floods;
mod late;
mod models;
mod rollback;
