//! `coordinator.toml` → what the coordinator needs. Unknown keys are refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use veilsum_daemon::config::{self, ConfigError};
use veilsum_daemon::telemetry::LogFormat;

/// What the coordinator needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it answers this machine's operators; `None`: nowhere.
    pub admin: Option<SocketAddr>,
    /// Journal, blobs, keys.
    pub data_dir: PathBuf,
    /// Certificates.
    pub tls: Tls,
    /// Form of the log; `None` decides by whether it goes to a terminal.
    pub log_format: Option<LogFormat>,
    /// What is logged, in the form of `tracing`'s filters.
    pub log_level: Option<String>,
}

/// Paths of PEM files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Roots that sign clients' certificates.
    pub ca: PathBuf,
    /// The coordinator's own chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Revocation lists of the roots.
    #[serde(default)]
    pub crl: Vec<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    schema: Schema,
    #[serde(deserialize_with = "address")]
    listen: SocketAddr,
    #[serde(default, deserialize_with = "loopback")]
    admin: Option<SocketAddr>,
    data_dir: PathBuf,
    tls: Tls,
    #[serde(default)]
    log: Log,
}

#[derive(Deserialize)]
enum Schema {
    #[serde(rename = "veilsum.coordinator/v1")]
    V1,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    format: Option<LogFormat>,
    level: Option<String>,
}

impl Config {
    /// Reads and checks a file; relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line, column and, for an unknown key, the one that was probably meant.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let Raw {
            schema: Schema::V1,
            listen,
            admin,
            data_dir,
            tls,
            log,
        } = config::load::<Raw>(path, config::ENV_PREFIX, std::env::vars_os())?.raw;
        let beside = |file: PathBuf| path.parent().unwrap_or(Path::new(".")).join(file);
        Ok(Self {
            listen,
            admin,
            data_dir: beside(data_dir),
            tls: Tls {
                ca: beside(tls.ca),
                cert: beside(tls.cert),
                key: beside(tls.key),
                crl: tls.crl.into_iter().map(beside).collect(),
            },
            log_format: log.format,
            log_level: log.level,
        })
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse("listen", "0.0.0.0:8443", deserializer)
}

/// Whoever reaches the admin listener is answered, so it must not be reached from elsewhere.
fn loopback<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let address = parse("admin", "127.0.0.1:8444", deserializer)?;
    if address.ip().is_loopback() {
        Ok(Some(address))
    } else {
        Err(D::Error::custom(format!(
            "admin is {address}, where other machines could reach it without a certificate; use 127.0.0.1 or [::1]"
        )))
    }
}

fn parse<'de, D: Deserializer<'de>>(
    key: &str,
    example: &str,
    deserializer: D,
) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "{key} is `{text}`; write an IP address and a port, as in {example}"
        ))
    })
}

#[cfg(test)]
mod tests;
