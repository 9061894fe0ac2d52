//! Names of things: a run, a site. Newtypes, so that one cannot be taken for another.
//!
//! They are checked when they are parsed. Making a fresh one needs entropy and is therefore done at the edge.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

use crate::limits::MAX_SITE_NAME;

/// A run: 16 random bytes, written `run_` and 26 characters of lower-case base32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RunId([u8; 16]);

impl RunId {
    /// The run with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, as the protocol hashes them.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = BASE32_NOPAD.encode(&self.0).to_ascii_lowercase();
        write!(f, "{RUN_PREFIX}{text}")
    }
}

impl FromStr for RunId {
    type Err = IdError;

    /// Accepts only what `Display` writes: one run has one spelling.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::Run { found: shown(text) };
        let digits = text.strip_prefix(RUN_PREFIX).ok_or_else(wrong)?;
        if digits.len() != RUN_DIGITS || digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(wrong());
        }
        let bytes = BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes());
        let bytes = bytes.map_err(|_| wrong())?;
        Ok(Self(bytes.try_into().map_err(|_| wrong())?))
    }
}

/// A site's name: a lower-case DNS label, since it stands in certificates, logs and file names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SiteName(String);

impl SiteName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SiteName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let starts_well = text.bytes().next().is_some_and(alphanumeric);
        let allowed = text.bytes().all(|b| alphanumeric(b) || b == b'-');
        if !starts_well || !allowed || text.len() > MAX_SITE_NAME {
            return Err(IdError::Site { found: shown(text) });
        }
        Ok(Self(text.to_owned()))
    }
}

/// A name that was typed wrongly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a run id.
    #[error(
        "`{found}` is not a run id; one is written `run_` and 26 characters of a-z and 2-7, \
         `veilsum run list` shows them"
    )]
    Run {
        /// What was found instead, shortened.
        found: String,
    },
    /// Not a site's name.
    #[error(
        "`{found}` is not a site name; use 1 to {MAX_SITE_NAME} characters of a-z, 0-9 and `-`, \
         beginning with a letter or a digit"
    )]
    Site {
        /// What was found instead, shortened.
        found: String,
    },
}

macro_rules! text_conversions {
    ($name:ty) => {
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
    };
}

text_conversions!(RunId);
text_conversions!(SiteName);

/// Hexadecimal text for a digest in JSON and TOML: `#[serde(with = "digest_hex")]`.
pub mod digest_hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use veilsum_secagg::Digest;

    /// Writes 64 hexadecimal characters.
    ///
    /// # Errors
    /// Those of the serialiser.
    pub fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(digest)
    }

    /// Reads 64 hexadecimal characters.
    ///
    /// # Errors
    /// Those of the deserialiser, and text that is not a digest.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// At most 80 characters of what somebody typed, without control characters: fit for a message.
pub(crate) fn shown(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { '?' } else { c });
    clean.take(80).collect()
}

const RUN_PREFIX: &str = "run_";
/// ⌈128 bits / 5 bits a character⌉.
const RUN_DIGITS: usize = 26;

#[cfg(test)]
mod tests;
