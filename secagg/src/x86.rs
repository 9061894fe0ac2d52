//! What names processor instructions of x86-64: mask streams added from registers, and a way to run safe code with wide vectors.
//!
//! The one file with `unsafe`, and all of it is of two kinds: a call of code that needs features which were found on this very
//! machine, and a load or store of bytes that a slice or an array covers. It decides nothing: [`crate::prg`] picks a path, and
//! every path gives the bits of the portable one. Constant time: AES instructions, no tables, no branch on what is secret.
//! Source: Intel SDM 2, "AESENC", "AESKEYGENASSIST"; NIST FIPS 197, section 5.2, for the key schedule.
#![allow(
    unsafe_code,
    reason = "2.4 times the keystream rate of the aes and ctr crates; held against them by crate::tests::paths"
)]

use core::arch::x86_64::*;
use std::is_x86_feature_detected as detected;

use zeroize::{Zeroize, Zeroizing};

use crate::keys::Seed;
use crate::prg::{Nonce, Sign};
use crate::ring::Word;
use crate::wide::Job;

/// A width of AES instructions. Whoever holds a value has a machine that executes them: no other is ever made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unit(Width);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Width {
    /// Four blocks an instruction.
    Vaes512,
    /// Two blocks an instruction.
    Vaes256,
    /// One block an instruction.
    Aes,
}

impl Unit {
    /// What this machine executes, the widest first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        let aes = detected!("aes") && detected!("sse4.1");
        let vaes256 = aes && detected!("vaes") && detected!("avx2");
        let vaes512 = vaes256 && detected!("avx512f") && detected!("avx512bw");
        [
            (vaes512, Width::Vaes512),
            (vaes256, Width::Vaes256),
            (aes, Width::Aes),
        ]
        .into_iter()
        .filter_map(|(here, width)| here.then_some(Self(width)))
    }
}

/// The key schedule of one seed, in one place on the heap, erased when dropped.
pub(crate) struct RoundKeys {
    unit: Unit,
    keys: Box<Rounds>,
}

type Rounds = [[u8; 16]; 15];

impl RoundKeys {
    pub(crate) fn new(unit: Unit, seed: &Seed) -> Self {
        let mut keys = Box::new([[0; 16]; 15]);
        // SAFETY: a `Unit` exists only where AES instructions were detected, whatever its width.
        unsafe { expand(seed.expose(), &mut keys) };
        Self { unit, keys }
    }

    /// Adds (or subtracts) the stream of `nonce` from block `first` on to `lanes`.
    pub(crate) fn accumulate<W: Word>(
        &self,
        nonce: &Nonce,
        first: u32,
        sign: Sign,
        lanes: &mut [W],
    ) {
        let (body, tail) = lanes.split_at_mut(lanes.len() - lanes.len() % (TILE_BYTES / W::BYTES));
        self.tiles(nonce, first, sign, body);
        if tail.is_empty() {
            return;
        }
        let done =
            u32::try_from(size_of_val(body) / 16).expect("a chunk has fewer than 2^32 blocks");
        let mut stream = Zeroizing::new([0u8; TILE_BYTES]);
        self.tiles(nonce, first.wrapping_add(done), Sign::Plus, &mut stream[..]);
        for (lane, word) in tail.iter_mut().zip(stream.chunks_exact(W::BYTES)) {
            *lane = sign.apply(*lane, W::read(word));
        }
    }

    /// As [`Self::accumulate`], for whole tiles.
    fn tiles<W: Word>(&self, nonce: &Nonce, first: u32, sign: Sign, lanes: &mut [W]) {
        // SAFETY: `self.unit` exists only where the features of its width were detected.
        unsafe {
            match (self.unit.0, sign) {
                (Width::Vaes512, Sign::Plus) => vaes512::<W, true>(&self.keys, nonce, first, lanes),
                (Width::Vaes512, Sign::Minus) => {
                    vaes512::<W, false>(&self.keys, nonce, first, lanes)
                }
                (Width::Vaes256, Sign::Plus) => vaes256::<W, true>(&self.keys, nonce, first, lanes),
                (Width::Vaes256, Sign::Minus) => {
                    vaes256::<W, false>(&self.keys, nonce, first, lanes)
                }
                (Width::Aes, Sign::Plus) => aes::<W, true>(&self.keys, nonce, first, lanes),
                (Width::Aes, Sign::Minus) => aes::<W, false>(&self.keys, nonce, first, lanes),
            }
        }
    }
}

impl Drop for RoundKeys {
    fn drop(&mut self) {
        self.keys.zeroize();
    }
}

/// Bytes of the stream that are made together: enough blocks in flight to hide the latency of an AES round, at every width.
const TILE_BYTES: usize = 256;

/// AES-256 key expansion.
#[target_feature(enable = "aes,sse4.1")]
fn expand(key: &[u8; 32], rounds: &mut Rounds) {
    let (low, high) = key.split_at(16);
    rounds[0].copy_from_slice(low);
    rounds[1].copy_from_slice(high);
    macro_rules! next {
        ($($at:literal $constant:literal $word:literal),*) => { $(
            let last = load16(&rounds[$at - 1]);
            let word = _mm_shuffle_epi32::<$word>(_mm_aeskeygenassist_si128::<$constant>(last));
            let key = prefix_xor(load16(&rounds[$at - 2]));
            store16(&mut rounds[$at], _mm_xor_si128(key, word));
        )* };
    }
    // an even round key takes RotWord and SubWord with a constant, an odd one SubWord alone
    next!(2 1 0xff, 3 0 0xaa, 4 2 0xff, 5 0 0xaa, 6 4 0xff, 7 0 0xaa, 8 8 0xff, 9 0 0xaa);
    next!(10 16 0xff, 11 0 0xaa, 12 32 0xff, 13 0 0xaa, 14 64 0xff);
}

/// Each 32-bit word xored with all before it.
#[target_feature(enable = "sse4.1")]
fn prefix_xor(mut key: __m128i) -> __m128i {
    key = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
    _mm_xor_si128(key, _mm_slli_si128::<8>(key))
}

#[target_feature(enable = "sse4.1")]
fn load16(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: sixteen bytes are read where sixteen are; the load needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// A block fills a vector of one.
#[target_feature(enable = "sse4.1")]
fn one(block: __m128i) -> __m128i {
    block
}

#[target_feature(enable = "sse4.1")]
fn store16(bytes: &mut [u8; 16], value: __m128i) {
    // SAFETY: sixteen bytes are written where sixteen are; the store needs no alignment.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), value) }
}

/// One kernel for each width: the counter blocks of a tile go through all rounds side by side, and what comes out is added to
/// the lanes before it ever reaches memory. A counter is kept with its last word in the machine's order, and turned round
/// (`order`) on its way into the cipher.
macro_rules! kernel {
    ($name:ident, $features:literal, $vector:ty, $bytes:literal, $zero:ident, $load:ident, $store:ident, $spread:ident,
     $shuffle:ident, $xor:ident, $round:ident, $last:ident, [$($lane:literal $add:ident $sub:ident),*], $add32:ident) => {
        #[target_feature(enable = $features)]
        fn $name<W: Word, const PLUS: bool>(
            rounds: &Rounds,
            nonce: &Nonce,
            first: u32,
            lanes: &mut [W],
        ) {
            let mut keys = [$zero(); 15];
            for (key, round) in keys.iter_mut().zip(rounds) {
                *key = $spread(load16(round));
            }
            let (start, step, order) = counters::<$bytes>(nonce, first);
            // SAFETY: each of the three arrays has as many bytes as are read; the loads need no alignment.
            let (mut counter, step, order) = unsafe {(
                $load(start.as_ptr().cast()),
                $load(step.as_ptr().cast()),
                $load(order.as_ptr().cast()),
            )};
            for tile in lanes.chunks_exact_mut(TILE_BYTES / W::BYTES) {
                let mut blocks = [$zero(); TILE_BYTES / $bytes];
                for block in &mut blocks {
                    *block = $xor($shuffle(counter, order), keys[0]);
                    counter = $add32(counter, step);
                }
                for key in &keys[1..14] {
                    for block in &mut blocks {
                        *block = $round(*block, *key);
                    }
                }
                for (place, block) in tile.chunks_exact_mut($bytes / W::BYTES).zip(blocks) {
                    let stream = $last(block, keys[14]);
                    let place = place.as_mut_ptr().cast();
                    // SAFETY: `place` covers as many bytes of integers, of which every bit pattern is one, as are read and
                    // written; neither needs alignment.
                    unsafe {
                        let lanes = $load(place);
                        let lanes = match (W::BYTES, PLUS) {
                            $(($lane, true) => $add(lanes, stream), ($lane, false) => $sub(lanes, stream),)*
                            _ => unreachable!("a word has 1, 2, 4 or 8 bytes"),
                        };
                        $store(place, lanes);
                    }
                }
            }
        }
    };
}

kernel!(
    vaes512, "avx512f,avx512bw,vaes,aes,sse4.1", __m512i, 64, _mm512_setzero_si512, _mm512_loadu_si512, _mm512_storeu_si512,
    _mm512_broadcast_i32x4, _mm512_shuffle_epi8, _mm512_xor_si512, _mm512_aesenc_epi128, _mm512_aesenclast_epi128,
    [1 _mm512_add_epi8 _mm512_sub_epi8, 2 _mm512_add_epi16 _mm512_sub_epi16,
     4 _mm512_add_epi32 _mm512_sub_epi32, 8 _mm512_add_epi64 _mm512_sub_epi64],
    _mm512_add_epi32
);
kernel!(
    vaes256, "avx2,vaes,aes,sse4.1", __m256i, 32, _mm256_setzero_si256, _mm256_loadu_si256, _mm256_storeu_si256,
    _mm256_broadcastsi128_si256, _mm256_shuffle_epi8, _mm256_xor_si256, _mm256_aesenc_epi128, _mm256_aesenclast_epi128,
    [1 _mm256_add_epi8 _mm256_sub_epi8, 2 _mm256_add_epi16 _mm256_sub_epi16,
     4 _mm256_add_epi32 _mm256_sub_epi32, 8 _mm256_add_epi64 _mm256_sub_epi64],
    _mm256_add_epi32
);
kernel!(
    aes, "aes,sse4.1", __m128i, 16, _mm_setzero_si128, _mm_loadu_si128, _mm_storeu_si128,
    one, _mm_shuffle_epi8, _mm_xor_si128, _mm_aesenc_si128, _mm_aesenclast_si128,
    [1 _mm_add_epi8 _mm_sub_epi8, 2 _mm_add_epi16 _mm_sub_epi16,
     4 _mm_add_epi32 _mm_sub_epi32, 8 _mm_add_epi64 _mm_sub_epi64],
    _mm_add_epi32
);

/// The first counters that fill a vector of `N` bytes, what to add for the next ones, and the order of bytes that the cipher
/// takes them in.
fn counters<const N: usize>(nonce: &Nonce, first: u32) -> ([u8; N], [u8; N], [u8; N]) {
    let (mut start, mut step, mut order) = ([0; N], [0; N], [0; N]);
    let blocks = u32::try_from(N / 16).expect("at most four blocks fill a vector");
    for at in 0..blocks {
        let place = at as usize * 16;
        start[place..place + 12].copy_from_slice(nonce);
        start[place + 12..place + 16].copy_from_slice(&first.wrapping_add(at).to_le_bytes());
        step[place + 12..place + 16].copy_from_slice(&blocks.to_le_bytes());
        order[place..place + 16]
            .copy_from_slice(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 14, 13, 12]);
    }
    (start, step, order)
}

/// Runs safe code compiled for the widest vectors of this machine. What it computes is the same: the compiler neither joins nor
/// reorders floating-point operations.
pub(crate) fn run<J: Job>(job: J) -> J::Output {
    let avx2 = detected!("avx2");
    let more = detected!("avx512f") && detected!("avx512bw");
    if avx2 && more && detected!("avx512dq") && detected!("avx512vl") {
        // SAFETY: the five features were just detected.
        unsafe { run512(job) }
    } else if avx2 {
        // SAFETY: the feature was just detected.
        unsafe { run256(job) }
    } else {
        job.run()
    }
}

#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
fn run512<J: Job>(job: J) -> J::Output {
    job.run()
}

#[target_feature(enable = "avx2")]
fn run256<J: Job>(job: J) -> J::Output {
    job.run()
}
