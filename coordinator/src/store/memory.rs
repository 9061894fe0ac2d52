//! A journal that lives as long as the process: for tests, and for runs that are thrown away.
//!
//! Nothing in it is durable and nothing is sealed. Otherwise it behaves as every journal does, digests included.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Entry, Error, Journal, StreamId,
    chain::{self, GENESIS, Row},
    check_sizes,
};

/// A journal in memory; its clones share their entries.
#[derive(Clone, Default)]
pub struct MemoryJournal {
    streams: Arc<Mutex<BTreeMap<StreamId, Stream>>>,
}

#[derive(Default)]
struct Stream {
    rows: Vec<Row>,
    scrubbed: bool,
}

impl MemoryJournal {
    /// Makes an empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// No method leaves a stream half changed, so what a panicked thread left behind is still whole.
    fn streams(&self) -> MutexGuard<'_, BTreeMap<StreamId, Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    async fn append(&self, stream: StreamId, next: u64, batch: &[Entry]) -> Result<(), Error> {
        check_sizes(batch)?;
        if batch.is_empty() {
            return Ok(());
        }
        let mut streams = self.streams();
        let (found, scrubbed) = streams
            .get(&stream)
            .map_or((0, false), |kept| (kept.head(), kept.scrubbed));
        if scrubbed {
            return Err(Error::Scrubbed { stream });
        }
        if found != next {
            return Err(Error::Conflict {
                stream,
                expected: next,
                found,
            });
        }
        let kept = streams.entry(stream).or_default();
        for entry in batch {
            let previous = kept.rows.last().map_or(GENESIS, |row| row.digest);
            let row = Row::link(stream, kept.head(), entry.clone(), &previous);
            kept.rows.push(row);
        }
        Ok(())
    }

    async fn read(&self, stream: StreamId, from: u64) -> Result<Vec<Entry>, Error> {
        let streams = self.streams();
        let nothing = Stream::default();
        let kept = streams.get(&stream).unwrap_or(&nothing);
        let missing = Error::NotFound {
            stream,
            number: from,
        };
        let first = usize::try_from(from).map_err(|_| missing.clone())?;
        let rows = kept.rows.get(first..).ok_or(missing)?;
        if kept.scrubbed {
            return Err(Error::Scrubbed { stream });
        }
        let previous = first
            .checked_sub(1)
            .map_or(GENESIS, |before| kept.rows[before].digest);
        chain::verify(stream, from, kept.head(), previous, rows)?;
        Ok(rows.iter().filter_map(plain).collect())
    }

    async fn open(&self) -> Result<Vec<StreamId>, Error> {
        Ok(self
            .streams()
            .iter()
            .filter(|(_, kept)| !kept.scrubbed)
            .map(|(stream, _)| *stream)
            .collect())
    }

    async fn scrub(&self, stream: StreamId) -> Result<(), Error> {
        let mut streams = self.streams();
        let kept = streams
            .get_mut(&stream)
            .ok_or(Error::NotFound { stream, number: 0 })?;
        kept.scrubbed = true;
        for row in &mut kept.rows {
            row.payload = None;
        }
        Ok(())
    }
}

impl Stream {
    fn head(&self) -> u64 {
        self.rows.len() as u64
    }
}

fn plain(row: &Row) -> Option<Entry> {
    let payload = row.payload.clone()?;
    Some(Entry {
        at: row.at,
        kind: row.kind.clone(),
        sender: row.sender.clone(),
        payload,
    })
}
