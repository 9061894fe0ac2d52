//! Canonical bytes of everything that is hashed, derived or signed. Protobuf bytes never are: they are not canonical.
//!
//! `I(label, a, b, …) = "veilsum/v1/" ‖ label ‖ 0x00 ‖ LE64(|a|) ‖ a ‖ LE64(|b|) ‖ b ‖ …`. Source: protocol, section 3.

use core::fmt;
use core::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::labels::PREFIX;

/// A 32-byte hash: SHA-256 of canonical bytes, or BLAKE3 of bulk data. Public; never a secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Stands where a hash is required and nothing exists yet (no earlier result, no earlier attempt).
    pub const ZERO: Self = Self([0; 32]);

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// BLAKE3 of `data`, the hash of models, updates and packed chunks.
    pub fn of_bulk(data: &[u8]) -> Self {
        Self(*blake3::hash(data).as_bytes())
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits, found {chars} characters")]
pub struct NotADigest {
    /// Length of what was found.
    pub chars: usize,
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let wrong = NotADigest {
            chars: text.chars().count(),
        };
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong);
        }
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |d: u8| {
                char::from(d)
                    .to_digit(16)
                    .and_then(|v| u8::try_from(v).ok())
                    .ok_or(wrong)
            };
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(out))
    }
}

/// Feeds `I(label, parts…)` to `sink` piece by piece.
pub(crate) fn absorb(mut sink: impl FnMut(&[u8]), label: &str, parts: &[&[u8]]) {
    sink(PREFIX);
    sink(label.as_bytes());
    sink(&[0]);
    for part in parts {
        sink(&(part.len() as u64).to_le_bytes());
        sink(part);
    }
}

/// `I(label, parts…)` as bytes, for the one message whose signature scheme hashes it itself.
pub(crate) fn info(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    absorb(|bytes| out.extend_from_slice(bytes), label, parts);
    out
}

/// `F(parts…)`: each part preceded by its length.
pub(crate) fn fields(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// `H(label, parts…)`.
pub(crate) fn hash(label: &str, parts: &[&[u8]]) -> Digest {
    let mut sha = Sha256::new();
    absorb(|bytes| sha.update(bytes), label, parts);
    Digest(sha.finalize().into())
}

/// `Extract(salt, ikm)` of RFC 5869.
pub(crate) fn extract(salt: &[u8], ikm: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = mac(salt);
    mac.update(ikm);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// `Expand(prk, label, parts…)`: one block of HKDF-Expand with canonical info.
pub(crate) fn expand(prk: &[u8; 32], label: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut mac = mac(prk);
    absorb(|bytes| mac.update(bytes), label, parts);
    mac.update(&[1]);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// `KDF(salt, ikm, label, parts…) = Expand(Extract(salt, ikm), label, parts…)`.
pub(crate) fn kdf(salt: &[u8], ikm: &[u8], label: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    expand(&extract(salt, ikm), label, parts)
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// `LE32`.
pub(crate) fn le32(value: u32) -> [u8; 4] {
    value.to_le_bytes()
}

/// `LE64`.
pub(crate) fn le64(value: u64) -> [u8; 8] {
    value.to_le_bytes()
}
