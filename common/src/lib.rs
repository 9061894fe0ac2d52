//! The nouns and numerics that both ends share.
//!
//! Where it sits: right of `secagg` (cryptography), left of `engine` (what to do next). Coordinator, participant and
//! command line all read a study, a layout or a limit from here, so that they cannot disagree about it.
//!
//! **Entry rule**: a pure type or a numeric function that both ends use and that is not protocol. Anything else goes
//! home: cryptography to `secagg`, decisions to `engine`, bytes on the wire to `proto`, files and clocks to the daemons.
//!
//! What it deliberately does not do: no I/O, no async, no clock, no randomness, no hash maps. Time, entropy and bytes
//! come in as arguments; equal arguments give equal results, on every processor.

pub mod blob;
pub mod document;
pub mod ids;
pub mod limits;
pub mod metadata;
pub mod model;
pub mod parts;
pub mod quantise;
pub mod run;
pub mod strategy;
pub mod study;
pub mod time;

pub use blob::BlobRef;
pub use ids::{RunId, SiteName};
pub use run::RunSpec;
pub use study::Study;
pub use time::{Span, Timestamp};
