//! Reads any part of a payload, and nothing before the whole length is known to be the one that was sealed.
//!
//! A chunk in the middle says nothing of what follows it: a file that was cut behind it still opens there. Only the last chunk says
//! that it is the last. So it is opened first, and a [`Payload`] exists only afterwards.

use std::num::NonZeroUsize;

use veilsum_common::limits::SEALED_BATCH_CHUNKS;
use veilsum_common::model::{Source, Unread};
use zeroize::Zeroizing;

use super::payload::{CHUNK_BYTES, PayloadKey, Position, SEALED_CHUNK_BYTES, TAG_BYTES};
use super::{FileKey, NONCE_BYTES};
use crate::error::Error;
use crate::threads;

/// The plaintext of an age file, by position. Nothing of it is kept.
pub(crate) struct Payload<'a> {
    source: &'a dyn Source,
    key: PayloadKey,
    /// Of the first chunk in the file.
    start: u64,
    len_bytes: u64,
    last_index: u64,
    threads: NonZeroUsize,
}

impl<'a> Payload<'a> {
    /// The payload that begins at `start`, once its last chunk has proved its length.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the file was cut, [`Error::ChunkRejected`] if the last chunk was changed.
    pub(crate) fn open(
        source: &'a dyn Source,
        start: u64,
        file_key: &FileKey,
    ) -> Result<Self, Error> {
        let file_bytes = source.len_bytes();
        let mut nonce = [0; NONCE_BYTES];
        let first = start + NONCE_BYTES as u64;
        if first > file_bytes {
            return Err(Error::Truncated { file_bytes });
        }
        let read = source.read_exact_at(&mut nonce, start);
        read.map_err(Error::Unreadable)?;
        let sealed_bytes = file_bytes - first;
        let (last_index, len_bytes) =
            measured(sealed_bytes).ok_or(Error::Truncated { file_bytes })?;
        let payload = Self {
            source,
            key: PayloadKey::derive(file_key, &nonce),
            start: first,
            len_bytes,
            last_index,
            threads: threads::available(),
        };
        payload.prove_length(file_bytes).map(|()| payload)
    }

    /// On this many threads at most.
    pub(crate) fn on_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// Length of the plaintext.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Fills `out` with the plaintext from `offset` on.
    ///
    /// # Errors
    /// [`Error::ChunkRejected`], [`Error::Unreadable`]; or the plaintext is not that long.
    pub(crate) fn read(&self, out: &mut [u8], offset: u64) -> Result<(), Error> {
        self.read_through(out, offset, &mut Vec::new())
    }

    /// As [`Payload::read`], through a buffer for what is still encrypted: whoever reads on and on keeps it.
    pub(crate) fn read_through(
        &self,
        out: &mut [u8],
        offset: u64,
        sealed: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > self.len_bytes) {
            let file_bytes = self.source.len_bytes();
            return Err(Error::Truncated { file_bytes });
        }
        let batch_bytes = SEALED_BATCH_CHUNKS * self.threads.get() * CHUNK_BYTES;
        let (mut rest, mut at) = (out, offset);
        while !rest.is_empty() {
            // Batches end where chunks do, so that no chunk is opened twice.
            let within = usize_of(at % CHUNK_BYTES as u64);
            let count = rest.len().min(batch_bytes - within);
            let (now, later) = rest.split_at_mut(count);
            self.read_batch(now, at, sealed)?;
            (rest, at) = (later, at + count as u64);
        }
        Ok(())
    }

    fn read_batch(&self, out: &mut [u8], offset: u64, sealed: &mut Vec<u8>) -> Result<(), Error> {
        let first = offset / CHUNK_BYTES as u64;
        let final_byte = offset + out.len() as u64 - 1;
        let final_index = final_byte / CHUNK_BYTES as u64;
        let sealed_end = self.sealed_end(final_index);
        let sealed_start = first * SEALED_CHUNK_BYTES as u64;
        sealed.resize(usize_of(sealed_end - sealed_start), 0);
        let read = self.source.read_exact_at(sealed, self.start + sealed_start);
        read.map_err(Error::Unreadable)?;
        let mut pieces = Vec::new();
        let (mut rest, mut skip) = (out, usize_of(offset % CHUNK_BYTES as u64));
        for (index, chunk) in (first..).zip(sealed.chunks(SEALED_CHUNK_BYTES)) {
            let here = rest.len().min(chunk.len() - TAG_BYTES - skip);
            let (now, later) = rest.split_at_mut(here);
            pieces.push(Piece {
                index,
                sealed: chunk,
                skip,
                out: now,
            });
            (rest, skip) = (later, 0);
        }
        threads::each(self.threads, pieces, |piece| self.open_piece(piece))
    }

    fn open_piece(&self, piece: Piece<'_>) -> Result<(), Error> {
        let Piece {
            index,
            sealed,
            skip,
            out,
        } = piece;
        let at = self.position(index);
        let text_bytes = sealed.len() - TAG_BYTES;
        let opened = if out.len() == text_bytes {
            self.key.open(at, sealed, out)
        } else {
            let mut text = Zeroizing::new(vec![0; text_bytes]);
            let opened = self.key.open(at, sealed, &mut text);
            out.copy_from_slice(&text[skip..skip + out.len()]);
            opened
        };
        if opened {
            Ok(())
        } else {
            // What the cipher leaves behind when it fails, it does not say.
            out.fill(0);
            Err(Error::ChunkRejected { index })
        }
    }

    fn prove_length(&self, file_bytes: u64) -> Result<(), Error> {
        let start = self.last_index * SEALED_CHUNK_BYTES as u64;
        let end = self.sealed_end(self.last_index);
        let mut sealed = vec![0; usize_of(end - start)];
        let read = self.source.read_exact_at(&mut sealed, self.start + start);
        read.map_err(Error::Unreadable)?;
        let mut text = Zeroizing::new(vec![0; sealed.len() - TAG_BYTES]);
        let index = self.last_index;
        if self
            .key
            .open(Position { index, last: true }, &sealed, &mut text)
        {
            return Ok(());
        }
        // A chunk that is whole and says that others follow: the file ended later.
        if self
            .key
            .open(Position { index, last: false }, &sealed, &mut text)
        {
            return Err(Error::Truncated { file_bytes });
        }
        Err(Error::ChunkRejected { index })
    }

    fn position(&self, index: u64) -> Position {
        Position {
            index,
            last: index == self.last_index,
        }
    }

    /// Where the chunk `index` ends, counted from the first.
    fn sealed_end(&self, index: u64) -> u64 {
        if index == self.last_index {
            self.len_bytes + (index + 1) * TAG_BYTES as u64
        } else {
            (index + 1) * SEALED_CHUNK_BYTES as u64
        }
    }
}

impl Source for Payload<'_> {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> Result<(), Unread> {
        self.read(out, offset).map_err(Unread::from)
    }
}

/// A chunk, or what is wanted of it.
struct Piece<'a> {
    index: u64,
    sealed: &'a [u8],
    skip: usize,
    out: &'a mut [u8],
}

/// Number of the last chunk and length of the plaintext, of chunks that take so many bytes; none if no payload has that length.
fn measured(sealed_bytes: u64) -> Option<(u64, u64)> {
    let chunk = SEALED_CHUNK_BYTES as u64;
    let last_index = sealed_bytes.div_ceil(chunk).checked_sub(1)?;
    let last_bytes = sealed_bytes - last_index * chunk;
    let text = last_bytes.checked_sub(TAG_BYTES as u64)?;
    // Only an empty payload ends in an empty chunk.
    (text > 0 || last_index == 0).then(|| (last_index, last_index * CHUNK_BYTES as u64 + text))
}

/// For lengths within one batch.
fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a batch of chunks fits an address space")
}

#[cfg(test)]
mod tests;
