//! The metadata lanes: weight, sample count and metrics of a site, which only ever leave it inside the masked sum.
//!
//! A contribution carries, beside its vector, a few 64-bit lanes in the ring Z_2^64: lane 0 is the weight w, lane 1 the
//! number of examples, then for every metric of the study, in order of name, round(w·value·2^F) as two's complement. What
//! comes out of the sum are Σw, Σ examples and the weighted means.
//!
//! F is the largest number of fractional bits, at most 32, with which no lane can exceed 2^62/n_max. So no sum exceeds
//! 2^62, and reading it as a signed number is exact.
//!
//! Source: protocol, section 18.

use std::collections::BTreeMap;

use crate::limits::{MAX_EXAMPLES, MAX_METRIC_BOUND, MIN_METRIC_BOUND};

/// One declared metric and the range its values must lie in.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSpec {
    /// Its name in `result.json` and in `metrics.jsonl`.
    pub name: String,
    /// Smallest value.
    pub lo: f64,
    /// Largest value.
    pub hi: f64,
}

/// How the metadata of a run is written into lanes and read from their sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    metrics: Vec<(MetricSpec, f64)>,
    weight_max: u64,
    n_max: u32,
}

/// What the lanes of all survivors together say.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricMeans {
    /// Σw; never zero.
    pub weight: u64,
    /// Number of examples of all survivors.
    pub examples: u64,
    /// Weighted mean of every declared metric.
    pub metrics: BTreeMap<String, f64>,
}

impl Metadata {
    /// Lanes for `metrics` of at most `n_max` sites with weights up to `weight_max`. The study has checked all three.
    pub fn new(metrics: Vec<MetricSpec>, weight_max: u64, n_max: u32) -> Self {
        let with_scale = |metric: MetricSpec| {
            let scale = scale(metric.lo.abs().max(metric.hi.abs()), weight_max, n_max);
            (metric, scale)
        };
        let mut metrics: Vec<_> = metrics.into_iter().map(with_scale).collect();
        metrics.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        Self {
            metrics,
            weight_max,
            n_max,
        }
    }

    /// How many lanes a contribution has.
    pub fn lanes(&self) -> usize {
        FIXED_LANES + self.metrics.len()
    }

    /// The declared metrics, in order of their lanes.
    pub fn metrics(&self) -> impl Iterator<Item = &MetricSpec> {
        self.metrics.iter().map(|(metric, _)| metric)
    }

    /// Writes one site's lanes.
    ///
    /// # Errors
    /// A metric that is missing, not declared or out of its range; no examples, too many, or a weight above the cap.
    ///
    /// # Security
    /// The lanes are the site's numbers in the clear: they must be masked before they leave.
    pub fn encode(
        &self,
        weight: u64,
        num_examples: u64,
        reported: &BTreeMap<String, f64>,
    ) -> Result<Vec<u64>, MetadataError> {
        self.check_counts(weight, num_examples)?;
        let declared = |name: &str| self.metrics().any(|metric| metric.name == name);
        if let Some(name) = reported.keys().find(|name| !declared(name)) {
            return Err(MetadataError::Undeclared {
                metric: crate::ids::shown(name),
            });
        }
        let mut lanes = vec![weight, num_examples];
        for (metric, scale) in &self.metrics {
            let value = in_range(metric, reported.get(&metric.name).copied())?;
            lanes.push(round(weight as f64 * value * scale).cast_unsigned());
        }
        Ok(lanes)
    }

    /// Reads the sum of the survivors' lanes.
    ///
    /// # Errors
    /// [`SumError`]: honest sites cannot have produced these sums.
    pub fn decode(&self, sums: &[u64]) -> Result<MetricMeans, SumError> {
        let (fixed, rest) = match sums {
            [weight, examples, rest @ ..] if rest.len() == self.metrics.len() => {
                ((*weight, *examples), rest)
            }
            _ => {
                return Err(SumError::Length {
                    have: sums.len(),
                    need: self.lanes(),
                });
            }
        };
        let (weight, examples) = fixed;
        bounded("weights", weight, u64::from(self.n_max) * self.weight_max)?;
        bounded("examples", examples, u64::from(self.n_max) * MAX_EXAMPLES)?;
        let mut metrics = BTreeMap::new();
        for ((metric, scale), lane) in self.metrics.iter().zip(rest) {
            metrics.insert(
                metric.name.clone(),
                self.mean(metric, *scale, *lane, weight)?,
            );
        }
        Ok(MetricMeans {
            weight,
            examples,
            metrics,
        })
    }

    /// Σ(w·value·2^F) / 2^F / Σw, which rounding may have moved by half a quantum a site out of the range.
    fn mean(
        &self,
        metric: &MetricSpec,
        scale: f64,
        lane: u64,
        weight: u64,
    ) -> Result<f64, SumError> {
        let mean = lane.cast_signed() as f64 / scale / weight as f64;
        let bound = metric.lo.abs().max(metric.hi.abs());
        let slack = f64::from(self.n_max) / scale / weight as f64 + bound * 1e-9;
        if mean < metric.lo - slack || mean > metric.hi + slack {
            let MetricSpec { name, lo, hi } = metric.clone();
            return Err(SumError::Metric {
                metric: name,
                mean,
                lo,
                hi,
            });
        }
        Ok(mean.clamp(metric.lo, metric.hi))
    }

    fn check_counts(&self, weight: u64, num_examples: u64) -> Result<(), MetadataError> {
        if weight == 0 || num_examples == 0 {
            return Err(MetadataError::NoExamples);
        }
        if num_examples > MAX_EXAMPLES {
            return Err(MetadataError::Examples {
                num_examples,
                limit: MAX_EXAMPLES,
            });
        }
        if weight > self.weight_max {
            return Err(MetadataError::Weight {
                weight,
                limit: self.weight_max,
            });
        }
        Ok(())
    }
}

/// Why a site's numbers cannot be written into lanes: the trainer's fault.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetadataError {
    /// Nothing was trained on.
    #[error(
        "the trainer reported 0 examples; a site with no examples should sit the round out (exit 75)"
    )]
    NoExamples,
    /// More examples than can be counted exactly.
    #[error(
        "the trainer reported {num_examples} examples, at most {limit} can be counted; check `num_examples`"
    )]
    Examples {
        /// What it reported.
        num_examples: u64,
        /// The most allowed.
        limit: u64,
    },
    /// A weight above the study's cap.
    #[error(
        "the weight of the update is {weight}, the study allows at most {limit}; \
         raise `secagg.weight.max` in the study, or let the trainer report fewer examples"
    )]
    Weight {
        /// The site's weight.
        weight: u64,
        /// The study's `secagg.weight.max`.
        limit: u64,
    },
    /// A declared metric is not in the result.
    #[error(
        "the trainer did not report the metric `{metric}`; write it to `metrics` in result.json, or take it out of the study"
    )]
    Missing {
        /// Its name.
        metric: String,
    },
    /// A reported metric is not in the study.
    #[error(
        "the trainer reported the metric `{metric}`, which the study does not declare; add it under [metrics] with its range, or do not report it"
    )]
    Undeclared {
        /// Its name.
        metric: String,
    },
    /// A value outside its declared range, or NaN.
    #[error(
        "the metric `{metric}` is {value}, its declared range is {lo} to {hi}; widen the range in the study, or fix the trainer"
    )]
    OutOfRange {
        /// Its name.
        metric: String,
        /// What the trainer reported.
        value: f64,
        /// Smallest allowed.
        lo: f64,
        /// Largest allowed.
        hi: f64,
    },
}

/// A sum of lanes that honest sites cannot have produced: one of the survivors broke the rules.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SumError {
    /// Not as many lanes as the study has.
    #[error("the sum has {have} metadata lanes, the study has {need}")]
    Length {
        /// Lanes found.
        have: usize,
        /// Lanes of the study.
        need: usize,
    },
    /// A count of zero or beyond what all sites together may report.
    #[error(
        "the sum of {what} is {sum}, possible is 1 to {limit}; a site has sent lanes that break the rules"
    )]
    Count {
        /// Weights or examples.
        what: &'static str,
        /// The sum.
        sum: u64,
        /// The largest possible.
        limit: u64,
    },
    /// A mean outside the range that every site must keep.
    #[error(
        "the mean of `{metric}` is {mean}, possible is {lo} to {hi}; a site has sent lanes that break the rules"
    )]
    Metric {
        /// Its name.
        metric: String,
        /// The mean.
        mean: f64,
        /// Smallest possible.
        lo: f64,
        /// Largest possible.
        hi: f64,
    },
}

/// 2^F, the largest power of two up to 2^32 with W·bound·2^F ≤ 2^61/n_max. One bit of head-room is left to rounding.
fn scale(bound: f64, weight_max: u64, n_max: u32) -> f64 {
    debug_assert!(
        (MIN_METRIC_BOUND..=MAX_METRIC_BOUND).contains(&bound),
        "the study checks ranges"
    );
    let limit = LANE_SUM / 2.0 / f64::from(n_max);
    let mut scale = 4_294_967_296.0;
    while weight_max as f64 * bound * scale > limit {
        scale /= 2.0;
    }
    scale
}

fn in_range(metric: &MetricSpec, value: Option<f64>) -> Result<f64, MetadataError> {
    let MetricSpec { name, lo, hi } = metric;
    let value = value.ok_or_else(|| MetadataError::Missing {
        metric: name.clone(),
    })?;
    if (*lo..=*hi).contains(&value) {
        return Ok(value);
    }
    Err(MetadataError::OutOfRange {
        metric: name.clone(),
        value,
        lo: *lo,
        hi: *hi,
    })
}

fn bounded(what: &'static str, sum: u64, limit: u64) -> Result<(), SumError> {
    if (1..=limit).contains(&sum) {
        Ok(())
    } else {
        Err(SumError::Count { what, sum, limit })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "scale() keeps every lane below 2^62"
)]
fn round(lane: f64) -> i64 {
    lane.round() as i64
}

/// Weight and number of examples.
const FIXED_LANES: usize = 2;
/// 2^62: what the sum of a lane over all sites never exceeds.
const LANE_SUM: f64 = 4_611_686_018_427_387_904.0;

#[cfg(test)]
mod tests;
