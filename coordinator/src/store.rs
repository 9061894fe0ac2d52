//! Where the coordinator keeps what must not be lost: journals of entries, and blobs.
//!
//! The driver appends here before it tells a machine, answers a sender or performs an output; at start it reads here and replays.
//! A journal knows streams, numbers and bytes. What an entry means is the engine's business, how it is encoded is `proto`'s, and vectors
//! are never entries: they are [`blobs`], and an entry only names them.
//!
//! The backends are told apart by a type parameter, not by an enum: `run` is generic over [`Journal`], so that a test can start a whole
//! coordinator on a journal of its own that crashes at a chosen append, and the shipped code needs no place to hook one in.

use std::{error, fmt, future::Future, str::FromStr, sync::Arc};

use veilsum_common::{ids::RunId, time::Timestamp};

pub mod blobs;
mod chain;
#[cfg(test)]
mod conformance;
mod disk;
mod lock;
pub mod memory;
pub mod seal;
pub mod sqlite;
pub mod staging;
#[cfg(test)]
mod tests;

pub use lock::LockError;

/// Ordered streams of entries, one stream for each machine.
///
/// A clone is another handle on the same journal. A call that has been made is carried out even if its caller stops waiting for the answer.
pub trait Journal: Clone + Send + Sync + 'static {
    /// Writes `batch` as entries `next`, `next + 1`, … of `stream`; a stream begins with the append whose `next` is 0.
    ///
    /// All of the batch is written or none of it, and it is durable on return. An empty batch asks nothing.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the stream does not end just before `next`, [`Error::TooLarge`] for a payload over the limit,
    /// [`Error::Scrubbed`], [`Error::Unavailable`], [`Error::Failed`]. Nothing was written, except that after `Failed` nobody can know.
    fn append(
        &self,
        stream: StreamId,
        next: u64,
        batch: &[Entry],
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Reads the entries `from`, `from + 1`, … to the end of `stream`, with their place in the chain checked.
    ///
    /// A stream that nobody has begun has no entries, which is not an error.
    ///
    /// # Errors
    /// [`Error::NotFound`] if `from` lies beyond the end: whoever asks has seen entries that this journal does not have.
    /// [`Error::Diverged`] if an entry is not what was appended, [`Error::Scrubbed`], [`Error::Unavailable`], [`Error::Failed`].
    fn read(
        &self,
        stream: StreamId,
        from: u64,
    ) -> impl Future<Output = Result<Vec<Entry>, Error>> + Send;

    /// The streams that have been begun and not scrubbed, in the order of [`StreamId`]: what to replay at start.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Failed`].
    fn open(&self) -> impl Future<Output = Result<Vec<StreamId>, Error>> + Send;

    /// Erases the payloads of `stream` and closes it for good; numbers, times, kinds, senders and digests stay. May be repeated.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nobody has begun the stream, [`Error::Unavailable`], [`Error::Failed`].
    fn scrub(&self, stream: StreamId) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The name of one machine's stream. Shown and parsed as `run/<run>`, `epoch/<run>/<epoch>` or `round/<run>/<epoch>-<seq>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// The stream of a run.
    Run(RunId),
    /// The stream of an epoch of a run.
    Epoch {
        /// The run it belongs to.
        run: RunId,
        /// Which epoch of the run.
        epoch: u64,
    },
    /// The stream of a round.
    Round {
        /// The run it belongs to.
        run: RunId,
        /// The epoch whose roster it uses.
        epoch: u64,
        /// Which round of the epoch.
        seq: u64,
    },
}

impl StreamId {
    /// Names the stream of a run.
    pub fn run(run: RunId) -> Self {
        Self::Run(run)
    }

    /// Names the stream of an epoch.
    pub fn epoch(run: RunId, epoch: u64) -> Self {
        Self::Epoch { run, epoch }
    }

    /// Names the stream of a round.
    pub fn round(run: RunId, epoch: u64, seq: u64) -> Self {
        Self::Round { run, epoch, seq }
    }

    /// The kind of machine: the first word of the name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Epoch { .. } => "epoch",
            Self::Round { .. } => "round",
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Run(run) => write!(f, "{kind}/{run}"),
            Self::Epoch { run, epoch } => write!(f, "{kind}/{run}/{epoch}"),
            Self::Round { run, epoch, seq } => write!(f, "{kind}/{run}/{epoch}-{seq}"),
        }
    }
}

/// The text is not the name of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the name of a stream: expected run/<run>, epoch/<run>/<epoch> or round/<run>/<epoch>-<seq>"
)]
pub struct ParseStreamIdError;

impl FromStr for StreamId {
    type Err = ParseStreamIdError;

    fn from_str(text: &str) -> Result<Self, ParseStreamIdError> {
        parse(text)
            .filter(|stream| stream.to_string() == text)
            .ok_or(ParseStreamIdError)
    }
}

fn parse(text: &str) -> Option<StreamId> {
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        ["run", run] => Some(StreamId::run(run.parse().ok()?)),
        ["epoch", run, epoch] => Some(StreamId::epoch(run.parse().ok()?, epoch.parse().ok()?)),
        ["round", run, round] => {
            let (epoch, seq) = round.split_once('-')?;
            Some(StreamId::round(
                run.parse().ok()?,
                epoch.parse().ok()?,
                seq.parse().ok()?,
            ))
        }
        _ => None,
    }
}

/// One durable line of a stream.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// When the event was accepted.
    pub at: Timestamp,
    /// What kind of event the payload is.
    pub kind: String,
    /// Who sent it, as TLS authenticated them; nobody for an event of the coordinator itself.
    pub sender: Option<String>,
    /// The event's bytes, at most [`veilsum_common::limits::MAX_ENTRY_BYTES`].
    pub payload: Vec<u8>,
}

/// Shows everything but the payload, which may hold shares: of that, only its length.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("at", &self.at)
            .field("kind", &self.kind)
            .field("sender", &self.sender)
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}

/// Why a journal did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The stream does not end where the caller thought.
    #[error(
        "{stream} ends before entry {found}, not before entry {expected}: read the entries in between, decide again"
    )]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// The number the caller's batch was to begin with.
        expected: u64,
        /// The number the stream's next entry has.
        found: u64,
    },
    /// There is no such entry.
    #[error("{stream} has no entry {number}")]
    NotFound {
        /// The stream.
        stream: StreamId,
        /// The first number that is missing.
        number: u64,
    },
    /// The stream's payloads have been erased; nothing can be read from it or added to it.
    #[error("{stream} was scrubbed: its payloads are gone and it takes no more entries")]
    Scrubbed {
        /// The stream.
        stream: StreamId,
    },
    /// What is stored is not what was appended.
    #[error(
        "entry {number} of {stream} is not what was written: the journal is damaged or was altered; restore it from a backup"
    )]
    Diverged {
        /// The stream.
        stream: StreamId,
        /// The first entry that does not fit.
        number: u64,
    },
    /// A payload is over the limit: our bug, since admission bounds what senders may send.
    #[error("an entry's payload of {len_bytes} bytes is over the limit of {limit_bytes} bytes")]
    TooLarge {
        /// How long it is.
        len_bytes: usize,
        /// How long it may be.
        limit_bytes: usize,
    },
    /// The store cannot write just now, for instance because its disk is full. It may be asked again.
    #[error("the journal cannot be written for now")]
    Unavailable(#[source] Source),
    /// The store failed in a way after which nothing it holds in memory can be trusted, for instance in an fsync. All later calls fail
    /// alike: the process has to exit, and the next one to check what is on the disk.
    #[error(
        "the journal has failed and this process can no longer use it: see to the disk, then start again"
    )]
    Failed(#[source] Source),
}

impl Error {
    /// Whether only what this stream is about is lost, and the journal can be used for all else.
    pub fn concerns_one_stream(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::Scrubbed { .. } | Self::Diverged { .. } => true,
            // Somebody else writes, we are at fault, or nothing can be written at all.
            Self::Conflict { .. }
            | Self::TooLarge { .. }
            | Self::Unavailable(_)
            | Self::Failed(_) => false,
        }
    }
}

/// What was underneath an [`Error`]; shared, because one failed transaction has many callers.
pub type Source = Arc<dyn error::Error + Send + Sync>;

/// Refuses a batch with a payload that is over the limit.
fn check_sizes(batch: &[Entry]) -> Result<(), Error> {
    let limit_bytes = veilsum_common::limits::MAX_ENTRY_BYTES;
    match batch
        .iter()
        .map(|entry| entry.payload.len())
        .find(|len| *len > limit_bytes)
    {
        Some(len_bytes) => Err(Error::TooLarge {
            len_bytes,
            limit_bytes,
        }),
        None => Ok(()),
    }
}
