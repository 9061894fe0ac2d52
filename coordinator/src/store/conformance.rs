//! What every journal does, written once; one line for each backend at the end.

use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use veilsum_common::{ids::RunId, limits::MAX_ENTRY_BYTES, time::Timestamp};

use super::{Entry, Error, Journal, StreamId, memory::MemoryJournal, sqlite::SqliteJournal};

/// A kind of journal, and how to stop and start the process around it.
trait Backend: Default {
    type Journal: Journal;

    async fn start(&self) -> Self::Journal;
    async fn stop(&self, journal: Self::Journal);

    async fn restart(&self, journal: Self::Journal) -> Self::Journal {
        self.stop(journal).await;
        self.start().await
    }
}

async fn what_was_appended_is_read_back(backend: impl Backend) {
    let journal = backend.start().await;
    let entries = [
        entry(b"first", Some("site-1")),
        entry(b"", None),
        entry(&[0xff; MAX_ENTRY_BYTES], None),
    ];
    journal.append(stream(1), 0, &entries[..2]).await.unwrap();
    journal.append(stream(1), 2, &entries[2..]).await.unwrap();
    assert_eq!(journal.read(stream(1), 0).await.unwrap(), entries);
    assert_eq!(journal.read(stream(1), 2).await.unwrap(), entries[2..]);
    assert_eq!(journal.read(stream(1), 3).await.unwrap(), []);
}

async fn a_stream_nobody_has_begun_is_empty(backend: impl Backend) {
    let journal = backend.start().await;
    assert_eq!(journal.read(stream(1), 0).await.unwrap(), []);
    assert_eq!(journal.open().await.unwrap(), []);
}

async fn whoever_reads_beyond_the_end_is_told(backend: impl Backend) {
    let journal = backend.start().await;
    journal
        .append(stream(1), 0, &[entry(b"only", None)])
        .await
        .unwrap();
    for (stream, from) in [(stream(1), 2), (stream(1), u64::MAX), (stream(2), 1)] {
        let error = journal.read(stream, from).await.unwrap_err();
        assert!(
            matches!(error, Error::NotFound { number, .. } if number == from),
            "{error:?}"
        );
    }
}

async fn an_append_elsewhere_than_at_the_end_conflicts_and_writes_nothing(backend: impl Backend) {
    let journal = backend.start().await;
    journal
        .append(stream(1), 0, &[entry(b"first", None)])
        .await
        .unwrap();
    for wrong in [0, 2, u64::MAX] {
        let error = journal
            .append(stream(1), wrong, &[entry(b"wrong", None)])
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Conflict { expected, found: 1, .. } if expected == wrong),
            "{error:?}"
        );
    }
    let error = journal
        .append(stream(2), 1, &[entry(b"wrong", None)])
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Conflict {
                expected: 1,
                found: 0,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        journal.read(stream(1), 0).await.unwrap(),
        [entry(b"first", None)]
    );
    assert_eq!(journal.open().await.unwrap(), [stream(1)]);
}

async fn of_two_appends_to_one_place_one_wins(backend: impl Backend) {
    let journal = backend.start().await;
    let (ours, theirs) = (
        [entry(b"ours", None)],
        [entry(b"theirs", None), entry(b"theirs too", None)],
    );
    let (first, second) = tokio::join!(
        journal.append(stream(1), 0, &ours),
        journal.append(stream(1), 0, &theirs)
    );
    let kept = journal.read(stream(1), 0).await.unwrap();
    match (first, second) {
        (Ok(()), Err(Error::Conflict { found: 1, .. })) => assert_eq!(kept, ours),
        (Err(Error::Conflict { found: 2, .. }), Ok(())) => assert_eq!(kept, theirs),
        other => panic!("both won or both lost: {other:?}"),
    }
}

async fn a_batch_is_written_whole_or_not_at_all(backend: impl Backend) {
    let journal = backend.start().await;
    let batch = [entry(b"good", None), entry(&[0; MAX_ENTRY_BYTES + 1], None)];
    let error = journal.append(stream(1), 0, &batch).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    assert_eq!(journal.read(stream(1), 0).await.unwrap(), []);
}

async fn an_empty_batch_begins_nothing(backend: impl Backend) {
    let journal = backend.start().await;
    journal.append(stream(1), 0, &[]).await.unwrap();
    assert_eq!(journal.open().await.unwrap(), []);
}

async fn many_streams_are_appended_to_at_once(backend: impl Backend) {
    let journal = backend.start().await;
    let appends: Vec<_> = (0..100)
        .map(|n| {
            let journal = journal.clone();
            tokio::spawn(async move {
                for number in 0..5 {
                    journal
                        .append(stream(n), number, &[entry(&number.to_le_bytes(), None)])
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for append in appends {
        append.await.unwrap();
    }
    let journal = backend.restart(journal).await;
    assert_eq!(journal.open().await.unwrap().len(), 100);
    for n in 0..100 {
        let expected: Vec<_> = (0..5_u64)
            .map(|number| entry(&number.to_le_bytes(), None))
            .collect();
        assert_eq!(journal.read(stream(n), 0).await.unwrap(), expected);
    }
}

async fn begun_streams_are_open_in_their_order(backend: impl Backend) {
    let journal = backend.start().await;
    let ordered = [
        StreamId::run(RunId::from_bytes([1; 16])),
        StreamId::run(RunId::from_bytes([2; 16])),
        StreamId::epoch(RunId::from_bytes([1; 16]), 2),
        StreamId::epoch(RunId::from_bytes([1; 16]), 10),
        StreamId::round(RunId::from_bytes([1; 16]), 2, 9),
        StreamId::round(RunId::from_bytes([1; 16]), 10, 1),
    ];
    for stream in ordered.iter().rev() {
        journal
            .append(*stream, 0, &[entry(b"begun", None)])
            .await
            .unwrap();
    }
    assert_eq!(journal.open().await.unwrap(), ordered);
}

async fn a_scrubbed_stream_is_closed_for_good(backend: impl Backend) {
    let journal = backend.start().await;
    for n in [1, 2] {
        journal
            .append(stream(n), 0, &[entry(b"secret", None)])
            .await
            .unwrap();
    }
    journal.scrub(stream(1)).await.unwrap();
    let journal = backend.restart(journal).await;
    journal.scrub(stream(1)).await.unwrap();
    assert_eq!(journal.open().await.unwrap(), [stream(2)]);
    assert!(matches!(
        journal.read(stream(1), 0).await,
        Err(Error::Scrubbed { .. })
    ));
    assert!(matches!(
        journal.append(stream(1), 1, &[entry(b"more", None)]).await,
        Err(Error::Scrubbed { .. })
    ));
    assert!(matches!(
        journal.append(stream(1), 0, &[entry(b"again", None)]).await,
        Err(Error::Scrubbed { .. })
    ));
    assert_eq!(
        journal.read(stream(2), 0).await.unwrap(),
        [entry(b"secret", None)]
    );
}

async fn a_stream_nobody_has_begun_cannot_be_scrubbed(backend: impl Backend) {
    let journal = backend.start().await;
    assert!(matches!(
        journal.scrub(stream(1)).await,
        Err(Error::NotFound { .. })
    ));
    journal
        .append(stream(1), 0, &[entry(b"first", None)])
        .await
        .unwrap();
}

async fn a_stream_goes_on_after_a_restart(backend: impl Backend) {
    let journal = backend.start().await;
    journal
        .append(stream(1), 0, &[entry(b"before", Some("site-1"))])
        .await
        .unwrap();
    let journal = backend.restart(journal).await;
    assert_eq!(journal.open().await.unwrap(), [stream(1)]);
    journal
        .append(stream(1), 1, &[entry(b"after", None)])
        .await
        .unwrap();
    let entries = [entry(b"before", Some("site-1")), entry(b"after", None)];
    assert_eq!(journal.read(stream(1), 0).await.unwrap(), entries);
}

macro_rules! conformance {
    ($($module:ident: $backend:ty;)+; $($test:ident)+) => { conformance!(@each [$($module: $backend;)+] [$($test)+]); };
    (@each [$($module:ident: $backend:ty;)+] $tests:tt) => { $(conformance!(@suite $module: $backend; $tests);)+ };
    (@suite $module:ident: $backend:ty; [$($test:ident)+]) => {
        mod $module {
            use super::*;
            $(#[tokio::test] async fn $test() { super::$test(<$backend>::default()).await })+
        }
    };
}

conformance! {
    memory: Memory;
    sqlite: Sqlite;
    ;
    what_was_appended_is_read_back
    a_stream_nobody_has_begun_is_empty
    whoever_reads_beyond_the_end_is_told
    an_append_elsewhere_than_at_the_end_conflicts_and_writes_nothing
    of_two_appends_to_one_place_one_wins
    a_batch_is_written_whole_or_not_at_all
    an_empty_batch_begins_nothing
    many_streams_are_appended_to_at_once
    begun_streams_are_open_in_their_order
    a_scrubbed_stream_is_closed_for_good
    a_stream_nobody_has_begun_cannot_be_scrubbed
    a_stream_goes_on_after_a_restart
}

/// Its process never stops: that is the one promise it does not make.
#[derive(Default)]
struct Memory(MemoryJournal);

impl Backend for Memory {
    type Journal = MemoryJournal;

    async fn start(&self) -> MemoryJournal {
        self.0.clone()
    }

    async fn stop(&self, _: MemoryJournal) {}
}

struct Sqlite(TempDir);

impl Default for Sqlite {
    fn default() -> Self {
        Self(TempDir::new().unwrap())
    }
}

impl Backend for Sqlite {
    type Journal = SqliteJournal;

    async fn start(&self) -> SqliteJournal {
        SqliteJournal::open_in(self.0.path(), entropy()).unwrap()
    }

    async fn stop(&self, journal: SqliteJournal) {
        journal.close().await;
    }
}

pub(super) fn stream(n: u8) -> StreamId {
    StreamId::run(RunId::from_bytes([n; 16]))
}

pub(super) fn entry(payload: &[u8], sender: Option<&str>) -> Entry {
    Entry {
        at: Timestamp(1_700_000_000_000),
        kind: "Tested".to_owned(),
        sender: sender.map(str::to_owned),
        payload: payload.to_vec(),
    }
}

/// Never the same bytes twice in one process, as long as a few tests draw from it.
pub(super) fn entropy() -> impl Fn(&mut [u8]) + Send + Sync + 'static {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    |bytes| {
        let drawn = DRAWN.fetch_add(1, Ordering::Relaxed);
        blake3::Hasher::new()
            .update(&drawn.to_le_bytes())
            .finalize_xof()
            .fill(bytes);
    }
}
