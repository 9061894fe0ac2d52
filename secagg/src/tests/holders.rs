//! Holders: one survivor set, one kind of share, release or abort, whatever the others do.

use std::collections::{BTreeMap, BTreeSet};

use super::certificates::{attestation, proposals, released};
use super::kit::{Round, World, certificate_of};
use crate::coordinator;
use crate::error::{Culprit, Fault};
use crate::holder::{Aborted, Attested, Idle, OpenedShares, Released, Verdict};
use crate::message::{Cohort, SurvivorItem, SurvivorProposal, UnmaskList};
use crate::{Bitmap, Certificate};

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
            !gave_up || seen.is_empty(),
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
    let own = |own| {
        round
            .idle(0)
            .judge(&cohort, &opened, &proposal, &items, own)
            .map(drop)
    };
    assert_eq!(
        own(Some((0, crate::Digest::ZERO))),
        refused(Fault::Context("upload of this site"))
    );
    assert_eq!(own(None), Ok(()), "the receipt may still be on its way");
}

/// Rule 1 compares three things, and any one that differs decides: two cohorts that one announcement could have had.
#[test]
fn cohort_shares_and_proposal_are_of_one_cohort_or_nothing_is_judged() {
    let world = World::new(7);
    let mut round = world.open();
    round.commit(0..6);
    let small = round.cohort();
    let shares_of_small = round.opened(0, &small).unwrap();
    let items: Vec<_> = round
        .uploads(&small, 0..6)
        .into_values()
        .map(|upload| upload.item)
        .collect();
    let proposal = round.propose(&small, &items).unwrap();
    let large = round.commit_all();
    let shares_of_large = round.opened(0, &large).unwrap();
    let judge = |cohort: &Cohort, opened: &OpenedShares, proposal: &SurvivorProposal| {
        let idle = round.idle(0);
        idle.judge(cohort, opened, proposal, &items, None).map(drop)
    };
    let refused = Err(Fault::Context("cohort").by_coordinator());
    assert_eq!(
        judge(&small, &shares_of_small, &proposal),
        Ok(()),
        "the control"
    );
    assert_eq!(
        judge(&large, &shares_of_small, &proposal),
        refused,
        "another cohort, of which all survivors are members too"
    );
    assert_eq!(
        judge(&small, &shares_of_large, &proposal),
        refused,
        "shares of another cohort"
    );
    let over_eight = SurvivorProposal {
        survivors: Bitmap::of(8, 0..6),
        ..proposal.clone()
    };
    assert_eq!(
        judge(&small, &shares_of_small, &over_eight),
        refused,
        "the same survivors, out of a roster of another size"
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

/// A restarted holder asks for its shares again. One that is altered now would make a second, shorter list under its signature.
#[test]
fn a_list_that_would_be_shorter_than_what_was_attested_is_not_signed() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let (all, _) = proposals(&round, &cohort, 5).remove(0);
    let signed: Vec<_> = (0..5)
        .map(|h| attestation(&round, h, &cohort, &all))
        .collect();
    let released = released(&round, 2, &cohort, &all, &certificate_of(&signed));
    let mut items = coordinator::share_items(&round.attempt, &round.commits, 2).unwrap();
    items[3].ciphertext.as_mut().unwrap()[0] ^= 1;
    let (keys, own) = (round.keys(2), round.committed(2).own_shares());
    let open = |items: &[_]| {
        OpenedShares::open(
            &round.attempt,
            2,
            &keys.inbound,
            own.as_ref(),
            &cohort,
            items,
        )
        .unwrap()
    };
    let refused = released.unmask(round.identity(2), &open(&items));
    assert_eq!(refused, Err(Fault::Root("share item").by_coordinator()));
    let good = round.opened(2, &cohort).unwrap();
    let list = released.unmask(round.identity(2), &good).unwrap();
    assert_eq!(list.present, Bitmap::full(5));
    let shown = format!("{list:?}");
    let scalar = format!("{:?}", list.scalars[0]);
    assert!(!shown.contains(&scalar[1..20]), "a share in a log: {shown}");
}

/// Shares that did not open when the set was attested, and open now: the complaint stands, and no share of that dealer leaves.
#[test]
fn what_was_complained_about_is_never_released() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let (all, items) = proposals(&round, &cohort, 5).remove(0);
    let mut verdict = round.judge(2, &cohort, &all, &items).unwrap();
    verdict.complaints.insert(3);
    let attested = round.idle(2).attest(verdict);
    let signed: Vec<_> = (0..5)
        .map(|h| attestation(&round, h, &cohort, &all))
        .collect();
    let released = round.release(attested, &certificate_of(&signed)).unwrap();
    assert_eq!(round.opened(2, &cohort).unwrap().complaints().count(), 0);
    let list = round.list(2, &released, &cohort);
    assert_eq!(list.present, Bitmap::of(5, [0, 1, 2, 4]));
    assert_eq!(list.scalars.len(), 4);
}
