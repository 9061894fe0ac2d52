//! A file that is written bit by bit and has no name of its own before it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use veilsum_common::blob::{BlobHasher, BlobRef};

use super::{
    Act, FileError, PUBLIC_MODE, Reading, SECRET_MODE, directory_of, failed, temporary_beside,
};

/// Bytes on their way to a file. Dropped, it leaves nothing behind.
pub struct Draft {
    file: File,
    temporary: PathBuf,
    hasher: BlobHasher,
}

impl Draft {
    /// Begins one that only its owner can read, in the directory where it is to stay.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn secret(directory: &Path) -> Result<Self, FileError> {
        Self::create(&directory.join("draft"), SECRET_MODE)
    }

    /// Begins one that is no secret (mode 0644 before the umask), beside the file that it is to be.
    ///
    /// # Errors
    /// [`FileError::Io`], [`FileError::NoName`].
    pub fn public(path: &Path) -> Result<Self, FileError> {
        Self::create(path, PUBLIC_MODE)
    }

    fn create(beside: &Path, mode: u32) -> Result<Self, FileError> {
        let temporary = temporary_beside(beside)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)
            .map_err(|source| failed(Act::Write, &temporary, source))?;
        Ok(Self {
            file,
            temporary,
            hasher: BlobHasher::default(),
        })
    }

    /// Adds bytes at the end. Where they are all zero nothing is written, so that a file with holes keeps them.
    ///
    /// # Errors
    /// [`FileError::Io`], for instance when the disk is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        for block in bytes.chunks(HOLE_BYTES) {
            let written = if is_zero(block) {
                self.file.set_len(self.len_bytes() + block.len() as u64)
            } else {
                self.file.write_all_at(block, self.len_bytes())
            };
            written.map_err(|source| failed(Act::Write, &self.temporary, source))?;
            self.hasher.update(block);
        }
        Ok(())
    }

    /// Adds all of a file at the end.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn copy(&mut self, from: &Path) -> Result<(), FileError> {
        let unread = |source| failed(Act::Read, from, source);
        let (mut file, mut bytes) = (File::open(from).map_err(unread)?, vec![0; COPY_BYTES]);
        loop {
            match file.read(&mut bytes).map_err(unread)? {
                0 => return Ok(()),
                some => self.write(&bytes[..some])?,
            }
        }
    }

    /// How many bytes there are so far.
    pub fn len_bytes(&self) -> u64 {
        self.hasher.len_bytes()
    }

    /// What was written so far.
    pub fn blob(&self) -> BlobRef {
        self.hasher.finish()
    }

    /// To look at what was written: the very bytes that will have the name.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn read(&self) -> Result<Reading, FileError> {
        let again = self.file.try_clone().and_then(Reading::of);
        again.map_err(|source| failed(Act::Read, &self.temporary, source))
    }

    /// Makes it durable under a name in its directory, whatever had that name before.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn keep(self, path: &Path) -> Result<(), FileError> {
        let kept = self.file.sync_all();
        let kept = kept
            .and_then(|()| self.rename(path))
            .and_then(|()| File::open(directory_of(path))?.sync_all());
        kept.map_err(|source| failed(Act::Write, path, source))
    }

    /// Gives it a name without forcing it to disk: for what is checked before each use and can be had again.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn cache(self, path: &Path) -> Result<(), FileError> {
        self.rename(path)
            .map_err(|source| failed(Act::Write, path, source))
    }

    fn rename(&self, path: &Path) -> io::Result<()> {
        fs::rename(&self.temporary, path)
    }
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().fold(0, |any, byte| any | byte) == 0
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone if it was given its name. One that cannot be removed is looked for by whoever owns the directory.
        drop(fs::remove_file(&self.temporary));
    }
}

/// Bytes looked at for a hole: a few blocks of any file system, and cheap beside hashing them.
const HOLE_BYTES: usize = 64 * 1024;
/// Bytes copied at once: enough for the hash to use all the width of the processor.
const COPY_BYTES: usize = 256 * 1024;
