//! participant

pub mod config;
pub mod enrol;
pub mod journal;
pub mod keystore;
pub mod trainer;
pub mod update;

#[cfg(test)]
mod test_support;
