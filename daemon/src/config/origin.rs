//! Where a value was written: a line of the file, a variable, or nowhere.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::overlay::Overlay;

/// Where a value was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// In the file, at this place (both counted from 1, columns in characters).
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// Somewhere in the file, or missing from it.
    Document {
        /// The file.
        path: PathBuf,
    },
    /// In an environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// Nowhere: neither the file nor the environment sets it.
    Default {
        /// The file that does not set it.
        path: PathBuf,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Document { path } => write!(f, "{}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Default { path } => {
                write!(f, "{} (not set there: this is the default)", path.display())
            }
        }
    }
}

/// The file's text and the variables laid over it, addressed by one range of byte positions: the file's bytes first,
/// then each variable's.
pub(super) struct Sources<'a> {
    pub path: &'a Path,
    pub text: &'a str,
    pub overlay: &'a Overlay,
}

impl Sources<'_> {
    pub fn origin(&self, span: Range<usize>) -> Origin {
        if let Some(variable) = self.overlay.variable_at(span.start) {
            return Origin::Environment {
                variable: variable.to_owned(),
            };
        }
        let path = self.path.to_owned();
        let Some(before) = self.text.get(..span.start) else {
            return Origin::Document { path };
        };
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Origin::File { path, line, column }
    }
}
