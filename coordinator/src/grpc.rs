//! The services put together. Handlers are thin: who calls, what bytes mean, which machine to ask.

mod auth;
mod edge;
pub mod round_service;
pub mod run_service;
pub mod status;
mod upload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tonic::Status;
use veilsum_common::ids::RunId;
use veilsum_common::limits::{MAX_UPLOADS, UPLOAD_STALL_MS};
use veilsum_daemon::identity::Federation;
use veilsum_daemon::shutdown::Shutdown;

use crate::live::{LiveRun, Shared};
use crate::store::Journal;
use crate::transfer::Turns;

pub use auth::Caller;
pub use edge::{reasoned, services};

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
    /// How long an upload may be silent.
    stall: Duration,
    /// Serialises run creation, so that one request id makes one run.
    pub creating: tokio::sync::Mutex<()>,
    runs: RwLock<BTreeMap<RunId, Arc<LiveRun<J>>>>,
    created: watch::Sender<u64>,
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
            turns: Turns::new(MAX_UPLOADS),
            stall: Duration::from_millis(UPLOAD_STALL_MS),
            creating: tokio::sync::Mutex::new(()),
            runs: RwLock::default(),
            created: watch::channel(0).0,
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

    /// How many uploads there may be at once, if not as many as the limits say.
    pub fn with_uploads(self, limit: usize) -> Self {
        let turns = Turns::new(limit);
        Self { turns, ..self }
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
    /// NOT_FOUND.
    pub fn run(&self, id: RunId) -> Result<Arc<LiveRun<J>>, Status> {
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        runs.get(&id)
            .cloned()
            .ok_or_else(|| status::no_such_run(id))
    }
}

#[cfg(test)]
mod tests;
