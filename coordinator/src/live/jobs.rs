//! The jobs of a round, each run on a thread that may block until the disk lets it, and its result handed to the round.
//!
//! What a job computes is `worker`'s. A disk that is full or away is waited for: once the shares are released, giving up would lose
//! every contribution.

use std::sync::Arc;
use std::time::Duration;

use veilsum_common::blob::BlobRef;
use veilsum_engine::rejection::Abort;
use veilsum_engine::round::{Event, Round};

use super::LiveRun;
use crate::driver::Handle;
use crate::store::Journal;
use crate::store::blobs::Error as BlobError;
use crate::worker::{self, FoldJob, Inputs, JobError, Stores};

/// Between two tries of a job that waits for the disk.
const PAUSE: Duration = Duration::from_secs(1);

impl<J: Journal> LiveRun<J> {
    /// Folds what is to be folded, one job after the other; each takes all cores.
    pub(super) async fn fold(self: &Arc<Self>) {
        let Some(round) = self.round() else { return };
        while let Some(job) = next_fold(self, &round) {
            let (job, uploads) = (Arc::new(job), self.shared.uploads.clone());
            let (running, stores) = (Arc::clone(&job), uploads.clone());
            let event = match self.result(&round, move || running.run(&stores)).await {
                Some(Ok(digest)) => Event::Folded {
                    fold: job.fold(),
                    digest,
                },
                Some(Err(reason)) => Event::Lost(reason),
                None => return,
            };
            if !round.insist(event).await {
                return;
            }
            let let_go = tokio::task::spawn_blocking(move || job.let_go(&uploads)).await;
            if let Ok(Err(error)) = let_go {
                tracing::warn!(run = %self.id(), %error, "folded bytes could not be given back; they go with their attempt");
            }
        }
    }

    /// Runs the final job; `model` is the one the round trained on.
    pub(super) async fn compute(self: &Arc<Self>, model: BlobRef) {
        let Some(round) = self.round() else { return };
        let Some(inputs) = Inputs::of(&self.spec, &round.read()) else {
            return;
        };
        let (spec, shared) = (Arc::clone(&self.spec), Arc::clone(&self.shared));
        let job = move || {
            let stores = Stores {
                models: &shared.blobs,
                uploads: &shared.uploads,
            };
            worker::run(&spec, stores, &model, &inputs)
        };
        let event = match self.result(&round, job).await {
            Some(Ok(computed)) => Event::JobDone(Box::new(computed)),
            Some(Err(reason)) => Event::Lost(reason),
            None => return,
        };
        round.insist(event).await;
    }

    /// What a job gives, or why its round is lost. `None` once nobody asks for it any more, and for a bug in it, which its panic has told.
    async fn result<T: Send + 'static>(
        &self,
        round: &Handle<Round>,
        job: impl Fn() -> Result<T, JobError> + Send + Sync + 'static,
    ) -> Option<Result<T, Abort>> {
        let job = Arc::new(job);
        loop {
            let running = Arc::clone(&job);
            let done = tokio::task::spawn_blocking(move || running()).await.ok()?;
            if round.read().outcome().is_some() {
                return None;
            }
            match done {
                Ok(result) => return Some(Ok(result)),
                Err(JobError::Over(reason)) => return Some(Err(reason)),
                Err(error @ (JobError::Store(BlobError::Io { .. }) | JobError::Disk(_))) => {
                    tracing::error!(run = %self.id(), %error, "a job waits for the disk");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(JobError::Store(error)) => {
                    tracing::error!(run = %self.id(), %error, "what was staged is gone or damaged");
                    return Some(Err(Abort::Diverged("staged upload")));
                }
            }
        }
    }
}

/// A function of its own, so that the lock is gone before anything waits.
fn next_fold<J: Journal>(live: &LiveRun<J>, round: &Handle<Round>) -> Option<FoldJob> {
    FoldJob::next(&live.spec, &round.read())
}
