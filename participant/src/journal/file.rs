//! The file under the journal: its lock, its settings, its schema.
//!
//! Every setting that durability or erasure hangs on is made here and read back. Deliberately absent:
//! migrations. There is one schema, and another one is refused.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use veilsum_daemon::files::{self, Act, FileError};

use super::Error;
use super::seal::{Context, Sealer};

/// Makes the data directory if need be and takes it for this process.
pub(super) fn lock(dir: &Path) -> Result<File, Error> {
    let failed = |source| failed(Act::Read, dir, source);
    files::private_directory(dir)?;
    let lock = File::open(dir).map_err(failed)?;
    let mode = mode(&lock).map_err(failed)?;
    if mode & OTHERS_WRITE != 0 {
        return Err(Error::Exposed {
            path: dir.into(),
            mode,
        });
    }
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { dir: dir.into() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Opens the database with mode 0600 and every setting made and checked.
pub(super) fn connect(path: &Path) -> Result<Connection, Error> {
    touch(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    // First of all, so that the index of the log lives in this process's memory and nobody else gets in.
    set(&db, "locking_mode", "EXCLUSIVE", "exclusive")?;
    set(&db, "journal_mode", "WAL", "wal")?;
    set(&db, "secure_delete", "ON", "1")?;
    for (name, value) in SETTINGS {
        db.pragma_update(None, name, value)?;
    }
    Ok(db)
}

/// Whether the file holds a journal of ours, or nothing yet.
pub(super) fn is_known(db: &Connection, path: &Path) -> Result<bool, Error> {
    let number = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (program, schema) = (number("application_id")?, number("user_version")?);
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (program, schema, tables) {
        (0, 0, 0) => Ok(false),
        (APPLICATION_ID, SCHEMA, _) => Ok(true),
        _ => Err(Error::Schema {
            path: path.into(),
            found: schema,
            known: SCHEMA,
        }),
    }
}

/// Makes the tables, and a blob that only the same store key opens.
pub(super) fn create_schema(db: &mut Connection, sealer: &mut Sealer) -> Result<(), Error> {
    let check = sealer.seal(Context::KeyCheck, &[]);
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(TABLES)?;
    tx.execute(
        "INSERT INTO meta (name, value) VALUES ('key check', ?1)",
        [check],
    )?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", SCHEMA)?;
    Ok(tx.commit()?)
}

/// Refuses a store key that is not the one this journal was made with.
pub(super) fn check_key(db: &Connection, sealer: &Sealer, path: &Path) -> Result<(), Error> {
    let check: Vec<u8> = db.query_row(
        "SELECT value FROM meta WHERE name = 'key check'",
        [],
        |row| row.get(0),
    )?;
    match sealer.open(Context::KeyCheck, &check) {
        Some(_) => Ok(()),
        None => Err(Error::WrongStoreKey { path: path.into() }),
    }
}

/// Brings everything into the database file and cuts the write-ahead log to nothing.
///
/// The log holds every page as it was before, so a secret is gone only after this.
pub(super) fn truncate_log(db: &Connection) -> Result<(), Error> {
    let busy: i64 = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy == 0 {
        Ok(())
    } else {
        Err(Error::Lingering)
    }
}

/// Makes the file before SQLite does, so that there is no moment in which others may read it. SQLite
/// gives its log the permissions of its database.
fn touch(path: &Path) -> Result<(), Error> {
    let failed = |source| failed(Act::Write, path, source);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let mode = mode(&file).map_err(failed)?;
    match mode & OTHERS_ANY {
        0 => Ok(()),
        _ => Err(Error::Exposed {
            path: path.into(),
            mode,
        }),
    }
}

fn mode(file: &File) -> io::Result<u32> {
    Ok(file.metadata()?.permissions().mode() & 0o7777)
}

fn failed(act: Act, path: &Path, source: io::Error) -> Error {
    let path = path.into();
    FileError::Io { act, path, source }.into()
}

/// Makes a setting that answers, and refuses to go on when the answer is not the one asked for.
fn set(db: &Connection, name: &str, value: &str, expected: &str) -> Result<(), Error> {
    let answer = db.pragma_update_and_check(None, name, value, |row| {
        Ok(match row.get_ref(0)? {
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            other => other.as_str()?.to_owned(),
        })
    })?;
    if answer == expected {
        Ok(())
    } else {
        Err(rusqlite::Error::InvalidQuery.into())
    }
}

/// Settings that do not answer.
const SETTINGS: [(&str, &str); 6] = [
    // Every commit is on disk before it returns; NORMAL may lose the last ones.
    ("synchronous", "FULL"),
    // On Apple's systems fsync alone does not reach the disk. Elsewhere without effect.
    ("fullfsync", "ON"),
    ("checkpoint_fullfsync", "ON"),
    // No copy of a page in a temporary file elsewhere.
    ("temp_store", "MEMORY"),
    // Kibibytes, negative by SQLite's convention: an idle site stays small.
    ("cache_size", "-1024"),
    // Nothing in a schema that somebody has put there is run.
    ("trusted_schema", "OFF"),
];

const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TABLE entries (
        stream TEXT NOT NULL, number INTEGER NOT NULL, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,
        payload BLOB, sha BLOB NOT NULL, prev_sha BLOB NOT NULL, PRIMARY KEY (stream, number)
    ) STRICT;
    CREATE TABLE vault (
        stream TEXT NOT NULL, name TEXT NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (stream, name)
    ) STRICT;
";

/// `vsPJ`: a participant's journal, and not another program's database.
const APPLICATION_ID: i64 = 0x7673_504a;

/// Raised with every change that older programs cannot read.
const SCHEMA: i64 = 1;

const OTHERS_WRITE: u32 = 0o022;
const OTHERS_ANY: u32 = 0o077;
