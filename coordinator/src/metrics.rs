//! `metrics.jsonl`: one line a published round, means over the survivors only. Written anew from the journal at every start.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;
use veilsum_common::run::RunSpec;
use veilsum_daemon::files;
use veilsum_engine::run::Record;

/// What a published round shows.
#[derive(Debug, Serialize)]
pub struct Line {
    /// The round.
    pub round: u64,
    /// When its model was published, Unix milliseconds.
    pub published_ms: u64,
    /// Opening to publishing.
    pub duration_ms: u64,
    /// Members of the cohort.
    pub cohort: u32,
    /// Updates in the sum.
    pub survivors: u64,
    /// Examples trained on.
    pub examples: u64,
    /// Weighted means.
    pub metrics: BTreeMap<String, f64>,
    /// BLAKE3 of the model.
    pub model: String,
}

/// The line of one round.
pub fn line(spec: &RunSpec, record: &Record) -> Line {
    let published = &record.published;
    let lanes = published.result.metadata.chunks_exact(8);
    let sums: Vec<u64> = lanes
        .map(|lane| u64::from_le_bytes(lane.try_into().expect("chunks of eight bytes")))
        .collect();
    let means = spec.metadata().decode(&sums).ok();
    Line {
        round: record.round,
        published_ms: record.at.0,
        duration_ms: record.at.0.saturating_sub(published.opened_at.0),
        cohort: published.cohort,
        survivors: published.result.survivors,
        examples: means.as_ref().map_or(0, |means| means.examples),
        metrics: means.map(|means| means.metrics).unwrap_or_default(),
        model: published.model.digest.to_string(),
    }
}

/// Appends one round. The file is a copy of what the journal holds, so a failure is logged and mended at the next start.
pub fn append(runs_dir: &Path, spec: &RunSpec, record: &Record) {
    let path = runs_dir.join(spec.run_id().to_string()).join(FILE);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
        file.write_all(&encode(&line(spec, record)))
    };
    if let Err(error) = write() {
        tracing::warn!(path = %path.display(), %error, "metrics could not be written");
    }
}

/// Writes all rounds anew.
pub fn rewrite(runs_dir: &Path, spec: &RunSpec, history: &[Record]) {
    let dir = runs_dir.join(spec.run_id().to_string());
    let bytes: Vec<u8> = history
        .iter()
        .flat_map(|record| encode(&line(spec, record)))
        .collect();
    let path = dir.join(FILE);
    if let Err(error) = fs::create_dir_all(&dir) {
        tracing::warn!(path = %dir.display(), %error, "metrics could not be written");
    } else if let Err(error) = files::write_atomic(&path, &bytes) {
        tracing::warn!(path = %path.display(), %error, "metrics could not be written");
    }
}

fn encode(line: &Line) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(line).expect("a line is plain data with text keys");
    bytes.push(b'\n');
    bytes
}

const FILE: &str = "metrics.jsonl";
