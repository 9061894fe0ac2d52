use tempfile::TempDir;

use super::*;
use crate::store::conformance::{entropy, entry, stream};

fn open(dir: &Path) -> Result<SqliteJournal, OpenError> {
    SqliteJournal::open_in(dir, entropy())
}

fn refusal(dir: &Path) -> OpenError {
    open(dir).err().expect("this journal must not open")
}

/// A journal with two entries in stream 1, closed again.
async fn written() -> TempDir {
    let dir = TempDir::new().unwrap();
    let journal = open(dir.path()).unwrap();
    journal
        .append(
            stream(1),
            0,
            &[
                entry(b"a first payload", None),
                entry(b"a second payload", None),
            ],
        )
        .await
        .unwrap();
    journal.close().await;
    dir
}

/// Looks into the file, or tampers with it, as somebody with another program would.
fn outside(dir: &TempDir) -> Connection {
    Connection::open(dir.path().join(JOURNAL_FILE)).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn any_file_contains(dir: &TempDir, needle: &[u8]) -> bool {
    fs::read_dir(dir.path()).unwrap().any(|file| {
        fs::read(file.unwrap().path())
            .unwrap()
            .windows(needle.len())
            .any(|window| window == needle)
    })
}

#[tokio::test]
async fn a_second_process_is_kept_out_until_the_first_has_closed() {
    let dir = TempDir::new().unwrap();
    let journal = open(dir.path()).unwrap();
    let error = refusal(dir.path());
    assert!(
        error
            .to_string()
            .contains("already used by another process"),
        "{error}"
    );
    journal.close().await;
    open(dir.path()).unwrap();
}

#[tokio::test]
async fn after_closing_every_handle_fails() {
    let dir = TempDir::new().unwrap();
    let journal = open(dir.path()).unwrap();
    let other = journal.clone();
    journal.close().await;
    assert!(matches!(Journal::open(&other).await, Err(Error::Failed(_))));
    other.close().await;
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let dir = TempDir::new().unwrap();
    let dir_path = dir.path().join("data");
    let journal = open(&dir_path).unwrap();
    journal
        .append(stream(1), 0, &[entry(b"payload", None)])
        .await
        .unwrap();
    assert_eq!(mode(&dir_path), 0o700);
    let mut names = Vec::new();
    for file in fs::read_dir(&dir_path).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(
        names,
        [
            "journal.sqlite",
            "journal.sqlite-shm",
            "journal.sqlite-wal",
            "lock",
            "store.key"
        ]
    );
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_files_a_crash_would_leave() {
    let (dir, crashed) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let journal = open(dir.path()).unwrap();
    for number in 0..10 {
        journal
            .append(stream(1), number, &[entry(b"acknowledged", None)])
            .await
            .unwrap();
    }
    for name in ["journal.sqlite", "journal.sqlite-wal", "store.key"] {
        fs::copy(dir.path().join(name), crashed.path().join(name)).unwrap();
    }
    let replayed = open(crashed.path()).unwrap();
    assert_eq!(replayed.read(stream(1), 0).await.unwrap().len(), 10);
}

#[tokio::test]
async fn no_payload_reaches_the_disk_in_clear() {
    let dir = TempDir::new().unwrap();
    let journal = open(dir.path()).unwrap();
    journal
        .append(stream(1), 0, &[entry(b"a share of a seed", Some("site-1"))])
        .await
        .unwrap();
    assert!(any_file_contains(&dir, b"site-1"));
    assert!(!any_file_contains(&dir, b"a share of a seed"));
}

#[tokio::test]
async fn after_a_scrub_not_even_the_sealed_payload_is_on_the_disk() {
    let dir = written().await;
    let sealed: Vec<u8> = outside(&dir)
        .query_row("SELECT payload FROM entries WHERE number = 1", [], |row| {
            row.get(0)
        })
        .unwrap();
    let journal = open(dir.path()).unwrap();
    assert!(any_file_contains(&dir, &sealed));
    journal.scrub(stream(1)).await.unwrap();
    assert!(!any_file_contains(&dir, &sealed[..24]));
    assert!(!any_file_contains(&dir, &sealed[24..]));
    assert_eq!(
        fs::metadata(dir.path().join("journal.sqlite-wal"))
            .unwrap()
            .len(),
        0
    );
    journal.close().await;
    let rows: i64 = outside(&dir)
        .query_row("SELECT count(digest) FROM entries", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 2, "digests stay");
}

#[tokio::test]
async fn what_was_tampered_with_is_not_read() {
    let check = async |tampering: &str, expected: u64| {
        let dir = written().await;
        outside(&dir).execute_batch(tampering).unwrap();
        let journal = open(dir.path()).unwrap();
        let error = journal.read(stream(1), 0).await.unwrap_err();
        assert!(
            matches!(error, Error::Diverged { number, .. } if number == expected),
            "{tampering}: {error:?}"
        );
    };
    check("UPDATE entries SET at_ms = 0 WHERE number = 1", 1).await;
    check("UPDATE entries SET sender = 'site-2' WHERE number = 0", 0).await;
    check("UPDATE entries SET payload = x'00' WHERE number = 1", 1).await;
    check("UPDATE entries SET payload = NULL WHERE number = 1", 1).await;
    check("DELETE FROM entries WHERE number = 0", 0).await;
    check("DELETE FROM entries WHERE number = 1", 1).await;
    check("UPDATE streams SET head = 1", 1).await;
    check("UPDATE streams SET head = 3", 2).await;
}

#[tokio::test]
async fn a_stream_whose_last_entry_is_missing_takes_no_more() {
    let dir = written().await;
    outside(&dir)
        .execute_batch("DELETE FROM entries WHERE number = 1")
        .unwrap();
    let journal = open(dir.path()).unwrap();
    let error = journal
        .append(stream(1), 2, &[entry(b"third", None)])
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Diverged { number: 1, .. }),
        "{error:?}"
    );
    let error = journal.read(stream(1), 2).await.unwrap_err();
    assert!(
        matches!(error, Error::Diverged { number: 1, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn after_a_failure_of_the_store_nothing_is_accepted_any_more() {
    let dir = written().await;
    let journal = open(dir.path()).unwrap();
    outside(&dir)
        .execute_batch("ALTER TABLE entries RENAME TO elsewhere")
        .unwrap();
    let append =
        async |journal: &SqliteJournal| journal.append(stream(2), 0, &[entry(b"lost", None)]).await;
    assert!(matches!(append(&journal).await, Err(Error::Failed(_))));
    outside(&dir)
        .execute_batch("ALTER TABLE elsewhere RENAME TO entries")
        .unwrap();
    assert!(matches!(append(&journal).await, Err(Error::Failed(_))));
    assert!(matches!(
        journal.read(stream(1), 0).await,
        Err(Error::Failed(_))
    ));
    assert!(matches!(
        Journal::open(&journal).await,
        Err(Error::Failed(_))
    ));
    assert!(matches!(
        journal.scrub(stream(1)).await,
        Err(Error::Failed(_))
    ));
    journal.close().await;
    let journal = open(dir.path()).unwrap();
    assert_eq!(Journal::open(&journal).await.unwrap(), [stream(1)]);
}

#[tokio::test]
async fn a_layout_from_another_version_is_refused_and_left_alone() {
    let dir = written().await;
    outside(&dir).execute_batch("UPDATE meta SET schema = 9; ALTER TABLE meta DROP COLUMN key_check; PRAGMA journal_mode = DELETE").unwrap();
    let before = fs::read(dir.path().join(JOURNAL_FILE)).unwrap();
    let error = refusal(dir.path());
    assert!(
        matches!(
            error,
            OpenError::UnknownSchema {
                found: 9,
                known: 1,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(fs::read(dir.path().join(JOURNAL_FILE)).unwrap(), before);
}

#[tokio::test]
async fn a_journal_without_its_own_key_is_refused() {
    let (dir, other) = (written().await, written().await);
    fs::copy(other.path().join(KEY_FILE), dir.path().join(KEY_FILE)).unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::OtherKey { .. }));
    fs::remove_file(dir.path().join(KEY_FILE)).unwrap();
    assert!(matches!(
        refusal(dir.path()),
        OpenError::Key(KeyError::Missing { .. })
    ));
    assert!(
        !dir.path().join(KEY_FILE).exists(),
        "a new key would hide that the old one is missing"
    );
}

#[test]
fn a_file_that_is_no_journal_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(StoreKey::create(&dir.path().join(KEY_FILE), entropy()).unwrap());
    fs::write(dir.path().join(JOURNAL_FILE), [b'x'; 8192]).unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::NotAJournal { .. }));
    fs::remove_file(dir.path().join(JOURNAL_FILE)).unwrap();
    outside(&dir)
        .execute_batch("CREATE TABLE recipes (title TEXT)")
        .unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::NotAJournal { .. }));
}

#[test]
fn a_first_start_that_was_cut_short_is_repeated() {
    let dir = TempDir::new().unwrap();
    drop(StoreKey::create(&dir.path().join(KEY_FILE), entropy()).unwrap());
    fs::write(dir.path().join(JOURNAL_FILE), "").unwrap();
    open(dir.path()).unwrap();
}
