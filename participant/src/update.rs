//! What the trainer wrote, judged once and then pinned.
//!
//! Sits between the trainer's directory and the journal's `Trained`: after pinning nothing is trained
//! again, and every attempt masks the same bytes. Before masking is the last moment at which anybody
//! can see that an update is bad, so everything is checked here: names, shapes, types, finiteness,
//! size, weight and metrics. Deliberately absent: clipping and quantising, and any repair of what is
//! wrong. A trainer's files are foreign data: bounded, never followed through a link, read once.
//!
//! Source: docs/trainer-contract.md; protocol, section 14 (P0).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use veilsum_common::limits::MAX_RESULT_BYTES;
use veilsum_common::model::{Checkpoint, Delta, Source};
use veilsum_common::{BlobRef, RunId, RunSpec};
use veilsum_daemon::files::{self, Draft, FileError, Reading};

use crate::trainer::WorkDir;

mod error;

pub use error::{FoundKind, Output, UpdateError};

/// The pinned updates of a site for one run, each a file named by its hash.
pub struct Updates {
    dir: PathBuf,
}

/// An update that passed every check and is on disk: what `Trained` says of it.
#[derive(Clone, PartialEq)]
pub struct PinnedUpdate {
    /// Names the bytes, so that what is masked is what was pinned.
    pub blob: BlobRef,
    /// Where they are.
    pub path: PathBuf,
    /// How many examples it was trained on.
    pub num_examples: u64,
    /// What it counts for, within the study's cap.
    pub weight: u64,
    /// The declared metrics, each within its range.
    pub metrics: BTreeMap<String, f64>,
    /// Weight, examples and metrics as the lanes of the masked sum. In the clear: they leave only masked.
    pub metadata: Vec<u64>,
}

/// What an update must agree with.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// The run.
    pub run: &'a RunSpec,
    /// The global model that the trainer was given.
    pub global: &'a dyn Source,
    /// `policy.max_update` of the site.
    pub max_update_bytes: u64,
}

impl Updates {
    /// The updates of `run` below the data directory.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(data_dir: &Path, run: &RunId) -> Result<Self, UpdateError> {
        let dir = data_dir.join("updates").join(run.to_string());
        files::private_directory(&dir).map_err(UpdateError::Disk)?;
        Ok(Self { dir })
    }

    /// Checks what the trainer wrote and pins it: on return it is on disk under a name of our own.
    ///
    /// The bytes are copied first and checked in the copy, so that nothing the trainer left behind can change them. Pinning the
    /// same bytes again is no error. Cost: the file is read and written once and read again; memory does not grow with it.
    ///
    /// # Errors
    /// [`UpdateError`] says what is wrong with which file. Nothing is pinned then.
    pub fn pin(
        &self,
        workdir: &WorkDir,
        expected: Expected<'_>,
    ) -> Result<PinnedUpdate, UpdateError> {
        let Expected {
            run,
            global,
            max_update_bytes,
        } = expected;
        let Reported {
            num_examples,
            metrics,
        } = read_result(&workdir.result())?;
        let weight = run.study().secagg().weight.weight(num_examples);
        let metadata = run.metadata().encode(weight, num_examples, &metrics)?;

        let draft = self.copy(&workdir.update(), max_update_bytes)?;
        check(run, global, &draft.read().map_err(UpdateError::Disk)?)?;
        let blob = draft.blob();
        let path = self.path(&blob);
        draft.keep(&path).map_err(UpdateError::Disk)?;
        Ok(PinnedUpdate {
            blob,
            path,
            num_examples,
            weight,
            metrics,
            metadata,
        })
    }

    /// A pinned update, to be read.
    ///
    /// # Errors
    /// [`UpdateError::Changed`] when the file is gone or is not what was pinned: the site is then a
    /// dropout of this round.
    pub fn pinned(&self, blob: &BlobRef) -> Result<Reading, UpdateError> {
        let path = self.path(blob);
        let update = match Reading::open(&path) {
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(UpdateError::Changed { path });
            }
            opened => opened.map_err(UpdateError::Disk)?,
        };
        self.still(blob, &update).map(|()| update)
    }

    /// Reads all of a pinned update once more: what was sent while it changed must not be vouched for.
    ///
    /// # Errors
    /// As [`Updates::pinned`].
    pub fn still(&self, blob: &BlobRef, update: &Reading) -> Result<(), UpdateError> {
        let path = self.path(blob);
        // A wrong length costs no hashing; a file that shrinks meanwhile has changed as well.
        let same = update.len_bytes() == blob.len_bytes
            && match update.blob() {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
                read => read.map_err(|source| unreadable(&path, source))? == *blob,
            };
        if same {
            Ok(())
        } else {
            Err(UpdateError::Changed { path })
        }
    }

    /// Copies what the trainer wrote, at most `limit_bytes` of it.
    fn copy(&self, from: &Path, limit_bytes: u64) -> Result<Draft, UpdateError> {
        let mut file = open(Output::Update, from, limit_bytes)?;
        let mut draft = Draft::secret(&self.dir).map_err(UpdateError::Disk)?;
        let mut bytes = vec![0; COPY_BYTES];
        loop {
            let read = file.read(&mut bytes);
            let read = read.map_err(|source| Output::Update.unreadable(from, source))?;
            if read == 0 {
                return Ok(draft);
            }
            let len_bytes = draft.len_bytes() + read as u64;
            if len_bytes > limit_bytes {
                return Err(Output::Update.too_long(len_bytes, limit_bytes));
            }
            draft.write(&bytes[..read]).map_err(UpdateError::Disk)?;
        }
    }

    /// Erases an update that no attempt needs any more. One that is gone is no error.
    ///
    /// # Errors
    /// What the disk says.
    pub fn erase(&self, blob: &BlobRef) -> Result<(), UpdateError> {
        let path = self.path(blob);
        let erased = match std::fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => File::open(&self.dir).and_then(|dir| dir.sync_all()),
        };
        erased.map_err(|source| {
            UpdateError::Disk(FileError::Io {
                act: files::Act::Write,
                path,
                source,
            })
        })
    }

    fn path(&self, blob: &BlobRef) -> PathBuf {
        self.dir.join(format!("{}.safetensors", blob.digest))
    }
}

/// Without the site's numbers, which belong into no log.
impl std::fmt::Debug for PinnedUpdate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("PinnedUpdate");
        shown.field("path", &self.path).finish_non_exhaustive()
    }
}

/// `result.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reported {
    num_examples: u64,
    #[serde(default)]
    metrics: BTreeMap<String, f64>,
}

fn read_result(path: &Path) -> Result<Reported, UpdateError> {
    let limit_bytes = u64::try_from(MAX_RESULT_BYTES).expect("64 KiB fit in 64 bits");
    let text = read(Output::Result, path, limit_bytes)?;
    serde_json::from_slice(&text).map_err(|source| UpdateError::Result { source })
}

/// Goes through all values of the update once.
fn check(run: &RunSpec, global: &dyn Source, update: &dyn Source) -> Result<(), UpdateError> {
    let (layout, selection) = (run.layout(), run.selection());
    let update = Checkpoint::update(update, layout)?;
    let global = Checkpoint::model(global, layout)?;
    let delta = Delta::new(&global, &update, layout, selection)?;
    let mut values = vec![0.0; CHECK_ELEMS];
    let mut first = 0;
    while first < delta.elements() {
        let left = usize::try_from(delta.elements() - first).unwrap_or(usize::MAX);
        let some = &mut values[..left.min(CHECK_ELEMS)];
        delta.values(first, some)?;
        first += some.len() as u64;
    }
    Ok(())
}

/// Reads a short file that somebody else wrote.
fn read(file: Output, path: &Path, limit_bytes: u64) -> Result<Vec<u8>, UpdateError> {
    let opened = open(file, path, limit_bytes)?;
    let mut bytes = Vec::new();
    let read = opened
        .take(limit_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| file.unreadable(path, source))?;
    match u64::try_from(read) {
        Ok(len_bytes) if len_bytes <= limit_bytes => Ok(bytes),
        _ => Err(file.too_long(limit_bytes.saturating_add(1), limit_bytes)),
    }
}

/// Opens a file that somebody else wrote: no link is followed, no pipe is waited for, and what is checked is the file that was opened.
fn open(file: Output, path: &Path, limit_bytes: u64) -> Result<File, UpdateError> {
    let unreadable = |source| file.unreadable(path, source);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => {
            return Err(UpdateError::Missing {
                file,
                path: path.into(),
            });
        }
        Err(rustix::io::Errno::LOOP) => {
            return Err(UpdateError::NotAFile {
                file,
                path: path.into(),
                found: FoundKind::SymbolicLink,
            });
        }
        opened => File::from(opened.map_err(|errno| unreadable(errno.into()))?),
    };
    let meta = opened.metadata().map_err(unreadable)?;
    if let Some(found) = found_kind(meta.file_type()) {
        return Err(UpdateError::NotAFile {
            file,
            path: path.into(),
            found,
        });
    }
    if meta.len() > limit_bytes {
        return Err(file.too_long(meta.len(), limit_bytes));
    }
    Ok(opened)
}

fn unreadable(path: &Path, source: io::Error) -> UpdateError {
    UpdateError::Disk(FileError::Io {
        act: files::Act::Read,
        path: path.into(),
        source,
    })
}

fn found_kind(kind: std::fs::FileType) -> Option<FoundKind> {
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some(FoundKind::Directory),
        kind if kind.is_fifo() => Some(FoundKind::Pipe),
        _ => Some(FoundKind::Special),
    }
}

/// Bytes copied at once: enough for the hash to use all the width of the processor.
const COPY_BYTES: usize = 256 * 1024;
/// Elements checked at once.
const CHECK_ELEMS: usize = 64 * 1024;

#[cfg(test)]
mod tests;
