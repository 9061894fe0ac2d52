//! What the processes' JSON logs say about their work, line by line.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

/// One line of a log.
pub(super) enum Line<'a> {
    /// As `--log-format json` writes them.
    Json(Value),
    /// Anything else, such as the last words of a process that never got so far.
    Text(&'a str),
}

impl<'a> Line<'a> {
    /// Reads a line.
    pub(super) fn parse(text: &'a str) -> Self {
        match serde_json::from_str::<Value>(text) {
            Ok(value) if value["fields"].is_object() => Self::Json(value),
            Ok(_) | Err(_) => Self::Text(text),
        }
    }

    /// The line for people: level, message, fields.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => (*text).to_owned(),
            Self::Json(value) => {
                let fields = value["fields"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter(|(name, _)| *name != "message");
                let fields: String = fields
                    .map(|(name, value)| format!(" {name}={}", plain(value)))
                    .collect();
                format!(
                    "{:5} {}{fields}",
                    plain(&value["level"]),
                    plain(&value["fields"]["message"])
                )
            }
        }
    }

    /// Where a coordinator listens, if this line says so.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Json(value) if self.says("coordinator ready") => {
                plain(&value["fields"]["listen"]).parse().ok()
            }
            Self::Json(_) | Self::Text(_) => None,
        }
    }

    fn says(&self, message: &str) -> bool {
        matches!(self, Self::Json(value) if value["fields"]["message"] == message)
    }

    fn number(&self, field: &str) -> Option<u64> {
        match self {
            Self::Json(value) => value["fields"][field].as_u64(),
            Self::Text(_) => None,
        }
    }
}

/// What was counted so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    /// Longest trainer of each round.
    pub trainer_ms: BTreeMap<u64, u64>,
    /// Bytes of all uploads.
    pub bytes_up: u64,
    /// How many uploads there were.
    pub uploads: u64,
}

impl Figures {
    /// Counts what a line says.
    pub(super) fn add(&mut self, line: &Line<'_>) {
        if line.says("trainer finished")
            && let (Some(round), Some(elapsed_ms)) =
                (line.number("round"), line.number("elapsed_ms"))
        {
            let longest = self.trainer_ms.entry(round).or_default();
            *longest = elapsed_ms.max(*longest);
        }
        if line.says("update sent")
            && let Some(bytes) = line.number("bytes")
        {
            self.bytes_up += bytes;
            self.uploads += 1;
        }
    }
}

/// The median; of an even number the mean of the middle two. Nothing has none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
