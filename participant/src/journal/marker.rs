//! How a site notices that its journal went back in time.
//!
//! A small second file outside the data directory, and so outside its backups, keeps the highest
//! (epoch, seq) of each promise that must never be given twice. The driver raises it after the journal's
//! transaction (a crash between the two must not look like a rollback) and before the message leaves.
//! At start a marker that is ahead of what was replayed means that an old copy of the journal was
//! restored. Deliberately absent: what to do then, which is the engine's affair; and any notice when
//! both files were rolled back, for which nothing at the site can tell.
//!
//! Source: protocol, section 14.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use veilsum_common::ids::RunId;
use veilsum_daemon::files::{self, FileError};
use veilsum_engine::ledger::{Duty, Ledger, Sent};
use veilsum_engine::vault::Place;

/// What a site must do at most once for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// P2: the first masked byte.
    Masked,
    /// H1: the signature on a survivor digest.
    Attested,
    /// H2: the release of shares.
    Released,
    /// H2: the signature on an abort.
    Aborted,
}

/// The highest attempt, as (epoch, seq), for which each promise was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    masked: Option<Place>,
    attested: Option<Place>,
    released: Option<Place>,
    aborted: Option<Place>,
}

impl Marker {
    /// The marker that belongs to a ledger: what a replayed journal knows.
    ///
    /// An attempt's line keeps only how far the duty went last. An aborted one can no longer be attested,
    /// so it counts as attested: the journal is not behind in that.
    #[must_use]
    pub fn of(ledger: &Ledger) -> Self {
        let mut marker = Self::default();
        for (place, line) in &ledger.attempts {
            if line.sent != Sent::Nothing {
                marker.raise(Promise::Masked, *place);
            }
            let given: &[Promise] = match line.duty {
                Duty::None | Duty::Idle => &[],
                Duty::Attested => &[Promise::Attested],
                Duty::Released => &[Promise::Attested, Promise::Released],
                Duty::Aborted => &[Promise::Attested, Promise::Aborted],
            };
            given
                .iter()
                .for_each(|promise| marker.raise(*promise, *place));
        }
        marker
    }

    /// The highest attempt for which `promise` was given.
    #[must_use]
    pub fn highest(&self, promise: Promise) -> Option<Place> {
        match promise {
            Promise::Masked => self.masked,
            Promise::Attested => self.attested,
            Promise::Released => self.released,
            Promise::Aborted => self.aborted,
        }
    }

    /// Notes that `promise` is given; an earlier attempt than the highest changes nothing.
    pub fn raise(&mut self, promise: Promise, place: Place) {
        let highest = match promise {
            Promise::Masked => &mut self.masked,
            Promise::Attested => &mut self.attested,
            Promise::Released => &mut self.released,
            Promise::Aborted => &mut self.aborted,
        };
        *highest = (*highest).max(Some(place));
    }

    /// Whether a promise was given for a later attempt than `other` knows of: `other` was rolled back.
    #[must_use]
    pub fn ahead_of(&self, other: &Self) -> bool {
        PROMISES
            .iter()
            .any(|&promise| self.highest(promise) > other.highest(promise))
    }
}

/// The marker of one run on disk.
pub struct MarkerFile {
    path: PathBuf,
    marker: Marker,
}

impl MarkerFile {
    /// Reads the marker of `run` in `dir`, which must not lie in the data directory. A file that is not
    /// there marks nothing.
    ///
    /// # Errors
    /// A file that cannot be read or is no marker: taking part without it could reveal a secret twice.
    pub fn open(dir: &Path, run: &RunId) -> Result<Self, MarkerError> {
        files::private_directory(dir)?;
        let path = dir.join(format!("{run}.marker"));
        let marker = match files::read(&path, MAX_BYTES) {
            Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Marker::default()
            }
            read => parse(&path, &read?)?,
        };
        Ok(Self { path, marker })
    }

    /// What is on disk.
    #[must_use]
    pub fn marker(&self) -> &Marker {
        &self.marker
    }

    /// Notes that `promise` is about to be given for the attempt at `place`; on disk on return.
    ///
    /// # Errors
    /// What the disk says; the promise must then not be given.
    pub fn raise(&mut self, promise: Promise, place: Place) -> Result<(), MarkerError> {
        let mut raised = self.marker;
        raised.raise(promise, place);
        if raised == self.marker {
            return Ok(());
        }
        let text = serde_json::to_vec(&OnDisk {
            schema: SCHEMA.into(),
            marker: raised,
        })
        .expect("numbers and names have a JSON form");
        files::write_secret(&self.path, &text)?;
        self.marker = raised;
        Ok(())
    }
}

/// Why the marker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// Not written by this program.
    #[error("{} is no rollback marker; if it cannot be restored, enrol the site again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The file itself is at fault.
    #[error(transparent)]
    File(#[from] FileError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnDisk {
    schema: String,
    marker: Marker,
}

fn parse(path: &Path, text: &[u8]) -> Result<Marker, MarkerError> {
    match serde_json::from_slice(text) {
        Ok(OnDisk { schema, marker }) if schema == SCHEMA => Ok(marker),
        _ => Err(MarkerError::Malformed { path: path.into() }),
    }
}

const PROMISES: [Promise; 4] = [
    Promise::Masked,
    Promise::Attested,
    Promise::Released,
    Promise::Aborted,
];

const SCHEMA: &str = "veilsum.marker/v1";

/// Four pairs of 64-bit numbers and their names.
const MAX_BYTES: u64 = 1024;

#[cfg(test)]
mod tests;
