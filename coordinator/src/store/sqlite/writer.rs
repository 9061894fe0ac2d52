//! The one thread that owns a journal's connection.
//!
//! It takes every command that waits, carries out the appends and scrubs among them in one transaction, and answers when that is durable.
//! A command that is refused (a conflict, say) leaves the others of its group alone; if the store itself fails, all of the group fail.
//! What then happens depends on the failure. A full disk or a busy file was noticed before anything was promised: the transaction is
//! rolled back and the next group may succeed. After any other failure nobody knows what the disk holds: the writer refuses everything
//! from then on, and only a new process, which reads the disk afresh, may go on.

use std::{mem, sync::Arc};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{
    super::{Entry, Error, StreamId, chain::Row, lock::DirLock},
    rows,
};

#[cfg(test)]
mod tests;

/// What a handle asks of the thread. Payloads are sealed already.
pub(super) enum Command {
    Write(Write),
    Read(Read),
    Close { answer: oneshot::Sender<()> },
}

/// A change to the file, and who waits for it.
pub(super) struct Write {
    pub(super) stream: StreamId,
    pub(super) change: Change,
    pub(super) answer: Answer<()>,
}

pub(super) enum Change {
    Append { next: u64, batch: Vec<Entry> },
    Scrub,
}

/// A look into the file, and who waits for it.
pub(super) enum Read {
    Entries {
        stream: StreamId,
        from: u64,
        answer: Answer<Vec<Row>>,
    },
    OpenStreams {
        answer: Answer<Vec<StreamId>>,
    },
}

/// A caller that stopped waiting is not told; it reads what became of its request when it comes back.
pub(super) type Answer<T> = oneshot::Sender<Result<T, Error>>;

pub(super) struct Writer {
    connection: Connection,
    /// After the connection, since fields are dropped in order.
    _lock: DirLock,
    failed: Option<Error>,
    /// About how much has gone into the write-ahead log since it was last copied into the file.
    logged_bytes: usize,
}

impl Writer {
    pub(super) fn new(connection: Connection, lock: DirLock) -> Self {
        Self {
            connection,
            _lock: lock,
            failed: None,
            logged_bytes: 0,
        }
    }

    /// Serves until it is told to close or nobody is left to ask.
    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        while let Some(command) = inbox.blocking_recv() {
            let mut group = vec![command];
            while group.len() < GROUP_LEN
                && let Ok(command) = inbox.try_recv()
            {
                group.push(command);
            }
            if let Some(answer) = self.serve(group) {
                drop(self);
                // Whoever asked may have stopped waiting.
                let _ = answer.send(());
                return;
            }
        }
    }

    /// Carries out a group, changes first: a reader that waited beside a writer may see either state. Returns whom to tell of the closing.
    fn serve(&mut self, group: Vec<Command>) -> Option<oneshot::Sender<()>> {
        let (mut writes, mut reads, mut closing) = (Vec::new(), Vec::new(), None);
        for command in group {
            match command {
                Command::Write(write) => writes.push(write),
                Command::Read(read) => reads.push(read),
                Command::Close { answer } => closing = Some(answer),
            }
        }
        if !writes.is_empty() {
            self.write(writes);
        }
        for read in reads {
            self.read(read);
        }
        closing
    }

    fn write(&mut self, mut writes: Vec<Write>) {
        self.logged_bytes += COMMIT_BYTES + writes.iter().map(Write::payload_bytes).sum::<usize>();
        let results = self
            .guarded(|connection| commit(connection, &mut writes))
            .unwrap_or_else(|error| vec![Err(error); writes.len()]);
        let log_emptied = if writes.iter().any(Write::is_scrub) {
            self.checkpoint(Checkpoint::Truncate)
        } else {
            Ok(())
        };
        for (write, result) in writes.into_iter().zip(results) {
            let result = match write.change {
                Change::Append { .. } => result,
                Change::Scrub => result.and_then(|()| log_emptied.clone()),
            };
            let _ = write.answer.send(result);
        }
        if self.logged_bytes > LOG_BYTES {
            // Nobody waits for this one; a failure that lasts is met by the next command.
            let _ = self.checkpoint(Checkpoint::Passive);
        }
    }

    fn read(&mut self, read: Read) {
        match read {
            Read::Entries {
                stream,
                from,
                answer,
            } => {
                let outcome = self.guarded(|connection| rows::read(connection, stream, from));
                let _ = answer.send(outcome.and_then(|entries| entries));
            }
            Read::OpenStreams { answer } => {
                let _ = answer.send(self.guarded(|connection| rows::open(connection)));
            }
        }
    }

    /// Copies the write-ahead log into the file. SQLite would do it by itself, but keep a failed fsync to itself as well.
    fn checkpoint(&mut self, how: Checkpoint) -> Result<(), Error> {
        self.logged_bytes = 0;
        let busy = self.guarded(|connection| {
            connection.query_row(how.sql(), [], |row| row.get::<_, bool>(0))
        })?;
        if busy {
            tracing::warn!(
                "another program reads the journal, so its write-ahead log could not be emptied"
            );
        }
        Ok(())
    }

    /// Does `work`, unless the store has failed before, and takes note if it fails now.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        match &self.failed {
            Some(failed) => Err(failed.clone()),
            None => work(&mut self.connection).map_err(|error| self.judge(error)),
        }
    }

    fn judge(&mut self, error: rusqlite::Error) -> Error {
        let passes = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        );
        if passes && self.connection.is_autocommit() {
            tracing::warn!(%error, "the journal cannot be written for now");
            return Error::Unavailable(Arc::new(error));
        }
        tracing::error!(%error, "the journal has failed; nothing more is accepted");
        let failed = Error::Failed(Arc::new(error));
        self.failed = Some(failed.clone());
        failed
    }
}

impl Write {
    fn is_scrub(&self) -> bool {
        matches!(self.change, Change::Scrub)
    }

    fn payload_bytes(&self) -> usize {
        match &self.change {
            Change::Append { batch, .. } => batch.iter().map(|entry| entry.payload.len()).sum(),
            Change::Scrub => 0,
        }
    }
}

enum Checkpoint {
    /// As much as goes without waiting; the log is written from its beginning again.
    Passive,
    /// All of it, and the log is then emptied, so that no copy of a scrubbed payload stays there.
    Truncate,
}

impl Checkpoint {
    fn sql(&self) -> &'static str {
        match self {
            Self::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
            Self::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
        }
    }
}

fn commit(
    connection: &mut Connection,
    writes: &mut [Write],
) -> rusqlite::Result<Vec<Result<(), Error>>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let results = writes
        .iter_mut()
        .map(|write| match &mut write.change {
            Change::Append { next, batch } => {
                rows::append(&transaction, write.stream, *next, mem::take(batch))
            }
            Change::Scrub => rows::scrub(&transaction, write.stream),
        })
        .collect::<rusqlite::Result<_>>()?;
    transaction.commit()?;
    Ok(results)
}

/// Commands in a group: at 256 rows a transaction the fsync no longer counts.
pub(super) const GROUP_LEN: usize = 256;
/// When to copy the log into the file: 4 MiB is replayed in milliseconds after a crash.
const LOG_BYTES: usize = 4 << 20;
/// What a commit adds to the log beside the payloads: eight pages of tables and indices, each logged whole.
const COMMIT_BYTES: usize = 8 * 4096;
