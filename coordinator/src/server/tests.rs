use veilsum_common::ids::RunId;
use veilsum_common::parts::Parts;
use veilsum_common::time::Timestamp;

use super::*;
use crate::store::Entry;
use crate::store::memory::MemoryJournal;
use crate::store::staging::Slot;

const RUN: RunId = RunId::from_bytes([7; 16]);

#[tokio::test]
async fn a_start_keeps_the_uploads_of_the_newest_attempt_and_every_model_and_removes_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared {
        journal: MemoryJournal::new(),
        blobs: Blobs::new(&dir.path().join("blobs")).unwrap(),
        uploads: Staging::new(&dir.path().join("uploads"), Seed::new([3; 32])).unwrap(),
        data_dir: dir.path().to_owned(),
        runs_dir: dir.path().join("runs"),
        fatal: mpsc::channel(1).0,
    };
    let [unknown, old, current] = [(9, 9), (1, 1), (1, 2)].map(|(epoch, seq)| Slot {
        stream: StreamId::round(RUN, epoch, seq),
        index: 0,
    });
    for slot in [unknown, old, current] {
        shared.uploads.upload(slot, Parts::new(1, 8, 8)).unwrap();
    }
    let model = shared.blobs.put(b"a model that nothing names").unwrap();
    for stream in [old.stream, current.stream] {
        let opened = Entry {
            at: Timestamp(1),
            kind: "opened".to_owned(),
            sender: None,
            payload: Vec::new(),
        };
        let begun = shared.journal.append(stream, 0, &[opened]).await;
        begun.unwrap();
    }
    sweep_uploads(&shared).await.unwrap();
    let left = |slot: Slot| {
        let path = dir.path().join("uploads").join(slot.stream.to_string());
        path.join("0").exists()
    };
    assert_eq!([unknown, old, current].map(left), [false, false, true]);
    assert!(shared.blobs.read(&model).is_ok());
}
