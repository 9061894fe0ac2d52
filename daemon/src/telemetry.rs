//! Logs to standard error. Nothing leaves the process.
//!
//! Standard output belongs to data. Metrics are counted where things happen and shown elsewhere; this module only
//! decides what a log line looks like and which lines there are.

use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The variable that says what to log when no flag does.
pub const FILTER_VARIABLE: &str = "VEILSUM_LOG";

/// What a log line looks like.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people: one line of text, coloured on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(TelemetryError::Format),
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The format is neither of the two.
    #[error("a log format is `text` or `json`")]
    Format,
    /// The filter cannot be read.
    #[error(
        "cannot read the log filter ({source}); it is a level (error, warn, info, debug, trace) or directives such as `info,veilsum_engine=debug`"
    )]
    Filter {
        /// What is wrong with it.
        source: ParseError,
    },
    /// Logging was set up before in this process.
    #[error("logging is set up already")]
    Twice {
        /// What the library said.
        source: TryInitError,
    },
}

/// Sets up logging for the process, once.
///
/// `filter` is what the flag said; without a flag it is [`FILTER_VARIABLE`], without that `info`. A bare level is about
/// veilsum itself, the libraries below then stay at `warn`: at `trace` they would drown everything else and print what
/// they send.
///
/// # Errors
/// [`TelemetryError::Filter`], or [`TelemetryError::Twice`] when called again.
pub fn init(format: LogFormat, filter: Option<&str>) -> Result<(), TelemetryError> {
    let from_environment = std::env::var(FILTER_VARIABLE).ok();
    let filter = directives(filter.or(from_environment.as_deref()))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let outcome = match format {
        LogFormat::Text => lines.with_ansi(wants_colour()).finish().try_init(),
        LogFormat::Json => lines.json().with_ansi(false).finish().try_init(),
    };
    outcome.map_err(|source| TelemetryError::Twice { source })
}

fn directives(filter: Option<&str>) -> Result<EnvFilter, TelemetryError> {
    let filter = filter
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .unwrap_or("info");
    let parsed = match filter.parse::<tracing::Level>() {
        Ok(level) => EnvFilter::builder().parse(format!("warn,veilsum={level}")),
        Err(_) => EnvFilter::builder().parse(filter),
    };
    parsed.map_err(|source| TelemetryError::Filter { source })
}

fn wants_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests;
