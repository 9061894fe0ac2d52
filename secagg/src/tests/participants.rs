//! Lying dealers and lying holders, keys that are not what they seem: caught, named, and nobody else blamed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::dealer::Dealer;
use super::kit::{self, Plan, Round, Upload, World};
use crate::coordinator::{self, Recoverability, Unmasking};
use crate::error::{Error, Fault};
use crate::evidence::Evidence;
use crate::evidence::dealing::WrongScalar;
use crate::holder::{Attested, OpenedShares};
use crate::mask::Masks;
use crate::merkle::Tree;
use crate::message::{Cohort, SurvivorItem, SurvivorProposal, UnmaskList};
use crate::{Bitmap, Certificate, commitment};

/// Everybody uploads except `dropped`; the survivors are proposed.
fn proposed(
    round: &Round<'_>,
    cohort: &Cohort,
    dropped: &[u32],
) -> (BTreeMap<u32, Upload>, Vec<SurvivorItem>, SurvivorProposal) {
    let uploads = round.uploads(
        cohort,
        cohort.members.iter().filter(|i| !dropped.contains(i)),
    );
    let items: Vec<_> = uploads.values().map(|upload| upload.item).collect();
    let proposal = round.propose(cohort, &items).unwrap();
    (uploads, items, proposal)
}

/// Holders attest; the `accusers` complain about `accused` as well.
fn attested(
    round: &Round<'_>,
    cohort: &Cohort,
    (items, proposal): (&[SurvivorItem], &SurvivorProposal),
    holders: impl IntoIterator<Item = u32>,
    (accusers, accused): (&[u32], u32),
) -> BTreeMap<u32, Attested> {
    let attest = |h| {
        let mut verdict = round.judge(h, cohort, proposal, items).unwrap();
        if accusers.contains(&h) {
            verdict.complaints.insert(accused);
        }
        (h, round.idle(h).attest(verdict))
    };
    holders.into_iter().map(attest).collect()
}

fn recoverability(
    round: &Round<'_>,
    cohort: &Cohort,
    attested: &BTreeMap<u32, Attested>,
) -> Recoverability {
    coordinator::recoverability(&round.attempt, cohort, round.attestations(attested).iter())
}

/// Releases, unmasks and sums.
fn finish(
    round: &Round<'_>,
    cohort: &Cohort,
    attested: BTreeMap<u32, Attested>,
    certificate: &Certificate,
    uploads: &BTreeMap<u32, Upload>,
    survivors: &Bitmap,
) -> Result<(Vec<i64>, Vec<u64>), Error> {
    let list = |(h, attested)| {
        (
            h,
            round.list(h, &round.release(attested, certificate).unwrap(), cohort),
        )
    };
    let lists = attested.into_iter().map(list).collect();
    let unmasked = coordinator::unmask(&round.attempt, cohort, survivors, &round.commits, &lists)?;
    assert_eq!(unmasked.liars, BTreeSet::new());
    Ok(round.sum(uploads, survivors, &unmasked.masks))
}

/// The dealer is caught before anything is released, by every holder it cheated, and by nobody else.
#[test]
fn t29_garbage_shares_under_a_valid_seal_are_complained_about() {
    let not_canonical = [0xff; 32];
    let another = *World::new(3).open().dealing(1).f_b.share(1).expose();
    for (garbage, half) in [
        (not_canonical, 0),
        (another, 0),
        (not_canonical, 32),
        (another, 32),
    ] {
        let world = World::new(7);
        let mut round = world.open();
        round.commit((0..7).filter(|i| *i != 3));
        let mut dealer = Dealer::honest(&round, 3);
        dealer
            .dealt
            .iter_mut()
            .for_each(|pair| pair[half..half + 32].copy_from_slice(&garbage));
        round.commits.insert(3, dealer.commit(&round));
        assert!(
            coordinator::check_commit(&round.attempt, 3, &round.commits[&3]).is_ok(),
            "the seal is valid"
        );
        let cohort = round.cohort();
        for h in (0..7).filter(|h| *h != 3) {
            assert_eq!(
                *round.opened(h, &cohort).unwrap().complaints(),
                Bitmap::of(7, [3]),
                "holder {h}"
            );
        }
        let (_, items, proposal) = proposed(&round, &cohort, &[]);
        let attested = attested(&round, &cohort, (&items, &proposal), 0..7, (&[], 0));
        assert_eq!(
            recoverability(&round, &cohort, &attested),
            Recoverability::Convicted { dealers: vec![3] }
        );
    }
}

#[test]
fn t29_an_altered_leaf_or_path_is_the_coordinators_fault_and_nobody_is_complained_about() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let open = |change: &dyn Fn(&mut crate::message::ShareItem)| {
        let mut items = coordinator::share_items(&round.attempt, &round.commits, 1).unwrap();
        change(&mut items[3]);
        OpenedShares::open(
            &round.attempt,
            1,
            &round.keys(1).inbound,
            round.committed(1).own_shares().as_ref(),
            &cohort,
            &items,
        )
    };
    let refused = Some(Fault::Root("share item").by_coordinator());
    assert_eq!(open(&|item| item.pair[0] ^= 1).err(), refused);
    assert_eq!(open(&|item| item.path[0].0[0] ^= 1).err(), refused);
    assert_eq!(open(&|item| item.path.truncate(1)).err(), refused);
    assert_eq!(open(&|item| item.nonce[0] ^= 1).err(), refused);
    assert_eq!(open(&|item| item.com_b.0[0] ^= 1).err(), refused);
    // The ciphertext is not under the root: an altered one is a complaint, and the dealer's signed Commit shows whose fault it is.
    let altered = open(&|item| item.ciphertext.as_mut().unwrap()[0] ^= 1).unwrap();
    assert_eq!(*altered.complaints(), Bitmap::of(5, [3]));
    assert_eq!(
        open(&|_| ()).unwrap().complaints().count(),
        0,
        "the control"
    );
}

/// Ciphertexts of two dealers swapped, or another holder's one forwarded: the seal names dealer and holder.
#[test]
fn t22_a_share_given_to_another_holder_or_moved_between_dealers_does_not_open() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let open = |items: &[crate::message::ShareItem]| {
        let own = round.committed(1).own_shares();
        OpenedShares::open(
            &round.attempt,
            1,
            &round.keys(1).inbound,
            own.as_ref(),
            &cohort,
            items,
        )
        .unwrap()
        .complaints()
        .clone()
    };
    let items = coordinator::share_items(&round.attempt, &round.commits, 1).unwrap();
    let mut swapped = items.clone();
    (swapped[3].ciphertext, swapped[4].ciphertext) = (items[4].ciphertext, items[3].ciphertext);
    assert_eq!(open(&swapped), Bitmap::of(5, [3, 4]));
    let mut misdirected = items.clone();
    misdirected[3].ciphertext = round.commits[&3].ciphertexts[2];
    assert_eq!(open(&misdirected), Bitmap::of(5, [3]));
    let mut withheld = items;
    withheld[0].ciphertext = None;
    assert_eq!(open(&withheld), Bitmap::of(5, [0]));
}

#[test]
fn t29a_as_many_lying_complaints_as_corrupt_holders_exclude_nobody() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let (uploads, items, proposal) = proposed(&round, &cohort, &[6]);
    let attest = |holders: std::ops::Range<u32>, accusers| {
        attested(&round, &cohort, (&items, &proposal), holders, (accusers, 5))
    };

    let accused_by_two = attest(0..7, &[0, 4]);
    assert_eq!(
        recoverability(&round, &cohort, &accused_by_two),
        Recoverability::Given
    );
    let certificate = kit::certify(&round, &cohort, &accused_by_two).unwrap();
    let sum = finish(
        &round,
        &cohort,
        accused_by_two,
        &certificate,
        &uploads,
        &proposal.survivors,
    )
    .unwrap();
    assert!(proposal.survivors.contains(5));
    assert_eq!(
        sum,
        round.plain(&proposal.survivors),
        "its input is in the sum"
    );

    let accused_by_three = recoverability(&round, &cohort, &attest(0..7, &[0, 1, 4]));
    assert_eq!(
        accused_by_three,
        Recoverability::Convicted { dealers: vec![5] },
        "an honest holder is among three"
    );
    let with_an_absentee = recoverability(&round, &cohort, &attest(0..6, &[0, 4]));
    assert_eq!(
        with_an_absentee,
        Recoverability::Waiting {
            member: 5,
            clean: 4,
            need: 5
        },
        "wait; the dealer stays"
    );
    let nobody = recoverability(&round, &cohort, &attest(0..0, &[]));
    assert_eq!(
        nobody,
        Recoverability::Waiting {
            member: 0,
            clean: 0,
            need: 5
        }
    );
}

/// n_C false complaints about everybody leave exactly t clean holders, for every roster.
#[test]
fn t29a_the_complaint_bound_and_the_threshold_leave_room_for_each_other() {
    for n in 3..=128 {
        let params = crate::params::Params::new(kit::config(128)).unwrap();
        assert_eq!(
            n - params.threshold(n, n),
            params.complaint_bound(n),
            "n = {n}"
        );
    }
}

/// Shares that match their leaves but lead to a blob without the mask key: only the dealer can have done that.
#[test]
fn t31_a_wrong_rescue_blob_convicts_its_dealer_once_it_drops() {
    let world = World::new(7);
    let outcome = |dropped: &[u32]| {
        let mut round = world.open();
        round.commit((0..7).filter(|i| *i != 2));
        let mut dealer = Dealer::honest(&round, 2);
        dealer.rescued = kit::seed("another mask key", 0);
        round.commits.insert(2, dealer.commit(&round));
        let cohort = round.cohort();
        let (uploads, items, proposal) = proposed(&round, &cohort, dropped);
        let attested = attested(&round, &cohort, (&items, &proposal), 0..7, (&[], 0));
        let certificate =
            kit::certify(&round, &cohort, &attested).expect("nobody can see it before the release");
        let sum = finish(
            &round,
            &cohort,
            attested,
            &certificate,
            &uploads,
            &proposal.survivors,
        );
        (sum, round.plain(&proposal.survivors))
    };
    assert_eq!(outcome(&[2]).0, Err(Fault::Dealing.by(2)));
    let (sum, plain) = outcome(&[4]);
    assert_eq!(
        sum,
        Ok(plain),
        "the control: a survivor's blob is not needed"
    );
}

/// Committed shares that do not lie on a polynomial with the committed secret.
#[test]
fn t31_inconsistent_dealing_convicts_the_dealer() {
    let world = World::new(7);
    for (half, dropped) in [(0, vec![]), (32, vec![2])] {
        let mut round = world.open();
        round.commit((0..7).filter(|i| *i != 2));
        let (mut dealer, other) = (Dealer::honest(&round, 2), round.dealing(3));
        for (x, pair) in (1..).zip(&mut dealer.dealt) {
            pair[half..half + 32].copy_from_slice(other.f_b.share(x).expose());
        }
        dealer.committed.clone_from(&dealer.dealt);
        round.commits.insert(2, dealer.commit(&round));
        let cohort = round.cohort();
        let (uploads, items, proposal) = proposed(&round, &cohort, &dropped);
        let attested = attested(&round, &cohort, (&items, &proposal), 0..7, (&[], 0));
        let certificate = kit::certify(&round, &cohort, &attested).unwrap();
        let sum = finish(
            &round,
            &cohort,
            attested,
            &certificate,
            &uploads,
            &proposal.survivors,
        );
        assert_eq!(sum, Err(Fault::Dealing.by(2)));
    }
}

#[test]
fn t34_lying_holders_are_filtered_and_named() {
    let world = World::new(10);
    let plan = |lying: &[u32]| Plan {
        dropped: [9].into(),
        lying: lying.iter().copied().collect(),
        ..Plan::default()
    };
    let mut round = world.open();
    let outcome = kit::run(&mut round, &plan(&[0, 4, 7])).unwrap();
    assert_eq!(outcome.liars, [0, 4, 7].into());
    assert_eq!(outcome.sum, round.plain(&outcome.survivors));
    let one_more = kit::run(&mut world.open(), &plan(&[0, 3, 4, 7])).map(drop);
    assert_eq!(
        one_more,
        Err(Error::BelowThreshold { have: 6, need: 7 }),
        "below t the dealer is not blamed"
    );
}

/// A scalar committed in a form that is not canonical: the honest complain, and what a corrupt holder releases is not counted.
#[test]
fn t34_a_committed_scalar_that_is_not_canonical_counts_for_nobody() {
    let world = World::new(4);
    let mut round = world.open();
    round.commit(1..4);
    let mut dealer = Dealer::honest(&round, 0);
    for pair in [&mut dealer.dealt[3], &mut dealer.committed[3]] {
        pair[..32].copy_from_slice(&[0xff; 32]);
    }
    round.commits.insert(0, dealer.commit(&round));
    let cohort = round.cohort();
    assert_eq!(
        *round.opened(3, &cohort).unwrap().complaints(),
        Bitmap::of(4, [0])
    );
    let (_, items, proposal) = proposed(&round, &cohort, &[]);
    let mut attested = attested(&round, &cohort, (&items, &proposal), 0..4, (&[], 0));
    let certificate = kit::certify(&round, &cohort, &attested).unwrap();
    let released = round
        .release(attested.remove(&3).unwrap(), &certificate)
        .unwrap();
    let mut list = round.list(3, &released, &cohort);
    assert_eq!(
        list.present,
        Bitmap::of(4, 1..4),
        "an honest holder releases nothing for that dealer"
    );
    list.present.insert(0);
    list.scalars.insert(0, [0xff; 32]);
    round.resign(3, &mut list);
    assert_eq!(
        coordinator::matching(&round.attempt, &proposal.survivors, &round.commits, &list),
        vec![1, 2, 3]
    );
    let core = |i: u32| commitment::core_of_commit(&round.attempt, i, &round.commits[&i]).unwrap();
    let core_path = Tree::Cohort.path(&[0, 1, 2, 3].map(core), 0).unwrap();
    let proof = Evidence::WrongScalar(WrongScalar {
        attempt: Arc::clone(&round.attempt),
        dealer: 0,
        commit: round.commits[&0].clone(),
        core_path,
        cohort: cohort.clone(),
        proposal: proposal.clone(),
        list: list.clone(),
    });
    assert!(
        proof.verify().is_ok(),
        "it fits the leaf, and no honest holder releases what is no scalar"
    );
    let lists = BTreeMap::from([(3, list)]);
    let alone = coordinator::unmask(
        &round.attempt,
        &cohort,
        &proposal.survivors,
        &round.commits,
        &lists,
    )
    .map(drop);
    assert_eq!(
        alone,
        Err(Error::BelowThreshold { have: 0, need: 3 }),
        "what is counted and what is used agree"
    );
}

/// An honest attempt of seven sites, of which two are lost, up to the released lists.
fn released(round: &Round<'_>, cohort: &Cohort) -> (Bitmap, BTreeMap<u32, UnmaskList>) {
    let (_, items, proposal) = proposed(round, cohort, &[2, 5]);
    let attested = attested(round, cohort, (&items, &proposal), 0..7, (&[], 0));
    let certificate = kit::certify(round, cohort, &attested).unwrap();
    let lists = attested.into_iter().map(|(h, attested)| {
        let released = round.release(attested, &certificate).unwrap();
        (h, round.list(h, &released, cohort))
    });
    (proposal.survivors.clone(), lists.collect())
}

#[test]
fn members_recovered_in_any_order_give_the_same_masks() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let (survivors, lists) = released(&round, &cohort);
    let (attempt, commits) = (&round.attempt, &round.commits);
    let one_by_one = coordinator::unmask(attempt, &cohort, &survivors, commits, &lists).unwrap();
    let unmasking = Unmasking::new(attempt, &cohort, &survivors, commits, &lists);
    let backwards = (0..7)
        .rev()
        .map(|member| unmasking.recover(member).unwrap());
    let backwards = backwards.collect();
    let unmasked = unmasking.finish(backwards);
    let seeds = |masks: &Masks| -> Vec<_> {
        let streams = masks.0.iter();
        streams
            .map(|(sign, seed)| (*sign, *seed.expose()))
            .collect()
    };
    assert_eq!(seeds(&unmasked.masks), seeds(&one_by_one.masks));
    assert_eq!(
        unmasked.masks.streams(),
        5 + 2 * 5,
        "a survivor's own, and a pair's"
    );
}

#[test]
#[should_panic(expected = "every member, once")]
fn masks_of_which_a_member_is_missing_are_not_given() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let (survivors, lists) = released(&round, &cohort);
    let unmasking = Unmasking::new(&round.attempt, &cohort, &survivors, &round.commits, &lists);
    let most = (0..6).map(|member| unmasking.recover(member).unwrap());
    let most = most.collect();
    unmasking.finish(most);
}
