use tempfile::TempDir;
use veilsum_common::blob::BlobRef;
use veilsum_common::limits::MODEL_PIECE_BYTES;

use super::*;
use crate::store::blobs::Blobs;

mod intake;

fn blobs() -> (TempDir, Blobs) {
    let dir = TempDir::new().unwrap();
    let blobs = Blobs::new(&dir.path().join("blobs")).unwrap();
    (dir, blobs)
}

/// Bytes that differ from place to place.
fn bytes(len: usize) -> Vec<u8> {
    (0u8..251).cycle().take(len).collect()
}

async fn download(blobs: &Blobs, blob: BlobRef, offset: u64) -> Vec<pb::BlobChunk> {
    let mut download = Download::open(blobs, blob, offset).unwrap();
    let mut pieces = Vec::new();
    while let Some(piece) = download.next().await {
        pieces.push(piece.unwrap());
    }
    pieces
}

#[tokio::test]
async fn a_blob_leaves_in_pieces_from_any_offset_on() {
    let (_dir, blobs) = blobs();
    let whole = bytes(2 * MODEL_PIECE_BYTES + 5);
    let blob = blobs.put(&whole).unwrap();
    for offset in [0, 1, MODEL_PIECE_BYTES, whole.len() - 1, whole.len()] {
        let pieces = download(&blobs, blob, offset as u64).await;
        let mut next = offset as u64;
        for piece in &pieces {
            assert_eq!(piece.offset, next);
            assert_eq!(piece.total_bytes, whole.len() as u64);
            assert_eq!(blake3::hash(&piece.data).as_bytes()[..], piece.blake3);
            assert!(!piece.data.is_empty() && piece.data.len() <= MODEL_PIECE_BYTES);
            next += piece.data.len() as u64;
        }
        let joined: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.data).collect();
        assert_eq!(joined, whole[offset..]);
    }
    assert!(download(&blobs, blob, u64::MAX).await.is_empty());
}

#[tokio::test]
async fn the_last_piece_of_a_damaged_blob_does_not_leave() {
    let (dir, blobs) = blobs();
    let mut whole = bytes(MODEL_PIECE_BYTES + 5);
    let blob = blobs.put(&whole).unwrap();
    whole[7] ^= 1;
    let name = blob.digest.to_string();
    let path = dir.path().join("blobs").join(&name[..2]).join(&name);
    std::fs::write(path, &whole).unwrap();
    let mut download = Download::open(&blobs, blob, 0).unwrap();
    download.next().await.unwrap().unwrap();
    let last = download.next().await.unwrap();
    assert!(matches!(last, Err(BlobError::Corrupt { .. })), "{last:?}");
    assert!(download.next().await.is_none());
}

/// A reader who stalls costs one piece, not a model: only what is asked for is read.
#[tokio::test]
async fn a_download_reads_no_further_than_it_is_asked() {
    let (dir, blobs) = blobs();
    let whole = bytes(4 * MODEL_PIECE_BYTES);
    let blob = blobs.put(&whole).unwrap();
    let mut download = Download::open(&blobs, blob, 0).unwrap();
    download.next().await.unwrap().unwrap();
    let name = blob.digest.to_string();
    let path = dir.path().join("blobs").join(&name[..2]).join(&name);
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(MODEL_PIECE_BYTES as u64).unwrap();
    let next = download.next().await.unwrap();
    assert!(matches!(next, Err(BlobError::Io { .. })), "{next:?}");
    assert!(download.next().await.is_none());
}
