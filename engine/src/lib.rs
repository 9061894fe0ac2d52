//! What to do next: the deterministic machines of both roles, without I/O.
pub mod epoch;
pub mod ledger;
pub mod machine;
pub mod notice;
pub mod participant;
pub mod policy;
pub mod rejection;
pub mod round;
pub mod run;
pub mod terms;
pub mod vault;

#[cfg(test)]
mod tests;
