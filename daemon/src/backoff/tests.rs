use super::*;

fn waits(draw: u64, count: usize) -> Vec<u64> {
    let mut backoff = Backoff::new(Span(100), Span(1_000));
    (0..count).map(|_| backoff.next_wait(draw).0).collect()
}

#[test]
fn the_longest_waits_double_up_to_the_cap() {
    assert_eq!(waits(u64::MAX, 6), [100, 200, 400, 800, 1_000, 1_000]);
}

#[test]
fn the_smallest_draw_waits_not_at_all() {
    assert_eq!(waits(0, 3), [0, 0, 0]);
}

#[test]
fn half_a_draw_waits_half_the_ceiling() {
    assert_eq!(waits(1 << 63, 3), [50, 100, 200]);
}

#[test]
fn a_success_starts_the_series_over() {
    let mut backoff = Backoff::new(Span(100), Span(1_000));
    backoff.next_wait(u64::MAX);
    backoff.next_wait(u64::MAX);
    assert_eq!(backoff.failures(), 2);
    backoff.reset();
    assert_eq!(backoff.failures(), 0);
    assert_eq!(backoff.next_wait(u64::MAX), Span(100));
}

#[test]
fn thousands_of_failures_and_the_largest_spans_do_not_overflow() {
    let mut backoff = Backoff::new(Span(u64::MAX), Span(u64::MAX));
    for _ in 0..1_000 {
        assert_eq!(backoff.next_wait(u64::MAX), Span(u64::MAX));
    }
}
