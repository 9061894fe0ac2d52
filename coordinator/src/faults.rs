//! What the coordinator keeps of lies that only it sees: of holders that released what was not committed, of dealers that committed to no
//! secret.
//!
//! The messages they lie in are erased with their round, so the proofs are made before; one fault file each, in the folder of
//! [`veilsum_daemon::faults`], as a site keeps its own. Nothing is decided by it: who lied is left out and named by the round, and a full
//! disk here stops nobody. Source: protocol, sections 11.3 and 28.

use std::path::Path;

use veilsum_common::RunId;
use veilsum_common::ids::SiteName;
use veilsum_daemon::faults::{Folder, Kept};
use veilsum_engine::round::{Outcome, Round};
use veilsum_proto::convert::fault::FaultFile;
use veilsum_secagg::evidence::release::Release;
use veilsum_secagg::evidence::{CulpritKey, Evidence};

/// What is to be proved of a round that is over.
pub struct Proving {
    release: Release,
    /// Names of the roster's members, in its order.
    sites: Vec<SiteName>,
}

impl Proving {
    /// Of a round in which somebody lied, or that may have been lost by it; `None` for any other.
    pub fn of(round: &Round) -> Option<Self> {
        match round.outcome()? {
            Outcome::Published(published) if published.liars.is_empty() => return None,
            Outcome::Published(_) | Outcome::Spent(_) | Outcome::Lost(_) => {}
            Outcome::Aborted { .. } => return None, // nothing was released
        }
        let release = Release {
            attempt: round.attempt().clone(),
            cohort: round.cohort()?.clone(),
            commits: round.commits().clone(),
            proposal: round.proposal()?.clone(),
            lists: round.lists().clone(),
        };
        let members = 0..release.attempt.roster().len();
        let sites = members.filter_map(|index| round.site(index).cloned());
        Some(Self {
            sites: sites.collect(),
            release,
        })
    }

    /// Makes the proofs and writes them down. Safe to do twice; blocks.
    pub fn keep(&self, data_dir: &Path, run: RunId) {
        let folder = Folder::of(data_dir, run);
        for evidence in self.release.faults() {
            let FaultFile { name, bytes } = FaultFile::new(&evidence);
            let (kind, culprit) = (evidence.word(), self.culprit(&evidence));
            match folder.keep(&name, &bytes) {
                Ok(Kept::New(path)) => tracing::error!(
                    %run, kind, culprit, path = %path.display(),
                    "a proof that a site lied is kept; `veilsum verify-fault` convinces others with it"
                ),
                Ok(Kept::Known) => tracing::trace!(%run, kind, "this proof is there already"),
                Ok(Kept::Full) => tracing::warn!(
                    %run, kind, culprit,
                    "another proof that a site lied is not kept: this run has as many as are kept of one"
                ),
                Err(error) => tracing::error!(
                    %run, kind, culprit, %error,
                    "a proof that a site lied could not be written"
                ),
            }
        }
    }

    /// Name and id of the accused.
    fn culprit(&self, evidence: &Evidence) -> String {
        let Some(CulpritKey::Member(key)) = evidence.culprit() else {
            return "nobody in the roster".to_owned();
        };
        let id = key.id();
        let index = self.release.attempt.roster().index_of(&id);
        let name = index.and_then(|index| self.sites.get(index as usize));
        name.map_or_else(|| id.to_string(), |name| format!("{name} ({id})"))
    }
}
