//! A TOML file and the environment → one raw struct. Every error says where the bad value came from.
//!
//! The order is file, then environment, then flags (which are the caller's). The raw struct (serde,
//! `deny_unknown_fields`) is what was typed; each process turns it into its own checked struct, and asks
//! [`Loaded::origin`] where a value it refuses was written. No default is filled in here, and nothing is searched for:
//! the caller names the file.
//!
//! # Environment
//!
//! `VEILSUM_<SECTION>__<KEY>` overrides `key` in `[section]`; deeper tables take more double underscores, and
//! `VEILSUM__<KEY>` overrides a key outside any section. A variable without a double underscore is not about
//! configuration. The value is read as TOML (`30`, `true`, `["a", "b"]`) and, if it is none, as the text itself (`10m`,
//! `127.0.0.1:8443`); a text that looks like a number is quoted (`"42"`).

mod error;
mod origin;
mod overlay;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue, Deserializer};

pub use error::{ConfigError, UnknownKind};
pub use origin::Origin;

use crate::files;
use origin::Sources;
use overlay::Overlay;

/// What the names of all our environment variables start with.
pub const ENV_PREFIX: &str = "VEILSUM_";

/// A configuration as it was typed, and where each of its values was typed.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The values, unchecked.
    pub raw: T,
    path: PathBuf,
    origins: BTreeMap<String, Origin>,
}

impl<T> Loaded<T> {
    /// Where `key` (dotted, as `policy.min_cohort`) was set; [`Origin::Default`] if nowhere.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins
            .get(key)
            .cloned()
            .unwrap_or_else(|| Origin::Default {
                path: self.path.clone(),
            })
    }
}

/// Reads `path`, lays the variables of `environment` that start with `env_prefix` over it, and fills `T`.
///
/// A process passes [`std::env::vars_os`] and [`ENV_PREFIX`]; a test passes what it likes.
///
/// # Errors
/// [`ConfigError`]: the file cannot be read or parsed, a key is unknown or missing, a value has the wrong type, a
/// variable names no place.
pub fn load<T: DeserializeOwned>(
    path: &Path,
    env_prefix: &str,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded<T>, ConfigError> {
    let bytes = files::read(path, CONFIG_BYTES_MAX)?;
    let text = String::from_utf8(bytes).map_err(|_| ConfigError::NotUtf8 { path: path.into() })?;
    let overlay = Overlay::collect(text.len(), env_prefix, environment)?;
    let sources = Sources {
        path,
        text: &text,
        overlay: &overlay,
    };

    let parsed = DeTable::parse(&text).map_err(|fault| ConfigError::syntax(&sources, fault))?;
    let mut document = parsed;
    overlay.lay_over(document.get_mut())?;
    let mut origins = BTreeMap::new();
    note_origins(document.get_ref(), "", &sources, &mut origins);

    let raw = T::deserialize(Deserializer::from(document))
        .map_err(|fault| ConfigError::refused(&sources, fault))?;
    Ok(Loaded {
        raw,
        path: path.into(),
        origins,
    })
}

fn note_origins(
    table: &DeTable<'_>,
    prefix: &str,
    sources: &Sources<'_>,
    origins: &mut BTreeMap<String, Origin>,
) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            note_origins(inner, &format!("{name}."), sources, origins);
        }
        origins.insert(name, sources.origin(key.span()));
    }
}

/// The longest configuration file: a list of 50,000 pinned identities takes 4 MB.
const CONFIG_BYTES_MAX: u64 = 8 * 1024 * 1024;

#[cfg(test)]
mod tests;
