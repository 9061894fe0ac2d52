use super::*;
use crate::tests::kit::{Federation, Kind, Setup};

fn told(fed: &Federation, after: Position) -> Vec<(Position, Notice)> {
    let hub = &fed.hub;
    let round = hub.round.as_ref().map(|(_, round)| &round.machine);
    notices(hub.run(), Some(hub.epoch()), round, after)
}

/// Setup is rank 1 to 3 of attempt 0, an attempt 1 to 5, a result 6.
fn ranks(fed: &Federation, after: Position) -> Vec<(u64, u8)> {
    let told = told(fed, after).into_iter();
    told.map(|(position, _)| (position.seq, position.rank))
        .collect()
}

#[test]
fn each_step_of_a_round_adds_its_notice_behind_the_ones_before() {
    let mut fed = Federation::of(4);
    fed.tick();
    let start = Position::default();
    assert_eq!(ranks(&fed, start), [(0, 1)], "EpochOpen");
    fed.hear();
    fed.act(Kind::Join);
    assert_eq!(ranks(&fed, start), [(0, 2)], "RosterReady");
    fed.hear();
    fed.act(Kind::Confirm);
    let certified = [(0, 2), (0, 3)];
    let expect = |more: &[(u64, u8)]| [&certified[..], more].concat();
    assert_eq!(ranks(&fed, start), expect(&[(1, 1)]), "RoundOpen");
    fed.hear();
    fed.commit();
    assert_eq!(ranks(&fed, start), expect(&[(1, 1), (1, 2)]), "CohortReady");
    fed.act(Kind::Upload);
    fed.act(Kind::OpenShares);
    assert_eq!(
        ranks(&fed, start),
        expect(&[(1, 1), (1, 2), (1, 3)]),
        "SurvivorProposal"
    );
    fed.hear();
    fed.act(Kind::Judge);
    fed.act(Kind::Attest);
    assert_eq!(
        ranks(&fed, start),
        expect(&[(1, 1), (1, 2), (1, 3), (1, 4)]),
        "SurvivorCert"
    );
    fed.settle();
    assert_eq!(
        ranks(&fed, start),
        [(1, RESULT_RANK), (END.seq, END.rank)],
        "the run is over"
    );
}

#[test]
fn a_cursor_hides_what_it_has_seen_and_nothing_else() {
    let mut fed = Federation::with(Setup::of(4).rounds(3));
    fed.finish();
    let all = told(&fed, Position::default());
    for (seen, (position, _)) in all.iter().enumerate() {
        assert_eq!(told(&fed, *position), all[seen + 1..]);
    }
    assert!(told(&fed, END).is_empty());
}

#[test]
fn an_aborted_attempt_is_not_offered_to_a_site_that_comes_too_late_for_it() {
    let mut fed = Federation::of(4);
    fed.site(0).silent.insert(Kind::Upload);
    fed.site(1).silent.insert(Kind::Upload);
    fed.settle();
    fed.now = fed.hub.deadline().unwrap();
    fed.hear();
    assert!(
        told(&fed, Position::default())
            .iter()
            .any(|(_, notice)| matches!(notice, Notice::AbortProposal(_)))
    );
    fed.sites.iter_mut().for_each(|site| site.online = false);
    fed.site(2).online = true; // too few to open another attempt
    for site in 0..4 {
        fed.site(site).online = true;
        fed.act(Kind::Abort);
        fed.site(site).online = false;
        fed.hear();
    }
    assert!(fed.round().outcome().is_some());
    assert_eq!(ranks(&fed, Position::default()), [(0, 2), (0, 3)]);
}

#[test]
fn a_run_that_is_over_offers_nothing_to_do() {
    let mut fed = Federation::with(Setup::of(4).rounds(3));
    fed.settle_until_round(2);
    let now = fed.now;
    let cancelled = crate::run::Event::Cancelled;
    fed.hub.run.submit(now, cancelled).unwrap();
    let left = ranks(&fed, Position::default());
    assert_eq!(left, [(1, RESULT_RANK), (END.seq, END.rank)]);
}

#[test]
fn a_long_history_is_told_in_parts_and_none_of_it_is_left_out() {
    let mut fed = Federation::with(Setup::of(3).rounds(9));
    fed.settle_until_round(6);
    let all = told(&fed, Position::default());
    assert!(
        all.len() > 6,
        "five results, the set-up and the open attempt"
    );
    let hub = &fed.hub;
    let round = hub.round.as_ref().map(|(_, round)| &round.machine);
    for limit in 1..=all.len() {
        let (mut heard, mut after) = (Vec::new(), Position::default());
        loop {
            let part = first(limit, hub.run(), Some(hub.epoch()), round, after);
            let Some((last, _)) = part.last() else { break };
            assert!(part.len() <= limit);
            after = *last;
            heard.extend(part);
        }
        assert_eq!(heard, all, "{limit} at once");
    }
}
