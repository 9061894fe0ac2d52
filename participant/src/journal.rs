//! What a site must not forget, in one SQLite file: the events of its machines, and the secrets they
//! depend on.
//!
//! Sits under the driver, which is the only writer and calls it from a thread of its own: admit →
//! [`Journal::append`] (durable on return) → handle → outputs. An event goes to `entries` and stays
//! until its run is over; a secret that must be gone earlier goes to `vault` in the same transaction,
//! and the event only says that it was there. Deliberately absent: what an event means, retries, and
//! any cure for a failed write. After one the process stops, and starts by replaying.
//!
//! Source: protocol, section 14 (P0–P3, H1, H2).

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use veilsum_common::time::Timestamp;
use zeroize::Zeroizing;

use crate::keystore::StoreKey;

mod error;
mod file;
pub mod marker;
mod seal;
mod vault;

pub use error::{Damage, Error, Part};
use seal::Sealer;
/// What happens to a secret in the transaction of the events beside it. Putting erases what was there; erasing may repeat.
pub use veilsum_engine::vault::SecretOp as VaultOp;

/// The journal of a site, open. While it lives nobody else can open it.
pub struct Journal {
    db: Connection,
    sealer: Sealer,
    state: State,
    /// Held for its lock on the data directory, which the operating system drops with it.
    _lock: File,
}

/// Whether there is a journal in `dir`; opening one would make it.
pub fn exists(dir: &Path) -> bool {
    dir.join(FILE_NAME).exists()
}

/// One event of one stream. Its number is its place in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was accepted, by this site's clock.
    pub at: Timestamp,
    /// What kind of event, in the clear: it stays after the payload is gone.
    pub kind: String,
    /// The event; sealed on disk.
    pub payload: Vec<u8>,
}

impl Journal {
    /// Opens the journal in `dir`, making both when they do not exist.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it, [`Error::Schema`] for what this version cannot
    /// read, [`Error::WrongStoreKey`], and what the disk says.
    pub fn open(
        dir: &Path,
        store_key: StoreKey,
        entropy: impl FnMut(&mut [u8]) + Send + 'static,
    ) -> Result<Self, Error> {
        let lock = file::lock(dir)?;
        let path = dir.join(FILE_NAME);
        let mut sealer = Sealer::new(&store_key, Box::new(entropy));
        let mut db = file::connect(&path)?;
        if !file::is_known(&db, &path)? {
            file::create_schema(&mut db, &mut sealer)?;
        }
        file::check_key(&db, &sealer, &path)?;
        Ok(Self {
            db,
            sealer,
            state: State::Sound,
            _lock: lock,
        })
    }

    /// Appends events and changes secrets in one transaction, which is on disk on return.
    ///
    /// `next` is the number of the first entry, counted from zero. A secret that was erased or
    /// replaced is gone from every file of the journal on return, which makes such an append cost about
    /// as much as four others (measured: 1.1 against 0.26 ms, fsync 0.1 ms).
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::TooLong`] and [`Error::Forgotten`] change nothing. After any
    /// other error nothing is known about the disk: the journal is poisoned and the process must stop.
    pub fn append(
        &mut self,
        stream: &str,
        next: u64,
        entries: &[Entry],
        vault: &[VaultOp],
    ) -> Result<(), Error> {
        self.check_sound()?;
        check_lengths(stream, entries, vault)?;
        let appended = self.try_append(stream, next, entries, vault);
        self.poison_after(appended)
    }

    /// The entries of a stream in order; none when nobody has appended to it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when an entry is missing or changed, [`Error::Forgotten`], or what the disk says.
    pub fn read(&self, stream: &str) -> Result<Vec<Entry>, Error> {
        self.check_sound()?;
        let mut statement = self.db.prepare(
            "SELECT number, at_ms, kind, payload, sha, prev_sha FROM entries WHERE stream = ?1 ORDER BY number",
        )?;
        let mut rows = statement.query([stream])?;
        let mut entries = Vec::new();
        let mut prev_sha = GENESIS;
        while let Some(row) = rows.next()? {
            let number = u64::try_from(entries.len()).expect("entries of a stream fit in 64 bits");
            let (entry, sha) = self.entry(row, stream, number, &prev_sha)?;
            entries.push(entry);
            prev_sha = sha;
        }
        Ok(entries)
    }

    /// The secrets of a stream by name.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when one does not open, or what the disk says.
    pub fn vault(&self, stream: &str) -> Result<BTreeMap<String, Zeroizing<Vec<u8>>>, Error> {
        self.check_sound()?;
        vault::read(&self.db, &self.sealer, stream)
    }

    /// The streams that are not forgotten, which is what a start replays.
    ///
    /// # Errors
    /// What the disk says.
    pub fn streams(&self) -> Result<Vec<String>, Error> {
        self.check_sound()?;
        let mut statement = self.db.prepare(
            "SELECT DISTINCT stream FROM entries WHERE payload IS NOT NULL ORDER BY stream",
        )?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// Erases the payloads and secrets of a stream whose run is over. Times, kinds and hashes stay.
    ///
    /// The file is rewritten, which takes as long as copying it and as much memory as its size; a run
    /// is forgotten once. Forgetting again is no error.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn forget(&mut self, stream: &str) -> Result<(), Error> {
        self.check_sound()?;
        let forgotten = self.try_forget(stream);
        self.poison_after(forgotten)
    }

    fn try_append(
        &mut self,
        stream: &str,
        next: u64,
        entries: &[Entry],
        vault: &[VaultOp],
    ) -> Result<(), Error> {
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut prev_sha = check_head(&tx, stream, next)?;
        for (number, entry) in (next..).zip(entries) {
            prev_sha = insert(&tx, &mut self.sealer, stream, number, entry, &prev_sha)?;
        }
        let erased = vault::apply(&tx, &mut self.sealer, stream, vault)?;
        tx.commit()?;
        match erased {
            vault::Erased::Nothing => Ok(()),
            vault::Erased::Secrets => file::truncate_log(&self.db),
        }
    }

    fn try_forget(&mut self, stream: &str) -> Result<(), Error> {
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute(
            "UPDATE entries SET payload = NULL WHERE stream = ?1",
            [stream],
        )?;
        vault::clear(&tx, stream)?;
        tx.commit()?;
        // `secure_delete` misses copies that balancing a page left in its unused part; a rebuilt file has none.
        self.db.execute_batch("VACUUM")?;
        file::truncate_log(&self.db)
    }

    fn entry(
        &self,
        row: &rusqlite::Row<'_>,
        stream: &str,
        number: u64,
        prev_sha: &Sha,
    ) -> Result<(Entry, Sha), Error> {
        let corrupt = || Error::Corrupt {
            stream: stream.into(),
            what: Damage::Entry(number),
        };
        let at = Timestamp(row.get::<_, i64>(1)?.cast_unsigned());
        let kind: String = row.get(2)?;
        let Some(sealed) = row.get::<_, Option<Vec<u8>>>(3)? else {
            return Err(Error::Forgotten {
                stream: stream.into(),
            });
        };
        let sha = link(stream, number, at, &kind, &sealed, prev_sha);
        let intact = row.get::<_, i64>(0)? == number.cast_signed()
            && row.get::<_, Sha>(4)? == sha
            && row.get::<_, Sha>(5)? == *prev_sha;
        if !intact {
            return Err(corrupt());
        }
        let context = seal::Context::Entry {
            stream,
            number,
            at,
            kind: &kind,
        };
        let mut payload = self.sealer.open(context, &sealed).ok_or_else(corrupt)?;
        let payload = std::mem::take(&mut *payload);
        Ok((Entry { at, kind, payload }, sha))
    }

    fn check_sound(&self) -> Result<(), Error> {
        match self.state {
            State::Sound => Ok(()),
            State::Poisoned => Err(Error::Poisoned),
        }
    }

    /// A refusal leaves the disk as it was; after anything else nobody knows what it holds.
    fn poison_after(&mut self, outcome: Result<(), Error>) -> Result<(), Error> {
        match outcome {
            Ok(()) | Err(Error::Conflict { .. } | Error::Forgotten { .. }) => {}
            Err(_) => self.state = State::Poisoned,
        }
        outcome
    }
}

#[derive(Clone, Copy)]
enum State {
    Sound,
    Poisoned,
}

type Sha = [u8; 32];

/// Hash "before" the first entry of a stream.
const GENESIS: Sha = [0; 32];

/// The one file, beside its write-ahead log.
const FILE_NAME: &str = "journal.sqlite";

/// The longest payload: an event is at most one message as it came off the wire.
pub const MAX_PAYLOAD_BYTES: usize = veilsum_common::limits::MAX_MESSAGE_BYTES;

/// The longest secret: the round keys of 128 holders, both ways, take 8 KiB.
pub const MAX_SECRET_BYTES: usize = 64 << 10;

/// The longest name of a stream, a kind or a secret; a run's id has 30 bytes.
pub const MAX_NAME_BYTES: usize = 255;

fn check_lengths(stream: &str, entries: &[Entry], vault: &[VaultOp]) -> Result<(), Error> {
    let check = |what, len_bytes, limit_bytes| match len_bytes <= limit_bytes {
        true => Ok(()),
        false => Err(Error::TooLong {
            stream: stream.into(),
            what,
            len_bytes,
            limit_bytes,
        }),
    };
    check(Part::Name, stream.len(), MAX_NAME_BYTES)?;
    for Entry {
        at: _,
        kind,
        payload,
    } in entries
    {
        check(Part::Name, kind.len(), MAX_NAME_BYTES)?;
        check(Part::Payload, payload.len(), MAX_PAYLOAD_BYTES)?;
    }
    for op in vault {
        let (name, len) = match op {
            VaultOp::Put { name, secret } => (name, secret.len()),
            VaultOp::Erase { name } => (name, 0),
        };
        check(Part::Name, name.len(), MAX_NAME_BYTES)?;
        check(Part::Secret, len, MAX_SECRET_BYTES)?;
    }
    Ok(())
}

/// The hash that entry `next` follows, provided that the stream ends just before it.
fn check_head(tx: &Transaction<'_>, stream: &str, next: u64) -> Result<Sha, Error> {
    let head = tx
        .query_row(
            "SELECT number, sha, payload IS NULL FROM entries WHERE stream = ?1 ORDER BY number DESC LIMIT 1",
            [stream],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Sha>(1)?, row.get::<_, bool>(2)?)),
        )
        .optional()?;
    let (have, sha) = match head {
        None => (0, GENESIS),
        Some((_, _, true)) => {
            return Err(Error::Forgotten {
                stream: stream.into(),
            });
        }
        Some((number, sha, false)) => (number.cast_unsigned().saturating_add(1), sha),
    };
    match have == next {
        true => Ok(sha),
        false => Err(Error::Conflict {
            stream: stream.into(),
            have,
            next,
        }),
    }
}

fn insert(
    tx: &Transaction<'_>,
    sealer: &mut Sealer,
    stream: &str,
    number: u64,
    entry: &Entry,
    prev_sha: &Sha,
) -> Result<Sha, Error> {
    let Entry { at, kind, payload } = entry;
    let sealed = sealer.seal(
        seal::Context::Entry {
            stream,
            number,
            at: *at,
            kind,
        },
        payload,
    );
    let sha = link(stream, number, *at, kind, &sealed, prev_sha);
    tx.execute(
        "INSERT INTO entries (stream, number, at_ms, kind, payload, sha, prev_sha) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (stream, number.cast_signed(), at.0.cast_signed(), kind, &sealed, sha, prev_sha),
    )?;
    Ok(sha)
}

/// Hash of an entry and of all before it. Over the sealed payload: the hash of a plain one, which stays
/// when the payload goes, would be an oracle for guesses.
fn link(
    stream: &str,
    number: u64,
    at: Timestamp,
    kind: &str,
    sealed: &[u8],
    prev_sha: &Sha,
) -> Sha {
    let mut hasher = blake3::Hasher::new_derive_key("veilsum/v1/participant-journal/entry");
    hasher.update(prev_sha);
    hasher.update(&number.to_le_bytes());
    hasher.update(&at.0.to_le_bytes());
    seal::absorb(&mut hasher, stream.as_bytes());
    seal::absorb(&mut hasher, kind.as_bytes());
    seal::absorb(&mut hasher, sealed);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests;
