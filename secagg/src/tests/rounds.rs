//! Whole rounds in one thread: sums bit for bit, holders that fall silent, sites that come back.

use std::collections::BTreeSet;

use super::kit::{self, Plan, World};
use crate::channel::PairKeys;
use crate::coordinator;
use crate::error::Error;
use crate::holder::OpenedShares;
use crate::message::Receipt;
use crate::params::{RunConfig, ceil_log2};
use crate::participant::OwnShares;
use crate::{Bitmap, Digest};

fn members(all: &[u32]) -> BTreeSet<u32> {
    all.iter().copied().collect()
}

#[test]
fn t45_the_sum_is_exact_with_dropouts_at_every_stage() {
    let plans = [
        (3, Plan::default()),
        (
            4,
            Plan {
                dropped: members(&[2]),
                ..Plan::default()
            },
        ),
        (
            5,
            Plan {
                dropped: members(&[4]),
                ..Plan::default()
            },
        ),
        (
            7,
            Plan {
                dropped: members(&[2, 5]),
                mute: members(&[1, 3]),
                ..Plan::default()
            },
        ),
        (
            7,
            Plan {
                absent: members(&[0]),
                dropped: members(&[6]),
                ..Plan::default()
            },
        ),
        (
            10,
            Plan {
                late: members(&[1, 9]),
                dropped: members(&[4]),
                mute: members(&[0, 2, 5]),
                ..Plan::default()
            },
        ),
        (
            10,
            Plan {
                vanished: members(&[0, 2, 5]),
                ..Plan::default()
            },
        ),
    ];
    for (n, plan) in plans {
        let world = World::new(n);
        let mut round = world.open();
        let outcome = kit::run(&mut round, &plan).unwrap();
        let gone = plan.absent.len() + plan.dropped.len() + plan.late.len();
        assert_eq!(
            outcome.survivors.count() as usize,
            n as usize - gone,
            "n = {n}: {plan:?}"
        );
        assert_eq!(
            outcome.sum,
            round.plain(&outcome.survivors),
            "n = {n}: {plan:?}"
        );
    }
}

/// n times ±Qmax is as far as a sum can go, for every lane width and an odd number of ring bits.
#[test]
fn t45_extreme_updates_do_not_wrap() {
    for (n, v) in [
        (3, 4),
        (3, 32),
        (4, 12),
        (5, 8),
        (5, 13),
        (7, 16),
        (9, 12),
        (9, 28),
        (9, 32),
    ] {
        let world = World::with(
            n,
            RunConfig {
                v,
                m: v + ceil_log2(n),
                ..kit::config(n)
            },
            1,
        );
        for sign in [1, -1] {
            let mut round = world.open();
            let extreme = sign * kit::qmax(world.params());
            round
                .updates
                .iter_mut()
                .for_each(|update| update.fill(extreme));
            let outcome = kit::run(&mut round, &Plan::default()).unwrap();
            assert!(
                outcome
                    .sum
                    .0
                    .iter()
                    .all(|lane| *lane == i64::from(n) * extreme),
                "n = {n}, v = {v}"
            );
        }
    }
}

#[test]
fn t36_silent_holders_up_to_the_bound_do_not_stop_a_round() {
    let world = World::new(7);
    let silent = |mute: &[u32], vanished: &[u32]| {
        let plan = Plan {
            mute: members(mute),
            vanished: members(vanished),
            ..Plan::default()
        };
        kit::run(&mut world.open(), &plan).map(|outcome| outcome.sum)
    };
    let plain = world.open().plain(&Bitmap::full(7));
    assert_eq!(silent(&[], &[]), Ok(plain.clone()));
    assert_eq!(silent(&[0, 6], &[]), Ok(plain.clone()));
    assert_eq!(silent(&[], &[0, 6]), Ok(plain.clone()));
    assert_eq!(silent(&[3], &[4]), Ok(plain));
    let one_too_many = Err(Error::BelowThreshold { have: 4, need: 5 });
    assert_eq!(silent(&[0, 3, 6], &[]), one_too_many, "no certificate at D");
    assert_eq!(silent(&[], &[0, 3, 6]), one_too_many, "a lost release at E");
}

/// L − t + 1 silent holders: the lists that are there open nothing, of no member.
#[test]
fn t36_fewer_than_t_lists_reconstruct_nothing() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let items: Vec<_> = round
        .uploads(&cohort, 0..6)
        .into_values()
        .map(|upload| upload.item)
        .collect();
    let proposal = round.propose(&cohort, &items).unwrap();
    let attested: std::collections::BTreeMap<_, _> = (0..7)
        .map(|h| (h, round.attest(h, &cohort, &proposal, &items)))
        .collect();
    let certificate = kit::certify(&round, &cohort, &attested).unwrap();
    let list = |(h, attested)| {
        (
            h,
            round.list(h, &round.release(attested, &certificate).unwrap(), &cohort),
        )
    };
    let lists: std::collections::BTreeMap<_, _> = attested.into_iter().take(4).map(list).collect();
    for member in 0..7 {
        let shares: Vec<_> = lists
            .values()
            .map(|list| crate::shamir::SecretScalar::parse(list.scalar(member).unwrap()).unwrap())
            .collect();
        let guess = crate::shamir::Lagrange::new(&[1, 2, 3, 4], 4)
            .unwrap()
            .combine(&shares.iter().collect::<Vec<_>>());
        let dealing = round.dealing(member);
        assert!(
            guess != *dealing.f_b.secret() && guess != *dealing.f_k.secret(),
            "member {member}"
        );
    }
}

/// n = L = t = 3: every holder is needed, and each must come back with its own pair after its seed is gone.
#[test]
fn t59_three_sites_complete_although_one_restarts_after_commit() {
    let world = World::new(3);
    let mut round = world.open();
    assert_eq!(
        (round.attempt.holder_count(), round.attempt.threshold()),
        (3, 3)
    );
    let cohort = round.commit_all();
    let kept: Vec<_> = (0..3)
        .map(|h| {
            (
                round.committed(h).own_shares().unwrap().expose().to_vec(),
                round.keys(h).inbound.to_secret_bytes(),
            )
        })
        .collect();
    for h in 0..3 {
        let (own, inbound) = &kept[h as usize];
        let (own, inbound) = (
            OwnShares::restore(own).unwrap(),
            PairKeys::from_secret_bytes(inbound).unwrap(),
        );
        let items = coordinator::share_items(&round.attempt, &round.commits, h).unwrap();
        let opened =
            OpenedShares::open(&round.attempt, h, &inbound, Some(&own), &cohort, &items).unwrap();
        assert_eq!(opened.complaints().count(), 0, "holder {h}");
        let lost = OpenedShares::open(&round.attempt, h, &inbound, None, &cohort, &items).unwrap();
        assert_eq!(
            *lost.complaints(),
            Bitmap::of(3, [h]),
            "the control: without its own pair the round would be lost"
        );
    }
    let mut again = world.open();
    assert_eq!(
        kit::run(&mut again, &Plan::default()).unwrap().sum,
        again.plain(&Bitmap::full(3))
    );
}

#[test]
fn a_site_that_comes_back_sends_the_same_bytes() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    assert_eq!(round.commit_of(2), round.commits[&2], "the same Commit");
    let (before, after) = (round.upload(2, &cohort), round.upload(2, &cohort));
    assert_eq!(before.chunks, after.chunks, "the same masked bytes");
    assert_eq!((before.trailer, before.item), (after.trailer, after.item));
    let mut another = world.announcement();
    another.seq = 2;
    let another = world.open_with(another);
    let (old, new) = (&round.commits[&2], another.commit_of(2));
    assert!(
        old.nonce != new.nonce && old.e_pk != new.e_pk && old.com_b != new.com_b,
        "one seed never serves two announcements"
    );
}

#[test]
fn receipts_and_results_verify_under_the_run_key_only() {
    let world = World::new(3);
    let (key, stranger) = (kit::coordinator(), &world.site(0).identity);
    let receipt = Receipt {
        ctx: Digest([1; 32]),
        upload_hash: Digest([2; 32]),
        time_ms: 7,
    };
    let signature = receipt.sign(&key);
    let of_run = world.params().coordinator().unwrap();
    assert!(receipt.verifies(&of_run, &signature));
    assert!(
        !Receipt {
            time_ms: 8,
            ..receipt
        }
        .verifies(&of_run, &signature)
    );
    assert!(
        !receipt.verifies(&stranger.public(), &signature)
            && !receipt.verifies(&of_run, &receipt.sign(stranger))
    );
    let announcement = world.announcement();
    let attempt = world.open().attempt;
    assert!(
        attempt.announced(&announcement.sign(&key))
            && !attempt.announced(&announcement.sign(stranger))
    );
    assert!(
        world.params().verify(&world.params().sign(&key))
            && !world.params().verify(&world.params().sign(stranger))
    );
}
