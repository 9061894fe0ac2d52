//! The secrets of the journal, kept so that one of them can be erased for good.
//!
//! `secure_delete` zeroes a cell that is deleted, but not the copies which balancing a b-tree page
//! leaves in its unused part. So a change that erases clears the whole table, which zeroes every page
//! it ever had (those it gave up were zeroed then), and inserts again what stays. That costs little: a
//! site keeps a few dozen secrets. The caller then truncates the write-ahead log. What the file system
//! and the disk below it keep of overwritten blocks is out of reach; hence secrets are sealed as well.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction};
use zeroize::Zeroizing;

use super::seal::{Context, Sealer};
use super::{Damage, Error, VaultOp};

/// Whether a transaction erased something, so that the log has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Erased {
    Nothing,
    Secrets,
}

/// Does `ops`; of several with one name the last counts.
pub(super) fn apply(
    tx: &Transaction<'_>,
    sealer: &mut Sealer,
    stream: &str,
    ops: &[VaultOp],
) -> Result<Erased, Error> {
    let mut after = BTreeMap::new();
    for op in ops {
        match op {
            VaultOp::Put { name, secret } => after.insert(name.as_str(), Some(secret)),
            VaultOp::Erase { name } => after.insert(name.as_str(), None),
        };
    }
    if after.is_empty() {
        return Ok(Erased::Nothing);
    }
    let erased = rewrite_without(tx, |row| {
        row.stream == stream && after.contains_key(row.name.as_str())
    })?;
    for (name, secret) in after {
        let Some(secret) = secret else { continue };
        let sealed = sealer.seal(Context::Secret { stream, name }, secret);
        insert(tx, stream, name, &sealed)?;
    }
    Ok(erased)
}

/// Erases every secret of a stream.
pub(super) fn clear(tx: &Transaction<'_>, stream: &str) -> Result<Erased, Error> {
    rewrite_without(tx, |row| row.stream == stream)
}

pub(super) fn read(
    db: &Connection,
    sealer: &Sealer,
    stream: &str,
) -> Result<BTreeMap<String, Zeroizing<Vec<u8>>>, Error> {
    let mut secrets = BTreeMap::new();
    let mut statement = db.prepare("SELECT name, sealed FROM vault WHERE stream = ?1")?;
    let mut rows = statement.query([stream])?;
    while let Some(row) = rows.next()? {
        let (name, sealed): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let secret = sealer
            .open(
                Context::Secret {
                    stream,
                    name: &name,
                },
                &sealed,
            )
            .ok_or_else(|| Error::Corrupt {
                stream: stream.into(),
                what: Damage::Secret,
            })?;
        secrets.insert(name, secret);
    }
    Ok(secrets)
}

struct Row {
    stream: String,
    name: String,
    sealed: Vec<u8>,
}

fn rewrite_without(tx: &Transaction<'_>, goes: impl Fn(&Row) -> bool) -> Result<Erased, Error> {
    let mut statement = tx.prepare("SELECT stream, name, sealed FROM vault")?;
    let rows: Vec<Row> = statement
        .query_map([], |row| {
            Ok(Row {
                stream: row.get(0)?,
                name: row.get(1)?,
                sealed: row.get(2)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    if !rows.iter().any(&goes) {
        return Ok(Erased::Nothing);
    }
    // Without a condition SQLite clears the table page by page instead of row by row.
    tx.execute("DELETE FROM vault", [])?;
    for row in rows.iter().filter(|row| !goes(row)) {
        insert(tx, &row.stream, &row.name, &row.sealed)?;
    }
    Ok(Erased::Secrets)
}

fn insert(tx: &Transaction<'_>, stream: &str, name: &str, sealed: &[u8]) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO vault (stream, name, sealed) VALUES (?1, ?2, ?3)",
        (stream, name, sealed),
    )?;
    Ok(())
}
