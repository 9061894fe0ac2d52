//! The journal in one SQLite file: the default, for one coordinator process.
//!
//! One thread owns the connection (`writer`); handles send it commands and await its answers. Appends that wait at the same time share
//! one transaction and so one fsync. Payloads are sealed and opened here, on the caller's side, so the thread and the file see only sealed
//! bytes. Locks, permissions and the schema are checked when the journal is opened; there is no migration and no repair.

use std::{
    fs::{self, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use veilsum_secagg::keys::Seed;

use super::{
    Entry, Error, Journal, LockError, StreamId,
    chain::{Row, header},
    check_sizes,
    lock::DirLock,
    seal::{KeyError, Sealer, StoreKey},
};

mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use writer::{Change, Command, Read, Write, Writer};

/// A handle on a journal in a SQLite file; its clones share one connection.
///
/// The directory stays locked until [`SqliteJournal::close`] has returned, or every handle is dropped and the thread has noticed.
#[derive(Clone)]
pub struct SqliteJournal {
    commands: mpsc::Sender<Command>,
    books: Arc<Seed>,
    sealer: Arc<Sealer>,
}

impl SqliteJournal {
    /// Opens the journal in `dir`, or makes directory, store key and journal on the first start. Blocks.
    ///
    /// `entropy` fills a buffer with random bytes; keys and nonces are drawn from it.
    ///
    /// # Errors
    /// Any [`OpenError`]; nothing that exists has then been changed.
    pub fn open_in(
        dir: &Path,
        entropy: impl Fn(&mut [u8]) + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        let lock = DirLock::take(dir)?;
        let (file, key_file) = (dir.join(JOURNAL_FILE), dir.join(KEY_FILE));
        let key = match (key_file.exists(), holds_something(&file)?) {
            (true, _) => StoreKey::load(&key_file)?,
            (false, true) => return Err(KeyError::Missing { path: key_file }.into()),
            (false, false) => StoreKey::create(&key_file, &entropy)?,
        };
        let connection = connect(&file, &key)?;
        let (commands, inbox) = mpsc::channel(QUEUE_LEN);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || Writer::new(connection, lock).run(inbox))
            .map_err(|source| OpenError::Io { file, source })?;
        Ok(Self {
            commands,
            books: Arc::new(key.books()),
            sealer: Arc::new(Sealer::new(&key, entropy)),
        })
    }

    /// What the books of staged uploads are kept with; the same whenever this journal is opened.
    pub fn books(&self) -> Seed {
        self.books.duplicate()
    }

    /// Finishes what has been asked, closes the file and releases the directory. Later calls on any handle fail.
    pub async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        if self.commands.send(Command::Close { answer }).await.is_ok() {
            // No answer means that the thread is gone already, and the file and the lock with it.
            let _ = closed.await;
        }
    }

    async fn write(&self, stream: StreamId, change: Change) -> Result<(), Error> {
        self.ask(|answer| {
            Command::Write(Write {
                stream,
                change,
                answer,
            })
        })
        .await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let gone = || Error::Failed(Arc::new(Gone));
        self.commands
            .send(command(answer))
            .await
            .map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    fn seal(&self, stream: StreamId, number: u64, entry: &Entry) -> Entry {
        let header = header(
            stream,
            number,
            entry.at,
            &entry.kind,
            entry.sender.as_deref(),
        );
        Entry {
            payload: self.sealer.seal(&header, &entry.payload),
            ..entry.clone()
        }
    }

    fn unseal(&self, stream: StreamId, row: Row) -> Result<Entry, Error> {
        let header = row.header(stream);
        let payload = row
            .payload
            .and_then(|sealed| self.sealer.open(&header, &sealed));
        match payload {
            Some(payload) => Ok(Entry {
                at: row.at,
                kind: row.kind,
                sender: row.sender,
                payload,
            }),
            None => Err(Error::Diverged {
                stream,
                number: row.number,
            }),
        }
    }
}

impl Journal for SqliteJournal {
    async fn append(&self, stream: StreamId, next: u64, batch: &[Entry]) -> Result<(), Error> {
        check_sizes(batch)?;
        if batch.is_empty() {
            return Ok(());
        }
        let batch = (0..)
            .zip(batch)
            .map(|(place, entry)| self.seal(stream, next.saturating_add(place), entry))
            .collect();
        self.write(stream, Change::Append { next, batch }).await
    }

    async fn read(&self, stream: StreamId, from: u64) -> Result<Vec<Entry>, Error> {
        let rows = self
            .ask(|answer| {
                Command::Read(Read::Entries {
                    stream,
                    from,
                    answer,
                })
            })
            .await?;
        rows.into_iter()
            .map(|row| self.unseal(stream, row))
            .collect()
    }

    async fn open(&self) -> Result<Vec<StreamId>, Error> {
        self.ask(|answer| Command::Read(Read::OpenStreams { answer }))
            .await
    }

    async fn scrub(&self, stream: StreamId) -> Result<(), Error> {
        self.write(stream, Change::Scrub).await
    }
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its directory could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its key could not be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It was written under another key.
    #[error("the journal {} was written under another store key than the one beside it: restore both from the same backup", file.display())]
    OtherKey {
        /// The journal.
        file: PathBuf,
    },
    /// It was written by a version of veilsum that lays it out differently.
    #[error("the journal {} has layout {found}, and this version of veilsum knows only layout {known}: start the version that wrote it", file.display())]
    UnknownSchema {
        /// The journal.
        file: PathBuf,
        /// The layout it has.
        found: i64,
        /// The layout this code has.
        known: i64,
    },
    /// It is a file, but not a journal.
    #[error("{} is not a journal of veilsum: name another data directory", file.display())]
    NotAJournal {
        /// The file.
        file: PathBuf,
    },
    /// SQLite did not accept a setting that durability rests on.
    #[error("the journal {} could not be set to {setting} = {wanted}: put the data directory on a local disk", file.display())]
    Setting {
        /// The journal.
        file: PathBuf,
        /// The name of the setting.
        setting: &'static str,
        /// The value it would not take.
        wanted: &'static str,
    },
    /// SQLite failed.
    #[error("the journal {} cannot be opened: {source}", file.display())]
    Sqlite {
        /// The journal.
        file: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file could not be made or read, or its thread not started.
    #[error("the journal {} cannot be opened: {source}", file.display())]
    Io {
        /// The journal.
        file: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// The journal's thread has ended, because the journal was closed or because of a bug.
#[derive(Debug, thiserror::Error)]
#[error("the journal is closed")]
struct Gone;

fn holds_something(file: &Path) -> Result<bool, OpenError> {
    match fs::metadata(file) {
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(OpenError::Io {
            file: file.to_owned(),
            source,
        }),
    }
}

fn connect(file: &Path, key: &StoreKey) -> Result<Connection, OpenError> {
    make_private(file).map_err(|source| OpenError::Io {
        file: file.to_owned(),
        source,
    })?;
    let mut connection = Connection::open(file).map_err(|source| OpenError::Sqlite {
        file: file.to_owned(),
        source,
    })?;
    schema::prepare(&mut connection, file, key)?;
    Ok(connection)
}

/// Makes the file before SQLite does, since SQLite gives a log and its index the permissions of their database.
fn make_private(file: &Path) -> io::Result<()> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file)?;
    opened.set_permissions(Permissions::from_mode(0o600))?;
    opened.sync_all()?;
    match file.parent() {
        Some(dir) => fs::File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

const JOURNAL_FILE: &str = "journal.sqlite";
const KEY_FILE: &str = "store.key";
/// Commands that may wait: two full groups, so that the thread finds the next one when it returns from an fsync.
const QUEUE_LEN: usize = 2 * writer::GROUP_LEN;
