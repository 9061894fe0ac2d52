//! Results of attempts that a site was never told of: what an honest site that was away needs, and what a coordinator makes up.

use veilsum_secagg::message::RoundResult;
use veilsum_secagg::{Certificate, Digest, Fault};

use super::kit::{Federation, Setup, announcement_of, opened};
use crate::machine::Machine;
use crate::participant::Event;
use crate::rejection::Rejection;
use crate::round::Published;
use crate::run::State;
use crate::vault::Place;

fn published(fed: &Federation, round: usize) -> Published {
    fed.hub.run().history()[round].published.clone()
}

fn finished(
    fed: &Federation,
    place: Place,
    result: &RoundResult,
    certificate: Certificate,
) -> Event {
    Event::Finished {
        place,
        signature: result.sign(&fed.hub.identity),
        result: Box::new(result.clone()),
        certificate,
    }
}

/// The first of two rounds is open and masked in by site 0; and the result it will have.
fn masked() -> (Federation, Published) {
    let uploaded = || {
        let mut fed = Federation::with(Setup::of(5).rounds(2));
        fed.enrol();
        fed.commit();
        fed
    };
    let mut ahead = uploaded();
    ahead.finish();
    (uploaded(), published(&ahead, 0))
}

/// Results under numbers that nobody announced: one that the coordinator made up, and the true one moved to another attempt.
#[test]
fn a_result_of_an_attempt_that_was_never_announced_changes_nothing() {
    let (mut fed, honest) = masked();
    let mut invented = honest.result.clone();
    invented.next_model_hash = Digest([9; 32]);
    let nobody = Certificate {
        digest: invented.digest,
        signatures: Vec::new(),
    };
    let cases = [
        ((1, 99), &invented, nobody.clone()),
        ((u64::MAX, u64::MAX), &invented, nobody),
        ((1, 2), &honest.result, honest.certificate.clone()),
    ];
    for (place, result, certificate) in cases {
        let event = finished(&fed, place, result, certificate);
        let now = fed.now;
        let refused = fed.sites[0].machine.admit(now, &event);
        assert_eq!(refused, Err(Rejection::Elsewhere("attempt")), "{place:?}");
        let site = fed.site(0);
        let secrets = site.stored.len();
        assert!(site.machine.hear_result(event.clone()).is_none());
        let refused = site.machine.admit(now, &event);
        assert_eq!(refused, Err(Rejection::Elsewhere("attempt")), "{place:?}");
        assert_eq!(site.machine.last_result(), None);
        assert_eq!(site.stored.len(), secrets);
        assert!(site.machine.contribution().is_some());
    }
    fed.finish();
    assert_eq!(fed.hub.run().state(), State::Completed);
    assert_eq!(
        fed.summed(),
        [0, 1, 2, 3, 4],
        "the true results still count"
    );
}

/// Every part of the announcement is checked before the missed result counts.
#[test]
fn a_missed_result_counts_with_the_announcement_that_follows_it_and_with_no_other() {
    let mut fed = Federation::with(Setup::of(5).rounds(2));
    fed.settle_until_round(2);
    let Published {
        result,
        certificate,
        ..
    } = published(&fed, 0);
    let follows = announcement_of(&fed);
    let mut late = Federation::with(Setup::of(5).rounds(2));
    late.enrol(); // attempt 1 is on record; the missed result is moved to 2, so that nothing of it can be checked
    let now = fed.now;
    let at = |seq, change: fn(&mut _)| {
        let mut announcement = follows.clone();
        announcement.seq = seq;
        change(&mut announcement);
        opened(&late, announcement, Vec::new())
    };
    let cases = [
        (at(3, |_| ()), true),
        (at(2, |_| ()), false),
        (at(3, |other| other.prev_result_hash.0[0] ^= 1), false),
        (at(3, |other| other.model_hash.0[0] ^= 1), false),
        (at(3, |other| other.threshold -= 1), false),
        (at(3, |other| other.expires_ms = u64::MAX), false),
    ];
    let missed = finished(&late, (1, 2), &result, certificate);
    for (event, counts) in cases {
        let mut site = late.sites[0].twin();
        assert!(site.machine.hear_result(missed.clone()).is_none());
        let before = site.machine.result_before(now, &event);
        assert_eq!(before.is_some(), counts, "{event:?}");
        if let Some(before) = before {
            site.submit(now, before).unwrap();
            site.submit(now, event).unwrap();
            site.restart_checked();
            assert_eq!(site.machine.last_result().unwrap().place, (1, 2));
        }
    }
}

#[test]
fn a_site_that_was_away_for_whole_rounds_follows_the_chain() {
    let mut fed = Federation::with(Setup::of(7).rounds(4));
    fed.enrol();
    fed.kill(3);
    for round in 2..=3 {
        for _ in 0..10 {
            if fed
                .hub
                .run()
                .current()
                .is_some_and(|next| next.round >= round)
            {
                break;
            }
            fed.wait();
        }
    }
    fed.restart(3);
    fed.finish();
    assert_eq!(fed.hub.run().state(), State::Completed);
    assert!(fed.summed().contains(&3), "{:?}", fed.summed());
    assert!(fed.sites[3].machine.last_result().unwrap().place > (1, 2));
}

/// Approval is of a study, and of the number of sums in it. Numbers may be skipped, results may not.
#[test]
fn a_site_takes_part_in_no_more_rounds_than_the_study_has() {
    let mut fed = Federation::with(Setup::of(5).rounds(1));
    fed.settle_until_round(1);
    let mut further = announcement_of(&fed);
    fed.finish();
    let result = published(&fed, 0).result;
    further.seq = 2;
    further.round = 2;
    further.prev_result_hash = result.hash();
    further.model_hash = result.next_model_hash;
    let refused = fed.sites[0]
        .machine
        .admit(fed.now, &opened(&fed, further, Vec::new()));
    let many = Fault::TooMany {
        what: "the number of rounds",
        have: 2,
        limit: 1,
    };
    assert_eq!(refused, Err(Rejection::Protocol(many.by_coordinator())));
}
