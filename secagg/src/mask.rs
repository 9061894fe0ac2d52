//! Self mask and pairwise masks over any chunk. The sign rule lives only here.
//!
//! `masked = q + stream(s_i) + Σ_{j ∈ N(i) ∩ cohort} sign(i, j)·stream(s_ij)`, sign(i, j) = +1 if i < j, else −1, modulo 2^m. In the
//! sum over a cohort every pair mask meets its opposite. Source: protocol, sections 5, 9 and 11.4; Bonawitz et al., ePrint 2017/281,
//! Fig. 4.

use zeroize::Zeroizing;

use crate::codec::{Digest, kdf};
use crate::context::Attempt;
use crate::error::{Error, Fault};
use crate::keys::{ExchangeKey, ExchangeSecret, Seed};
use crate::labels;
use crate::prg::{Prg, Sign, Streams, nonce};
use crate::ring::{self, Lane, LaneWidth};
use crate::shamir::SecretScalar;

/// Part of a seed's streams that masks the model.
const MODEL: u32 = 0;
/// Part of a seed's streams that masks the metadata lanes.
const METADATA: u32 = 1;
/// Bytes of lanes through which all streams pass before the next: they and a key schedule stay in the first-level cache. Blocks of both
/// ciphers end where one of these does.
const BLOCK_BYTES: usize = 16 * 1024;

/// A set of mask streams with their signs: what one participant adds, or what the coordinator takes off a sum.
///
/// Each key is expanded once, here: 0.3 kB a stream, which for the largest silo with half its sites lost makes 1.3 MB.
pub struct Masks(pub(crate) Vec<(Sign, Seed)>, Vec<Streams>);

impl Masks {
    /// The streams of these seeds, by the cipher of the run.
    pub fn new(prg: Prg, masks: Vec<(Sign, Seed)>) -> Self {
        let streams = masks.iter().map(|(_, seed)| Streams::new(prg, seed));
        let streams = streams.collect();
        Self(masks, streams)
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.0.len()
    }

    /// Adds every stream of `chunk` to its lanes, which are those the streams were, or will be, masked with.
    ///
    /// Cost: O(streams × lanes), no memory. Chunks are independent of each other: threads may share them out.
    pub fn add<L: Lane>(&self, chunk: u64, lanes: &mut [L]) {
        self.add_part(MODEL, chunk, lanes);
    }

    fn add_part<L: Lane>(&self, part: u32, chunk: u64, lanes: &mut [L]) {
        self.for_each_block(part, chunk, lanes, |_| ());
    }

    /// Adds all streams block by block; hands each block to `done` while it is still in the first-level cache.
    fn for_each_block<L: Lane>(
        &self,
        part: u32,
        chunk: u64,
        lanes: &mut [L],
        mut done: impl FnMut(&[L]),
    ) {
        let nonce = nonce(part, chunk);
        let firsts = (0u32..).step_by(BLOCK_BYTES);
        for (lanes, first) in lanes.chunks_mut(BLOCK_BYTES / L::BYTES).zip(firsts) {
            for ((sign, _), streams) in self.0.iter().zip(&self.1) {
                streams.accumulate(&nonce, first, *sign, lanes);
            }
            done(lanes);
        }
    }

    /// Adds every stream of `chunk` to lanes modulo 2^64 or narrower, then packs them to `ring_bits`.
    ///
    /// Shape: `values.len()` elements in, `packed_len` bytes out. Unit: ring elements. Cost: O(streams × elements), memory
    /// O(elements). Same inputs, same bytes.
    pub(crate) fn mask_chunk(
        &self,
        width: LaneWidth,
        ring_bits: u8,
        chunk: u64,
        values: &[i64],
    ) -> Vec<u8> {
        match width {
            LaneWidth::U16 => self.mask_lanes::<u16>(ring_bits, chunk, values),
            LaneWidth::U32 => self.mask_lanes::<u32>(ring_bits, chunk, values),
            LaneWidth::U64 => self.mask_lanes::<u64>(ring_bits, chunk, values),
        }
    }

    fn mask_lanes<L: Lane>(&self, ring_bits: u8, chunk: u64, values: &[i64]) -> Vec<u8> {
        let lanes = values.iter().map(|q| L::of(q.cast_unsigned()));
        let mut lanes: Zeroizing<Vec<L>> = Zeroizing::new(lanes.collect());
        let mut packed = Vec::new();
        self.add_and_pack(ring_bits, chunk, &mut lanes, &mut packed);
        packed
    }

    /// Adds every stream of `chunk` to `lanes` and appends them, packed to `ring_bits`.
    pub fn add_and_pack<L: Lane>(
        &self,
        ring_bits: u8,
        chunk: u64,
        lanes: &mut [L],
        packed: &mut Vec<u8>,
    ) {
        // a block has a multiple of eight lanes: its packed form ends with a whole byte
        self.for_each_block(MODEL, chunk, lanes, |block| {
            ring::pack(block, ring_bits, packed);
        });
    }

    /// Adds every stream of `chunk` to a sum of lanes of `width`, each held in a u64.
    ///
    /// The streams are made at the width they were masked with, so that the bits agree.
    pub fn add_to_sum(&self, width: LaneWidth, chunk: u64, sum: &mut [u64]) {
        match width {
            LaneWidth::U16 => self.add_narrowed::<u16>(chunk, sum),
            LaneWidth::U32 => self.add_narrowed::<u32>(chunk, sum),
            LaneWidth::U64 => self.add(chunk, sum),
        }
    }

    fn add_narrowed<L: Lane>(&self, chunk: u64, sum: &mut [u64]) {
        let mut lanes: Vec<L> = sum.iter().map(|&value| L::of(value)).collect();
        self.add(chunk, &mut lanes);
        for (value, lane) in sum.iter_mut().zip(lanes) {
            *value = lane.widen();
        }
    }

    /// Adds every metadata stream to `lanes`, ring Z_{2^64}.
    pub fn add_to_metadata(&self, lanes: &mut [u64]) {
        self.add_part(METADATA, 0, lanes);
    }
}

/// `s_i = KDF(ctx, b_i, "self", id_i)`.
pub(crate) fn self_seed(
    attempt: &Attempt,
    ctx: &Digest,
    index: u32,
    b: &SecretScalar,
) -> Result<Seed, Error> {
    let id = attempt.member(index)?.id;
    Ok(kdf(&ctx.0, b.expose(), labels::SELF, &[id.0.as_ref()]).into())
}

/// One end of a pair: whose mask key it is.
#[derive(Clone, Copy)]
pub(crate) struct End<'a> {
    pub index: u32,
    pub key: &'a ExchangeKey,
}

/// `s_ij = KDF(ctx, X25519(e_i, E_j), "mask", id_lo, id_hi, E_lo, E_hi)`; `secret` belongs to `own`.
///
/// # Errors
/// [`Fault::AllZero`], blamed on the other end.
pub(crate) fn pair_seed(
    attempt: &Attempt,
    ctx: &Digest,
    secret: &ExchangeSecret,
    own: End<'_>,
    other: End<'_>,
) -> Result<Seed, Error> {
    let shared = secret
        .agree(other.key)
        .map_err(|fault: Fault| fault.by(other.index))?;
    let (lo, hi) = if own.index < other.index {
        (own, other)
    } else {
        (other, own)
    };
    let (lo_id, hi_id) = (attempt.member(lo.index)?.id, attempt.member(hi.index)?.id);
    let parts: [&[u8]; 4] = [
        lo_id.0.as_ref(),
        hi_id.0.as_ref(),
        lo.key.as_bytes(),
        hi.key.as_bytes(),
    ];
    Ok(kdf(&ctx.0, &shared[..], labels::MASK, &parts).into())
}

/// How the pair mask of (i, j) enters i's own update: added by the lower index, subtracted by the higher.
pub(crate) fn pair_sign(i: u32, j: u32) -> Sign {
    if i < j { Sign::Plus } else { Sign::Minus }
}
