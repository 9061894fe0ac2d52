use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use tempfile::TempDir;
use veilsum_common::limits::PART_CHUNKS;

use super::*;

/// Two parts, the second with one short chunk; packed elements of 19 bits.
fn parts() -> Parts {
    Parts::new(8 * PART_CHUNKS + 3, 8, 19)
}

fn staging() -> (TempDir, Staging) {
    let dir = TempDir::new().unwrap();
    let staging = Staging::new(&dir.path().join("uploads"), Seed::new([3; 32])).unwrap();
    (dir, staging)
}

fn slot(seq: u64, index: u32) -> Slot {
    let stream = StreamId::round(RunId::from_bytes([7; 16]), 1, seq);
    Slot { stream, index }
}

/// A chunk's bytes in these tests.
fn packed(chunk: u64) -> Vec<u8> {
    let fill = u8::try_from(chunk % 251).unwrap() + 1;
    let mut bytes = vec![fill; parts().chunk_bytes(chunk)];
    if chunk == PART_CHUNKS {
        *bytes.last_mut().unwrap() = 1; // the others of its bits are padding
    }
    bytes
}

/// Of a chunk of attempt 1.
fn row(chunk: u64) -> Row {
    row_in(slot(1, 0).stream, chunk)
}

fn row_in(stream: StreamId, chunk: u64) -> Row {
    let (books, count) = (
        projections(&Seed::new([3; 32]), stream),
        parts().chunk_len(chunk),
    );
    Row {
        hash: Digest::of_bulk(&packed(chunk)),
        checksum: books.of_packed(chunk, 19, count, &packed(chunk)).unwrap(),
    }
}

fn write(upload: &Upload, part: u64) {
    write_in(slot(1, 0).stream, upload, part);
}

fn write_in(stream: StreamId, upload: &Upload, part: u64) {
    let chunks = parts().chunks_of(part);
    let rows = chunks.map(|chunk| {
        upload.write(chunk, &packed(chunk)).unwrap();
        row_in(stream, chunk)
    });
    upload.keep(part, &rows.collect::<Vec<_>>()).unwrap();
}

fn root(upload: &Upload) -> Option<Digest> {
    upload.whole().map(|(root, _)| root)
}

/// The directory as another process finds it.
fn restarted(dir: &TempDir) -> Staging {
    Staging::new(&dir.path().join("uploads"), Seed::new([3; 32])).unwrap()
}

#[test]
fn parts_come_in_any_order_and_the_root_is_over_all_chunks() {
    let (dir, staging) = staging();
    let upload = staging.upload(slot(1, 0), parts()).unwrap();
    assert_eq!((upload.have(), upload.whole()), (vec![0b00], None));
    write(&upload, 1);
    assert_eq!((upload.have(), upload.whole()), (vec![0b10], None));
    write(&upload, 0);
    assert_eq!(upload.have(), [0b11]);
    let hashes: Vec<Digest> = (0..parts().chunks())
        .map(|chunk| Digest::of_bulk(&packed(chunk)))
        .collect();
    let mut checksum = Checksum::default();
    (0..parts().chunks()).for_each(|chunk| checksum += &row(chunk).checksum);
    let expected = (chunk_root(&hashes).unwrap(), checksum);
    assert_eq!(upload.whole(), Some(expected));
    let again = restarted(&dir).upload(slot(1, 0), parts()).unwrap();
    assert_eq!(again.whole(), Some(expected), "and so after a restart");
}

#[test]
fn a_partial_is_read_by_the_digests_of_its_parts_and_by_no_others() {
    let (_dir, staging) = staging();
    let stream = slot(1, 0).stream;
    for part in 0..2 {
        write(&staging.partial(stream, 3, parts(), part).unwrap(), part);
    }
    let hashes: Vec<Digest> = (0..parts().chunks()).map(|chunk| row(chunk).hash).collect();
    let digests = [0, 1].map(|part| {
        let chunks = parts().chunks_of(part);
        part_digest(&hashes[place(chunks.start)..place(chunks.end)])
    });
    let folded = staging.folded(stream, 3, parts(), &digests).unwrap();
    let mut bytes = Vec::new();
    for chunk in 0..parts().chunks() {
        let checksum = folded.chunk(chunk, &mut bytes).unwrap();
        assert_eq!((checksum, &bytes), (&row(chunk).checksum, &packed(chunk)));
    }
    for (batch, digests) in [(2, digests), (3, [digests[0]; 2])] {
        assert!(staging.folded(stream, batch, parts(), &digests).is_err());
    }
}

#[test]
fn a_part_that_is_let_go_gives_its_bytes_back_and_no_others() {
    // whole pages, as the chunks of a study are
    let parts = Parts::new((PART_CHUNKS + 1) << 12, 1 << 12, 16);
    let (_dir, staging) = staging();
    let upload = staging.upload(slot(1, 0), parts).unwrap();
    for chunk in 0..parts.chunks() {
        upload
            .write(chunk, &vec![1; parts.chunk_bytes(chunk)])
            .unwrap();
    }
    upload.file.sync_all().unwrap();
    let blocks = || upload.file.metadata().unwrap().blocks();
    let (before, bytes) = (blocks(), parts.part_bytes(0));
    staging.let_go(&slot(1, 0), parts, 0).unwrap();
    assert!(before - blocks() >= bytes / 512, "{before} {}", blocks());
    let mut chunk = vec![0; parts.chunk_bytes(PART_CHUNKS)];
    let offset = parts.chunk_at(PART_CHUNKS);
    upload.file.read_exact_at(&mut chunk, offset).unwrap();
    assert!(chunk.iter().all(|byte| *byte == 1));
}

#[test]
fn an_accepted_upload_is_read_chunk_by_chunk_by_its_root() {
    let (_dir, staging) = staging();
    let upload = staging.upload(slot(1, 0), parts()).unwrap();
    (0..2).for_each(|part| write(&upload, part));
    let root = root(&upload).unwrap();
    let staged = staging.staged(&slot(1, 0), parts(), &root).unwrap();
    let mut bytes = Vec::new();
    for chunk in (0..parts().chunks()).rev() {
        staged.chunk(chunk, &mut bytes).unwrap();
        assert_eq!(bytes, packed(chunk));
    }
    let other = staging.staged(&slot(1, 0), parts(), &Digest::ZERO);
    assert!(matches!(other, Err(Error::Corrupt { .. })));
    let none = staging.staged(&slot(1, 1), parts(), &root);
    assert!(matches!(none, Err(Error::NotFound { .. })));
}

#[test]
fn a_file_is_for_its_owner_only() {
    let (dir, staging) = staging();
    staging.upload(slot(1, 0), parts()).unwrap();
    let path = dir
        .path()
        .join("uploads")
        .join(slot(1, 0).stream.to_string());
    let mode = fs::metadata(path.join("0")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn durable_parts_outlive_the_process() {
    let (dir, staging) = staging();
    write(&staging.upload(slot(1, 0), parts()).unwrap(), 1);
    let again = restarted(&dir).upload(slot(1, 0), parts()).unwrap();
    assert_eq!(again.have(), [0b10]);
    write(&again, 0);
    assert!(again.whole().is_some());
}

#[test]
fn a_part_whose_bytes_did_not_come_to_the_disk_is_missing_after_a_crash() {
    let (dir, staging) = staging();
    let upload = staging.upload(slot(1, 0), parts()).unwrap();
    (0..2).for_each(|part| write(&upload, part));
    // What a power cut may leave: the row of hashes, and not all bytes they are of.
    upload.write(3, &vec![0; parts().chunk_bytes(3)]).unwrap();
    let again = restarted(&dir).upload(slot(1, 0), parts()).unwrap();
    assert_eq!(again.have(), [0b10]);
}

/// A row may lie in two sectors, and one of them may not have come to the disk.
#[test]
fn a_part_whose_books_did_not_come_to_the_disk_is_missing_after_a_crash() {
    let (dir, staging) = staging();
    let upload = staging.upload(slot(1, 0), parts()).unwrap();
    (0..2).for_each(|part| write(&upload, part));
    let checksum_of_3 = parts().total_bytes() + 3 * ROW_BYTES as u64 + 32;
    let torn = upload
        .file
        .write_all_at(&[0; Checksum::BYTES], checksum_of_3);
    torn.unwrap();
    let again = restarted(&dir).upload(slot(1, 0), parts()).unwrap();
    assert_eq!(again.have(), [0b10]);
}

#[test]
fn a_file_that_was_cut_short_or_is_longer_is_no_panic() {
    for len in [0, 1, 600, 10_000] {
        let (dir, staging) = staging();
        let upload = staging.upload(slot(1, 0), parts()).unwrap();
        (0..2).for_each(|part| write(&upload, part));
        let root = root(&upload).unwrap();
        upload.file.set_len(len).unwrap();
        let staged = staging.staged(&slot(1, 0), parts(), &root);
        assert_eq!(staged.is_ok(), len == 10_000);
        let again = restarted(&dir).upload(slot(1, 0), parts()).unwrap();
        assert_eq!(again.whole().is_some(), len == 10_000);
    }
}

#[test]
fn damage_after_the_acceptance_is_noticed_when_the_chunk_is_read() {
    let (_dir, staging) = staging();
    let upload = staging.upload(slot(1, 0), parts()).unwrap();
    (0..2).for_each(|part| write(&upload, part));
    let root = root(&upload).unwrap();
    let staged = staging.staged(&slot(1, 0), parts(), &root).unwrap();
    let mut flipped = packed(5);
    flipped[0] ^= 1;
    upload.write(5, &flipped).unwrap();
    let mut bytes = Vec::new();
    staged.chunk(4, &mut bytes).unwrap();
    let damaged = staged.chunk(5, &mut bytes);
    assert!(matches!(damaged, Err(Error::Corrupt { .. })));
}

#[test]
fn an_attempt_goes_with_all_its_uploads_and_no_others() {
    let (_dir, staging) = staging();
    for slot in [slot(1, 0), slot(1, 1), slot(2, 0)] {
        write_in(slot.stream, &staging.upload(slot, parts()).unwrap(), 1);
    }
    staging.remove(&slot(1, 1)).unwrap();
    let anew = staging.upload(slot(1, 1), parts()).unwrap();
    assert_eq!(anew.have(), [0]);
    for _ in 0..2 {
        staging.discard(slot(1, 0).stream).unwrap();
    }
    let have = |slot| staging.upload(slot, parts()).unwrap().have();
    assert_eq!([slot(1, 0), slot(2, 0)].map(have), [[0b00], [0b10]]);
}

#[test]
fn a_sweep_takes_the_attempts_that_are_over() {
    let (dir, staging) = staging();
    for slot in [slot(1, 0), slot(2, 0)] {
        staging.upload(slot, parts()).unwrap();
    }
    let open = BTreeSet::from([slot(2, 0).stream]);
    assert_eq!(restarted(&dir).sweep(&open).unwrap(), 1);
    assert_eq!(restarted(&dir).sweep(&open).unwrap(), 0);
}

#[test]
fn an_upload_that_cannot_fit_is_refused_before_its_first_byte() {
    let (dir, staging) = staging();
    let huge = Parts::new(1 << 40, 1 << 30, 64);
    let Err(error) = staging.upload(slot(1, 0), huge) else {
        panic!("no disk has so much room")
    };
    assert!(error.is_full(), "{error}");
    let path = dir
        .path()
        .join("uploads")
        .join(slot(1, 0).stream.to_string());
    assert_eq!(fs::read_dir(path).unwrap().count(), 0);
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_kept_any_more() {
    let (_dir, staging) = staging();
    let upload = staging.upload(slot(1, 0), parts()).unwrap();
    let broken = Upload {
        disk: upload.disk.failing(),
        file: upload.file.try_clone().unwrap(),
        path: upload.path.clone(),
        parts: upload.parts,
        rows: Mutex::new(upload.rows().clone()),
    };
    let lost = broken.keep(0, &vec![row(0); place(PART_CHUNKS)]);
    assert!(matches!(lost, Err(Error::NotDurable { .. })));
    assert!(!broken.has(0));
    // The kernel reports it once; a second sync would seem to succeed.
    assert!(upload.write(0, &packed(0)).is_err());
    assert!(matches!(staging.failed().await, Error::NotDurable { .. }));
}
