//! The one directory that a demo writes to. A used one is replaced only if an earlier demo made it, and two demos never share one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use veilsum_daemon::files;

use super::DemoError;
use super::error::Problem;

/// A directory that is ours while this value lives.
pub(super) struct Directory {
    path: PathBuf,
    /// Locked.
    _marker: File,
}

impl Directory {
    /// Makes the directory, or empties it if a demo made it. It is locked until this process ends.
    pub(super) fn prepare(out: &Path) -> Result<Self, DemoError> {
        let wrong = |source| DemoError::Io {
            path: out.to_owned(),
            source,
        };
        let refused = |problem| DemoError::Directory {
            path: out.to_owned(),
            problem,
        };
        let path = std::path::absolute(out).map_err(wrong)?;
        if path.exists() && !path.is_dir() {
            return Err(refused(Problem::NoDirectory));
        }
        let marker_path = path.join(MARKER);
        let ours = is_marker(&marker_path);
        if !ours && path.exists() && fs::read_dir(&path).map_err(wrong)?.next().is_some() {
            return Err(refused(Problem::Foreign));
        }
        files::private_directory(&path).map_err(|error| wrong(io::Error::other(error)))?;
        let mut marker = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&marker_path)
            .map_err(wrong)?;
        flock(&marker, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| refused(Problem::InUse))?;
        if !ours {
            marker.write_all(MARK.as_bytes()).map_err(wrong)?;
        }
        let directory = Self {
            path,
            _marker: marker,
        };
        directory.remove_all_but(&[MARKER])?;
        fs::create_dir(directory.logs()).map_err(wrong)?;
        Ok(directory)
    }

    /// Where it is, absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The logs of all processes.
    pub(super) fn logs(&self) -> PathBuf {
        self.path.join(LOGS)
    }

    /// Writes a file into it, and returns where.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, DemoError> {
        let path = self.path.join(name);
        fs::write(&path, bytes).map_err(|source| DemoError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// Leaves model, metrics and logs, and removes keys, certificates, configurations and data of the processes.
    pub(super) fn tidy(&self, model: &str) -> Result<(), DemoError> {
        self.remove_all_but(&[MARKER, LOGS, METRICS, model])
    }

    fn remove_all_but(&self, kept: &[&str]) -> Result<(), DemoError> {
        let wrong = |source| DemoError::Io {
            path: self.path.clone(),
            source,
        };
        for entry in fs::read_dir(&self.path).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            if kept.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let directory = entry.file_type().map_err(wrong)?.is_dir();
            let removed = if directory {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            };
            removed.map_err(wrong)?;
        }
        Ok(())
    }
}

fn is_marker(path: &Path) -> bool {
    let mut start = [0; MARK.len()];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok_and(|()| start == MARK.as_bytes())
}

/// Weighted means of every round, one JSON object a line.
pub(super) const METRICS: &str = "metrics.jsonl";

const MARKER: &str = ".veilsum-demo";
const MARK: &str = "made by `veilsum demo`, which may empty this directory\n";
const LOGS: &str = "logs";

#[cfg(test)]
mod tests;
