use veilsum_common::blob::BlobRef;
use veilsum_common::ids::RunId;
use veilsum_common::time::Timestamp;
use veilsum_engine::round::{Event, Upload};
use veilsum_secagg::Digest;
use veilsum_secagg::keys::Signature;
use veilsum_secagg::message::SurvivorItem;

use super::*;
use crate::store::Entry;
use crate::store::blobs::Slot;
use crate::store::memory::MemoryJournal;

const RUN: RunId = RunId::from_bytes([7; 16]);

fn shared(dir: &std::path::Path) -> Shared<MemoryJournal> {
    Shared {
        journal: MemoryJournal::new(),
        blobs: Blobs::new(&dir.join("blobs")).unwrap(),
        uploads: Blobs::new(&dir.join("uploads")).unwrap(),
        runs_dir: dir.join("runs"),
        fatal: mpsc::channel(1).0,
    }
}

/// Where all of these lie: a sweep looks at what is named, not at where it is.
const SLOT: Slot = Slot {
    stream: StreamId::Round {
        run: RUN,
        epoch: 1,
        seq: 2,
    },
    index: 0,
};

fn staged(shared: &Shared<MemoryJournal>, bytes: &[u8]) -> BlobRef {
    let mut writer = shared.uploads.stage(bytes.len() as u64).unwrap();
    writer.write(bytes).unwrap();
    writer.finish_upload(&SLOT).unwrap()
}

fn entry(kind: &str, payload: Vec<u8>) -> Entry {
    Entry {
        at: Timestamp(1),
        kind: kind.to_owned(),
        sender: None,
        payload,
    }
}

fn uploaded(blob: BlobRef) -> Entry {
    let item = SurvivorItem {
        index: 0,
        upload_hash: Digest::ZERO,
        signature: Signature([0; 64]),
    };
    let event = Event::Uploaded(Box::new(Upload {
        item,
        metadata: Vec::new(),
        blob,
        at: Timestamp(1),
    }));
    entry(event.kind(), event.encode())
}

#[tokio::test]
async fn a_start_keeps_the_uploads_of_the_newest_attempt_and_every_model_and_removes_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let [late, old, current] = [
        &b"never journalled"[..],
        b"of an attempt that is over",
        b"in flight",
    ]
    .map(|bytes| staged(&shared, bytes));
    let model = shared.blobs.put(b"a model that nothing names").unwrap();
    for (seq, upload) in [(1, old), (2, current)] {
        let stream = StreamId::round(RUN, 1, seq);
        let entries = [entry("opened", Vec::new()), uploaded(upload)];
        shared.journal.append(stream, 0, &entries).await.unwrap();
    }
    sweep_uploads(&shared).await.unwrap();
    for gone in [late, old] {
        assert!(matches!(
            shared.uploads.read_upload(&SLOT, &gone),
            Err(BlobError::NotFound { .. })
        ));
    }
    assert_eq!(
        shared.uploads.read_upload(&SLOT, &current).unwrap(),
        b"in flight"
    );
    assert!(shared.blobs.read(&model).is_ok());
}

#[tokio::test]
async fn an_entry_that_does_not_decode_keeps_all_uploads_and_stops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let upload = staged(&shared, b"in flight");
    let stream = StreamId::round(RUN, 1, 1);
    let entries = [entry("opened", Vec::new()), entry("uploaded", vec![0xff])];
    shared.journal.append(stream, 0, &entries).await.unwrap();
    sweep_uploads(&shared).await.unwrap();
    assert!(shared.uploads.read_upload(&SLOT, &upload).is_ok());
}
