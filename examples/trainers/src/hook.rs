//! The trainer contract, from the trainer's side: read the assignment and the model, learn, write the update and the result, exit.
//!
//! The participant starts the process, sets the variables, enforces the deadline and reads the files after exit 0; see `docs/trainer-contract.md`.
//! This side looks at no clock, since a round of the demo takes milliseconds, and writes each file whole: to a `.tmp` name, then renamed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::learn::{TrainConfig, TrainError};
use crate::model::{FileKind, Model, ModelError};

/// Where the hook's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookEnv {
    /// `VEILSUM_ASSIGNMENT`: what to do, JSON.
    pub assignment: PathBuf,
    /// `VEILSUM_MODEL_IN`: the model version to start from, safetensors.
    pub model_in: PathBuf,
    /// `VEILSUM_UPDATE_OUT`: where the trained weights go, safetensors.
    pub update_out: PathBuf,
    /// `VEILSUM_RESULT_OUT`: where the number of examples and the metrics go, JSON.
    pub result_out: PathBuf,
}

impl HookEnv {
    /// Takes the paths from the variables that the participant set.
    ///
    /// # Errors
    /// [`HookError::Variable`] for the first one that is missing.
    pub fn from_env() -> Result<Self, HookError> {
        Self::from_lookup(|name| env::var_os(name))
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, HookError> {
        let path = |name| {
            let value = lookup(name).filter(|value| !value.is_empty());
            value.map(PathBuf::from).ok_or(HookError::Variable { name })
        };
        Ok(Self {
            assignment: path("VEILSUM_ASSIGNMENT")?,
            model_in: path("VEILSUM_MODEL_IN")?,
            update_out: path("VEILSUM_UPDATE_OUT")?,
            result_out: path("VEILSUM_RESULT_OUT")?,
        })
    }
}

/// What a trainer says about its update, besides the update: `result.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HookResult {
    /// Rows trained on: the update's weight in the mean.
    pub num_examples: usize,
    /// `loss` and `accuracy` of the model that came in, on this site's rows. Before training, because the weighted mean over the sites is then the
    /// score of the model version itself; after it every site is good at its own rows and nothing is learned from the figure.
    pub metrics: BTreeMap<&'static str, f64>,
}

/// Does one assignment: files in, files out.
///
/// `data` are this site's rows, scaled. The update is renamed into place before the result.
///
/// # Errors
/// [`HookError`]; its [`HookError::exit_code`] is what the process exits with.
pub fn run_hook(data: &Dataset, env: &HookEnv) -> Result<(), HookError> {
    let assignment = Assignment::read(&env.assignment)?;
    let bytes = read(&env.model_in)?;
    let mut model = Model::from_safetensors(&bytes)?;
    let mut result = contribute(data, &mut model, &assignment.config, assignment.round)?;
    if let Some(wanted) = assignment.metrics {
        result
            .metrics
            .retain(|name, _| wanted.iter().any(|w| w == name));
    }
    let json = serde_json::to_vec(&result).expect("a map of finite numbers is JSON");
    write_whole(&env.update_out, &model.to_safetensors(FileKind::Update))?;
    write_whole(&env.result_out, &json)
}

/// Does what the hook does without its files: scores the model, then trains it.
///
/// # Errors
/// [`TrainError`] if the rows or the settings do not fit, or training diverged.
pub fn contribute(
    data: &Dataset,
    model: &mut Model,
    config: &TrainConfig,
    round: u32,
) -> Result<HookResult, TrainError> {
    let score = model.score(data)?;
    model.train(data, config, round)?;
    Ok(HookResult {
        num_examples: data.len(),
        metrics: BTreeMap::from([("loss", score.loss), ("accuracy", score.accuracy)]),
    })
}

/// What this trainer needs of `assignment.json`.
struct Assignment {
    round: u32,
    config: TrainConfig,
    /// The metrics the study declares; all if it does not say.
    metrics: Option<Vec<String>>,
}

/// `assignment.json` as it is written. Unknown keys are passed over, for the schema may gain some; in `config`, which is ours, they are refused.
#[derive(Deserialize)]
struct RawAssignment {
    schema: String,
    kind: String,
    round: u32,
    config: serde_json::Value,
    metrics: Option<Vec<String>>,
}

impl Assignment {
    fn read(path: &Path) -> Result<Self, HookError> {
        let raw: RawAssignment =
            serde_json::from_slice(&read(path)?).map_err(HookError::Assignment)?;
        if raw.schema != ASSIGNMENT_SCHEMA {
            return Err(HookError::Schema { schema: raw.schema });
        }
        if raw.kind != "train" {
            return Err(HookError::Kind { kind: raw.kind });
        }
        Ok(Self {
            round: raw.round,
            config: serde_json::from_value(raw.config).map_err(HookError::Config)?,
            metrics: raw.metrics,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, HookError> {
    fs::read(path).map_err(|source| HookError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// Writes to a `.tmp` name beside `path`, then renames: nobody ever sees half a file.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), HookError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let staged = PathBuf::from(name);
    fs::write(&staged, bytes)
        .and_then(|()| fs::rename(&staged, path))
        .map_err(|source| HookError::Unwritable {
            path: path.to_owned(),
            source,
        })
}

/// Why the hook made no update.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The process was not started by a participant.
    #[error(
        "{name} is not set; a participant sets it when it starts this trainer, by hand give it a path"
    )]
    Variable {
        /// The variable.
        name: &'static str,
    },
    /// A file of the participant.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The path from the variable.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A file of ours.
    #[error("cannot write {}: {source}; is there space left in the work directory?", path.display())]
    Unwritable {
        /// The path from the variable.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The assignment is not JSON, or a key is missing.
    #[error(
        "the assignment is not understood: {0}; participant and trainer must be of the same release"
    )]
    Assignment(serde_json::Error),
    /// The assignment is of another version of the contract.
    #[error(
        "the assignment has schema `{schema}`, this trainer knows `{ASSIGNMENT_SCHEMA}`; use a trainer of the participant's release"
    )]
    Schema {
        /// What the assignment says.
        schema: String,
    },
    /// The assignment asks for something else than training.
    #[error("the assignment is to `{kind}`; this trainer can only `train` and sits the round out")]
    Kind {
        /// What the assignment says.
        kind: String,
    },
    /// The study's settings are not those of this trainer.
    #[error(
        "the study's [config] is not one of this trainer: {0}; it takes local_epochs, lr, batch_size and seed"
    )]
    Config(serde_json::Error),
    /// The model is not one of this trainer.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Nothing was learned.
    #[error(transparent)]
    Train(#[from] TrainError),
}

impl HookError {
    /// Returns what the process must exit with: 75 sits this round out, 78 leaves the run since no later round would go better, 1 is a failure of this
    /// round alone.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Kind { .. } => EX_TEMPFAIL,
            Self::Assignment(_) | Self::Schema { .. } | Self::Config(_) => EX_CONFIG,
            Self::Variable { .. } | Self::Unreadable { .. } | Self::Unwritable { .. } => FAILURE,
            Self::Model(ModelError::NotFinite { .. })
            | Self::Train(TrainError::Diverged { .. }) => FAILURE,
            Self::Model(_) | Self::Train(_) => EX_CONFIG,
        }
    }
}

const ASSIGNMENT_SCHEMA: &str = "veilsum.assignment/v1";

/// Exit codes of the contract; the names are those of BSD's sysexits.
const EX_TEMPFAIL: u8 = 75;
const EX_CONFIG: u8 = 78;
const FAILURE: u8 = 1;

#[cfg(test)]
mod tests;
