//! Sealing with the store key: XChaCha20-Poly1305, a random nonce in front, the place as associated data.
//!
//! A sealed blob moved to another row, stream or number does not open. Deliberately absent: what is
//! sealed, and erasing it, which is removing the blob.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use veilsum_common::time::Timestamp;
use zeroize::Zeroizing;

use crate::keystore::StoreKey;

/// Fills a buffer with randomness.
pub(super) type Fill = Box<dyn FnMut(&mut [u8]) + Send>;

/// Seals and opens; draws a fresh nonce for each blob.
pub(super) struct Sealer {
    cipher: XChaCha20Poly1305,
    fill: Fill,
}

/// Where a sealed blob belongs.
#[derive(Clone, Copy)]
pub(super) enum Context<'a> {
    /// The payload of an entry.
    Entry {
        stream: &'a str,
        number: u64,
        at: Timestamp,
        kind: &'a str,
    },
    /// A secret of a stream.
    Secret { stream: &'a str, name: &'a str },
    /// Proof that the journal was made with this key.
    KeyCheck,
}

impl Sealer {
    pub(super) fn new(key: &StoreKey, fill: Fill) -> Self {
        let cipher = XChaCha20Poly1305::new(&Key::from(*key.as_bytes()));
        Self { cipher, fill }
    }

    /// `nonce ‖ ciphertext ‖ tag`.
    pub(super) fn seal(&mut self, context: Context<'_>, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        (self.fill)(&mut nonce);
        let aad = context.associated_data();
        let sealed = self
            .cipher
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: plain,
                    aad: &aad,
                },
            )
            .expect("what the journal seals is far below the cipher's 256 GiB");
        [nonce.as_slice(), &sealed].concat()
    }

    /// The plain bytes, or nothing when the blob was changed, moved, or sealed with another key.
    pub(super) fn open(&self, context: Context<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let aad = context.associated_data();
        let payload = Payload {
            msg: sealed,
            aad: &aad,
        };
        let plain = self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()?;
        Some(Zeroizing::new(plain))
    }
}

impl Context<'_> {
    fn associated_data(self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("veilsum/v1/participant-journal/seal");
        match self {
            Self::Entry {
                stream,
                number,
                at,
                kind,
            } => {
                absorb(&mut hasher, b"entry");
                absorb(&mut hasher, stream.as_bytes());
                absorb(&mut hasher, &number.to_le_bytes());
                absorb(&mut hasher, &at.0.to_le_bytes());
                absorb(&mut hasher, kind.as_bytes());
            }
            Self::Secret { stream, name } => {
                absorb(&mut hasher, b"secret");
                absorb(&mut hasher, stream.as_bytes());
                absorb(&mut hasher, name.as_bytes());
            }
            Self::KeyCheck => absorb(&mut hasher, b"key check"),
        }
        hasher.finalize().into()
    }
}

/// `LE64(|bytes|) ‖ bytes`, so that no two lists of fields hash alike.
pub(super) fn absorb(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    let len = u64::try_from(bytes.len()).expect("a length in memory fits in 64 bits");
    hasher.update(&len.to_le_bytes());
    hasher.update(bytes);
}

/// Long enough to be drawn at random for as many blobs as a site will ever seal.
const NONCE_BYTES: usize = 24;
