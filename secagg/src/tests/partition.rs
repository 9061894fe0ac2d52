//! The partition attack of section 10: two cohorts under one announcement, and why a survivor must have signed under this one.

use std::collections::BTreeMap;

use super::kit::{Round, World, certificate_of};
use crate::error::Fault;
use crate::message::{Cohort, SurvivorItem, SurvivorProposal};

/// The ten sites of section 10: who they are in the attack.
struct TenSites<'w> {
    /// What the victim and the sites "dropped" under A are shown.
    b: Round<'w>,
    /// What three honest holders are shown: everybody in the cohort.
    a: Round<'w>,
    cohort_a: Cohort,
    cohort_b: Cohort,
}

const VICTIM: u32 = 0;
const HONEST_A: [u32; 3] = [1, 2, 3];
const HONEST_B: [u32; 3] = [4, 5, 6];
const CORRUPT: [u32; 3] = [7, 8, 9];

impl<'w> TenSites<'w> {
    /// Eight holders, t = 6: two of the sites in view B are offline as holders.
    fn new(world: &'w World) -> Self {
        let open = || world.open_with(world.announcement_to([0, 1, 2, 3, 4, 7, 8, 9]));
        let (mut a, mut b) = (open(), open());
        assert_eq!((a.attempt.holder_count(), a.attempt.threshold()), (8, 6));
        let cohort_a = a.commit_all();
        b.commit([VICTIM].into_iter().chain(HONEST_B).chain(CORRUPT));
        let cohort_b = b.cohort();
        Self {
            b,
            a,
            cohort_a,
            cohort_b,
        }
    }

    /// U under A: the three honest holders of view A, the corrupt ones, and the victim with the upload it signed under B.
    fn proposal(&self) -> (SurvivorProposal, Vec<SurvivorItem>) {
        let upload = |i: u32| match i {
            VICTIM => self.b.upload(i, &self.cohort_b).item,
            _ => self.a.upload(i, &self.cohort_a).item,
        };
        let items: Vec<_> = [VICTIM]
            .into_iter()
            .chain(HONEST_A)
            .chain(CORRUPT)
            .map(upload)
            .collect();
        (self.a.propose(&self.cohort_a, &items).unwrap(), items)
    }
}

#[test]
fn t58_a_survivor_that_signed_under_another_cohort_is_refused() {
    let world = World::new(10);
    let ten = TenSites::new(&world);
    assert_ne!(ten.cohort_a.ctx(), ten.cohort_b.ctx());
    let (proposal, items) = ten.proposal();
    assert_eq!(proposal.survivors.count(), 7, "every size rule holds");
    for h in HONEST_A {
        let judged = ten.a.judge(h, &ten.cohort_a, &proposal, &items).map(drop);
        assert_eq!(
            judged,
            Err(Fault::Signature("upload").by_coordinator()),
            "holder {h}"
        );
    }
    // The control: with everybody's upload under A the same set is fine.
    let honest: Vec<_> = items
        .iter()
        .map(|item| ten.a.upload(item.index, &ten.cohort_a).item)
        .collect();
    let proposal = ten.a.propose(&ten.cohort_a, &honest).unwrap();
    for h in HONEST_A {
        assert!(
            ten.a.judge(h, &ten.cohort_a, &proposal, &honest).is_ok(),
            "holder {h}"
        );
    }
}

/// The same attack on holders that do not look at the signatures: the victim's update comes out, number by number.
#[test]
fn t58_without_that_check_the_victims_update_is_exposed() {
    let world = World::new(10);
    let ten = TenSites::new(&world);
    let (proposal, _) = ten.proposal();
    let signers = HONEST_A.into_iter().chain(CORRUPT);
    let attested: BTreeMap<_, _> = signers
        .map(|h| (h, ten.a.blind(h, &ten.cohort_a, &proposal)))
        .collect();
    let certificate = certificate_of(&ten.a.attestations(&attested));
    let list = |(h, attested)| {
        let released = ten.a.release(attested, &certificate).unwrap();
        (h, ten.a.list(h, &released, &ten.cohort_a))
    };
    let lists: BTreeMap<_, _> = attested.into_iter().map(list).collect();
    assert_eq!(
        ten.b
            .exposed_by_lists(VICTIM, &ten.cohort_b, &lists, &CORRUPT),
        ten.b.hidden(VICTIM),
        "this is what rule 4 is for"
    );
}

/// A victim that masks under a second cohort as well: with what an honest release under A reveals, its upload under B lies open.
#[test]
fn t15_without_the_rule_of_one_cohort_the_second_upload_is_exposed() {
    let world = World::new(10);
    let ten = TenSites::new(&world);
    let items = ten.a.items(
        &ten.cohort_a,
        [VICTIM].into_iter().chain(HONEST_A).chain(CORRUPT),
    );
    let holders = HONEST_A.into_iter().chain(CORRUPT);
    let (proposal, lists) = ten.a.lists_by(&ten.cohort_a, &items, holders);
    assert_eq!(
        proposal.survivors.count(),
        7,
        "every holder judged every rule"
    );
    assert_eq!(
        ten.b
            .exposed_by_lists(VICTIM, &ten.cohort_b, &lists, &CORRUPT),
        ten.b.hidden(VICTIM)
    );
}

/// Five sites, each shown cohort A or cohort B: a holder signs a set under A only if all of it signed under A.
#[test]
fn t58_no_split_view_gets_a_mixed_survivor_set_signed() {
    let world = World::new(5);
    let (mut a, mut b) = (world.open(), world.open());
    let cohort_a = a.commit_all();
    b.commit(1..5);
    let cohort_b = b.cohort();
    let in_a: Vec<_> = (0..5).map(|i| a.upload(i, &cohort_a).item).collect();
    let in_b: Vec<_> = (0..5)
        .map(|i| (i > 0).then(|| b.upload(i, &cohort_b).item))
        .collect();
    let opened = a.opened(0, &cohort_a).unwrap();
    for view in 0u32..1 << 5 {
        let signed = |i: usize| {
            if view >> i & 1 == 1 {
                in_b[i].unwrap_or(in_a[i])
            } else {
                in_a[i]
            }
        };
        for set in (0u32..1 << 5).filter(|set| set.count_ones() >= 4) {
            let items: Vec<_> = (0..5).filter(|i| set >> i & 1 == 1).map(signed).collect();
            let proposal = a.propose(&cohort_a, &items).unwrap();
            let own = items
                .iter()
                .find(|item| item.index == 0)
                .map(|item| (0, item.upload_hash));
            let judged = a.idle(0).judge(&cohort_a, &opened, &proposal, &items, own);
            let mixed = set & view & !1 != 0;
            assert_eq!(judged.is_err(), mixed, "views {view:05b}, set {set:05b}");
        }
    }
}
