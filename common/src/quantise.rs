//! From a float update to integers that can be summed without error, and from their sum to the mean.
//!
//! Where it sits: a site quantises its pinned update before `secagg` masks it; the coordinator decodes the unmasked sum
//! in its `final` job. Scale and clipping are this module's business alone; `secagg` sees ring elements only.
//!
//! **No sum can wrap.** A quantised value has v bits, so |q| ≤ Qmax = 2^(v−1)−1. At most n sites are added, hence
//! |Σq| ≤ n·(2^(v−1)−1) < 2^⌈log2 n⌉·2^(v−1) = 2^(m−1) with m = v + ⌈log2 n⌉ ([`ring_bits`]). A ring element below 2^(m−1)
//! in magnitude is its own signed representative, so decoding is exact whatever the order of additions and whoever drops
//! out.
//!
//! Every step is IEEE-754 binary64 in a fixed order and without transcendental functions: the same input gives the same
//! output on every processor, which a resumed upload relies on. Any change here is a new [`QUANTISER_VERSION`].
//!
//! Source: protocol, section 18.

use veilsum_secagg::params::ceil_log2;

mod chunks;

pub use chunks::{Measure, Quantising};

use crate::limits::{CHUNK_ELEMS, MAX_BITS, MAX_CLIP, MAX_WEIGHT, MIN_BITS, MIN_CLIP};

/// Version of the arithmetic below, bound into the run and pinned with every contribution.
pub const QUANTISER_VERSION: u32 = 1;

/// Bits of a ring that holds the sum of `n_max` values of `bits` bits each: m = v + ⌈log2 n⌉. The module says why.
pub fn ring_bits(bits: u8, n_max: u32) -> u8 {
    bits.saturating_add(ceil_log2(n_max))
}

/// The rule by which the sites of a run turn updates into integers, and the coordinator their sum into a mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantiser {
    clamp: f64,
    l2_clip: Option<f64>,
    weight_max: u64,
    q_max: i64,
    /// λ = Qmax / (a·W): quanta per unit of weighted update.
    scale: f64,
}

/// An update as integers, and how much clipping changed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantised {
    /// One value of −Qmax..=Qmax per element: round(weight · clipped element · λ).
    pub lanes: Vec<i64>,
    /// How many elements the clamp to ±a changed.
    pub clipped: u64,
    /// L2 norm of the update as it came.
    pub norm: f64,
    /// What the L2 clip multiplied every element by; 1 if it changed nothing.
    pub factor: f64,
}

impl Quantiser {
    /// A quantiser that clips to `l2_clip` (if any), clamps to ±`clamp`, takes weights up to `weight_max` and yields
    /// values of `bits` bits.
    ///
    /// # Errors
    /// [`QuantiseError::Setting`] names the setting that is out of bounds.
    pub fn new(
        clamp: f64,
        l2_clip: Option<f64>,
        weight_max: u64,
        bits: u8,
    ) -> Result<Self, QuantiseError> {
        let clip = MIN_CLIP..=MAX_CLIP;
        setting("clamp", clamp, MIN_CLIP, MAX_CLIP, clip.contains(&clamp))?;
        let l2 = l2_clip.unwrap_or(MIN_CLIP);
        setting("l2_clip", l2, MIN_CLIP, MAX_CLIP, clip.contains(&l2))?;
        let weight_ok = (1..=MAX_WEIGHT).contains(&weight_max);
        setting(
            "weight_max",
            weight_max as f64,
            1.0,
            MAX_WEIGHT as f64,
            weight_ok,
        )?;
        let bits_ok = (MIN_BITS..=MAX_BITS).contains(&bits);
        setting(
            "bits",
            bits.into(),
            MIN_BITS.into(),
            MAX_BITS.into(),
            bits_ok,
        )?;
        let q_max = (1_i64 << (bits - 1)) - 1;
        let scale = q_max as f64 / (clamp * weight_max as f64);
        Ok(Self {
            clamp,
            l2_clip,
            weight_max,
            q_max,
            scale,
        })
    }

    /// Whether an update is clipped by its L2 norm, which must then be measured before anything is quantised.
    pub fn needs_norm(&self) -> bool {
        self.l2_clip.is_some()
    }

    /// Qmax = 2^(bits−1)−1, the largest magnitude of a lane.
    pub fn q_max(&self) -> i64 {
        self.q_max
    }

    /// q = ⌊y⌋ + \[u < y−⌊y⌋\], clamped to ±Qmax, with y = clamp(x·factor, ±a)·w·λ and factor = min(1, C/‖x‖₂).
    ///
    /// `noise(c, bytes)` must fill `bytes` with the first bytes of chunk c's part of a uniform stream that is fixed for
    /// this contribution; each element takes one little-endian u32 word of it as u = word·2^−32. A chunk is
    /// [`CHUNK_ELEMS`] elements.
    ///
    /// Unbiased: the expectation of q is y, but for the clamp. Cost: O(elements), 8 bytes an element.
    ///
    /// # Errors
    /// NaN or infinity in the update, a weight of zero or above the cap. Nothing is returned then.
    ///
    /// # Security
    /// The result is the update in the clear: it must be masked before it leaves, and never hashed for others to see.
    pub fn quantise(
        &self,
        update: &[f32],
        weight: u64,
        noise: &dyn Fn(u64, &mut [u8]),
    ) -> Result<Quantised, QuantiseError> {
        self.check_weight(weight)?;
        let mut measure = Measure::new();
        measure.add(update)?;
        let second = self.begin(weight, measure)?;
        let (mut first, mut clipped) = (0, 0);
        let mut lanes = vec![0_u64; update.len()];
        let mut words = vec![0; WORD_BYTES * update.len().min(CHUNK_ELEMS as usize)];
        let chunks = update.chunks(CHUNK_ELEMS as usize);
        for ((chunk, values), lanes) in (0..)
            .zip(chunks)
            .zip(lanes.chunks_mut(CHUNK_ELEMS as usize))
        {
            let words = &mut words[..WORD_BYTES * values.len()];
            noise(chunk, words);
            let mut unread = &words[..];
            let mut next = |bytes: &mut [u8]| {
                let (now, rest) = unread.split_at(bytes.len());
                bytes.copy_from_slice(now);
                unread = rest;
            };
            clipped += second.chunk(first, values, &mut next, lanes)?;
            first += values.len() as u64;
        }
        Ok(Quantised {
            lanes: lanes.into_iter().map(u64::cast_signed).collect(),
            clipped,
            norm: second.norm(),
            factor: second.factor(),
        })
    }

    /// Mean update of an element: Σq / (λ·Σw). `weight_sum` is not zero, as metadata decoding has checked.
    pub fn decode(&self, sum: i64, weight_sum: u64) -> f64 {
        sum as f64 / (self.scale * weight_sum as f64)
    }

    fn check_weight(&self, weight: u64) -> Result<(), QuantiseError> {
        match weight {
            0 => Err(QuantiseError::NoWeight),
            w if w > self.weight_max => Err(QuantiseError::WeightAboveCap {
                weight,
                limit: self.weight_max,
            }),
            _ => Ok(()),
        }
    }
}

/// Why an update cannot be quantised.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QuantiseError {
    /// A setting of the run is out of bounds: the study's fault.
    #[error("{setting} is {value}, allowed is {lowest} to {highest}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// The smallest allowed.
        lowest: f64,
        /// The largest allowed.
        highest: f64,
    },
    /// NaN or an infinity: the trainer's fault.
    #[error(
        "element {index} of the update is {value}; check the trainer for a diverged loss or a division by zero"
    )]
    NotFinite {
        /// Index in the flat vector.
        index: u64,
        /// NaN or an infinity.
        value: f32,
    },
    /// A site without examples has nothing to weigh.
    #[error(
        "the weight of the update is 0; a site with no examples should sit the round out (the trainer exits 75)"
    )]
    NoWeight,
    /// More examples than the study allows for.
    #[error(
        "the weight of the update is {weight}, the study allows at most {limit}; \
         raise `secagg.weight.max` in the study, or let the trainer report fewer examples"
    )]
    WeightAboveCap {
        /// The site's weight.
        weight: u64,
        /// The study's `secagg.weight.max`.
        limit: u64,
    },
    /// A scaled value beyond Qmax + 1/2 although it was clamped: our bug.
    #[error(
        "element {index} scales to {value}, beyond {limit} quanta; this is a bug, please report it"
    )]
    BeyondRange {
        /// Index in the flat vector.
        index: u64,
        /// Weighted, scaled value.
        value: f64,
        /// Qmax.
        limit: i64,
    },
}

fn setting(
    setting: &'static str,
    value: f64,
    lowest: f64,
    highest: f64,
    ok: bool,
) -> Result<(), QuantiseError> {
    if ok {
        Ok(())
    } else {
        Err(QuantiseError::Setting {
            setting,
            value,
            lowest,
            highest,
        })
    }
}

/// Noise bytes per element.
const WORD_BYTES: usize = 4;
/// Turns a u32 word into a fraction of 0..1.
const TWO_POW_MINUS_32: f64 = 1.0 / 4_294_967_296.0;

#[cfg(test)]
mod tests;
