//! The services, called over gRPC by sites and operators that do not behave.

mod edge;
mod kit;
mod runs;
mod uploads;
