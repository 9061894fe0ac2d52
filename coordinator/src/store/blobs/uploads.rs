//! Staged uploads: each under the round and the site it belongs to, and under its digest only within that place.
//!
//! Two rounds may be sent equal bytes, by chance or by malice. Each has its own file, so that letting one go never takes the other's. What
//! a file is for and whether it is still needed is the round's business; a whole round's files go at once when it is over.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use veilsum_common::blob::BlobRef;
use veilsum_common::ids::RunId;
use veilsum_secagg::Digest;
use veilsum_secagg::context::Attempt;

use super::{BlobWriter, Blobs, Error, at, names, read_at, remove_at};
use crate::store::StreamId;

/// Whose upload, and for which round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The round's stream.
    pub stream: StreamId,
    /// The site's index in the roster.
    pub index: u32,
}

impl Slot {
    /// The place of member `index` in one attempt of a run.
    pub fn of(run: RunId, attempt: &Attempt, index: u32) -> Self {
        let (epoch, seq) = (attempt.roster().epoch(), attempt.announcement().seq);
        Self {
            stream: StreamId::round(run, epoch, seq),
            index,
        }
    }
}

impl Blobs {
    /// Reads a whole staged upload and checks its digest.
    ///
    /// # Errors
    /// As [`Blobs::read`].
    pub fn read_upload(&self, slot: &Slot, blob: &BlobRef) -> Result<Vec<u8>, Error> {
        read_at(&self.upload_path(slot, &blob.digest), blob)
    }

    /// Removes a staged upload, if it is there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_upload(&self, slot: &Slot, digest: &Digest) -> Result<(), Error> {
        remove_at(&self.upload_path(slot, digest))
    }

    /// Removes all staged uploads of a round, if there are any.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard_uploads(&self, stream: StreamId) -> Result<(), Error> {
        let dir = self.uploads_dir(stream);
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(at(&dir)(error)),
            _ => {
                // Refused while another round of the run is staged, which is as it should be.
                drop(dir.parent().map(fs::remove_dir));
                Ok(())
            }
        }
    }

    /// Removes staged uploads that are not `referenced` and the directories that are empty then; says how many uploads those were.
    pub(super) fn sweep_uploads(&self, referenced: &BTreeSet<Digest>) -> Result<u64, Error> {
        let mut swept = 0;
        let mut rounds = Vec::new();
        for run in entries(&self.dir.join(ROUNDS))? {
            rounds.extend(entries(&run)?);
        }
        for round in rounds {
            for name in names(&round)? {
                let digest = name
                    .split_once('-')
                    .and_then(|(_, digest)| digest.parse().ok());
                if digest.is_some_and(|digest: Digest| !referenced.contains(&digest)) {
                    remove_at(&round.join(name))?;
                    swept += 1;
                }
            }
            // Refused while something is left in it, which is as it should be.
            drop(fs::remove_dir(&round));
        }
        Ok(swept)
    }

    fn uploads_dir(&self, stream: StreamId) -> PathBuf {
        self.dir.join(stream.to_string())
    }

    pub(super) fn upload_path(&self, slot: &Slot, digest: &Digest) -> PathBuf {
        let name = format!("{}-{digest}", slot.index);
        self.uploads_dir(slot.stream).join(name)
    }
}

impl BlobWriter {
    /// Makes the bytes durable as an upload of `slot`.
    ///
    /// # Errors
    /// As [`BlobWriter::finish`].
    pub fn finish_upload(self, slot: &Slot) -> Result<BlobRef, Error> {
        let blob = self.complete()?;
        self.name(&self.blobs.upload_path(slot, &blob.digest), &blob)?;
        Ok(blob)
    }
}

/// What is in a directory, which need not be there.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    match names(dir) {
        Err(Error::Io { source, .. })
            if matches!(
                source.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        found => Ok(found?.into_iter().map(|name| dir.join(name)).collect()),
    }
}

/// What the names of rounds' streams begin with.
const ROUNDS: &str = "round";
