//! The payload's cipher: chunks of 64 KiB under ChaCha20-Poly1305, each with its number and whether it is the last.
//!
//! The cipher is that of aws-lc-rs: on the same bytes it is half as fast again as a portable one. Numbers, and so nonces, come from
//! the position in the file alone; [`super::writer`] writes every position once, [`super::reader`] reads any.

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};

use super::{FileKey, NONCE_BYTES, cipher};

/// Where a chunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) index: u64,
    pub(crate) last: bool,
}

impl Position {
    /// The first 11 bytes are a big-endian counter, the last is 1 for the final chunk.
    fn nonce(self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.index.to_be_bytes());
        nonce[11] = u8::from(self.last);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// The key of one payload.
pub(crate) struct PayloadKey(LessSafeKey);

impl PayloadKey {
    /// `payload key = HKDF-SHA-256(ikm = file key, salt = nonce, info = "payload")`
    pub(crate) fn derive(file_key: &FileKey, nonce: &[u8; NONCE_BYTES]) -> Self {
        Self(cipher(&file_key.derive(nonce, b"payload")))
    }

    /// Encrypts `sealed` but for its last 16 bytes, which become the tag.
    ///
    /// # Security
    /// A position is sealed once: two plaintexts under one nonce give each other away.
    pub(crate) fn seal(&self, at: Position, sealed: &mut [u8]) {
        let (text, tag) = sealed.split_at_mut(sealed.len() - TAG_BYTES);
        let made = self
            .0
            .seal_in_place_separate_tag(at.nonce(), Aad::empty(), text);
        tag.copy_from_slice(made.expect("a chunk is not too long").as_ref());
    }

    /// Decrypts a whole chunk into `out`; false if it is not the one that was sealed at this position.
    pub(crate) fn open(&self, at: Position, sealed: &[u8], out: &mut [u8]) -> bool {
        let (text, tag) = sealed.split_at(sealed.len() - TAG_BYTES);
        let opened = self
            .0
            .open_separate_gather(at.nonce(), Aad::empty(), text, tag, out);
        opened.is_ok()
    }
}

/// Plaintext of one chunk; only the last has less.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;
pub(crate) const TAG_BYTES: usize = 16;
/// One chunk in the file.
pub(crate) const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
