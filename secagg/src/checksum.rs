//! Secret linear projections of masked vectors: do the books balance?
//!
//! c_k(x) = Σ_i s_{i+k}·x_i modulo 2^m for k < [`PROJECTIONS`], where s is a secret stream of one attempt, the same for all its vectors.
//! The projections of a sum are the sum of the projections, so that whoever folded can be held against what arrived: a vector that
//! was left out, counted twice or put in another place, a lane that a bad memory altered. It is no proof against the coordinator, which
//! knows the stream, and says nothing about what the sites masked; that nobody altered a vector on its way is its signature's business.
//!
//! The projections are a Toeplitz matrix over one stream, so one keystream serves all of them and they are still independent: a difference
//! of which some element is odd is missed with probability 2^(−m·8), one whose elements are all multiples of 2^j with 2^(−(m−j)·8). Source:
//! durability, section 1, rule 6; Mansour, Nisan, Tiwari, "The computational complexity of universal hashing" (1993), for Toeplitz
//! matrices.

use core::ops::AddAssign;

use crate::error::Fault;
use crate::keys::Seed;
use crate::prg::{Schedule, Sign, nonce};
use crate::ring::{Lane, LaneWidth, check_packed, packed_len, unpack_add};
use crate::wide::{self, Job};

/// How many there are: a flip of the highest bit of one element alone is missed once in 256 times, anything else less often.
pub const PROJECTIONS: usize = 8;

/// The projections of one vector, or of a stretch of it, or of a sum of such.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checksum([u64; PROJECTIONS]);

impl Checksum {
    /// Length of [`Self::to_bytes`].
    pub const BYTES: usize = PROJECTIONS * 8;

    /// Whether both stand for the same vector modulo 2^`ring_bits`.
    pub fn balances(&self, other: &Self, ring_bits: u8) -> bool {
        let shift = 64 - u32::from(ring_bits);
        let mut pairs = self.0.iter().zip(&other.0);
        pairs.all(|(one, another)| one.wrapping_sub(*another) << shift == 0)
    }

    /// Little-endian words.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (word, bytes) in self.0.iter().zip(bytes.as_chunks_mut::<8>().0) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }

    /// What [`Self::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let words: &[[u8; 8]; PROJECTIONS] = words.try_into().expect("64 bytes are eight words");
        Self(words.map(u64::from_le_bytes))
    }
}

impl AddAssign<&Checksum> for Checksum {
    fn add_assign(&mut self, other: &Checksum) {
        for (sum, word) in self.0.iter_mut().zip(&other.0) {
            *sum = sum.wrapping_add(*word);
        }
    }
}

/// The secret stream of one attempt.
pub struct Projections(Schedule);

impl Projections {
    /// Of a seed that no site knows.
    pub fn new(seed: &Seed) -> Self {
        Self(Schedule::new(seed))
    }

    /// Of the lanes of chunk `chunk`.
    ///
    /// Cost: O(elements), no memory.
    pub fn of_lanes<L: Lane>(&self, chunk: u64, lanes: &[L]) -> Checksum {
        let mut running = Running::new(self, chunk);
        lanes
            .chunks(BLOCK_LEN)
            .for_each(|block| running.take(block));
        running.finish()
    }

    /// Of chunk `chunk` as a site packs it: `count` elements of `ring_bits`.
    ///
    /// # Errors
    /// As [`check_packed`].
    pub fn of_packed(
        &self,
        chunk: u64,
        ring_bits: u8,
        count: u32,
        packed: &[u8],
    ) -> Result<Checksum, Fault> {
        check_packed(packed, ring_bits, count)?;
        match LaneWidth::for_ring(ring_bits) {
            LaneWidth::U16 => self.unpacked::<u16>(chunk, ring_bits, count, packed),
            LaneWidth::U32 => self.unpacked::<u32>(chunk, ring_bits, count, packed),
            LaneWidth::U64 => self.unpacked::<u64>(chunk, ring_bits, count, packed),
        }
    }

    fn unpacked<L: Lane>(
        &self,
        chunk: u64,
        ring_bits: u8,
        count: u32,
        packed: &[u8],
    ) -> Result<Checksum, Fault> {
        let mut running = Running::new(self, chunk);
        let mut left = count as usize;
        // a block has a multiple of eight lanes: its packed form ends with a whole byte
        for packed in packed.chunks(packed_len(BLOCK, ring_bits)) {
            let mut lanes = [L::default(); BLOCK_LEN];
            let lanes = &mut lanes[..left.min(BLOCK_LEN)];
            unpack_add(packed, ring_bits, lanes)?;
            running.take(lanes);
            left -= lanes.len();
        }
        Ok(running.finish())
    }
}

/// Lanes at a time: they and their stretch of the stream stay in the first-level cache.
const BLOCK: u32 = 1024;
/// The same, as a length.
const BLOCK_LEN: usize = BLOCK as usize;

/// One chunk, block by block; all blocks but the last are whole.
struct Running<'a, L> {
    stream: &'a Projections,
    chunk: u64,
    /// The cipher block it goes on with.
    next: usize,
    sums: [L; PROJECTIONS],
}

impl<'a, L: Lane> Running<'a, L> {
    fn new(stream: &'a Projections, chunk: u64) -> Self {
        Self {
            stream,
            chunk,
            next: 0,
            sums: [L::default(); PROJECTIONS],
        }
    }

    fn take(&mut self, lanes: &[L]) {
        let mut words = [L::default(); BLOCK_LEN + PROJECTIONS];
        let words = &mut words[..lanes.len() + PROJECTIONS];
        let Projections(schedule) = self.stream;
        let first = u32::try_from(self.next).expect("a stream has 2^32 blocks");
        schedule.accumulate(&nonce(0, self.chunk), first, Sign::Plus, words);
        self.next += BLOCK_LEN * L::BYTES / 16;
        let sums = &mut self.sums;
        wide::run(Project { lanes, words, sums });
    }

    fn finish(self) -> Checksum {
        Checksum(self.sums.map(Lane::widen))
    }
}

/// Adds the projections of one block.
struct Project<'a, L> {
    lanes: &'a [L],
    /// As many as lanes, and one more for each projection.
    words: &'a [L],
    sums: &'a mut [L; PROJECTIONS],
}

impl<L: Lane> Job for Project<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (k, sum) in self.sums.iter_mut().enumerate() {
            let pairs = self.lanes.iter().zip(&self.words[k..]);
            *sum = pairs.fold(*sum, |sum, (lane, word)| sum.add(lane.mul(*word)));
        }
    }
}

#[cfg(test)]
mod tests;
