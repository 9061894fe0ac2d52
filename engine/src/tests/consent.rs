//! R4: one more contribution to the same model, which only a site's own operator can allow. Protocol, section 12, and T-75.

use proptest::prelude::*;
use veilsum_secagg::message::{Announcement, Cohort};
use veilsum_secagg::{Bitmap, Certificate, Digest};

use super::kit::{Federation, Kind, START, Setup, announcement_of, opened};
use crate::ledger::{Duty, Ledger, Line, Sent};
use crate::machine::Machine;
use crate::participant::session::SessionPhase;
use crate::participant::{Event, Output, Step};
use crate::rejection::Rejection;

/// Everybody has masked, and released if `released`; the coordinator says that nothing came of it.
fn lost(released: bool) -> Federation {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.commit();
    fed.act(Kind::Upload);
    fed.act(Kind::OpenShares);
    if released {
        fed.hear();
        fed.act(Kind::Judge);
        fed.act(Kind::Attest);
        fed.hear();
        assert_eq!(fed.sites[0].machine.duty(), Duty::Released);
    }
    fed
}

/// Attempt `seq`, of round `round`, at the model of the first one.
fn further(fed: &Federation, round: u64, seq: u64) -> Announcement {
    Announcement {
        round,
        seq,
        ..announcement_of(fed)
    }
}

fn offer(fed: &Federation, round: u64, seq: u64, proofs: &[Certificate]) -> Result<(), Rejection> {
    let event = opened(fed, further(fed, round, seq), proofs.to_vec());
    fed.sites[0].machine.admit(fed.now, &event)
}

/// What site 0's operator says, as `veilsum participant consent` writes it.
fn consent(fed: &mut Federation) -> Result<(), Rejection> {
    let model_hash = announcement_of(fed).model_hash;
    let now = fed.now;
    fed.site(0).submit(now, Event::Consented { model_hash })
}

/// Site 0 takes the attempt up and goes on to its first masked byte.
fn mask(fed: &mut Federation, round: u64, seq: u64, proofs: &[Certificate]) {
    let announcement = further(fed, round, seq);
    let event = opened(fed, announcement, proofs.to_vec());
    let (now, key) = (fed.now, fed.hub.identity.clone());
    let site = fed.site(0);
    site.submit(now, event).unwrap();
    let cohort = Cohort {
        ann_hash: site.machine.attempt().unwrap().hash(),
        members: Bitmap::full(5),
        root: Digest::ZERO,
    };
    let signature = cohort.sign(&key);
    for step in [
        Step::Committed,
        Step::Answered,
        Step::CohortSeen { cohort, signature },
        Step::Submitting,
    ] {
        site.step(now, step).unwrap();
    }
}

fn spent(round: u64, seq: u64) -> Result<(), Rejection> {
    Err(Rejection::Spent { round, seq })
}

/// T-75.
#[test]
fn t75_after_consent_a_new_round_number_is_accepted_and_the_old_one_stays_closed() {
    for released in [false, true] {
        let mut fed = lost(released);
        let closed = Err(Rejection::RoundLost { round: 1, seq: 1 });
        let before = if released {
            closed.clone()
        } else {
            Err(Rejection::RetryUnproven { seq: 1 })
        };
        assert_eq!(offer(&fed, 1, 2, &[]), before);
        assert_eq!(offer(&fed, 2, 2, &[]), spent(1, 1));
        consent(&mut fed).unwrap();
        for _ in 0..2 {
            assert_eq!(offer(&fed, 1, 2, &[]), closed);
            assert_eq!(offer(&fed, 2, 2, &[]), Ok(()));
            assert_eq!(offer(&fed, 7, 2, &[]), Ok(()), "numbers may be skipped");
            fed.restart(0); // the consent is durable
        }
    }
}

#[test]
fn a_consent_serves_one_contribution_and_a_second_loss_needs_a_second_one() {
    let mut fed = lost(true);
    consent(&mut fed).unwrap();
    mask(&mut fed, 2, 2, &[]);
    for _ in 0..2 {
        let unproven = Err(Rejection::RetryUnproven { seq: 2 });
        assert_eq!(offer(&fed, 2, 3, &[]), unproven);
        assert_eq!(offer(&fed, 3, 3, &[]), spent(2, 2));
        fed.restart(0);
    }
    consent(&mut fed).unwrap();
    assert_eq!(offer(&fed, 3, 3, &[]), Ok(()));
}

#[test]
fn a_consent_lasts_until_a_masked_byte_may_have_left() {
    let mut fed = lost(true);
    consent(&mut fed).unwrap();
    let event = opened(&fed, further(&fed, 2, 2), Vec::new());
    let now = fed.now;
    fed.site(0).submit(now, event).unwrap();
    fed.site(0).step(now, Step::Committed).unwrap();
    assert_eq!(offer(&fed, 2, 3, &[]), Ok(()), "R1 for the attempt between");
}

/// R2 for the attempt after the consent, whose abort is proven; the lost one stays consented to.
#[test]
fn an_attempt_after_a_consent_is_retried_with_its_abort_certificate() {
    let mut fed = lost(true);
    consent(&mut fed).unwrap();
    let second = further(&fed, 2, 2);
    for site in 1..5 {
        let model_hash = second.model_hash;
        let now = fed.now;
        let event = opened(&fed, second.clone(), Vec::new());
        fed.site(site)
            .submit(now, Event::Consented { model_hash })
            .unwrap();
        fed.site(site).submit(now, event).unwrap();
    }
    mask(&mut fed, 2, 2, &[]);
    let attempt = fed.sites[1]
        .machine
        .attempt()
        .unwrap()
        .announcement()
        .clone();
    let mut signatures = Vec::new();
    for site in 1..5 {
        let event = Event::AbortProposed {
            signature: attempt.sign(&fed.hub.identity),
            announcement: Box::new(attempt.clone()),
        };
        let now = fed.now;
        fed.site(site).submit(now, event).unwrap();
        let Some(Output::Abort(abort)) = fed.site(site).take(Kind::Abort) else {
            panic!("an abort leaves")
        };
        signatures.push((abort.position, abort.signature));
    }
    let digest = attempt.hash();
    let proof = Certificate { digest, signatures };
    assert_eq!(
        offer(&fed, 2, 3, &[]),
        Err(Rejection::RetryUnproven { seq: 2 })
    );
    mask(&mut fed, 2, 3, &[proof]);
    assert_eq!(
        fed.sites[0].machine.ledger().attempts[&(1, 2)].sent,
        Sent::Dead,
        "proven once is proven for ever"
    );
}

#[test]
fn the_update_that_is_masked_again_is_the_pinned_one() {
    let mut fed = lost(true);
    let pinned = fed.sites[0].machine.contribution().cloned();
    consent(&mut fed).unwrap();
    let event = opened(&fed, further(&fed, 2, 2), Vec::new());
    let now = fed.now;
    let site = fed.site(0);
    site.submit(now, event).unwrap();
    assert_eq!((site.asked(Kind::Train), site.asked(Kind::Commit)), (0, 1));
    assert_eq!(site.machine.session(), Some(SessionPhase::Training));
    assert_eq!(site.machine.contribution().cloned(), pinned);
}

#[test]
fn a_consent_where_nothing_is_spent_is_refused() {
    let mut fed = Federation::of(5);
    let before = Event::Consented {
        model_hash: Digest::ZERO,
    };
    let elsewhere = Err(Rejection::Elsewhere("model"));
    assert_eq!(fed.sites[0].machine.admit(START, &before), elsewhere);
    fed.enrol();
    fed.commit();
    assert_eq!(consent(&mut fed), Err(Rejection::NothingSpent));
    assert_eq!(fed.sites[0].machine.admit(fed.now, &before), elsewhere);
    fed.act(Kind::Upload);
    consent(&mut fed).unwrap();
    assert_eq!(consent(&mut fed), Err(Rejection::Repeated));
}

/// A contribution that is in a published result is no lost one: the next model is trained on instead.
#[test]
fn a_round_that_ended_cannot_be_consented_to() {
    let mut fed = Federation::with(Setup::of(5).rounds(2));
    let first = {
        fed.enrol();
        announcement_of(&fed).model_hash
    };
    fed.settle_until_round(2);
    assert_eq!(consent(&mut fed), Err(Rejection::NothingSpent));
    let old = Event::Consented { model_hash: first };
    assert_eq!(
        fed.sites[0].machine.admit(fed.now, &old),
        Err(Rejection::Elsewhere("model"))
    );
}

/// A study that has converged exactly: the next round is about the same model, to which the site has given its update.
#[test]
fn a_model_that_did_not_change_is_trained_on_by_nobody_a_second_time() {
    let mut fed = Federation::of(5);
    fed.settle();
    let published = fed.hub.run().history()[0].published.clone();
    let mut fed = lost(true);
    let mut same = published.result;
    same.next_model_hash = announcement_of(&fed).model_hash;
    let finished = Event::Finished {
        place: (1, 1),
        signature: same.sign(&fed.hub.identity),
        certificate: published.certificate,
        result: Box::new(same.clone()),
    };
    let now = fed.now;
    fed.site(0).submit(now, finished).unwrap();
    let mut next = further(&fed, 2, 2);
    next.prev_result_hash = same.hash();
    let refused = fed.sites[0]
        .machine
        .admit(now, &opened(&fed, next, Vec::new()));
    let refused = refused.unwrap_err();
    assert_eq!(refused, Rejection::Unchanged { round: 1 });
    assert!(refused.to_string().contains("nothing new to train"));
    assert_eq!(consent(&mut fed), Err(Rejection::NothingSpent));
}

/// What the coordinator and a site's operator may do to a ledger, one after the other.
#[derive(Clone, Copy, Debug)]
enum Move {
    Announce { rounds_on: u64 },
    Mask,
    Consent,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => (0_u64..3).prop_map(|rounds_on| Move::Announce { rounds_on }),
        3 => Just(Move::Mask),
        1 => Just(Move::Consent),
    ];
    proptest::collection::vec(one, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn masked_bytes_for_one_model_leave_once_and_once_more_for_each_consent(moves in moves()) {
        let mut fed = Federation::of(3);
        fed.enrol();
        let attempt = fed.sites[0].machine.attempt().unwrap();
        let (roster, mut newest) = (attempt.roster().clone(), attempt.announcement().clone());
        let mut ledger = Ledger::default();
        let (mut masked, mut consents) = (0, 0);
        (newest.seq, newest.round) = (0, 1);
        for made in moves {
            let place = (roster.epoch(), newest.seq);
            match made {
                Move::Announce { rounds_on } => {
                    let mut next = newest.clone();
                    (next.seq, next.round) = (newest.seq + 1, newest.round + rounds_on);
                    if ledger.accepts(START, &roster, &next, &[]).is_ok() {
                        newest = next;
                        take_up(&mut ledger, roster.epoch(), &newest);
                    }
                }
                Move::Mask => {
                    let ready = ledger.attempts.get(&place).is_some_and(|line| line.sent == Sent::Nothing);
                    if ready && ledger.check_masking(place, &newest).is_ok() {
                        ledger.attempts.get_mut(&place).unwrap().sent = Sent::Masked;
                        masked += 1;
                    }
                }
                Move::Consent => {
                    if ledger.check_consent(newest.model_hash).is_ok() {
                        ledger.consent();
                        consents += 1;
                    }
                }
            }
            prop_assert!(masked <= 1 + consents, "{masked} times masked, {consents} consents");
        }
    }
}

/// As the machine takes an announcement up that its ledger accepts.
fn take_up(ledger: &mut Ledger, epoch: u64, announcement: &Announcement) {
    ledger.settle(announcement.model_hash);
    ledger.round = announcement.round;
    ledger.first_model.get_or_insert(announcement.model_hash);
    let line = Line {
        round: announcement.round,
        attempt: None,
        ann_hash: announcement.hash(),
        model_hash: announcement.model_hash,
        duty: Duty::None,
        sent: Sent::Nothing,
        cohort: None,
        survivors: None,
    };
    ledger.attempts.insert((epoch, announcement.seq), line);
}
