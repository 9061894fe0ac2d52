//! Ed25519 keys in the form of OpenSSH: who signed a file, and SSH keys as recipients.
//!
//! The form is that of `ssh-keygen -t ed25519`, so that a signer's key can be made, looked at and replaced with stock tools.
//! What it deliberately does not do: other key types, and private keys under a passphrase.
//! Sources: RFC 8709, section 4; RFC 4251, section 5; OpenSSH, PROTOCOL.key.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::entropy::{Entropy, draw};
use crate::error::Error;
use wire::{Reader, put};

pub(crate) mod wire;

/// A public Ed25519 key: a valid point of large order.
#[derive(Clone, PartialEq, Eq)]
pub struct SshPublic(VerifyingKey);

impl SshPublic {
    fn of(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = Error::Key("an SSH key is no Ed25519 key");
        let Ok(bytes) = <&[u8; 32]>::try_from(bytes) else {
            return Err(wrong);
        };
        match VerifyingKey::from_bytes(bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(key)),
            _ => Err(wrong),
        }
    }

    /// The key as SSH writes it in bytes.
    pub(crate) fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        put(&mut wire, ALGORITHM.as_bytes());
        put(&mut wire, self.0.as_bytes());
        wire
    }

    /// Reads what [`SshPublic::wire`] writes.
    pub(crate) fn parse_wire(wire: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(wire);
        let algorithm = reader.string()?;
        let key = reader.string()?;
        if algorithm != ALGORITHM.as_bytes() || !reader.is_empty() {
            return Err(Error::Key("an SSH key is no Ed25519 key"));
        }
        Self::of(key)
    }

    pub(crate) fn verify_key(&self) -> &VerifyingKey {
        &self.0
    }
}

impl FromStr for SshPublic {
    type Err = Error;

    /// `ssh-ed25519 AAAA… comment`, as in a `.pub` file.
    fn from_str(line: &str) -> Result<Self, Error> {
        let mut words = line.split_ascii_whitespace();
        let (algorithm, key) = (words.next(), words.next().unwrap_or_default());
        if algorithm != Some(ALGORITHM) {
            return Err(Error::Key("an SSH key is no Ed25519 key"));
        }
        let wire = BASE64.decode(key.as_bytes());
        let wire = wire.map_err(|_| Error::Key("an SSH key is mistyped or cut"))?;
        Self::parse_wire(&wire)
    }
}

impl fmt::Display for SshPublic {
    /// Without a comment: one key has one text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM} {}", BASE64.encode(&self.wire()))
    }
}

impl fmt::Debug for SshPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SshPublic({self})")
    }
}

/// A private Ed25519 key. It has neither `Debug` nor `Clone` and is erased when dropped.
pub struct SshIdentity {
    key: SigningKey,
    public: SshPublic,
}

impl SshIdentity {
    /// A fresh key.
    pub fn draw(entropy: &mut dyn Entropy) -> Self {
        Self::of(&draw(entropy))
    }

    fn of(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let public = SshPublic(key.verifying_key());
        Self { key, public }
    }

    /// The public half.
    pub fn public(&self) -> &SshPublic {
        &self.public
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// The first half of SHA-512 of the seed, as RFC 8032 makes the secret scalar of it.
    pub(crate) fn scalar(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_scalar_bytes())
    }

    /// A private key file of OpenSSH.
    ///
    /// # Errors
    /// [`Error::KeyEncrypted`] if it has a passphrase, [`Error::Key`] if it is something else. No part of it is quoted.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Key("a private key is not in the form of OpenSSH");
        let body = text.trim().strip_prefix(BEGIN);
        let body = body.and_then(|rest| rest.strip_suffix(END));
        let digits: Zeroizing<String> =
            Zeroizing::new(body.ok_or_else(wrong)?.split_ascii_whitespace().collect());
        let bytes = BASE64.decode(digits.as_bytes());
        let bytes = Zeroizing::new(bytes.map_err(|_| wrong())?);
        let mut outer = Reader::new(bytes.strip_prefix(MAGIC).ok_or_else(wrong)?);
        let (cipher, _kdf, _options) = (outer.string()?, outer.string()?, outer.string()?);
        if cipher != b"none" {
            return Err(Error::KeyEncrypted);
        }
        if outer.number()? != 1 {
            return Err(wrong());
        }
        let public = SshPublic::parse_wire(outer.string()?)?;
        let key = Self::parse_private(outer.string()?)?;
        if !outer.is_empty() || key.public != public {
            return Err(wrong());
        }
        Ok(key)
    }

    /// The part of a key file that could be encrypted.
    fn parse_private(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = || Error::Key("a private key is damaged");
        let mut inner = Reader::new(bytes);
        if inner.number()? != inner.number()? {
            return Err(wrong());
        }
        if inner.string()? != ALGORITHM.as_bytes() {
            return Err(Error::Key("an SSH key is no Ed25519 key"));
        }
        let public = inner.string()?;
        let pair = inner.string()?;
        let (seed, again) = pair.split_first_chunk().ok_or_else(wrong)?;
        let key = Self::of(seed);
        let _comment = inner.string()?;
        let padding = (1..).zip(inner.rest()).all(|(n, byte)| n == *byte);
        if public != again || public != key.public.0.as_bytes() || !padding {
            return Err(wrong());
        }
        Ok(key)
    }

    /// The private key file, as OpenSSH writes one without a passphrase.
    pub fn expose(&self, comment: &str, entropy: &mut dyn Entropy) -> Zeroizing<String> {
        let check = draw::<4>(entropy);
        let mut inner = Zeroizing::new(Vec::with_capacity(512 + comment.len()));
        inner.extend_from_slice(&check[..]);
        inner.extend_from_slice(&check[..]);
        put(&mut inner, ALGORITHM.as_bytes());
        put(&mut inner, self.public.0.as_bytes());
        put(&mut inner, &Zeroizing::new(self.key.to_keypair_bytes())[..]);
        put(&mut inner, comment.as_bytes());
        for byte in 1.. {
            if inner.len().is_multiple_of(8) {
                break;
            }
            inner.push(byte);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(1024 + comment.len()));
        bytes.extend_from_slice(MAGIC);
        put(&mut bytes, b"none");
        put(&mut bytes, b"none");
        put(&mut bytes, b"");
        bytes.extend_from_slice(&1_u32.to_be_bytes());
        put(&mut bytes, &self.public.wire());
        put(&mut bytes, &inner);
        let digits = Zeroizing::new(BASE64.encode(&bytes));
        let mut text = Zeroizing::new(String::with_capacity(2048 + 2 * comment.len()));
        text.push_str(BEGIN);
        text.push('\n');
        wire::wrapped(&digits, &mut text);
        text.push_str(END);
        text.push('\n');
        text
    }
}

pub(crate) const ALGORITHM: &str = "ssh-ed25519";
const MAGIC: &[u8] = b"openssh-key-v1\0";
const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";

#[cfg(test)]
mod tests;
