//! Bytes in and out: the parts of a masked update into a staged upload, and models out.
//!
//! A part is wholly in or wholly out: its chunks are hashed and written as they come, and it counts once all of them are there, have the
//! digest that its sender named, and are durable. What the trailer of the whole upload says is checked by `grpc/upload.rs`.

mod download;
mod queue;
mod turns;

use std::sync::Arc;

use veilsum_common::limits::PIECE_BYTES;
use veilsum_common::parts::part_digest;
use veilsum_proto::pb;
use veilsum_secagg::Digest;
use veilsum_secagg::checksum::{Checksum, Projections};

use crate::store::blobs::Error as BlobError;
use crate::store::staging::{Row, Upload};

#[cfg(test)]
mod tests;

pub use download::Download;
pub use queue::{Pace, PutOff, Queue, Transfer};
pub use turns::{NoTurn, Turn, Turns};

/// Why a piece of an upload was not taken. The part that it belongs to is void then; what is durable stays.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// There is no such part.
    #[error("a piece of part {part}, the upload has {count} parts")]
    NoPart {
        /// Which it says.
        part: u64,
        /// How many there are.
        count: u64,
    },
    /// The part is durable already.
    #[error("part {part} is here already; send the parts that are missing")]
    Known {
        /// Which.
        part: u64,
    },
    /// Pieces do not follow each other.
    #[error(
        "the next byte of part {part} is {expected}, the piece begins at {found} of part {found_part}"
    )]
    Offset {
        /// The part under way.
        part: u64,
        /// Its bytes so far.
        expected: u64,
        /// Whose piece it is.
        found_part: u64,
        /// Where the piece begins.
        found: u64,
    },
    /// More bytes than the part has.
    #[error("part {part} has {limit_bytes} bytes, and more came")]
    TooLong {
        /// Which.
        part: u64,
        /// Its length.
        limit_bytes: u64,
    },
    /// A part is not what its digest says.
    #[error(
        "part {part} does not have the digest it came with; it was damaged on the way, send it again"
    )]
    Damaged {
        /// Which.
        part: u64,
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
    #[error("the piece at byte {offset} of part {part} has no bytes")]
    Empty {
        /// Its part.
        part: u64,
        /// Where it would begin.
        offset: u64,
    },
    /// The trailer came too early.
    #[error("the trailer came while {missing} of {count} parts are missing")]
    Missing {
        /// Parts that are not durable.
        missing: u64,
        /// Parts of the upload.
        count: u64,
    },
    /// A chunk's padding is not zero.
    #[error(transparent)]
    Packing(#[from] veilsum_secagg::Fault),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] BlobError),
}

/// One site's upload while its pieces come: at most one part is under way, and one before it on its way to the disk.
pub struct Intake {
    upload: Arc<Upload>,
    projections: Projections,
    part: Option<Part>,
    /// The part that was handed out last: it may not be durable yet.
    full: Option<u64>,
}

/// A part whose bytes are all there and have the digest it came with; it counts once it is kept.
pub struct FullPart {
    upload: Arc<Upload>,
    number: u64,
    rows: Vec<Row>,
}

impl FullPart {
    /// Makes it durable, and tells which it is. Blocks. Nothing else may be written to it meanwhile.
    ///
    /// # Errors
    /// [`BlobError`].
    pub fn keep(self) -> Result<u64, BlobError> {
        self.upload.keep(self.number, &self.rows)?;
        Ok(self.number)
    }
}

/// A part under way.
struct Part {
    number: u64,
    /// The chunk that is being filled.
    next: u64,
    rows: Vec<Row>,
    chunk: Vec<u8>,
    taken_bytes: u64,
}

impl Intake {
    /// Goes on with what is there; `projections` are those of the attempt.
    pub fn new(upload: Arc<Upload>, projections: Projections) -> Self {
        Self {
            upload,
            projections,
            part: None,
            full: None,
        }
    }

    /// Takes the next piece; gives its part, if that was the last piece of it. It must be kept before the next one is given.
    ///
    /// # Errors
    /// [`UploadError`].
    pub fn piece(&mut self, piece: &pb::UploadPiece) -> Result<Option<FullPart>, UploadError> {
        let mut part = match self.part.take() {
            Some(part) => part,
            None => self.begin(piece.part)?,
        };
        check_piece(piece, &part)?;
        let mut rest = &piece.data[..];
        while !rest.is_empty() {
            rest = self.fill(&mut part, rest)?;
        }
        part.taken_bytes += piece.data.len() as u64;
        if part.next < self.upload.parts().chunks_of(part.number).end {
            self.part = Some(part);
            return Ok(None);
        }
        let hashes: Vec<Digest> = part.rows.iter().map(|row| row.hash).collect();
        if part_digest(&hashes).0[..] != piece.digest[..] {
            return Err(UploadError::Damaged { part: part.number });
        }
        self.full = Some(part.number);
        Ok(Some(FullPart {
            upload: Arc::clone(&self.upload),
            number: part.number,
            rows: part.rows,
        }))
    }

    /// The durable parts, as [`Upload::have`] has them.
    pub fn have(&self) -> Vec<u8> {
        self.upload.have()
    }

    /// The root over all chunks, which are all durable, and what they add to the books.
    ///
    /// # Errors
    /// [`UploadError::Missing`].
    pub fn whole(&self) -> Result<(Digest, Checksum), UploadError> {
        let count = self.upload.parts().count();
        let missing = || (0..count).filter(|part| !self.upload.has(*part)).count() as u64;
        self.upload.whole().ok_or_else(|| UploadError::Missing {
            missing: missing(),
            count,
        })
    }

    fn begin(&self, number: u64) -> Result<Part, UploadError> {
        let parts = self.upload.parts();
        let (part, count) = (number, parts.count());
        if number >= count {
            return Err(UploadError::NoPart { part, count });
        }
        if self.full == Some(number) || self.upload.has(number) {
            return Err(UploadError::Known { part });
        }
        Ok(Part {
            number,
            next: parts.chunks_of(number).start,
            rows: Vec::new(),
            // The first is as long as any; one that grew would take twice the room.
            chunk: Vec::with_capacity(parts.chunk_bytes(parts.chunks_of(number).start)),
            taken_bytes: 0,
        })
    }

    /// Fills the current chunk from `bytes`; a full one is hashed and written. Gives what is left.
    fn fill<'a>(&self, part: &mut Part, bytes: &'a [u8]) -> Result<&'a [u8], UploadError> {
        let parts = self.upload.parts();
        if part.next == parts.chunks_of(part.number).end {
            return Err(UploadError::TooLong {
                part: part.number,
                limit_bytes: parts.part_bytes(part.number),
            });
        }
        let need = parts.chunk_bytes(part.next);
        let (taken, rest) = bytes.split_at(bytes.len().min(need - part.chunk.len()));
        part.chunk.extend_from_slice(taken);
        if part.chunk.len() == need {
            let (chunk, count) = (part.next, parts.chunk_len(part.next));
            let (packed, bits) = (&part.chunk, parts.ring_bits());
            part.rows.push(Row {
                checksum: self.projections.of_packed(chunk, bits, count, packed)?,
                hash: Digest::of_bulk(packed),
            });
            self.upload.write(part.next, &part.chunk)?;
            part.chunk.clear();
            part.next += 1;
        }
        Ok(rest)
    }
}

/// A piece must follow the one before, and have bytes and not too many of them.
fn check_piece(piece: &pb::UploadPiece, part: &Part) -> Result<(), UploadError> {
    let (have_bytes, limit_bytes) = (piece.data.len(), PIECE_BYTES);
    if (piece.part, piece.offset) != (part.number, part.taken_bytes) {
        return Err(UploadError::Offset {
            part: part.number,
            expected: part.taken_bytes,
            found_part: piece.part,
            found: piece.offset,
        });
    }
    if have_bytes == 0 {
        return Err(UploadError::Empty {
            part: part.number,
            offset: piece.offset,
        });
    }
    if have_bytes > limit_bytes {
        return Err(UploadError::Piece {
            have_bytes,
            limit_bytes,
        });
    }
    Ok(())
}
