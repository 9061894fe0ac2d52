use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const STREAM: &str = "run_a";
const LOG_NAME: &str = "journal.sqlite-wal";

fn key(byte: u8) -> StoreKey {
    StoreKey::from_bytes(Zeroizing::new([byte; 32]))
}

/// Nonces that count: no two alike, and the same in every run of a test.
fn counting() -> impl FnMut(&mut [u8]) + Send {
    let mut next = 0_u64;
    move |bytes| {
        next += 1;
        bytes.fill(0);
        bytes[..8].copy_from_slice(&next.to_le_bytes());
    }
}

fn open(dir: &Path) -> Journal {
    Journal::open(dir, key(1), counting()).unwrap()
}

fn entry(at: u64, payload: &[u8]) -> Entry {
    Entry {
        at: Timestamp(at),
        kind: "committed".into(),
        payload: payload.into(),
    }
}

fn put(name: &str, secret: &[u8]) -> VaultOp {
    VaultOp::Put {
        name: name.into(),
        secret: Zeroizing::new(secret.into()),
    }
}

fn erase(name: &str) -> VaultOp {
    VaultOp::Erase { name: name.into() }
}

fn secrets(journal: &Journal) -> Vec<(String, Vec<u8>)> {
    let vault = journal.vault(STREAM).unwrap();
    vault
        .into_iter()
        .map(|(name, secret)| (name, secret.to_vec()))
        .collect()
}

/// How often `needle` occurs in the bytes of all files of the directory.
fn occurrences(dir: &Path, needle: &[u8]) -> usize {
    let files = fs::read_dir(dir)
        .unwrap()
        .map(|file| fs::read(file.unwrap().path()).unwrap());
    files
        .map(|bytes| {
            bytes
                .windows(needle.len())
                .filter(|window| *window == needle)
                .count()
        })
        .sum()
}

/// The sealed form of a secret, less its nonce: what a search of the disk must not find.
fn sealed(journal: &Journal, name: &str) -> Vec<u8> {
    let sql = "SELECT sealed FROM vault WHERE stream = ?1 AND name = ?2";
    let blob: Vec<u8> = journal
        .db
        .query_row(sql, [STREAM, name], |row| row.get(0))
        .unwrap();
    blob[24..].to_vec()
}

#[test]
fn entries_come_back_in_order_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let written: Vec<_> = (0..5).map(|i| entry(1000 + i, &i.to_le_bytes())).collect();
    let mut journal = open(dir.path());
    journal.append(STREAM, 0, &written[..2], &[]).unwrap();
    journal.append("ledger", 0, &[entry(7, b"")], &[]).unwrap();
    journal.append(STREAM, 2, &written[2..], &[]).unwrap();
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(journal.read(STREAM).unwrap(), written);
    assert_eq!(journal.read("ledger").unwrap(), [entry(7, b"")]);
    assert_eq!(journal.streams().unwrap(), ["ledger", STREAM]);
}

/// What a power cut leaves: the files as they are on disk, opened somewhere else.
#[test]
fn what_was_appended_survives_a_crash_and_what_was_erased_does_not() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut journal = open(dir.path());
    let ops = [put("seed", &[1; 32]), put("holder", &[2; 32])];
    journal
        .append(STREAM, 0, &[entry(1, b"committed")], &ops)
        .unwrap();
    journal
        .append(STREAM, 1, &[entry(2, b"received")], &[erase("seed")])
        .unwrap();
    journal
        .append(STREAM, 2, &[entry(3, b"attested")], &[])
        .unwrap();
    for file in fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), image.path().join(file.file_name())).unwrap();
    }
    let crashed = open(image.path());
    assert_eq!(crashed.read(STREAM).unwrap(), journal.read(STREAM).unwrap());
    assert_eq!(secrets(&crashed), [("holder".into(), vec![2; 32])]);
}

#[test]
fn an_append_that_was_cut_short_is_gone_and_those_before_it_are_not() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut journal = open(dir.path());
    journal
        .append(STREAM, 0, &[entry(1, b"kept")], &[put("seed", b"kept")])
        .unwrap();
    let before = fs::metadata(dir.path().join(LOG_NAME)).unwrap().len();
    let ops = [put("holder", b"lost")];
    journal
        .append(STREAM, 1, &[entry(2, b"lost"), entry(3, b"lost")], &ops)
        .unwrap();
    let log = fs::read(dir.path().join(LOG_NAME)).unwrap();
    let cuts = [
        before,
        before + 1,
        before + 4096,
        u64::try_from(log.len()).unwrap() - 1,
    ];
    for cut in cuts.map(|cut| usize::try_from(cut).unwrap()) {
        fs::copy(dir.path().join(FILE_NAME), image.path().join(FILE_NAME)).unwrap();
        fs::write(image.path().join(LOG_NAME), &log[..cut]).unwrap();
        let crashed = open(image.path());
        assert_eq!(crashed.read(STREAM).unwrap(), [entry(1, b"kept")], "{cut}");
        assert_eq!(secrets(&crashed), [("seed".into(), b"kept".to_vec())]);
    }
}

#[test]
fn an_unknown_stream_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    assert_eq!(journal.read(STREAM).unwrap(), []);
    assert!(journal.vault(STREAM).unwrap().is_empty());
}

#[test]
fn the_largest_time_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal
        .append(STREAM, 0, &[entry(u64::MAX, b"x")], &[])
        .unwrap();
    assert_eq!(journal.read(STREAM).unwrap()[0].at, Timestamp(u64::MAX));
}

#[test]
fn a_wrong_number_is_a_conflict_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal.append(STREAM, 0, &[entry(1, b"a")], &[]).unwrap();
    for next in [0, 2, u64::MAX] {
        let refused = journal.append(STREAM, next, &[entry(2, b"b")], &[put("seed", b"s")]);
        assert!(matches!(refused, Err(Error::Conflict { have: 1, .. })));
    }
    assert_eq!(journal.read(STREAM).unwrap().len(), 1);
    assert!(secrets(&journal).is_empty());
    journal.append(STREAM, 1, &[entry(2, b"b")], &[]).unwrap();
}

#[test]
fn events_and_secrets_of_one_append_are_there_together() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal
        .append(
            STREAM,
            0,
            &[entry(1, b"a")],
            &[put("seed", b"s3cret"), put("holder", b"")],
        )
        .unwrap();
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(
        secrets(&journal),
        [
            ("holder".into(), vec![]),
            ("seed".into(), b"s3cret".to_vec())
        ]
    );
    assert_eq!(journal.read(STREAM).unwrap().len(), 1);
}

#[test]
fn the_last_of_several_changes_to_one_secret_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    let ops = [
        put("a", b"1"),
        erase("a"),
        put("b", b"1"),
        put("b", b"2"),
        put("c", b"1"),
        erase("c"),
        put("c", b"3"),
    ];
    journal.append(STREAM, 0, &[], &ops).unwrap();
    assert_eq!(
        secrets(&journal),
        [("b".into(), b"2".to_vec()), ("c".into(), b"3".to_vec())]
    );
}

#[test]
fn secrets_of_other_streams_survive_an_erasure() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal
        .append("run_b", 0, &[], &[put("seed", b"other")])
        .unwrap();
    journal
        .append(
            STREAM,
            0,
            &[],
            &[put("seed", b"mine"), put("holder", b"kept")],
        )
        .unwrap();
    journal
        .append(STREAM, 0, &[], &[erase("seed"), erase("never put")])
        .unwrap();
    assert_eq!(secrets(&journal), [("holder".into(), b"kept".to_vec())]);
    assert_eq!(journal.vault("run_b").unwrap()["seed"].as_slice(), b"other");
}

#[test]
fn neither_payloads_nor_secrets_are_on_disk_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    let (payload, secret) = ([0xa5; 64], [0x5a; 64]);
    journal
        .append(STREAM, 0, &[entry(1, &payload)], &[put("seed", &secret)])
        .unwrap();
    assert_eq!(occurrences(dir.path(), &payload[..16]), 0);
    assert_eq!(occurrences(dir.path(), &secret[..16]), 0);
    assert!(
        occurrences(dir.path(), &sealed(&journal, "seed")) > 0,
        "the search finds what is there"
    );
}

/// With `secure_delete` alone, SQLite leaves pieces of about one secret in a thousand in the unused part of a page;
/// this many, in sizes and an order that split, move and merge pages, are enough to see it.
#[test]
fn an_erased_secret_is_gone_from_every_file_even_in_its_sealed_form() {
    for seed in 1..=2 {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path());
        let (erased, live) = churn(&mut journal, seed);
        assert!(erased.len() > 500, "{}", erased.len());
        assert_eq!(traces(dir.path(), &erased), 0, "seed {seed}");
        assert!(
            traces(dir.path(), &live) >= live.len(),
            "the search finds what is there"
        );
        drop(journal);
        assert_eq!(traces(dir.path(), &erased), 0, "seed {seed}, closed");
    }
}

/// Puts, replaces and erases secrets at random; the sealed forms of those that went and of those that stay.
fn churn(journal: &mut Journal, seed: u64) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut random = seed;
    let mut draw = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut erased = Vec::new();
    for step in 0..200 {
        let before = all_sealed(journal);
        let ops: Vec<_> = (0..[1, 1, 5, 20][usize::try_from(draw(4)).unwrap()])
            .map(|_| {
                let name = format!("n{}", draw(60));
                let secret = vec![7; usize::try_from(draw(700)).unwrap()];
                if draw(100) < 55 {
                    put(&name, &secret)
                } else {
                    erase(&name)
                }
            })
            .collect();
        journal
            .append(STREAM, step, &[entry(step, &[1; 100])], &ops)
            .unwrap();
        let after = all_sealed(journal);
        erased.extend(before.into_iter().filter(|blob| !after.contains(blob)));
    }
    (erased, all_sealed(journal).into_iter().collect())
}

fn all_sealed(journal: &Journal) -> BTreeSet<Vec<u8>> {
    let mut statement = journal.db.prepare("SELECT sealed FROM vault").unwrap();
    let rows = statement
        .query_map([], |row| row.get::<_, Vec<u8>>(0))
        .unwrap();
    rows.map(|blob| blob.unwrap()[24..].to_vec()).collect()
}

/// How many 16-byte pieces of `blobs` are in the bytes of all files of the directory.
fn traces(dir: &Path, blobs: &[Vec<u8>]) -> usize {
    let pieces: BTreeSet<&[u8]> = blobs
        .iter()
        .flat_map(|blob| blob.chunks_exact(16))
        .collect();
    let files = fs::read_dir(dir)
        .unwrap()
        .map(|file| fs::read(file.unwrap().path()).unwrap());
    files
        .map(|bytes| {
            bytes
                .windows(16)
                .filter(|window| pieces.contains(window))
                .count()
        })
        .sum()
}

#[test]
fn a_replaced_secret_is_gone_as_an_erased_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal
        .append(STREAM, 0, &[], &[put("chain", &[1; 32])])
        .unwrap();
    let before = sealed(&journal, "chain");
    journal
        .append(STREAM, 0, &[], &[put("chain", &[2; 32])])
        .unwrap();
    assert_eq!(occurrences(dir.path(), &before[..32]), 0);
    assert_eq!(secrets(&journal), [("chain".into(), vec![2; 32])]);
}

#[test]
fn a_forgotten_stream_leaves_neither_payloads_nor_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    let entries: Vec<_> = (0..200).map(|i| entry(i, &[3; 300])).collect();
    journal
        .append(STREAM, 0, &entries, &[put("seed", &[4; 32])])
        .unwrap();
    journal
        .append("run_b", 0, &[entry(1, b"stays")], &[put("seed", b"stays")])
        .unwrap();
    let payloads: Vec<Vec<u8>> = {
        let mut statement = journal
            .db
            .prepare("SELECT payload FROM entries WHERE stream = ?1")
            .unwrap();
        let rows = statement.query_map([STREAM], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let seed = sealed(&journal, "seed");
    journal.forget(STREAM).unwrap();
    journal.forget(STREAM).unwrap();
    assert_eq!(occurrences(dir.path(), &seed), 0);
    for payload in payloads {
        assert_eq!(occurrences(dir.path(), &payload[24..56]), 0);
    }
    assert_eq!(journal.streams().unwrap(), ["run_b"]);
    assert!(journal.vault(STREAM).unwrap().is_empty());
    assert!(matches!(journal.read(STREAM), Err(Error::Forgotten { .. })));
    let refused = journal.append(STREAM, 200, &[entry(1, b"")], &[]);
    assert!(matches!(refused, Err(Error::Forgotten { .. })));
    assert_eq!(journal.read("run_b").unwrap(), [entry(1, b"stays")]);
}

#[test]
fn a_changed_entry_is_found() {
    let changes = [
        "UPDATE entries SET payload = zeroblob(length(payload)) WHERE number = 1",
        "UPDATE entries SET at_ms = at_ms + 1 WHERE number = 1",
        "UPDATE entries SET kind = 'received' WHERE number = 1",
        "UPDATE entries SET sha = zeroblob(32) WHERE number = 1",
        "UPDATE entries SET payload = (SELECT payload FROM entries WHERE number = 0) WHERE number = 1",
        "DELETE FROM entries WHERE number = 1",
    ];
    for change in changes {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path());
        let entries: Vec<_> = (0..3).map(|i| entry(i, b"event")).collect();
        journal.append(STREAM, 0, &entries, &[]).unwrap();
        journal.db.execute(change, []).unwrap();
        let error = journal.read(STREAM).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Corrupt {
                    what: Damage::Entry(1),
                    ..
                }
            ),
            "{change}: {error}"
        );
    }
}

#[test]
fn a_secret_moved_to_another_name_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal
        .append(STREAM, 0, &[], &[put("seed", b"1")])
        .unwrap();
    journal
        .db
        .execute("UPDATE vault SET name = 'holder'", [])
        .unwrap();
    assert!(matches!(
        journal.vault(STREAM),
        Err(Error::Corrupt {
            what: Damage::Secret,
            ..
        })
    ));
}

#[test]
fn a_data_directory_in_use_is_refused_until_it_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let error = Journal::open(dir.path(), key(1), counting()).err().unwrap();
    assert!(matches!(error, Error::InUse { .. }));
    assert!(error.to_string().contains("in use by another participant"));
    drop(journal);
    open(dir.path());
}

#[test]
fn another_store_key_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let error = Journal::open(dir.path(), key(2), counting()).err().unwrap();
    assert!(matches!(error, Error::WrongStoreKey { .. }));
    open(dir.path());
}

#[test]
fn another_schema_is_refused_and_left_alone() {
    let foreign = [
        "PRAGMA user_version = 2",
        "PRAGMA application_id = 1",
        "CREATE TABLE t (a)",
    ];
    for statement in foreign {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        if statement.starts_with("CREATE") {
            file::connect(&path)
                .unwrap()
                .execute_batch(statement)
                .unwrap();
        } else {
            open(dir.path()).db.execute_batch(statement).unwrap();
        }
        let error = Journal::open(dir.path(), key(1), counting()).err().unwrap();
        assert!(
            matches!(error, Error::Schema { known: 1, .. }),
            "{statement}: {error}"
        );
    }
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    fs::write(&path, b"garbage".repeat(1000)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let error = Journal::open(dir.path(), key(1), counting()).err().unwrap();
    assert!(matches!(error, Error::Unavailable(_)));
}

#[test]
fn every_file_is_for_its_owner_only() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let mut journal = open(&dir);
    journal.append(STREAM, 0, &[entry(1, b"a")], &[]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in fs::read_dir(&dir).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    drop(journal);
    for path in [dir.join(FILE_NAME), dir.clone()] {
        let own = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let error = Journal::open(&dir, key(1), counting()).err().unwrap();
        assert!(matches!(error, Error::Exposed { .. }));
        fs::set_permissions(&path, own).unwrap();
    }
    open(&dir);
}

#[test]
fn what_is_too_long_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    let long_name = "x".repeat(MAX_NAME_BYTES + 1);
    let payload = journal.append(STREAM, 0, &[entry(1, &vec![0; MAX_PAYLOAD_BYTES + 1])], &[]);
    assert!(matches!(
        payload,
        Err(Error::TooLong {
            what: Part::Payload,
            ..
        })
    ));
    let secret = journal.append(
        STREAM,
        0,
        &[],
        &[put("seed", &vec![0; MAX_SECRET_BYTES + 1])],
    );
    assert!(matches!(
        secret,
        Err(Error::TooLong {
            what: Part::Secret,
            ..
        })
    ));
    let name = journal.append(STREAM, 0, &[], &[erase(&long_name)]);
    assert!(matches!(
        name,
        Err(Error::TooLong {
            what: Part::Name,
            ..
        })
    ));
    let stream = journal.append(&long_name, 0, &[], &[]);
    assert!(matches!(
        stream,
        Err(Error::TooLong {
            what: Part::Name,
            ..
        })
    ));
    journal
        .append(
            STREAM,
            0,
            &[entry(1, &vec![0; MAX_PAYLOAD_BYTES])],
            &[put("seed", &vec![0; MAX_SECRET_BYTES])],
        )
        .unwrap();
}

#[test]
fn a_full_disk_poisons_the_journal_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal
        .append(STREAM, 0, &[entry(1, b"kept")], &[])
        .unwrap();
    journal
        .db
        .pragma_update_and_check(None, "max_page_count", 1, |_| Ok(()))
        .unwrap();
    let failed = journal.append(STREAM, 1, &[entry(2, &[0; 100_000])], &[]);
    assert!(matches!(failed, Err(Error::Unavailable(_))));
    journal
        .db
        .pragma_update_and_check(None, "max_page_count", 1 << 20, |_| Ok(()))
        .unwrap();
    check_poisoned(&mut journal);
    drop(journal);
    assert_eq!(open(dir.path()).read(STREAM).unwrap(), [entry(1, b"kept")]);
}

#[test]
fn a_commit_that_fails_poisons_the_journal_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    // A constraint that is judged at the commit and broken by every entry.
    journal
        .db
        .execute_batch(
            "PRAGMA foreign_keys = ON;
             CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
             CREATE TEMP TRIGGER breaks AFTER INSERT ON entries BEGIN INSERT INTO child VALUES (1); END;",
        )
        .unwrap();
    let failed = journal.append(STREAM, 0, &[entry(1, b"lost")], &[]);
    assert!(matches!(failed, Err(Error::Unavailable(_))));
    check_poisoned(&mut journal);
    drop(journal);
    assert_eq!(open(dir.path()).read(STREAM).unwrap(), []);
}

fn check_poisoned(journal: &mut Journal) {
    let again = journal.append(STREAM, 1, &[entry(2, b"x")], &[]);
    assert!(matches!(again, Err(Error::Poisoned)));
    assert!(matches!(journal.read(STREAM), Err(Error::Poisoned)));
    assert!(matches!(journal.vault(STREAM), Err(Error::Poisoned)));
    assert!(matches!(journal.streams(), Err(Error::Poisoned)));
    assert!(matches!(journal.forget(STREAM), Err(Error::Poisoned)));
}
