//! Why the journal cannot do what it was asked, whose fault it is, and what to do next.

use std::fmt;
use std::path::PathBuf;

use veilsum_daemon::files::FileError;

/// Why the journal cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the data directory.
    #[error(
        "the data directory {} is in use by another participant; stop that one, or set another data_dir in site.toml",
        dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The data directory or the file in it cannot be made, locked or opened.
    #[error(transparent)]
    File(#[from] FileError),
    /// Others can reach the file or its directory.
    #[error("{} has mode {mode:04o}, so others than its owner can change the journal; run: chmod go-rwx {}", path.display(), path.display())]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Made by another version, or no journal at all.
    #[error(
        "the journal {} has schema {found}, this program knows {known}; start the version that wrote it",
        path.display()
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// What it says about itself.
        found: i64,
        /// What can be read.
        known: i64,
    },
    /// The key is not the one that sealed this journal.
    #[error(
        "the store key does not open the journal {}; put back the store.key that was made with it, or enrol the site again",
        path.display()
    )]
    WrongStoreKey {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else has appended: our bug, since there is one writer.
    #[error("the stream {stream} has {have} entries, the writer expected {next}")]
    Conflict {
        /// The stream.
        stream: String,
        /// How many entries it has.
        have: u64,
        /// The number the writer asked for.
        next: u64,
    },
    /// Longer than anything that belongs here; long bytes are a blob that the entry names.
    #[error(
        "{what} of the stream {stream} has {len_bytes} bytes, the limit is {limit_bytes} bytes"
    )]
    TooLong {
        /// The stream.
        stream: String,
        /// What is too long.
        what: Part,
        /// Its length.
        len_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The run of this stream is over.
    #[error(
        "the stream {stream} is finished and its payloads are erased; nothing can be read from it or added to it"
    )]
    Forgotten {
        /// The stream.
        stream: String,
    },
    /// What is on disk is not what was written.
    #[error(
        "the journal is damaged at {what} of the stream {stream}; this site must be enrolled again, or restored and then join a new epoch"
    )]
    Corrupt {
        /// The stream.
        stream: String,
        /// Where.
        what: Damage,
    },
    /// The database failed. The journal refuses everything from now on.
    #[error("the journal cannot be read or written; free the disk or replace it, then start again")]
    Unavailable(#[from] rusqlite::Error),
    /// A secret was erased, but not yet from the write-ahead log.
    #[error(
        "the journal could not be checkpointed, so erased secrets linger in its write-ahead log; start again"
    )]
    Lingering,
    /// It failed before: what is on disk is unknown until it is read again.
    #[error(
        "the journal failed earlier and takes nothing more; start again, which replays what is on disk"
    )]
    Poisoned,
}

/// What can be too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The payload of an entry.
    Payload,
    /// A secret of the vault.
    Secret,
    /// A stream, kind or secret's name.
    Name,
}

/// Where a journal is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Entry of this number: missing, changed, or not sealed by us.
    Entry(u64),
    /// A secret: changed, or not sealed by us.
    Secret,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Payload => "a payload",
            Self::Secret => "a secret",
            Self::Name => "a name",
        })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(number) => write!(f, "entry {number}"),
            Self::Secret => f.write_str("a secret"),
        }
    }
}
