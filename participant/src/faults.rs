//! What a site keeps of the lies it met: one fault file per proof, below `faults/` in its data directory, a folder per run.
//!
//! Outside the journal, whose streams are forgotten when a run ends; readable while the daemon runs, since files appear whole and never
//! change. Only what convicts is kept, never twice the same, and of each run a bounded number, the first ones. A fault file holds no secret
//! of this site; mode 0600 all the same, since whom to show it to is the operator's decision. Source: protocol, section 28.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use veilsum_common::RunId;
use veilsum_common::limits::{MAX_FAULT_BYTES, MAX_FAULTS_PER_RUN};
use veilsum_daemon::files::{self, FileError};
use veilsum_proto::convert::ConvertError;
use veilsum_proto::convert::fault::{self, FILE_EXTENSION, FaultFile};
use veilsum_secagg::evidence::Evidence;

/// Folder of the data directory.
const FOLDER: &str = "faults";

/// The fault files of one run.
pub struct Faults {
    folder: PathBuf,
}

/// What became of evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kept {
    /// It is in a new file.
    New(PathBuf),
    /// The same file is there.
    Known,
    /// It convicts nobody: a signature that does not verify is no proof of anything.
    Unproved,
    /// The run has as many files as are kept of one.
    Full,
}

impl Faults {
    /// Of `run` at the site with this data directory; nothing is made yet.
    pub fn of(data_dir: &Path, run: RunId) -> Self {
        Self {
            folder: data_dir.join(FOLDER).join(run.to_string()),
        }
    }

    /// Writes evidence down, durably.
    ///
    /// # Errors
    /// [`FileError`] if the folder or the file cannot be written.
    pub fn keep(&self, evidence: &Evidence) -> Result<Kept, FileError> {
        if evidence.verify().is_err() {
            return Ok(Kept::Unproved);
        }
        let FaultFile { name, bytes } = FaultFile::new(evidence);
        let path = self.folder.join(name);
        if path.exists() {
            return Ok(Kept::Known);
        }
        let before = names(&self.folder)?;
        if before.iter().filter_map(|name| id_of(name)).count() >= MAX_FAULTS_PER_RUN {
            return Ok(Kept::Full);
        }
        files::private_directory(&self.folder)?;
        files::write_secret(&path, &bytes)?;
        if before.is_empty() {
            force_folders(&self.folder)?; // the file is on disk, and so must be the way to it
        }
        Ok(Kept::New(path))
    }
}

/// A fault file that a site keeps.
pub struct KeptFault {
    /// By which it is named on the command line: the hash in the file's name.
    pub id: String,
    /// The run's folder.
    pub run: String,
    /// Where it is.
    pub path: PathBuf,
    /// What it proves.
    pub evidence: Result<Evidence, ConvertError>,
}

/// All fault files of a site, by run and name.
///
/// # Errors
/// [`FileError`] if a folder or a file cannot be read.
pub fn kept(data_dir: &Path) -> Result<Vec<KeptFault>, FileError> {
    let folder = data_dir.join(FOLDER);
    let mut found = Vec::new();
    for run in names(&folder)? {
        for name in names(&folder.join(&run))? {
            let Some(id) = id_of(&name) else { continue };
            let path = folder.join(&run).join(&name);
            let bytes = files::read(&path, MAX_FAULT_BYTES as u64)?;
            found.push(KeptFault {
                id: id.to_owned(),
                run: run.clone(),
                path,
                evidence: fault::evidence(&bytes),
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

/// The hash in `fault-<kind>-<hash>.veilsum-fault`.
fn id_of(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(FILE_EXTENSION)?.strip_suffix('.')?;
    let (kind, id) = stem.rsplit_once('-')?;
    kind.starts_with("fault-").then_some(id)
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
