//! Seed and position → keystream: AES-256-CTR, seekable by (part, chunk).
//!
//! `stream(seed, part, chunk)`: key = seed, IV = LE32(part) ‖ LE64(chunk) ‖ BE32(0). Part 0 is the model, part 1 the metadata
//! lanes. A stream says nothing of what it masks: signs and sums are [`crate::mask`]'s. Source: protocol, section 5; NIST SP 800-38A for counter mode.

use aes::Aes256;
use ctr::Ctr32BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

use crate::keys::Seed;
use crate::ring::Lane;

/// Bytes of keystream made at a time: small enough to stay in the first-level cache together with the accumulator.
const BLOCK_BYTES: usize = 16 * 1024;

/// The keystream of one (seed, part, chunk), read from its beginning.
pub struct Keystream(Ctr32BE<Aes256>);

impl Keystream {
    /// Opens the stream of `chunk` in `part`.
    pub fn new(seed: &Seed, part: u32, chunk: u64) -> Self {
        let mut iv = [0; 16];
        iv[..4].copy_from_slice(&part.to_le_bytes());
        iv[4..12].copy_from_slice(&chunk.to_le_bytes());
        Self(Ctr32BE::new(seed.expose().into(), &iv.into()))
    }

    /// Overwrites `out` with the next bytes of the stream.
    pub fn fill(&mut self, out: &mut [u8]) {
        out.fill(0);
        self.0.apply_keystream(out);
    }
}

/// Which way a mask enters an accumulator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// Added.
    Plus,
    /// Subtracted.
    Minus,
}

impl Sign {
    /// The other one.
    #[must_use]
    pub fn flipped(self) -> Self {
        match self {
            Self::Plus => Self::Minus,
            Self::Minus => Self::Plus,
        }
    }
}

/// Adds (or subtracts) the stream of (seed, part, chunk) to `acc`, lane by lane, wrapping.
pub(crate) fn accumulate<L: Lane>(acc: &mut [L], sign: Sign, seed: &Seed, part: u32, chunk: u64) {
    let mut stream = Keystream::new(seed, part, chunk);
    let mut block = Zeroizing::new([0u8; BLOCK_BYTES]);
    for lanes in acc.chunks_mut(BLOCK_BYTES / L::BYTES) {
        let bytes = &mut block[..lanes.len() * L::BYTES];
        stream.fill(bytes);
        for (lane, word) in lanes.iter_mut().zip(bytes.chunks_exact(L::BYTES)) {
            let word = L::read(word);
            *lane = match sign {
                Sign::Plus => lane.add(word),
                Sign::Minus => lane.sub(word),
            };
        }
    }
}
