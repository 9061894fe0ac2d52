//! A blob on its way out, piece by piece from its file.
//!
//! A stream holds one piece in memory, however large the blob is and however slowly it is read. Reading happens on a blocking thread that
//! is given back after each piece, so that readers who stall hold none.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;
use tokio_stream::Stream;
use veilsum_common::blob::BlobRef;
use veilsum_common::limits::PIECE_BYTES;
use veilsum_proto::pb;
use veilsum_secagg::Digest;

use crate::store::blobs::{Blobs, Error as BlobError};

/// The pieces of a blob from an offset on, each with its hash.
pub struct Download(State);

type Piece = Result<pb::BlobChunk, BlobError>;

enum State {
    Idle(Box<Reader>),
    Reading(JoinHandle<(Box<Reader>, Option<Piece>)>),
    Over,
}

impl Download {
    /// Opens `blob`; an `offset` beyond its end gives no pieces.
    ///
    /// # Errors
    /// [`BlobError`] if the blob is gone or has another length.
    pub fn open(blobs: &Blobs, blob: BlobRef, offset: u64) -> Result<Self, BlobError> {
        let (mut file, offset) = (blobs.open(&blob)?, offset.min(blob.len_bytes));
        file.seek(SeekFrom::Start(offset))
            .map_err(|source| BlobError::io(blobs, &blob, source))?;
        let whole = (offset == 0).then(blake3::Hasher::new);
        Ok(Self(State::Idle(Box::new(Reader {
            blobs: blobs.clone(),
            blob,
            file,
            offset,
            whole,
        }))))
    }
}

impl Stream for Download {
    type Item = Piece;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::mem::replace(&mut self.0, State::Over) {
                State::Over => return Poll::Ready(None),
                State::Idle(mut reader) => {
                    let read = move || {
                        let piece = reader.piece();
                        (reader, piece)
                    };
                    self.0 = State::Reading(tokio::task::spawn_blocking(read));
                }
                State::Reading(mut task) => {
                    let Poll::Ready(read) = Pin::new(&mut task).poll(context) else {
                        self.0 = State::Reading(task);
                        return Poll::Pending;
                    };
                    // Cancelled only when the process ends.
                    let Ok((reader, piece)) = read else {
                        return Poll::Ready(None);
                    };
                    if matches!(piece, Some(Ok(_))) {
                        self.0 = State::Idle(reader);
                    }
                    return Poll::Ready(piece);
                }
            }
        }
    }
}

struct Reader {
    blobs: Blobs,
    blob: BlobRef,
    file: File,
    offset: u64,
    /// Hash of all that was read, if that began at the first byte.
    whole: Option<blake3::Hasher>,
}

impl Reader {
    fn piece(&mut self) -> Option<Piece> {
        let left = self.blob.len_bytes - self.offset;
        let len = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        (len > 0).then(|| self.read(len))
    }

    fn read(&mut self, len: usize) -> Piece {
        let mut data = vec![0; len];
        self.file
            .read_exact(&mut data)
            .map_err(|source| BlobError::io(&self.blobs, &self.blob, source))?;
        let offset = self.offset;
        self.offset += data.len() as u64;
        self.check(&data)?;
        Ok(pb::BlobChunk {
            offset,
            blake3: blake3::hash(&data).as_bytes().to_vec(),
            data: data.into(),
            total_bytes: self.blob.len_bytes,
        })
    }

    /// The last piece of a damaged blob does not leave.
    fn check(&mut self, data: &[u8]) -> Result<(), BlobError> {
        let Some(whole) = &mut self.whole else {
            return Ok(());
        };
        whole.update(data);
        if self.offset < self.blob.len_bytes {
            return Ok(());
        }
        let (expected, found) = (self.blob.digest, Digest(*whole.finalize().as_bytes()));
        if found == expected {
            Ok(())
        } else {
            Err(BlobError::Corrupt { expected, found })
        }
    }
}
