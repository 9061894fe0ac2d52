//! The lock that keeps a second process away from a data directory.
//!
//! The kernel holds it for as long as the file is open, so it cannot outlive a process that was killed. It is no protection on a network
//! file system.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use veilsum_daemon::files::{self, FileError};

/// Exclusive use of one data directory until dropped.
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock on `dir`, which is made (0700) if it is missing.
    pub(super) fn take(dir: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io {
            dir: dir.to_owned(),
            source,
        };
        files::private_directory(dir)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(LOCK_FILE))
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held {
                dir: dir.to_owned(),
            }),
            Err(error) => Err(failed(error.into())),
        }
    }
}

/// Why a data directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("the data directory {} is already used by another process: stop that one, or give this one a directory of its own", dir.display())]
    Held {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be made.
    #[error(transparent)]
    Directory(#[from] FileError),
    /// Its lock file cannot be opened or locked.
    #[error("the data directory {} cannot be locked: {source}", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// Never removed: removing it while another process waits for it would let two processes in.
const LOCK_FILE: &str = "lock";
