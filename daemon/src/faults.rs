//! Where a daemon keeps fault files: a folder per run below `faults/` in its data directory.
//!
//! Outside the journal, of which nothing stays when a run ends; readable while the daemon runs, since files appear whole and never change.
//! Of each run a bounded number is kept, and of each kind a part of it: the first ones. Mode 0600, since whom to show a file to is the
//! operator's decision. What a file proves, and whether it does, is not looked at: names and bytes come from the caller. Source: protocol,
//! section 28.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use veilsum_common::RunId;
use veilsum_common::limits::{MAX_FAULT_BYTES, MAX_FAULTS_PER_KIND, MAX_FAULTS_PER_RUN};

use crate::files::{self, FileError};

/// Folder of the data directory.
const FOLDER: &str = "faults";

/// The fault files of one run.
pub struct Folder {
    path: PathBuf,
}

/// What became of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kept {
    /// It is written.
    New(PathBuf),
    /// It is there.
    Known,
    /// The run has as many files as are kept of one, or as many of this kind.
    Full,
}

impl Folder {
    /// Of `run` at the daemon with this data directory; nothing is made yet.
    pub fn of(data_dir: &Path, run: RunId) -> Self {
        Self {
            path: data_dir.join(FOLDER).join(run.to_string()),
        }
    }

    /// Writes a file named `fault-<kind>-<hash>.<extension>`, durably. Safe to do twice.
    ///
    /// # Errors
    /// [`FileError`] if the folder or the file cannot be written.
    pub fn keep(&self, name: &str, bytes: &[u8]) -> Result<Kept, FileError> {
        let path = self.path.join(name);
        if path.exists() {
            return Ok(Kept::Known);
        }
        let before = names(&self.path)?;
        let there: Vec<_> = before.iter().filter_map(|name| parts(name)).collect();
        let kind = parts(name).map(|(kind, _)| kind);
        let alike = there.iter().filter(|(other, _)| Some(*other) == kind);
        if there.len() >= MAX_FAULTS_PER_RUN || alike.count() >= MAX_FAULTS_PER_KIND {
            return Ok(Kept::Full);
        }
        files::private_directory(&self.path)?;
        files::write_secret(&path, bytes)?;
        if before.is_empty() {
            force_folders(&self.path)?; // the file is on disk, and so must be the way to it
        }
        Ok(Kept::New(path))
    }
}

/// A file that is kept.
pub struct KeptFile {
    /// The hash in its name.
    pub id: String,
    /// The run's folder.
    pub run: String,
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// All fault files of a daemon, by run and name.
///
/// # Errors
/// [`FileError`] if a folder or a file cannot be read.
pub fn kept(data_dir: &Path) -> Result<Vec<KeptFile>, FileError> {
    let folder = data_dir.join(FOLDER);
    let mut found = Vec::new();
    for run in names(&folder)? {
        for name in names(&folder.join(&run))? {
            let Some((_, id)) = parts(&name) else {
                continue;
            };
            let path = folder.join(&run).join(&name);
            found.push(KeptFile {
                id: id.to_owned(),
                run: run.clone(),
                bytes: files::read(&path, MAX_FAULT_BYTES as u64)?,
                path,
            });
        }
    }
    Ok(found)
}

/// Forces the folders above a new one to disk.
fn force_folders(folder: &Path) -> Result<(), FileError> {
    for above in folder.ancestors().skip(1).take(2) {
        let forced = fs::File::open(above).and_then(|opened| opened.sync_all());
        forced.map_err(|source| FileError::Io {
            act: files::Act::Write,
            path: above.to_owned(),
            source,
        })?;
    }
    Ok(())
}

/// Kind and hash in the name of a file; a temporary one is none.
fn parts(name: &str) -> Option<(&str, &str)> {
    let (stem, extension) = name.strip_prefix("fault-")?.split_once('.')?;
    stem.rsplit_once('-').filter(|_| !extension.contains('.'))
}

/// Names in a folder, in order; none if there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>, FileError> {
    let failed = |source| FileError::Io {
        act: files::Act::Read,
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests;
