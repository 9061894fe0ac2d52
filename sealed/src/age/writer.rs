//! Seals the plaintext of a payload in order, some chunks at a time, in constant memory.
//!
//! The length of the whole is known before the first byte, so every chunk knows from its position whether it is the last. A range of
//! whole chunks can be sealed apart from the rest ([`Chunks::range`]): the file writer does so with the first ones, which hold a header
//! that is known last. No position is ever sealed twice.

use std::io::Write;
use std::num::NonZeroUsize;

use veilsum_common::limits::SEALED_BATCH_CHUNKS;
use zeroize::Zeroize as _;

use super::payload::{CHUNK_BYTES, PayloadKey, Position, SEALED_CHUNK_BYTES, TAG_BYTES};
use super::{FileKey, NONCE_BYTES};
use crate::error::Error;
use crate::threads;

/// Consecutive chunks of one payload on their way out.
pub(crate) struct Chunks {
    key: PayloadKey,
    last_index: u64,
    /// An empty payload has one chunk all the same.
    empty: bool,
    /// Of the first chunk in `buffer`.
    index: u64,
    /// Plaintext that is still to come.
    left_bytes: u64,
    /// Chunks, each with room for its tag behind it; the last one may be under way.
    buffer: Vec<u8>,
    threads: NonZeroUsize,
}

impl Chunks {
    /// All chunks of a payload of `total_bytes`.
    pub(crate) fn new(file_key: &FileKey, nonce: &[u8; NONCE_BYTES], total_bytes: u64) -> Self {
        Self::range(file_key, nonce, total_bytes, 0, total_bytes)
    }

    /// Those of the plaintext from `start`, the border of a chunk, up to `end`, the border of a chunk or the end of all.
    pub(crate) fn range(
        file_key: &FileKey,
        nonce: &[u8; NONCE_BYTES],
        total_bytes: u64,
        start: u64,
        end: u64,
    ) -> Self {
        Self {
            key: PayloadKey::derive(file_key, nonce),
            last_index: last_index(total_bytes),
            empty: total_bytes == 0,
            index: start / CHUNK_BYTES as u64,
            left_bytes: end - start,
            buffer: Vec::new(),
            threads: threads::available(),
        }
    }

    /// On this many threads at most.
    #[cfg(test)]
    pub(crate) fn on_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// Takes the next bytes, of which there are not more than were announced.
    ///
    /// # Errors
    /// [`Error::Unwritten`].
    pub(crate) fn write(&mut self, out: &mut dyn Write, text: &[u8]) -> Result<(), Error> {
        self.left_bytes = self
            .left_bytes
            .checked_sub(text.len() as u64)
            .expect("no more bytes are written than were announced");
        let full_bytes = SEALED_BATCH_CHUNKS * self.threads.get() * SEALED_CHUNK_BYTES;
        if self.buffer.capacity() == 0 {
            // All of it at once: a vector that grows holds everything twice, and leaves plaintext behind.
            let need = sealed_bytes(self.left_bytes + text.len() as u64);
            let need = usize::try_from(need).unwrap_or(full_bytes);
            self.buffer.reserve_exact(need.min(full_bytes));
        }
        let mut rest = text;
        while !rest.is_empty() {
            if self.buffer.len() == full_bytes {
                self.flush(out)?;
            }
            let filled = self.buffer.len() % SEALED_CHUNK_BYTES;
            let (now, later) = rest.split_at(rest.len().min(CHUNK_BYTES - filled));
            self.buffer.extend_from_slice(now);
            if self.buffer.len() % SEALED_CHUNK_BYTES == CHUNK_BYTES {
                self.buffer.extend_from_slice(&[0; TAG_BYTES]);
            }
            rest = later;
        }
        Ok(())
    }

    /// Seals and writes what is left.
    ///
    /// # Errors
    /// [`Error::Unwritten`].
    pub(crate) fn finish(mut self, out: &mut dyn Write) -> Result<(), Error> {
        assert_eq!(self.left_bytes, 0, "all announced bytes were written");
        let part = !self.buffer.len().is_multiple_of(SEALED_CHUNK_BYTES);
        if part || self.empty {
            self.buffer.extend_from_slice(&[0; TAG_BYTES]);
        }
        self.flush(out)
    }

    fn flush(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        let chunks = self.buffer.chunks_mut(SEALED_CHUNK_BYTES);
        let chunks: Vec<_> = (self.index..).zip(chunks).collect();
        self.index += chunks.len() as u64;
        let (key, last_index) = (&self.key, self.last_index);
        threads::each(self.threads, chunks, |(index, chunk)| {
            let last = index == last_index;
            key.seal(Position { index, last }, chunk);
            Ok(())
        })?;
        out.write_all(&self.buffer).map_err(Error::Unwritten)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

/// Number of the last chunk of a payload.
pub(crate) fn last_index(total_bytes: u64) -> u64 {
    total_bytes.saturating_sub(1) / CHUNK_BYTES as u64
}

/// Length of the payload's chunks in the file.
pub(crate) fn sealed_bytes(total_bytes: u64) -> u64 {
    total_bytes + (last_index(total_bytes) + 1) * TAG_BYTES as u64
}
