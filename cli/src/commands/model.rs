//! `veilsum model`: which versions a run has published, and one of them as a file.

use std::collections::BTreeSet;
use std::path::Path;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use veilsum_common::BlobRef;
use veilsum_common::ids::RunId;
use veilsum_daemon::files::{self, Draft, FileError, Reading};
use veilsum_proto::pb;
use veilsum_secagg::Digest;

use crate::args::{Connection, ModelCommand, ModelGet, Version};
use crate::client::Client;
use crate::commands::block_on;
use crate::commands::run::{flags, show};
use crate::error::Error;
use crate::render::{Output, table};

pub(crate) fn run(command: ModelCommand) -> Result<Output, Error> {
    match command {
        ModelCommand::List { run, connection } => block_on(async move {
            let models = Client::open(&connection)?.models(run).await?;
            Ok(list(run, &models, &connection))
        }),
        ModelCommand::Get(get) => block_on(fetch(get)),
    }
}

fn list(run: RunId, models: &[pb::ModelVersion], connection: &Connection) -> Output {
    let header = ["round", "bytes", "blake3", "metrics"]
        .map(str::to_owned)
        .to_vec();
    let row = |model: &pb::ModelVersion| {
        let digest = HEXLOWER.encode(&model.digest);
        vec![
            model.round.to_string(),
            model.len_bytes.to_string(),
            digest,
            show::metrics_text(&model.metrics),
        ]
    };
    let rows: Vec<Vec<String>> = std::iter::once(header)
        .chain(models.iter().map(row))
        .collect();
    Output {
        data: json!({"run_id": run.to_string(), "models": models.iter().map(data).collect::<Vec<_>>()}),
        text: table(&rows),
        next: vec![format!(
            "veilsum model get {run} --round last -o model.safetensors{}",
            flags(connection)
        )],
    }
}

fn data(model: &pb::ModelVersion) -> Value {
    json!({
        "round": model.round,
        "digest": HEXLOWER.encode(&model.digest),
        "len_bytes": model.len_bytes,
        "published_ms": model.published_ms,
        "metrics": show::metrics(&model.metrics),
    })
}

/// Nothing is written unless the bytes are what the coordinator published.
async fn fetch(get: ModelGet) -> Result<Output, Error> {
    let client = Client::open(&get.connection)?;
    let models = client.models(get.run).await?;
    let version = choose(get.run, &models, &get.round)?;
    let expected = digest(&version.digest)?;
    let draft = Draft::public(&get.out)?;
    let model = client
        .model(get.run, version.round, version.len_bytes, draft)
        .await?;
    same(version.round, "after the download", expected, model.blob())?;
    model.keep(&get.out)?;
    if get.verify {
        verify(&client, &get, version, expected).await?;
    }
    let mut data = data(version);
    data["run_id"] = get.run.to_string().into();
    data["path"] = get.out.display().to_string().into();
    data["verified"] = get.verify.into();
    let metrics = show::metrics_text(&version.metrics);
    Ok(Output {
        data,
        text: format!(
            "{}  round {}  blake3 {expected}  {metrics}",
            get.out.display(),
            version.round
        )
        .trim_end()
        .to_owned(),
        next: vec![format!(
            "open it, for example in Python: safetensors.numpy.load_file({:?})",
            get.out
        )],
    })
}

/// The file as it is on disk now, against the run's list of models and against its history.
async fn verify(
    client: &Client,
    get: &ModelGet,
    version: &pb::ModelVersion,
    expected: Digest,
) -> Result<(), Error> {
    let written = read_back(&get.out)?;
    same(version.round, "on disk", expected, written)?;
    let run = client.show(get.run).await?;
    let round = run
        .history
        .iter()
        .find(|round| round.round == version.round);
    match round.map(|round| digest(&round.model_digest)).transpose()? {
        Some(found) if found != expected => Err(Error::Digest {
            round: version.round,
            place: "in the run's history",
            expected,
            found,
        }),
        // Round 0 is the initial model, which no round made.
        Some(_) | None => Ok(()),
    }
}

fn read_back(path: &Path) -> Result<BlobRef, Error> {
    let read = Reading::open(path)?.blob();
    read.map_err(|source| {
        Error::File(FileError::Io {
            act: files::Act::Read,
            path: path.to_owned(),
            source,
        })
    })
}

fn same(round: u64, place: &'static str, expected: Digest, found: BlobRef) -> Result<(), Error> {
    let found = found.digest;
    if found == expected {
        Ok(())
    } else {
        Err(Error::Digest {
            round,
            place,
            expected,
            found,
        })
    }
}

fn digest(bytes: &[u8]) -> Result<Digest, Error> {
    bytes.try_into().map(Digest).map_err(|_| Error::Incomplete {
        what: "a model's digest",
    })
}

fn choose<'a>(
    run: RunId,
    models: &'a [pb::ModelVersion],
    wanted: &Version,
) -> Result<&'a pb::ModelVersion, Error> {
    let last = models.last().ok_or(Error::Incomplete {
        what: "the run's models",
    })?;
    match wanted {
        Version::Last => Ok(last),
        Version::Round(round) => {
            let found = models.iter().find(|model| model.round == *round);
            found.ok_or(Error::NoVersion {
                run,
                round: *round,
                newest: last.round,
            })
        }
        Version::Best(metric) => best(models, metric).ok_or_else(|| {
            let known: BTreeSet<&String> = models
                .iter()
                .flat_map(|model| model.metrics.keys())
                .collect();
            Error::NoMetric {
                run,
                metric: metric.clone(),
                known: known.into_iter().cloned().collect(),
            }
        }),
    }
}

/// The highest value wins, the lowest if the metric's name says that it counts errors; of equal ones the earliest.
fn best<'a>(models: &'a [pb::ModelVersion], metric: &str) -> Option<&'a pb::ModelVersion> {
    let sign = if LOWER_IS_BETTER
        .iter()
        .any(|word| metric.to_ascii_lowercase().contains(word))
    {
        -1.0
    } else {
        1.0
    };
    let scored = models
        .iter()
        .filter_map(|model| Some((sign * model.metrics.get(metric)?, model)));
    let better = |a: (f64, &'a pb::ModelVersion), b: (f64, &'a pb::ModelVersion)| {
        if b.0 > a.0 { b } else { a }
    };
    scored.reduce(better).map(|(_, model)| model)
}

/// Words in the names of metrics that one wants small.
const LOWER_IS_BETTER: [&str; 4] = ["loss", "error", "mse", "mae"];

#[cfg(test)]
mod tests;
