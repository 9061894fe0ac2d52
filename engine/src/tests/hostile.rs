//! A coordinator that lies, and what an honest site makes of it: protocol, section 23, by number. Every refusal is the machine's; a
//! refused event has no effect.

use veilsum_common::time::{Span, Timestamp};
use veilsum_secagg::message::{Announcement, Cohort, RoundResult, SurvivorProposal};
use veilsum_secagg::{Bitmap, Certificate, Culprit, Digest, Error, Fault, coordinator};

use super::kit::{
    Federation, Kind, Setup, Trainer, announcement_of, initial_model, opened, survivors,
};
use crate::ledger::Duty;
use crate::machine::Machine;
use crate::participant::session::SessionPhase;
use crate::participant::{Event, Step, accuses_coordinator};
use crate::policy::Refusal;
use crate::rejection::Rejection;
use crate::round::{Decline, Published};

/// The round is open; nobody has trained.
fn open(sites: u32) -> Federation {
    let mut fed = Federation::of(sites);
    fed.enrol();
    fed
}

/// What site 0 says to another announcement than the one it knows.
fn offered(fed: &Federation, change: impl FnOnce(&mut Announcement)) -> Result<(), Rejection> {
    let mut announcement = announcement_of(fed);
    change(&mut announcement);
    let event = opened(fed, announcement, Vec::new());
    fed.sites[0].machine.admit(fed.now, &event)
}

/// The next attempt at the same model.
fn again(announcement: &mut Announcement) {
    announcement.seq += 1;
}

fn by_coordinator(fault: Fault) -> Result<(), Rejection> {
    Err(Rejection::Protocol(fault.by_coordinator()))
}

fn refused_for(rejection: &Rejection) -> Option<Culprit> {
    match rejection {
        Rejection::Protocol(error) => error.culprits(),
        _ => None,
    }
}

#[test]
fn an_announcement_must_be_signed_by_the_runs_coordinator() {
    let fed = open(5);
    let mut announcement = announcement_of(&fed);
    again(&mut announcement);
    let Event::Opened {
        announcement,
        round_config,
        proofs,
        ..
    } = opened(&fed, announcement, Vec::new())
    else {
        unreachable!()
    };
    let forged = Event::Opened {
        signature: announcement.sign(&fed.sites[1].identity),
        announcement,
        round_config,
        proofs,
    };
    let refused = fed.sites[0].machine.admit(fed.now, &forged);
    assert_eq!(refused, by_coordinator(Fault::Signature("announcement")));
    assert!(accuses_coordinator(&refused.unwrap_err()));
}

/// T-07.
#[test]
fn t07_the_trainers_configuration_must_be_the_announced_one() {
    let fed = open(5);
    let mut event = opened(&fed, announcement_of(&fed), Vec::new());
    let Event::Opened {
        announcement,
        signature,
        round_config,
        ..
    } = &mut event
    else {
        unreachable!()
    };
    again(announcement);
    *signature = announcement.sign(&fed.hub.identity);
    round_config.push(b' ');
    let refused = fed.sites[0].machine.admit(fed.now, &event);
    assert_eq!(
        refused,
        by_coordinator(Fault::Context("round configuration"))
    );
}

/// T-71.
#[test]
fn t71_holders_threshold_and_model_must_follow_the_rules() {
    let fed = open(5);
    let holders = |count: u32| Bitmap::of(5, 0..count);
    let floor = offered(&fed, |announcement| {
        again(announcement);
        announcement.holders = holders(3);
        announcement.threshold = 3;
    });
    let few = Fault::TooFew {
        what: "holders",
        have: 3,
        need: 4,
    };
    assert_eq!(floor, by_coordinator(few), "L = 3 of 5");
    for threshold in [3, 5, 6] {
        let refused = offered(&fed, |announcement| {
            again(announcement);
            announcement.threshold = threshold;
        });
        assert_eq!(
            refused_for(&refused.unwrap_err()),
            Some(Culprit::Coordinator)
        );
    }
    let model = offered(&fed, |announcement| {
        again(announcement);
        announcement.model_hash.0[0] ^= 1;
    });
    assert_eq!(model, Err(Rejection::Elsewhere("model")));
    let chain = offered(&fed, |announcement| {
        again(announcement);
        announcement.prev_result_hash.0[0] ^= 1;
    });
    assert_eq!(chain, Err(Rejection::Elsewhere("previous result")));
}

/// T-71: the chain of models, once there is one.
#[test]
fn t71_a_model_that_is_not_the_next_model_of_the_last_result_is_refused() {
    let mut fed = Federation::with(Setup::of(5).rounds(2));
    fed.settle_until_round(2);
    let first = Digest::of_bulk(&initial_model());
    let back = offered(&fed, |announcement| {
        again(announcement);
        announcement.model_hash = first;
    });
    assert_eq!(back, Err(Rejection::Elsewhere("model")));
    let skipped = offered(&fed, |announcement| {
        again(announcement);
        announcement.prev_result_hash = Digest::ZERO;
    });
    assert_eq!(skipped, Err(Rejection::Elsewhere("previous result")));
}

#[test]
fn an_attempt_that_would_stay_open_for_more_than_a_week_is_refused() {
    let fed = open(5);
    let latest = fed.now + Span::from_secs(7 * 24 * 3600);
    let expires = latest + Span::from_ms(1);
    let refused = offered(&fed, |announcement| {
        again(announcement);
        announcement.expires_ms = expires.0;
    });
    assert_eq!(refused, Err(Rejection::Deadline { expires, latest }));
    let accepted = offered(&fed, |announcement| {
        again(announcement);
        announcement.expires_ms = latest.0;
    });
    assert_eq!(accepted, Ok(()));
}

/// T-56.
#[test]
fn t56_an_attempt_number_that_jumps_too_far_or_repeats_is_refused_and_the_ratchet_stays() {
    let mut fed = open(5);
    let jumped = |seq: u64| {
        let mut announcement = announcement_of(&fed);
        announcement.seq = seq;
        opened(&fed, announcement, Vec::new())
    };
    let fresh = super::kit::seed("fresh", 0);
    for seq in [1 + 1025, u64::MAX] {
        let refused = fed.sites[0].machine.secrets(&jumped(seq), &fresh);
        let refused = refused.err().expect("too far");
        assert!(
            matches!(refused, Rejection::Protocol(Error::Sequence { .. })),
            "{refused}"
        );
    }
    let other = offered(&fed, |announcement| announcement.commit_by_ms += 1);
    assert_eq!(
        other,
        Err(Rejection::Conflict("announcement")),
        "another one under the same number"
    );
    let zero = offered(&fed, |announcement| announcement.seq = 0);
    assert!(zero.is_err());
    let (now, event) = (fed.now, jumped(1 + 1024));
    fed.site(0).submit(now, event).unwrap();
    assert_eq!(
        fed.sites[0].machine.attempt().unwrap().announcement().seq,
        1025
    );
}

/// T-21.
#[test]
fn t21_epoch_round_and_attempt_never_go_back_not_even_after_a_restart() {
    let setup = Setup {
        epoch_rounds: Some(1),
        ..Setup::of(4).rounds(3)
    };
    let mut fed = Federation::with(setup);
    fed.hear();
    fed.act(Kind::Join);
    fed.hear();
    fed.act(Kind::Confirm);
    fed.hear();
    let first = announcement_of(&fed);
    fed.settle_until_round(3);
    let (now, third) = (fed.now, announcement_of(&fed));
    for restarted in [false, true] {
        if restarted {
            fed.restart(0);
        }
        let machine = &fed.sites[0].machine;
        let old_epoch = machine.admit(now, &opened(&fed, first.clone(), Vec::new()));
        assert_eq!(old_epoch, by_coordinator(Fault::Context("epoch")));
        let older_round = offered(&fed, |announcement| {
            again(announcement);
            announcement.round -= 1;
        });
        let stale = Rejection::Stale {
            round: 2,
            seq: third.seq + 1,
        };
        assert_eq!(older_round, Err(stale));
        let binding = Box::new(super::kit::binding(&fed.sites[0].name));
        let joined = Event::Joined { epoch: 1, binding };
        assert_eq!(
            machine.admit(now, &joined),
            Err(Rejection::Elsewhere("epoch"))
        );
    }
    let mut newer = third.clone();
    again(&mut newer);
    let event = opened(&fed, newer, Vec::new());
    fed.site(0).submit(now, event).unwrap();
    let older = opened(&fed, third, Vec::new());
    let refused = fed.sites[0].machine.admit(now, &older);
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
}

/// T-10.
#[test]
fn t10_a_second_roster_under_one_epoch_number_is_refused() {
    let mut fed = Federation::of(5);
    fed.hear();
    fed.act(Kind::Join);
    fed.hear();
    let mut advertisements: Vec<_> = fed.hub.epoch().advertisements().cloned().collect();
    let same = Event::Enrolled {
        advertisements: advertisements.clone(),
    };
    let machine = &fed.sites[0].machine;
    assert_eq!(machine.admit(fed.now, &same), Err(Rejection::Repeated));
    advertisements.pop();
    let other = Event::Enrolled { advertisements };
    assert_eq!(
        machine.admit(fed.now, &other),
        Err(Rejection::Conflict("roster"))
    );
}

/// T-12, at the other sites.
#[test]
fn t12_a_roster_that_holds_another_key_of_this_site_is_refused() {
    let mut fed = Federation::of(5);
    fed.hear();
    let advertise = |index| super::kit::advertisement(&fed, index, 1);
    let mut advertisements: Vec<_> = (0..5).map(advertise).collect();
    let seed = super::kit::seed("another", 0);
    advertisements[0] = super::kit::advertisement_from(&fed, 0, 1, &seed);
    let event = Event::Enrolled { advertisements };
    let refused = fed.sites[0].machine.admit(fed.now, &event);
    assert_eq!(refused, by_coordinator(Fault::Context("advertisement")));
}

/// T-03 for rosters: ⌊2n/3⌋+1 distinct signatures.
#[test]
fn t03_a_roster_certificate_counts_distinct_members() {
    let mut fed = Federation::of(5);
    fed.hear();
    fed.act(Kind::Join);
    fed.hear();
    let roster = fed.sites[0].machine.roster().unwrap();
    let sign = |index: usize| {
        (
            u32::try_from(index).unwrap(),
            roster
                .confirm(&fed.sites[index].identity)
                .unwrap()
                .signature,
        )
    };
    let certificate = |signers: &[usize]| {
        let signatures = signers.iter().map(|index| sign(*index)).collect();
        let digest = roster.ctx();
        Event::RosterCertified(Certificate { digest, signatures })
    };
    let machine = &fed.sites[0].machine;
    for too_few in [&[0, 1, 2][..], &[0, 1, 2, 2]] {
        let refused = machine.admit(fed.now, &certificate(too_few));
        assert!(
            matches!(refused, Err(Rejection::Protocol(_))),
            "{refused:?}"
        );
    }
    let offered = opened_before_certificate(&fed);
    assert!(
        matches!(offered, Err(Rejection::OutOfPhase { .. })),
        "without it no site takes part"
    );
    assert_eq!(machine.admit(fed.now, &certificate(&[0, 1, 2, 4])), Ok(()));
}

fn opened_before_certificate(fed: &Federation) -> Result<(), Rejection> {
    let done = open(5);
    let event = opened(&done, announcement_of(&done), Vec::new());
    fed.sites[0].machine.admit(fed.now, &event)
}

/// T-15.
#[test]
fn t15_of_two_cohorts_for_one_attempt_the_first_is_used_and_the_second_reported() {
    let mut fed = open(5);
    fed.commit();
    let mut other = fed.round().cohort().unwrap().clone();
    other.members.remove(4);
    let signature = other.sign(&fed.hub.identity);
    let step = Step::CohortSeen {
        cohort: other,
        signature,
    };
    for _ in 0..2 {
        let refused = fed.sites[0]
            .machine
            .admit(fed.now, &attempt(&fed, step.clone()));
        assert_eq!(refused, by_coordinator(Fault::Equivocation("cohort")));
        fed.restart(0);
        fed.hear();
    }
    fed.settle();
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4]);
}

fn attempt(fed: &Federation, step: Step) -> Event {
    Event::Attempt {
        ann_hash: fed.round().attempt().hash(),
        step: Box::new(step),
    }
}

/// T-73: the same cohort again, in every phase.
#[test]
fn t73_the_same_cohort_again_changes_nothing_in_any_phase() {
    let mut fed = open(5);
    fed.commit();
    let cohort = fed.round().cohort().unwrap().clone();
    let signature = cohort.sign(&fed.hub.identity);
    let seen = attempt(&fed, Step::CohortSeen { cohort, signature });
    for kind in [
        Kind::Upload,
        Kind::OpenShares,
        Kind::Judge,
        Kind::Attest,
        Kind::Unmask,
    ] {
        for site in &fed.sites {
            assert_eq!(
                site.machine.admit(fed.now, &seen),
                Err(Rejection::Repeated),
                "{kind:?}"
            );
        }
        fed.act(kind);
        fed.hear();
    }
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4]);
}

/// The cohort that the coordinator shows instead of its own; the commits are real.
fn shown(fed: &Federation, members: impl IntoIterator<Item = u32>) -> Cohort {
    let mut cohort = fed.round().cohort().unwrap().clone();
    cohort.members = Bitmap::of(cohort.members.size(), members);
    cohort
}

fn show(fed: &mut Federation, index: u32, cohort: Cohort) -> Result<(), Rejection> {
    let signature = cohort.sign(&fed.hub.identity);
    let event = attempt(fed, Step::CohortSeen { cohort, signature });
    let now = fed.now;
    fed.site(index).submit(now, event)
}

/// T-05, T-16: below 70 % of the roster nobody masks, whoever was left out.
#[test]
fn t05_a_cohort_without_enough_members_is_not_masked_for() {
    let mut fed = open(5);
    fed.act(Kind::Train);
    fed.act(Kind::Commit);
    let small = shown(&fed, 0..3);
    show(&mut fed, 0, small).unwrap();
    let near = coordinator::neighbourhood(fed.round().attempt(), fed.round().commits(), 0);
    let refused = fed.sites[0].machine.masking(&near.unwrap()).err();
    let few = Fault::TooFew {
        what: "members of the cohort",
        have: 3,
        need: 4,
    };
    assert_eq!(refused, by_coordinator(few).err());
    assert!(fed.sites[0].machine.session() != Some(SessionPhase::Submitting));
}

/// T-69: a member that never committed.
#[test]
fn t69_a_cohort_with_an_invented_member_is_not_masked_for() {
    let mut fed = open(5);
    fed.act(Kind::Train);
    fed.site(4).silent.insert(Kind::Commit);
    fed.act(Kind::Commit);
    fed.now = fed.hub.deadline().unwrap();
    fed.tick();
    let invented = shown(&fed, 0..5);
    show(&mut fed, 0, invented).unwrap();
    let near = coordinator::neighbourhood(fed.round().attempt(), fed.round().commits(), 0);
    let refused = fed.sites[0].machine.masking(&near.unwrap()).err();
    assert_eq!(
        refused.as_ref().and_then(refused_for),
        Some(Culprit::Coordinator)
    );
}

#[test]
fn the_sites_own_smallest_cohort_is_asked_before_masking_and_again_in_its_transaction() {
    let mut fed = open(5);
    fed.act(Kind::Train);
    fed.act(Kind::Commit);
    let tiny = shown(&fed, 0..2);
    show(&mut fed, 0, tiny).unwrap();
    let policy = Rejection::Policy(Refusal::Cohort { have: 2, need: 3 });
    let near = coordinator::neighbourhood(fed.round().attempt(), fed.round().commits(), 0);
    let refused = fed.sites[0].machine.masking(&near.unwrap()).err();
    assert_eq!(refused, Some(policy.clone()));
    let submitting = attempt(&fed, Step::Submitting);
    assert_eq!(
        fed.sites[0].machine.admit(fed.now, &submitting),
        Err(policy)
    );
}

/// Everybody has uploaded and opened its shares.
fn proposed(sites: u32) -> Federation {
    let mut fed = open(sites);
    fed.commit();
    fed.act(Kind::Upload);
    fed.act(Kind::OpenShares);
    fed
}

fn propose(fed: &mut Federation, index: u32, proposal: &SurvivorProposal) -> Result<(), Rejection> {
    let signature = proposal.sign(&fed.hub.identity);
    fed.site(index)
        .machine
        .propose(proposal.clone(), &signature)
}

/// T-05, T-16, T-69.
#[test]
fn t05_a_holder_judges_every_rule_of_a_survivor_set() {
    let mut fed = proposed(5);
    let honest = fed.round().proposal().unwrap().clone();
    let all = survivors(&fed.hub, &honest);
    let judge = |fed: &Federation, proposal: &SurvivorProposal, items: &[_]| {
        fed.sites[0].machine.judge(proposal, items).err()
    };
    let mut small = honest.clone();
    small.survivors = Bitmap::of(5, 0..3);
    let few = Fault::TooFew {
        what: "survivors",
        have: 3,
        need: 4,
    };
    assert_eq!(judge(&fed, &small, &all[..3]), by_coordinator(few).err());
    let mut forged = all.clone();
    forged[1].signature = all[2].signature;
    let unsigned = by_coordinator(Fault::Signature("upload")).err();
    assert_eq!(
        judge(&fed, &honest, &forged),
        unsigned,
        "a survivor without an upload"
    );
    let mut other = all.clone();
    other[0].upload_hash.0[0] ^= 1;
    let own = by_coordinator(Fault::Context("upload of this site")).err();
    assert_eq!(
        judge(&fed, &honest, &other),
        own,
        "its own entry is the one it signed"
    );
    let mut root = honest.clone();
    root.upload_root.0[0] ^= 1;
    assert!(judge(&fed, &root, &all).is_some());
    let mut elsewhere = honest.clone();
    elsewhere.ctx.0[0] ^= 1;
    let refused = propose(&mut fed, 0, &elsewhere);
    assert_eq!(refused, Err(Rejection::Elsewhere("cohort")));
    fed.settle();
    assert_eq!(
        fed.summed(),
        [0, 1, 2, 3, 4],
        "the honest set is signed all the same"
    );
}

/// T-02.
#[test]
fn t02_two_survivor_sets_shown_to_different_holders_get_no_certificate_and_no_share() {
    let mut fed = proposed(7);
    let honest = fed.round().proposal().unwrap().clone();
    let items = survivors(&fed.hub, &honest);
    let others = [1, 2, 3].map(|left_out: usize| {
        let (round, mut kept) = (fed.round(), items.clone());
        kept.remove(left_out);
        let cohort = round.cohort().unwrap();
        let set = coordinator::close_survivors(round.attempt(), cohort, &kept).unwrap();
        (set, kept)
    });
    for index in 3..7 {
        let (set, kept) = &others[index as usize % 3];
        propose(&mut fed, index, set).unwrap();
        let verdict = fed.sites[index as usize].machine.judge(set, kept).unwrap();
        let now = fed.now;
        fed.site(index).step(now, Step::Attested(verdict)).unwrap();
    }
    fed.settle();
    fed.wait();
    let ann = fed.hub.past[0].stream.machine.attempt().hash();
    assert_eq!((fed.witness.attested(ann), fed.witness.lists(ann)), (7, 0));
    assert_eq!(
        fed.summed(),
        [0, 1, 2, 3, 4, 5, 6],
        "the retry has the honest set"
    );
}

/// T-01, T-02, T-35: one survivor set per holder and attempt.
#[test]
fn t01_a_holder_signs_one_survivor_set_and_refuses_every_other() {
    let mut fed = proposed(5);
    let honest = fed.round().proposal().unwrap().clone();
    let items = survivors(&fed.hub, &honest);
    let other = {
        let (round, kept) = (fed.round(), &items[..4]);
        coordinator::close_survivors(round.attempt(), round.cohort().unwrap(), kept).unwrap()
    };
    propose(&mut fed, 0, &honest).unwrap();
    let equivocation = by_coordinator(Fault::Equivocation("survivor set"));
    assert_eq!(propose(&mut fed, 0, &other), equivocation);
    fed.hear();
    fed.act(Kind::Judge);
    let verdict = |set: &SurvivorProposal| veilsum_secagg::holder::Verdict {
        proposal: set.clone(),
        cohort: Bitmap::full(5),
        complaints: Bitmap::empty(5),
    };
    for _ in 0..2 {
        let machine = &fed.sites[0].machine;
        let again = attempt(&fed, Step::Attested(verdict(&honest)));
        assert_eq!(machine.admit(fed.now, &again), Err(Rejection::Repeated));
        let second = attempt(&fed, Step::Attested(verdict(&other)));
        assert_eq!(
            machine.admit(fed.now, &second),
            Err(Rejection::Conflict("attestation"))
        );
        fed.restart(0); // T-50: the set is durable before the signature leaves
        assert_eq!(
            fed.sites[0].asked(Kind::Attest),
            1,
            "and is sent again, the same"
        );
    }
    fed.settle();
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4]);
}

/// T-03, T-04.
#[test]
fn t03_shares_leave_only_against_t_distinct_signatures_on_the_set_that_was_signed() {
    let mut fed = proposed(5);
    fed.hear();
    fed.act(Kind::Judge);
    fed.site(4).silent.insert(Kind::Attest);
    fed.act(Kind::Attest);
    let good = fed.round().certificate().unwrap().clone();
    let release = |fed: &Federation, certificate: Certificate| {
        fed.sites[0]
            .machine
            .admit(fed.now, &attempt(fed, Step::Released(certificate)))
    };
    let mut repeated = good.clone();
    repeated.signatures[3] = repeated.signatures[2];
    let mut short = good.clone();
    short.signatures.pop();
    let mut elsewhere = good.clone();
    elsewhere.digest.0[0] ^= 1;
    for bad in [repeated, short, elsewhere] {
        let refused = release(&fed, bad);
        assert!(
            matches!(refused, Err(Rejection::Protocol(_))),
            "{refused:?}"
        );
        assert_eq!(fed.sites[0].machine.duty(), Duty::Attested);
    }
    assert_eq!(release(&fed, good), Ok(()));
}

#[test]
fn a_trainer_that_declined_does_not_stop_the_sites_duty() {
    let mut fed = Federation::of(5);
    fed.site(0).trainer = Trainer::Declines(Decline::NotNow);
    fed.settle();
    assert_eq!(fed.summed(), [1, 2, 3, 4]);
    let ann = fed.round().attempt().hash();
    assert!(fed.witness.has_list(fed.sites[0].name.as_str(), ann));
}

#[test]
fn a_receipt_counts_only_with_the_coordinators_signature_under_this_context() {
    let mut fed = open(5);
    fed.commit();
    fed.site(0).slow_receipt = true;
    fed.act(Kind::Upload);
    let Some(Step::Received {
        receipt, signature, ..
    }) = fed.site(0).held.take()
    else {
        panic!("a receipt is on its way")
    };
    let machine = &fed.sites[0].machine;
    let fault = by_coordinator(Fault::Signature("receipt"));
    let mut forged = signature;
    forged.0[0] ^= 1;
    let event = attempt(
        &fed,
        Step::Received {
            receipt,
            signature: forged,
            parts: None,
        },
    );
    assert_eq!(machine.admit(fed.now, &event), fault);
    let mut elsewhere = receipt;
    elsewhere.ctx.0[0] ^= 1;
    let signed = elsewhere.sign(&fed.hub.identity);
    let event = attempt(
        &fed,
        Step::Received {
            receipt: elsewhere,
            signature: signed,
            parts: None,
        },
    );
    assert_eq!(machine.admit(fed.now, &event), fault);
    let event = attempt(
        &fed,
        Step::Received {
            receipt,
            signature,
            parts: None,
        },
    );
    assert_eq!(machine.admit(fed.now, &event), Ok(()));

    let (ann_hash, sent) = (fed.round().attempt().hash(), receipt.upload_hash);
    assert_eq!(
        machine.receive(ann_hash, receipt, signature, &sent, None),
        Ok(event)
    );
    let refused = machine.receive(ann_hash, receipt, forged, &sent, None);
    assert_eq!(refused.map(drop), fault);
    let mut of_another = receipt;
    of_another.upload_hash.0[0] ^= 1;
    let signed = of_another.sign(&fed.hub.identity);
    let refused = machine.receive(ann_hash, of_another, signed, &sent, None);
    assert_eq!(
        refused.map(drop),
        by_coordinator(Fault::Context("upload")),
        "a receipt for something else"
    );
}

#[test]
fn a_result_must_be_signed_and_of_the_context_this_site_saw() {
    let mut fed = proposed(5);
    fed.settle();
    let Published {
        result: published,
        certificate,
        ..
    } = fed.hub.run().history()[0].published.clone();
    let mut before = proposed(5);
    let site = before.site(1);
    let finished = |result: &RoundResult, signature| Event::Finished {
        place: (1, 1),
        result: Box::new(result.clone()),
        certificate: certificate.clone(),
        signature,
    };
    let honest = published.sign(&fed.hub.identity);
    let mut forged = honest;
    forged.0[0] ^= 1;
    let now = Timestamp(fed.now.0);
    let refused = site.machine.admit(now, &finished(&published, forged));
    assert_eq!(refused, by_coordinator(Fault::Signature("result")));
    let mut other = published.clone();
    other.ctx.0[0] ^= 1;
    let signed = other.sign(&fed.hub.identity);
    let refused = site.machine.admit(now, &finished(&other, signed));
    assert_eq!(refused, by_coordinator(Fault::Equivocation("cohort")));
    assert_eq!(
        site.machine.admit(now, &finished(&published, honest)),
        Ok(())
    );
    site.submit(now, finished(&published, honest)).unwrap();
    let again = site.machine.admit(now, &finished(&published, honest));
    assert_eq!(again, Err(Rejection::Repeated));
    let mut second = published.clone();
    second.survivors += 1;
    let signed = second.sign(&fed.hub.identity);
    let conflict = site.machine.admit(now, &finished(&second, signed));
    assert_eq!(conflict, Err(Rejection::Conflict("result")));
}

/// A round of five whose holders all attested and whose result nobody has heard of yet; and the result, as it was published.
fn summed() -> (Federation, Published) {
    let mut fed = proposed(5);
    fed.hear();
    for kind in [Kind::Judge, Kind::Attest] {
        fed.act(kind);
    }
    fed.hear();
    fed.act(Kind::Unmask);
    let published = fed.hub.run().history()[0].published.clone();
    (fed, published)
}

/// What site `index` says to a result with this certificate, both signed for as the coordinator likes.
fn result_at(
    fed: &Federation,
    index: usize,
    result: &RoundResult,
    certificate: Certificate,
) -> Result<(), Rejection> {
    let event = Event::Finished {
        place: (1, 1),
        result: Box::new(result.clone()),
        certificate,
        signature: result.sign(&fed.hub.identity),
    };
    fed.sites[index].machine.admit(fed.now, &event)
}

/// Section 7, step F: the coordinator's word on a sum counts only with the word of t holders on whose updates are in it.
#[test]
fn a_result_without_the_certificate_of_its_survivors_is_refused_and_held_against_the_coordinator() {
    let (
        fed,
        Published {
            result,
            certificate: good,
            ..
        },
    ) = summed();
    assert_eq!(result_at(&fed, 0, &result, good.clone()), Ok(()));
    let few = |have| Fault::TooFew {
        what: "signers of the result's survivors",
        have,
        need: 4,
    };
    let signed = |signatures: &[_]| Certificate {
        digest: good.digest,
        signatures: signatures.to_vec(),
    };
    let first = good.signatures[0];
    let repeated = [&good.signatures[..3], &[first]].concat();
    let mut forged = good.clone();
    forged.signatures[1].1 = first.1;
    let mut elsewhere = good.clone();
    elsewhere.digest.0[0] ^= 1;
    let cases = [
        (signed(&[]), few(0)),
        (signed(&good.signatures[..3]), few(3)),
        (signed(&repeated), Fault::Duplicate("certificate signer")),
        (forged, Fault::Signature("certified digest")),
        (elsewhere, Fault::Context("digest")),
    ];
    for (certificate, fault) in cases {
        let refused = result_at(&fed, 0, &result, certificate);
        assert_eq!(refused, by_coordinator(fault));
        assert!(accuses_coordinator(&refused.unwrap_err()));
    }
}

#[test]
fn a_result_with_the_certificate_of_another_attempt_is_refused() {
    let second_open = || {
        let mut fed = Federation::with(Setup::of(5).rounds(2));
        fed.settle_until_round(2);
        fed
    };
    let (mut fed, late) = (second_open(), second_open());
    fed.settle();
    let [first, second] = [0, 1].map(|round| fed.hub.run().history()[round].published.clone());
    let first = first.certificate;
    let event = |certificate: Certificate| Event::Finished {
        place: (1, 2),
        result: Box::new(second.result.clone()),
        certificate,
        signature: second.result.sign(&late.hub.identity),
    };
    let refused = late.sites[0].machine.admit(late.now, &event(first));
    assert_eq!(refused, by_coordinator(Fault::Context("digest")));
    let good = event(second.certificate.clone());
    assert_eq!(late.sites[0].machine.admit(late.now, &good), Ok(()));
}

/// What this site signed itself, as a holder, is what the result must be about; the certificate of the others does not help.
#[test]
fn a_result_about_other_survivors_than_this_holder_signed_is_refused() {
    let (
        fed,
        Published {
            result,
            certificate,
            ..
        },
    ) = summed();
    let mut other = result.clone();
    other.digest.0[0] ^= 1;
    let refused = result_at(&fed, 0, &other, certificate.clone());
    assert_eq!(refused, by_coordinator(Fault::Equivocation("survivor set")));
    let mut fewer = result.clone();
    fewer.survivors = 4;
    let refused = result_at(&fed, 0, &fewer, certificate);
    let count = Fault::Rule {
        what: "the number of survivors",
        have: 4,
        need: 5,
    };
    assert_eq!(refused, by_coordinator(count));
}

#[test]
fn a_result_counts_no_fewer_survivors_than_the_rules_allow_and_no_more_than_the_cohort_has() {
    let mut fed = proposed(5);
    fed.hear();
    fed.site(0).silent.insert(Kind::Judge); // it signs nothing itself
    for kind in [Kind::Judge, Kind::Attest] {
        fed.act(kind);
    }
    fed.hear();
    fed.act(Kind::Unmask);
    let published = fed.hub.run().history()[0].published.clone();
    let says = |survivors| {
        let mut result = published.result.clone();
        result.survivors = survivors;
        result_at(&fed, 0, &result, published.certificate.clone())
    };
    let few = Fault::TooFew {
        what: "survivors",
        have: 3,
        need: 4,
    };
    let many = Fault::TooMany {
        what: "the number of survivors",
        have: 6,
        limit: 5,
    };
    assert_eq!(says(3), by_coordinator(few));
    assert_eq!(says(6), by_coordinator(many));
    assert_eq!(says(5), Ok(()));
}
