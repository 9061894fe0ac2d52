//! Results of attempts that a site was never told of: what an honest site that was away needs, and what a coordinator makes up.

use veilsum_secagg::message::RoundResult;
use veilsum_secagg::{Certificate, Digest, Fault, coordinator};

use super::kit::{Federation, Setup, announcement_of, opened};
use crate::machine::Machine;
use crate::participant::{Event, Step};
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

/// What is not signed, or costs the coordinator nothing to sign, makes a site keep only so much.
#[test]
fn t24_epochs_and_tombstones_are_bounded() {
    let mut fed = Federation::with(Setup::of(5).rounds(2));
    fed.enrol();
    let (now, known) = (fed.now, announcement_of(&fed));
    let identity = std::sync::Arc::clone(&fed.hub.identity);
    let abort = |seq| {
        let mut announcement = known.clone();
        announcement.seq = seq;
        Event::AbortProposed {
            signature: announcement.sign(&identity),
            announcement: Box::new(announcement),
        }
    };
    let site = fed.site(0);
    let far = site.machine.admit(now, &abort(1 + 1024 + 1)).unwrap_err();
    assert!(far.to_string().contains("an attempt number"), "{far}");
    let signed = (2..=1000).take_while(|seq| site.submit(now, abort(*seq)).is_ok());
    assert_eq!(
        signed.count(),
        199,
        "with attempt 1, twice what an epoch serves"
    );

    let name = site.name.clone();
    let join = |epoch| Event::Joined {
        epoch,
        binding: Box::new(super::kit::binding(&name)),
    };
    let joined = (2..=1000).take_while(|epoch| site.submit(now, join(epoch * 1000)).is_ok());
    assert_eq!(joined.count(), 64);
    let seeds = site.stored.keys().filter(|name| name.starts_with("epoch/"));
    assert_eq!(seeds.count(), 1, "the seed of the newest epoch only");
}

/// A neighbour that signed two keys, a restart in between: nothing is masked with the second one.
#[test]
fn an_attempt_is_masked_with_the_neighbours_keys_it_was_first_masked_with() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.commit();
    let (round, index) = (fed.hub.round(), fed.hub.index(&fed.sites[0].name));
    let near = coordinator::neighbourhood(round.attempt(), round.commits(), index).unwrap();
    let mut other = near.clone();
    other.keys[0].nonce[0] ^= 1;
    let now = fed.now;
    let site = fed.site(0);
    site.machine.mask_with(&near);
    site.step(now, Step::Submitting).unwrap();
    for _ in 0..2 {
        let refused = site.machine.masking(&other).err();
        let two = Fault::Equivocation("neighbours' keys").by_coordinator();
        assert_eq!(refused, Some(Rejection::Protocol(two)));
        assert!(site.machine.masking(&near).is_ok());
        site.reboot();
    }
}
