//! Blobs: immutable bytes in a directory, each under the name of its BLAKE3 digest.
//!
//! A blob is durable before anything names it: it is written under a passing name, hashed on the way, synced, and only then given its
//! name. What a blob holds is its writer's business; whether anybody still needs it is the journal's. Calls block: an async caller puts
//! them on a blocking thread. The directory belongs to one process, which holds the journal's lock.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use veilsum_common::blob::BlobRef;
use veilsum_daemon::files::Reading;
use veilsum_secagg::Digest;

use super::disk::{Disk, at, make_dir, names, reserve};

#[cfg(test)]
mod tests;

/// A directory of blobs; its clones share it.
#[derive(Clone)]
pub struct Blobs {
    disk: Disk,
    staged: Arc<AtomicU64>,
}

impl Blobs {
    /// Takes the directory, or makes it, and discards what a process before left unfinished.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(dir: &Path) -> Result<Self, Error> {
        let staging = dir.join(STAGING);
        make_dir(&staging).map_err(at(&staging))?;
        for left in fs::read_dir(&staging).map_err(at(&staging))? {
            let left = left.map_err(at(&staging))?.path();
            fs::remove_file(&left).map_err(at(&left))?;
        }
        Ok(Self {
            disk: Disk::new(dir),
            staged: Arc::default(),
        })
    }

    /// Waits until a sync has failed, and tells which. The process must exit then.
    pub async fn failed(&self) -> Error {
        self.disk.failed().await
    }

    /// Begins a blob of `len_bytes` bytes and reserves room for it, so that a full disk is met here and not in the middle.
    ///
    /// # Errors
    /// [`Error::Io`]; its kind is `StorageFull` if there is no room.
    pub fn stage(&self, len_bytes: u64) -> Result<BlobWriter, Error> {
        self.disk.check()?;
        let path = self
            .disk
            .root()
            .join(STAGING)
            .join(self.staged.fetch_add(1, Ordering::Relaxed).to_string());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(at(&path))?;
        let writer = BlobWriter {
            blobs: self.clone(),
            file,
            path,
            hasher: blake3::Hasher::new(),
            declared_bytes: len_bytes,
            written_bytes: 0,
        };
        reserve(&writer.file, 0..len_bytes).map_err(at(&writer.path))?;
        Ok(writer)
    }

    /// Writes a blob that is in memory already.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put(&self, bytes: &[u8]) -> Result<BlobRef, Error> {
        let mut writer = self.stage(bytes.len() as u64)?;
        writer.write(bytes)?;
        writer.finish()
    }

    /// Opens a blob to read from it, after a look at its length. Its digest is not checked: that is [`Blobs::read`]'s.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Length`], [`Error::Io`].
    pub fn open(&self, blob: &BlobRef) -> Result<File, Error> {
        open_at(&self.path(&blob.digest), blob)
    }

    /// Reads a whole blob and checks its digest.
    ///
    /// # Errors
    /// As [`Blobs::open`], and [`Error::Corrupt`].
    pub fn read(&self, blob: &BlobRef) -> Result<Vec<u8>, Error> {
        read_at(&self.path(&blob.digest), blob)
    }

    /// A whole blob to be read by position, once all of it has been read and its digest checked.
    ///
    /// # Errors
    /// As [`Blobs::read`].
    pub fn source(&self, blob: &BlobRef) -> Result<Reading, Error> {
        let path = self.path(&blob.digest);
        let file = verify_at(&path, blob)?;
        Reading::of(file).map_err(at(&path))
    }

    /// Removes a blob, if it is there. Equal bytes are one blob, whoever wrote them: the caller knows that nothing else names it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(&self, digest: &Digest) -> Result<(), Error> {
        remove_at(&self.path(digest))
    }

    /// Removes every blob that is not `referenced` and says how many those were.
    ///
    /// Only for a start, before anything is staged: a blob that was finished a moment ago and is not journalled yet would go too.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sweep(&self, referenced: &BTreeSet<Digest>) -> Result<u64, Error> {
        let mut swept = 0;
        for shelf in names(self.disk.root())?
            .into_iter()
            .filter(|name| name.len() == SHELF_LEN)
        {
            let shelf = self.disk.root().join(shelf);
            for name in names(&shelf)? {
                let stray = name
                    .parse::<Digest>()
                    .is_ok_and(|digest| !referenced.contains(&digest));
                if stray {
                    let path = shelf.join(name);
                    fs::remove_file(&path).map_err(at(&path))?;
                    swept += 1;
                }
            }
        }
        Ok(swept)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.disk.root().join(&name[..SHELF_LEN]).join(name)
    }
}

/// A blob that is being written. Dropped unfinished, it leaves nothing behind.
pub struct BlobWriter {
    blobs: Blobs,
    file: File,
    path: PathBuf,
    hasher: blake3::Hasher,
    declared_bytes: u64,
    written_bytes: u64,
}

impl BlobWriter {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// [`Error::TooLong`] if there would be more than were declared: none of `bytes` is then written. [`Error::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let found_bytes = self.written_bytes.saturating_add(bytes.len() as u64);
        if found_bytes > self.declared_bytes {
            return Err(Error::TooLong {
                declared_bytes: self.declared_bytes,
                found_bytes,
            });
        }
        self.file.write_all(bytes).map_err(at(&self.path))?;
        self.hasher.update(bytes);
        self.written_bytes = found_bytes;
        Ok(())
    }

    /// How many bytes there are so far.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Makes the blob durable under its name. If a blob with these bytes is there already, that one stays; a damaged one is replaced.
    ///
    /// # Errors
    /// [`Error::TooShort`] if fewer bytes came than were declared. [`Error::Io`], [`Error::NotDurable`]: the blob must then not be named
    /// anywhere.
    pub fn finish(self) -> Result<BlobRef, Error> {
        let blob = self.complete()?;
        self.name(&self.blobs.path(&blob.digest), &blob)?;
        Ok(blob)
    }

    /// To look at what was written.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(&self) -> Result<Reading, Error> {
        let again = self.file.try_clone().and_then(Reading::of);
        again.map_err(at(&self.path))
    }

    /// What was written, if it is all that was declared.
    ///
    /// # Errors
    /// [`Error::TooShort`].
    pub fn complete(&self) -> Result<BlobRef, Error> {
        if self.written_bytes < self.declared_bytes {
            return Err(Error::TooShort {
                declared_bytes: self.declared_bytes,
                found_bytes: self.written_bytes,
            });
        }
        Ok(BlobRef {
            digest: Digest(*self.hasher.finalize().as_bytes()),
            len_bytes: self.written_bytes,
        })
    }

    /// Bytes first, then the name, then the directory that holds the name.
    fn name(&self, path: &Path, blob: &BlobRef) -> Result<(), Error> {
        let disk = &self.blobs.disk;
        disk.sync(&self.file, &self.path)?;
        let dir = path.parent().expect("a blob's path has its shelf in it");
        disk.make_dirs(dir)?;
        match fs::hard_link(&self.path, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.settle(path, blob)?,
            linked => linked.map_err(at(path))?,
        }
        disk.sync_dir(dir)
    }

    /// What has the name already is kept if it is whole. Its writer may not have come to syncing it.
    fn settle(&self, path: &Path, blob: &BlobRef) -> Result<(), Error> {
        match verify_at(path, blob) {
            Ok(_) => self
                .blobs
                .disk
                .sync(&File::open(path).map_err(at(path))?, path),
            Err(Error::Corrupt { .. } | Error::Length { .. }) => {
                tracing::warn!(path = %path.display(), "a damaged blob is replaced by the same bytes anew; check the disk");
                let fresh = self.path.with_extension("again");
                fs::hard_link(&self.path, &fresh)
                    .and_then(|()| fs::rename(&fresh, path))
                    .map_err(at(path))
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a staged file could not be removed; the next start removes it");
        }
    }
}

/// Why a blob could not be written or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no such blob.
    #[error("there is no blob {digest}")]
    NotFound {
        /// Its name.
        digest: Digest,
    },
    /// The bytes on the disk are not those that were written.
    #[error("blob {expected} is damaged: its bytes now have the digest {found}; check the disk")]
    Corrupt {
        /// Its name.
        expected: Digest,
        /// The digest of what was read.
        found: Digest,
    },
    /// The file on the disk is shorter or longer than what was written.
    #[error(
        "blob {digest} is damaged or was named wrongly: it has {found_bytes} bytes instead of {expected_bytes}"
    )]
    Length {
        /// Its name.
        digest: Digest,
        /// How long it should be.
        expected_bytes: u64,
        /// How long it is.
        found_bytes: u64,
    },
    /// More bytes came than were declared.
    #[error("{found_bytes} bytes came where {declared_bytes} were declared")]
    TooLong {
        /// What was declared.
        declared_bytes: u64,
        /// What there would be.
        found_bytes: u64,
    },
    /// Fewer bytes came than were declared.
    #[error("only {found_bytes} bytes came where {declared_bytes} were declared")]
    TooShort {
        /// What was declared.
        declared_bytes: u64,
        /// What there is.
        found_bytes: u64,
    },
    /// The operating system refused.
    #[error("{} cannot be read or written: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: Arc<io::Error>,
    },
    /// A sync failed: what is on the disk is unknown, here and in all that was written before.
    #[error("{} cannot be made durable: {source}; see to the disk, then start again", path.display())]
    NotDurable {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: Arc<io::Error>,
    },
}

impl Error {
    /// Reading an open blob failed.
    pub fn io(blobs: &Blobs, blob: &BlobRef, source: io::Error) -> Self {
        at(&blobs.path(&blob.digest))(source)
    }

    /// Whether the disk has no room, so that the same may succeed later.
    pub fn is_full(&self) -> bool {
        let full = [
            ErrorKind::StorageFull,
            ErrorKind::QuotaExceeded,
            ErrorKind::FileTooLarge,
        ];
        matches!(self, Self::Io { source, .. } if full.contains(&source.kind()))
    }
}

fn open_at(path: &Path, blob: &BlobRef) -> Result<File, Error> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::NotFound {
                digest: blob.digest,
            });
        }
        opened => opened.map_err(at(path))?,
    };
    let found_bytes = file.metadata().map_err(at(path))?.len();
    if found_bytes == blob.len_bytes {
        Ok(file)
    } else {
        Err(Error::Length {
            digest: blob.digest,
            expected_bytes: blob.len_bytes,
            found_bytes,
        })
    }
}

/// As [`read_at`], however long the blob is.
fn verify_at(path: &Path, blob: &BlobRef) -> Result<File, Error> {
    let mut file = open_at(path, blob)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut file).map_err(at(path))?;
    let found = Digest(*hasher.finalize().as_bytes());
    if found == blob.digest {
        Ok(file)
    } else {
        Err(Error::Corrupt {
            expected: blob.digest,
            found,
        })
    }
}

fn read_at(path: &Path, blob: &BlobRef) -> Result<Vec<u8>, Error> {
    let file = open_at(path, blob)?;
    let mut bytes = Vec::with_capacity(usize::try_from(blob.len_bytes).unwrap_or(0));
    file.take(blob.len_bytes)
        .read_to_end(&mut bytes)
        .map_err(at(path))?;
    let found = Digest::of_bulk(&bytes);
    if found == blob.digest {
        Ok(bytes)
    } else {
        Err(Error::Corrupt {
            expected: blob.digest,
            found,
        })
    }
}

fn remove_at(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(path)(error)),
        // Not synced: should the file come back after a power cut, nothing names it and a sweep takes it away.
        _ => Ok(()),
    }
}

/// Where blobs are written before they have a name: beside the shelves, so that naming is a link on one file system.
const STAGING: &str = "staging";
/// Blobs lie on 256 shelves named by the first two digits of their digests, since some file systems are slow with long directories.
const SHELF_LEN: usize = 2;
