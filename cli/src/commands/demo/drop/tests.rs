use std::collections::BTreeSet;

use super::*;

#[test]
fn every_site_is_killed_in_turn() {
    let check = |sites: usize, dropped: usize, rounds: u64| {
        let victims = (1..=rounds)
            .flat_map(|round| (0..dropped).map(move |k| (turn(round, dropped, sites) + k) % sites));
        assert_eq!(
            victims.collect::<BTreeSet<_>>().len(),
            sites,
            "{sites} sites, {dropped} a round"
        );
    };
    check(5, 1, 5);
    check(10, 3, 10);
    assert_eq!(
        (1..=6).map(|round| turn(round, 1, 5)).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 0]
    );
}
