//! What the coordinator can compute from everything it may see, by linear algebra over all small cases.
//!
//! Each upload is x_i plus streams with signs. A stream is known or unknown as its seed is; a combination of uploads says something
//! about inputs only if every unknown stream cancels in it.

use std::collections::{BTreeMap, BTreeSet};

use super::kit::{Round, World, certificate_of};
use crate::coordinator;
use crate::holder::{OpenedShares, Verdict, revealed};
use crate::mask::{End, Masks, pair_seed, self_seed};
use crate::message::{Cohort, SurvivorItem, SurvivorProposal, UnmaskList};
use crate::prg::Sign;
use crate::{Bitmap, commitment::Secret};

type SeedBytes = [u8; 32];

/// A prime above any determinant of these matrices' entries, which are −1, 0 and 1.
const P: i128 = (1 << 61) - 1;

/// Seeds of one attempt, computed from each site's own secrets.
struct Seeds {
    own: Vec<SeedBytes>,
    pair: BTreeMap<(u32, u32), SeedBytes>,
}

impl Seeds {
    fn new(round: &Round<'_>, cohort: &Cohort) -> Self {
        let (n, ctx, attempt) = (round.world.roster.len(), cohort.ctx(), &round.attempt);
        let own = |i| {
            *self_seed(attempt, &ctx, i, round.dealing(i).f_b.secret())
                .unwrap()
                .expose()
        };
        let end = |i: u32| End {
            index: i,
            key: &round.commits[&i].e_pk,
        };
        let pair = |i, j| {
            *pair_seed(attempt, &ctx, &round.dealing(i).mask_key, end(i), end(j))
                .unwrap()
                .expose()
        };
        let pairs = (0..n).flat_map(|i| (0..n).filter(move |j| *j != i).map(move |j| (i, j)));
        Self {
            own: (0..n).map(own).collect(),
            pair: pairs.map(|(i, j)| ((i, j), pair(i, j))).collect(),
        }
    }

    /// Seeds that follow from what `corrupt` members keep and what a release for `survivors` reveals.
    fn known(&self, survivors: &Bitmap, corrupt: &Bitmap) -> BTreeSet<SeedBytes> {
        let with_e = |i| {
            self.pair
                .iter()
                .filter(move |((from, _), _)| *from == i)
                .map(|(_, seed)| *seed)
        };
        let mut known = BTreeSet::new();
        for i in 0..survivors.size() {
            let released = revealed(survivors, i);
            if corrupt.contains(i) || released == Secret::SelfMask {
                known.insert(self.own[i as usize]);
            }
            if corrupt.contains(i) || released == Secret::Rescue {
                known.extend(with_e(i));
            }
        }
        known
    }
}

/// Streams with their signs, added up.
fn collect<'a>(all: impl IntoIterator<Item = &'a Masks>) -> BTreeMap<SeedBytes, i128> {
    let mut streams = BTreeMap::new();
    for (sign, seed) in all.into_iter().flat_map(|masks| &masks.0) {
        *streams.entry(*seed.expose()).or_insert(0) += if *sign == Sign::Plus { 1 } else { -1 };
    }
    streams.retain(|_, count| *count != 0);
    streams
}

/// All combinations of `rows` that cancel every column: a basis, by elimination modulo P.
fn combinations(rows: &[BTreeMap<SeedBytes, i128>]) -> Vec<Vec<i128>> {
    let columns: BTreeSet<_> = rows.iter().flat_map(|row| row.keys()).collect();
    let unit = |i: usize| {
        (0..rows.len())
            .map(|j| i128::from(i == j))
            .collect::<Vec<_>>()
    };
    let dense = |(i, row): (usize, &BTreeMap<SeedBytes, i128>)| {
        (
            columns
                .iter()
                .map(|column| row.get(*column).copied().unwrap_or(0).rem_euclid(P))
                .collect::<Vec<_>>(),
            unit(i),
        )
    };
    let mut left: Vec<_> = rows.iter().enumerate().map(dense).collect();
    for column in 0..columns.len() {
        let Some(at) = left.iter().position(|(row, _)| row[column] != 0) else {
            continue;
        };
        let (pivot, pivot_combination) = left.swap_remove(at);
        let inverse = power(pivot[column], P - 2);
        for (row, combination) in left.iter_mut().filter(|(row, _)| row[column] != 0) {
            let factor = row[column] * inverse % P;
            row.iter_mut()
                .zip(&pivot)
                .for_each(|(x, y)| *x = (*x - factor * y).rem_euclid(P));
            combination
                .iter_mut()
                .zip(&pivot_combination)
                .for_each(|(x, y)| *x = (*x - factor * y).rem_euclid(P));
        }
    }
    left.into_iter()
        .map(|(_, combination)| combination)
        .collect()
}

fn power(base: i128, mut exponent: i128) -> i128 {
    let (mut base, mut result) = (base, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result * base % P;
        }
        base = base * base % P;
        exponent >>= 1;
    }
    result
}

fn sets(n: u32, sizes: impl Fn(u32) -> bool) -> impl Iterator<Item = Bitmap> {
    let kept = (0u32..1 << n).filter(move |set| sizes(set.count_ones()));
    kept.map(move |set| Bitmap::of(n, (0..n).filter(|i| set >> i & 1 == 1)))
}

/// Everybody uploaded in the end, late or not: the worst that the coordinator can hold.
#[test]
fn t17_what_can_be_computed_is_the_sum_of_the_honest_survivors_and_nothing_else() {
    let mut cases = 0;
    for n in 3..=8 {
        let world = World::new(n);
        let mut round = world.open();
        let cohort = round.commit_all();
        let seeds = Seeds::new(&round, &cohort);
        let masks: Vec<_> = (0..n)
            .map(|i| round.masking(i, &cohort).unwrap().masks)
            .collect();
        let (bound, least) = (
            world.params().corrupt_bound(n),
            world.params().min_survivors(n),
        );
        for survivors in sets(n, |size| size >= least) {
            for corrupt in sets(n, |size| size <= bound) {
                let known = seeds.known(&survivors, &corrupt);
                let honest: Vec<u32> = (0..n).filter(|i| !corrupt.contains(*i)).collect();
                let unknown = |i: &u32| {
                    let mut streams = collect([&masks[*i as usize]]);
                    streams.retain(|seed, _| !known.contains(seed));
                    streams
                };
                let found = combinations(&honest.iter().map(unknown).collect::<Vec<_>>());
                let sum: Vec<_> = honest
                    .iter()
                    .map(|i| i128::from(survivors.contains(*i)))
                    .collect();
                assert_eq!(
                    found.len(),
                    1,
                    "n = {n}, U = {survivors:?}, corrupt {corrupt:?}"
                );
                let scale = power(*found[0].iter().find(|x| **x != 0).unwrap(), P - 2);
                let normed: Vec<_> = found[0].iter().map(|x| x * scale % P).collect();
                assert_eq!(
                    normed, sum,
                    "n = {n}, U = {survivors:?}, corrupt {corrupt:?}"
                );
                assert!(
                    sum.iter().sum::<i128>() >= 2,
                    "at least h_min honest inputs"
                );
                cases += 1;
            }
        }
    }
    assert_eq!(
        cases, 2321,
        "all survivor sets and corrupt sets of three to eight sites"
    );
}

/// Before a release, and beside a certified abort, nothing follows from anything.
#[test]
fn t17_before_a_release_nothing_can_be_computed() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let seeds = Seeds::new(&round, &cohort);
    let masks: Vec<_> = (0..7)
        .map(|i| round.masking(i, &cohort).unwrap().masks)
        .collect();
    for corrupt in sets(7, |size| size <= 6) {
        let of_corrupt: BTreeSet<_> = (0..7)
            .filter(|i| corrupt.contains(*i))
            .flat_map(|i| (0..7).filter(move |j| *j != i).map(move |j| (i, j)))
            .map(|pair| seeds.pair[&pair])
            .collect();
        let rows = (0..7).filter(|i| !corrupt.contains(*i)).map(|i| {
            let mut streams = collect([&masks[i as usize]]);
            streams.retain(|seed, _| !of_corrupt.contains(seed));
            streams
        });
        assert!(
            combinations(&rows.collect::<Vec<_>>()).is_empty(),
            "corrupt {corrupt:?}"
        );
    }
}

/// A holder group that releases both secrets of one survivor: the same algebra finds that survivor's update alone.
#[test]
fn t17_without_one_secret_per_site_a_single_update_can_be_computed() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let seeds = Seeds::new(&round, &cohort);
    let masks: Vec<_> = (0..5)
        .map(|i| round.masking(i, &cohort).unwrap().masks)
        .collect();
    let mut known = seeds.known(&Bitmap::full(5), &Bitmap::empty(5));
    let e_of_the_victim = (0..5).filter(|j| *j != 2).map(|j| seeds.pair[&(2, j)]);
    known.extend(e_of_the_victim);
    let unknown = |i: usize| {
        let mut streams = collect([&masks[i]]);
        streams.retain(|seed, _| !known.contains(seed));
        streams
    };
    let found = combinations(&(0..5).map(unknown).collect::<Vec<_>>());
    assert_eq!(found.len(), 2, "the sum, and one more");
    assert!(unknown(2).is_empty(), "no unknown stream is left on it");
    assert!(
        found
            .iter()
            .any(|c| (0..5).all(|i| (c[i] != 0) == (i == 2))),
        "the update of site 2 and no other: {found:?}"
    );
}

/// What the coordinator takes off a sum is, stream by stream, what the survivors put on.
#[test]
fn t17_unmasking_takes_off_exactly_the_streams_that_remain() {
    let n = 6;
    let world = World::new(n);
    let mut round = world.open();
    let cohort = round.commit_all();
    let items: Vec<_> = round
        .uploads(&cohort, 0..n)
        .into_values()
        .map(|upload| upload.item)
        .collect();
    let masks: Vec<_> = (0..n)
        .map(|i| round.masking(i, &cohort).unwrap().masks)
        .collect();
    let opened: Vec<_> = (0..n).map(|h| round.opened(h, &cohort).unwrap()).collect();
    for survivors in sets(n, |size| size >= world.params().min_survivors(n)) {
        let kept: Vec<_> = items
            .iter()
            .filter(|item| survivors.contains(item.index))
            .copied()
            .collect();
        let lists = release(&round, &cohort, &kept, &opened);
        let unmasked =
            coordinator::unmask(&round.attempt, &cohort, &survivors, &round.commits, &lists)
                .unwrap();
        let on = survivors.iter().map(|u| &masks[u as usize]);
        assert_eq!(
            collect(on.chain([&unmasked.masks])),
            BTreeMap::new(),
            "U = {survivors:?}"
        );
    }
}

fn release(
    round: &Round<'_>,
    cohort: &Cohort,
    items: &[SurvivorItem],
    opened: &[OpenedShares],
) -> BTreeMap<u32, UnmaskList> {
    let proposal: SurvivorProposal = round.propose(cohort, items).unwrap();
    let attest = |h| {
        let complaints = Bitmap::empty(cohort.members.size());
        round.idle(h).attest(Verdict {
            proposal: proposal.clone(),
            cohort: cohort.members.clone(),
            complaints,
        })
    };
    let attested: BTreeMap<_, _> = (0..round.attempt.threshold())
        .map(|h| (h, attest(h)))
        .collect();
    let certificate = certificate_of(&round.attestations(&attested));
    let list = |(h, attested)| {
        let released = round.release(attested, &certificate).unwrap();
        (
            h,
            released
                .unmask(round.identity(h), &opened[h as usize])
                .unwrap(),
        )
    };
    attested.into_iter().map(list).collect()
}
