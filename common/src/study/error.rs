//! What can be wrong with a study: key, value, limit, and what to write instead.

use super::SCHEMA;
use crate::document::DocumentError;
use crate::limits::{
    DEFAULT_COHORT, MAX_METRIC_BOUND, MAX_METRIC_NAME, MAX_STUDY_NAME, MIN_COHORT, MIN_METRIC_BOUND,
};
use crate::time::Span;

/// Why a study cannot run: its author's fault, and every message says what to change.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "each field is named in its variant's message")]
pub enum StudyError {
    /// Not TOML, an unknown key, a value of the wrong type.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Another format.
    #[error("schema is `{found}`, this version reads `{SCHEMA}`; write schema = \"{SCHEMA}\"")]
    Schema { found: String },
    /// Not a name.
    #[error(
        "name is `{found}`; use 1 to {MAX_STUDY_NAME} characters of a-z, A-Z, 0-9, `-`, `_` and `.`, \
         beginning with a letter or a digit"
    )]
    Name { found: String },
    /// A whole number out of bounds.
    #[error("{key} is {value}, allowed is {lowest} to {highest}; {remedy}")]
    Whole {
        key: &'static str,
        value: u64,
        lowest: u64,
        highest: u64,
        remedy: &'static str,
    },
    /// Fewer sites than can hide anything.
    #[error(
        "rounds.cohort.min is {min}, at least {MIN_COHORT} sites are needed: with two, each could subtract its own update \
         from the sum and read the other's; set it to {DEFAULT_COHORT} or more (3 or 4 only if every site agrees)"
    )]
    CohortTooSmall { min: u32 },
    /// A round that could never be full.
    #[error(
        "rounds.cohort.target is {target}, below rounds.cohort.min = {min}; set target to {min} or more"
    )]
    TargetBelowMin { min: u32, target: u32 },
    /// A timeout out of bounds.
    #[error("{key} is {value}, allowed is {lowest} to {highest}; 10m suits most studies")]
    Timeout {
        key: &'static str,
        value: Span,
        lowest: Span,
        highest: Span,
    },
    /// Rounds that no site would take part in.
    #[error(
        "rounds.join_timeout + rounds.report_timeout is {join} + {report} = {sum}, at most {highest} is possible: sites accept no \
         round that stays open for more than {life}, and its last day is for holders that come back; shorten one of the two"
    )]
    Timeouts {
        join: Span,
        report: Span,
        sum: Span,
        highest: Span,
        life: Span,
    },
    /// A clip out of bounds.
    #[error(
        "secagg.clip.value is {value}, allowed is {lowest:e} to {highest:e}; 1.0 is a good start for kind = \"l2\""
    )]
    Clip {
        value: f64,
        lowest: f64,
        highest: f64,
    },
    /// A cap without meaning.
    #[error(
        "secagg.weight.max is {max}, but by = \"uniform\" gives every site the weight 1; leave max out"
    )]
    UniformMax { max: u64 },
    /// A cap is missing.
    #[error(
        "secagg.weight.max is missing, by = \"examples\" needs it; \
         set it to about the largest number of examples of one site"
    )]
    ExamplesWithoutMax,
    /// Not a path.
    #[error(
        "model.initial is `{found}`; give the path of a safetensors file, 1 to {limit_bytes} bytes long"
    )]
    InitialPath { found: String, limit_bytes: usize },
    /// Too many patterns, or none.
    #[error(
        "{key} has {have} patterns, allowed is {fewest} to {most}; `*` stands for any characters"
    )]
    GlobCount {
        key: &'static str,
        have: usize,
        fewest: usize,
        most: usize,
    },
    /// An empty or overlong pattern.
    #[error(
        "{key} has the pattern `{pattern}`; a pattern has 1 to {limit_bytes} bytes, shorten it with `*`"
    )]
    Glob {
        key: &'static str,
        pattern: String,
        limit_bytes: usize,
    },
    /// Too many metrics.
    #[error("[metrics] declares {have} metrics, at most {limit} are allowed; report fewer")]
    MetricCount { have: usize, limit: usize },
    /// Not a metric's name.
    #[error(
        "`{found}` is not a name for a metric; use 1 to {MAX_METRIC_NAME} characters of a-z, A-Z, 0-9, `-`, `_`, `.` and \
         `/`, beginning with a letter or a digit"
    )]
    MetricName { found: String },
    /// A range that is empty, infinite or out of bounds.
    #[error(
        "metrics.{metric}.range is [{lo}, {hi}]; the first must be below the second, and the larger magnitude \
         between {MIN_METRIC_BOUND:e} and {MAX_METRIC_BOUND:e}; scale the metric if need be"
    )]
    MetricRange { metric: String, lo: f64, hi: f64 },
    /// A server step that this version does not run.
    #[error("strategy.kind = \"{kind}\" is not available in this version; {}", instead(*suggestion))]
    Strategy {
        kind: String,
        suggestion: Option<&'static str>,
    },
    /// NaN or an infinity in the trainers' configuration.
    #[error(
        "{key} is {value}, but [config] reaches the trainers as JSON, which has no such number; write a string"
    )]
    ConfigNotFinite { key: String, value: f64 },
    /// A date in the trainers' configuration.
    #[error(
        "{key} is a date or time, but [config] reaches the trainers as JSON, which has none; write a string"
    )]
    ConfigDate { key: String },
    /// Too much configuration.
    #[error(
        "[config] takes {len_bytes} bytes as JSON, at most {limit_bytes} are allowed; move data into the trainer"
    )]
    ConfigTooLong {
        len_bytes: usize,
        limit_bytes: usize,
    },
}

/// What is allowed, but weaker than it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each field is named in its variant's message")]
pub enum StudyWarning {
    /// A cohort of 3 or 4.
    #[error(
        "rounds.cohort.min is {min}: in so small a cohort one or two colluding sites are left with the sum of the other \
         two; every site must allow it by min_cohort = 3 in its own policy, the default is {DEFAULT_COHORT}"
    )]
    SmallCohort { min: u32 },
}

fn instead(suggestion: Option<&'static str>) -> String {
    match suggestion {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => "write \"fedavg\" (rules that need single updates, such as Krum or a median, cannot work on a sum)".to_owned(),
    }
}
