//! What is going to happen, every number checked before anything is made or started.

use veilsum_common::RunId;
use veilsum_common::limits::{DEFAULT_COHORT, MAX_COHORT, MIN_COHORT};
use veilsum_common::run::RunSpec;
use veilsum_common::study::Study;
use veilsum_secagg::params::Params;
use veilsum_trainers::{FileKind, Partition, Recipe};

use super::DemoError;
use super::federation::{Cast, Work};
use crate::args::{self, Data};
use crate::commands::trainer;

/// A demo that can be run.
#[derive(Debug)]
pub(super) struct Plan {
    /// What the command line calls the data.
    pub data: Data,
    /// Data, model and settings.
    pub recipe: &'static Recipe,
    /// Number of sites.
    pub sites: u32,
    /// Number of rounds.
    pub rounds: u32,
    /// Of the split, the initial model and the trainers.
    pub seed: u64,
    /// How many sites are killed in each round; `None` if none shall be.
    pub dropped: Option<u32>,
    /// `policy.min_cohort` of every site.
    pub min_cohort: u32,
    /// Who has which rows.
    pub partition: Partition,
    /// The study file.
    pub study_text: String,
    /// The same, checked.
    pub study: Study,
    /// Safetensors.
    pub initial_model: Vec<u8>,
}

impl Plan {
    /// Checks what was typed.
    pub(super) fn new(demo: &args::Demo) -> Result<Self, DemoError> {
        let sites = check_sites(demo.sites)?;
        let (recipe, seed) = (trainer::recipe(demo.data), demo.seed);
        let partition = recipe.partition(sites as usize, seed)?;
        let rounds = demo.rounds.unwrap_or(recipe.rounds);
        let min_cohort = min_cohort(sites);
        let dropped = demo.drop.map(|rate| share(rate, sites)).transpose()?;
        let settings = Settings {
            recipe,
            sites,
            rounds,
            seed,
            min: smallest(sites, min_cohort, dropped.is_some()),
            dropping: dropped.is_some(),
        };
        let study_text = settings.study(&partition);
        let plan = Self {
            data: demo.data,
            recipe,
            sites,
            rounds,
            seed,
            dropped,
            min_cohort,
            partition,
            study: Study::parse(&study_text).expect("the demo's study is one of its tests"),
            study_text,
            initial_model: recipe.initial_model(seed).to_safetensors(FileKind::Model),
        };
        plan.check_dropouts()?;
        Ok(plan)
    }

    /// What is allowed but should be said.
    pub(super) fn warnings(&self) -> Vec<String> {
        let small = self
            .study
            .warnings()
            .into_iter()
            .map(|warning| warning.to_string());
        let none = (self.dropped == Some(0)).then(|| {
            format!(
                "--drop: that share of {} sites is less than one, so none is killed",
                self.sites
            )
        });
        small.chain(none).collect()
    }

    /// The run as both ends would know it; its id and key are nobody's.
    pub(super) fn spec(&self) -> Result<RunSpec, DemoError> {
        Ok(RunSpec::from_study(
            &self.study,
            RunId::from_bytes([0; 16]),
            [1; 32],
            &self.initial_model,
        )?)
    }

    /// What the federation is made from.
    pub(super) fn cast(&self) -> Cast<'_> {
        Cast {
            sites: self.sites,
            min_cohort: self.min_cohort,
            study_text: &self.study_text,
            study: &self.study,
            work: Work::Learn {
                data: self.data,
                seed: self.seed,
                held: self.dropped.is_some(),
            },
        }
    }

    fn check_dropouts(&self) -> Result<(), DemoError> {
        let Some(dropped) = self.dropped else {
            return Ok(());
        };
        let limit = most_dropouts(self.spec()?.params(), self.sites);
        if dropped <= limit {
            Ok(())
        } else {
            Err(DemoError::DropTooMany {
                dropped,
                sites: self.sites,
                limit,
            })
        }
    }
}

/// A number of sites among which masks can hide anything.
pub(super) fn check_sites(sites: u32) -> Result<u32, DemoError> {
    match sites {
        2 => Err(DemoError::TwoSites { sites }),
        MIN_COHORT..=MAX_COHORT => Ok(sites),
        _ => Err(DemoError::Sites { sites }),
    }
}

/// `policy.min_cohort` of every site: no laxer than it has to be.
pub(super) fn min_cohort(sites: u32) -> u32 {
    if sites < DEFAULT_COHORT {
        MIN_COHORT
    } else {
        DEFAULT_COHORT
    }
}

/// How many of `n` committed sites a round survives when all of them hold shares.
fn most_dropouts(params: &Params, n: u32) -> u32 {
    n - params.min_survivors(n).max(params.threshold(n, n)).min(n)
}

/// ⌊rate · sites⌋. The sliver makes up for rates such as 0.29 of 100 that are not whole in binary.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and the number of sites"
)]
fn share(rate: f64, sites: u32) -> Result<u32, DemoError> {
    if rate > 0.0 && rate < 1.0 {
        Ok((rate * f64::from(sites) + 1e-9).floor() as u32)
    } else {
        Err(DemoError::DropRate { rate })
    }
}

/// `rounds.cohort.min`: everybody, unless sites are killed, who may be late for a round; fewer than 70 % no site accepts.
fn smallest(sites: u32, min_cohort: u32, dropping: bool) -> u32 {
    if sites < DEFAULT_COHORT {
        min_cohort
    } else if dropping {
        (7 * sites).div_ceil(10).max(min_cohort)
    } else {
        sites
    }
}

struct Settings {
    recipe: &'static Recipe,
    sites: u32,
    rounds: u32,
    seed: u64,
    min: u32,
    dropping: bool,
}

impl Settings {
    fn study(&self, partition: &Partition) -> String {
        let Self {
            recipe,
            sites,
            rounds,
            seed,
            min,
            dropping,
        } = self;
        let Recipe {
            name,
            clip_l2,
            local_epochs,
            lr,
            batch_size,
            ..
        } = recipe;
        let most = (0..partition.site_count())
            .map(|site| partition.site(site).len())
            .max()
            .unwrap_or(1);
        let report_timeout = if *dropping {
            REPORT_TIMEOUT_DROPPING
        } else {
            REPORT_TIMEOUT
        };
        format!(
            r#"schema = "veilsum.study/v1"
name = "{name}"

[rounds]
count = {rounds}
cohort = {{ min = {min}, target = {sites} }}
join_timeout = "{JOIN_TIMEOUT}"
report_timeout = "{report_timeout}"

[secagg]
clip = {{ kind = "l2", value = {clip_l2:?} }}
bits = {BITS}
weight = {{ by = "examples", max = {most} }}

[model]
initial = "{INITIAL}"

[metrics]
accuracy = {{ range = [0.0, 1.0] }}
loss = {{ range = [0.0, 100.0] }}

[config]
local_epochs = {local_epochs}
lr = {lr:?}
batch_size = {batch_size}
seed = {seed}
"#
        )
    }
}

/// File name of the initial model, beside the study.
pub(super) const INITIAL: &str = "init.safetensors";

/// Enough that quantisation costs no accuracy, and the sum of five still fits 23 bits a value.
const BITS: u8 = 20;

/// Ample for a slow machine that starts six processes; nothing waits for it unless a site is gone.
const JOIN_TIMEOUT: &str = "2m";
const REPORT_TIMEOUT: &str = "1m";
/// Every round of `--drop` waits as long as this for uploads that do not come.
const REPORT_TIMEOUT_DROPPING: &str = "1s";

#[cfg(test)]
mod tests;
