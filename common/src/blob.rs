//! A name for immutable bytes: their BLAKE3 hash and their length.
//!
//! Vectors never enter a machine or the journal; an event carries a [`BlobRef`] instead. Storing and fetching the bytes
//! is the daemons' business.

use serde::{Deserialize, Serialize};
use veilsum_secagg::Digest;

use crate::ids::digest_hex;

/// Names one immutable byte string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    /// BLAKE3 of the bytes.
    #[serde(with = "digest_hex")]
    pub digest: Digest,
    /// How many bytes there are.
    pub len_bytes: u64,
}

impl BlobRef {
    /// Names `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            digest: Digest::of_bulk(bytes),
            len_bytes: bytes.len() as u64,
        }
    }

    /// Whether this is the name of `bytes`. Compares lengths first, so a wrong length costs no hashing.
    pub fn names(&self, bytes: &[u8]) -> bool {
        self.len_bytes == bytes.len() as u64 && Self::of(bytes) == *self
    }
}

/// The name of bytes that come bit by bit.
#[derive(Clone, Default)]
pub struct BlobHasher {
    hasher: blake3::Hasher,
    len_bytes: u64,
}

impl BlobHasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.len_bytes += bytes.len() as u64;
    }

    /// How many bytes there were.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// The name of all bytes so far.
    pub fn finish(&self) -> BlobRef {
        BlobRef {
            digest: Digest(*self.hasher.finalize().as_bytes()),
            len_bytes: self.len_bytes,
        }
    }
}

#[cfg(test)]
mod tests;
