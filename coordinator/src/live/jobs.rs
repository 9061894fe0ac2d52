//! The jobs of a round, each run on a thread that may block until the disk lets it, and its result handed to the round.
//!
//! What a job computes is `worker`'s. A disk that is full or away is waited for: once the shares are released, giving up would lose
//! every contribution.

use std::sync::Arc;
use std::time::Duration;

use veilsum_engine::rejection::Abort;
use veilsum_engine::round::{Event, Round};
use veilsum_engine::run::NextRound;

use super::LiveRun;
use crate::driver::Handle;
use crate::store::Journal;
use crate::store::blobs::Error as BlobError;
use crate::worker::{self, FoldJob, Inputs, JobError, Stores};

/// Between two tries of a job that waits for the disk.
const PAUSE: Duration = Duration::from_secs(5);

impl<J: Journal> LiveRun<J> {
    /// Folds what is to be folded, one job after the other; each takes all cores.
    pub(super) async fn fold(self: &Arc<Self>, next: &NextRound) {
        while let Some((round, job)) = self.next_fold(next) {
            let (job, uploads) = (Arc::new(job), self.shared.uploads.clone());
            let (running, stores) = (Arc::clone(&job), uploads.clone());
            let fold = job.fold();
            let folded = match self.result(next, move || running.run(&stores)).await {
                Some(Ok(digest)) => round.insist(Event::Folded { fold, digest }).await,
                Some(Err(reason)) => {
                    tracing::error!(run = %self.id(), round = next.round, ?fold, %reason, "a batch could not be folded");
                    self.give_up(next, &round, reason).await;
                    return;
                }
                None => return self.leave(next).await,
            };
            if folded && round.read().folded(fold).is_some() {
                let let_go = tokio::task::spawn_blocking(move || job.let_go(&uploads)).await;
                if let Ok(Err(error)) = let_go {
                    tracing::warn!(run = %self.id(), %error, "folded bytes could not be given back; they go with their attempt");
                }
            }
        }
    }

    /// Runs the final job on the model the round trained on.
    pub(super) async fn compute(self: &Arc<Self>, next: &NextRound) {
        let Some(round) = self.asking(next) else {
            return;
        };
        let Some(inputs) = Inputs::of(&self.spec, &round.read()) else {
            return;
        };
        let (spec, shared) = (Arc::clone(&self.spec), Arc::clone(&self.shared));
        let model = next.model;
        let job = move || {
            let stores = Stores {
                models: &shared.blobs,
                uploads: &shared.uploads,
            };
            worker::run(&spec, stores, &model, &inputs)
        };
        let event = match self.result(next, job).await {
            Some(Ok(computed)) => Event::JobDone(Box::new(computed)),
            Some(Err(reason)) => Event::Lost(reason),
            None => return self.leave(next).await,
        };
        round.insist(event).await;
    }

    /// What a job gives, or why its round has no result. `None` once nobody asks for it any more, when the process is about to end, and
    /// for a bug in it, which its panic has told.
    async fn result<T: Send + 'static>(
        &self,
        next: &NextRound,
        job: impl Fn() -> Result<T, JobError> + Send + Sync + 'static,
    ) -> Option<Result<T, Abort>> {
        let job = Arc::new(job);
        loop {
            let running = Arc::clone(&job);
            let done = tokio::task::spawn_blocking(move || running()).await.ok()?;
            self.asking(next)?;
            match done {
                Ok(result) => return Some(Ok(result)),
                Err(JobError::Over(reason)) => return Some(Err(reason)),
                // Not the round's loss: the next process finds what is durable and goes on.
                Err(JobError::Store(BlobError::NotDurable { .. })) => return None,
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

    /// The attempt, while it is open and the run wants it.
    fn asking(&self, next: &NextRound) -> Option<Handle<Round>> {
        if self.run().read().current() != Some(next) {
            return None;
        }
        let round = self.round()?;
        let asks = {
            let round = round.read();
            round.attempt().announcement().seq == next.seq && round.outcome().is_none()
        };
        asks.then_some(round)
    }

    fn next_fold(&self, next: &NextRound) -> Option<(Handle<Round>, FoldJob)> {
        let round = self.asking(next)?;
        let job = FoldJob::next(&self.spec, &round.read())?;
        Some((round, job))
    }

    /// A fold failed. As long as nobody can have released anything the attempt is given up, and another one may follow; after that it is
    /// lost. An attempt that is given up already is nobody's loss.
    async fn give_up(&self, next: &NextRound, round: &Handle<Round>, reason: Abort) {
        let given_up = round
            .submit(Event::AbortDecided(Abort::Unbalanced), None)
            .await;
        if given_up.is_err() && self.next_fold(next).is_some() {
            round.insist(Event::Lost(reason)).await;
        }
    }

    /// Nobody asks any more: what a job wrote after its attempt was discarded goes too.
    async fn leave(&self, next: &NextRound) {
        if self.asking(next).is_none() {
            self.discard(next).await;
        }
    }
}
