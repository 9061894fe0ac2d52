//! From what was typed to what may run: every bound of a study, each checked once.

use std::collections::BTreeMap;

use super::config;
use super::error::StudyError;
use super::raw::{
    Clip, Cohort, RawMetric, RawModel, RawRounds, RawSecagg, RawStrategy, RawStudy, RawWeight,
    RawWeightKind,
};
use super::{MetricRange, ModelSource, Rounds, SCHEMA, Secagg, Study, Weighting};
use crate::document::suggest;
use crate::ids::shown;
use crate::limits::{
    MAX_ATTEMPT_MS, MAX_BITS, MAX_CLIP, MAX_COHORT, MAX_GLOB_BYTES, MAX_GLOBS, MAX_METRIC_BOUND,
    MAX_METRIC_NAME, MAX_METRICS, MAX_PATH_BYTES, MAX_ROUNDS, MAX_STUDY_NAME, MAX_TIMEOUT_MS,
    MAX_WEIGHT, MIN_BITS, MIN_CLIP, MIN_COHORT, MIN_METRIC_BOUND, MIN_TIMEOUT_MS,
};
use crate::strategy::ServerStep;
use crate::time::Span;

impl TryFrom<RawStudy> for Study {
    type Error = StudyError;

    fn try_from(raw: RawStudy) -> Result<Self, StudyError> {
        if raw.schema != SCHEMA {
            return Err(StudyError::Schema {
                found: shown(&raw.schema),
            });
        }
        let named = is_name(&raw.name, MAX_STUDY_NAME, b"-_.");
        Ok(Self {
            schema: SCHEMA,
            name: if named {
                raw.name
            } else {
                return Err(StudyError::Name {
                    found: shown(&raw.name),
                });
            },
            rounds: rounds(raw.rounds)?,
            secagg: secagg(&raw.secagg)?,
            model: model(raw.model)?,
            metrics: metrics(raw.metrics)?,
            strategy: strategy(&raw.strategy)?,
            config: config::to_json(raw.config)?,
        })
    }
}

fn rounds(raw: RawRounds) -> Result<Rounds, StudyError> {
    let count = whole(
        "rounds.count",
        raw.count,
        1,
        MAX_ROUNDS,
        "start a second run from the first one's last model",
    )?;
    let rounds = Rounds {
        count,
        cohort: cohort(raw.cohort.into())?,
        join_timeout: timeout("rounds.join_timeout", raw.join_timeout)?,
        report_timeout: timeout("rounds.report_timeout", raw.report_timeout)?,
    };
    within_an_attempt(rounds.join_timeout, rounds.report_timeout)?;
    Ok(rounds)
}

/// No site would take part in a round that stays open for longer.
fn within_an_attempt(join: Span, report: Span) -> Result<(), StudyError> {
    let (sum, highest) = (join + report, Span(MAX_TIMEOUT_MS));
    if sum <= highest {
        return Ok(());
    }
    Err(StudyError::Timeouts {
        join,
        report,
        sum,
        highest,
        life: Span(MAX_ATTEMPT_MS),
    })
}

fn cohort(cohort: Cohort) -> Result<Cohort, StudyError> {
    let Cohort { min, target } = cohort;
    if min < MIN_COHORT {
        return Err(StudyError::CohortTooSmall { min });
    }
    if target < min {
        return Err(StudyError::TargetBelowMin { min, target });
    }
    let remedy = "the silo profile is made for at most that many sites";
    whole(
        "rounds.cohort.target",
        target.into(),
        MIN_COHORT.into(),
        MAX_COHORT.into(),
        remedy,
    )?;
    Ok(cohort)
}

fn timeout(key: &'static str, value: Span) -> Result<Span, StudyError> {
    let (lowest, highest) = (Span(MIN_TIMEOUT_MS), Span(MAX_TIMEOUT_MS));
    if (lowest..=highest).contains(&value) {
        return Ok(value);
    }
    Err(StudyError::Timeout {
        key,
        value,
        lowest,
        highest,
    })
}

fn secagg(raw: &RawSecagg) -> Result<Secagg, StudyError> {
    let Clip { value, .. } = raw.clip;
    if !(MIN_CLIP..=MAX_CLIP).contains(&value) {
        return Err(StudyError::Clip {
            value,
            lowest: MIN_CLIP,
            highest: MAX_CLIP,
        });
    }
    let remedy = "16 loses no accuracy on the studies we measured";
    let bits = whole(
        "secagg.bits",
        raw.bits,
        MIN_BITS.into(),
        MAX_BITS.into(),
        remedy,
    )?;
    Ok(Secagg {
        clip: raw.clip,
        bits: u8::try_from(bits).expect("at most MAX_BITS, a u8"),
        weight: weight(&raw.weight)?,
        prg: raw.prg,
    })
}

fn weight(raw: &RawWeight) -> Result<Weighting, StudyError> {
    match (raw.by, raw.max) {
        (RawWeightKind::Uniform, None | Some(1)) => Ok(Weighting::Uniform),
        (RawWeightKind::Uniform, Some(max)) => Err(StudyError::UniformMax { max }),
        (RawWeightKind::Examples, None) => Err(StudyError::ExamplesWithoutMax),
        (RawWeightKind::Examples, Some(max)) => {
            let remedy = "use about the largest number of examples of one site";
            let max = whole("secagg.weight.max", max, 1, MAX_WEIGHT, remedy)?;
            Ok(Weighting::Examples { max })
        }
    }
}

fn model(raw: RawModel) -> Result<ModelSource, StudyError> {
    let RawModel {
        initial,
        aggregate,
        keep_global,
    } = raw;
    if initial.is_empty() || initial.len() > MAX_PATH_BYTES || initial.contains(char::is_control) {
        return Err(StudyError::InitialPath {
            found: shown(&initial),
            limit_bytes: MAX_PATH_BYTES,
        });
    }
    globs("model.aggregate", &aggregate, 1)?;
    globs("model.keep_global", &keep_global, 0)?;
    Ok(ModelSource {
        initial,
        aggregate,
        keep_global,
    })
}

fn globs(key: &'static str, patterns: &[String], fewest: usize) -> Result<(), StudyError> {
    if !(fewest..=MAX_GLOBS).contains(&patterns.len()) {
        return Err(StudyError::GlobCount {
            key,
            have: patterns.len(),
            fewest,
            most: MAX_GLOBS,
        });
    }
    match patterns
        .iter()
        .find(|p| p.is_empty() || p.len() > MAX_GLOB_BYTES)
    {
        Some(p) => Err(StudyError::Glob {
            key,
            pattern: shown(p),
            limit_bytes: MAX_GLOB_BYTES,
        }),
        None => Ok(()),
    }
}

fn metrics(raw: BTreeMap<String, RawMetric>) -> Result<BTreeMap<String, MetricRange>, StudyError> {
    if raw.len() > MAX_METRICS {
        return Err(StudyError::MetricCount {
            have: raw.len(),
            limit: MAX_METRICS,
        });
    }
    let check = |(name, RawMetric { range }): (String, RawMetric)| {
        if !is_name(&name, MAX_METRIC_NAME, b"-_./") {
            return Err(StudyError::MetricName {
                found: shown(&name),
            });
        }
        let [lo, hi] = range;
        // false for NaN as well
        let ordered = lo < hi;
        let bound = lo.abs().max(hi.abs());
        if !ordered || !(MIN_METRIC_BOUND..=MAX_METRIC_BOUND).contains(&bound) {
            return Err(StudyError::MetricRange {
                metric: name,
                lo,
                hi,
            });
        }
        Ok((name, MetricRange { range }))
    };
    raw.into_iter().map(check).collect()
}

fn strategy(raw: &RawStrategy) -> Result<ServerStep, StudyError> {
    let known = ServerStep::NAMES.map(|(name, _)| name);
    ServerStep::named(&raw.kind).ok_or_else(|| StudyError::Strategy {
        kind: shown(&raw.kind),
        suggestion: suggest(&raw.kind, known),
    })
}

fn whole(
    key: &'static str,
    value: u64,
    lowest: u64,
    highest: u64,
    remedy: &'static str,
) -> Result<u64, StudyError> {
    if (lowest..=highest).contains(&value) {
        return Ok(value);
    }
    Err(StudyError::Whole {
        key,
        value,
        lowest,
        highest,
        remedy,
    })
}

/// ASCII letters, digits and `extra`, beginning with a letter or digit.
fn is_name(text: &str, limit: usize, extra: &[u8]) -> bool {
    let starts_well = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    let allowed = |b: u8| b.is_ascii_alphanumeric() || extra.contains(&b);
    starts_well && text.len() <= limit && text.bytes().all(allowed)
}
