use tempfile::TempDir;

use super::*;
use crate::store::{
    conformance::{entropy, entry, stream},
    seal::StoreKey,
    sqlite::{JOURNAL_FILE, connect},
};

fn writer() -> (TempDir, Writer) {
    let dir = TempDir::new().unwrap();
    let lock = DirLock::take(dir.path()).unwrap();
    let key = StoreKey::create(&dir.path().join("store.key"), entropy()).unwrap();
    let connection = connect(&dir.path().join(JOURNAL_FILE), &key).unwrap();
    (dir, Writer::new(connection, lock))
}

fn log_bytes(dir: &TempDir) -> u64 {
    std::fs::metadata(dir.path().join("journal.sqlite-wal"))
        .unwrap()
        .len()
}

/// What the writer answers to appends that wait together, each with its stream, first number and payload.
fn append(writer: &mut Writer, appends: &[(u8, u64, &[u8])]) -> Vec<Result<(), Error>> {
    let (commands, mut answers): (Vec<_>, Vec<_>) = appends
        .iter()
        .map(|&(n, next, payload)| {
            let (answer, answered) = oneshot::channel();
            (
                Command::Write(Write {
                    stream: stream(n),
                    change: Change::Append {
                        next,
                        batch: vec![entry(payload, None)],
                    },
                    answer,
                }),
                answered,
            )
        })
        .unzip();
    assert!(writer.serve(commands).is_none());
    answers
        .iter_mut()
        .map(|answered| answered.try_recv().unwrap())
        .collect()
}

fn streams(writer: &mut Writer) -> Vec<StreamId> {
    let (answer, mut answered) = oneshot::channel();
    writer.serve(vec![Command::Read(Read::OpenStreams { answer })]);
    answered.try_recv().unwrap().unwrap()
}

#[test]
fn a_refused_append_leaves_the_others_of_its_group_alone() {
    let (_dir, mut writer) = writer();
    let results = append(
        &mut writer,
        &[
            (1, 0, b"first"),
            (1, 0, b"too late"),
            (2, 5, b"too early"),
            (1, 1, b"second"),
            (3, 0, b"other"),
        ],
    );
    assert!(matches!(
        results[..],
        [
            Ok(()),
            Err(Error::Conflict { found: 1, .. }),
            Err(Error::Conflict { found: 0, .. }),
            Ok(()),
            Ok(())
        ]
    ));
    assert_eq!(streams(&mut writer), [stream(1), stream(3)]);
}

#[test]
fn a_group_shares_one_commit() {
    let (dir, mut writer) = writer();
    let before = log_bytes(&dir);
    append(
        &mut writer,
        &(0..100)
            .map(|n| (n, 0, b"payload".as_slice()))
            .collect::<Vec<_>>(),
    );
    assert_eq!(streams(&mut writer).len(), 100);
    assert!(
        log_bytes(&dir) - before < 100 * 4096,
        "each commit logs a page at least"
    );
}

#[test]
fn a_full_disk_fails_the_whole_group_and_passes() {
    let (_dir, mut writer) = writer();
    append(&mut writer, &[(1, 0, b"before")]).remove(0).unwrap();
    let pages = |writer: &Writer, limit: i64| {
        writer
            .connection
            .pragma_update(None, "max_page_count", limit)
            .unwrap()
    };
    pages(&writer, 1); // as many as there are
    let results = append(&mut writer, &[(2, 0, b"fits"), (3, 0, &[0; 60_000])]);
    assert!(
        matches!(
            results[..],
            [Err(Error::Unavailable(_)), Err(Error::Unavailable(_))]
        ),
        "{results:?}"
    );
    assert_eq!(streams(&mut writer), [stream(1)]);
    pages(&writer, 1 << 30);
    append(&mut writer, &[(3, 0, &[0; 60_000])])
        .remove(0)
        .unwrap();
    assert_eq!(streams(&mut writer), [stream(1), stream(3)]);
}

#[test]
fn the_log_does_not_grow_without_end() {
    let (dir, mut writer) = writer();
    for n in 0..200 {
        append(&mut writer, &[(n, 0, &[n; 60_000])])
            .remove(0)
            .unwrap();
    }
    let log = std::fs::metadata(dir.path().join("journal.sqlite-wal"))
        .unwrap()
        .len();
    assert!(
        log < 3 * LOG_BYTES as u64,
        "{log} bytes of log after 12 MB of entries"
    );
}
