use veilsum_common::time::Span;
use veilsum_secagg::evidence::CulpritKey;
use veilsum_secagg::keys::Identity;
use veilsum_secagg::{Bitmap, Digest, coordinator};

use super::*;
use crate::ledger::Duty;
use crate::tests::kit::{Federation, Kind, Setup, announcement_of, opened};

fn nothing_heard(fed: &Federation) -> Statements {
    let me = fed.sites[0].identity.public().id();
    Statements::new(Arc::new(fed.hub.spec.params().clone()), me).unwrap()
}

/// All that site `index` took in, heard again.
fn heard(fed: &Federation, index: usize) -> Statements {
    let mut statements = nothing_heard(fed);
    for (_, event) in &fed.sites[index].journal {
        assert!(statements.hear(event).is_empty(), "{event:?}");
    }
    statements
}

/// Five sites whose round was attested and summed; what site 0 heard of it.
fn attested() -> (Federation, Statements) {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.commit();
    fed.act(Kind::Upload);
    fed.act(Kind::OpenShares);
    fed.hear();
    let statements = heard(&fed, 0);
    (fed, statements)
}

#[track_caller]
fn convicts(fed: &Federation, evidence: &Evidence, word: &str) {
    assert_eq!(evidence.word(), word);
    let coordinator = CulpritKey::Coordinator(fed.hub.identity.public());
    assert_eq!(evidence.verify().unwrap().culprit, coordinator);
}

/// Aborted attempts, restarts, three rounds, two epochs: an honest coordinator repeats itself and never contradicts itself.
#[test]
fn nothing_that_an_honest_coordinator_says_is_evidence() {
    let setup = Setup {
        epoch_rounds: Some(2),
        ..Setup::of(5).rounds(3)
    };
    let mut fed = Federation::with(setup);
    fed.enrol();
    fed.commit();
    fed.now = fed.now + Span::from_secs(3600); // nobody uploads: the attempt is aborted and tried again
    fed.settle();
    fed.restart(0);
    fed.finish();
    for index in 0..5 {
        let mut statements = heard(&fed, index);
        for (_, event) in &fed.sites[index].journal {
            assert!(statements.hear(event).is_empty(), "said again: {event:?}");
        }
        assert!(statements.attempts.len() > 2, "several attempts were heard");
    }
}

#[test]
fn a_second_announcement_under_one_number_is_evidence_and_the_first_stays() {
    let (fed, mut statements) = attested();
    let mut second = announcement_of(&fed);
    second.expires_ms += 1;
    let event = opened(&fed, second.clone(), Vec::new());
    for _ in 0..2 {
        let [evidence] = statements.hear(&event).try_into().ok().unwrap();
        convicts(&fed, &evidence, "two-announcements");
    }
    let abort = Event::AbortProposed {
        signature: second.sign(&fed.hub.identity),
        announcement: Box::new(second.clone()),
    };
    assert_eq!(
        statements.hear(&abort).len(),
        1,
        "an abort's counts as well"
    );
    let forged = Event::AbortProposed {
        signature: second.sign(&fed.sites[1].identity),
        announcement: Box::new(second),
    };
    assert!(statements.hear(&forged).is_empty(), "not its signature");
    let again = opened(&fed, announcement_of(&fed), Vec::new());
    assert!(statements.hear(&again).is_empty());
}

/// The announcement a coordinator makes for the half of the sites to which it shows another roster.
#[test]
fn t10_an_announcement_for_a_second_roster_of_the_epoch_is_evidence() {
    let (fed, mut statements) = attested();
    let roster = fed.sites[0].machine.roster().unwrap();
    let root = Digest::of_bulk(b"another roster");
    assert_eq!(
        statements.roster_named(1, roster.len(), roster.root()),
        Naming::Only
    );
    assert_eq!(statements.roster_named(1, 5, root), Naming::Second);
    assert_eq!(
        statements.roster_named(2, 5, root),
        Naming::Only,
        "the next epoch has another one"
    );
    let mut second = announcement_of(&fed);
    second.epoch_ctx = epoch_ctx(fed.hub.spec.params(), 1, 5, &root);
    second.seq += 5;
    let event = opened(&fed, second, Vec::new());
    let [evidence] = statements.hear(&event).try_into().ok().unwrap();
    convicts(&fed, &evidence, "two-announcements");
    assert_eq!(evidence.verify().unwrap().attempt, None);
}

#[test]
fn t15_a_second_cohort_is_evidence_and_the_first_stays() {
    let (fed, mut statements) = attested();
    let mut cohort = fed.round().cohort().unwrap().clone();
    cohort.members.remove(4);
    let told = |cohort: &Cohort, who: &Identity| Event::Attempt {
        ann_hash: cohort.ann_hash,
        step: Box::new(Step::CohortSeen {
            cohort: cohort.clone(),
            signature: cohort.sign(who),
        }),
    };
    for _ in 0..2 {
        let event = told(&cohort, &fed.hub.identity);
        let [evidence] = statements.hear(&event).try_into().ok().unwrap();
        convicts(&fed, &evidence, "two-cohorts");
    }
    let forged = told(&cohort, &fed.sites[1].identity);
    assert!(statements.hear(&forged).is_empty());
}

#[test]
fn t35_a_second_survivor_set_or_a_result_over_another_one_is_evidence() {
    let (fed, mut statements) = attested();
    let key = &fed.hub.identity;
    let honest = fed.round().proposal().unwrap().clone();
    assert!(statements.proposed(&honest, &honest.sign(key)).is_empty());
    let mut second = honest.clone();
    second.survivors = Bitmap::of(5, 0..4);
    let two_sets = statements.proposed(&second, &second.sign(key));
    let [evidence] = two_sets.try_into().ok().unwrap();
    convicts(&fed, &evidence, "two-survivor-sets");
    let result = |digest, model: &[u8]| {
        let result = RoundResult {
            ctx: honest.ctx,
            digest,
            survivors: 5,
            sum_hash: Digest::ZERO,
            metadata: Vec::new(),
            next_model_hash: Digest::of_bulk(model),
        };
        Event::Finished {
            place: (1, 1),
            signature: result.sign(key),
            result: Box::new(result),
            certificate: Certificate {
                digest,
                signatures: Vec::new(),
            },
        }
    };
    let other_set = statements.hear(&result(second.digest(), b"next"));
    let [evidence] = other_set.try_into().ok().unwrap();
    convicts(&fed, &evidence, "two-survivor-sets");
    let both = statements.hear(&result(honest.digest(), b"next for some"));
    let [evidence] = both.try_into().ok().unwrap();
    convicts(&fed, &evidence, "two-results");
}

/// The set that the same uploads lead to without site 0, signed.
fn without_site_0(fed: &Federation) -> (SurvivorProposal, Signature) {
    let round = fed.round();
    let uploads = round.uploads().values().map(|upload| upload.item);
    let kept: Vec<_> = uploads.filter(|item| item.index != 0).collect();
    let (attempt, cohort) = (round.attempt(), round.cohort().unwrap());
    let proposal = coordinator::close_survivors(attempt, cohort, &kept).unwrap();
    let signature = proposal.sign(&fed.hub.identity);
    (proposal, signature)
}

fn is_receipt(event: &Event) -> bool {
    let Event::Attempt { step, .. } = event else {
        return false;
    };
    matches!(**step, Step::Received { .. })
}

/// What site 0 journalled when its upload was acknowledged, but with other parts.
fn receipt_of(fed: &Federation, parts: impl Fn(UploadParts) -> Option<UploadParts>) -> Event {
    let mut journal = fed.sites[0].journal.iter().map(|(_, event)| event);
    let mut event = journal.find(|event| is_receipt(event)).unwrap().clone();
    if let Event::Attempt { step, .. } = &mut event
        && let Step::Received { parts: kept, .. } = &mut **step
    {
        *kept = parts(kept.unwrap());
    }
    event
}

#[test]
fn a_survivor_set_without_an_upload_that_was_acknowledged_in_time_is_evidence() {
    let (fed, mut statements) = attested();
    let (proposal, signature) = without_site_0(&fed);
    for _ in 0..2 {
        let [evidence] = statements
            .proposed(&proposal, &signature)
            .try_into()
            .ok()
            .unwrap();
        convicts(&fed, &evidence, "omitted-survivor");
    }
    let forged = proposal.sign(&fed.sites[1].identity);
    assert!(statements.proposed(&proposal, &forged).is_empty());
    let of_another = fed.sites[1].identity.public().id();
    let mut others = Statements::new(Arc::clone(&statements.params), of_another).unwrap();
    for (_, event) in &fed.sites[1].journal {
        assert!(others.hear(event).is_empty());
    }
    assert!(
        others.proposed(&proposal, &signature).is_empty(),
        "it is in the set"
    );
}

/// The answer to the upload was slower than the notice.
#[test]
fn an_upload_that_was_left_out_is_evidence_also_if_its_receipt_comes_after_the_set() {
    let (fed, _) = attested();
    let (proposal, signature) = without_site_0(&fed);
    let event = receipt_of(&fed, Some);
    for (event, proofs) in [
        (event.clone(), 1),
        (receipt_of(&fed, |_| None), 0),
        (
            receipt_of(&fed, |parts| {
                let chunk_root = Digest::ZERO;
                Some(UploadParts {
                    chunk_root,
                    ..parts
                })
            }),
            0,
        ),
    ] {
        let mut statements = nothing_heard(&fed);
        let before = fed.sites[0].journal.iter().map(|(_, event)| event);
        for event in before.take_while(|event| !is_receipt(event)) {
            statements.hear(event);
        }
        assert!(statements.proposed(&proposal, &signature).is_empty());
        let evidence = statements.hear(&event);
        assert_eq!(evidence.len(), proofs);
        evidence
            .iter()
            .for_each(|proof| convicts(&fed, proof, "omitted-survivor"));
    }
}

/// A roster of the epoch without its last member, and the signatures of two members who confirmed it besides their own.
fn second_roster(fed: &Federation) -> (Arc<Roster>, [(u32, Signature); 2]) {
    let advertisements: Vec<_> = fed.hub.epoch().advertisements().cloned().collect();
    let params = Arc::new(fed.hub.spec.params().clone());
    let second = Arc::new(Roster::new(params, 1, &advertisements[..4]).unwrap());
    let signatures = [1u32, 3].map(|index| {
        let identity = &fed.sites[index as usize].identity;
        (index, second.confirm(identity).unwrap().signature)
    });
    (second, signatures)
}

/// The notice of a certificate is not waited for until the roster it is about has been fetched.
#[test]
fn a_certificate_that_comes_before_the_entries_of_its_roster_counts_once_they_are_there() {
    let (fed, mut statements) = attested();
    let (second, signatures) = second_roster(&fed);
    statements.roster_named(1, 4, second.root());
    assert_eq!(statements.other_sizes(), [4].into());
    let certificate = Event::RosterCertified(Certificate {
        digest: second.ctx(),
        signatures: signatures.to_vec(),
    });
    assert!(
        statements.hear(&certificate).is_empty(),
        "nothing to check them by"
    );
    let evidence = statements.roster_seen(second);
    assert_eq!(evidence.len(), 2);
    assert!(evidence.iter().all(|proof| proof.verify().is_ok()));
}

/// Site 0 fetched both rosters, and two members had confirmed both.
#[test]
fn t10_members_who_confirmed_both_rosters_of_an_epoch_are_convicted_each() {
    let (fed, mut statements) = attested();
    assert_ne!(fed.sites[0].machine.duty(), Duty::None);
    let (second, signatures) = second_roster(&fed);
    assert!(statements.roster_seen(Arc::clone(&second)).is_empty());
    let certificate = |signatures: &[(u32, Signature)]| {
        Event::RosterCertified(Certificate {
            digest: second.ctx(),
            signatures: signatures.to_vec(),
        })
    };
    let unsigned = [(0, signatures[0].1)];
    assert!(statements.hear(&certificate(&unsigned)).is_empty());
    let evidence = statements.hear(&certificate(&signatures));
    let culprits: Vec<_> = evidence
        .iter()
        .map(|evidence| evidence.verify().unwrap().culprit)
        .collect();
    let expected =
        [1, 3].map(|index: usize| CulpritKey::Member(fed.sites[index].identity.public()));
    assert_eq!(culprits, expected);
    assert!(evidence.iter().all(|proof| proof.word() == "two-rosters"));
}

#[test]
fn what_is_kept_is_bounded() {
    let (fed, mut statements) = attested();
    for seq in 2..200 {
        let mut announcement = announcement_of(&fed);
        announcement.seq = seq;
        assert!(
            statements
                .hear(&opened(&fed, announcement, Vec::new()))
                .is_empty()
        );
    }
    assert_eq!(statements.attempts.len(), MAX_HEARD_ATTEMPTS);
    for epoch in 2..200 {
        for root in [Digest::ZERO, Digest([1; 32]), Digest([2; 32])] {
            statements.roster_named(epoch, 5, root);
        }
    }
    assert_eq!(statements.rosters.len(), MAX_HEARD_EPOCHS);
    assert!(statements.rosters.values().all(|named| named.len() <= 2));
}
