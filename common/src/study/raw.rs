//! A study as it was typed: right keys and types, nothing checked yet. Defaults are filled in here and nowhere else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use veilsum_secagg::prg::Prg;

use crate::limits::{DEFAULT_BITS, DEFAULT_COHORT};
use crate::time::Span;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStudy {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) rounds: RawRounds,
    pub(super) secagg: RawSecagg,
    pub(super) model: RawModel,
    #[serde(default)]
    pub(super) metrics: BTreeMap<String, RawMetric>,
    #[serde(default)]
    pub(super) strategy: RawStrategy,
    #[serde(default)]
    pub(super) config: toml::Table,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRounds {
    pub(super) count: u64,
    #[serde(default)]
    pub(super) cohort: RawCohort,
    #[serde(default = "ten_minutes")]
    pub(super) join_timeout: Span,
    #[serde(default = "ten_minutes")]
    pub(super) report_timeout: Span,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCohort {
    min: Option<u32>,
    target: Option<u32>,
}

/// `rounds.cohort`: how many sites make a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cohort {
    /// Below it there is no round.
    pub min: u32,
    /// At it a round waits no longer.
    pub target: u32,
}

impl From<RawCohort> for Cohort {
    fn from(raw: RawCohort) -> Self {
        let min = raw.min.unwrap_or(DEFAULT_COHORT);
        Self {
            min,
            target: raw.target.unwrap_or(min),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSecagg {
    pub(super) clip: Clip,
    #[serde(default = "default_bits")]
    pub(super) bits: u64,
    pub(super) weight: RawWeight,
    #[serde(default, with = "PrgName")]
    pub(super) prg: Prg,
}

/// `secagg.prg`: how a study names the cipher of the masks.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Prg")]
pub(super) enum PrgName {
    #[serde(rename = "aes-256-ctr")]
    Aes256Ctr,
    #[serde(rename = "chacha20")]
    ChaCha20,
}

/// `secagg.clip`: how an update is bounded before it is quantised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// What is bounded.
    pub kind: ClipKind,
    /// By how much.
    pub value: f64,
}

/// What a clip bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClipKind {
    /// The Euclidean norm of the whole update, which is scaled down if it is longer.
    L2,
    /// The magnitude of every element, each by itself.
    Element,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawWeight {
    pub(super) by: RawWeightKind,
    pub(super) max: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawWeightKind {
    Examples,
    Uniform,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawModel {
    pub(super) initial: String,
    #[serde(default = "everything")]
    pub(super) aggregate: Vec<String>,
    #[serde(default)]
    pub(super) keep_global: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMetric {
    pub(super) range: [f64; 2],
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawStrategy {
    pub(super) kind: String,
}

impl Default for RawStrategy {
    fn default() -> Self {
        Self {
            kind: "fedavg".to_owned(),
        }
    }
}

fn ten_minutes() -> Span {
    Span::from_secs(600)
}

fn default_bits() -> u64 {
    DEFAULT_BITS.into()
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}
