//! The tables of a journal, and the settings its durability rests on.
//!
//! `streams` and `entries` are the truth; `meta` says how they are laid out and under which key they are sealed. A layout that this code
//! does not know is refused, never guessed at.

use std::{path::Path, time::Duration};

use rusqlite::{
    Connection, ErrorCode, OptionalExtension, TransactionBehavior, params, types::Value,
};

use super::{super::seal::StoreKey, OpenError};

/// Makes `connection` fit for use. What exists is checked before anything is changed.
pub(super) fn prepare(
    connection: &mut Connection,
    file: &Path,
    key: &StoreKey,
) -> Result<(), OpenError> {
    let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotAJournal {
            file: file.to_owned(),
        },
        _ => OpenError::Sqlite {
            file: file.to_owned(),
            source,
        },
    };
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    let new = is_empty(connection).map_err(failed)?;
    if !new {
        match stored_meta(connection).map_err(failed)? {
            None => {
                return Err(OpenError::NotAJournal {
                    file: file.to_owned(),
                });
            }
            Some((found, _)) if found != SCHEMA => {
                return Err(OpenError::UnknownSchema {
                    file: file.to_owned(),
                    found,
                    known: SCHEMA,
                });
            }
            Some((_, key_check)) if key_check != key.check_value() => {
                return Err(OpenError::OtherKey {
                    file: file.to_owned(),
                });
            }
            Some(_) => {}
        }
    }
    for &(setting, wanted, answer) in SETTINGS {
        if set(connection, setting, wanted).map_err(failed)? != answer {
            return Err(OpenError::Setting {
                file: file.to_owned(),
                setting,
                wanted,
            });
        }
    }
    if new {
        create(connection, key).map_err(failed)
    } else {
        Ok(())
    }
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| {
        row.get(0)
    })
}

/// The layout and the key check that a file says it has; nothing if it has no such table.
fn stored_meta(connection: &Connection) -> rusqlite::Result<Option<(i64, Vec<u8>)>> {
    if !connection.table_exists(None, "meta")?
        || !connection.column_exists(None, "meta", "schema")?
    {
        return Ok(None);
    }
    // A later layout may keep its key check elsewhere; its number is all that is asked of it.
    let key_check = if connection.column_exists(None, "meta", "key_check")? {
        "key_check"
    } else {
        "x''"
    };
    connection
        .query_row(
            &format!("SELECT schema, {key_check} FROM meta"),
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
}

fn set(connection: &Connection, setting: &str, wanted: &str) -> rusqlite::Result<String> {
    connection.pragma_update(None, setting, wanted)?;
    connection.pragma_query_value(None, setting, |row| match row.get(0)? {
        Value::Integer(number) => Ok(number.to_string()),
        Value::Text(text) => Ok(text),
        Value::Null | Value::Real(_) | Value::Blob(_) => Ok(String::new()),
    })
}

fn create(connection: &mut Connection, key: &StoreKey) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    transaction.execute(
        "INSERT INTO meta (schema, key_check) VALUES (?, ?)",
        params![SCHEMA, key.check_value()],
    )?;
    transaction.commit()
}

const SCHEMA: i64 = 1;

/// Each stream with the number its next entry has, and each entry. Numbers and times are unsigned in the code and kept bit for bit.
const TABLES: &str = "
    CREATE TABLE meta (
        schema INTEGER NOT NULL,
        key_check BLOB NOT NULL
    ) STRICT;
    CREATE TABLE streams (
        stream TEXT NOT NULL PRIMARY KEY,
        kind TEXT NOT NULL,
        open INTEGER NOT NULL,
        head INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE entries (
        stream TEXT NOT NULL REFERENCES streams (stream),
        number INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        sender TEXT,
        payload BLOB,
        payload_digest BLOB NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (stream, number)
    ) STRICT;
";

/// Name, value, and what SQLite then answers. None is left to a default, which a build of SQLite may change.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", "2"), // NORMAL may lose the last commits in a power cut
    ("fullfsync", "ON", "1"),     // where fsync does not reach the disk otherwise (macOS)
    ("checkpoint_fullfsync", "ON", "1"),
    ("wal_autocheckpoint", "0", "0"), // SQLite swallows an error of its own checkpoint; ours is looked at
    ("secure_delete", "ON", "1"),     // a scrubbed payload is overwritten
    ("foreign_keys", "ON", "1"),
    ("trusted_schema", "OFF", "0"),
    ("temp_store", "MEMORY", "2"),
    ("mmap_size", "0", "0"), // an I/O error is an error code then, not a signal
];

/// How long to wait for somebody who looks into the file with another program.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
