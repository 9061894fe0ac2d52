//! Why a demo ended without its table.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use veilsum_common::limits::{MAX_COHORT, MIN_COHORT};
use veilsum_common::model::ModelError as TensorError;
use veilsum_common::quantise::QuantiseError;
use veilsum_common::run::RunError;
use veilsum_trainers::split::SplitError;
use veilsum_trainers::{ModelError, TrainError};

/// Why a demo ended without its table.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// With two sites a sum hides nothing.
    #[error(
        "--sites {sites}: with two sites each could subtract its own update from the sum and read the other's; at least {MIN_COHORT} are needed"
    )]
    TwoSites { sites: u32 },
    /// Too few or too many sites.
    #[error("--sites {sites}: {MIN_COHORT} to {MAX_COHORT} are possible")]
    Sites { sites: u32 },
    /// The data cannot be shared out.
    #[error("--sites: {0}")]
    Split(#[from] SplitError),
    /// Not a share.
    #[error("--drop {rate}: a share of the sites is needed, above 0 and below 1")]
    DropRate { rate: f64 },
    /// More dropouts than the protocol survives.
    #[error(
        "--drop kills {dropped} of {sites} sites in each round, but the sum can be unmasked without at most {limit}"
    )]
    DropTooMany {
        dropped: u32,
        sites: u32,
        limit: u32,
    },
    /// A sum that is not what was sent.
    #[error(
        "parameter {index} became {have} instead of {need}: the sum is wrong; this is a bug, please report it"
    )]
    Inexact { index: u64, have: f32, need: f32 },
    /// The directory is somebody else's.
    #[error("{} {problem}", path.display())]
    Directory { path: PathBuf, problem: Problem },
    /// The directory cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A process cannot be started.
    #[error("cannot start {name}: {source}")]
    Start { name: String, source: io::Error },
    /// A process ended that should have gone on.
    #[error("{name} ended unexpectedly ({status}): {last_words}")]
    Ended {
        name: String,
        status: ExitStatus,
        last_words: String,
    },
    /// A process never said that it was ready.
    #[error("{name} was not ready within {limit_s} s: {last_words}")]
    NotReady {
        name: String,
        limit_s: u64,
        last_words: String,
    },
    /// Ctrl-C.
    #[error("the demo was interrupted")]
    Interrupted,
    /// A trainer of this process failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The model that came out is not one of the trainer.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The demo's own study is refused.
    #[error(transparent)]
    Run(#[from] RunError),
    /// An update without masks cannot be quantised.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
    /// An update without masks cannot be added.
    #[error(transparent)]
    Tensors(#[from] TensorError),
}

/// What is wrong with the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("is no directory")]
    NoDirectory,
    #[error("holds files that no demo made, and they are not overwritten")]
    Foreign,
    #[error("is in use by another demo")]
    InUse,
}
