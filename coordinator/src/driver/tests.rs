use std::sync::atomic::{AtomicU32, Ordering};

use veilsum_common::blob::BlobRef;
use veilsum_common::ids::RunId;
use veilsum_common::run::RunSpec;
use veilsum_common::study::Study;
use veilsum_engine::run::{Event, Run, State};
use veilsum_engine::terms::Terms;
use veilsum_secagg::keys::{Identity, Seed};

use super::*;
use crate::store::memory::MemoryJournal;

/// A journal whose disk is full for the first appends.
#[derive(Clone)]
struct FullAtFirst {
    journal: MemoryJournal,
    refusals: Arc<AtomicU32>,
}

impl Journal for FullAtFirst {
    async fn append(&self, stream: StreamId, next: u64, batch: &[Entry]) -> Result<(), StoreError> {
        let left = self
            .refusals
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        match left {
            Ok(_) => Err(StoreError::Unavailable(Arc::new(std::io::Error::from(
                std::io::ErrorKind::StorageFull,
            )))),
            Err(_) => self.journal.append(stream, next, batch).await,
        }
    }

    async fn read(&self, stream: StreamId, from: u64) -> Result<Vec<Entry>, StoreError> {
        self.journal.read(stream, from).await
    }

    async fn open(&self) -> Result<Vec<StreamId>, StoreError> {
        self.journal.open().await
    }

    async fn scrub(&self, stream: StreamId) -> Result<(), StoreError> {
        self.journal.scrub(stream).await
    }
}

const RUN: RunId = RunId::from_bytes([7; 16]);

fn run() -> Run {
    let study = Study::parse(
        "schema = \"veilsum.study/v1\"\nname = \"test\"\n[rounds]\ncount = 1\ncohort = { min = 3, target = 3 }\n\
         [secagg]\nclip = { kind = \"element\", value = 1.0 }\nweight = { by = \"uniform\", max = 1 }\n\
         [model]\ninitial = \"m\"\n",
    );
    let header = br#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  "#;
    let length = u64::try_from(header.len()).unwrap().to_le_bytes();
    let model = [length.as_slice(), header, &[0; 8]].concat();
    let key = *Identity::from_seed(&Seed::new([1; 32])).public().as_bytes();
    let spec = RunSpec::from_study(&study.unwrap(), RUN, key, &model).unwrap();
    let rounds = spec.study().rounds();
    let terms = Terms {
        params: Arc::new(spec.params().clone()),
        rounds: rounds.count,
        target: rounds.cohort.target,
        join: rounds.join_timeout,
        report: rounds.report_timeout,
    };
    Run::open(terms, BlobRef::of(&model), Timestamp(1))
}

/// The end of a round is told once; lost, its stream would be erased before the run knew what it came to.
#[tokio::test]
async fn what_is_told_once_waits_until_the_disk_is_no_longer_full() {
    let journal = FullAtFirst {
        journal: MemoryJournal::new(),
        refusals: Arc::new(AtomicU32::new(1)),
    };
    let stream = StreamId::Run(RUN);
    let (handle, waiting) = prepare(run());
    let (fatal, mut failed) = mpsc::channel(1);
    waiting.start(
        Post {
            journal: journal.clone(),
            stream,
            next: 0,
            changed: watch::channel(0).0,
            fatal,
        },
        |_| {},
    );
    assert!(handle.insist(Event::Cancelled).await);
    assert_eq!(handle.read().state(), State::Cancelled);
    assert_eq!(journal.read(stream, 0).await.unwrap().len(), 1);
    assert!(handle.insist(Event::Cancelled).await, "it has it already");
    assert_eq!(journal.read(stream, 0).await.unwrap().len(), 1);
    assert!(failed.try_recv().is_err(), "a full disk ends nothing");
}
