//! A file that is read by position, however long it is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use veilsum_common::blob::{BlobHasher, BlobRef};
use veilsum_common::model::{Source, Unread};

use super::{Act, FileError, failed, open};

/// An open file and the length it had then. No memory map: a file that is cut short gives an error and not a signal.
pub struct Reading {
    file: File,
    len_bytes: u64,
}

impl Reading {
    /// Opens a regular file.
    ///
    /// # Errors
    /// [`FileError::NotAFile`], [`FileError::Io`].
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Self::of(open(path)?).map_err(|source| failed(Act::Read, path, source))
    }

    /// A file that is open already.
    ///
    /// # Errors
    /// If its length cannot be had.
    pub fn of(file: File) -> io::Result<Self> {
        let len_bytes = file.metadata()?.len();
        Ok(Self { file, len_bytes })
    }

    /// What it holds now: reads all of it.
    ///
    /// # Errors
    /// If it cannot be read, or is shorter than it was.
    pub fn blob(&self) -> io::Result<BlobRef> {
        let mut hasher = BlobHasher::default();
        let mut bytes = vec![0; HASH_BYTES];
        let mut offset = 0;
        while offset < self.len_bytes {
            let left = usize::try_from(self.len_bytes - offset).unwrap_or(usize::MAX);
            let some = &mut bytes[..left.min(HASH_BYTES)];
            self.file.read_exact_at(some, offset)?;
            hasher.update(some);
            offset += some.len() as u64;
        }
        Ok(hasher.finish())
    }
}

impl Source for Reading {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> Result<(), Unread> {
        Ok(self.file.read_exact_at(out, offset)?)
    }
}

/// Bytes hashed at once: enough for the hash to use all the width of the processor, and little beside anything else a process holds.
const HASH_BYTES: usize = 256 * 1024;
