//! The seal on what a journal writes to disk: XChaCha20-Poly1305 under the store key.
//!
//! It keeps a journal's payloads from whoever gets hold of a copy of the database, a backup or a write-ahead log without the key. It does
//! not keep them from the coordinator, and what in a payload is a secret from the coordinator was sealed to its receiver before.
//! An entry's header is bound to its payload, so that a payload opens in no other place. Nonces of 24 bytes may be drawn at random without
//! a count of how many there were.

use std::path::{Path, PathBuf};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use veilsum_daemon::files::{self, FileError};
use veilsum_secagg::keys::Seed;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// The key that seals a journal's payloads.
///
/// # Security
/// It lies beside the journal, in a file that only its owner may read. Whoever copies both can open the payloads.
pub struct StoreKey(Zeroizing<[u8; KEY_BYTES]>);

impl StoreKey {
    /// Reads the key from its file.
    ///
    /// # Errors
    /// [`KeyError::File`], [`KeyError::Length`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let bytes = files::read_secret(path)?;
        match <[u8; KEY_BYTES]>::try_from(bytes.as_slice()) {
            Ok(key) => Ok(Self(Zeroizing::new(key))),
            Err(_) => Err(KeyError::Length {
                path: path.to_owned(),
            }),
        }
    }

    /// Draws a key and writes it to a file that is not there yet.
    ///
    /// # Errors
    /// [`KeyError::File`].
    pub fn create(path: &Path, entropy: impl FnOnce(&mut [u8])) -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        entropy(key.as_mut_slice());
        files::create_secret(path, key.as_slice())?;
        Ok(Self(key))
    }

    /// What the books of staged uploads are kept with: a secret of its own that follows from the key.
    pub(super) fn books(&self) -> Seed {
        Seed::new(blake3::derive_key(
            "veilsum coordinator store v1 books of staged uploads",
            self.0.as_slice(),
        ))
    }

    /// A value by which a journal recognises its key; it does not help to find the key.
    pub(super) fn check_value(&self) -> [u8; KEY_BYTES] {
        blake3::derive_key("veilsum coordinator store v1 key check", self.0.as_slice())
    }
}

/// Fills a buffer with random bytes.
type Entropy = dyn Fn(&mut [u8]) + Send + Sync;

/// Seals and opens payloads.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    entropy: Box<Entropy>,
}

impl Sealer {
    /// Seals under `key` with nonces drawn from `entropy`.
    pub fn new(key: &StoreKey, entropy: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new((&*key.0).into()),
            entropy: Box::new(entropy),
        }
    }

    /// nonce ‖ ciphertext ‖ tag, bound to `header`.
    pub fn seal(&self, header: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut nonce = XNonce::default();
        (self.entropy)(&mut nonce);
        let sealed = self
            .cipher
            .encrypt(
                &nonce,
                Payload {
                    msg: payload,
                    aad: header,
                },
            )
            .expect("a payload is far below the cipher's limit of 256 GiB");
        [nonce.as_slice(), &sealed].concat()
    }

    /// The payload that was sealed with the same `header` and key; nothing if these bytes were not.
    pub fn open(&self, header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        self.cipher
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: sealed,
                    aad: header,
                },
            )
            .ok()
    }
}

/// What is wrong with a store key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is a journal but not its key.
    #[error("the store key {} is missing, and the journal beside it cannot be read without: restore it from a backup", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It is not a key.
    #[error("the store key {} is not {KEY_BYTES} bytes long: restore it from a backup", path.display())]
    Length {
        /// The file.
        path: PathBuf,
    },
    /// Its file cannot be read or written, or others may read it.
    #[error(transparent)]
    File(#[from] FileError),
}

const KEY_BYTES: usize = 32; // XChaCha20-Poly1305
const NONCE_BYTES: usize = 24; // XChaCha20-Poly1305
