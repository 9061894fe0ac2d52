use super::*;

#[test]
fn chunks_and_parts_cover_the_upload_without_gaps() {
    for (elements, chunk_elems, ring_bits) in [
        (1, 8, 19),
        (8, 8, 19),
        (9, 8, 10),
        (8 * PART_CHUNKS, 8, 32),
        (8 * PART_CHUNKS + 1, 8, 33),
        (1_000_003, 1024, 23),
    ] {
        let parts = Parts::new(elements, chunk_elems, ring_bits);
        let mut at = 0;
        for chunk in 0..parts.chunks() {
            assert_eq!(parts.chunk_at(chunk), at);
            at += parts.chunk_bytes(chunk) as u64;
        }
        assert_eq!(at, parts.total_bytes());
        let chunks: Vec<u64> = (0..parts.count())
            .flat_map(|part| parts.chunks_of(part))
            .collect();
        assert!(chunks.into_iter().eq(0..parts.chunks()));
        let bytes: u64 = (0..parts.count()).map(|part| parts.part_bytes(part)).sum();
        assert_eq!(bytes, parts.total_bytes());
    }
}

#[test]
fn there_is_nothing_beyond_the_end() {
    let parts = Parts::new(9, 8, 10);
    assert_eq!((parts.chunks(), parts.count()), (2, 1));
    assert_eq!((parts.chunk_len(1), parts.chunk_len(2)), (1, 0));
    assert!(parts.chunks_of(1).is_empty() && parts.chunks_of(u64::MAX).is_empty());
    assert_eq!(parts.chunk_len(u64::MAX), 0);
}
