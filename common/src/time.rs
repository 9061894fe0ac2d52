//! Points in time and lengths of time, in whole milliseconds.
//!
//! Time is data here: nobody in the pure crates asks a clock. Sums saturate, so that a hostile deadline cannot wrap
//! into the past.

use std::fmt;
use std::ops::Add;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::shown;

/// Milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// How long ago `earlier` was; zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// A length of time in milliseconds; written `500ms`, `30s`, `10m`, `1.5h` or `7d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub u64);

impl Span {
    /// That many milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// That many seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// The length in milliseconds.
    pub const fn as_ms(self) -> u64 {
        self.0
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Span {
    /// Writes the largest unit that leaves no rest, so that reading it back gives the same length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, unit_ms): &&(&str, u64)| self.0 != 0 && self.0.is_multiple_of(*unit_ms);
        match UNITS.iter().find(fits) {
            Some((unit, unit_ms)) => write!(f, "{}{unit}", self.0 / unit_ms),
            None => f.write_str("0s"),
        }
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let number_ends = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = text.split_at(number_ends.unwrap_or(text.len()));
        let unit_ms = UNITS.iter().find(|(name, _)| *name == unit);
        let (_, unit_ms) = unit_ms.ok_or_else(|| SpanError::Form { found: shown(text) })?;
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (number, None),
        };
        let whole_ms = digits(whole, text)?.checked_mul(*unit_ms);
        let fraction_ms = fraction.map_or(Ok(0), |digits| part(digits, *unit_ms, text))?;
        let sum = whole_ms.and_then(|ms| ms.checked_add(fraction_ms));
        sum.map(Self)
            .ok_or_else(|| SpanError::TooLong { found: shown(text) })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A length of time that was typed wrongly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// Not a number with a unit.
    #[error(
        "`{found}` is not a length of time; write a number and a unit, as in 500ms, 30s, 10m, 1.5h or 7d"
    )]
    Form {
        /// What was found instead, shortened.
        found: String,
    },
    /// Does not come out in whole milliseconds.
    #[error("`{found}` is not a whole number of milliseconds; write fewer decimals")]
    TooFine {
        /// What was found instead, shortened.
        found: String,
    },
    /// Does not fit 64 bits.
    #[error("`{found}` is too long; write at most as many as 2^64 milliseconds")]
    TooLong {
        /// What was found instead, shortened.
        found: String,
    },
}

/// A whole number of digits and nothing else.
fn digits(number: &str, text: &str) -> Result<u64, SpanError> {
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SpanError::Form { found: shown(text) });
    }
    number
        .parse()
        .map_err(|_| SpanError::TooLong { found: shown(text) })
}

/// 0.`fraction` of a unit, in whole milliseconds.
fn part(fraction: &str, unit_ms: u64, text: &str) -> Result<u64, SpanError> {
    let too_fine = || SpanError::TooFine { found: shown(text) };
    let value = digits(fraction, text)?;
    let decimals = u32::try_from(fraction.len()).map_err(|_| too_fine())?;
    let parts = 10_u64.checked_pow(decimals).ok_or_else(too_fine)?;
    let scaled = value.checked_mul(unit_ms).ok_or_else(too_fine)?;
    if scaled.is_multiple_of(parts) {
        Ok(scaled / parts)
    } else {
        Err(too_fine())
    }
}

/// Units and their milliseconds, longest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

#[cfg(test)]
mod tests;
