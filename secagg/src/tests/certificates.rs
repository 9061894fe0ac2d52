//! Certificates: one survivor set per attempt, distinct signers, and never a release beside a certified abort.

use std::collections::BTreeMap;

use super::kit::{self, Round, World, certificate_of};
use crate::coordinator;
use crate::error::{Error, Fault};
use crate::holder::{Released, Verdict};
use crate::message::{Attestation, Cohort, SurvivorItem, SurvivorProposal};
use crate::{Bitmap, Certificate};

/// Every survivor set of at least `least` members, with what was signed for it.
pub fn proposals(
    round: &Round<'_>,
    cohort: &Cohort,
    least: u32,
) -> Vec<(SurvivorProposal, Vec<SurvivorItem>)> {
    let n = round.world.roster.len();
    let items: Vec<_> = round
        .uploads(cohort, 0..n)
        .into_values()
        .map(|upload| upload.item)
        .collect();
    let sets = (0u32..1 << n).filter(|set| set.count_ones() >= least);
    let propose = |set: u32| {
        let kept: Vec<_> = items
            .iter()
            .filter(|item| set >> item.index & 1 == 1)
            .copied()
            .collect();
        (round.propose(cohort, &kept).unwrap(), kept)
    };
    sets.map(propose).collect()
}

/// What holder `h` signs for a proposal: a corrupt holder signs anything.
pub fn attestation(
    round: &Round<'_>,
    h: u32,
    cohort: &Cohort,
    proposal: &SurvivorProposal,
) -> Attestation {
    let none = Bitmap::empty(round.world.roster.len());
    let verdict = Verdict {
        proposal: proposal.clone(),
        cohort: cohort.members.clone(),
        complaints: none,
    };
    round.idle(h).attest(verdict).attestation(round.identity(h))
}

pub fn released(
    round: &Round<'_>,
    h: u32,
    cohort: &Cohort,
    proposal: &SurvivorProposal,
    certificate: &Certificate,
) -> Released {
    let none = Bitmap::empty(round.world.roster.len());
    let verdict = Verdict {
        proposal: proposal.clone(),
        cohort: cohort.members.clone(),
        complaints: none,
    };
    round
        .release(round.idle(h).attest(verdict), certificate)
        .unwrap()
}

/// Seven holders, two of them corrupt: whatever set each honest holder is shown, two certificates never exist.
#[test]
fn t02_different_survivor_sets_to_different_holders_give_no_two_certificates() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let items: Vec<_> = round
        .uploads(&cohort, 0..7)
        .into_values()
        .map(|upload| upload.item)
        .collect();
    let sets = [&items[..6], &items[1..]]
        .map(|kept| (round.propose(&cohort, kept).unwrap(), kept.to_vec()));
    let honest: Vec<[Attestation; 2]> = (0..5)
        .map(|h| {
            sets.each_ref().map(|(p, items)| {
                round
                    .attest(h, &cohort, p, items)
                    .attestation(round.identity(h))
            })
        })
        .collect();
    let corrupt: Vec<[Attestation; 2]> = (5..7)
        .map(|h| {
            sets.each_ref()
                .map(|(p, _)| attestation(&round, h, &cohort, p))
        })
        .collect();
    for split in 0u32..1 << 5 {
        let certified = [0usize, 1].map(|set| {
            let shown = (0..5)
                .filter(|h| (split >> h & 1 == 1) == (set == 1))
                .map(|h| honest[h][set].clone());
            let signed: Vec<_> = shown
                .chain(corrupt.iter().map(|both| both[set].clone()))
                .collect();
            certificate_of(&signed).certify_survivors(&round.attempt, sets[set].0.digest())
        });
        let shown = split.count_ones();
        let certified = certified.map(|result| result.is_ok());
        assert_eq!(
            certified,
            [5 - shown + 2 >= 5, shown + 2 >= 5],
            "{split:05b}"
        );
        assert_ne!(certified, [true, true], "{split:05b}: two certificates");
    }
}

#[test]
fn t03_a_repeated_signer_counts_once() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let (all, _) = proposals(&round, &cohort, 5).remove(0);
    let signed: Vec<_> = (0..5)
        .map(|h| attestation(&round, h, &cohort, &all))
        .collect();
    let check = |signed: &[Attestation]| {
        certificate_of(signed)
            .certify_survivors(&round.attempt, all.digest())
            .map(drop)
    };
    assert_eq!(check(&signed[..4]), Ok(()));
    assert_eq!(
        check(&signed[..3]),
        Err(Error::BelowThreshold { have: 3, need: 4 })
    );
    let repeated = [&signed[..3], &signed[..1]].concat();
    assert_eq!(
        check(&repeated),
        Err(Fault::Duplicate("certificate signer").by_coordinator())
    );
    let mut moved = signed[..4].to_vec();
    moved[3] = Attestation {
        position: 5,
        ..moved[3].clone()
    };
    assert_eq!(
        check(&moved),
        Err(Fault::Signature("certified digest").by_coordinator()),
        "another's signature at a new position"
    );
    moved[3].position = 6;
    assert_eq!(
        check(&moved),
        Err(Fault::Absent {
            what: "signer",
            index: 6
        }
        .by_coordinator())
    );
}

#[test]
fn t04_a_certificate_of_another_attempt_is_refused() {
    let world = World::new(5);
    let mut rounds = [1, 2].map(|seq| {
        let mut announcement = world.announcement();
        announcement.seq = seq;
        world.open_with(announcement)
    });
    let [first, second] = rounds.each_mut().map(|round| {
        let cohort = round.commit_all();
        let items: Vec<_> = round
            .uploads(&cohort, 0..5)
            .into_values()
            .map(|upload| upload.item)
            .collect();
        let proposal = round.propose(&cohort, &items).unwrap();
        let attested: BTreeMap<_, _> = (0..5)
            .map(|h| (h, round.attest(h, &cohort, &proposal, &items)))
            .collect();
        let certificate = certificate_of(&round.attestations(&attested));
        (proposal, attested, certificate)
    });
    let (_, mut attested, certificate) = second;
    let digest = attested[&0].verdict().proposal.digest();
    assert_eq!(
        first.2.certify_survivors(&rounds[1].attempt, digest).err(),
        Some(Fault::Context("digest").by_coordinator())
    );
    let certified = first
        .2
        .certify_survivors(&rounds[0].attempt, first.0.digest())
        .unwrap();
    let unmoved = attested
        .remove(&0)
        .unwrap()
        .release(certified)
        .err()
        .expect("it is bound to another attempt");
    let by_other_rules = certificate
        .certify_survivors(&rounds[0].attempt, digest)
        .unwrap();
    let unmoved = unmoved
        .release(by_other_rules)
        .err()
        .expect("it was checked by another attempt's holders");
    assert!(
        rounds[1].release(unmoved, &certificate).is_ok(),
        "the control"
    );
}

/// Every honest holder has released, given up or gone silent; the two corrupt ones do both. Never an abort certificate beside t shares.
#[test]
fn t19_an_abort_certificate_excludes_t_shares_in_every_interleaving() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let items: Vec<_> = round
        .uploads(&cohort, 0..6)
        .into_values()
        .map(|upload| upload.item)
        .collect();
    let proposal = round.propose(&cohort, &items).unwrap();
    let signed: Vec<_> = (0..7)
        .map(|h| attestation(&round, h, &cohort, &proposal))
        .collect();
    let certificate = certificate_of(&signed);
    let lists: Vec<_> = (0..7)
        .map(|h| {
            round.list(
                h,
                &released(&round, h, &cohort, &proposal, &certificate),
                &cohort,
            )
        })
        .collect();
    let aborts: Vec<_> = (0..7)
        .map(|h| round.idle(h).abort().attestation(round.identity(h)))
        .collect();
    let (mut aborted, mut unmasked) = (0, 0);
    for code in 0u32..3u32.pow(5) {
        let chosen = |h: u32, what: u32| h >= 5 || code / 3u32.pow(h) % 3 == what;
        let out: BTreeMap<_, _> = (0u32..)
            .zip(&lists)
            .filter(|(h, _)| chosen(*h, 0))
            .map(|(h, l)| (h, l.clone()))
            .collect();
        let dead: Vec<_> = (0u32..)
            .zip(&aborts)
            .filter(|(h, _)| chosen(*h, 1))
            .map(|(_, a)| (a.position, a.signature))
            .collect();
        let abort = Certificate {
            digest: round.attempt.hash(),
            signatures: dead,
        }
        .certify_abort(&round.attempt)
        .is_ok();
        let open = coordinator::unmask(
            &round.attempt,
            &cohort,
            &proposal.survivors,
            &round.commits,
            &out,
        )
        .is_ok();
        assert!(
            !(abort && open),
            "{code}: an abort certificate, and every secret"
        );
        aborted += u32::from(abort);
        unmasked += u32::from(open);
    }
    assert!(aborted > 0 && unmasked > 0, "both branches are reached");
}

#[test]
fn t19_after_a_certified_abort_the_next_attempt_completes() {
    let world = World::new(7);
    let mut first = world.open();
    first.commit_all();
    let signatures = (0..5)
        .map(|h| first.idle(h).abort().attestation(first.identity(h)))
        .map(|a| (a.position, a.signature));
    let certificate = Certificate {
        digest: first.attempt.hash(),
        signatures: signatures.collect(),
    };
    assert_eq!(
        certificate
            .certify_abort(&first.attempt)
            .unwrap()
            .ann_hash(),
        first.attempt.hash()
    );
    let mut next = world.announcement();
    next.seq = 2;
    let mut second = world.open_with(next);
    assert!(
        certificate.certify_abort(&second.attempt).is_err(),
        "it proves nothing about another attempt"
    );
    let outcome = kit::run(&mut second, &kit::Plan::default()).unwrap();
    assert_eq!(outcome.sum, second.plain(&Bitmap::full(7)));
}
