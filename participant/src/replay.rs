//! A site's machine in one run, brought back from its journal: every entry handled again with its own time.
//!
//! Where the daemon's loop starts, and where a command starts that works on the store while the daemon is stopped. It neither appends
//! nor asks for anything; a run that the site has not taken up has nothing to bring back.
//!
//! Source: protocol, section 14 (rollback marker).

use std::path::Path;
use std::sync::Arc;

use veilsum_common::{RunId, RunSpec};
use veilsum_engine::machine::Machine as _;
use veilsum_engine::participant::{Event, Participant, Setting};
use veilsum_engine::policy::Policy;
use veilsum_engine::vault::Vault;
use veilsum_proto::convert::journal::{Journalled as _, SiteAccepted};
use veilsum_secagg::keys::Identity;

use crate::driver::RunError;
use crate::journal::marker::{Marker, MarkerFile, Promise};
use crate::journal::{Entry, Journal};

/// What every run of a site is replayed with.
pub(crate) struct Replay<'a> {
    pub run: RunId,
    pub identity: &'a Arc<Identity>,
    pub policy: &'a Policy,
    pub marker_dir: &'a Path,
}

/// A run of this site as it stood when the last entry was durable.
pub(crate) struct Replayed {
    pub machine: Participant,
    pub marker: MarkerFile,
    /// Number of the next entry.
    pub next: u64,
}

/// The name of a run's stream.
pub(crate) fn stream(run: RunId) -> String {
    format!("run/{run}")
}

/// The run of a stream, if it is one of a run.
pub(crate) fn run_of(stream: &str) -> Option<&str> {
    stream.strip_prefix("run/")
}

impl Replay<'_> {
    /// Entry 0 and what follows it; `None` for a run that this site has not taken up.
    pub(crate) fn read(&self, journal: &Journal) -> Result<Option<Replayed>, RunError> {
        let entries = journal.read(&stream(self.run))?;
        let Some((first, events)) = entries.split_first() else {
            return Ok(None);
        };
        let accepted = SiteAccepted::decode(&first.payload).map_err(|_| self.broken(0))?;
        let vault = Vault::restore(journal.vault(&stream(self.run))?);
        self.replay(&accepted, events, vault).map(Some)
    }

    /// The machine of a run that was just taken up, or of `events`.
    pub(crate) fn replay(
        &self,
        accepted: &SiteAccepted,
        events: &[Entry],
        vault: Vault,
    ) -> Result<Replayed, RunError> {
        let run = self.run;
        let spec = RunSpec::from_bytes(&accepted.run_spec).map_err(|error| RunError::Offer {
            run,
            why: error.to_string(),
        })?;
        let setting = Setting {
            spec: Arc::new(spec),
            identity: Arc::clone(self.identity),
            policy: self.policy.clone(),
        };
        let mut machine = Participant::new(setting, vault)
            .map_err(|rejection| RunError::Refused { run, rejection })?;
        for (number, entry) in (1..).zip(events) {
            let event = Event::decode(&entry.payload).map_err(|_| self.broken(number))?;
            let handled = machine.handle(entry.at, event);
            handled.map_err(|_| self.broken(number))?;
        }
        let marker = MarkerFile::open(self.marker_dir, &run)?;
        let known = Marker::of(machine.ledger());
        if *marker.marker() == Marker::default() && known.highest(Promise::Masked).is_some() {
            tracing::warn!(%run, dir = %self.marker_dir.display(), "this site has sent masked updates, and there is no rollback marker: it \
                was lost, and a restored copy of the data directory would not be noticed");
        }
        if marker.marker().ahead_of(&known) {
            return Err(RunError::RolledBack { run });
        }
        Ok(Replayed {
            machine,
            marker,
            next: 1 + events.len() as u64,
        })
    }

    fn broken(&self, number: usize) -> RunError {
        let run = self.run;
        RunError::Replay { run, number }
    }
}
