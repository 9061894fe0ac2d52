//! The services, called over gRPC by sites and operators that do not behave.

mod kit;
mod uploads;
