use proptest::prelude::*;
use veilsum_common::limits::MAX_TIMEOUT_MS;

use super::*;
use crate::tests::kit::{Federation, START, terms};

fn with(join: Span, report: Span) -> Terms {
    let fed = Federation::of(5);
    Terms {
        join,
        report,
        ..terms(&fed.hub.spec)
    }
}

#[test]
fn an_attempt_stays_open_for_a_day_after_its_report_deadline() {
    let minutes = |count: u64| Span::from_secs(60 * count);
    let [commit, submit, expires] = with(minutes(10), minutes(5)).deadlines(START);
    assert_eq!(commit, START + minutes(10));
    assert_eq!(submit, START + minutes(15));
    assert_eq!(expires, submit + Span::from_secs(24 * 3600));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A site refuses an attempt that would stay open for longer than a week (protocol, section 15), and whose deadlines are not in
    /// order; its clock may be an hour behind. Timeouts that add up to more are no study ([`MAX_TIMEOUT_MS`]).
    #[test]
    fn every_pair_of_timeouts_of_a_study_gives_deadlines_that_sites_accept_and_most_of_a_day_for_holders(
        (both, join) in (200..=MAX_TIMEOUT_MS).prop_flat_map(|both| (Just(both), 100..both - 99)),
    ) {
        let deadlines = with(Span(join), Span(both - join)).deadlines(START);
        prop_assert!(deadlines.is_sorted());
        let hour = 3_600_000;
        let site = Timestamp(START.0 - hour);
        prop_assert!(deadlines[2] <= site + MAX_LIFE, "{} ms", deadlines[2].0);
        prop_assert!(deadlines[2] >= deadlines[1] + Span(23 * hour));
    }
}
