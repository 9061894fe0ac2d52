//! The two key files of a site: its protocol identity, and the key that seals its journal.
//!
//! Sits between `daemon::files`, which guards permissions and durability, and `journal`, `enrol` and
//! the driver. A key file is made once and never overwritten: a lost identity means enrolling again,
//! and a replaced store key would turn the journal into noise. Deliberately absent: rotation,
//! hardware keys, and any way to print a key.

use std::io;
use std::path::{Path, PathBuf};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use veilsum_daemon::files::{self, FileError};
use zeroize::Zeroizing;

/// Bytes of an Ed25519 seed and of an XChaCha20-Poly1305 key alike.
pub const KEY_BYTES: usize = 32;

/// Seals every payload and every secret of the journal; erased from memory when dropped.
pub struct StoreKey(Zeroizing<[u8; KEY_BYTES]>);

impl StoreKey {
    /// Wraps a key that somebody else keeps safe.
    #[must_use]
    pub fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(bytes)
    }

    /// Loads `store.key`, and makes it when there is none yet.
    ///
    /// # Errors
    /// Whatever is wrong with the file. That a *new* key meets an old journal is noticed by
    /// [`Journal::open`](crate::journal::Journal::open).
    pub fn open(path: &Path, fill: impl FnOnce(&mut [u8])) -> Result<Self, KeystoreError> {
        match load(path) {
            Err(KeystoreError::Missing { .. }) => create(path, fill).map(Self),
            loaded => loaded.map(Self),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// Makes the seed of the site's Ed25519 protocol identity, once, and returns it.
///
/// # Errors
/// [`FileError::Exists`] when there is one: it is left untouched.
pub fn create_identity(
    path: &Path,
    fill: impl FnOnce(&mut [u8]),
) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeystoreError> {
    create(path, fill)
}

/// Reads the seed of the site's Ed25519 protocol identity: 64 hexadecimal digits, or 32 raw bytes.
///
/// # Errors
/// A file that is missing, that others may read, or that is no key.
pub fn load_identity(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeystoreError> {
    load(path)
}

/// What is wrong with a key file, and what to do about it. Never its contents.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// No file there.
    #[error("there is no key file {}; `veilsum participant csr NAME` makes the keys of a site", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Not 32 bytes of key.
    #[error(
        "the file {} is no key: expected 64 hexadecimal digits or 32 raw bytes, found {len_bytes} bytes of something else; \
         restore it from a backup, or enrol the site again",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Its length.
        len_bytes: usize,
    },
    /// The file itself is at fault: its permissions, its name, or the disk under it.
    #[error(transparent)]
    File(#[from] FileError),
}

fn load(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeystoreError> {
    let text = match files::read_secret(path) {
        Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(KeystoreError::Missing { path: path.into() });
        }
        read => read?,
    };
    parse(&text).ok_or_else(|| KeystoreError::Malformed {
        path: path.into(),
        len_bytes: text.len(),
    })
}

fn parse(text: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    if text.len() == KEY_BYTES {
        key.copy_from_slice(text);
        return Some(key);
    }
    let digits = text.strip_suffix(b"\n").unwrap_or(text);
    if digits.len() != 2 * KEY_BYTES {
        return None;
    }
    HEXLOWER_PERMISSIVE.decode_mut(digits, key.as_mut()).ok()?;
    Some(key)
}

fn create(
    path: &Path,
    fill: impl FnOnce(&mut [u8]),
) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeystoreError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    fill(key.as_mut());
    let mut text = Zeroizing::new([b'\n'; 2 * KEY_BYTES + 1]);
    HEXLOWER.encode_mut(key.as_ref(), &mut text[..2 * KEY_BYTES]);
    files::create_secret(path, text.as_ref())?;
    Ok(key)
}

#[cfg(test)]
mod tests;
