//! Numbers of bytes as people write them: `512 B`, `64 KiB`, `500 MiB`, `2 GiB`.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let found = || text.chars().take(SHOWN_CHARS).collect::<String>();
        let digits_end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits_end);
        let unit = UNITS.iter().find(|(name, _)| *name == unit.trim_start());
        let (Some((_, unit_bytes)), false) = (unit, number.is_empty()) else {
            return Err(SizeError::Form { found: found() });
        };
        let bytes = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*unit_bytes));
        bytes
            .map(Self)
            .ok_or_else(|| SizeError::TooLarge { found: found() })
    }
}

impl fmt::Display for ByteSize {
    /// Writes the largest unit that leaves no rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, unit_bytes): &&(&str, u64)| self.0.is_multiple_of(*unit_bytes);
        let (unit, unit_bytes) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
        write!(f, "{} {unit}", self.0 / unit_bytes)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// A number of bytes that was typed wrongly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not a whole number with a unit.
    #[error(
        "`{found}` is not a size; write a whole number and a unit, as in 512 B, 64 KiB, 500 MiB, 2 GiB or 1 TiB"
    )]
    Form {
        /// What was found, shortened.
        found: String,
    },
    /// Does not fit 64 bits.
    #[error("`{found}` is more than 2^64 bytes")]
    TooLarge {
        /// What was found, shortened.
        found: String,
    },
}

/// Powers of 1024 only: whether MB means 10^6 or 2^20 is not left to guessing.
const UNITS: [(&str, u64); 5] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const SHOWN_CHARS: usize = 80;
