//! The services put together. Handlers are thin: who calls, what bytes mean, which machine to ask.

mod auth;
mod download;
mod edge;
pub mod round_service;
pub mod run_service;
pub mod status;
mod submission;
mod upload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tonic::Status;
use veilsum_common::ids::RunId;
use veilsum_common::limits::{MAX_RUNNING, MAX_SUBMISSIONS, MAX_UPLOADS, UPLOAD_STALL_MS};
use veilsum_daemon::identity::Federation;
use veilsum_daemon::shutdown::Shutdown;
use veilsum_engine::run::State;

use crate::live::{LiveRun, Shared};
use crate::store::Journal;
use crate::transfer::{Queue, Turns};

pub use auth::Caller;
pub use edge::{Edge, services};

/// What the services share.
pub struct Context<J> {
    /// Store and hands.
    pub shared: Arc<Shared<J>>,
    /// Whose certificates count.
    pub federation: Federation,
    /// Ends held polls.
    pub shutdown: Shutdown,
    /// Coordinator keys of the runs, one file each.
    pub keys_dir: PathBuf,
    /// Whose turn it is to upload.
    pub turns: Turns,
    /// Which models go out.
    pub downloads: Queue,
    /// How long an upload may be silent.
    stall: Duration,
    /// Places for submissions.
    submissions: Semaphore,
    /// Serialises run creation, so that one request id makes one run.
    pub creating: tokio::sync::Mutex<()>,
    runs: RwLock<BTreeMap<RunId, Arc<LiveRun<J>>>>,
    created: watch::Sender<u64>,
    /// Runs that cannot be brought back, and why.
    damaged: RwLock<BTreeMap<RunId, String>>,
}

impl<J: Journal> Context<J> {
    /// Without runs yet.
    pub fn new(
        shared: Arc<Shared<J>>,
        federation: Federation,
        shutdown: Shutdown,
        keys_dir: PathBuf,
    ) -> Self {
        Self {
            shared,
            federation,
            shutdown,
            keys_dir,
            turns: Turns::new(MAX_UPLOADS, Queue::default()),
            downloads: Queue::default(),
            stall: Duration::from_millis(UPLOAD_STALL_MS),
            submissions: Semaphore::new(MAX_SUBMISSIONS),
            creating: tokio::sync::Mutex::new(()),
            runs: RwLock::default(),
            created: watch::channel(0).0,
            damaged: RwLock::default(),
        }
    }

    /// Marks a run that cannot be brought back: it is shown, and the others are served.
    pub fn mark_damaged(&self, run: RunId, what: String) {
        tracing::error!(%run, what, "a run is damaged and left alone; the others are served");
        let mut damaged = self.damaged.write().unwrap_or_else(PoisonError::into_inner);
        damaged.insert(run, what);
    }

    /// The runs that are damaged, and why.
    pub fn damaged(&self) -> BTreeMap<RunId, String> {
        let damaged = self.damaged.read().unwrap_or_else(PoisonError::into_inner);
        damaged.clone()
    }

    /// The next message of a stream, if it comes before the peer counts as gone.
    async fn in_time<T>(
        &self,
        message: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let message = tokio::time::timeout(self.stall, message).await;
        let message = message.map_err(|_| status::stalled(self.stall))?;
        message.map_err(status::broken)
    }

    /// What `told` gives, if the peer takes what it is told before it counts as gone.
    async fn heard<T>(&self, told: impl Future<Output = T>) -> Result<T, Status> {
        let told = tokio::time::timeout(self.stall, told).await;
        told.map_err(|_| status::stalled(self.stall))
    }

    /// Whether another run may begin.
    fn check_running(&self) -> Result<(), Status> {
        let running = |run: &Arc<LiveRun<J>>| run.run().read().state() == State::Running;
        if self.runs().iter().filter(|run| running(run)).count() < MAX_RUNNING {
            Ok(())
        } else {
            Err(status::too_many_runs(MAX_RUNNING))
        }
    }

    /// Shows a run to everybody.
    pub fn add(&self, run: Arc<LiveRun<J>>) {
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        runs.insert(run.spec().run_id(), run);
        drop(runs);
        self.created.send_modify(|count| *count += 1);
    }

    /// How long an upload may be silent, if not as long as the limits say.
    pub fn with_stall(self, stall: Duration) -> Self {
        Self { stall, ..self }
    }

    /// How many uploads there may be at once, and who of them transfers, if not as the limits say.
    pub fn with_uploads(self, limit: usize, queue: Queue) -> Self {
        let turns = Turns::new(limit, queue);
        Self { turns, ..self }
    }

    /// Which models go out, if not as the limits say.
    pub fn with_downloads(self, downloads: Queue) -> Self {
        Self { downloads, ..self }
    }

    /// All runs.
    pub fn runs(&self) -> Vec<Arc<LiveRun<J>>> {
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        runs.values().cloned().collect()
    }

    /// Changes when a run is added.
    pub fn additions(&self) -> watch::Receiver<u64> {
        self.created.subscribe()
    }

    /// The run with this id.
    ///
    /// # Errors
    /// NOT_FOUND; UNAVAILABLE for one that is damaged, so that its sites ask again until it has been repaired.
    pub fn run(&self, id: RunId) -> Result<Arc<LiveRun<J>>, Status> {
        let damaged = self.damaged.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(what) = damaged.get(&id) {
            return Err(status::run_damaged(id, what));
        }
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        runs.get(&id)
            .cloned()
            .ok_or_else(|| status::no_such_run(id))
    }
}

#[cfg(test)]
mod tests;
