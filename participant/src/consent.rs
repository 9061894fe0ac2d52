//! Consent: a site's own operator lets an update that is spent into one more sum (R4).
//!
//! It works on the store of a site whose daemon is stopped: brings the run back, says what is spent, and appends one entry. What the
//! consent is worth afterwards is the ledger's rule ([`veilsum_engine::ledger`]); asking the person is the command's business. Nobody
//! but a person at the site gives it: there is no call and no key of a configuration for it.
//!
//! Source: protocol, section 12 (R4 and what comes before it).

use std::path::PathBuf;
use std::sync::Arc;

use veilsum_common::RunId;
use veilsum_common::time::Timestamp;
use veilsum_daemon::entropy;
use veilsum_engine::ledger::{Duty, Sent};
use veilsum_engine::machine::Machine as _;
use veilsum_engine::participant::{Event, Participant};
use veilsum_engine::rejection::Rejection;
use veilsum_proto::convert::journal::Journalled as _;
use veilsum_secagg::Digest;
use veilsum_secagg::keys::{Identity, Seed};

use crate::config::Config;
use crate::driver::RunError;
use crate::journal::{self, Entry, Error as JournalError, Journal};
use crate::keystore::{self, KeystoreError, StoreKey};
use crate::replay::{self, Replay, Replayed};

/// The store of a stopped site, open at one run in which something is spent.
pub struct Consent {
    journal: Journal,
    run: RunId,
    machine: Participant,
    next: u64,
    model: Digest,
    standing: Standing,
}

/// Whether the consent is still to be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Awaited,
    /// It was given before, and nothing was sent since.
    Given,
}

/// An attempt whose sum may hold this site's update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpentAttempt {
    /// Its epoch.
    pub epoch: u64,
    /// Its round.
    pub round: u64,
    /// Its number within the epoch.
    pub seq: u64,
    /// Whether this site released the shares it held in it.
    pub released: bool,
    /// Until when it may still end by itself.
    pub expires: Timestamp,
}

/// Why no consent can be given.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// The daemon has the store.
    #[error("{} is in use: stop veilsum-participant first, consent, and start it again", data_dir.display())]
    Running {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The site has taken no part in the run.
    #[error("this site has taken no part in run {run}; its data is in {}", data_dir.display())]
    UnknownRun {
        /// The run.
        run: RunId,
        /// Where it was looked for.
        data_dir: PathBuf,
    },
    /// The run is over.
    #[error(
        "run {run} is over at this site, and what it kept of it is erased; there is nothing to consent to"
    )]
    Over {
        /// The run.
        run: RunId,
    },
    /// No update is spent.
    #[error("run {run}: {rejection}; there is nothing to consent to")]
    NothingSpent {
        /// The run.
        run: RunId,
        /// In the ledger's words.
        rejection: Rejection,
    },
    /// A key of this site.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The journal.
    #[error(transparent)]
    Journal(JournalError),
    /// What the site did cannot be brought back.
    #[error(transparent)]
    Run(RunError),
}

impl Consent {
    /// Opens the store of the site that `config` describes, and holds its lock for as long as this lives.
    ///
    /// # Errors
    /// [`ConsentError`]; nothing was changed.
    pub fn open(config: &Config, run: RunId) -> Result<Self, ConsentError> {
        let data_dir = || config.data_dir.clone();
        let unknown = || ConsentError::UnknownRun {
            run,
            data_dir: data_dir(),
        };
        if !journal::exists(&config.data_dir) {
            return Err(unknown());
        }
        let seed = keystore::load_identity(&config.identity_key)?;
        let store_key = StoreKey::open(&config.store_key, entropy::fill)?;
        let journal = match Journal::open(&config.data_dir, store_key, entropy::fill) {
            Err(JournalError::InUse { dir }) => {
                return Err(ConsentError::Running { data_dir: dir });
            }
            opened => opened.map_err(ConsentError::Journal)?,
        };
        let bringing_back = Replay {
            run,
            identity: &Arc::new(Identity::from_seed(&Seed::new(*seed))),
            policy: &config.policy,
            marker_dir: &config.marker_dir,
        };
        let replayed = match bringing_back.read(&journal) {
            Err(RunError::Journal(JournalError::Forgotten { .. })) => {
                return Err(ConsentError::Over { run });
            }
            replayed => replayed.map_err(ConsentError::Run)?,
        };
        let Replayed { machine, next, .. } = replayed.ok_or_else(unknown)?;
        Self::at(journal, run, machine, next)
    }

    fn at(
        journal: Journal,
        run: RunId,
        machine: Participant,
        next: u64,
    ) -> Result<Self, ConsentError> {
        let nothing = |rejection| ConsentError::NothingSpent { run, rejection };
        let model = machine.ledger().model();
        let model = model.ok_or(nothing(Rejection::NothingSpent))?;
        let event = Event::Consented { model_hash: model };
        let standing = match machine.admit(Timestamp(0), &event) {
            Ok(()) => Standing::Awaited,
            Err(Rejection::Repeated) => Standing::Given,
            Err(rejection) => return Err(nothing(rejection)),
        };
        Ok(Self {
            journal,
            run,
            machine,
            next,
            model,
            standing,
        })
    }

    /// The model that the update is for.
    pub fn model(&self) -> Digest {
        self.model
    }

    /// Whether it is still to be given.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The attempts that the consent is about, oldest first.
    pub fn spent(&self) -> Vec<SpentAttempt> {
        let about = match self.standing {
            Standing::Awaited => Sent::Masked,
            Standing::Given => Sent::Consented,
        };
        let lines = self.machine.ledger().attempts.iter();
        let ours = lines.filter(|(_, line)| line.model_hash == self.model && line.sent == about);
        ours.map(|((epoch, seq), line)| SpentAttempt {
            epoch: *epoch,
            round: line.round,
            seq: *seq,
            released: line.duty == Duty::Released,
            expires: Timestamp(
                line.attempt
                    .as_ref()
                    .map_or(0, |attempt| attempt.announcement().expires_ms),
            ),
        })
        .collect()
    }

    /// Journals the consent; on return it is on disk. Given again it changes nothing.
    ///
    /// # Errors
    /// What the disk says: whether the consent was given is then seen by asking once more.
    pub fn give(&mut self, at: Timestamp) -> Result<(), ConsentError> {
        if self.standing == Standing::Given {
            return Ok(());
        }
        let event = Event::Consented {
            model_hash: self.model,
        };
        let entry = Entry {
            at,
            kind: event.kind().to_owned(),
            payload: event.encode(),
        };
        let appended = self
            .journal
            .append(&replay::stream(self.run), self.next, &[entry], &[]);
        appended.map_err(ConsentError::Journal)?;
        self.next += 1;
        let handled = self.machine.handle(at, event);
        handled.expect("it was admitted when the store was opened, and nobody else can write");
        self.standing = Standing::Given;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
