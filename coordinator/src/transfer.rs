//! Bytes in and out: a masked update from the stream into a staged blob, and models out.
//!
//! An upload is wholly in or wholly out: its chunks are hashed as they come and written to one blob of exactly the run's length;
//! only a whole, signed and durable upload becomes an event.

use std::io::Read as _;

use veilsum_common::blob::BlobRef;
use veilsum_common::limits::PIECE_BYTES;
use veilsum_proto::pb;
use veilsum_secagg::Digest;
use veilsum_secagg::params::Params;
use veilsum_secagg::participant::chunk_root;
use veilsum_secagg::ring::{check_packed, packed_len};

use crate::store::blobs::{BlobWriter, Blobs, Error as BlobError};

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
        let total_bytes = lens
            .iter()
            .map(|&len| packed_len(len, ring_bits) as u64)
            .sum();
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
        if piece.offset != expected {
            return Err(UploadError::Offset {
                expected,
                found: piece.offset,
            });
        }
        let (have_bytes, limit_bytes) = (piece.data.len(), PIECE_BYTES);
        if have_bytes > limit_bytes {
            return Err(UploadError::Piece {
                have_bytes,
                limit_bytes,
            });
        }
        if blake3::hash(&piece.data).as_bytes()[..] != piece.blake3[..] {
            return Err(UploadError::Damaged {
                offset: piece.offset,
            });
        }
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

    /// Ends the upload: gives the durable blob and the root over its chunks.
    ///
    /// # Errors
    /// [`UploadError::TooShort`], [`UploadError::Store`].
    pub fn finish(self) -> Result<(BlobRef, Digest), UploadError> {
        let short = UploadError::TooShort {
            have_bytes: self.writer.written_bytes() + self.chunk.len() as u64,
            need_bytes: self.total_bytes,
        };
        if !self.lens.is_empty() {
            return Err(short);
        }
        let root = chunk_root(&self.hashes).ok_or(short)?;
        Ok((self.writer.finish()?, root))
    }
}

/// The pieces of a blob from `offset` on, each with its hash.
///
/// # Errors
/// [`BlobError`] if the blob is gone or shorter than it was.
pub fn pieces(
    blobs: &Blobs,
    blob: &BlobRef,
    offset: u64,
) -> Result<impl Iterator<Item = Result<pb::BlobChunk, BlobError>> + Send + use<>, BlobError> {
    let whole = blobs.read(blob)?;
    let total_bytes = whole.len() as u64;
    let start = usize::try_from(offset)
        .unwrap_or(usize::MAX)
        .min(whole.len());
    let mut reader = std::io::Cursor::new(whole);
    reader.set_position(start as u64);
    let mut at = offset;
    Ok(std::iter::from_fn(move || {
        let mut data = vec![0; PIECE_BYTES];
        let count = reader.read(&mut data).unwrap_or(0);
        if count == 0 {
            return None;
        }
        data.truncate(count);
        let hash = blake3::hash(&data).as_bytes().to_vec();
        let piece = pb::BlobChunk {
            offset: at,
            data: data.into(),
            blake3: hash,
            total_bytes,
        };
        at += count as u64;
        Ok::<_, BlobError>(piece).into()
    }))
}
