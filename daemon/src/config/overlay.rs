//! Environment variables, laid over the parsed file.
//!
//! Each variable gets byte positions behind those of the file, and its value is parsed at these positions. So one
//! number in an error tells whether the file or a variable is to blame.

use std::borrow::Cow;
use std::ffi::OsString;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// The variables that are about configuration, in order of their names.
pub(super) struct Overlay {
    settings: Vec<Setting>,
}

struct Setting {
    variable: String,
    /// Names of the tables from the outside in, then the key.
    place: Vec<String>,
    /// Spaces, `KEY`, then the value at the first position of `span`: what is parsed has its final positions.
    line: String,
    span: Range<usize>,
}

impl Overlay {
    pub fn collect(
        text_len: usize,
        prefix: &str,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut found: Vec<_> = environment
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter_map(|(name, value)| Some((place_of(name.strip_prefix(prefix)?)?, name, value)))
            .collect();
        found.sort();
        if found.len() > VARIABLES_MAX {
            return Err(ConfigError::TooManyVariables {
                have: found.len(),
                limit: VARIABLES_MAX,
            });
        }

        // Behind the text's end, since an error there must not be blamed on a variable.
        let mut start = text_len + KEY.len();
        let mut settings = Vec::with_capacity(found.len());
        for (place, variable, value) in found {
            let value = value
                .into_string()
                .map_err(|_| ConfigError::VariableNotUtf8 {
                    variable: variable.clone(),
                })?;
            if place.iter().any(String::is_empty) {
                return Err(ConfigError::VariableName { variable });
            }
            let span = start..start + value.len() + 1;
            start = span.end;
            let line = " ".repeat(span.start - KEY.len()) + KEY + &value;
            settings.push(Setting {
                variable,
                place,
                line,
                span,
            });
        }
        Ok(Self { settings })
    }

    pub fn lay_over<'a>(&'a self, document: &mut DeTable<'a>) -> Result<(), ConfigError> {
        self.settings
            .iter()
            .try_for_each(|setting| setting.lay_over(document))
    }

    pub fn variable_at(&self, position: usize) -> Option<&str> {
        let setting = self
            .settings
            .iter()
            .find(|setting| setting.span.contains(&position))?;
        Some(&setting.variable)
    }
}

impl Setting {
    fn lay_over<'a>(&'a self, document: &mut DeTable<'a>) -> Result<(), ConfigError> {
        let (key, tables) = self
            .place
            .split_last()
            .expect("splitting a text gives at least one part");
        let mut table = document;
        for name in tables {
            let inner = table
                .entry(self.key(name))
                .or_insert_with(|| self.spanned(DeValue::Table(DeTable::new())));
            let DeValue::Table(inner) = inner.get_mut() else {
                return Err(ConfigError::VariableThroughValue {
                    variable: self.variable.clone(),
                    key: name.clone(),
                });
            };
            table = inner;
        }
        // Removed first: an entry that is replaced would keep its key, and with it the position in the file.
        table.remove(key.as_str());
        table.insert(self.key(key), self.value());
        Ok(())
    }

    /// The value as TOML; as the text itself if it is none, or if it is several lines that set other keys besides.
    fn value(&self) -> Spanned<DeValue<'_>> {
        let text = || {
            self.spanned(DeValue::String(Cow::Borrowed(
                &self.line[self.span.start..],
            )))
        };
        match DeTable::parse(&self.line).map(Spanned::into_inner) {
            Ok(mut table) if table.len() == 1 => table.remove(KEY_NAME).unwrap_or_else(text),
            Ok(_) | Err(_) => text(),
        }
    }

    fn key<'a>(&self, name: &'a str) -> Spanned<Cow<'a, str>> {
        self.spanned(Cow::Borrowed(name))
    }

    fn spanned<T>(&self, value: T) -> Spanned<T> {
        Spanned::new(self.span.clone(), value)
    }
}

/// `SECTION__KEY` → `section`, `key`; `_KEY` → `key`; without a double underscore in the whole name: not ours.
fn place_of(name: &str) -> Option<Vec<String>> {
    let name = match name.strip_prefix('_') {
        Some(outside_any_section) => outside_any_section,
        None if name.contains("__") => name,
        None => return None,
    };
    Some(name.split("__").map(str::to_lowercase).collect())
}

/// Any key would do.
const KEY: &str = "k=";
const KEY_NAME: &str = "k";

/// More variables than any configuration has keys.
const VARIABLES_MAX: usize = 256;
