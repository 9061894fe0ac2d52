//! What a run leaves beside the journal: pinned updates, trainers' directories, models. Gone when the run is over.
//!
//! The loop of a run erases them before the journal forgets it, so that a crash in between repeats it. A start removes what belongs to
//! no run that the journal remembers, and the temporary files of writes that were cut off. The journal's lock on the data directory must
//! be held: whoever has it has the directory to itself.
//!
//! Source: protocol, sections 4 and 14.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::replay;

/// A file of a run that is over could not be erased.
#[derive(Debug, thiserror::Error)]
#[error("{} belongs to a run that is over and cannot be erased: {source}; remove it by hand", path.display())]
pub struct LeftoverError {
    /// What is left.
    path: PathBuf,
    /// The operating system's answer.
    source: io::Error,
}

/// Directories below the data directory with one directory for each run.
const ROOTS: [&str; 3] = ["updates", "work", "models"];

/// Erases every file of `run`; durable on return. Erasing again is no error.
///
/// # Errors
/// [`LeftoverError`]; the run must then not be forgotten.
pub fn erase(data_dir: &Path, run: &str) -> Result<(), LeftoverError> {
    ROOTS.iter().try_for_each(|root| {
        let root = data_dir.join(root);
        let path = root.join(run);
        let erased = match fs::remove_dir_all(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => File::open(&root).and_then(|root| root.sync_all()),
        };
        erased.map_err(|source| LeftoverError { path, source })
    })
}

/// Erases the files of every run that is not among `streams`, and what cut-off writes left there and in `marker_dir`.
///
/// # Errors
/// [`LeftoverError`] for the first that cannot be erased.
pub fn sweep(data_dir: &Path, marker_dir: &Path, streams: &[String]) -> Result<(), LeftoverError> {
    temporaries(data_dir)?;
    temporaries(marker_dir)?;
    for root in ROOTS {
        for path in entries(&data_dir.join(root)) {
            let Some(run) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            let remembered = streams
                .iter()
                .any(|stream| replay::run_of(stream) == Some(run));
            if remembered {
                temporaries(&path)?;
            } else {
                erase(data_dir, run)?;
            }
        }
    }
    Ok(())
}

/// Removes the temporary files of `daemon::files` in `dir`.
fn temporaries(dir: &Path) -> Result<(), LeftoverError> {
    let temporary = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with('.') && name.ends_with(".tmp"))
    };
    entries(dir).filter(temporary).try_for_each(|path| {
        let removed = fs::remove_file(&path);
        removed.map_err(|source| LeftoverError { path, source })
    })
}

/// What is in a directory; nothing is in one that is not there.
fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

#[cfg(test)]
mod tests;
