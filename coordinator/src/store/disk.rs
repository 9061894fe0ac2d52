//! What every writer of files shares: a directory, syncs, and the knowledge that one of them has failed.
//!
//! After a sync that failed nobody can know what is on the disk, and a second one would only seem to succeed: all later writes are
//! refused, and [`Disk::failed`] tells the server to exit.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use tokio::sync::watch;

use super::blobs::Error;

/// A directory of ours; its clones share what they know of it.
#[derive(Clone)]
pub(super) struct Disk {
    root: Arc<Path>,
    sync: fn(&File) -> io::Result<()>,
    failure: watch::Sender<Option<Error>>,
}

impl Disk {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.into(),
            sync: File::sync_all,
            failure: watch::Sender::new(None),
        }
    }

    /// The same disk, whose syncs fail from now on.
    #[cfg(test)]
    pub(super) fn failing(&self) -> Self {
        Self {
            sync: |_| Err(io::Error::from_raw_os_error(5)),
            ..self.clone()
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Waits until a sync has failed, and tells which. The process must exit then.
    pub(super) async fn failed(&self) -> Error {
        let mut failure = self.failure.subscribe();
        let failed = failure.wait_for(Option::is_some).await;
        let failed = failed.expect("self keeps the sending half alive");
        failed.clone().expect("that is what was waited for")
    }

    /// Nothing more is promised after a failed sync.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.failure.borrow().clone().map_or(Ok(()), Err)
    }

    pub(super) fn sync(&self, file: &File, path: &Path) -> Result<(), Error> {
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

    pub(super) fn sync_dir(&self, dir: &Path) -> Result<(), Error> {
        self.sync(&File::open(dir).map_err(at(dir))?, dir)
    }

    /// Makes a directory below this one durable, with those in between.
    pub(super) fn make_dirs(&self, dir: &Path) -> Result<(), Error> {
        if dir.is_dir() {
            return Ok(());
        }
        make_dir(dir).map_err(at(dir))?;
        let above = dir.ancestors().skip(1);
        above
            .take_while(|above| above.starts_with(&*self.root))
            .try_for_each(|above| self.sync_dir(above))
    }
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    |source| Error::Io {
        path,
        source: source.into(),
    }
}

pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Some file systems cannot reserve. A full disk is then met by a write, which is later but no less safe.
pub(super) fn reserve(file: &File, room: Range<u64>) -> io::Result<()> {
    let len_bytes = room.end - room.start;
    if len_bytes == 0 {
        return Ok(());
    }
    // Asked for more than there is, some file systems take all there is before they say no: others would meet a full disk.
    let (free, has_blocks) = (fstatvfs(file)?, file.metadata()?.blocks());
    let room_bytes = free.f_bavail.saturating_mul(free.f_frsize);
    // One that does not count its blocks says zero of zero.
    if free.f_blocks > 0 && len_bytes.saturating_sub(has_blocks * 512) > room_bytes {
        return Err(rustix::io::Errno::NOSPC.into());
    }
    match fallocate(file, FallocateFlags::KEEP_SIZE, room.start, len_bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
        reserved => Ok(reserved?),
    }
}

/// Gives a stretch of a file back to the disk; it reads as zeros then. Some file systems cannot, and keep it.
pub(super) fn give_back(file: &File, offset: u64, len_bytes: u64) -> io::Result<()> {
    let hole = FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE;
    match fallocate(file, hole, offset, len_bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
        given => Ok(given?),
    }
}

/// The names in a directory; what is not text is nothing of ours.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        names.extend(entry.map_err(at(dir))?.file_name().into_string());
    }
    Ok(names)
}
