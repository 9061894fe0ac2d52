//! `site.toml`: what an operator writes, checked once.
//!
//! Sits at the start of the process: file and `VEILSUM_*` environment → `raw`, as it was typed →
//! [`Config`], what the daemon needs. Without a file, or with one that does not parse, the daemon takes
//! part in nothing. Relative paths are relative to the file. Deliberately absent: reading keys and
//! certificates, and taking up a changed file while running.
//!
//! Source: `docs/config/site.toml`, which a test parses.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use veilsum_common::SiteName;
use veilsum_daemon::config::{ENV_PREFIX, load};
use veilsum_daemon::telemetry::LogFormat;
use veilsum_engine::policy::Policy;

use crate::trainer::Hook;

mod check;
mod error;
mod raw;
mod size;

pub use error::{ConfigError, ConfigWarning, Problem};
pub use size::{ByteSize, SizeError};

/// A site's configuration, every value checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `https://host:port`, nothing behind it.
    pub coordinator: String,
    /// The name in this site's certificate.
    pub name: SiteName,
    /// The organisation that answers for this site's identity key.
    pub organisation: String,
    /// Journal and pinned updates.
    pub data_dir: PathBuf,
    /// The rollback marker, outside `data_dir`.
    pub marker_dir: PathBuf,
    /// Seed of the protocol identity, beside `site.toml`.
    pub identity_key: PathBuf,
    /// Key of the journal, beside `site.toml`.
    pub store_key: PathBuf,
    /// Who the coordinator is, and who we are to it.
    pub tls: Tls,
    /// When this site refuses.
    pub policy: Policy,
    /// How it trains.
    pub hook: Hook,
    /// What it logs.
    pub log: Log,
}

/// Files for mutual TLS, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Roots that may vouch for the coordinator.
    pub ca: PathBuf,
    /// This site's certificate chain.
    pub cert: PathBuf,
    /// Its private key, for its owner only.
    pub key: PathBuf,
}

/// `[log]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Text for people or JSON for programs.
    pub format: LogFormat,
    /// A level or a filter; `None` leaves it to the environment.
    pub level: Option<String>,
}

impl Config {
    /// Reads `path`, lays `environment` over it and checks every value.
    ///
    /// A process passes [`std::env::vars_os`]; a test passes what it likes.
    ///
    /// # Errors
    /// [`ConfigError`] says where the bad value was written, what is wrong with it, and what would do.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let loaded = load(path, ENV_PREFIX, environment).map_err(Box::new)?;
        check::check(path, &loaded)
    }

    /// What is allowed, but should be said at every start.
    #[must_use]
    pub fn warnings(&self) -> Vec<ConfigWarning> {
        check::warnings(&self.policy)
    }
}

#[cfg(test)]
mod tests;
