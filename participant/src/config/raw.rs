//! `site.toml` as it was typed: the keys there are, and their types. Defaults and bounds are `check`'s.

use std::path::PathBuf;

use serde::Deserialize;
use veilsum_common::{SiteName, Span};
use veilsum_daemon::telemetry::LogFormat;

use super::size::ByteSize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub schema: String,
    pub coordinator: String,
    pub name: SiteName,
    pub organisation: String,
    pub data_dir: PathBuf,
    pub marker_dir: Option<PathBuf>,
    pub tls: Tls,
    pub approve: Approve,
    #[serde(default)]
    pub peers: Peers,
    #[serde(default)]
    pub policy: Policy,
    pub trainer: Trainer,
    #[serde(default)]
    pub log: Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approve {
    pub mode: ApproveMode,
    pub studies: Option<Vec<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ApproveMode {
    All,
    Digest,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Peers {
    pub ids: Option<Vec<String>>,
    pub roster: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub min_cohort: Option<u32>,
    pub bits_min: Option<u8>,
    pub max_update: Option<ByteSize>,
    pub metrics: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trainer {
    pub command: Vec<String>,
    pub timeout: Option<Span>,
    #[serde(default)]
    pub env: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    #[serde(default)]
    pub format: LogFormat,
    pub level: Option<String>,
}
