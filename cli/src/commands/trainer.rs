//! The built-in trainer, as a participant of the demo starts it: the same files and variables as any other trainer.
//!
//! It exits with the codes of the trainer contract, not with those of `veilsum`. With `--hold` it stays while a file is there: by that the demo
//! keeps a round from closing its cohort until the sites that it kills have committed. The participant knows nothing of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::getppid;
use veilsum_trainers::{HookEnv, HookError, Recipe, run_hook};

use crate::args::{Data, Trainer};
use crate::commands::synthetic;
use crate::error::Error;
use crate::render::{self, Output};

pub(crate) fn run(trainer: &Trainer) -> Result<Output, Error> {
    match train(trainer) {
        Ok(()) => Ok(Output::default()),
        Err(Failed { message, exit }) => {
            render::note(&message);
            std::process::exit(exit.into());
        }
    }
}

/// The study behind a name on the command line.
pub(crate) fn recipe(data: Data) -> &'static Recipe {
    match data {
        Data::Digits => &veilsum_trainers::DIGITS,
        Data::BreastCancer => &veilsum_trainers::BREAST_CANCER,
    }
}

/// The file that keeps the trainer of a round from ending.
pub(crate) fn hold_file(dir: &Path, round: u64) -> PathBuf {
    dir.join(format!("round-{round}"))
}

struct Failed {
    message: String,
    exit: u8,
}

impl From<HookError> for Failed {
    fn from(error: HookError) -> Self {
        Self {
            message: error.to_string(),
            exit: error.exit_code(),
        }
    }
}

fn train(trainer: &Trainer) -> Result<(), Failed> {
    let files = HookEnv::from_env()?;
    if let Some(params) = trainer.params {
        return fill(params, &files);
    }
    let wrong = |message: String| Failed {
        message,
        exit: EX_CONFIG,
    };
    let partition = recipe(trainer.data)
        .partition(trainer.sites, trainer.seed)
        .map_err(|error| wrong(error.to_string()))?;
    if trainer.site >= partition.site_count() {
        return Err(wrong(format!(
            "there is no site {} of {}",
            trainer.site,
            partition.site_count()
        )));
    }
    run_hook(&partition.site(trainer.site), &files)?;
    match &trainer.hold {
        None => Ok(()),
        Some(dir) => wait_while_held(dir),
    }
}

/// Writes the synthetic update, whatever the model is.
fn fill(params: u64, files: &HookEnv) -> Result<(), Failed> {
    let result = serde_json::json!({"num_examples": 1});
    let written = synthetic::write_update(&files.update_out, params)
        .and_then(|()| std::fs::write(&files.result_out, result.to_string()));
    written.map_err(|error| Failed {
        message: format!("the synthetic update cannot be written: {error}"),
        exit: 1,
    })
}

/// Waits while the file of this round is there, and no longer than the process that started us lives.
fn wait_while_held(dir: &Path) -> Result<(), Failed> {
    let missing = || Failed {
        message: "VEILSUM_ROUND is not set".to_owned(),
        exit: 1,
    };
    let round = std::env::var("VEILSUM_ROUND")
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(missing)?;
    let (file, parent) = (hold_file(dir, round), getppid());
    while file.exists() {
        if getppid() != parent {
            return Err(Failed {
                message: "the participant is gone".to_owned(),
                exit: 1,
            });
        }
        std::thread::sleep(HOLD_POLL);
    }
    Ok(())
}

/// Well below what a round takes.
const HOLD_POLL: Duration = Duration::from_millis(3);

/// Of the trainer contract: no later round would go better.
const EX_CONFIG: u8 = 78;
