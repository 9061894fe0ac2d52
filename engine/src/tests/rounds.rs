//! Many rounds in a row, and dropouts at every stage of one.

use veilsum_common::limits::MAX_ATTEMPTS;
use veilsum_common::time::Timestamp;

use super::kit::{Federation, Kind, Setup, Trainer, announcement_of};
use crate::participant::Event;
use crate::rejection::{Abort, Rejection};
use crate::round::{Decline, Loss, Outcome, Published};
use crate::run::State;

fn published(fed: &Federation) -> &Published {
    match fed.hub.last_outcome() {
        Outcome::Published(published) => published,
        other => panic!("{other:?}"),
    }
}

fn aborted(outcome: &Outcome) -> (&Abort, bool) {
    match outcome {
        Outcome::Aborted {
            reason,
            certificate,
        } => (reason, certificate.is_some()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rounds_in_a_row_form_one_chain_of_models() {
    for n in [3, 4, 5, 7] {
        let mut fed = Federation::with(Setup::of(n).rounds(3));
        fed.finish();
        assert_eq!(fed.hub.run().state(), State::Completed);
        assert_eq!(fed.hub.sums.len(), 3);
        let history = fed.hub.run().history();
        assert_eq!(
            history
                .iter()
                .map(|record| record.round)
                .collect::<Vec<_>>(),
            [1, 2, 3]
        );
        for (before, after) in fed.hub.sums.iter().zip(&fed.hub.sums[1..]) {
            assert_ne!(before.model, after.model);
        }
        for site in &fed.sites {
            assert_eq!(
                (site.trained, site.machine.last_result().unwrap().place),
                (3, (1, 3))
            );
            assert!(site.refused.is_empty(), "{:?}", site.refused);
            assert!(site.files.is_empty(), "every update file was forgotten");
        }
    }
}

#[test]
fn a_new_epoch_begins_when_one_has_served_its_attempts() {
    let setup = Setup {
        epoch_rounds: Some(2),
        ..Setup::of(4).rounds(5)
    };
    let mut fed = Federation::with(setup);
    fed.finish();
    assert_eq!(fed.hub.run().state(), State::Completed);
    let places: Vec<_> = fed
        .hub
        .run()
        .history()
        .iter()
        .map(|r| (r.epoch, r.seq))
        .collect();
    assert_eq!(places, [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)]);
    for site in &fed.sites {
        assert!(site.refused.is_empty(), "{:?}", site.refused);
    }
}

#[test]
fn t55_a_roster_that_leaves_a_pinned_site_out_is_signed_by_nobody() {
    let mut fed = Federation::of(5);
    fed.site(2).online = false;
    fed.settle();
    assert!(fed.hub.epoch().roster().is_none(), "it is waited for");
    fed.finish();
    let unconfirmed = Abort::RosterUnconfirmed { have: 0, need: 3 };
    assert_eq!(fed.hub.run().state(), State::Failed(unconfirmed));
    assert_eq!(fed.hub.epoch().number(), u64::from(MAX_ATTEMPTS));
}

/// The others are joined to an epoch of which nothing came: before a roster, with a roster that they refuse, or with one that a part of
/// them confirmed.
#[test]
fn a_site_that_comes_late_is_in_the_next_epoch() {
    let mut fed = Federation::of(5);
    fed.site(2).online = false;
    fed.settle();
    fed.wait();
    assert_eq!(fed.hub.epoch().roster().map(|roster| roster.len()), Some(4));
    fed.wait();
    assert_eq!(fed.hub.epoch().number(), 2);
    fed.restart(2);
    for index in 0..2 {
        fed.site(index).silent.insert(Kind::Confirm);
    }
    fed.settle();
    fed.wait();
    assert_eq!(fed.hub.epoch().number(), 3, "three of five are no quorum");
    for index in 0..2 {
        fed.site(index).silent.clear();
    }
    fed.finish();
    assert_eq!(fed.hub.run().state(), State::Completed);
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_site_without_a_commit_by_the_barrier_is_not_in_the_cohort() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.site(4).online = false;
    fed.settle();
    assert!(fed.round().cohort().is_none(), "it is waited for");
    fed.wait();
    assert_eq!(fed.summed(), [0, 1, 2, 3]);
    assert_eq!(
        (published(&fed).cohort, published(&fed).dropped.len()),
        (4, 0)
    );
}

#[test]
fn a_dropout_after_commit_is_unmasked() {
    let mut fed = Federation::of(5);
    fed.site(4).silent.insert(Kind::Upload);
    fed.settle();
    assert!(fed.round().proposal().is_none(), "it is waited for");
    fed.wait();
    assert_eq!(fed.summed(), [0, 1, 2, 3]);
    assert_eq!(published(&fed).dropped, [fed.sites[4].name.clone()]);
}

#[test]
fn an_upload_after_the_survivors_were_fixed_is_refused() {
    let mut fed = Federation::of(5);
    fed.site(4).silent.insert(Kind::Upload);
    fed.site(0).silent.insert(Kind::Attest); // so that the round is still open
    fed.site(1).silent.insert(Kind::Attest);
    fed.settle();
    fed.wait();
    assert_eq!(fed.round().proposal().unwrap().survivors.count(), 4);
    fed.site(4).silent.clear();
    fed.settle();
    assert!(matches!(
        fed.sites[4].refused[..],
        [
            ..,
            Rejection::OutOfPhase {
                what: "an upload",
                ..
            }
        ]
    ));
    fed.site(0).silent.clear();
    fed.site(1).silent.clear();
    fed.settle();
    assert_eq!(fed.summed(), [0, 1, 2, 3]);
}

#[test]
fn a_site_leaves_after_its_receipt_and_still_counts() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.commit();
    fed.act(Kind::Upload);
    fed.kill(4);
    fed.settle();
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_site_that_sits_a_round_out_is_not_waited_for() {
    let mut fed = Federation::of(5);
    fed.site(1).trainer = Trainer::Declines(Decline::NotNow);
    fed.settle();
    assert_eq!(fed.summed(), [0, 2, 3, 4]);
}

#[test]
fn too_few_commits_abort_without_a_certificate_and_nothing_is_trained_again() {
    let mut fed = Federation::of(5);
    fed.site(0).silent.insert(Kind::Commit);
    fed.site(1).silent.insert(Kind::Commit);
    fed.settle();
    fed.wait();
    let first = &fed.hub.past[0];
    let too_small = Abort::CohortTooSmall { have: 3, need: 4 };
    assert_eq!(aborted(&first.outcome), (&too_small, false));
    assert_eq!(fed.hub.round.as_ref().unwrap().0.seq, 2);
    fed.site(0).silent.clear();
    fed.site(1).silent.clear();
    fed.settle();
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4]);
    assert!(fed.sites.iter().all(|site| site.trained == 1));
}

#[test]
fn a_round_that_fails_three_times_ends_the_run() {
    let mut fed = Federation::of(5);
    for index in 0..5 {
        fed.site(index).trainer = Trainer::Declines(Decline::TrainerFailed);
    }
    fed.settle();
    let too_small = Abort::CohortTooSmall { have: 0, need: 4 };
    assert_eq!(fed.hub.run().state(), State::Failed(too_small));
    assert_eq!(fed.hub.run().aborted().len(), MAX_ATTEMPTS as usize);
}

#[test]
fn too_few_uploads_need_an_abort_certificate_before_the_same_update_is_masked_again() {
    let mut fed = Federation::of(5);
    fed.site(0).silent.insert(Kind::Upload);
    fed.site(1).silent.insert(Kind::Upload);
    for index in 0..3 {
        fed.site(index).silent.insert(Kind::Abort);
    }
    fed.settle();
    fed.wait();
    let too_few = Abort::SurvivorsTooFew { have: 3, need: 4 };
    assert_eq!(fed.round().aborting(), Some(&too_few));
    assert_eq!(fed.hub.past.len(), 0, "two holders are not a certificate");
    for index in 0..5 {
        fed.site(index).silent.clear();
    }
    fed.settle();
    assert_eq!(aborted(&fed.hub.past[0].outcome), (&too_few, true));
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4]);
    for site in &fed.sites {
        assert_eq!(site.trained, 1, "the same contribution");
        let commits = fed.witness.commits_of(site.name.as_str());
        assert_eq!(commits.len(), 2);
        assert_ne!(
            (commits[0].nonce, commits[0].e_pk),
            (commits[1].nonce, commits[1].e_pk),
            "fresh secrets"
        );
    }
}

#[test]
fn an_abort_that_is_never_certified_pauses_the_run_and_names_the_holders() {
    let mut fed = Federation::of(5);
    for index in 0..5 {
        fed.site(index).silent.extend([Kind::Upload, Kind::Abort]);
    }
    fed.settle();
    fed.wait();
    fed.wait();
    let uncertified = Abort::AbortUncertified { have: 0, need: 4 };
    let paused = fed.hub.run().paused().unwrap();
    assert_eq!(paused.loss.reason, uncertified);
    assert_eq!(paused.loss.missing.len(), 5);
}

/// T-36.
#[test]
fn t36_as_many_silent_holders_as_the_threshold_allows_change_nothing() {
    for kind in [Kind::Attest, Kind::Unmask] {
        let mut fed = Federation::of(7);
        fed.site(0).silent.insert(kind);
        fed.site(1).silent.insert(kind);
        fed.settle();
        if kind == Kind::Unmask {
            assert!(fed.hub.over(), "t of the lists are enough");
        }
        assert_eq!(fed.summed(), [0, 1, 2, 3, 4, 5, 6]);
    }
}

/// T-36.
#[test]
fn t36_one_more_silent_holder_means_no_certificate_and_a_retry_once_enough_answer() {
    let mut fed = Federation::of(7);
    for index in 0..3 {
        fed.site(index).silent.extend([Kind::Attest, Kind::Abort]);
    }
    fed.settle();
    fed.wait();
    let ann = fed.round().attempt().hash();
    let too_few = Abort::AttestationsTooFew { have: 4, need: 5 };
    assert_eq!(fed.round().aborting(), Some(&too_few));
    assert_eq!((fed.witness.lists(ann), fed.witness.aborts(ann)), (0, 4));
    for index in 0..3 {
        fed.site(index).silent.clear();
    }
    fed.settle();
    assert_eq!(aborted(&fed.hub.past[0].outcome), (&too_few, true));
    assert_eq!(fed.witness.lists(ann), 0, "nothing of it was ever revealed");
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4, 5, 6]);
    assert!(fed.sites.iter().all(|site| site.trained == 1));
}

/// T-36.
#[test]
fn t36_too_few_lists_by_expiry_lose_the_release_and_pause_the_run() {
    let mut fed = Federation::of(7);
    for index in 0..3 {
        fed.site(index).silent.insert(Kind::Unmask);
    }
    fed.settle();
    assert!(!fed.hub.over(), "holders may come back after a crash");
    fed.wait();
    let missing = fed.sites[..3].iter().map(|site| site.name.clone());
    let loss = Loss {
        reason: Abort::ReleaseLost { have: 4, need: 5 },
        missing: missing.collect(),
        culprit: None,
    };
    assert_eq!(fed.hub.last_outcome(), &Outcome::Spent(loss.clone()));
    let paused = fed.hub.run().paused().unwrap();
    assert_eq!((paused.round, paused.seq, &paused.loss), (1, 1, &loss));
    let announced = fed.hub.past.len();
    fed.settle();
    assert_eq!(
        fed.hub.past.len(),
        announced,
        "nobody is asked for anything"
    );
    assert!(fed.hub.sums.is_empty(), "and nothing was computed");
}

/// Nobody consents: what was sent is spent, and no site contributes again because the coordinator's operator says so.
#[test]
fn a_resumed_run_gets_nothing_from_sites_that_did_not_consent() {
    let mut fed = Federation::of(7);
    for index in 0..3 {
        fed.site(index).silent.insert(Kind::Unmask);
    }
    fed.settle();
    fed.wait();
    let now = fed.now;
    fed.hub.resume(now);
    let next = &fed.hub.round.as_ref().unwrap().0;
    assert_eq!((next.round, next.seq), (2, 2));
    fed.finish();
    let alone = Abort::CohortTooSmall { have: 0, need: 5 };
    assert_eq!(fed.hub.run().state(), State::Failed(alone));
    assert!(fed.hub.sums.is_empty());
}

#[test]
fn a_holder_that_comes_back_stands_in_for_one_that_vanished() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.commit();
    fed.act(Kind::Upload);
    fed.act(Kind::OpenShares);
    fed.site(4).online = false;
    fed.hear();
    fed.act(Kind::Judge);
    fed.act(Kind::Attest);
    assert!(fed.round().certificate().is_some(), "four of five attested");
    fed.kill(0);
    fed.settle();
    assert!(!fed.hub.over(), "three lists are too few");
    fed.site(4).online = true;
    fed.settle();
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4]);
}

/// T-60.
#[test]
fn t60_more_complaints_than_corrupt_holders_abort_and_the_retry_goes_without_the_dealer() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.act(Kind::Train);
    fed.site(1).damage("attempt/1/1/outbound"); // so nothing it seals can be opened
    fed.settle();
    let first = &fed.hub.past[0];
    let bad = Abort::BadDealing { dealers: vec![1] };
    assert_eq!(aborted(&first.outcome), (&bad, true));
    let (next, round) = fed.hub.round.as_ref().unwrap();
    assert_eq!((next.seq, next.excluded.as_slice()), (2, &[1][..]));
    assert!(!round.machine.attempt().announcement().holders.contains(1));
    let refused = Rejection::NotAMember("attempt: its earlier shares could not be used");
    assert!(fed.sites[1].refused.contains(&refused));
    fed.finish();
    assert_eq!(fed.summed(), [0, 2, 3, 4]);
    assert!(fed.sites.iter().all(|site| site.trained == 1));
}

/// T-29a.
#[test]
fn t29a_as_many_complaints_as_corrupt_holders_exclude_nobody() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.site(1).damage("attempt/1/1/inbound"); // it can open nobody's shares
    fed.settle();
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4]);
}

/// T-59.
#[test]
fn t59_a_holder_killed_after_commit_still_has_its_own_pair_when_nobody_can_be_missed() {
    let mut fed = Federation::of(3);
    fed.enrol();
    fed.commit();
    fed.kill(0);
    fed.settle();
    fed.restart(0);
    fed.act(Kind::Upload);
    fed.kill(0); // its receipt is there, so the seed of its own secrets is gone
    assert!(!fed.site(0).stored.contains_key("attempt/1/1/seed"));
    fed.restart(0);
    fed.settle();
    assert_eq!(fed.summed(), [0, 1, 2]);
}

#[test]
fn an_abort_is_journalled_once_however_often_it_is_proposed_and_sent_again_after_a_crash() {
    let mut fed = Federation::of(5);
    for index in 0..5 {
        fed.site(index).silent.extend([Kind::Upload, Kind::Abort]);
    }
    fed.settle();
    fed.wait();
    fed.hear();
    let entries = |fed: &Federation| fed.sites[0].journal.len();
    let before = entries(&fed);
    fed.hear();
    assert_eq!(entries(&fed), before);
    fed.restart(0);
    fed.hear();
    assert_eq!(entries(&fed), before);
    fed.site(0).silent.clear();
    assert_eq!(fed.sites[0].asked(Kind::Abort), 1, "nobody has answered it");
}

#[test]
fn a_holder_signs_a_set_that_names_it_although_its_own_receipt_is_still_on_its_way() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.commit();
    fed.site(0).slow_receipt = true;
    fed.act(Kind::Upload);
    fed.act(Kind::OpenShares);
    fed.hear(); // the proposal overtakes the receipt
    fed.act(Kind::Judge);
    assert_eq!(fed.sites[0].asked(Kind::Attest), 1);
    let (now, receipt) = (fed.now, fed.site(0).held.take().unwrap());
    fed.site(0).step(now, receipt).unwrap();
    fed.settle();
    assert!(
        fed.sites[0].refused.is_empty(),
        "{:?}",
        fed.sites[0].refused
    );
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4]);
}

/// All have committed, and the coordinator is away until both announced deadlines are over.
#[test]
fn a_coordinator_that_was_away_past_both_deadlines_waits_for_the_uploads_all_the_same() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.act(Kind::Train);
    fed.site(4).online = false;
    for index in 0..4 {
        fed.act_at(index, Kind::Commit);
    }
    assert!(fed.round().cohort().is_none(), "it is waited for");
    fed.now = Timestamp(announcement_of(&fed).submit_by_ms + 1000);
    fed.tick();
    assert!(fed.round().cohort().is_some());
    assert_eq!(fed.round().aborting(), None);
    fed.settle();
    assert_eq!(fed.summed(), [0, 1, 2, 3]);
    assert!(fed.hub.past.is_empty(), "in the first attempt");
}

/// Three of seven holders are gone until the attempt has expired; then every site's operator consents.
fn lost_and_consented(setup: Setup) -> Federation {
    let mut fed = Federation::with(setup);
    for index in 0..3 {
        fed.site(index).silent.insert(Kind::Unmask);
    }
    fed.settle();
    fed.wait();
    let model_hash = fed.hub.run().model().digest;
    let now = fed.now;
    for site in &mut fed.sites {
        site.silent.clear();
        site.submit(now, Event::Consented { model_hash }).unwrap();
    }
    fed
}

#[test]
fn a_lost_round_is_made_good_under_the_next_number_with_the_same_contributions() {
    for epoch_rounds in [None, Some(1)] {
        let mut fed = lost_and_consented(Setup {
            epoch_rounds,
            ..Setup::of(7).rounds(2)
        });
        let now = fed.now;
        fed.hub.resume(now);
        fed.finish();
        assert_eq!(fed.hub.run().state(), State::Completed);
        let history = fed.hub.run().history();
        let rounds: Vec<u64> = history.iter().map(|record| record.round).collect();
        assert_eq!(rounds, [2, 3]);
        assert_eq!(history[0].epoch, if epoch_rounds.is_some() { 2 } else { 1 });
        assert_eq!(fed.summed(), [0, 1, 2, 3, 4, 5, 6]);
        assert!(
            fed.sites.iter().all(|site| site.trained == 2),
            "once a model"
        );
    }
}

#[test]
fn sites_that_did_not_consent_sit_out_and_the_others_go_on_without_them() {
    let mut fed = Federation::of(7);
    for index in 0..3 {
        fed.site(index).silent.insert(Kind::Unmask);
    }
    fed.settle();
    fed.wait();
    let model_hash = fed.hub.run().model().digest;
    let now = fed.now;
    for index in 1..7 {
        let consented = Event::Consented { model_hash };
        fed.site(index).submit(now, consented).unwrap();
    }
    fed.sites.iter_mut().for_each(|site| site.silent.clear());
    fed.hub.resume(now);
    fed.finish();
    assert_eq!(fed.hub.run().state(), State::Completed);
    assert_eq!(fed.summed(), [1, 2, 3, 4, 5, 6]);
}
