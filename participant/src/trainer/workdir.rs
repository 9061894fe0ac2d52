//! The directory that the daemon and one trainer share for one round.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use veilsum_common::Timestamp;
use veilsum_daemon::files::Draft;

use super::{Assignment, MODEL_FILE, TrainerError};

/// A directory of mode 0700 for one round of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkDir {
    path: PathBuf,
}

impl WorkDir {
    /// Makes the directory below `root` and writes the trainer's inputs, read-only, into it.
    ///
    /// What is there already belongs to training that was cut short, which starts over: it is removed.
    /// The model is copied, not linked: a trainer that writes into its copy must not change ours.
    pub(super) fn prepare(
        root: &Path,
        assignment: &Assignment,
        deadline: Timestamp,
    ) -> Result<Self, TrainerError> {
        let run_dir = root.join(assignment.run.run_id().to_string());
        let this = Self::at(run_dir.join(assignment.round.to_string()));
        this.fill(&run_dir, assignment, deadline)
            .map_err(|source| TrainerError::WorkDirectory {
                path: this.path.clone(),
                source,
            })?;
        Ok(this)
    }

    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `update.safetensors`, which the trainer writes.
    #[must_use]
    pub fn update(&self) -> PathBuf {
        self.path.join("update.safetensors")
    }

    /// `result.json`, which the trainer writes.
    #[must_use]
    pub fn result(&self) -> PathBuf {
        self.path.join("result.json")
    }

    /// Removes the directory with everything in it.
    ///
    /// # Errors
    /// What the operating system says; a directory that is gone is no error.
    pub fn remove(self) -> io::Result<()> {
        remove(&self.path)
    }

    pub(super) fn assignment(&self) -> PathBuf {
        self.path.join("assignment.json")
    }

    pub(super) fn model(&self) -> PathBuf {
        self.path.join(MODEL_FILE)
    }

    fn fill(&self, run_dir: &Path, assignment: &Assignment, deadline: Timestamp) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(run_dir)?;
        remove(&self.path)?;
        DirBuilder::new().mode(0o700).create(&self.path)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(READ_ONLY)
            .open(self.assignment())?;
        file.write_all(&assignment.to_json(deadline))?;
        // By our own hands, since a system's copy may fill the holes of a file.
        let mut model = Draft::secret(&self.path).map_err(io::Error::other)?;
        model.copy(&assignment.model).map_err(io::Error::other)?;
        model.cache(&self.model()).map_err(io::Error::other)?;
        fs::set_permissions(self.model(), Permissions::from_mode(READ_ONLY))
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

const READ_ONLY: u32 = 0o400;
