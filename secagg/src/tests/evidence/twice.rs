//! Two signatures where there may be one, and an upload left out: each convicts its signer and says why anything less does not.

use std::sync::Arc;

use super::honest::{Story, story};
use super::{convicted, coordinator_key};
use crate::context::Roster;
use crate::evidence::equivocation::{
    Outcome, TwoAnnouncements, TwoCohorts, TwoResults, TwoSurvivorSets,
};
use crate::evidence::omission::OmittedSurvivor;
use crate::evidence::promises::{TwoAttestations, TwoContexts, TwoRosters};
use crate::evidence::{CulpritKey, Evidence, NamedAttempt, Signed, Unproved};
use crate::keys::Signature;
use crate::message::{Announcement, Cohort, SurvivorProposal};
use crate::tests::kit::{self, World};
use crate::{Bitmap, Digest, labels};

fn why(evidence: &Evidence) -> Unproved {
    evidence.verify().err().unwrap()
}

fn forged() -> Signature {
    Signature([7; 64])
}

fn announced(story: &Story<'_>, announcement: Announcement) -> (NamedAttempt, Signature) {
    let signature = announcement.sign(&kit::coordinator());
    let attempt = NamedAttempt {
        announcement,
        ..NamedAttempt::of(&story.attempt)
    };
    (attempt, signature)
}

#[test]
fn two_announcements_of_one_attempt_convict_the_coordinator() {
    let world = World::new(7);
    let story = story(&world, world.announcement(), &[]);
    let said = world.announcement();
    let model_hash = Digest::of_bulk(b"another model");
    let second = Announcement {
        model_hash,
        ..said.clone()
    };
    let proof = |first: Announcement, second: Announcement| TwoAnnouncements {
        announced: [announced(&story, first), announced(&story, second)],
    };
    let conviction = convicted(&Evidence::TwoAnnouncements(proof(
        said.clone(),
        second.clone(),
    )));
    assert_eq!(conviction.culprit, coordinator_key());
    assert_eq!(conviction.attempt, Some((1, 1)));
    assert_eq!(conviction.run_hash, world.params().run_hash());
    let same = Evidence::TwoAnnouncements(proof(said.clone(), said.clone()));
    assert_eq!(why(&same), Unproved::Same("announcements"));
    let retried = Announcement {
        seq: 2,
        ..second.clone()
    };
    let retry = Evidence::TwoAnnouncements(proof(said.clone(), retried));
    assert_eq!(why(&retry), Unproved::Unrelated("announcements"));
    for side in 0..2 {
        let mut other = proof(said.clone(), second.clone());
        other.announced[side].1 = forged();
        let other = Evidence::TwoAnnouncements(other);
        assert_eq!(why(&other), Unproved::Signature("announcement"));
        let mut other = proof(said.clone(), second.clone());
        other.announced[side].0.epoch = 2;
        let other = Evidence::TwoAnnouncements(other);
        assert_eq!(why(&other), Unproved::Unrelated("announcements"));
        let mut other = proof(said.clone(), second.clone());
        other.announced[side].0.roster_root = Digest::ZERO;
        let other = Evidence::TwoAnnouncements(other);
        assert_eq!(why(&other), Unproved::Foreign("announcement"));
    }
}

/// One epoch number, two rosters: whatever the attempts are called, the coordinator signed for both.
#[test]
fn t10_announcements_for_two_rosters_under_one_epoch_number_convict_the_coordinator() {
    let world = World::new(7);
    let config = kit::config(7);
    let fewer = World::some(&[0, 1, 2, 3, 5, 6], config);
    assert_ne!(world.roster.ctx(), fewer.roster.ctx());
    let (first, second) = (
        story(&world, world.announcement(), &[]),
        story(
            &fewer,
            Announcement {
                seq: 4,
                ..fewer.announcement()
            },
            &[],
        ),
    );
    let announced = [&first, &second].map(|story| {
        let said = story.attempt.announcement().clone();
        announced(story, said)
    });
    let conviction = convicted(&Evidence::TwoAnnouncements(TwoAnnouncements { announced }));
    assert_eq!(conviction.culprit, coordinator_key());
    assert_eq!(
        (conviction.epoch, conviction.attempt),
        (1, None),
        "it is about the epoch"
    );
}

/// Another cohort of the same attempt: without member 0.
fn second_cohort(story: &Story<'_>) -> Signed<Cohort> {
    let value = Cohort {
        members: Bitmap::of(7, 1..7),
        ..story.cohort.value.clone()
    };
    let signature = value.sign(&kit::coordinator());
    Signed { value, signature }
}

#[test]
fn t15_two_cohorts_of_one_attempt_convict_the_coordinator() {
    let world = World::new(7);
    let story = story(&world, world.announcement(), &[]);
    let proof = || TwoCohorts {
        attempt: NamedAttempt::of(&story.attempt),
        cohorts: [story.cohort.clone(), second_cohort(&story)],
    };
    let conviction = convicted(&Evidence::TwoCohorts(proof()));
    assert_eq!(conviction.culprit, coordinator_key());
    for side in 0..2 {
        let mut other = proof();
        other.cohorts[side] = other.cohorts[1 - side].clone();
        assert_eq!(why(&Evidence::TwoCohorts(other)), Unproved::Same("cohorts"));
        let mut other = proof();
        other.cohorts[side].signature = forged();
        assert_eq!(
            why(&Evidence::TwoCohorts(other)),
            Unproved::Signature("cohort")
        );
        let mut other = proof();
        other.cohorts[side].value.ann_hash = Digest::ZERO;
        assert_eq!(
            why(&Evidence::TwoCohorts(other)),
            Unproved::Foreign("cohort")
        );
    }
    let mut other = proof();
    other.attempt.announcement.seq = 2;
    assert_eq!(
        why(&Evidence::TwoCohorts(other)),
        Unproved::Foreign("cohort"),
        "cohorts of another attempt"
    );
}

/// Another survivor set of the same cohort: without member 0.
fn second_proposal(story: &Story<'_>) -> SurvivorProposal {
    SurvivorProposal {
        survivors: Bitmap::of(7, 1..7),
        ..story.proposal.value.clone()
    }
}

#[test]
fn t35_two_survivor_sets_of_one_attempt_convict_the_coordinator() {
    let world = World::new(7);
    let story = story(&world, world.announcement(), &[]);
    let cohort = story.cohort.value.clone();
    let second = second_proposal(&story);
    let signature = second.sign(&kit::coordinator());
    let second = Outcome::Proposal(Signed {
        value: second,
        signature,
    });
    let firsts = [
        Outcome::Proposal(story.proposal.clone()),
        Outcome::Result(story.result.clone()),
    ];
    for first in firsts {
        let proof = || TwoSurvivorSets {
            attempt: NamedAttempt::of(&story.attempt),
            said: [
                (cohort.clone(), first.clone()),
                (cohort.clone(), second.clone()),
            ],
        };
        let conviction = convicted(&Evidence::TwoSurvivorSets(proof()));
        assert_eq!(conviction.culprit, coordinator_key());
        let mut other = proof();
        other.said[1] = other.said[0].clone();
        assert_eq!(
            why(&Evidence::TwoSurvivorSets(other)),
            Unproved::Same("survivor sets")
        );
        let mut other = proof();
        other.said[0].0 = second_cohort(&story).value;
        assert_eq!(
            why(&Evidence::TwoSurvivorSets(other)),
            Unproved::Foreign("survivor set")
        );
        let mut other = proof();
        match &mut other.said[1].1 {
            Outcome::Proposal(said) => said.signature = forged(),
            Outcome::Result(said) => said.signature = forged(),
        }
        assert_eq!(
            why(&Evidence::TwoSurvivorSets(other)),
            Unproved::Signature("survivor set")
        );
    }
    let agreeing = TwoSurvivorSets {
        attempt: NamedAttempt::of(&story.attempt),
        said: [
            (cohort.clone(), Outcome::Proposal(story.proposal.clone())),
            (cohort, Outcome::Result(story.result.clone())),
        ],
    };
    assert_eq!(
        why(&Evidence::TwoSurvivorSets(agreeing)),
        Unproved::Same("survivor sets"),
        "the result is over the set that was proposed"
    );
}

#[test]
fn two_results_of_one_attempt_convict_the_coordinator() {
    let world = World::new(7);
    let story = story(&world, world.announcement(), &[]);
    let mut second = story.result.clone();
    second.value.next_model_hash = Digest::of_bulk(b"a model for some");
    second.signature = second.value.sign(&kit::coordinator());
    let cohort = story.cohort.value.clone();
    let proof = |second: &Signed<_>| {
        Evidence::TwoResults(TwoResults {
            attempt: NamedAttempt::of(&story.attempt),
            results: [
                (cohort.clone(), story.result.clone()),
                (cohort.clone(), second.clone()),
            ],
        })
    };
    assert_eq!(convicted(&proof(&second)).culprit, coordinator_key());
    assert_eq!(why(&proof(&story.result)), Unproved::Same("results"));
    second.signature = forged();
    assert_eq!(why(&proof(&second)), Unproved::Signature("result"));
}

#[test]
fn t35_two_survivor_digests_of_one_holder_convict_it() {
    let world = World::new(7);
    let story = story(&world, world.announcement_to([1, 3, 4, 5, 6]), &[]);
    let (position, first) = story.attestations[1]; // holder 3
    let sign = |proposal: &SurvivorProposal| {
        let digest = proposal.digest();
        let parts: [&[u8]; 1] = [&digest.0];
        world.site(3).identity.sign(labels::SIG_SURVIVORS, &parts)
    };
    assert_eq!((position, first), (2, sign(&story.proposal.value)));
    let cohort = story.cohort.value.clone();
    let proof = |position, second: SurvivorProposal, signature| {
        let first = (cohort.clone(), story.proposal.value.clone(), first);
        Evidence::TwoAttestations(TwoAttestations {
            attempt: Arc::clone(&story.attempt),
            position,
            attested: [first, (cohort.clone(), second, signature)],
        })
    };
    let second = second_proposal(&story);
    let conviction = convicted(&proof(2, second.clone(), sign(&second)));
    let key = world.site(3).identity.public();
    assert_eq!(conviction.culprit, CulpritKey::Member(key));
    let anothers = proof(3, second.clone(), sign(&second));
    assert_eq!(why(&anothers), Unproved::Signature("survivor set"));
    let nobodys = proof(6, second.clone(), sign(&second));
    assert_eq!(why(&nobodys), Unproved::Absent("holder list"));
    let again = proof(2, story.proposal.value.clone(), first);
    assert_eq!(why(&again), Unproved::Same("survivor sets"));
    let ctx = Digest::ZERO;
    let elsewhere = SurvivorProposal { ctx, ..second };
    let elsewhere = proof(2, elsewhere.clone(), sign(&elsewhere));
    assert_eq!(why(&elsewhere), Unproved::Foreign("survivor set"));
}

#[test]
fn t58_uploads_of_one_site_under_two_cohorts_convict_it() {
    let world = World::new(7);
    let story = story(&world, world.announcement(), &[]);
    let upload = &story.uploads[&2];
    let second = second_cohort(&story).value;
    let sign = |cohort: &Cohort, upload_hash: Digest| {
        let ctx = cohort.ctx();
        let parts: [&[u8]; 2] = [&ctx.0, &upload_hash.0];
        world.site(2).identity.sign(labels::SIG_UPLOAD, &parts)
    };
    let proof = |member, cohort: &Cohort, hash, signature| {
        let first = (
            story.cohort.value.clone(),
            upload.item.upload_hash,
            upload.item.signature,
        );
        Evidence::TwoContexts(TwoContexts {
            attempt: Arc::clone(&story.attempt),
            member,
            uploaded: [first, (cohort.clone(), hash, signature)],
        })
    };
    let hash = Digest::of_bulk(b"masked under another cohort");
    let conviction = convicted(&proof(2, &second, hash, sign(&second, hash)));
    let key = world.site(2).identity.public();
    assert_eq!(conviction.culprit, CulpritKey::Member(key));
    let anothers = proof(3, &second, hash, sign(&second, hash));
    assert_eq!(why(&anothers), Unproved::Signature("upload"));
    let nobodys = proof(9, &second, hash, sign(&second, hash));
    assert_eq!(why(&nobodys), Unproved::Absent("roster"));
    let unsigned = proof(2, &second, hash, upload.item.signature);
    assert_eq!(why(&unsigned), Unproved::Signature("upload"));
    let again = proof(
        2,
        &story.cohort.value,
        upload.item.upload_hash,
        upload.item.signature,
    );
    assert_eq!(why(&again), Unproved::Same("cohorts"));
}

/// The receipt is honest, the set is not: it leaves out member 0.
fn omission(story: &Story<'_>) -> OmittedSurvivor {
    let proposal = second_proposal(story);
    let signature = proposal.sign(&kit::coordinator());
    let upload = &story.uploads[&0];
    OmittedSurvivor {
        attempt: Arc::clone(&story.attempt),
        member: 0,
        cohort: story.cohort.value.clone(),
        chunk_root: upload.trailer.chunk_root,
        metadata_hash: Digest::of_bulk(&upload.trailer.metadata),
        receipt: story.receipts[&0],
        proposal: Signed {
            value: proposal,
            signature,
        },
    }
}

#[test]
fn a_receipt_in_time_and_a_survivor_set_without_its_owner_convict_the_coordinator() {
    let world = World::new(7);
    let story = story(&world, world.announcement(), &[]);
    let proof = Evidence::OmittedSurvivor(omission(&story));
    assert_eq!(convicted(&proof).culprit, coordinator_key());
    type Bend<'a> = &'a dyn Fn(&mut OmittedSurvivor);
    let late: Bend<'_> = &|proof| {
        proof.receipt.value.time_ms = 2001;
        proof.receipt.signature = proof.receipt.value.sign(&kit::coordinator());
    };
    let cases: [(Bend<'_>, Unproved); 8] = [
        (&|proof| proof.member = 1, Unproved::Foreign("receipt")),
        (
            &|proof| proof.metadata_hash = Digest::ZERO,
            Unproved::Foreign("receipt"),
        ),
        (
            &|proof| proof.receipt = story.receipts[&1],
            Unproved::Foreign("receipt"),
        ),
        (
            &|proof| proof.receipt.signature = forged(),
            Unproved::Signature("receipt"),
        ),
        (
            &|proof| proof.receipt.value.time_ms -= 1,
            Unproved::Signature("receipt"),
        ),
        (late, Unproved::Late { late_ms: 1 }),
        (
            &|proof| proof.proposal.signature = forged(),
            Unproved::Signature("survivor set"),
        ),
        (
            &|proof| proof.proposal = story.proposal.clone(),
            Unproved::Counted,
        ),
    ];
    for (bend, expected) in cases {
        let mut bent = omission(&story);
        bend(&mut bent);
        assert_eq!(why(&Evidence::OmittedSurvivor(bent)), expected);
    }
}

/// A dropout whose hash another member signed as its own must not look as if its upload had been acknowledged.
#[test]
fn a_receipt_for_somebody_elses_upload_convicts_nobody() {
    let world = World::new(7);
    let story = story(&world, world.announcement(), &[0]);
    let mut proof = omission(&self::story(&world, world.announcement(), &[]));
    proof.proposal = story.proposal.clone();
    for (index, receipt) in &story.receipts {
        proof.receipt = *receipt;
        let upload = &story.uploads[index].trailer;
        proof.chunk_root = upload.chunk_root;
        proof.metadata_hash = Digest::of_bulk(&upload.metadata);
        let evidence = Evidence::OmittedSurvivor(proof);
        assert_eq!(why(&evidence), Unproved::Foreign("receipt"));
        let Evidence::OmittedSurvivor(again) = evidence else {
            unreachable!()
        };
        proof = again;
    }
}

#[test]
fn t10_two_rosters_confirmed_under_one_epoch_number_convict_the_member() {
    let world = World::new(7);
    let fewer = World::some(&[0, 1, 2, 3, 5, 6], kit::config(7));
    let confirm = |roster: &Arc<Roster>, identity: &crate::keys::Identity| {
        let signature = roster.confirm(identity).unwrap().signature;
        (Arc::clone(roster), signature)
    };
    let proof = |member: u32, rosters: [&Arc<Roster>; 2]| {
        let identity = &world.site(member).identity;
        TwoRosters {
            member: identity.public(),
            confirmed: rosters.map(|roster| confirm(roster, identity)),
        }
    };
    let both = [&world.roster, &fewer.roster];
    for member in [1, 5] {
        let conviction = convicted(&Evidence::TwoRosters(proof(member, both)));
        let key = world.site(member).identity.public();
        assert_eq!(conviction.culprit, CulpritKey::Member(key));
        assert_eq!((conviction.epoch, conviction.attempt), (1, None));
    }
    let same = proof(1, [&world.roster, &world.roster]);
    assert_eq!(why(&Evidence::TwoRosters(same)), Unproved::Same("rosters"));
    let next = World::with(7, kit::config(7), 2);
    let renewed = proof(1, [&world.roster, &next.roster]);
    assert_eq!(
        why(&Evidence::TwoRosters(renewed)),
        Unproved::Unrelated("rosters"),
        "a roster for each epoch is as it should be"
    );
    let mut anothers = proof(1, both);
    anothers.member = world.site(2).identity.public();
    assert_eq!(
        why(&Evidence::TwoRosters(anothers)),
        Unproved::Signature("roster")
    );
    let mut stranger = proof(1, both);
    stranger.member = kit::coordinator().public();
    assert_eq!(
        why(&Evidence::TwoRosters(stranger)),
        Unproved::Absent("roster")
    );
}
