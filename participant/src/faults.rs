//! What a site keeps of the lies it met: one fault file per proof, in the folder of [`veilsum_daemon::faults`].
//!
//! Only what convicts is kept. A fault file holds no secret of this site. Source: protocol, section 28.

use std::path::{Path, PathBuf};

use veilsum_common::RunId;
use veilsum_daemon::faults::{self, Folder, Kept as Written};
use veilsum_daemon::files::FileError;
use veilsum_proto::convert::ConvertError;
use veilsum_proto::convert::fault::{self, FaultFile};
use veilsum_secagg::evidence::Evidence;

/// The fault files of one run.
pub struct Faults(Folder);

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
        Self(Folder::of(data_dir, run))
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
        Ok(match self.0.keep(&name, &bytes)? {
            Written::New(path) => Kept::New(path),
            Written::Known => Kept::Known,
            Written::Full => Kept::Full,
        })
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
    let read = |file: faults::KeptFile| KeptFault {
        evidence: fault::evidence(&file.bytes),
        id: file.id,
        run: file.run,
        path: file.path,
    };
    Ok(faults::kept(data_dir)?.into_iter().map(read).collect())
}

#[cfg(test)]
mod tests;
