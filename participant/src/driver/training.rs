//! One training: fetch the model, run the site's own code, pin what it wrote.
//!
//! Whether the site trains at all, and what a failure means for the attempt, is the loop's business.

use std::sync::Arc;

use veilsum_common::RunSpec;
use veilsum_common::time::Timestamp;
use veilsum_daemon::clock;
use veilsum_engine::round::Decline;
use veilsum_secagg::Digest;

use super::Sitting;
use crate::site::Site;
use crate::trainer::{Assignment, Outcome};
use crate::update::{Expected, PinnedUpdate, UpdateError, Updates};

/// One training: model in, trainer, update pinned.
pub(super) struct Training {
    pub(super) site: Arc<Site>,
    pub(super) spec: Arc<RunSpec>,
    pub(super) updates: Arc<Updates>,
    pub(super) round: u64,
    pub(super) model: Digest,
    pub(super) commit_by: Timestamp,
}

impl Training {
    /// `None` when the daemon stops: the training starts over when it is back.
    pub(super) async fn run(self) -> Option<Result<PinnedUpdate, Sitting>> {
        let failed = |why| Some(Err(Sitting { why, retire: false }));
        let global = match self.site.models(self.spec.run_id()).get(self.model).await {
            Ok(model) => model,
            Err(error) => {
                tracing::error!(round = self.round, %error, "no training: the model cannot be used");
                return failed(Decline::Policy);
            }
        };
        let assignment = Assignment {
            run: Arc::clone(&self.spec),
            round: self.round,
            model: global.path.clone(),
            join_deadline: self.commit_by,
        };
        let work = self.site.data_dir.join("work");
        let ended = self
            .site
            .hook
            .run(&assignment, &work, clock::now(), &self.site.shutdown)
            .await;
        let exit = match ended {
            Ok(exit) => exit,
            Err(_) if self.site.shutdown.is_triggered() => return None,
            Err(error) => {
                tracing::error!(round = self.round, %error, "the trainer failed; sitting this round out");
                return failed(Decline::TrainerFailed);
            }
        };
        tracing::info!(
            round = self.round,
            elapsed_ms = exit.elapsed.0,
            "trainer finished"
        );
        if let Err(sitting) = decided(exit.outcome, self.round) {
            return Some(Err(sitting));
        }
        let (round, max_update_bytes) = (self.round, self.site.policy.max_update_bytes);
        let pinned = tokio::task::spawn_blocking(move || {
            let expected = Expected {
                run: &self.spec,
                global: &*global.bytes,
                max_update_bytes,
            };
            let pinned = self.updates.pin(&exit.workdir, expected)?;
            if let Err(error) = exit.workdir.remove() {
                tracing::debug!(%error, "the trainer's directory could not be removed");
            }
            Ok::<_, UpdateError>(pinned)
        });
        match pinned.await.ok()? {
            Ok(pinned) => Some(Ok(pinned)),
            Err(error) => {
                tracing::error!(round, %error, "the update is refused; sitting this round out");
                failed(Decline::UpdateRefused)
            }
        }
    }
}

/// Whether there is an update, by what the trainer decided.
fn decided(outcome: Outcome, round: u64) -> Result<(), Sitting> {
    let why = Decline::NotNow;
    match outcome {
        Outcome::Contribute => Ok(()),
        Outcome::SitOut => {
            tracing::info!(
                round,
                "the trainer exited with code 75: sitting this round out"
            );
            Err(Sitting { why, retire: false })
        }
        Outcome::LeaveRun => {
            tracing::warn!(
                round,
                "the trainer exited with code 78: it is not started again in this run"
            );
            Err(Sitting { why, retire: true })
        }
    }
}
