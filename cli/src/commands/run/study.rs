//! The study file as it is submitted: read, overridden, checked, with the model it names.

use std::path::{Path, PathBuf};

use toml::Table;
use veilsum_common::limits::MAX_STUDY_BYTES;
use veilsum_common::study::Study;
use veilsum_daemon::files::{self, Reading};

use crate::args::Override;
use crate::error::Error;

/// What goes to the coordinator.
pub(super) struct Submission {
    /// The study as text: the file itself, or the file with overrides.
    pub text: String,
    /// The same, checked.
    pub study: Study,
    /// The initial model.
    pub model: Reading,
}

/// Reads a study and its initial model.
pub(super) fn read(path: &Path, overrides: &[Override]) -> Result<Submission, Error> {
    let wrong = |source| Error::Study {
        path: path.to_owned(),
        source,
    };
    let bytes = files::read(path, MAX_STUDY_BYTES as u64)?;
    let typed = String::from_utf8(bytes).map_err(|_| Error::NotText {
        path: path.to_owned(),
    })?;
    // Before any override, so that an error's line and column are those of the file.
    let mut study = Study::parse(&typed).map_err(wrong)?;
    let text = match overrides {
        [] => typed,
        overrides => {
            let text = overridden(&typed, overrides)?;
            study = Study::parse(&text).map_err(wrong)?;
            text
        }
    };
    let model = Reading::open(&beside(path, &study.model().initial))?;
    Ok(Submission { text, study, model })
}

/// Paths in a study are relative to its file.
fn beside(study: &Path, model: &str) -> PathBuf {
    study.parent().unwrap_or(Path::new("")).join(model)
}

/// The text with values of `[config]` replaced or added.
fn overridden(text: &str, overrides: &[Override]) -> Result<String, Error> {
    let mut document: Table = text.parse().expect("a study that was parsed is TOML");
    let config = document
        .entry("config")
        .or_insert_with(|| Table::new().into());
    for Override { path, value } in overrides {
        let (last, tables) = path
            .split_last()
            .expect("the parser of overrides refuses an empty key");
        let mut place = &mut *config;
        for key in tables {
            place = table(place, path, key)?
                .entry(key.as_str())
                .or_insert_with(|| Table::new().into());
        }
        table(place, path, last)?.insert(last.clone(), value.clone());
    }
    Ok(toml::to_string(&document).expect("a TOML document can be written"))
}

fn table<'a>(
    place: &'a mut toml::Value,
    path: &[String],
    key: &str,
) -> Result<&'a mut Table, Error> {
    let through = || Error::Override {
        key: path.join("."),
        through: before(path, key),
    };
    place.as_table_mut().ok_or_else(through)
}

/// The part of a dotted key that leads to `key`.
fn before(path: &[String], key: &str) -> String {
    let leading = path.iter().take_while(|part| *part != key);
    leading.map(String::as_str).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests;
