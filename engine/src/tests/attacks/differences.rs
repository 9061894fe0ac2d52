//! Two sums over almost the same updates: what is in the one and not in the other is the victim's. Each control ends with exactly that.

use veilsum_secagg::message::Cohort;
use veilsum_secagg::{Digest, Fault};

use super::super::kit::{Federation, Kind, Setup, Sum, announcement_of, initial_model, opened};
use super::{
    VICTIM, abort_certificate, abort_of, carry_out, finish, further, held_by, last_sum,
    open_beside, own, released, step_of, tell, turn_to, uploaded,
};
use crate::ledger::Duty;
use crate::machine::Machine;
use crate::participant::{Event, Step};
use crate::rejection::Rejection;

fn first_model() -> Digest {
    Digest::of_bulk(&initial_model())
}

/// T-19: R1, R2 and the holders' rule for one round, all in what a site says to the second announcement.
#[test]
fn t19_without_the_retry_rules_two_sums_differ_by_the_victims_update() {
    let (mut fed, whole) = released(5);
    let again = further(&fed, 1, 2);
    let announced = opened(&fed, again.clone(), Vec::new());
    let now = fed.now;
    for site in &mut fed.sites {
        let lost = Rejection::RoundLost { round: 1, seq: 1 };
        assert_eq!(site.believe(now, announced.clone()), lost);
    }
    open_beside(&mut fed, &again, &[]);
    let part = carry_out(&mut fed, 1..5);
    assert_eq!(whole.less(&part), own(&fed, VICTIM, &first_model()));
}

/// T-21: after a result, the round before it is announced again under a new attempt number.
#[test]
fn t21_without_numbers_on_record_an_old_round_is_summed_again_without_the_victim() {
    let mut fed = Federation::with(Setup::of(5).rounds(2));
    fed.settle_until_round(2);
    let whole = last_sum(&fed);
    let mut back = further(&fed, 1, 3);
    (back.model_hash, back.prev_result_hash) = (first_model(), Digest::ZERO);
    let announced = opened(&fed, back.clone(), Vec::new());
    let now = fed.now;
    for site in &mut fed.sites {
        let stale = Rejection::Stale { round: 1, seq: 3 };
        assert_eq!(site.believe(now, announced.clone()), stale);
    }
    open_beside(&mut fed, &back, &[]);
    let part = carry_out(&mut fed, 1..5);
    assert_eq!(whole.less(&part), own(&fed, VICTIM, &first_model()));
}

/// T-62: the coordinator says that every connection broke at the last byte. It has the uploads all the same.
#[test]
fn t62_without_counting_an_interrupted_upload_as_sent_two_sums_differ_by_the_victims_update() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.sites
        .iter_mut()
        .for_each(|site| site.slow_receipt = true);
    fed.commit();
    fed.act(Kind::Upload);
    let whole = finish(&mut fed);
    let again = further(&fed, 2, 2);
    let announced = opened(&fed, again.clone(), Vec::new());
    let now = fed.now;
    for site in &mut fed.sites {
        let spent = Err(Rejection::Spent { round: 1, seq: 1 });
        assert_eq!(site.machine.admit(now, &announced), spent);
        let sent = step_of(announcement_hash(site), Step::Submitting);
        site.journal.retain(|(_, event)| *event != sent); // so it knows of no byte that left
        site.reboot();
        site.submit(now, announced.clone()).unwrap();
        site.slow_receipt = false;
    }
    open_beside(&mut fed, &again, &[]);
    let part = carry_out(&mut fed, 1..5);
    assert_eq!(whole.less(&part), own(&fed, VICTIM, &first_model()));
}

fn announcement_hash(site: &super::super::kit::Site) -> Digest {
    site.machine.attempt().expect("it is in one").hash()
}

/// T-70: both attempts are committed to, and the coordinator closes both cohorts: the older or the newer one first, of one round or of
/// two, with the same holders or with others.
#[test]
fn t70_of_two_cohorts_that_close_in_either_order_each_site_masks_in_one() {
    let cases = [(1, 0), (1, 1), (2, 0), (2, 1)];
    for ((round, first_holder), older_first) in cases
        .into_iter()
        .flat_map(|case| [(case, true), (case, false)])
    {
        let mut fed = Federation::of(5);
        fed.enrol();
        fed.act(Kind::Train);
        fed.act(Kind::Commit);
        let older = fed.round().cohort().expect("all committed").clone();
        let mut second = further(&fed, round, 2);
        held_by(&fed, &mut second, first_holder..5);
        open_beside(&mut fed, &second, &[]);
        let announced = opened(&fed, announcement_of(&fed), Vec::new());
        let now = fed.now;
        for site in &mut fed.sites {
            site.submit(now, announced.clone()).unwrap(); // R1: nothing was sent
        }
        fed.act(Kind::Commit);
        let newer = fed.round().cohort().expect("all committed again").clone();
        let shown = if older_first {
            [older, newer]
        } else {
            [newer, older]
        };
        for cohort in shown {
            let seen = seen(&fed, cohort);
            for site in &mut fed.sites {
                let heard = site.submit(now, seen.clone());
                let newest = step_hash(&seen) == announcement_hash(site);
                let expected = if newest {
                    Ok(())
                } else {
                    Err(Rejection::Elsewhere("attempt"))
                };
                assert_eq!(heard, expected);
            }
            fed.act(Kind::Upload);
        }
        finish(&mut fed);
        for site in &fed.sites {
            let (name, line) = (site.name.as_str(), &site.machine.ledger().attempts[&(1, 1)]);
            assert_eq!(
                fed.witness.uploads_of(name).len(),
                1,
                "{name} masked in one"
            );
            assert_eq!(line.duty, Duty::Aborted, "and holds nothing of the other");
        }
    }
}

fn seen(fed: &Federation, cohort: Cohort) -> Event {
    let signature = cohort.sign(&fed.hub.identity);
    step_of(cohort.ann_hash, Step::CohortSeen { cohort, signature })
}

fn step_hash(event: &Event) -> Digest {
    match event {
        Event::Attempt { ann_hash, .. } => *ann_hash,
        other => panic!("{other:?}"),
    }
}

/// T-70: sites that live on in the older attempt beside the newer one, each with a machine of its own.
#[test]
fn t70_without_leaving_the_older_attempt_two_sums_differ_by_the_victims_update() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.act(Kind::Train);
    fed.act(Kind::Commit);
    let mut living_on: Vec<_> = fed.sites.iter().map(|site| site.twin()).collect();
    let second = further(&fed, 2, 2);
    let older = open_beside(&mut fed, &second, &[]);
    let announced = opened(&fed, second, Vec::new());
    let now = fed.now;
    for site in &mut fed.sites {
        site.submit(now, announced.clone()).unwrap();
    }
    let newer = turn_to(&mut fed, older);
    std::mem::swap(&mut fed.sites, &mut living_on);
    tell(&mut fed);
    fed.act(Kind::Upload);
    let (whole, victims) = (finish(&mut fed), own(&fed, VICTIM, &first_model()));
    turn_to(&mut fed, newer);
    std::mem::swap(&mut fed.sites, &mut living_on);
    let part = carry_out(&mut fed, 1..5);
    assert_eq!(whole.less(&part), victims);
}

/// T-71: the same weights in a file with one more line have another hash, and whoever trains on them comes to the same update.
#[test]
fn t71_without_the_chain_of_models_a_copy_of_the_model_buys_a_second_sum() {
    let (mut fed, whole) = released(5);
    let mut copy = initial_model();
    copy.push(b' ');
    let copied = Digest::of_bulk(&copy);
    fed.hub.blobs.insert(copied, copy);
    let mut again = further(&fed, 2, 2);
    again.model_hash = copied;
    let announced = opened(&fed, again.clone(), Vec::new());
    open_beside(&mut fed, &again, &[]);
    let (now, roundcfg_hash) = (fed.now, announcement_of(&fed).roundcfg_hash);
    for site in &mut fed.sites {
        let refusal = site.believe(now, announced.clone());
        assert_eq!(refusal, Rejection::Elsewhere("model"));
        let mut same = site.machine.contribution().unwrap().clone();
        (same.round, same.model_hash, same.roundcfg_hash) = (2, copied, roundcfg_hash);
        site.submit(now, Event::Trained(Box::new(same))).unwrap();
        site.take(Kind::Train); // it has trained
    }
    fed.hub.round.as_mut().unwrap().0.model = fed.hub.run().model(); // what the job reads
    let part = carry_out(&mut fed, 1..5);
    let (known, victims) = (whole.less(&part), own(&fed, VICTIM, &first_model()));
    assert_eq!(known.lanes, victims.lanes, "its metadata to the last digit");
    for (known, victims) in known.elements.iter().zip(&victims.elements) {
        assert!(
            known.abs_diff(*victims) <= 4,
            "and its update but for four roundings"
        );
    }
    assert!(
        victims.elements[0] > 400,
        "which are nothing beside {}",
        victims.elements[0]
    );
}

/// T-73: holders that released sign an abort as well, so every site has the proof it asks for.
#[test]
fn t73_without_excluding_abort_after_release_the_coordinator_has_both_and_so_the_victims_update() {
    let (mut fed, whole) = released(5);
    let first = announcement_of(&fed);
    let (now, abort) = (fed.now, abort_of(&fed, &first));
    for site in &mut fed.sites {
        let refusal = site.believe(now, abort.clone());
        assert!(
            matches!(
                refusal,
                Rejection::OutOfPhase {
                    phase: "released",
                    ..
                }
            ),
            "{refusal}"
        );
    }
    let proof = abort_certificate(&mut fed, first.hash());
    let again = further(&fed, 1, 2);
    let announced = opened(&fed, again.clone(), vec![proof.clone()]);
    for site in &mut fed.sites {
        site.submit(now, announced.clone()).unwrap();
    }
    open_beside(&mut fed, &again, &[proof]);
    let part = carry_out(&mut fed, 1..5);
    assert_eq!(whole.less(&part), own(&fed, VICTIM, &first_model()));
}

/// T-74: an attempt of the next epoch ends what is idle or attested in the one before.
#[test]
fn t74_a_newer_announcement_of_a_later_epoch_aborts_what_is_idle_or_attested() {
    for duty in [Duty::Idle, Duty::Attested] {
        let mut fed = Federation::with(Setup {
            epoch_rounds: Some(1),
            ..Setup::of(5).rounds(2)
        });
        fed.enrol();
        fed.commit();
        fed.act(Kind::Upload);
        fed.act(Kind::OpenShares);
        if duty == Duty::Attested {
            fed.hear();
            fed.act_at(VICTIM, Kind::Judge);
        }
        let first = announcement_of(&fed);
        assert_eq!(fed.sites[0].machine.duty(), duty);
        fed.site(VICTIM).online = false;
        fed.settle(); // to the next epoch, which waits for it
        let certificate = fed.hub.run().history()[0].published.certificate.clone();
        fed.restart(VICTIM);
        fed.settle_until_round(2);
        let machine = &fed.sites[VICTIM as usize].machine;
        assert_eq!(machine.attempt().unwrap().roster().epoch(), 2);
        assert_eq!(machine.ledger().attempts[&(1, 1)].duty, Duty::Aborted);
        let older = machine.admit(fed.now, &opened(&fed, first.clone(), Vec::new()));
        let epoch = Fault::Context("epoch").by_coordinator();
        assert_eq!(older, Err(Rejection::Protocol(epoch)));
        let release = step_of(first.hash(), Step::Released(certificate));
        let late = machine.admit(fed.now, &release);
        assert_eq!(late, Err(Rejection::Elsewhere("attempt")));
    }
}

/// Everybody has attested. All sign the abort, so every site goes on to the next attempt, while copies of the holders from before that
/// release the first one. Gives both sums.
fn aborted_and_released() -> (Federation, [Sum; 2]) {
    let mut fed = uploaded(5);
    fed.hear();
    fed.act(Kind::Judge);
    fed.act(Kind::Attest);
    assert!(fed.round().certificate().is_some());
    let mut copies: Vec<_> = fed.sites.iter().map(|site| site.twin()).collect();
    let first = announcement_of(&fed);
    let (now, abort) = (fed.now, abort_of(&fed, &first));
    for site in &mut fed.sites {
        site.submit(now, abort.clone()).unwrap();
    }
    let proof = abort_certificate(&mut fed, first.hash());
    let again = further(&fed, 1, 2);
    let announced = opened(&fed, again.clone(), vec![proof.clone()]);
    for site in &mut fed.sites {
        site.submit(now, announced.clone()).unwrap();
    }
    let older = open_beside(&mut fed, &again, &[proof]);
    let part = carry_out(&mut fed, 1..5);
    turn_to(&mut fed, older);
    std::mem::swap(&mut fed.sites, &mut copies);
    fed.act(Kind::OpenShares);
    tell(&mut fed);
    fed.act(Kind::Unmask);
    let whole = last_sum(&fed);
    (fed, [whole, part])
}

/// T-72: each store was put back to before the abort signature, and nothing at the site can tell.
#[test]
fn t72_without_the_marker_restored_holders_release_what_they_signed_away() {
    let (fed, [whole, part]) = aborted_and_released();
    for site in &fed.sites {
        assert_eq!(
            site.machine.ledger().attempts.len(),
            1,
            "of the store that was put back"
        );
        assert_eq!(site.machine.duty(), Duty::Released);
    }
    assert_eq!(whole.less(&part), own(&fed, VICTIM, &first_model()));
}

/// T-74: holders that live on in the older attempt, where they have attested, beside the newer one.
#[test]
fn t74_without_ending_the_older_attempt_it_is_released_beside_the_newer_one() {
    let (fed, [whole, part]) = aborted_and_released();
    assert_eq!(whole.less(&part), own(&fed, VICTIM, &first_model()));
}

/// T-75: what a consent is worth, which is why only a site's own operator can give it.
#[test]
fn t75_without_asking_the_operators_two_sums_differ_by_the_victims_update() {
    let (mut fed, whole) = released(5);
    let again = further(&fed, 2, 2);
    let announced = opened(&fed, again.clone(), Vec::new());
    let now = fed.now;
    for site in &mut fed.sites {
        let spent = Rejection::Spent { round: 1, seq: 1 };
        assert_eq!(site.believe(now, announced.clone()), spent);
    }
    open_beside(&mut fed, &again, &[]);
    let part = carry_out(&mut fed, 1..5);
    assert_eq!(whole.less(&part), own(&fed, VICTIM, &first_model()));
}

/// T-75: under the old number nobody can do anything with a consent: whoever released refuses, for ever.
#[test]
fn t75_an_attempt_under_the_old_round_number_gets_no_holder_after_consent() {
    let (mut fed, _) = released(5);
    let (now, model_hash) = (fed.now, first_model());
    for site in &mut fed.sites {
        site.submit(now, Event::Consented { model_hash }).unwrap();
    }
    let old_number = opened(&fed, further(&fed, 1, 2), Vec::new());
    let new_number = opened(&fed, further(&fed, 2, 2), Vec::new());
    for site in &fed.sites {
        let lost = Err(Rejection::RoundLost { round: 1, seq: 1 });
        assert_eq!(site.machine.admit(now, &old_number), lost);
        assert_eq!(site.machine.admit(now, &new_number), Ok(()));
    }
}

/// T-21: a site whose state is gone is nobody the others know, until it has joined an epoch anew.
#[test]
fn t21_a_site_whose_state_is_gone_takes_part_in_nothing_before_the_next_epoch() {
    let mut fed = Federation::with(Setup {
        epoch_rounds: Some(2),
        ..Setup::of(5).rounds(3)
    });
    fed.settle_until_round(2);
    let site = fed.site(VICTIM);
    site.journal.clear();
    site.stored.clear();
    site.fresh_draws = true;
    site.reboot();
    let announced = opened(&fed, announcement_of(&fed), Vec::new());
    let refused = fed.sites[VICTIM as usize]
        .machine
        .admit(fed.now, &announced);
    assert!(
        matches!(refused, Err(Rejection::OutOfPhase { .. })),
        "{refused:?}"
    );
    fed.finish();
    let took_part = |round: usize| fed.hub.sums[round].survivors.contains(&fed.sites[0].name);
    assert_eq!([took_part(1), took_part(2)], [false, true]);
    assert_eq!(fed.hub.run().history()[2].epoch, 2);
}
