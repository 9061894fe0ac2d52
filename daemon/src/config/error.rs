//! What can be wrong with a configuration, in words a person can act on.

use std::path::PathBuf;

use toml::de::Error as Fault;

use super::origin::{Origin, Sources};
use crate::files::FileError;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not text.
    #[error("{}: not UTF-8 text", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// The file is not TOML.
    #[error("{origin}: not valid TOML: {}", fault.message())]
    Syntax {
        /// Where parsing stopped.
        origin: Origin,
        /// What the parser found.
        fault: Box<Fault>,
    },
    /// There is no such key, or no such value where only a few are allowed.
    #[error("{origin}: unknown {} `{found}`{}; known here: {}", kind.noun(), did_you_mean(suggestion), expected.join(", "))]
    Unknown {
        /// Where it is written.
        origin: Origin,
        /// Whether it stands for a key or for a value.
        kind: UnknownKind,
        /// What is written.
        found: String,
        /// The known name that looks most like it.
        suggestion: Option<String>,
        /// All names known at this place.
        expected: Vec<String>,
    },
    /// A value has the wrong type or range, or a key is missing.
    #[error("{origin}: {}", fault.message())]
    Invalid {
        /// Where it is written, or the table it is missing from.
        origin: Origin,
        /// What is wrong with it.
        fault: Box<Fault>,
    },
    /// A variable holds bytes that are not text.
    #[error("environment variable {variable}: not UTF-8 text")]
    VariableNotUtf8 {
        /// Its name.
        variable: String,
    },
    /// A variable's name has an empty part.
    #[error(
        "environment variable {variable}: names no key; write VEILSUM_<SECTION>__<KEY>, or VEILSUM__<KEY> for a key outside any section"
    )]
    VariableName {
        /// Its name.
        variable: String,
    },
    /// A variable addresses a key below something that is not a table.
    #[error(
        "environment variable {variable}: `{key}` is a value, not a section with keys below it"
    )]
    VariableThroughValue {
        /// Its name.
        variable: String,
        /// The part of its name that is a value.
        key: String,
    },
    /// More variables than any configuration has keys.
    #[error(
        "{have} environment variables are about configuration, the limit is {limit}; write the values into the file"
    )]
    TooManyVariables {
        /// Variables found.
        have: usize,
        /// Variables allowed.
        limit: usize,
    },
}

/// What an unknown name stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnknownKind {
    /// A key of a table.
    Key,
    /// One of a few allowed values.
    Value,
}

impl UnknownKind {
    fn noun(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }
}

impl ConfigError {
    pub(super) fn syntax(sources: &Sources<'_>, fault: Fault) -> Self {
        let origin = origin_of(sources, &fault);
        Self::Syntax {
            origin,
            fault: Box::new(fault),
        }
    }

    /// Sorts what serde refused. Its messages are the only place where the known names are to be had.
    pub(super) fn refused(sources: &Sources<'_>, fault: Fault) -> Self {
        let origin = origin_of(sources, &fault);
        let kind = match fault.message() {
            message if message.starts_with("unknown field ") => UnknownKind::Key,
            message if message.starts_with("unknown variant ") => UnknownKind::Value,
            _ => {
                return Self::Invalid {
                    origin,
                    fault: Box::new(fault),
                };
            }
        };
        let mut names = fault
            .message()
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned);
        let Some(found) = names.next() else {
            return Self::Invalid {
                origin,
                fault: Box::new(fault),
            };
        };
        let expected: Vec<String> = names.collect();
        Self::Unknown {
            origin,
            kind,
            suggestion: most_alike(&found, &expected),
            found,
            expected,
        }
    }
}

/// A key that is missing from the outermost table has no place in the file.
fn origin_of(sources: &Sources<'_>, fault: &Fault) -> Origin {
    match fault.span() {
        Some(span) if !is_whole_document(sources, &span) => sources.origin(span),
        Some(_) | None => Origin::Document {
            path: sources.path.to_owned(),
        },
    }
}

fn is_whole_document(sources: &Sources<'_>, span: &std::ops::Range<usize>) -> bool {
    span.start == 0 && (span.is_empty() || span.end >= sources.text.len())
}

fn most_alike(found: &str, expected: &[String]) -> Option<String> {
    expected
        .iter()
        .map(|name| (strsim::jaro_winkler(found, name), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name.clone())
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion
        .as_ref()
        .map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// One or two slips in a word stay above this, unrelated words below.
const LIKENESS_MIN: f64 = 0.8;
