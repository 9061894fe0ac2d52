//! What one trainer is asked to do in one round, and how that can end.
//!
//! Sits between the driver, which decides that there is something to train, and the site's own code,
//! which runs as another process and shares nothing with us but a directory of files: the daemon never
//! imports user code, the trainer never sees keys, masks or peers. What the trainer wrote is judged by
//! `update`. Deliberately absent: any retry. A trainer that failed is out of the round.
//!
//! Source: docs/trainer-contract.md.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use veilsum_common::model::Layout;
use veilsum_common::{RunId, RunSpec, Span, Timestamp};

mod hook;
mod output;
mod workdir;

pub use hook::Hook;
pub use workdir::WorkDir;

/// One round's work for one trainer.
#[derive(Clone)]
pub struct Assignment {
    /// The run, with its layout, metrics and free-form configuration.
    pub run: Arc<RunSpec>,
    /// The round, counted from one.
    pub round: u64,
    /// The global model of this round, verified by the caller.
    pub model: PathBuf,
    /// Until when the round waits for this site's Commit.
    pub join_deadline: Timestamp,
}

/// A trainer that ended as the contract foresees.
#[derive(Debug)]
pub struct TrainerExit {
    /// What it decided.
    pub outcome: Outcome,
    /// From its start to its exit.
    pub elapsed: Span,
    /// Where its files are. The caller removes it once the update is pinned.
    pub workdir: WorkDir,
}

/// What a trainer may decide by its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 0: there is an update.
    Contribute,
    /// 75 (`EX_TEMPFAIL`): not in this round; the run goes on.
    SitOut,
    /// 78 (`EX_CONFIG`): never again in this run.
    LeaveRun,
}

/// A trainer that failed: this site is out of the round.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// There is no time left to train in.
    #[error(
        "the round stopped waiting before the trainer could start; a longer join_timeout in the study would help"
    )]
    NoTime,
    /// The directory it works in cannot be prepared.
    #[error("cannot prepare the trainer's directory {}", path.display())]
    WorkDirectory {
        /// The directory, or a file in it.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The command cannot be started.
    #[error("cannot start the trainer `{program}`; check trainer.command in site.toml")]
    Start {
        /// First word of the command.
        program: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system lost track of it.
    #[error("cannot wait for the trainer")]
    Wait {
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It exited with a code that means failure.
    #[error(
        "the trainer exited with code {code} after {elapsed}; the end of its stderr is in this site's log \
         (0 contributes, 75 sits the round out, 78 leaves the run)"
    )]
    Exited {
        /// Its exit code.
        code: i32,
        /// From start to exit.
        elapsed: Span,
        /// The last 4 KiB of its stderr. They must not leave the site.
        stderr_tail: String,
    },
    /// It was killed by a signal that was not ours.
    #[error(
        "the trainer was killed by signal {signal} after {elapsed}; if it is 9, look for the out-of-memory killer in the system's log"
    )]
    Signalled {
        /// Number of the signal.
        signal: i32,
        /// From start to exit.
        elapsed: Span,
        /// The last 4 KiB of its stderr. They must not leave the site.
        stderr_tail: String,
    },
    /// It was still running at its deadline.
    #[error("the trainer was stopped by {stop} at its deadline after {limit}; {}", limited_by.remedy())]
    Overran {
        /// How long it had.
        limit: Span,
        /// Which of the two deadlines came first.
        limited_by: Limit,
        /// What it took to end it.
        stop: Stop,
        /// The last 4 KiB of its stderr. They must not leave the site.
        stderr_tail: String,
    },
    /// The daemon stops.
    #[error(
        "the trainer was stopped because the participant stops; it starts over when the participant is back in time"
    )]
    ShutDown,
}

/// The class of a failure: all that the coordinator may learn of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// It never ran.
    NotStarted,
    /// It ran and failed.
    Failed,
    /// It ran too long.
    TimedOut,
    /// The site stopped it.
    Interrupted,
}

/// Which deadline a trainer met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `trainer.timeout` of the site.
    SiteTimeout,
    /// The time the round waits for Commits.
    JoinDeadline,
}

/// What it took to end a trainer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It ended when asked to.
    Terminated,
    /// It did not end within the grace period.
    Killed,
}

impl TrainerError {
    /// What of this may leave the site.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::NoTime | Self::WorkDirectory { .. } | Self::Start { .. } => {
                FailureClass::NotStarted
            }
            Self::Wait { .. } | Self::Exited { .. } | Self::Signalled { .. } => {
                FailureClass::Failed
            }
            Self::Overran { .. } => FailureClass::TimedOut,
            Self::ShutDown => FailureClass::Interrupted,
        }
    }
}

impl Limit {
    fn remedy(self) -> &'static str {
        match self {
            Self::SiteTimeout => "raise trainer.timeout in site.toml, or train less",
            Self::JoinDeadline => "a longer join_timeout in the study would help, or training less",
        }
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Terminated => "SIGTERM",
            Self::Killed => "SIGKILL",
        })
    }
}

impl Assignment {
    /// `assignment.json`. `deadline` is in whole seconds since 1970, as in `VEILSUM_DEADLINE`: easy to subtract from in any language.
    fn to_json(&self, deadline: Timestamp) -> Vec<u8> {
        let run = &self.run;
        let described = Described {
            schema: SCHEMA,
            kind: "train",
            run_id: run.run_id(),
            round: self.round,
            rounds: run.study().rounds().count,
            deadline: in_seconds(deadline),
            config: run.study().config(),
            model: MODEL_FILE,
            tensors: run.layout(),
            metrics: run
                .metadata()
                .metrics()
                .map(|metric| metric.name.as_str())
                .collect(),
        };
        serde_json::to_vec_pretty(&described).expect("an assignment is plain data with text keys")
    }
}

#[derive(Serialize)]
struct Described<'a> {
    schema: &'static str,
    kind: &'static str,
    run_id: RunId,
    round: u64,
    rounds: u64,
    deadline: u64,
    config: &'a serde_json::Map<String, serde_json::Value>,
    model: &'static str,
    tensors: &'a Layout,
    metrics: Vec<&'a str>,
}

fn in_seconds(at: Timestamp) -> u64 {
    at.0 / 1000
}

/// Where the trainer finds the model.
const MODEL_FILE: &str = "model.safetensors";

const SCHEMA: &str = "veilsum.assignment/v1";
