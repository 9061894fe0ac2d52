//! Rosters, announcements and certificates of an epoch: what a site accepts before it commits to anything.

use std::sync::Arc;

use super::kit::{self, World};
use crate::context::{Attempt, Roster};
use crate::error::{Error, Fault};
use crate::keys::members_hash;
use crate::message::{Advertisement, Announcement};
use crate::{Bitmap, Certificate, Digest};

#[test]
fn a_roster_is_certified_by_more_than_two_thirds() {
    let world = World::new(7);
    let sign = |i: u32| world.roster.confirm(&world.site(i).identity).unwrap();
    let certificate = |signers: &[u32]| {
        let signatures = signers.iter().map(|i| (*i, sign(*i).signature)).collect();
        Certificate {
            digest: world.roster.ctx(),
            signatures,
        }
        .certify_roster(&world.roster)
        .map(|proof| proof.epoch_ctx())
    };
    assert_eq!(certificate(&[0, 2, 3, 5, 6]), Ok(world.roster.ctx()));
    assert_eq!(
        certificate(&[0, 2, 3, 5]),
        Err(Error::BelowThreshold { have: 4, need: 5 })
    );
    assert_eq!(
        certificate(&[0, 2, 3, 5, 5]),
        Err(Fault::Duplicate("certificate signer").by_coordinator())
    );
    let mut confirmation = sign(4);
    assert_eq!(world.roster.check_confirmation(&confirmation), Ok(()));
    confirmation.index = 3;
    assert_eq!(
        world.roster.check_confirmation(&confirmation),
        Err(Fault::Signature("roster").by(3))
    );
    confirmation.epoch_ctx = Digest::ZERO;
    assert_eq!(
        world.roster.check_confirmation(&confirmation),
        Err(Fault::Context("epoch").by(3))
    );
}

/// Two rosters under one number: a quorum for each would take more than a third of the sites to sign both.
#[test]
fn t10_two_rosters_under_one_number_are_not_both_certified() {
    let (world, fork) = (World::new(7), World::with(7, kit::config(7), 1));
    let mut advertised: Vec<Advertisement> = fork
        .sites
        .iter()
        .map(|site| site.advertisement.clone())
        .collect();
    advertised.remove(3);
    let other = Roster::new(Arc::clone(fork.roster.params()), 1, &advertised).unwrap();
    assert_ne!(other.ctx(), world.roster.ctx());
    for split in 0u32..1 << 7 {
        let sign = |roster: &Roster, side: u32| {
            let side = (0..7)
                .filter(|i| split >> i & 1 == side)
                .filter_map(|i| roster.confirm(&world.site(i).identity).ok());
            let signatures = side
                .map(|confirmation| (confirmation.index, confirmation.signature))
                .collect();
            Certificate {
                digest: roster.ctx(),
                signatures,
            }
            .certify_roster(roster)
            .is_ok()
        };
        assert!(!(sign(&world.roster, 0) && sign(&other, 1)), "{split:07b}");
    }
}

#[test]
fn a_roster_has_as_many_members_as_the_run_allows() {
    let world = World::with(
        5,
        crate::params::RunConfig {
            min_cohort: 4,
            n_max: 6,
            ..kit::config(6)
        },
        1,
    );
    let advertised: Vec<_> = world
        .sites
        .iter()
        .map(|site| site.advertisement.clone())
        .collect();
    let build = |all: &[_]| {
        Roster::new(Arc::clone(world.roster.params()), 1, all).map(|roster| roster.len())
    };
    assert_eq!(build(&advertised[..4]), Ok(4));
    let few = Fault::TooFew {
        what: "members of the roster",
        have: 3,
        need: 4,
    };
    assert_eq!(build(&advertised[..3]), Err(few.by_coordinator()));
    let mut elsewhere = advertised.clone();
    elsewhere[1].epoch = 2;
    assert_eq!(
        build(&elsewhere),
        Err(Fault::Context("epoch").by_coordinator())
    );
    elsewhere[1] = Advertisement {
        run_hash: Digest::ZERO,
        ..advertised[1].clone()
    };
    assert_eq!(
        build(&elsewhere),
        Err(Fault::Context("run").by_coordinator())
    );
}

#[test]
fn t71_an_announcement_that_breaks_a_rule_is_refused() {
    let world = World::new(7);
    let open = |change: fn(&mut Announcement)| {
        let mut announcement = world.announcement();
        change(&mut announcement);
        Attempt::new(Arc::clone(&world.roster), announcement).map(drop)
    };
    let refused = |fault: Fault| Err(fault.by_coordinator());
    assert_eq!(open(|_| ()), Ok(()));
    assert_eq!(
        open(|a| a.holders = Bitmap::of(7, 0..4)),
        refused(Fault::TooFew {
            what: "holders",
            have: 4,
            need: 5
        })
    );
    assert_eq!(
        open(|a| a.holders = Bitmap::full(8)),
        refused(Fault::Context("epoch"))
    );
    assert_eq!(
        open(|a| a.epoch_ctx = Digest::ZERO),
        refused(Fault::Context("epoch"))
    );
    assert_eq!(
        open(|a| a.threshold = 8),
        refused(Fault::Rule {
            what: "threshold",
            have: 8,
            need: 5
        })
    );
    let order = || refused(Fault::Order("round, attempt and deadlines"));
    assert_eq!(open(|a| a.round = 0), order());
    assert_eq!(open(|a| a.seq = 0), order());
    assert_eq!(open(|a| a.submit_by_ms = a.commit_by_ms - 1), order());
    assert_eq!(open(|a| a.expires_ms = a.submit_by_ms - 1), order());
}

/// Every admissible number of holders: t exists, corrupt holders stay below it, and 2t − L > n_C.
#[test]
fn the_floor_on_holders_keeps_the_corrupt_below_the_threshold() {
    let params = crate::params::Params::new(kit::config(128)).unwrap();
    for n in 3..=128 {
        let corrupt = params.corrupt_bound(n);
        for holders in params.holders_floor(n)..=n {
            let t = params.threshold(holders, n);
            assert!(
                t <= holders && corrupt < t && 2 * t - holders > corrupt,
                "n = {n}, L = {holders}"
            );
            assert!(t > 2 * holders / 3, "n = {n}, L = {holders}");
            let smaller = t - 1;
            let kept = smaller > 2 * holders / 3 && 2 * smaller > holders + corrupt;
            assert!(
                !kept,
                "n = {n}, L = {holders}: t is the smallest that keeps the rules"
            );
        }
    }
}

/// The table of section 16.1.
#[test]
fn thresholds_are_those_of_the_protocols_table() {
    let params = crate::params::Params::new(kit::config(128)).unwrap();
    for (n, t) in [
        (3, 3),
        (4, 3),
        (5, 4),
        (7, 5),
        (10, 7),
        (20, 14),
        (30, 21),
        (50, 34),
        (100, 67),
        (128, 86),
    ] {
        assert_eq!(params.threshold(n, n), t, "n = L = {n}");
    }
    assert_eq!(params.threshold(7, 10), 6, "three of ten absent");
    assert_eq!(params.threshold(8, 10), 6, "two of ten absent");
}

#[test]
fn the_members_hash_outlives_an_epoch_and_names_each_member() {
    let (world, next) = (World::new(5), World::with(5, kit::config(5), 2));
    let ids = |world: &World| {
        world
            .roster
            .members()
            .iter()
            .map(|member| member.id)
            .collect::<Vec<_>>()
    };
    let mut backwards = ids(&world);
    backwards.reverse();
    assert_eq!(members_hash(ids(&world)), members_hash(backwards.clone()));
    assert_eq!(members_hash(ids(&world)), members_hash(ids(&next)));
    backwards.pop();
    assert_ne!(members_hash(ids(&world)), members_hash(backwards));
}
