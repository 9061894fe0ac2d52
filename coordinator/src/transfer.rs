//! Bytes in and out: a masked update from the stream into a staged blob, and models out.
//!
//! An upload is wholly in or wholly out: its chunks are hashed as they come and written to one blob of exactly the run's length;
//! only a whole, signed and durable upload becomes an event. What its trailer says is checked in between, by `grpc/upload.rs`, so that
//! nothing is kept of an upload that nobody has signed.

mod download;
mod turns;

use veilsum_common::blob::BlobRef;
use veilsum_common::limits::PIECE_BYTES;
use veilsum_proto::pb;
use veilsum_secagg::Digest;
use veilsum_secagg::params::Params;
use veilsum_secagg::participant::chunk_root;
use veilsum_secagg::ring::{check_packed, packed_len};

use crate::store::blobs::{BlobWriter, Blobs, Error as BlobError, Slot};

#[cfg(test)]
mod tests;

pub use download::Download;
pub use turns::{NoTurn, Turn, Turns};

/// Why an upload was not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Pieces do not follow each other.
    #[error("the upload's next byte is {expected}, the piece begins at {found}")]
    Offset {
        /// Bytes so far.
        expected: u64,
        /// Where the piece begins.
        found: u64,
    },
    /// More bytes than the run's vectors have.
    #[error("the upload has more than the {limit_bytes} bytes of the run's vectors")]
    TooLong {
        /// Length of a packed vector.
        limit_bytes: u64,
    },
    /// Fewer bytes than the run's vectors have.
    #[error("the upload ended after {have_bytes} of {need_bytes} bytes")]
    TooShort {
        /// Bytes that came.
        have_bytes: u64,
        /// Length of a packed vector.
        need_bytes: u64,
    },
    /// A piece is not what its hash says.
    #[error(
        "the piece at byte {offset} does not have the BLAKE3 it came with; it was damaged on the way, send it again"
    )]
    Damaged {
        /// Where it begins.
        offset: u64,
    },
    /// A piece is longer than a piece may be.
    #[error("a piece of {have_bytes} bytes, at most {limit_bytes} are allowed")]
    Piece {
        /// Its length.
        have_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// A piece has no bytes: a stream of them would never end.
    #[error("the piece at byte {offset} has no bytes")]
    Empty {
        /// Where it would begin.
        offset: u64,
    },
    /// A chunk's padding is not zero.
    #[error(transparent)]
    Packing(#[from] veilsum_secagg::Fault),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] BlobError),
}

/// An upload on its way in.
pub struct Intake {
    writer: BlobWriter,
    ring_bits: u8,
    lens: Vec<u32>,
    hashes: Vec<Digest>,
    chunk: Vec<u8>,
    total_bytes: u64,
}

impl Intake {
    /// Reserves room for one packed vector of the run.
    ///
    /// # Errors
    /// [`UploadError::Store`], for instance when the disk is full.
    pub fn begin(params: &Params, blobs: &Blobs) -> Result<Self, UploadError> {
        let ring_bits = params.config().m;
        let mut lens: Vec<u32> = (0..params.chunks())
            .map(|chunk| params.chunk_len(chunk))
            .collect();
        let total_bytes = packed_bytes(params);
        lens.reverse();
        Ok(Self {
            writer: blobs.stage(total_bytes)?,
            ring_bits,
            lens,
            hashes: Vec::new(),
            chunk: Vec::new(),
            total_bytes,
        })
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// [`UploadError`]; the upload is void then.
    pub fn piece(&mut self, piece: &pb::UploadPiece) -> Result<(), UploadError> {
        let expected = self.writer.written_bytes() + self.chunk.len() as u64;
        check_piece(piece, expected)?;
        let mut rest = &piece.data[..];
        while !rest.is_empty() {
            rest = self.fill(rest)?;
        }
        Ok(())
    }

    /// Fills the current chunk from `bytes`; a full one is hashed and written. Gives what is left.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], UploadError> {
        let limit_bytes = self.total_bytes;
        let len = *self
            .lens
            .last()
            .ok_or(UploadError::TooLong { limit_bytes })?;
        let need = packed_len(len, self.ring_bits);
        let (taken, rest) = bytes.split_at(bytes.len().min(need - self.chunk.len()));
        self.chunk.extend_from_slice(taken);
        if self.chunk.len() == need {
            check_packed(&self.chunk, self.ring_bits, len)?;
            self.hashes.push(Digest::of_bulk(&self.chunk));
            self.writer.write(&self.chunk)?;
            self.chunk.clear();
            self.lens.pop();
        }
        Ok(rest)
    }

    /// Ends the pieces: gives what arrived, not durable yet, and the root over its chunks.
    ///
    /// # Errors
    /// [`UploadError::TooShort`].
    pub fn complete(self) -> Result<Arrived, UploadError> {
        let short = UploadError::TooShort {
            have_bytes: self.writer.written_bytes() + self.chunk.len() as u64,
            need_bytes: self.total_bytes,
        };
        if !self.lens.is_empty() {
            return Err(short);
        }
        let chunk_root = chunk_root(&self.hashes).ok_or(short)?;
        Ok(Arrived {
            writer: self.writer,
            chunk_root,
        })
    }
}

/// A whole upload that nobody has vouched for yet. Dropped, it leaves nothing behind.
pub struct Arrived {
    writer: BlobWriter,
    /// The root over the chunks that arrived.
    pub chunk_root: Digest,
}

impl Arrived {
    /// Makes it durable as an upload of `slot`; only for one whose trailer was checked against the chunk root.
    ///
    /// # Errors
    /// [`BlobError`].
    pub fn stage(self, slot: &Slot) -> Result<BlobRef, BlobError> {
        self.writer.finish_upload(slot)
    }
}

/// The pieces of an upload that is known already: counted, and thrown away.
pub struct Skipping {
    next: u64,
    total_bytes: u64,
}

impl Skipping {
    /// Expects one packed vector of the run.
    pub fn new(params: &Params) -> Self {
        let total_bytes = packed_bytes(params);
        Self {
            next: 0,
            total_bytes,
        }
    }

    /// Lets the next piece go by.
    ///
    /// # Errors
    /// As [`Intake::piece`].
    pub fn piece(&mut self, piece: &pb::UploadPiece) -> Result<(), UploadError> {
        check_piece(piece, self.next)?;
        self.next += piece.data.len() as u64;
        if self.next > self.total_bytes {
            return Err(UploadError::TooLong {
                limit_bytes: self.total_bytes,
            });
        }
        Ok(())
    }
}

fn packed_bytes(params: &Params) -> u64 {
    (0..params.chunks())
        .map(|chunk| packed_len(params.chunk_len(chunk), params.config().m) as u64)
        .sum()
}

/// A piece must follow the one before, have bytes and not too many of them, and be what its hash says.
fn check_piece(piece: &pb::UploadPiece, expected: u64) -> Result<(), UploadError> {
    let (have_bytes, limit_bytes) = (piece.data.len(), PIECE_BYTES);
    if piece.offset != expected {
        return Err(UploadError::Offset {
            expected,
            found: piece.offset,
        });
    }
    if have_bytes == 0 {
        return Err(UploadError::Empty { offset: expected });
    }
    if have_bytes > limit_bytes {
        return Err(UploadError::Piece {
            have_bytes,
            limit_bytes,
        });
    }
    if blake3::hash(&piece.data).as_bytes()[..] == piece.blake3[..] {
        Ok(())
    } else {
        Err(UploadError::Damaged { offset: expected })
    }
}
