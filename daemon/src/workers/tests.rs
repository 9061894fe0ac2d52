use std::collections::BTreeSet;
use std::sync::Barrier;

use super::*;

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

#[test]
fn every_item_is_done_once() {
    for count in [1, 2, 7] {
        let mut places = vec![0; 1000];
        share_out(
            threads(count),
            places.iter_mut().enumerate(),
            |(at, place)| *place += at,
        );
        assert!(
            places.iter().enumerate().all(|(at, place)| at == *place),
            "{count} threads"
        );
    }
}

#[test]
fn results_are_in_the_order_of_their_items() {
    let squares = map(threads(3), 0..1000_u32, |number| number * number);
    assert!((0..1000).map(|number| number * number).eq(squares));
}

#[test]
fn so_many_threads_are_at_work_together_and_no_more() {
    let (meet, seen) = (Barrier::new(3), Mutex::new(BTreeSet::new()));
    share_out(threads(3), 0..30, |_| {
        meet.wait(); // with fewer than three this waits for ever
        seen.lock()
            .unwrap()
            .insert(format!("{:?}", std::thread::current().id()));
    });
    assert_eq!(seen.into_inner().unwrap().len(), 3);
}

#[test]
fn one_thread_is_the_callers() {
    let caller = std::thread::current().id();
    share_out(threads(1), 0..10, |_| {
        assert_eq!(std::thread::current().id(), caller)
    });
}
