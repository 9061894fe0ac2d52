//! What a journal reads from and writes to its tables, one function a request.
//!
//! A function here is given a connection or a transaction and knows nothing of groups, threads or failures: it either hands on what SQLite
//! says, or grants or refuses the request it was given.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, Transaction, params, types::Type};
use veilsum_common::time::Timestamp;
use veilsum_secagg::Digest;

use super::super::{
    Entry, Error, StreamId,
    chain::{self, GENESIS, Row},
};

/// What the store did with a request: it failed as a whole, or it refused or granted this one.
pub(super) type Outcome<T> = rusqlite::Result<Result<T, Error>>;

/// Writes `batch` behind the end of `stream`, if that is where `next` is.
///
/// Checks everything before the first change: a refusal must leave nothing behind in a transaction that others share.
pub(super) fn append(
    transaction: &Transaction<'_>,
    stream: StreamId,
    next: u64,
    batch: Vec<Entry>,
) -> Outcome<()> {
    let found = match end_of(transaction, stream)? {
        End::Open(head) => head,
        End::Scrubbed(_) => return Ok(Err(Error::Scrubbed { stream })),
    };
    if found != next {
        return Ok(Err(Error::Conflict {
            stream,
            expected: next,
            found,
        }));
    }
    let Some(mut previous) = digest_before(transaction, stream, next)? else {
        return Ok(Err(Error::Diverged {
            stream,
            number: next - 1,
        }));
    };
    let head = next + batch.len() as u64;
    transaction.execute(
        SET_HEAD,
        params![stream.to_string(), stream.kind(), head.cast_signed()],
    )?;
    let mut insert = transaction.prepare(INSERT_ENTRY)?;
    for (number, entry) in (next..).zip(batch) {
        let row = Row::link(stream, number, entry, &previous);
        insert.execute(params![
            stream.to_string(),
            row.number.cast_signed(),
            row.at.0.cast_signed(),
            row.kind,
            row.sender,
            row.payload,
            row.payload_digest.0,
            row.digest.0,
        ])?;
        previous = row.digest;
    }
    Ok(Ok(()))
}

/// Erases the payloads of `stream` and closes it.
pub(super) fn scrub(transaction: &Transaction<'_>, stream: StreamId) -> Outcome<()> {
    if transaction.execute(
        "UPDATE streams SET open = 0 WHERE stream = ?",
        [stream.to_string()],
    )? == 0
    {
        return Ok(Err(Error::NotFound { stream, number: 0 }));
    }
    transaction.execute(
        "UPDATE entries SET payload = NULL WHERE stream = ?",
        [stream.to_string()],
    )?;
    Ok(Ok(()))
}

/// The entries of `stream` from `from` on, verified.
pub(super) fn read(connection: &Connection, stream: StreamId, from: u64) -> Outcome<Vec<Row>> {
    let end = end_of(connection, stream)?;
    let (End::Open(head) | End::Scrubbed(head)) = end;
    if from > head {
        return Ok(Err(Error::NotFound {
            stream,
            number: from,
        }));
    }
    if let End::Scrubbed(_) = end {
        return Ok(Err(Error::Scrubbed { stream }));
    }
    let Some(previous) = digest_before(connection, stream, from)? else {
        return Ok(Err(Error::Diverged {
            stream,
            number: from - 1,
        }));
    };
    let mut select = connection.prepare(SELECT_ENTRIES)?;
    let rows = select
        .query_map(params![stream.to_string(), from.cast_signed()], row)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(chain::verify(stream, from, head, previous, &rows).map(|()| rows))
}

fn row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        number: row.get::<_, i64>(0)?.cast_unsigned(),
        at: Timestamp(row.get::<_, i64>(1)?.cast_unsigned()),
        kind: row.get(2)?,
        sender: row.get(3)?,
        payload: row.get(4)?,
        payload_digest: Digest(row.get(5)?),
        digest: Digest(row.get(6)?),
    })
}

/// The streams that are open, in order.
pub(super) fn open(connection: &Connection) -> rusqlite::Result<Vec<StreamId>> {
    let mut select = connection.prepare("SELECT stream FROM streams WHERE open = 1")?;
    let names = select.query_map([], |row| row.get::<_, String>(0))?;
    let mut streams = names
        .map(|name| {
            name?.parse().map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
            })
        })
        .collect::<rusqlite::Result<Vec<StreamId>>>()?;
    streams.sort();
    Ok(streams)
}

/// Where a stream ends: the number its next entry has, or would have.
enum End {
    Open(u64),
    Scrubbed(u64),
}

fn end_of(connection: &Connection, stream: StreamId) -> rusqlite::Result<End> {
    connection
        .query_row(
            "SELECT open, head FROM streams WHERE stream = ?",
            [stream.to_string()],
            |row| {
                let head = row.get::<_, i64>(1)?.cast_unsigned();
                Ok(if row.get(0)? {
                    End::Open(head)
                } else {
                    End::Scrubbed(head)
                })
            },
        )
        .optional()
        .map(|end| end.unwrap_or(End::Open(0)))
}

/// The digest of the entry before `number`; nothing if that entry should be there and is not.
fn digest_before(
    connection: &Connection,
    stream: StreamId,
    number: u64,
) -> rusqlite::Result<Option<Digest>> {
    let Some(before) = number.checked_sub(1) else {
        return Ok(Some(GENESIS));
    };
    connection
        .query_row(
            "SELECT digest FROM entries WHERE stream = ? AND number = ?",
            params![stream.to_string(), before.cast_signed()],
            |row| row.get(0).map(Digest),
        )
        .optional()
}

const SET_HEAD: &str = "INSERT INTO streams (stream, kind, open, head) VALUES (?, ?, 1, ?)
    ON CONFLICT (stream) DO UPDATE SET head = excluded.head";
const INSERT_ENTRY: &str =
    "INSERT INTO entries (stream, number, at_ms, kind, sender, payload, payload_digest, digest)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
const SELECT_ENTRIES: &str =
    "SELECT number, at_ms, kind, sender, payload, payload_digest, digest FROM entries
    WHERE stream = ? AND number >= ? ORDER BY number";
