//! coordinator

pub mod ca;
pub mod serve;
pub mod store;
