use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tempfile::TempDir;

use super::*;

fn blobs() -> (TempDir, Blobs) {
    let dir = TempDir::new().unwrap();
    let blobs = Blobs::new(&dir.path().join("blobs")).unwrap();
    (dir, blobs)
}

fn staged(blobs: &Blobs) -> usize {
    fs::read_dir(blobs.disk.root().join(STAGING))
        .unwrap()
        .count()
}

#[test]
fn a_blob_written_in_pieces_is_read_back() {
    let (_dir, blobs) = blobs();
    let mut writer = blobs.stage(11).unwrap();
    for piece in [b"hello".as_slice(), b"", b" world"] {
        writer.write(piece).unwrap();
    }
    assert_eq!(writer.written_bytes(), 11);
    let blob = writer.finish().unwrap();
    assert_eq!(blob, BlobRef::of(b"hello world"));
    assert_eq!(blobs.read(&blob).unwrap(), b"hello world");
    assert_eq!(
        io::read_to_string(blobs.open(&blob).unwrap()).unwrap(),
        "hello world"
    );
    assert_eq!(staged(&blobs), 0);
}

#[test]
fn a_blob_lies_on_its_shelf_readable_by_its_owner_alone() {
    let (_dir, blobs) = blobs();
    let blob = blobs.put(b"private").unwrap();
    let name = blob.digest.to_string();
    let path = blobs.disk.root().join(&name[..2]).join(&name);
    assert_eq!(
        fs::metadata(path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::metadata(blobs.disk.root())
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
}

#[test]
fn an_empty_blob_is_a_blob() {
    let (_dir, blobs) = blobs();
    let blob = blobs.put(b"").unwrap();
    assert_eq!(blobs.read(&blob).unwrap(), b"");
}

#[test]
fn more_or_less_than_was_declared_is_refused() {
    let (_dir, blobs) = blobs();
    let mut writer = blobs.stage(4).unwrap();
    let error = writer.write(b"12345").unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLong {
                declared_bytes: 4,
                found_bytes: 5
            }
        ),
        "{error:?}"
    );
    writer.write(b"123").unwrap();
    let error = writer.finish().unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooShort {
                declared_bytes: 4,
                found_bytes: 3
            }
        ),
        "{error:?}"
    );
    assert_eq!(staged(&blobs), 0);
    assert_eq!(blobs.sweep(&BTreeSet::new()).unwrap(), 0);
}

#[test]
fn the_same_bytes_are_one_blob_and_the_first_stays() {
    let (_dir, blobs) = blobs();
    let file = |blob: &BlobRef| fs::metadata(blobs.path(&blob.digest)).unwrap().ino();
    let first = blobs.put(b"same").unwrap();
    let before = file(&first);
    assert_eq!(blobs.put(b"same").unwrap(), first);
    assert_eq!(file(&first), before);
    assert_eq!(blobs.sweep(&BTreeSet::new()).unwrap(), 1);
}

#[test]
fn what_was_left_unfinished_is_gone_and_what_was_finished_is_not() {
    let (dir, blobs) = blobs();
    let blob = blobs.put(b"finished").unwrap();
    let dropped = blobs.stage(100).unwrap();
    drop(dropped);
    assert_eq!(staged(&blobs), 0);
    let mut killed = blobs.stage(100).unwrap();
    killed.write(b"cut short").unwrap();
    std::mem::forget(killed);
    assert_eq!(staged(&blobs), 1);
    let blobs = Blobs::new(&dir.path().join("blobs")).unwrap();
    assert_eq!(staged(&blobs), 0);
    assert_eq!(blobs.read(&blob).unwrap(), b"finished");
}

#[test]
fn damage_is_noticed() {
    let (_dir, blobs) = blobs();
    let blob = blobs.put(b"precious").unwrap();
    let path = blobs.path(&blob.digest);
    fs::write(&path, b"precioux").unwrap();
    let found = Digest::of_bulk(b"precioux");
    let error = blobs.read(&blob).unwrap_err();
    assert!(
        matches!(error, Error::Corrupt { expected, found: f } if expected == blob.digest && f == found),
        "{error:?}"
    );
    fs::write(&path, b"preciou").unwrap();
    let error = blobs.open(&blob).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Length {
                expected_bytes: 8,
                found_bytes: 7,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_removed_blob_is_not_found_and_may_be_removed_again() {
    let (_dir, blobs) = blobs();
    let blob = blobs.put(b"passing").unwrap();
    for _ in 0..2 {
        blobs.remove(&blob.digest).unwrap();
    }
    assert!(matches!(blobs.read(&blob), Err(Error::NotFound { .. })));
}

#[test]
fn a_sweep_takes_what_nothing_names_and_only_blobs() {
    let (_dir, blobs) = blobs();
    let (named, stray) = (blobs.put(b"named").unwrap(), blobs.put(b"stray").unwrap());
    let foreign = blobs.path(&stray.digest).with_file_name("README");
    fs::write(&foreign, "not ours").unwrap();
    let staging = blobs.stage(1).unwrap();
    assert_eq!(blobs.sweep(&BTreeSet::from([named.digest])).unwrap(), 1);
    assert_eq!(blobs.read(&named).unwrap(), b"named");
    assert!(matches!(blobs.read(&stray), Err(Error::NotFound { .. })));
    assert!(foreign.exists());
    drop(staging);
}

#[test]
fn a_blob_that_cannot_fit_is_refused_before_its_first_byte() {
    let (_dir, blobs) = blobs();
    let error = blobs.stage(1 << 62).err().expect("no disk has 4 EiB");
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert_eq!(staged(&blobs), 0);
}

#[test]
fn bytes_that_are_there_already_are_verified_and_replaced_if_they_are_damaged() {
    let (_dir, blobs) = blobs();
    let blob = blobs.put(b"precious").unwrap();
    for damage in [b"precioux".as_slice(), b"", b"precious and more"] {
        fs::write(blobs.path(&blob.digest), damage).unwrap();
        assert_eq!(blobs.put(b"precious").unwrap(), blob);
        assert_eq!(blobs.read(&blob).unwrap(), b"precious");
    }
    assert_eq!(staged(&blobs), 0);
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_promised_any_more() {
    let (_dir, blobs) = blobs();
    let before = blobs.put(b"before").unwrap();
    let broken = Blobs {
        disk: blobs.disk.failing(),
        ..blobs.clone()
    };
    let error = broken.put(b"lost").unwrap_err();
    assert!(matches!(error, Error::NotDurable { .. }), "{error:?}");
    // The kernel reports it once; a second sync would seem to succeed.
    let again = blobs.put(b"lost").unwrap_err();
    assert!(matches!(again, Error::NotDurable { .. }), "{again:?}");
    assert!(matches!(blobs.failed().await, Error::NotDurable { .. }));
    assert_eq!(blobs.read(&before).unwrap(), b"before");
}
