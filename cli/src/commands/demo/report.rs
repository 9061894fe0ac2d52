//! What came out and what it cost: one object for programs, a small table for people.

use std::path::Path;

use serde_json::json;

use super::figures::median;
use super::plan::Plan;
use crate::args::Data;
use crate::render::Output;

/// What training gave.
#[derive(Clone, Debug)]
pub(super) struct Trained {
    /// The last model version, safetensors.
    pub model: Vec<u8>,
    /// From the first key to the last model.
    pub seconds: f64,
    /// Of every round.
    pub times: Vec<RoundTime>,
    /// Sent by one site in one round, if anything was sent.
    pub bytes_up: Option<u64>,
    /// Sites killed and left out, over all rounds.
    pub dropped: usize,
    /// Whether updates were masked.
    pub masked: bool,
    /// Memory of the processes.
    pub resident: Resident,
}

/// How long a round took.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundTime {
    /// From the announcement to the published model.
    pub round_ms: f64,
    /// The longest trainer of its sites; without masks, where one trains after the other, all of them.
    pub trainer_ms: f64,
}

/// Resident memory when idle after the last round; none without processes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resident {
    pub participant_bytes_max: Option<u64>,
    pub coordinator_bytes_max: Option<u64>,
}

/// Accuracies on rows that nobody trained with, 0 to 1.
#[derive(Clone, Debug)]
pub(super) struct Scores {
    pub federated: f64,
    pub alone: Vec<f64>,
    pub pooled: f64,
}

/// Everything the end of a demo shows.
pub(super) struct Report<'a> {
    pub plan: &'a Plan,
    pub trained: &'a Trained,
    pub scores: &'a Scores,
    pub model: &'a Path,
    pub directory: &'a Path,
}

impl Report<'_> {
    pub(super) fn output(&self) -> Output {
        Output {
            data: self.data(),
            text: self.text(),
            next: vec![self.next()],
        }
    }

    fn data(&self) -> serde_json::Value {
        let (trained, scores) = (self.trained, self.scores);
        json!({
            "federated_accuracy": scores.federated,
            "alone_accuracy": scores.alone,
            "pooled_accuracy": scores.pooled,
            "test_rows": self.plan.partition.test_rows(),
            "rounds": trained.times.len(),
            "seconds": trained.seconds,
            "round_ms_median": self.round_ms(),
            "trainer_ms_median": median(trained.times.iter().map(|time| time.trainer_ms)),
            "overhead_ms_per_round_median": self.overhead_ms(),
            "bytes_up_per_site_round": trained.bytes_up,
            "participant_rss_mb_max": trained.resident.participant_bytes_max.map(megabytes),
            "coordinator_rss_mb_max": trained.resident.coordinator_bytes_max.map(megabytes),
            "masked": trained.masked,
            "sites": self.plan.sites,
            "dropped_uploads": trained.dropped,
            "seed": self.plan.seed,
            "model": self.model.display().to_string(),
        })
    }

    fn text(&self) -> String {
        let Scores {
            federated,
            alone,
            pooled,
        } = self.scores;
        let data = match self.plan.data {
            Data::Digits => "digits, classes dealt out among",
            Data::BreastCancer => "breast cancer, rows dealt out among",
        };
        let mean = alone.iter().sum::<f64>() / alone.len().max(1) as f64;
        let mut lines = vec![format!(
            "  {data} {} sites     each site alone {} (mean)   federated {}   pooled {}",
            self.plan.sites,
            percent(mean),
            percent(*federated),
            percent(*pooled)
        )];
        lines.push(self.costs());
        lines.push(format!("  {}", self.seen()));
        lines.push(format!(
            "  model  {}     logs  {}",
            self.model.display(),
            self.directory.join("logs").display()
        ));
        lines.join("\n")
    }

    fn costs(&self) -> String {
        let Trained {
            seconds,
            bytes_up,
            resident,
            ..
        } = self.trained;
        let round = self.round_ms().unwrap_or_default();
        let overhead = self.overhead_ms().unwrap_or_default();
        let mut text = format!(
            "  {seconds:.1} s   {round:.0} ms a round, {overhead:.0} ms of it beside training"
        );
        if let Some(bytes) = bytes_up {
            text = format!(
                "{text}   {:.1} kB up per site and round",
                *bytes as f64 / 1000.0
            );
        }
        if let (Some(participant), Some(coordinator)) = (
            resident.participant_bytes_max,
            resident.coordinator_bytes_max,
        ) {
            text = format!(
                "{text}   memory: site {:.0} MB, coordinator {:.0} MB",
                megabytes(participant),
                megabytes(coordinator)
            );
        }
        text
    }

    /// What the coordinator got to see.
    fn seen(&self) -> String {
        let rounds = self.trained.times.len();
        match (self.trained.masked, self.trained.dropped) {
            (false, _) => "no masks: whoever adds the updates up sees each of them. Only this comparison can do that, no daemon".to_owned(),
            (true, 0) => format!("the coordinator saw {rounds} sums and no update"),
            (true, dropped) => {
                format!("the coordinator saw {rounds} sums and no update, although {dropped} times a site died after its commit")
            }
        }
    }

    fn next(&self) -> String {
        if self.trained.masked && self.trained.dropped == 0 {
            "veilsum demo --drop 0.2 kills a site in every round; docs/running-by-hand.md does all this with your own data".to_owned()
        } else {
            "docs/running-by-hand.md does the masked run with your own data, command by command"
                .to_owned()
        }
    }

    fn round_ms(&self) -> Option<f64> {
        median(self.trained.times.iter().map(|time| time.round_ms))
    }

    fn overhead_ms(&self) -> Option<f64> {
        median(
            self.trained
                .times
                .iter()
                .map(|time| (time.round_ms - time.trainer_ms).max(0.0)),
        )
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Of a million bytes.
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests;
