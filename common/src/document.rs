//! Reading a TOML file that a person wrote: where it is wrong, and what was probably meant.
//!
//! Used for `study.toml`, `site.toml` and `coordinator.toml` alike. It gets the text, not the path; whoever opened the
//! file puts its name in front of the error.

use serde::de::DeserializeOwned;

use crate::ids::shown;

/// Reads `text` as a `T`. Unknown keys are errors if `T` says `deny_unknown_fields`, as all of ours do.
///
/// # Errors
/// [`DocumentError`], with line and column counted from 1.
pub fn parse<T: DeserializeOwned>(text: &str, limit_bytes: usize) -> Result<T, DocumentError> {
    if text.len() > limit_bytes {
        return Err(DocumentError::TooLong {
            len_bytes: text.len(),
            limit_bytes,
        });
    }
    toml::from_str(text).map_err(|error| explain(text, &error))
}

/// What is wrong with a TOML file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Longer than anything we read.
    #[error("the file has {len_bytes} bytes, at most {limit_bytes} are read; shorten it")]
    TooLong {
        /// Its length.
        len_bytes: usize,
        /// The longest we read.
        limit_bytes: usize,
    },
    /// A key that means nothing here.
    #[error("line {line}, column {column}: unknown key `{key}`{}", advice(suggestion.as_deref(), known))]
    UnknownKey {
        /// Line of the key, from 1.
        line: usize,
        /// Column of the key, from 1, in characters.
        column: usize,
        /// The key.
        key: String,
        /// The known key it looks like.
        suggestion: Option<String>,
        /// All keys of that table.
        known: Vec<String>,
    },
    /// Not TOML, or a value of the wrong type.
    #[error("line {line}, column {column}: {message}")]
    Malformed {
        /// Line, from 1.
        line: usize,
        /// Column, from 1, in characters.
        column: usize,
        /// What the parser says.
        message: String,
    },
}

/// The one of `known` that somebody who wrote `word` probably meant.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let far = (word.chars().count() / 3).clamp(1, 3);
    let rated = known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(word, k), k));
    rated
        .filter(|(distance, _)| *distance <= far)
        .min()
        .map(|(_, k)| k)
}

fn explain(text: &str, error: &toml::de::Error) -> DocumentError {
    let (line, column) = position(text, error.span().map_or(0, |span| span.start));
    let message = error.message();
    let Some(listed) = message.strip_prefix("unknown field ") else {
        return DocumentError::Malformed {
            line,
            column,
            message: message.to_owned(),
        };
    };
    // serde writes: unknown field `clp`, expected one of `clip`, `bits`
    let mut quoted = listed.split('`').skip(1).step_by(2);
    let key = quoted.next().unwrap_or_default();
    let known: Vec<String> = quoted.map(str::to_owned).collect();
    let suggestion = suggest(key, known.iter().map(String::as_str)).map(str::to_owned);
    DocumentError::UnknownKey {
        line,
        column,
        key: shown(key),
        suggestion,
        known,
    }
}

/// Line and column, from 1, of the byte at `offset`.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

fn advice(suggestion: Option<&str>, known: &[String]) -> String {
    match suggestion {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None if known.is_empty() => "; this table has no keys".to_owned(),
        None => format!("; the keys of this table are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests;
