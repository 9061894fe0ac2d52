//! Quantising in two passes over slices: an update never has to be in memory as a whole.
//!
//! First [`Measure`] sees every element in order, then the [`Quantising`] that it turns into sees them again, chunk by chunk in any order,
//! and writes lanes. The arithmetic is that of the module above, without branches, so that one instruction does several elements.

use veilsum_secagg::ring::Lane;
use veilsum_secagg::wide::{self, Job};

use super::{QuantiseError, Quantiser, TWO_POW_MINUS_32, WORD_BYTES};

/// First pass: is every element finite, and how long is the vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measure {
    /// Σx², summed in index order. An f32 squared is at most 2^256, so 2^34 of them stay finite.
    squares: f64,
    elements: u64,
}

impl Measure {
    /// Of an update of which nothing was seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next slice of the update. Cost: one addition after the other, since their order is part of the result.
    ///
    /// # Errors
    /// [`QuantiseError::NotFinite`].
    pub fn add(&mut self, values: &[f32]) -> Result<(), QuantiseError> {
        let squares = values
            .iter()
            .map(|value| f64::from(*value) * f64::from(*value))
            .fold(self.squares, |sum, square| sum + square);
        if !squares.is_finite() {
            return Err(not_finite(values, self.elements));
        }
        self.squares = squares;
        self.elements += values.len() as u64;
        Ok(())
    }
}

/// The first NaN or infinity of a slice that has one.
fn not_finite(values: &[f32], before: u64) -> QuantiseError {
    let found = (before..).zip(values).find(|(_, value)| !value.is_finite());
    let (index, value) = found.expect("the squares of finite elements have a finite sum");
    QuantiseError::NotFinite {
        index,
        value: *value,
    }
}

/// Second pass: writes the lanes of one chunk, whichever is asked for. Chunks know nothing of each other.
#[derive(Clone, Copy, Debug)]
pub struct Quantising {
    rule: Rule,
    norm: f64,
}

impl Quantiser {
    /// Begins the second pass over the update that was measured.
    ///
    /// # Errors
    /// A weight of zero or above the cap.
    pub fn begin(&self, weight: u64, measured: Measure) -> Result<Quantising, QuantiseError> {
        self.check_weight(weight)?;
        let norm = f64::sqrt(measured.squares);
        let factor = match self.l2_clip {
            Some(clip) if norm > clip => clip / norm,
            _ => 1.0,
        };
        let rule = Rule {
            factor,
            clamp: self.clamp,
            weight: weight as f64,
            scale: self.scale,
            q_max: self.q_max as f64,
        };
        Ok(Quantising { rule, norm })
    }
}

impl Quantising {
    /// L2 norm of the update as it came.
    pub fn norm(&self) -> f64 {
        self.norm
    }

    /// What the L2 clip multiplies every element by; 1 if it changes nothing.
    pub fn factor(&self) -> f64 {
        self.rule.factor
    }

    /// Writes the lanes of one chunk: two's complement in the ring's lane type, not yet masked. Gives how many elements the clamp to ±a
    /// changed. `first` is the index of the first of them in the update, for the error.
    ///
    /// `noise` must fill the bytes it is given with the next ones of the chunk's part of a uniform stream that is fixed for this
    /// contribution, starting at its beginning; each element takes one little-endian u32 word. A chunk is [`CHUNK_ELEMS`]
    /// elements, the last one fewer. Memory: 8 kB.
    ///
    /// [`CHUNK_ELEMS`]: crate::limits::CHUNK_ELEMS
    ///
    /// # Errors
    /// An element that is not finite, which was not there in the first pass, or a value beyond its range, which is our bug.
    ///
    /// # Panics
    /// If there are not as many lanes as values.
    ///
    /// # Security
    /// The lanes are the update in the clear: they must be masked before they leave, and never hashed for others to see.
    pub fn chunk<L: Lane>(
        &self,
        first: u64,
        values: &[f32],
        noise: &mut dyn FnMut(&mut [u8]),
        lanes: &mut [L],
    ) -> Result<u64, QuantiseError> {
        assert_eq!(values.len(), lanes.len(), "one lane for each value");
        let (mut done, mut clipped) = (first, 0);
        let mut words = [0; BLOCK_ELEMS * WORD_BYTES];
        for (values, lanes) in values
            .chunks(BLOCK_ELEMS)
            .zip(lanes.chunks_mut(BLOCK_ELEMS))
        {
            let words = &mut words[..values.len() * WORD_BYTES];
            noise(words);
            let rule = self.rule;
            let block = Block {
                rule,
                values,
                words,
                lanes,
            };
            clipped += wide::run(block).ok_or_else(|| self.rule.first_bad(values, done))?;
            done += values.len() as u64;
        }
        Ok(clipped)
    }
}

/// The numbers of [`Quantiser::quantise`]'s formula.
#[derive(Clone, Copy, Debug)]
struct Rule {
    factor: f64,
    clamp: f64,
    weight: f64,
    scale: f64,
    q_max: f64,
}

impl Rule {
    /// The element before and after clamping, and y.
    #[inline(always)]
    fn scale(&self, value: f32) -> (f64, f64, f64) {
        let scaled = f64::from(value) * self.factor;
        let low = if scaled < -self.clamp {
            -self.clamp
        } else {
            scaled
        };
        let x = if low > self.clamp { self.clamp } else { low };
        (scaled, x, x * self.weight * self.scale)
    }

    /// The largest magnitude of y: Qmax + 1/2.
    #[inline(always)]
    fn limit(&self) -> f64 {
        self.q_max + 0.5
    }

    /// What is wrong in a block in which something is.
    fn first_bad(&self, values: &[f32], before: u64) -> QuantiseError {
        let scaled = (before..).zip(values).map(|(index, value)| {
            let (_, _, y) = self.scale(*value);
            (index, *value, y)
        });
        let (index, value, y) = { scaled }
            .find(|(_, value, y)| !value.is_finite() || y.abs() > self.limit())
            .expect("the block has such an element");
        if value.is_finite() {
            #[expect(clippy::cast_possible_truncation, reason = "Qmax was an i64")]
            let limit = self.q_max as i64;
            QuantiseError::BeyondRange {
                index,
                value: y,
                limit,
            }
        } else {
            QuantiseError::NotFinite { index, value }
        }
    }
}

/// A few elements with their noise.
struct Block<'a, L> {
    rule: Rule,
    values: &'a [f32],
    words: &'a [u8],
    lanes: &'a mut [L],
}

impl<L: Lane> Job for Block<'_, L> {
    /// How many elements the clamp changed; `None` if one is not a number or beyond its range.
    type Output = Option<u64>;

    #[inline(always)]
    fn run(self) -> Option<u64> {
        let (rule, mut clipped, mut largest) = (self.rule, 0, 0);
        let (words, _) = self.words.as_chunks::<WORD_BYTES>();
        for ((value, word), lane) in self.values.iter().zip(words).zip(self.lanes) {
            let (scaled, x, y) = rule.scale(*value);
            clipped += u64::from(x != scaled);
            largest = largest.max(y.abs().to_bits());
            let u = f64::from(u32::from_le_bytes(*word)) * TWO_POW_MINUS_32;
            let floor = y.floor();
            let q = if u < y - floor { floor + 1.0 } else { floor };
            let low = if q < -rule.q_max { -rule.q_max } else { q };
            let q = if low > rule.q_max { rule.q_max } else { low };
            *lane = L::of((q + WHOLE).to_bits().wrapping_sub(WHOLE.to_bits()));
        }
        // numbers without sign are ordered as their bits are, infinities above them, and NaN above those
        let beyond = largest > rule.limit().to_bits();
        // the clamp hides an infinity, but counts it
        let infinite = clipped > 0 && self.values.iter().any(|value| value.is_infinite());
        (!beyond && !infinite).then_some(clipped)
    }
}

/// Elements quantised together: their noise stays in the first-level cache.
const BLOCK_ELEMS: usize = 2048;

/// 1.5 · 2^52. Binary64 numbers near it are whole and one apart: when a whole number below 2^51 is added, the bits differ by it.
const WHOLE: f64 = 6_755_399_441_055_744.0;
