use super::*;
use crate::age::payload::CHUNK_BYTES;
use crate::age::writer::{Chunks, sealed_bytes};

const NONCE: [u8; 16] = [5; 16];

fn key() -> FileKey {
    FileKey::draw(&mut |out: &mut [u8]| out.fill(7))
}

fn text(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| u8::try_from((at * 13 + at / 300) % 256).unwrap())
        .collect()
}

/// A payload without a header, sealed on some threads in pieces of some length.
fn sealed(text: &[u8], threads: usize, piece: usize) -> Vec<u8> {
    let mut out = NONCE.to_vec();
    let threads = NonZeroUsize::new(threads).unwrap();
    let mut chunks = Chunks::new(&key(), &NONCE, text.len() as u64).on_threads(threads);
    for piece in text.chunks(piece) {
        chunks.write(&mut out, piece).unwrap();
    }
    chunks.finish(&mut out).unwrap();
    out
}

#[test]
fn neither_threads_nor_pieces_change_a_byte() {
    let text = text(70 * CHUNK_BYTES + 1);
    let one = sealed(&text, 1, text.len());
    assert_eq!(one.len() as u64, 16 + sealed_bytes(text.len() as u64));
    for (threads, piece) in [(2, 1_000_001), (3, CHUNK_BYTES), (4, text.len())] {
        assert!(sealed(&text, threads, piece) == one, "{threads} threads");
    }
}

#[test]
fn any_range_is_read_on_any_number_of_threads() {
    let text = text(70 * CHUNK_BYTES + 100);
    let file = sealed(&text, 2, text.len());
    let end = text.len();
    let ranges = [
        (0, 0),
        (0, 1),
        (0, end),
        (end, end),
        (end - 1, end),
        (1, end - 1),
        (CHUNK_BYTES - 1, CHUNK_BYTES + 1),
        (CHUNK_BYTES, 2 * CHUNK_BYTES),
        (100, 100 + 40 * CHUNK_BYTES),
        (69 * CHUNK_BYTES, end),
    ];
    for threads in 1..=4 {
        let threads = NonZeroUsize::new(threads).unwrap();
        let payload = Payload::open(&file, 0, &key()).unwrap().on_threads(threads);
        for (start, end) in ranges {
            let mut out = vec![0; end - start];
            payload.read(&mut out, start as u64).unwrap();
            assert!(out == text[start..end], "{start} to {end}, {threads}");
        }
    }
}

#[test]
fn nothing_is_read_behind_the_end() {
    let file = sealed(&text(100), 1, 100);
    let payload = Payload::open(&file, 0, &key()).unwrap();
    for (offset, len) in [(0, 101), (100, 1), (u64::MAX, 2)] {
        let error = payload.read(&mut vec![0; len], offset).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{error}");
    }
}

#[test]
fn a_rejected_chunk_gives_nothing_of_itself() {
    let mut file = sealed(&text(3 * CHUNK_BYTES), 1, 3 * CHUNK_BYTES);
    file[16 + SEALED_CHUNK_BYTES + 5] ^= 1;
    let payload = Payload::open(&file, 0, &key()).unwrap();
    for (offset, len) in [(65_000, 2000), (CHUNK_BYTES as u64, CHUNK_BYTES)] {
        let mut out = vec![0; len];
        let error = payload.read(&mut out, offset).unwrap_err();
        assert!(
            matches!(error, Error::ChunkRejected { index: 1 }),
            "{error}"
        );
        let behind = CHUNK_BYTES.saturating_sub(usize::try_from(offset).unwrap());
        assert!(out[behind..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn lengths_that_no_payload_has_are_cuts() {
    for bytes in [0, 1, 15, 65_552 + 1, 65_552 + 16] {
        assert_eq!(measured(bytes), None, "{bytes}");
    }
    assert_eq!(measured(16), Some((0, 0)));
    assert_eq!(measured(17), Some((0, 1)));
    assert_eq!(measured(65_552), Some((0, 65_536)));
    assert_eq!(measured(65_552 + 17), Some((1, 65_537)));
}
