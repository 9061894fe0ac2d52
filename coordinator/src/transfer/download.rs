//! A blob on its way out, piece by piece from its file.
//!
//! One of them is in memory at a time, however large the blob is and however slowly it is read. Reading happens on a blocking thread that
//! is given back after each piece, so that readers who stall hold none.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use tokio::task::spawn_blocking;
use veilsum_common::blob::BlobRef;
use veilsum_common::limits::MODEL_PIECE_BYTES;
use veilsum_proto::pb;
use veilsum_secagg::Digest;

use crate::store::blobs::{Blobs, Error as BlobError};

/// The pieces of a blob from an offset on, each with its hash. None after the last one, or after an error.
pub struct Download(Option<Box<Reader>>);

type Piece = Result<pb::BlobChunk, BlobError>;

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
        Ok(Self(Some(Box::new(Reader {
            blobs: blobs.clone(),
            blob,
            file,
            offset,
            whole,
        }))))
    }

    /// The next piece.
    pub async fn next(&mut self) -> Option<Piece> {
        let mut reader = self.0.take()?;
        let read = move || {
            let piece = reader.piece();
            (reader, piece)
        };
        // Cancelled only when the process ends.
        let (reader, piece) = spawn_blocking(read).await.ok()?;
        if matches!(piece, Some(Ok(_))) {
            self.0 = Some(reader);
        }
        piece
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
        let len =
            usize::try_from(left).map_or(MODEL_PIECE_BYTES, |left| left.min(MODEL_PIECE_BYTES));
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
