//! Seed and position → keystream, seekable by (part, chunk), added to lanes as it is made: AES-256-CTR, or ChaCha20 where a run says so.
//!
//! `stream(seed, part, chunk)`: key = seed, IV = LE32(part) ‖ LE64(chunk) ‖ BE32(0). Part 0 is the model, part 1 the metadata
//! lanes. A stream says nothing of what it masks: signs and sums are [`crate::mask`]'s. On x86-64 the streams come from
//! `crate::x86`, elsewhere from the `aes` crate; the bits are the same. Source: protocol, section 5; NIST SP 800-38A for counter mode.

mod chacha;

use core::marker::PhantomData;

use aes::Aes256;
use ctr::cipher::array::ArraySize;
use ctr::cipher::common::ParBlocks;
use ctr::cipher::typenum::Unsigned;
use ctr::cipher::{
    BlockSizeUser, InnerIvInit, KeyInit, StreamCipherBackend, StreamCipherClosure,
    StreamCipherCore, StreamCipherSeekCore,
};
use ctr::{CtrCore, flavors::Ctr32BE};
use zeroize::{Zeroize, Zeroizing};

use crate::keys::Seed;
use crate::ring::Word;
#[cfg(target_arch = "x86_64")]
use crate::x86;

/// The part of an IV that one stream keeps: LE32(part) ‖ LE64(chunk).
pub(crate) type Nonce = [u8; 12];

/// Bytes of a block of AES.
const BLOCK_BYTES: usize = 16;

/// The cipher of the mask streams of a run: its field `prg`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Prg {
    /// AES-256 in counter mode.
    #[default]
    Aes256Ctr,
    /// ChaCha20, for machines without AES instructions.
    ChaCha20,
}

impl Prg {
    /// What stands for it in the configuration of a run.
    pub fn number(self) -> u8 {
        match self {
            Self::Aes256Ctr => 0,
            Self::ChaCha20 => 1,
        }
    }

    /// Its name, as studies and logs have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes256Ctr => "aes-256-ctr",
            Self::ChaCha20 => "chacha20",
        }
    }

    /// The one that a number stands for.
    pub fn of(number: u8) -> Option<Self> {
        [Self::Aes256Ctr, Self::ChaCha20]
            .into_iter()
            .find(|prg| prg.number() == number)
    }
}

/// Where a stream begins: part and chunk.
pub(crate) fn nonce(part: u32, chunk: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&part.to_le_bytes());
    nonce[4..].copy_from_slice(&chunk.to_le_bytes());
    nonce
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

    /// `lane ± word`, wrapping.
    #[inline(always)]
    pub(crate) fn apply<W: Word>(self, lane: W, word: W) -> W {
        match self {
            Self::Plus => lane.add(word),
            Self::Minus => lane.sub(word),
        }
    }
}

/// How AES is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Path {
    /// By the `aes` crate, which knows the AES instructions of several processors and has constant-time software for all others.
    Portable,
    /// By the kernels of `crate::x86`.
    #[cfg(target_arch = "x86_64")]
    X86(x86::Unit),
}

impl Path {
    /// Every path of this machine, the fastest first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let own = x86::Unit::available().map(Self::X86);
        #[cfg(not(target_arch = "x86_64"))]
        let own = core::iter::empty();
        own.chain([Self::Portable])
    }

    fn fastest() -> Self {
        Self::available().next().expect("one path is always there")
    }
}

/// The mask streams of one seed, with its key as the cipher of the run wants it; erased when dropped.
pub(crate) enum Streams {
    Aes256Ctr(Schedule),
    ChaCha20(Seed),
}

impl Streams {
    pub(crate) fn new(prg: Prg, seed: &Seed) -> Self {
        match prg {
            Prg::Aes256Ctr => Self::Aes256Ctr(Schedule::new(seed)),
            Prg::ChaCha20 => Self::ChaCha20(seed.duplicate()),
        }
    }

    /// Adds (or subtracts) the stream of `nonce` from byte `first` on to `lanes`, wrapping. `first` is where a block of the cipher begins,
    /// as any multiple of 64 is.
    pub(crate) fn accumulate<W: Word>(
        &self,
        nonce: &Nonce,
        first: u32,
        sign: Sign,
        lanes: &mut [W],
    ) {
        match self {
            Self::Aes256Ctr(schedule) => schedule.accumulate(nonce, first / 16, sign, lanes),
            Self::ChaCha20(seed) => chacha::accumulate(seed, nonce, first / 64, sign, lanes),
        }
    }
}

/// The expanded AES key of one seed: made once, used for every chunk, erased when dropped.
pub(crate) enum Schedule {
    Portable(Box<Aes256>),
    #[cfg(target_arch = "x86_64")]
    X86(x86::RoundKeys),
}

impl Schedule {
    pub(crate) fn new(seed: &Seed) -> Self {
        Self::on(Path::fastest(), seed)
    }

    pub(crate) fn on(path: Path, seed: &Seed) -> Self {
        match path {
            Path::Portable => Self::Portable(Box::new(Aes256::new(seed.expose().into()))),
            #[cfg(target_arch = "x86_64")]
            Path::X86(unit) => Self::X86(x86::RoundKeys::new(unit, seed)),
        }
    }

    /// Adds (or subtracts) the stream of `nonce` from block `first` on to `lanes`, wrapping.
    pub(crate) fn accumulate<W: Word>(
        &self,
        nonce: &Nonce,
        first: u32,
        sign: Sign,
        lanes: &mut [W],
    ) {
        match self {
            Self::Portable(cipher) => portable(cipher, nonce, first, sign, lanes),
            #[cfg(target_arch = "x86_64")]
            Self::X86(keys) => keys.accumulate(nonce, first, sign, lanes),
        }
    }
}

fn portable<W: Word>(cipher: &Aes256, nonce: &Nonce, first: u32, sign: Sign, lanes: &mut [W]) {
    let mut iv = [0; BLOCK_BYTES];
    iv[..12].copy_from_slice(nonce);
    let mut stream = CtrCore::<_, Ctr32BE>::inner_iv_init(cipher, &iv.into());
    stream.set_block_pos(first);
    stream.process_with_backend(Accumulate::new(sign, lanes));
}

/// Runs inside a cipher with blocks of `S` bytes, compiled for the same processor features.
struct Accumulate<'a, W, S> {
    sign: Sign,
    lanes: &'a mut [W],
    blocks: PhantomData<S>,
}

impl<'a, W, S> Accumulate<'a, W, S> {
    fn new(sign: Sign, lanes: &'a mut [W]) -> Self {
        let blocks = PhantomData;
        Self {
            sign,
            lanes,
            blocks,
        }
    }
}

impl<W, S: ArraySize> BlockSizeUser for Accumulate<'_, W, S> {
    type BlockSize = S;
}

impl<W: Word, S: ArraySize> StreamCipherClosure for Accumulate<'_, W, S> {
    #[inline(always)]
    fn call<B: StreamCipherBackend<BlockSize = S>>(self, backend: &mut B) {
        let block_lanes = S::USIZE / W::BYTES;
        let mut stream = ParBlocks::<B>::default();
        let mut batches = self
            .lanes
            .chunks_exact_mut(B::ParBlocksSize::USIZE * block_lanes);
        for lanes in &mut batches {
            backend.gen_par_ks_blocks(&mut stream);
            for (lanes, block) in lanes.chunks_exact_mut(block_lanes).zip(&stream) {
                add_block(self.sign, lanes, block);
            }
        }
        for lanes in batches.into_remainder().chunks_mut(block_lanes) {
            backend.gen_ks_block(&mut stream[0]);
            add_block(self.sign, lanes, &stream[0]);
        }
        stream.iter_mut().for_each(|block| block[..].zeroize());
    }
}

#[inline(always)]
fn add_block<W: Word>(sign: Sign, lanes: &mut [W], block: &[u8]) {
    for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(W::BYTES)) {
        *lane = sign.apply(*lane, W::read(word));
    }
}

/// The AES-256-CTR keystream of one (seed, part, chunk), read from its beginning, whatever masks a run: for what a party draws for itself.
pub struct Keystream {
    schedule: Schedule,
    nonce: Nonce,
    next: u32,
    /// The block that was read last, and how many bytes of its end were not.
    rest: Zeroizing<[u8; BLOCK_BYTES]>,
    unread: usize,
}

impl Keystream {
    /// Opens the stream of `chunk` in `part`.
    pub fn new(seed: &Seed, part: u32, chunk: u64) -> Self {
        Self {
            schedule: Schedule::new(seed),
            nonce: nonce(part, chunk),
            next: 0,
            rest: Zeroizing::new([0; BLOCK_BYTES]),
            unread: 0,
        }
    }

    /// Overwrites `out` with the next bytes of the stream.
    pub fn fill(&mut self, out: &mut [u8]) {
        let (head, out) = out.split_at_mut(self.unread.min(out.len()));
        self.take_rest(head);
        let (body, tail) = out.split_at_mut(out.len() - out.len() % BLOCK_BYTES);
        self.blocks(body);
        if !tail.is_empty() {
            let mut block = Zeroizing::new([0; BLOCK_BYTES]);
            self.blocks(&mut block[..]);
            (self.rest, self.unread) = (block, BLOCK_BYTES);
            self.take_rest(tail);
        }
    }

    fn take_rest(&mut self, out: &mut [u8]) {
        let from = BLOCK_BYTES - self.unread;
        out.copy_from_slice(&self.rest[from..from + out.len()]);
        self.unread -= out.len();
    }

    fn blocks(&mut self, out: &mut [u8]) {
        out.fill(0);
        self.schedule
            .accumulate(&self.nonce, self.next, Sign::Plus, out);
        let blocks = u32::try_from(out.len() / BLOCK_BYTES).expect("a stream has 2^32 blocks");
        self.next = self.next.wrapping_add(blocks);
    }
}
