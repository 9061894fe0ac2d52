//! Retry rules R0 to R2 and R4, aborts and tombstones: protocol, sections 12 and 13, and their tests of section 23.

use veilsum_secagg::message::Announcement;
use veilsum_secagg::{Bitmap, Certificate, Digest, Fault};

use super::kit::{Federation, Kind, Setup, announcement_of, opened};
use crate::ledger::Duty;
use crate::machine::Machine;
use crate::participant::session::SessionPhase;
use crate::participant::{Contribution, Event, Step};
use crate::rejection::Rejection;

/// Everybody has masked and uploaded; nothing was attested.
fn masked(sites: u32) -> Federation {
    let mut fed = Federation::of(sites);
    fed.enrol();
    fed.commit();
    fed.act(Kind::Upload);
    fed.act(Kind::OpenShares);
    fed
}

fn next(fed: &Federation) -> Announcement {
    let mut announcement = announcement_of(fed);
    announcement.seq += 1;
    announcement
}

fn offer(
    fed: &Federation,
    site: usize,
    announcement: Announcement,
    proofs: Vec<Certificate>,
) -> Result<(), Rejection> {
    let event = opened(fed, announcement, proofs);
    fed.sites[site].machine.admit(fed.now, &event)
}

fn take(fed: &mut Federation, site: u32, announcement: Announcement, proofs: Vec<Certificate>) {
    let event = opened(fed, announcement, proofs);
    let now = fed.now;
    fed.site(site).submit(now, event).unwrap();
}

fn abort_of(fed: &Federation, announcement: &Announcement) -> Event {
    Event::AbortProposed {
        announcement: Box::new(announcement.clone()),
        signature: announcement.sign(&fed.hub.identity),
    }
}

/// What `holders` sign when an abort of the current attempt is proposed to them.
fn abort_certificate(fed: &mut Federation, holders: impl IntoIterator<Item = u32>) -> Certificate {
    let announcement = announcement_of(fed);
    let (now, digest) = (fed.now, announcement.hash());
    let mut signatures = Vec::new();
    for holder in holders {
        let event = abort_of(fed, &announcement);
        let site = fed.site(holder);
        site.submit(now, event).unwrap();
        let Some(crate::participant::Output::Abort(abort)) = site.take(Kind::Abort) else {
            panic!("an abort leaves")
        };
        signatures.push((abort.position, abort.signature));
    }
    Certificate { digest, signatures }
}

/// T-19, first branch: everything was released, the coordinator claims that it failed.
#[test]
fn t19_after_a_release_no_abort_can_be_had_and_no_site_contributes_again() {
    let mut fed = masked(5);
    fed.hear();
    fed.act(Kind::Judge);
    fed.act(Kind::Attest);
    fed.hear();
    let announcement = announcement_of(&fed);
    for site in 0..5 {
        assert_eq!(fed.sites[site].machine.duty(), Duty::Released);
        let refused = fed.sites[site]
            .machine
            .admit(fed.now, &abort_of(&fed, &announcement));
        assert!(matches!(
            refused,
            Err(Rejection::OutOfPhase {
                phase: "released",
                ..
            })
        ));
        let again = offer(&fed, site, next(&fed), Vec::new());
        assert_eq!(again, Err(Rejection::RoundLost { round: 1, seq: 1 }));
        let mut other = next(&fed);
        (other.round, other.holders) = (2, Bitmap::of(5, 1..5));
        other.threshold = fed.hub.spec.params().threshold(4, 5);
        let skipped = offer(&fed, site, other, Vec::new());
        assert_eq!(
            skipped,
            Err(Rejection::Spent { round: 1, seq: 1 }),
            "nor under a new round number (R4)"
        );
    }
    fed.settle();
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4]);
}

/// T-19, second branch: a genuine abort certificate kills the old attempt for good.
#[test]
fn t19_after_an_abort_certificate_the_retry_succeeds_and_the_old_attempt_is_dead() {
    let mut fed = masked(5);
    fed.hear();
    fed.act(Kind::Judge); // every holder has attested; no signature has left
    let old = announcement_of(&fed).hash();
    let proof = abort_certificate(&mut fed, 0..4);
    for site in 0..4 {
        assert_eq!(fed.sites[site].machine.duty(), Duty::Aborted);
        assert!(fed.sites[site].secrets().is_empty());
    }
    for site in 0..5 {
        let newer = next(&fed);
        take(&mut fed, site, newer, vec![proof.clone()]);
        let machine = &fed.sites[site as usize].machine;
        assert_eq!(machine.session(), Some(SessionPhase::Training));
        let late = Event::Attempt {
            ann_hash: old,
            step: Box::new(Step::Submitting),
        };
        assert_eq!(
            machine.admit(fed.now, &late),
            Err(Rejection::Elsewhere("attempt"))
        );
    }
    assert_eq!(fed.witness.lists(old), 0);
}

/// T-62, and R2 for every way in which a proof can be none.
#[test]
fn t62_a_site_that_masked_needs_the_abort_certificate_of_that_very_attempt() {
    let mut fed = masked(5);
    let proof = abort_certificate(&mut fed, 0..4);
    let mut short = proof.clone();
    short.signatures.pop();
    let mut repeated = proof.clone();
    repeated.signatures[3] = repeated.signatures[0];
    let mut elsewhere = proof.clone();
    elsewhere.digest.0[0] ^= 1;
    let unproven = Err(Rejection::RetryUnproven { seq: 1 });
    for proofs in [vec![], vec![short], vec![repeated], vec![elsewhere]] {
        assert_eq!(offer(&fed, 4, next(&fed), proofs), unproven);
    }
    assert_eq!(offer(&fed, 4, next(&fed), vec![proof]), Ok(()));
}

/// T-62: an upload interrupted at its last byte is not "nothing sent".
#[test]
fn t62_a_masked_byte_that_may_have_left_counts_as_sent() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.commit();
    let now = fed.now;
    fed.site(0).step(now, Step::Submitting).unwrap();
    fed.restart(0);
    let unproven = Err(Rejection::RetryUnproven { seq: 1 });
    assert_eq!(offer(&fed, 0, next(&fed), Vec::new()), unproven);
    assert_eq!(
        offer(&fed, 1, next(&fed), Vec::new()),
        Ok(()),
        "R1: nothing was sent"
    );
}

/// T-62, T-41: the same q under fresh secrets.
#[test]
fn t62_a_retry_masks_the_same_numbers_under_fresh_secrets() {
    let mut fed = Federation::of(5);
    for index in 0..2 {
        fed.site(index).silent.insert(Kind::Judge); // so nothing is attested in time
    }
    for index in 0..5 {
        fed.site(index).silent.insert(Kind::Abort);
    }
    fed.settle();
    fed.wait();
    for index in 0..5 {
        fed.site(index).silent.clear();
    }
    fed.finish(); // the kit compares every contribution with the first one to its model
    assert_eq!((fed.hub.past.len(), fed.summed()), (1, vec![0, 1, 2, 3, 4]));
    for site in &fed.sites {
        let commits = fed.witness.commits_of(site.name.as_str());
        let [first, second] = commits[..] else {
            panic!("two attempts")
        };
        assert!(first.nonce != second.nonce && first.e_pk != second.e_pk);
        assert!(first.com_b != second.com_b && first.com_k != second.com_k);
        let uploads = fed.witness.uploads_of(site.name.as_str());
        assert_ne!(uploads[0], uploads[1]);
        assert_eq!(site.trained, 1);
    }
}

/// T-70, R0: two attempts over one model are open, and everybody committed to both.
#[test]
fn t70_nobody_masks_under_an_attempt_older_than_the_newest_it_accepted() {
    for newer_holders in [0..5, 1..5] {
        let mut fed = Federation::of(5);
        fed.enrol();
        fed.commit(); // the first cohort is closed and seen; nobody has masked
        let first = announcement_of(&fed).hash();
        let mut second = next(&fed);
        second.holders = Bitmap::of(5, newer_holders);
        second.threshold = fed.hub.spec.params().threshold(second.holders.count(), 5);
        for site in 0..5 {
            take(&mut fed, site, second.clone(), Vec::new()); // R1: nothing was sent
            let machine = &fed.sites[site as usize].machine;
            let submitting = Event::Attempt {
                ann_hash: first,
                step: Box::new(Step::Submitting),
            };
            let refused = machine.admit(fed.now, &submitting);
            assert_eq!(refused, Err(Rejection::Elsewhere("attempt")));
            assert_eq!(machine.attempt().unwrap().hash(), second.hash());
            let now = fed.now;
            fed.site(site).step(now, Step::Committed).unwrap();
            fed.restart(site);
            let back = offer(&fed, site as usize, announcement_of(&fed), Vec::new());
            assert!(
                matches!(
                    back,
                    Err(Rejection::OutOfPhase {
                        phase: "aborted",
                        ..
                    } | Rejection::Stale { .. })
                ),
                "{back:?}"
            );
        }
    }
}

/// T-73.
#[test]
fn t73_an_abort_of_an_attempt_never_seen_leaves_a_tombstone_that_outlives_a_restart() {
    let mut fed = Federation::of(5);
    fed.enrol();
    let unseen = next(&fed);
    let now = fed.now;
    let abort = abort_of(&fed, &unseen);
    fed.site(0).submit(now, abort.clone()).unwrap();
    assert_eq!(fed.sites[0].asked(Kind::Abort), 1);
    for _ in 0..2 {
        let refused = offer(&fed, 0, unseen.clone(), Vec::new());
        assert!(
            matches!(
                refused,
                Err(Rejection::OutOfPhase {
                    phase: "aborted",
                    ..
                })
            ),
            "{refused:?}"
        );
        assert_eq!(
            fed.sites[0].machine.admit(now, &abort),
            Err(Rejection::Repeated)
        );
        fed.restart(0);
        assert_eq!(fed.sites[0].asked(Kind::Abort), 1);
    }
    let mut other = unseen;
    other.commit_by_ms += 1;
    let conflict = fed.sites[0].machine.admit(now, &abort_of(&fed, &other));
    assert_eq!(
        conflict,
        Err(Rejection::Conflict("announcement")),
        "one announcement per number"
    );
    assert_eq!(
        fed.sites[0].machine.session(),
        Some(SessionPhase::Training),
        "the current attempt goes on"
    );
}

#[test]
fn an_abort_is_signed_only_for_the_coordinators_own_announcement_to_a_holder() {
    let mut fed = Federation::of(5);
    fed.enrol();
    let announcement = next(&fed);
    let forged = Event::AbortProposed {
        announcement: Box::new(announcement.clone()),
        signature: announcement.sign(&fed.sites[1].identity),
    };
    let machine = &fed.sites[0].machine;
    let fault = Fault::Signature("announcement").by_coordinator();
    assert_eq!(
        machine.admit(fed.now, &forged),
        Err(Rejection::Protocol(fault))
    );
    let mut without = announcement;
    without.holders = Bitmap::of(5, 1..5);
    without.threshold = fed.hub.spec.params().threshold(4, 5);
    let refused = machine.admit(fed.now, &abort_of(&fed, &without));
    assert_eq!(refused, Err(Rejection::NotAMember("holder list")));
    let mut elsewhere = announcement_of(&fed);
    elsewhere.epoch_ctx.0[0] ^= 1;
    let refused = machine.admit(fed.now, &abort_of(&fed, &elsewhere));
    assert_eq!(refused, Err(Rejection::Elsewhere("epoch")));
}

/// T-73: however long ago.
#[test]
fn t73_what_was_released_is_never_aborted() {
    let mut fed = Federation::with(Setup::of(5).rounds(3));
    fed.enrol();
    let first = announcement_of(&fed);
    fed.finish();
    for site in 0..5 {
        fed.restart(site);
        let site = &fed.sites[site as usize];
        let refused = site.machine.admit(fed.now, &abort_of(&fed, &first));
        assert!(
            matches!(
                refused,
                Err(Rejection::OutOfPhase {
                    phase: "released",
                    ..
                })
            ),
            "{refused:?}"
        );
    }
}

/// T-74.
#[test]
fn t74_a_newer_announcement_aborts_what_is_idle_or_attested() {
    for attested in [false, true] {
        let mut fed = Federation::of(5);
        fed.enrol();
        let old = announcement_of(&fed);
        if attested {
            fed.site(0).silent.insert(Kind::Upload); // it masked nothing, so R1 sets it free
            fed.commit();
            fed.act(Kind::Upload);
            fed.now = fed.hub.deadline().unwrap();
            fed.act(Kind::OpenShares);
            fed.hear();
            fed.act(Kind::Judge);
            assert_eq!(fed.sites[0].machine.duty(), Duty::Attested);
        }
        let mut newer = next(&fed);
        newer.round = 2;
        take(&mut fed, 0, newer, Vec::new());
        fed.restart(0);
        let machine = &fed.sites[0].machine;
        let back = offer(&fed, 0, old.clone(), Vec::new());
        assert!(
            matches!(
                back,
                Err(Rejection::OutOfPhase {
                    phase: "aborted",
                    ..
                })
            ),
            "{back:?}"
        );
        let current = machine.attempt().unwrap().announcement();
        assert_eq!((current.round, current.seq), (2, 2));
        let now = fed.now;
        let abort = abort_of(&fed, &old);
        fed.site(0).submit(now, abort).unwrap(); // it can never release it, so it signs
        assert_eq!(fed.sites[0].asked(Kind::Abort), 1);
    }
}

/// T-75: exact retries (R3) are not offered by this version, so no proof makes one acceptable.
#[test]
fn t75_an_exact_retry_is_refused() {
    let mut fed = masked(5);
    let proof = abort_certificate(&mut fed, 0..4);
    for retry_of in [announcement_of(&fed).hash(), Digest([1; 32])] {
        let mut retry = next(&fed);
        retry.retry_of = retry_of;
        let refused = offer(&fed, 4, retry, vec![proof.clone()]);
        assert_eq!(refused, Err(Rejection::Elsewhere("retry proof")));
    }
}

/// T-68, as far as the machine sees it: one contribution per model, pinned before the Commit.
#[test]
fn t68_another_update_for_the_same_model_is_refused_for_ever() {
    let mut fed = Federation::of(5);
    fed.enrol();
    let now = fed.now;
    let early = fed.site(0).step(now, Step::Committed);
    assert!(matches!(
        early,
        Err(Rejection::OutOfPhase {
            phase: "without a pinned update",
            ..
        })
    ));
    fed.act(Kind::Train);
    let pinned = fed.sites[0].machine.contribution().unwrap().clone();
    let changes: [fn(&mut Contribution); 3] = [
        |changed| changed.update.digest.0[0] ^= 1,
        |changed| changed.weight += 1,
        |changed| changed.metadata[2] += 1,
    ];
    for change in changes {
        let mut changed = pinned.clone();
        change(&mut changed);
        let event = Event::Trained(Box::new(changed));
        let refused = fed.sites[0].machine.admit(now, &event);
        assert_eq!(
            refused,
            Err(Rejection::Conflict("contribution to this model"))
        );
    }
    let same = Event::Trained(Box::new(pinned.clone()));
    assert_eq!(
        fed.sites[0].machine.admit(now, &same),
        Err(Rejection::Repeated)
    );
    let mut elsewhere = pinned;
    elsewhere.model_hash.0[0] ^= 1;
    let event = Event::Trained(Box::new(elsewhere));
    assert_eq!(
        fed.sites[0].machine.admit(now, &event),
        Err(Rejection::Elsewhere("model"))
    );
}

/// T-41, T-50: a daemon restored from before its Commit draws anew; one restored after it sends the same bytes.
#[test]
fn t41_two_daemons_from_one_snapshot_share_no_secret_of_a_later_commit() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.act(Kind::Train);
    let now = fed.now;
    let commits = [1, 2].map(|draws| {
        let mut twin = Federation::of(5);
        twin.enrol();
        twin.act(Kind::Train);
        twin.site(0).draws = draws;
        twin.site(0).step(now, Step::Committed).unwrap();
        let first = twin.sites[0].machine.commit().unwrap();
        twin.restart(0);
        assert_eq!(
            twin.sites[0].machine.commit().unwrap(),
            first,
            "after it: byte for byte"
        );
        first
    });
    let [one, two] = &commits;
    assert_eq!(one.ann_hash, two.ann_hash);
    assert!(
        one.nonce != two.nonce
            && one.e_pk != two.e_pk
            && one.com_b != two.com_b
            && one.com_k != two.com_k
    );
}
