//! Releases and what is short of one: an abort excludes it, and what fewer than t holders have opens nothing.

use crate::Bitmap;
use crate::Certificate;
use crate::error::Error;
use crate::holder::Aborted;
use crate::prg::Keystream;
use crate::shamir::{Lagrange, Polynomial, SecretScalar};
use crate::tests::kit::adversary::{joined, joined_pairs};
use crate::tests::kit::{self, Plan, World};

/// Holders that abort what they released: the coordinator takes the sum, runs again without site 2, and subtracts.
#[test]
fn t19_without_the_exclusion_of_abort_and_release_the_difference_is_one_update() {
    let world = World::new(7);
    let mut first = world.open();
    let all = kit::run(&mut first, &Plan::default()).unwrap().sum;
    let abort = |h: u32| {
        // as if nothing were on record of the attempt
        let tombstone = Aborted::tombstone(&first.attempt, h).unwrap();
        tombstone.attestation(first.identity(h))
    };
    let aborted = Certificate {
        digest: first.attempt.hash(),
        signatures: (0..5)
            .map(abort)
            .map(|a| (a.position, a.signature))
            .collect(),
    };
    assert!(
        aborted.certify_abort(&first.attempt).is_ok(),
        "every site may contribute again"
    );
    let mut second = world.open_changed(|a| a.seq = 2);
    let plan = Plan {
        absent: [2].into(),
        ..Plan::default()
    };
    let rest = kit::run(&mut second, &plan).unwrap().sum;
    let model: Vec<_> = all.0.iter().zip(&rest.0).map(|(a, b)| a - b).collect();
    let lanes = all.1.iter().zip(&rest.1);
    let metadata: Vec<_> = lanes.map(|(a, b)| a.wrapping_sub(*b)).collect();
    assert_eq!((model, metadata), first.hidden(2));
}

#[test]
fn t36_without_the_silence_of_one_holder_t_lists_open_every_secret() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let items = round.items(&cohort, 0..6);
    let (proposal, lists) = round.lists(&cohort, &items);
    let open = |count: usize| {
        let some = lists.iter().take(count).map(|(h, list)| (*h, list.clone()));
        let (attempt, commits) = (&round.attempt, &round.commits);
        let survivors = &proposal.survivors;
        crate::coordinator::unmask(attempt, &cohort, survivors, commits, &some.collect())
            .map(|unmasked| round.sum(&round.uploads(&cohort, 0..6), survivors, &unmasked.masks))
    };
    assert_eq!(open(4), Err(Error::BelowThreshold { have: 4, need: 5 }));
    assert_eq!(open(5), Ok(round.plain(&Bitmap::of(7, 0..6))));
    for member in 0..7 {
        let secret = joined(lists.values().take(5), member);
        let dealing = round.dealing(member);
        let expected = if member == 6 {
            dealing.f_k
        } else {
            dealing.f_b
        };
        assert!(secret == *expected.secret(), "member {member}");
    }
}

/// Sharings of one secret, again and again: what fewer than t holders can join is uniform, whatever the secret.
#[test]
fn t37_pooled_shares_of_the_corrupt_holders_say_nothing_about_a_secret() {
    let world = World::new(10);
    let round = world.open();
    let (corrupt, t) = (world.params().corrupt_bound(10), round.attempt.threshold());
    assert_eq!((corrupt, t), (3, 7));
    let mut stream = Keystream::new(&kit::seed("coefficients", 0), 0, 0);
    let mut uniform = || {
        let mut wide = [0; 64];
        stream.fill(&mut wide);
        SecretScalar::from_wide(&wide)
    };
    for secret in [SecretScalar::parse(&[0; 32]).unwrap(), uniform()] {
        for pool in [corrupt, t - 1, t] {
            let positions: Vec<u32> = (1..=pool).collect();
            let lagrange = Lagrange::new(&positions, pool).unwrap();
            let mut counts = [0u32; 256];
            for _ in 0..1 << 12 {
                let rest = (1..t).map(|_| uniform());
                let f = Polynomial::new(std::iter::once(secret.duplicate()).chain(rest).collect());
                let shares: Vec<_> = positions.iter().map(|x| f.share(*x)).collect();
                let joined = lagrange.combine(&shares.iter().collect::<Vec<_>>());
                counts[usize::from(joined.expose()[0])] += 1;
            }
            let off = |count: &u32| (f64::from(*count) - 16.0).powi(2) / 16.0;
            let chi_square: f64 = counts.iter().map(off).sum();
            assert_eq!(chi_square < 400.0, pool < t, "{pool} shares: {chi_square}");
        }
    }
}

/// The same pool as large as t: every secret of every site.
#[test]
fn t37_without_a_threshold_above_their_number_the_colluding_holders_open_everything() {
    let world = World::new(10);
    let mut round = world.open();
    let cohort = round.commit_all();
    let pooled = |h: u32| {
        let keys = round.keys(h).inbound;
        let pair = round.try_open(0, h, keys.get(0).unwrap());
        (h + 1, pair.unwrap())
    };
    let secrets = joined_pairs((3..10).map(pooled));
    assert_eq!(round.exposed(0, &cohort, &secrets), round.hidden(0));
    let too_few = joined_pairs((4..10).map(pooled));
    let dealing = round.dealing(0);
    assert!(too_few[0] != *dealing.f_b.secret() && too_few[1] != *dealing.f_k.secret());
}
