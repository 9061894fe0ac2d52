//! What others signed, held against what they sign next: a contradiction is logged loudly and kept as a fault file.
//!
//! Nothing here changes what the site does; the machine refuses what contradicts by its own rules. That a proof cannot be written stops
//! nobody either. Source: protocol, sections 6.1 and 28.

use std::sync::Arc;

use veilsum_common::{RunId, RunSpec};
use veilsum_engine::participant::Event;
use veilsum_engine::statements::{Naming, Statements};
use veilsum_proto::convert::journal::Journalled as _;
use veilsum_proto::convert::notice::{self, Received};
use veilsum_proto::pb;
use veilsum_secagg::Digest;
use veilsum_secagg::context::Roster;
use veilsum_secagg::evidence::{CulpritKey, Evidence};
use veilsum_secagg::keys::Signature;
use veilsum_secagg::message::{Advertisement, Commit, SurvivorProposal};

use super::{Driver, RunError, offer};
use crate::faults::Kept;
use crate::replay;
use crate::site::Site;

/// What the journal of a run has of it.
pub(super) fn heard(site: &Site, run: RunId, spec: &RunSpec) -> Result<Statements, RunError> {
    let params = Arc::new(spec.params().clone());
    let me = site.identity.public().id();
    let mut statements = Statements::new(params, me).map_err(|error| offer(run, error))?;
    for entry in site.journal().read(&replay::stream(run))?.iter().skip(1) {
        // Every entry has just been replayed, so it can be read.
        if let Ok(event) = Event::decode(&entry.payload) {
            drop(statements.hear(&event));
        }
    }
    Ok(statements)
}

impl Driver {
    /// Before an event is judged.
    pub(super) fn witness(&mut self, event: &Event) {
        for evidence in self.statements.hear(event) {
            self.keep(&evidence);
        }
    }

    pub(super) fn witness_proposal(&mut self, proposal: &SurvivorProposal, by: &Signature) {
        for evidence in self.statements.proposed(proposal, by) {
            self.keep(&evidence);
        }
    }

    /// A second roster of an epoch is fetched: its name alone proves nothing, the signatures under it may.
    pub(super) fn witness_roster(&mut self, epoch: u64, members: u32, root: Digest) {
        if self.statements.roster_named(epoch, members, root) == Naming::Only
            || self.statements.has_seen(epoch, members, root)
        {
            return;
        }
        let run = self.run;
        tracing::error!(
            %run, epoch, members, %root,
            "the coordinator names a second roster of one epoch; tell the other sites, and compare rosters with them"
        );
        self.fetch_second_roster(epoch, members);
    }

    pub(super) fn second_roster(&mut self, epoch: u64, advertisements: &[Advertisement]) {
        let params = Arc::new(self.machine.spec().params().clone());
        match Roster::new(params, epoch, advertisements) {
            Ok(roster) => {
                for evidence in self.statements.roster_seen(Arc::new(roster)) {
                    self.keep(&evidence);
                }
            }
            Err(error) => {
                tracing::error!(run = %self.run, epoch, %error, "the second roster is none");
            }
        }
    }

    /// Whether a notice is for a second roster of an epoch, with more or fewer members than this site's: heard, and nothing else.
    pub(super) fn witness_of_another_size(&mut self, told: &pb::Notice) -> bool {
        let sizes = self.statements.other_sizes().into_iter();
        let heard = sizes.filter_map(|members| notice::received(told.clone(), members).ok());
        for received in heard.collect::<Vec<_>>() {
            match received {
                Received::RoundOpen {
                    announcement,
                    signature,
                    round_config,
                    proofs,
                } => self.witness(&Event::Opened {
                    announcement,
                    signature,
                    round_config,
                    proofs,
                }),
                Received::AbortProposal {
                    announcement,
                    signature,
                    ..
                } => self.witness(&Event::AbortProposed {
                    announcement,
                    signature,
                }),
                _ => continue,
            }
            tracing::error!(run = %self.run, "the coordinator announces an attempt for a roster of another size; it is not taken up");
            return true;
        }
        false
    }

    /// What dealers signed whose shares this site cannot use: kept if it convicts them.
    pub(super) fn accuse(&self, ann_hash: Digest, records: &[(u32, Commit)]) {
        for (dealer, commit) in records {
            match self.machine.wrong_share(ann_hash, *dealer, commit) {
                Ok(evidence) => self.keep(&evidence),
                Err(rejection) => self.refused("commit record", &rejection),
            }
        }
    }

    fn keep(&self, evidence: &Evidence) {
        let (run, kind) = (self.run, evidence.word());
        let culprit = match evidence.culprit() {
            Some(CulpritKey::Coordinator(_)) => "the coordinator".to_owned(),
            Some(CulpritKey::Member(key)) => format!("member {}", key.id()),
            None => "nobody".to_owned(),
        };
        match self.faults.keep(evidence) {
            Ok(Kept::New(path)) => tracing::error!(
                %run, kind, culprit, path = %path.display(),
                "a proof that somebody lied is kept; `veilsum participant faults` shows it, `veilsum verify-fault` convinces others"
            ),
            Ok(Kept::Known | Kept::Unproved) => {
                tracing::trace!(%run, kind, "nothing new is proved")
            }
            Ok(Kept::Full) => tracing::warn!(
                %run, kind, culprit,
                "another proof that somebody lied is not kept: this run has as many as are kept of one"
            ),
            Err(error) => tracing::error!(
                %run, kind, culprit, %error,
                "a proof that somebody lied could not be written"
            ),
        }
    }
}
