//! The services, called over gRPC by sites and operators that do not behave.

mod downloads;
mod edge;
mod faults;
mod kit;
mod runs;
mod uploads;
