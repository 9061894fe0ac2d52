//! What can be wrong with what a trainer wrote, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use veilsum_common::metadata::MetadataError;
use veilsum_common::model::ModelError;
use veilsum_daemon::files::FileError;

/// Why an update cannot be used.
///
/// # Security
/// Messages hold numbers of the site (a metric, an element): they belong into its log and go nowhere else.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The trainer contributed, but did not write this.
    #[error(
        "the trainer ended with code 0 but wrote no {file} ({}); write it to ${}, or exit with 75 to sit the round out",
        path.display(), file.variable()
    )]
    Missing {
        /// Which file.
        file: Output,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A directory, a link, a pipe.
    #[error("the trainer's {file} ({}) is a {found}; write a regular file", path.display())]
    NotAFile {
        /// Which file.
        file: Output,
        /// Where it is.
        path: PathBuf,
        /// What it is.
        found: FoundKind,
    },
    /// Longer than this site lets go out, or than any result can be.
    #[error("the trainer's {file} has {len_bytes} bytes, the limit is {limit_bytes} bytes; {}", file.remedy())]
    TooLong {
        /// Which file.
        file: Output,
        /// Its length.
        len_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// The operating system refused.
    #[error("cannot read the trainer's {file} ({})", path.display())]
    Unreadable {
        /// Which file.
        file: Output,
        /// Where it is.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Not the tensors of the model, or not finite.
    #[error(transparent)]
    Tensors(#[from] ModelError),
    /// Not the JSON that was asked for.
    #[error(
        "the trainer's result.json cannot be used: {source}; \
         write {{\"num_examples\": 496, \"metrics\": {{\"loss\": 0.31}}}} with plain finite numbers"
    )]
    Result {
        /// What the parser says, with line and column.
        source: serde_json::Error,
    },
    /// Examples, weight or metrics out of bounds.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The pinned file is not what was pinned.
    #[error(
        "the pinned update {} is gone or was changed; this site drops out of the round, and of nothing else",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The site's own disk.
    #[error(transparent)]
    Disk(FileError),
}

/// A file that a trainer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// `update.safetensors`.
    Update,
    /// `result.json`.
    Result,
}

/// What was found in the place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundKind {
    /// A directory.
    Directory,
    /// A symbolic link, whatever it points to.
    SymbolicLink,
    /// A named pipe, which could make the daemon wait for ever.
    Pipe,
    /// A socket or a device.
    Special,
}

impl Output {
    pub(super) fn variable(self) -> &'static str {
        match self {
            Self::Update => "VEILSUM_UPDATE_OUT",
            Self::Result => "VEILSUM_RESULT_OUT",
        }
    }

    pub(super) fn unreadable(self, path: &Path, source: io::Error) -> UpdateError {
        UpdateError::Unreadable {
            file: self,
            path: path.into(),
            source,
        }
    }

    pub(super) fn too_long(self, len_bytes: u64, limit_bytes: u64) -> UpdateError {
        UpdateError::TooLong {
            file: self,
            len_bytes,
            limit_bytes,
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Update => "raise policy.max_update in site.toml if so much may leave this site",
            Self::Result => "write num_examples and metrics, nothing else",
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Update => "update.safetensors",
            Self::Result => "result.json",
        })
    }
}

impl fmt::Display for FoundKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "directory",
            Self::SymbolicLink => "symbolic link",
            Self::Pipe => "pipe",
            Self::Special => "socket or device",
        })
    }
}
