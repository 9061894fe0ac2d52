//! A file that is written at any place and has no name of its own before it is whole.
//!
//! Beside [`super::Draft`], which only grows at its end and hashes what it gets.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{Act, FileError, PUBLIC_MODE, directory_of, failed, temporary_beside};

/// Dropped, it leaves nothing behind.
pub struct Unnamed {
    file: File,
    temporary: PathBuf,
}

impl Unnamed {
    /// Begins one that is no secret (mode 0644 before the umask), beside the file that it is to be.
    ///
    /// # Errors
    /// [`FileError::Io`], [`FileError::NoName`].
    pub fn public(path: &Path) -> Result<Self, FileError> {
        let temporary = temporary_beside(path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(PUBLIC_MODE)
            .open(&temporary)
            .map_err(|source| failed(Act::Write, &temporary, source))?;
        Ok(Self { file, temporary })
    }

    /// Makes it durable under its name, whatever had that name before.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn keep(self, path: &Path) -> Result<(), FileError> {
        let kept = self.file.sync_all();
        let kept = kept
            .and_then(|()| fs::rename(&self.temporary, path))
            .and_then(|()| File::open(directory_of(path))?.sync_all());
        kept.map_err(|source| failed(Act::Write, path, source))
    }
}

impl Write for Unnamed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for Unnamed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.file.read(out)
    }
}

impl Seek for Unnamed {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        // Gone if it was given its name.
        drop(fs::remove_file(&self.temporary));
    }
}
