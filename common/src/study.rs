//! The study file, `study.toml`: what a data scientist writes to describe a run.
//!
//! Where it sits: the command line reads it before `run create`; the coordinator and every site read the same fields out
//! of the run they are offered. [`Study`] is the checked form: whoever holds one need not check again.
//!
//! Path of a study: TOML or JSON → raw structs, unknown keys refused → every bound checked once, here → [`Study`]
//! → canonical JSON for the wire and the digest. Reading files and applying overrides is the command line's business.
//!
//! Source: `docs/config/study.toml`, which lists every key with default, unit and reason, and which a test parses.

use std::collections::BTreeMap;

use serde::Serialize;
use veilsum_secagg::Digest;
use veilsum_secagg::prg::Prg;

mod check;
mod config;
mod error;
pub(crate) mod raw;

pub use error::{StudyError, StudyWarning};
pub use raw::{Clip, ClipKind, Cohort};

use crate::document;
use crate::limits::{DEFAULT_COHORT, MAX_STUDY_BYTES};
use crate::metadata::MetricSpec;
use crate::strategy::ServerStep;
use crate::time::Span;

/// Value of the key `schema`.
pub const SCHEMA: &str = "veilsum.study/v1";

/// A study whose every bound has been checked.
///
/// Serialises to the JSON form of the file, with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Study {
    schema: &'static str,
    name: String,
    rounds: Rounds,
    secagg: Secagg,
    model: ModelSource,
    metrics: BTreeMap<String, MetricRange>,
    strategy: ServerStep,
    config: serde_json::Map<String, serde_json::Value>,
}

/// `[rounds]`: how many, who, and how long to wait. The two timeouts are the only ones of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rounds {
    /// Rounds of the run.
    pub count: u64,
    /// Size of a round's cohort.
    pub cohort: Cohort,
    /// How long a round waits for sites to train and commit.
    pub join_timeout: Span,
    /// How long a committed site may take to upload.
    pub report_timeout: Span,
}

/// `[secagg]`: how an update becomes integers. There is nothing here to switch masking off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Secagg {
    /// How an update is bounded before it is quantised.
    pub clip: Clip,
    /// Bits of a quantised value, before head-room for the sum.
    pub bits: u8,
    /// What a site's update counts for.
    pub weight: Weighting,
    /// The cipher of the masks. The usual one is not written out: a run without the key means what it meant before there was one.
    #[serde(with = "raw::PrgName", skip_serializing_if = "is_usual")]
    pub prg: Prg,
}

fn is_usual(prg: &Prg) -> bool {
    *prg == Prg::default()
}

/// `secagg.weight`: what a site's update counts for in the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum Weighting {
    /// As much as it has examples; more than `max` is an error at the site.
    Examples {
        /// Largest weight.
        max: u64,
    },
    /// The same for every site.
    Uniform,
}

/// `[model]`: where training starts, and what is averaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelSource {
    /// Path of the initial model, relative to the study file.
    pub initial: String,
    /// Patterns of tensor names to average.
    pub aggregate: Vec<String>,
    /// Patterns of tensor names to keep from the global model.
    pub keep_global: Vec<String>,
}

/// `metrics.<name>`: the values a metric may have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MetricRange {
    /// Smallest and largest value.
    pub range: [f64; 2],
}

impl Study {
    /// Reads and checks the text of a study file.
    ///
    /// # Errors
    /// [`StudyError`] with line and column, or with key, value, limit and remedy.
    pub fn parse(text: &str) -> Result<Self, StudyError> {
        document::parse::<raw::RawStudy>(text, MAX_STUDY_BYTES)?.try_into()
    }

    /// BLAKE3 of `"veilsum/v1/study" ‖ 0x00` and the canonical JSON of the study: two files that mean the same have the
    /// same digest, whatever their comments, order and defaults.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(STUDY_LABEL);
        hasher.update(&serde_json::to_vec(self).expect("a study is plain data with text keys"));
        Digest(*hasher.finalize().as_bytes())
    }

    /// What is allowed but should be said on every command that touches the run.
    pub fn warnings(&self) -> Vec<StudyWarning> {
        let min = self.rounds.cohort.min;
        let small = (min < DEFAULT_COHORT).then_some(StudyWarning::SmallCohort { min });
        small.into_iter().collect()
    }

    /// Name of the study.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many rounds, who, and how long to wait.
    pub fn rounds(&self) -> &Rounds {
        &self.rounds
    }

    /// How an update becomes integers.
    pub fn secagg(&self) -> &Secagg {
        &self.secagg
    }

    /// Where training starts, and what is averaged.
    pub fn model(&self) -> &ModelSource {
        &self.model
    }

    /// The declared metrics, in order of name.
    pub fn metrics(&self) -> Vec<MetricSpec> {
        let spec = |(name, MetricRange { range: [lo, hi] }): (&String, &MetricRange)| MetricSpec {
            name: name.clone(),
            lo: *lo,
            hi: *hi,
        };
        self.metrics.iter().map(spec).collect()
    }

    /// The server step.
    pub fn strategy(&self) -> ServerStep {
        self.strategy
    }

    /// What the trainers get, unread.
    pub fn config(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.config
    }
}

impl Weighting {
    /// The weight of an update that was trained on `num_examples`. Whether it is within the cap is the quantiser's check.
    pub fn weight(self, num_examples: u64) -> u64 {
        match self {
            Self::Examples { .. } => num_examples,
            Self::Uniform => 1,
        }
    }

    /// W of the protocol: the largest weight a site may use.
    pub fn max(self) -> u64 {
        match self {
            Self::Examples { max } => max,
            Self::Uniform => 1,
        }
    }
}

const STUDY_LABEL: &[u8] = b"veilsum/v1/study\0";

#[cfg(test)]
mod tests;
