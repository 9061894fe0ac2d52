//! Models that come over a link that breaks, or that are not what was announced.

use std::path::Path;
use std::sync::Arc;

use veilsum_common::RunId;
use veilsum_secagg::Digest;

use super::coordinator::{Coordinator, Download};
use crate::link::LinkError;
use crate::models::{ModelFault, Models};

const RUN: RunId = RunId::from_bytes([7; 16]);
/// The last piece is a short one.
const PIECES: usize = 6;
const PIECE_BYTES: usize = 100;

fn bytes() -> Vec<u8> {
    let len = PIECES * PIECE_BYTES - 1;
    (0_u8..251).cycle().take(len).collect()
}

fn coordinator(cuts: impl IntoIterator<Item = usize>) -> Arc<Coordinator> {
    let coordinator = Coordinator::default();
    *coordinator.download.lock().unwrap() = Some(Download {
        bytes: bytes(),
        piece_bytes: PIECE_BYTES,
        cuts: cuts.into_iter().collect(),
        offsets: Vec::new(),
    });
    Arc::new(coordinator)
}

fn offsets(coordinator: &Coordinator) -> Vec<u64> {
    let download = coordinator.download.lock().unwrap();
    download.as_ref().unwrap().offsets.clone()
}

async fn models(coordinator: &Arc<Coordinator>, dir: &Path) -> Models {
    Models::new(coordinator.serve().await, RUN, dir, 1 << 20)
}

/// The names of all files of models.
fn files(dir: &Path) -> Vec<String> {
    let dir = std::fs::read_dir(dir.join("models").join(RUN.to_string()));
    let names = dir.unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_download_that_is_cut_after_any_piece_goes_on_there_and_gives_the_same_file() {
    let digest = Digest::of_bulk(&bytes());
    for cut in 0..=PIECES {
        let (coordinator, dir) = (coordinator([cut]), tempfile::tempdir().unwrap());
        let model = models(&coordinator, dir.path()).await.get(digest).await;
        assert_eq!(std::fs::read(model.unwrap().path).unwrap(), bytes());
        assert_eq!(files(dir.path()), [digest.to_string()]);
        let goes_on = (cut * PIECE_BYTES).min(bytes().len()) as u64;
        assert_eq!(offsets(&coordinator), [0, goes_on]);
    }
}

#[tokio::test]
async fn a_download_that_is_cut_after_each_of_its_pieces_still_ends() {
    let (coordinator, dir) = (coordinator([1; PIECES]), tempfile::tempdir().unwrap());
    let models = models(&coordinator, dir.path()).await;
    models.get(Digest::of_bulk(&bytes())).await.unwrap();
    let expected: Vec<u64> = vec![0, 100, 200, 300, 400, 500, 599];
    assert_eq!(offsets(&coordinator), expected);
    // what is there is not asked for again
    models.get(Digest::of_bulk(&bytes())).await.unwrap();
    assert_eq!(offsets(&coordinator), expected);
}

#[tokio::test]
async fn bytes_of_another_hash_become_no_file_and_nothing_of_them_is_left() {
    let (coordinator, dir) = (coordinator([3]), tempfile::tempdir().unwrap());
    let models = models(&coordinator, dir.path()).await;
    let refused = models.get(Digest::of_bulk(b"another")).await.err().unwrap();
    let other = matches!(refused, ModelFault::Link(LinkError::Model { .. }));
    assert!(other, "{refused}");
    assert_eq!(files(dir.path()), [""; 0]);
}

#[tokio::test]
async fn a_file_that_was_damaged_meanwhile_is_fetched_again() {
    let (coordinator, dir) = (coordinator([]), tempfile::tempdir().unwrap());
    let models = models(&coordinator, dir.path()).await;
    let digest = Digest::of_bulk(&bytes());
    let path = models.get(digest).await.unwrap().path;
    std::fs::write(&path, &bytes()[1..]).unwrap();
    let again = models.get(digest).await.unwrap();
    assert_eq!(std::fs::read(again.path).unwrap(), bytes());
    assert_eq!(offsets(&coordinator), [0, 0]);
}

#[tokio::test]
async fn a_download_that_nobody_waits_for_any_more_leaves_nothing_behind() {
    let (coordinator, dir) = (
        coordinator([2, 0, 0, 0, 0, 0, 0]),
        tempfile::tempdir().unwrap(),
    );
    let models = models(&coordinator, dir.path()).await;
    let fetching = tokio::spawn(async move { models.get(Digest::of_bulk(&bytes())).await });
    while offsets(&coordinator).len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(files(dir.path()).len(), 1, "the pieces are somewhere");
    fetching.abort();
    assert!(fetching.await.is_err());
    assert_eq!(files(dir.path()), [""; 0]);
}
