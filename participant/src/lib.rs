//! participant

pub mod enrol;
