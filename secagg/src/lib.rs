//! Secure aggregation: the cryptography of both roles, without I/O, clock or randomness of its own.
mod bitmap;
mod certificate;
pub mod channel;
mod codec;
mod commitment;
pub mod context;
pub mod coordinator;
mod error;
pub mod graph;
pub mod holder;
pub mod keys;
mod labels;
pub mod mask;
pub mod merkle;
pub mod message;
pub mod params;
pub mod participant;
pub mod prg;
pub mod ring;
pub mod shamir;
#[cfg(test)]
mod tests;

pub use bitmap::{Bitmap, BitmapError};
pub use certificate::{Certificate, CertifiedAbort, CertifiedRoster, CertifiedSurvivors};
pub use codec::{Digest, NotADigest};
pub use commitment::Secret;
pub use error::{Culprit, Error, Fault};
pub use labels::PROTOCOL_VERSION;
