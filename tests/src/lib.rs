//! A federation of real processes on loopback: an authority, a coordinator, sites with their own keys, certificates, pins and data.
//!
//! Nothing here ships. Everything lives in one temporary directory and every child ends with the [`Federation`]. A [`Proxy`] stands
//! between one site and the coordinator where a test must stop time between two messages.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "a harness of tests says plainly that it expects success, and its names say what it does"
)]

mod disk;
mod federation;
pub mod files;
mod process;
mod proxy;
pub mod simulation;
pub mod statistics;
mod study;
pub mod summands;

pub use disk::SmallDisk;
pub use federation::{Federation, Member, free_port, over, patiently};
pub use process::{Process, binary, run_to_end};
pub use proxy::{Call, Moment, Proxy, Sent};
pub use study::Study;
