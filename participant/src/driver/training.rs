//! One training: fetch the model, run the site's own code, pin what it wrote.
//!
//! Whether the site trains at all, and what a failure means for the attempt, is the loop's business.

use std::path::PathBuf;
use std::sync::Arc;

use veilsum_common::RunSpec;
use veilsum_common::time::Timestamp;
use veilsum_daemon::{clock, files};
use veilsum_engine::round::Decline;
use veilsum_secagg::Digest;

use super::Sitting;
use crate::link::LinkError;
use crate::site::Site;
use crate::trainer::{Assignment, Outcome};
use crate::update::{Expected, PinnedUpdate, Updates};

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
        let (path, global) = match self.fetch().await {
            Ok(model) => model,
            Err(error) => {
                tracing::error!(round = self.round, %error, "no training: the model cannot be used");
                return failed(Decline::Policy);
            }
        };
        let assignment = Assignment {
            run: Arc::clone(&self.spec),
            round: self.round,
            model: path,
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
        match exit.outcome {
            Outcome::Contribute => {}
            Outcome::SitOut => {
                tracing::info!(
                    round = self.round,
                    "the trainer exited with code 75: sitting this round out"
                );
                return failed(Decline::NotNow);
            }
            Outcome::LeaveRun => {
                tracing::warn!(
                    round = self.round,
                    "the trainer exited with code 78: it is not started again in this run"
                );
                return Some(Err(Sitting {
                    why: Decline::NotNow,
                    retire: true,
                }));
            }
        }
        let expected = Expected {
            run: &self.spec,
            global: &global,
            max_update_bytes: self.site.policy.max_update_bytes,
        };
        match self.updates.pin(&exit.workdir, expected) {
            Ok(pinned) => {
                if let Err(error) = exit.workdir.remove() {
                    tracing::debug!(%error, "the trainer's directory could not be removed");
                }
                Some(Ok(pinned))
            }
            Err(error) => {
                tracing::error!(round = self.round, %error, "the update is refused; sitting this round out");
                failed(Decline::UpdateRefused)
            }
        }
    }

    /// The model of this round, from the last fetch if it is the same.
    async fn fetch(&self) -> Result<(PathBuf, Vec<u8>), LinkError> {
        fetch_model(&self.site, &self.spec, self.model).await
    }
}

/// A verified model and where it lies. The file named by its hash is kept until a newer one is fetched.
pub(super) async fn fetch_model(
    site: &Site,
    spec: &RunSpec,
    digest: Digest,
) -> Result<(PathBuf, Vec<u8>), LinkError> {
    let limit_bytes = site.policy.max_update_bytes;
    let dir = site.data_dir.join("models").join(spec.run_id().to_string());
    let path = dir.join(digest.to_string());
    if let Ok(bytes) = files::read(&path, limit_bytes)
        && Digest::of_bulk(&bytes) == digest
    {
        return Ok((path, bytes));
    }
    let bytes = site.link.model(spec.run_id(), digest, limit_bytes).await?;
    // A cache: what a crash leaves of it fails its hash and is fetched again, so nothing is worth an fsync here.
    let written = files::private_directory(&dir).map(|()| {
        for old in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            drop(std::fs::remove_file(old.path()));
        }
        std::fs::write(&path, &bytes)
    });
    if !matches!(written, Ok(Ok(()))) {
        tracing::error!(path = %path.display(), "the model could not be written; is the disk full?");
    }
    Ok((path, bytes))
}
