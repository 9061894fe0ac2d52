//! Holders: one survivor set, one kind of share, release or abort, whatever the others do.

use std::collections::{BTreeMap, BTreeSet};

use super::kit::{self, Round, World, certificate_of};
use crate::coordinator;
use crate::error::{Culprit, Error, Fault};
use crate::holder::{Aborted, Attested, Idle, OpenedShares, Released, Verdict};
use crate::message::{Attestation, Cohort, SurvivorItem, SurvivorProposal, UnmaskList};
use crate::{Bitmap, Certificate};

/// Every survivor set of at least `least` members, with what was signed for it.
fn proposals(
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
fn attestation(
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

fn released(
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

/// One holder between its steps.
enum Trace {
    Idle(Idle),
    Attested(Attested),
    Released(Released),
    Aborted(Aborted),
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    Attest(usize),
    Release(usize),
    Abort,
}

impl Trace {
    /// Does what is asked if the state allows it.
    fn step(
        self,
        ask: Ask,
        verdicts: &[Verdict],
        certificates: &[Certificate],
        round: &Round<'_>,
    ) -> Self {
        match (self, ask) {
            (Self::Idle(idle), Ask::Attest(u)) => Self::Attested(idle.attest(verdicts[u].clone())),
            (Self::Attested(attested), Ask::Release(u)) => {
                let digest = certificates[u].digest;
                let certified = certificates[u]
                    .certify_survivors(&round.attempt, digest)
                    .unwrap();
                attested
                    .release(certified)
                    .map_or_else(Self::Attested, Self::Released)
            }
            (Self::Idle(idle), Ask::Abort) => Self::Aborted(idle.abort()),
            (Self::Attested(attested), Ask::Abort) => Self::Aborted(attested.abort()),
            (state, _) => state,
        }
    }
}

/// The only honest holder of four, asked for everything in every order, with certificates for every set in the coordinator's hands.
#[test]
fn t01_no_holder_ever_releases_both_kinds_of_share() {
    let world = World::new(4);
    let mut round = world.open();
    let cohort = round.commit_all();
    let sets = proposals(&round, &cohort, 3);
    let opened = round.opened(0, &cohort).unwrap();
    let verdicts: Vec<_> = sets
        .iter()
        .map(|(proposal, items)| round.judge(0, &cohort, proposal, items).unwrap())
        .collect();
    let by_the_others = |(proposal, _): &(SurvivorProposal, _)| {
        certificate_of(
            &(1..4)
                .map(|h| attestation(&round, h, &cohort, proposal))
                .collect::<Vec<_>>(),
        )
    };
    let certificates: Vec<_> = sets.iter().map(by_the_others).collect();
    let count = sets.len();
    assert_eq!(count, 5);
    let asks: Vec<_> = (0..count)
        .map(Ask::Attest)
        .chain((0..count).map(Ask::Release))
        .chain(std::iter::once(Ask::Abort))
        .collect();
    for code in 0..asks.len().pow(3) {
        let trace = [code, code / asks.len(), code / asks.len().pow(2)]
            .map(|digit| asks[digit % asks.len()]);
        let mut state = Trace::Idle(round.idle(0));
        let (mut seen, mut gave_up) = (Vec::new(), false);
        for ask in trace {
            state = state.step(ask, &verdicts, &certificates, &round);
            match &state {
                Trace::Released(released) => {
                    seen.push(released.unmask(round.identity(0), &opened).unwrap())
                }
                Trace::Aborted(aborted) => {
                    gave_up = aborted.attestation(round.identity(0)).position == 1
                }
                Trace::Idle(_) | Trace::Attested(_) => {}
            }
        }
        assert!(
            !(gave_up && !seen.is_empty()),
            "{trace:?}: an abort beside a release"
        );
        assert_one_kind(&round, &seen, &format!("{trace:?}"));
    }
}

fn assert_one_kind(round: &Round<'_>, lists: &[UnmaskList], trace: &str) {
    let mut kinds: BTreeMap<u32, BTreeSet<bool>> = BTreeMap::new();
    for list in lists {
        for member in list.present.iter() {
            let (scalar, dealing) = (list.scalar(member).unwrap(), round.dealing(member));
            let is_b = scalar == dealing.f_b.share(list.position).expose();
            assert!(
                is_b || scalar == dealing.f_k.share(list.position).expose(),
                "{trace}: neither share of {member}"
            );
            kinds.entry(member).or_default().insert(is_b);
        }
    }
    assert!(
        kinds.values().all(|kinds| kinds.len() == 1),
        "{trace}: both shares of one member"
    );
}

#[test]
fn t01_a_certificate_for_another_set_frees_nothing() {
    let world = World::new(4);
    let mut round = world.open();
    let cohort = round.commit_all();
    let sets = proposals(&round, &cohort, 3);
    let ((all, items), (other, _)) = (sets.last().unwrap(), &sets[0]);
    let attested = round.attest(0, &cohort, all, items);
    let forged = certificate_of(
        &(1..4)
            .map(|h| attestation(&round, h, &cohort, other))
            .collect::<Vec<_>>(),
    );
    let certified = forged
        .certify_survivors(&round.attempt, other.digest())
        .unwrap();
    let attested = attested
        .release(certified)
        .err()
        .expect("it is bound to another set");
    let fitting = certificate_of(
        &(1..4)
            .map(|h| attestation(&round, h, &cohort, all))
            .collect::<Vec<_>>(),
    );
    assert!(round.release(attested, &fitting).is_ok(), "the control");
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
        assert_eq!(
            certified.map(|result| result.is_ok()),
            [5 - shown + 2 >= 5, shown + 2 >= 5],
            "{split:05b}"
        );
        assert!(
            !(5 - shown + 2 >= 5 && shown + 2 >= 5),
            "{split:05b}: two certificates"
        );
        let alone = [0usize, 1].map(|set| {
            (0..5)
                .filter(|h| (split >> h & 1 == 1) == (set == 1))
                .count()
                >= 5
        });
        assert_eq!(
            alone.contains(&true),
            shown == 0 || shown == 5,
            "without corrupt signers only one view gives a certificate"
        );
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

#[test]
fn a_tombstone_signs_the_same_word_as_an_abort() {
    let world = World::new(5);
    let round = world.open();
    let tombstone = Aborted::tombstone(&round.attempt, 3)
        .unwrap()
        .attestation(round.identity(3));
    assert_eq!(
        tombstone,
        round.idle(3).abort().attestation(round.identity(3))
    );
    assert_eq!(
        coordinator::check_abort(&round.attempt, 3, &tombstone),
        Ok(())
    );
    let as_another = Err(Fault::Absent {
        what: "holder position",
        index: 4,
    }
    .by(2));
    assert_eq!(
        coordinator::check_abort(&round.attempt, 2, &tombstone),
        as_another
    );
}

/// Rules 1 to 5 of section 10, each broken alone.
#[test]
fn a_holder_refuses_a_survivor_set_that_breaks_a_rule() {
    let world = World::new(7);
    let mut round = world.open();
    round.commit(0..6);
    let cohort = round.cohort();
    let items: Vec<_> = round
        .uploads(&cohort, 0..6)
        .into_values()
        .map(|upload| upload.item)
        .collect();
    let proposal = round.propose(&cohort, &items).unwrap();
    let judge = |proposal: &SurvivorProposal, items: &[SurvivorItem]| {
        round.judge(0, &cohort, proposal, items).map(drop)
    };
    let refused = |fault: Fault| Err(fault.by_coordinator());
    assert_eq!(judge(&proposal, &items), Ok(()));

    let mut other = proposal.clone();
    other.ctx = crate::Digest::ZERO;
    assert_eq!(judge(&other, &items), refused(Fault::Context("cohort")));
    other = proposal.clone();
    other.survivors.insert(6);
    assert_eq!(
        judge(&other, &items),
        refused(Fault::Absent {
            what: "survivor",
            index: 6
        }),
        "not in the cohort"
    );
    other = SurvivorProposal {
        survivors: Bitmap::of(7, 0..4),
        ..proposal.clone()
    };
    assert_eq!(
        judge(&other, &items[..4]),
        refused(Fault::TooFew {
            what: "survivors",
            have: 4,
            need: 5
        })
    );
    assert_eq!(
        judge(&proposal, &items[..5]),
        refused(Fault::Order("survivor items"))
    );
    other = SurvivorProposal {
        upload_root: crate::Digest::ZERO,
        ..proposal.clone()
    };
    assert_eq!(
        judge(&other, &items),
        refused(Fault::Root("survivor items"))
    );
    let mut swapped = items.clone();
    swapped[4].signature = items[3].signature;
    assert_eq!(
        judge(&proposal, &swapped),
        refused(Fault::Signature("upload"))
    );

    let opened = round.opened(0, &cohort).unwrap();
    let without_own = round
        .idle(0)
        .judge(&cohort, &opened, &proposal, &items, None)
        .map(drop);
    assert_eq!(
        without_own,
        refused(Fault::Context("upload of this site")),
        "it signed no upload"
    );
}

#[test]
fn a_cohort_of_another_announcement_is_not_opened_under_this_one() {
    let world = World::new(5);
    let mut round = world.open();
    let mut cohort = round.commit_all();
    cohort.ann_hash = crate::Digest::ZERO;
    let opened = round.opened(1, &cohort).map(drop);
    assert_eq!(opened, Err(Fault::Context("announcement").by_coordinator()));
    let culprit = opened.unwrap_err().culprits();
    assert_eq!(culprit, Some(Culprit::Coordinator));
}

#[test]
fn a_list_asked_for_again_is_the_same_list() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let (all, _) = proposals(&round, &cohort, 5).remove(0);
    let signed: Vec<_> = (0..5)
        .map(|h| attestation(&round, h, &cohort, &all))
        .collect();
    let released = released(&round, 2, &cohort, &all, &certificate_of(&signed));
    let opened: OpenedShares = round.opened(2, &cohort).unwrap();
    let first = released.unmask(round.identity(2), &opened).unwrap();
    assert_eq!(first, round.list(2, &released, &cohort));
    assert_eq!(first.present, Bitmap::full(5));
}
