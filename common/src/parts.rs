//! How a masked vector is cut for its way: chunks, which are hashed, and parts of whole chunks, which are made durable.
//!
//! Both ends compute it from the run's parameters, so that nothing about it needs to be said. Source: protocol, section 9.

use std::ops::Range;

use veilsum_secagg::Digest;
use veilsum_secagg::params::Params;
use veilsum_secagg::ring::packed_len;

use crate::blob::BlobHasher;
use crate::limits::PART_CHUNKS;

/// The cut of one run's uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    elements: u64,
    chunk_elems: u32,
    ring_bits: u8,
}

impl Parts {
    /// The cut of a run with these parameters.
    pub fn of(params: &Params) -> Self {
        let config = params.config();
        Self::new(config.elements, config.chunk_elems, config.m)
    }

    /// The cut of `elements` elements of `ring_bits` bits, `chunk_elems` to a chunk; none of the three is zero.
    pub fn new(elements: u64, chunk_elems: u32, ring_bits: u8) -> Self {
        Self {
            elements,
            chunk_elems,
            ring_bits,
        }
    }

    /// Bits of one packed element.
    pub fn ring_bits(&self) -> u8 {
        self.ring_bits
    }

    /// How many parts there are.
    pub fn count(&self) -> u64 {
        self.chunks().div_ceil(PART_CHUNKS)
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> u64 {
        self.elements.div_ceil(u64::from(self.chunk_elems))
    }

    /// Elements of chunk `chunk`; zero beyond the last one.
    pub fn chunk_len(&self, chunk: u64) -> u32 {
        let begins = chunk.saturating_mul(u64::from(self.chunk_elems));
        let left = self.elements.saturating_sub(begins);
        u32::try_from(left.min(u64::from(self.chunk_elems))).expect("not more than a u32")
    }

    /// Bytes of chunk `chunk`, packed.
    pub fn chunk_bytes(&self, chunk: u64) -> usize {
        packed_len(self.chunk_len(chunk), self.ring_bits)
    }

    /// Where chunk `chunk` begins in the upload.
    pub fn chunk_at(&self, chunk: u64) -> u64 {
        chunk * packed_len(self.chunk_elems, self.ring_bits) as u64
    }

    /// The chunks of part `part`; none beyond the last part.
    pub fn chunks_of(&self, part: u64) -> Range<u64> {
        let first = part.saturating_mul(PART_CHUNKS).min(self.chunks());
        first..first.saturating_add(PART_CHUNKS).min(self.chunks())
    }

    /// Bytes of part `part`.
    pub fn part_bytes(&self, part: u64) -> u64 {
        let chunks = self.chunks_of(part);
        chunks.map(|chunk| self.chunk_bytes(chunk) as u64).sum()
    }

    /// Bytes of the whole upload.
    pub fn total_bytes(&self) -> u64 {
        let last = self.chunks().saturating_sub(1);
        self.chunk_at(last) + self.chunk_bytes(last) as u64
    }
}

/// What a part is checked by when it has arrived: BLAKE3 over the BLAKE3 hashes of its chunks.
pub fn part_digest(chunk_hashes: &[Digest]) -> Digest {
    let mut hasher = BlobHasher::default();
    for hash in chunk_hashes {
        hasher.update(&hash.0);
    }
    hasher.finish().digest
}

#[cfg(test)]
mod tests;
