//! Files that survive a crash, and secrets that only their owner can read.
//!
//! A write goes to a temporary file beside the target, is forced to disk, renamed over the target (or linked, when the
//! target must not exist yet), and the directory is forced to disk: after a crash there is the old content or the new
//! one, never a part. What the bytes mean is the caller's business.

mod draft;
mod reading;
mod unnamed;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

pub use draft::Draft;
pub use reading::Reading;
pub use unnamed::Unnamed;

use crate::entropy;

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {act} {}: {source}", path.display())]
    Io {
        /// What was being done to the file.
        act: Act,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file of this name is there already and must not be replaced.
    #[error("{} exists already and is not overwritten; move it away first if it is no longer needed", path.display())]
    Exists {
        /// The file that is there.
        path: PathBuf,
    },
    /// Somebody other than the owner may read or write a secret.
    #[error("{} has mode {:04o}, so others than its owner can reach this secret; run: chmod 600 {}", path.display(), mode, path.display())]
    Exposed {
        /// The secret's file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The path names a directory, a socket or a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is longer than anything that belongs there.
    #[error("{} is longer than {limit_bytes} bytes, the limit for such a file; is it the right one?", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit_bytes: u64,
    },
    /// The path ends in no file name.
    #[error("{} names no file", path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },
}

/// What was being done to a file when the operating system refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    /// Opening or reading it.
    Read,
    /// Creating, writing, renaming it or forcing it to disk.
    Write,
    /// Creating a directory.
    CreateDirectory,
}

impl std::fmt::Display for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::CreateDirectory => "create directory",
        })
    }
}

/// Writes a secret with mode 0600, replacing what was there.
///
/// # Errors
/// [`FileError::Io`], [`FileError::NoName`]. The old content is then still in place, unless the directory alone could
/// not be forced to disk.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, SECRET_MODE, Existing::Replace)
}

/// Writes a secret with mode 0600 under a name that must be free.
///
/// # Errors
/// [`FileError::Exists`] when it is not, even if two processes race; else as [`write_secret`].
pub fn create_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, SECRET_MODE, Existing::Refuse)
}

/// Writes a file that is no secret (mode 0644 before the umask), replacing what was there.
///
/// # Errors
/// As [`write_secret`].
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, PUBLIC_MODE, Existing::Replace)
}

/// Writes a file that is no secret under a name that must be free.
///
/// # Errors
/// As [`create_secret`].
pub fn create_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, PUBLIC_MODE, Existing::Refuse)
}

/// Reads a secret, and refuses one that its group or others may reach.
///
/// The permissions are those of the file that was opened, so nobody can swap it between the check and the reading.
///
/// # Errors
/// [`FileError::Exposed`], [`FileError::NotAFile`], [`FileError::TooLong`], [`FileError::Io`].
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = open(path)?;
    let mode = file
        .metadata()
        .map_err(|source| failed(Act::Read, path, source))?
        .permissions()
        .mode()
        & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed {
            path: path.into(),
            mode,
        });
    }
    read_bounded(file, path, SECRET_BYTES_MAX)
}

/// Reads a file that is no secret, up to `limit_bytes`.
///
/// # Errors
/// [`FileError::NotAFile`], [`FileError::TooLong`], [`FileError::Io`].
pub fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = read_bounded(open(path)?, path, limit_bytes)?;
    Ok(std::mem::take(&mut *bytes))
}

/// Makes a directory (and those above it) with mode 0700, and leaves one that is there as it is.
///
/// # Errors
/// [`FileError::Io`].
pub fn private_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| failed(Act::CreateDirectory, path, source))
}

enum Existing {
    Replace,
    Refuse,
}

fn write(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> Result<(), FileError> {
    let temporary = temporary_beside(path)?;
    let outcome = write_through(&temporary, bytes, mode)
        .and_then(|()| match existing {
            Existing::Replace => fs::rename(&temporary, path),
            Existing::Refuse => {
                fs::hard_link(&temporary, path).and_then(|()| fs::remove_file(&temporary))
            }
        })
        .and_then(|()| File::open(directory_of(path))?.sync_all());
    outcome.map_err(|source| {
        // The outcome is already an error; a temporary file that cannot be removed either is left to the person who
        // reads it.
        let _ = fs::remove_file(&temporary);
        match source.kind() {
            io::ErrorKind::AlreadyExists => FileError::Exists { path: path.into() },
            _ => failed(Act::Write, path, source),
        }
    })
}

fn write_through(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn temporary_beside(path: &Path) -> Result<PathBuf, FileError> {
    let name = path
        .file_name()
        .ok_or_else(|| FileError::NoName { path: path.into() })?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".");
    temporary.push(HEXLOWER.encode(entropy::bytes::<8>().as_slice()));
    temporary.push(".tmp");
    Ok(path.with_file_name(temporary))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn open(path: &Path) -> Result<File, FileError> {
    let file = File::open(path).map_err(|source| failed(Act::Read, path, source))?;
    let metadata = file
        .metadata()
        .map_err(|source| failed(Act::Read, path, source))?;
    if metadata.is_file() {
        Ok(file)
    } else {
        Err(FileError::NotAFile { path: path.into() })
    }
}

fn read_bounded(
    file: File,
    path: &Path,
    limit_bytes: u64,
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(limit_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| failed(Act::Read, path, source))?;
    match u64::try_from(bytes.len()) {
        Ok(len_bytes) if len_bytes <= limit_bytes => Ok(bytes),
        _ => Err(FileError::TooLong {
            path: path.into(),
            limit_bytes,
        }),
    }
}

fn failed(act: Act, path: &Path, source: io::Error) -> FileError {
    FileError::Io {
        act,
        path: path.into(),
        source,
    }
}

const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

/// The longest secret: an RSA key of 16,384 bits takes 13 kB in PEM.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
