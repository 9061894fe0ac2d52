//! Blobs: immutable bytes in a directory, each under the name of its BLAKE3 digest.
//!
//! A blob is durable before anything names it: it is written under a passing name, hashed on the way, synced, and only then given its
//! name. What a blob holds is its writer's business; whether anybody still needs it is the journal's. Calls block: an async caller puts
//! them on a blocking thread. The directory belongs to one process, which holds the journal's lock.
//!
//! After a sync that failed nobody can know what is on the disk, and a second one would only seem to succeed: all later writes are
//! refused, and [`Blobs::failed`] tells the server to exit.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::{FallocateFlags, fallocate};
use tokio::sync::watch;
use veilsum_common::blob::BlobRef;
use veilsum_secagg::Digest;

#[cfg(test)]
mod tests;
mod uploads;

pub use uploads::Slot;

/// A directory of blobs; its clones share it.
#[derive(Clone)]
pub struct Blobs {
    dir: Arc<Path>,
    staged: Arc<AtomicU64>,
    sync: fn(&File) -> io::Result<()>,
    failure: watch::Sender<Option<Error>>,
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
            dir: dir.into(),
            staged: Arc::default(),
            sync: File::sync_all,
            failure: watch::Sender::new(None),
        })
    }

    /// Waits until a sync has failed, and tells which. The process must exit then.
    pub async fn failed(&self) -> Error {
        let mut failure = self.failure.subscribe();
        let failed = failure.wait_for(Option::is_some).await;
        let failed = failed.expect("self keeps the sending half alive");
        failed.clone().expect("that is what was waited for")
    }

    /// Nothing more is promised after a failed sync.
    fn check(&self) -> Result<(), Error> {
        self.failure.borrow().clone().map_or(Ok(()), Err)
    }

    fn sync(&self, file: &File, path: &Path) -> Result<(), Error> {
        self.check()?;
        (self.sync)(file).map_err(|source| {
            let error = Error::NotDurable {
                path: path.to_owned(),
                source: source.into(),
            };
            tracing::error!(%error, "a sync failed");
            self.failure.send_replace(Some(error.clone()));
            error
        })
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), Error> {
        self.sync(&File::open(dir).map_err(at(dir))?, dir)
    }

    /// Makes a directory below this one durable, with those in between.
    fn make_dirs(&self, dir: &Path) -> Result<(), Error> {
        if dir.is_dir() {
            return Ok(());
        }
        make_dir(dir).map_err(at(dir))?;
        let above = dir.ancestors().skip(1);
        above
            .take_while(|above| above.starts_with(&*self.dir))
            .try_for_each(|above| self.sync_dir(above))
    }

    /// Begins a blob of `len_bytes` bytes and reserves room for it, so that a full disk is met here and not in the middle.
    ///
    /// # Errors
    /// [`Error::Io`]; its kind is `StorageFull` if there is no room.
    pub fn stage(&self, len_bytes: u64) -> Result<BlobWriter, Error> {
        self.check()?;
        let path = self
            .dir
            .join(STAGING)
            .join(self.staged.fetch_add(1, Ordering::Relaxed).to_string());
        let file = OpenOptions::new()
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
        reserve(&writer.file, len_bytes).map_err(at(&writer.path))?;
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

    /// Removes a blob, if it is there. Equal bytes are one blob, whoever wrote them: the caller knows that nothing else names it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(&self, digest: &Digest) -> Result<(), Error> {
        remove_at(&self.path(digest))
    }

    /// Removes every blob and every staged upload that is not `referenced` and says how many those were.
    ///
    /// Only for a start, before anything is staged: a blob that was finished a moment ago and is not journalled yet would go too.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sweep(&self, referenced: &BTreeSet<Digest>) -> Result<u64, Error> {
        let mut swept = 0;
        for shelf in names(&self.dir)?
            .into_iter()
            .filter(|name| name.len() == SHELF_LEN)
        {
            let shelf = self.dir.join(shelf);
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
        Ok(swept + self.sweep_uploads(referenced)?)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.dir.join(&name[..SHELF_LEN]).join(name)
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

    /// What was written, if it is all that was declared.
    fn complete(&self) -> Result<BlobRef, Error> {
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
        let blobs = &self.blobs;
        blobs.sync(&self.file, &self.path)?;
        let dir = path.parent().expect("a blob's path has its shelf in it");
        blobs.make_dirs(dir)?;
        match fs::hard_link(&self.path, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.settle(path, blob)?,
            linked => linked.map_err(at(path))?,
        }
        blobs.sync_dir(dir)
    }

    /// What has the name already is kept if it is whole. Its writer may not have come to syncing it.
    fn settle(&self, path: &Path, blob: &BlobRef) -> Result<(), Error> {
        match read_at(path, blob) {
            Ok(_) => self.blobs.sync(&File::open(path).map_err(at(path))?, path),
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
        let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded];
        matches!(self, Self::Io { source, .. } if full.contains(&source.kind()))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    |source| Error::Io {
        path,
        source: source.into(),
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

fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Some file systems cannot reserve. A full disk is then met by a write, which is later but no less safe.
fn reserve(file: &File, len_bytes: u64) -> io::Result<()> {
    if len_bytes == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, len_bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
        reserved => Ok(reserved?),
    }
}

/// The names in a directory; what is not text is nothing of ours.
fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        names.extend(entry.map_err(at(dir))?.file_name().into_string());
    }
    Ok(names)
}

/// Where blobs are written before they have a name: beside the shelves, so that naming is a link on one file system.
const STAGING: &str = "staging";
/// Blobs lie on 256 shelves named by the first two digits of their digests, since some file systems are slow with long directories.
const SHELF_LEN: usize = 2;
