//! Fault files: evidence as bytes that somebody else can check offline.
//!
//! The form is protobuf, the inner part under a BLAKE3, so that a file damaged on its way is told from one that proves nothing. Writing
//! is deterministic: one proof gives one file and one name. What reading promises is what [`super`] says; nothing is verified here, not
//! even that a roster's hash is the one an announcement names. Source: protocol, section 28.

mod read;
mod write;

use prost::Message;
use veilsum_common::limits::MAX_FAULT_BYTES;
use veilsum_secagg::Digest;
use veilsum_secagg::evidence::Evidence;

use super::{ConvertError, Problem, at_most, digest};
use crate::pb;

/// How a fault file's name ends.
pub const FILE_EXTENSION: &str = "veilsum-fault";

/// The form that this version writes and reads.
const VERSION: u32 = 1;

/// A fault file, and the name it goes by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FaultFile {
    /// `fault-<kind>-<hash>.veilsum-fault`; the hash is of the evidence, so that the same proof is the same file.
    pub name: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl FaultFile {
    /// Writes evidence down.
    pub fn new(evidence: &Evidence) -> Self {
        let inner = write::evidence(evidence).encode_to_vec();
        let hash = Digest::of_bulk(&inner);
        let id = &hash.to_string()[..16];
        let file = pb::FaultFile {
            version: VERSION,
            evidence: inner,
            blake3: hash.0.to_vec(),
        };
        Self {
            name: format!("fault-{}-{id}.{FILE_EXTENSION}", evidence.word()),
            bytes: file.encode_to_vec(),
        }
    }
}

/// Reads a fault file.
///
/// # Errors
/// [`ConvertError`] if it is too long, of another version, damaged, or not made of what such evidence is made of. Whether it convicts
/// anybody is for [`Evidence::verify`] to say.
pub fn evidence(bytes: &[u8]) -> Result<Evidence, ConvertError> {
    at_most("fault_file", bytes.len(), MAX_FAULT_BYTES, "bytes")?;
    let file: pb::FaultFile = message("fault_file", bytes)?;
    if file.version != VERSION {
        let have = i32::try_from(file.version).unwrap_or(i32::MAX);
        return Err(Problem::Unknown { have }.of("version"));
    }
    if digest("blake3", &file.blake3)? != Digest::of_bulk(&file.evidence) {
        return Err(Problem::Malformed.of("evidence"));
    }
    read::evidence(message("evidence", &file.evidence)?)
}

fn message<M: Message + Default>(field: &'static str, bytes: &[u8]) -> Result<M, ConvertError> {
    M::decode(bytes).map_err(|_| Problem::Malformed.of(field))
}

#[cfg(test)]
mod tests;
