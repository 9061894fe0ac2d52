//! A small seeded generator for splits, initial models and the order of training rows.
//!
//! Not for secrets: 64 bits of state that one output reveals. Masks, keys and everything else that must be unpredictable come from elsewhere.
//! Source: SplitMix64, Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.

/// What random numbers are for: each purpose has its own stream of one seed, so that a change in one use leaves the others alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Which rows are held out for the test.
    TestRows,
    /// Which rows go to which site.
    Sites,
    /// The weights that training starts from.
    InitialModel,
    /// The order of rows in the local training of this round.
    Round(u32),
}

impl Purpose {
    /// Distinct for distinct purposes; rounds are 32 bits wide, the other purposes lie above them.
    fn number(self) -> u64 {
        match self {
            Self::Round(round) => u64::from(round),
            Self::TestRows => 1 << 32,
            Self::Sites => 2 << 32,
            Self::InitialModel => 3 << 32,
        }
    }
}

/// The generator. Equal seed and purpose, equal numbers, on every processor.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// Starts the stream of this seed that serves this purpose.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        let mut outer = Self { state: seed };
        Self {
            state: outer.word() ^ mix(purpose.number().wrapping_add(GOLDEN_GAMMA)),
        }
    }

    /// Returns the next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        mix(self.state)
    }

    /// Returns a number in `0..bound`; 0 for a bound of 0. The bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.word()) * (bound as u128);
        usize::try_from(product >> 64).expect("the high half of word × bound is below bound")
    }

    /// Returns a number in `[-1, 1)` with 24 random bits.
    pub fn signed_unit(&mut self) -> f32 {
        let bits = u32::try_from(self.word() >> 40).expect("24 bits remain");
        bits as f32 * (2.0 / 16_777_216.0) - 1.0
    }

    /// Brings the items into random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// 2^64 divided by the golden ratio, made odd: the paper's increment.
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests;
