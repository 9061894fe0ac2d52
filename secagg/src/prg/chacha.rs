//! The declared alternative to AES for machines that have no instructions for it: ChaCha20, added to lanes as it is made.
//!
//! `stream(seed, part, chunk)`: key = seed, nonce = LE32(part) ‖ LE64(chunk), counter 0. The `chacha20` crate picks the widest vectors of
//! this machine that it knows; blocks are added while they are in its registers' reach. Constant time: additions, rotations, exclusive or.
//! Source: protocol, section 5; RFC 8439, section 2.4.

use chacha20::variants::Ietf;
use chacha20::{ChaChaCore, R20};
use ctr::cipher::{KeyIvInit, StreamCipherCore};

use super::{Accumulate, Nonce, Sign};
use crate::keys::Seed;
use crate::ring::Word;

/// Adds (or subtracts) the stream of `nonce` from block `first` on, of 64 bytes each. The state is erased when it is dropped.
pub(super) fn accumulate<W: Word>(
    seed: &Seed,
    nonce: &Nonce,
    first: u32,
    sign: Sign,
    lanes: &mut [W],
) {
    let mut stream = ChaChaCore::<R20, Ietf>::new(seed.expose().into(), nonce.into());
    stream.set_block_pos(first);
    stream.process_with_backend(Accumulate::new(sign, lanes));
}
