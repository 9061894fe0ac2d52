//! A coordinator that shows different sites different things: other keys, another model, another cohort.

use std::sync::Arc;

use super::kit::{self, Round, World};
use super::masks::{chi_square, correlation};
use crate::context::Roster;
use crate::coordinator;
use crate::error::{Error, Fault};
use crate::keys::{ExchangeSecret, Identity};
use crate::mask::{Masks, self_seed};
use crate::message::{Announcement, Cohort};
use crate::params::RunConfig;
use crate::participant::AwaitingRoster;
use crate::prg::{Prg, Sign};
use crate::{Bitmap, Digest};

#[test]
fn t12_a_channel_key_of_the_coordinator_under_a_sites_id_is_refused() {
    let world = World::new(5);
    let advertised: Vec<_> = world
        .sites
        .iter()
        .map(|site| site.advertisement.clone())
        .collect();
    let build = |all: &[_]| {
        Roster::new(Arc::clone(world.roster.params()), 1, all).map(|roster| roster.ctx())
    };
    assert_eq!(build(&advertised), Ok(world.roster.ctx()));
    let mut replaced = advertised.clone();
    replaced[2].x_pk = ExchangeSecret::new(&kit::seed("coordinator's channel key", 0)).public();
    assert_eq!(
        build(&replaced),
        Err(Fault::Signature("advertisement").by_coordinator())
    );
    let mut swapped = advertised.clone();
    swapped.swap(1, 2);
    assert_eq!(
        build(&swapped),
        Err(Fault::Order("members of the roster").by_coordinator())
    );
    let twice = [&advertised[..2], &advertised[1..]].concat();
    assert_eq!(
        build(&twice),
        Err(Fault::TooMany {
            what: "number of members",
            have: 6,
            limit: 5
        }
        .by_coordinator())
    );
    let twice_of_four = [&advertised[..2], &advertised[1..4]].concat();
    assert_eq!(
        build(&twice_of_four),
        Err(Fault::Order("members of the roster").by_coordinator())
    );
}

/// The whole identity replaced: the roster is consistent, but the site does not find itself, or not its own key, in it.
#[test]
fn t12_a_site_accepts_no_roster_with_another_key_of_its_own() {
    let world = World::new(5);
    let params = world.roster.params();
    let mine = &world.site(2).identity;
    let binding = crate::participant::Binding {
        claim: world.site(2).advertisement.binding.clone(),
        scheme: 0x0807,
        signature: Vec::new(),
        chain: Vec::new(),
    };
    let (waiting, _) =
        AwaitingRoster::new(params, 1, mine, &binding, &kit::seed("another start", 0));
    let refused = waiting.accept(&world.roster).map(drop);
    assert_eq!(
        refused,
        Err(Fault::Context("advertisement").by_coordinator())
    );
    let stranger = Identity::from_seed(&kit::seed("stranger", 0));
    let (waiting, _) =
        AwaitingRoster::new(params, 1, &stranger, &binding, &kit::seed("stranger", 1));
    assert_eq!(
        waiting.accept(&world.roster).map(drop),
        Err(Error::NotAMember("roster"))
    );
}

/// Two members with one channel key: one of them copied it, and nobody can tell which.
#[test]
fn t12_a_copied_channel_key_is_refused() {
    let world = World::new(5);
    let mut advertised: Vec<_> = world
        .sites
        .iter()
        .map(|site| site.advertisement.clone())
        .collect();
    let one_seed = kit::seed("shared", 0);
    for i in [1, 3] {
        let binding = crate::participant::Binding {
            claim: advertised[i].binding.clone(),
            scheme: 0x0807,
            signature: Vec::new(),
            chain: Vec::new(),
        };
        let identity = &world.sites[i].identity;
        let params = world.roster.params();
        advertised[i] = AwaitingRoster::new(params, 1, identity, &binding, &one_seed).1;
        let refused = Roster::new(Arc::clone(params), 1, &advertised).map(drop);
        let twice = Err(Fault::Duplicate("channel key").by_coordinator());
        assert_eq!(refused, if i == 1 { Ok(()) } else { twice });
    }
}

/// What the victim is shown, against what the others are: its Commit fits no other attempt, and their keys do not fit its own.
fn assert_views_do_not_mix(what: &str, honest: &Round<'_>, shown: &mut Round<'_>, victim: u32) {
    assert_ne!(
        honest.attempt.hash(),
        shown.attempt.hash(),
        "{what}: the announcement's hash must differ"
    );
    let commit = shown.commit_of(victim);
    let refused = coordinator::check_commit(&honest.attempt, victim, &commit);
    assert_eq!(
        refused,
        Err(Fault::Context("announcement").by(victim)),
        "{what}"
    );
    let mut relabelled = commit.clone();
    relabelled.ann_hash = honest.attempt.hash();
    let refused = coordinator::check_commit(&honest.attempt, victim, &relabelled);
    assert!(
        matches!(refused, Err(Error::PeerMisbehaved { .. })),
        "{what}: {refused:?}"
    );

    shown.commits = honest.commits.clone();
    shown.commits.insert(victim, commit);
    let cohort = shown.cohort(); // under the victim's announcement, its own place in it is right
    let masked = shown.masking(victim, &cohort).map(drop);
    assert_eq!(
        masked,
        Err(Fault::Signature("mask key").by_coordinator()),
        "{what}: the site notices before it masks"
    );
}

#[test]
fn t06_t07_a_site_that_is_told_something_else_masks_nothing() {
    let world = World::new(7);
    let mut honest = world.open();
    honest.commit_all();
    type Change = fn(&mut Announcement);
    let changes: [(&str, Change); 9] = [
        ("model", |a| {
            a.model_hash = Digest::of_bulk(b"another model")
        }),
        ("previous result", |a| a.prev_result_hash = Digest([1; 32])),
        ("round configuration", |a| a.roundcfg_hash = Digest([1; 32])),
        ("earlier attempt", |a| a.retry_of = Digest([1; 32])),
        ("round", |a| a.round = 2),
        ("attempt", |a| a.seq = 2),
        ("join deadline", |a| a.commit_by_ms += 1),
        ("report deadline", |a| a.submit_by_ms += 1),
        ("expiry", |a| a.expires_ms += 1),
    ];
    for (what, change) in changes {
        let mut announcement = world.announcement();
        change(&mut announcement);
        assert_views_do_not_mix(what, &honest, &mut world.open_with(announcement), 3);
    }
    let mut fewer = world.open_with(world.announcement_to(0..6));
    let commit = fewer.commit_of(3);
    let refused = coordinator::check_commit(&honest.attempt, 3, &commit);
    assert_eq!(
        refused,
        Err(Fault::Context("announcement").by(3)),
        "holders"
    );
    fewer.commits.insert(3, commit);
    assert!(coordinator::close_cohort(&fewer.attempt, &fewer.commits).is_err());
    let mut other_t = world.announcement();
    other_t.threshold -= 1;
    let refused = crate::context::Attempt::new(Arc::clone(&world.roster), other_t).map(drop);
    assert_eq!(
        refused,
        Err(Fault::Rule {
            what: "threshold",
            have: 4,
            need: 5
        }
        .by_coordinator())
    );
}

#[test]
fn t07_another_run_configuration_or_epoch_is_another_context() {
    let world = World::new(7);
    let mut honest = world.open();
    honest.commit_all();
    type Change = fn(&mut RunConfig);
    let changes: [(&str, Change); 6] = [
        ("clip", |c| c.l2_clip = 1.0),
        ("clamp", |c| c.clamp = 2.0),
        ("ring bits", |c| c.m += 1),
        ("weights", |c| c.weight_max = 2),
        ("code", |c| c.code_digest = [1; 32]),
        ("layout", |c| c.layout_digest = [1; 32]),
    ];
    for (what, change) in changes {
        let mut config = kit::config(7);
        change(&mut config);
        let other = World::with(7, config, 1);
        assert_views_do_not_mix(what, &honest, &mut other.open(), 3);
    }
    let next_epoch = World::with(7, kit::config(7), 2);
    assert_views_do_not_mix("epoch", &honest, &mut next_epoch.open(), 3);
}

/// Model inconsistency, were a site to check nothing: whatever is taken off, a million lanes of the sum look uniform.
#[test]
fn t06_a_victim_with_another_model_leaves_only_noise_in_the_sum() {
    let config = RunConfig {
        elements: 1 << 20,
        chunk_elems: 1 << 18,
        ..kit::config(4)
    };
    let world = World::with(4, config, 1);
    let mut round = world.open();
    let cohort = round.commit_all();
    let (victim, bits) = (2, world.params().config().m);
    let true_ctx = cohort.ctx();
    let shown_ctx = Cohort {
        ann_hash: Digest::of_bulk(b"another model's announcement"),
        ..cohort.clone()
    }
    .ctx();
    let add = |i: u32, ctx: &Digest, sums: &mut [Vec<u64>]| {
        let masks = round.unchecked_masks(ctx, i);
        // The coordinator knows every b and takes the self masks off; pair masks cancel where two contexts agree.
        let b = self_seed(&round.attempt, ctx, i, round.dealing(i).f_b.secret()).unwrap();
        let off = Masks::new(Prg::Aes256Ctr, vec![(Sign::Minus, b)]);
        for ((chunk, sum), lanes) in (0..)
            .zip(sums)
            .zip(round.updates[i as usize].chunks(1 << 18))
        {
            let packed = masks.mask_chunk(world.params().lane(), bits, chunk, lanes);
            crate::ring::unpack(&packed, bits, 1 << 18, |k, value| {
                sum[k] = sum[k].wrapping_add(value)
            })
            .unwrap();
            off.add_to_sum(world.params().lane(), chunk, sum);
        }
    };
    let sum_with = |ctx_of_victim: &Digest| {
        let mut sums = vec![vec![0u64; 1 << 18]; 4];
        (0..4).for_each(|i| {
            add(
                i,
                if i == victim {
                    ctx_of_victim
                } else {
                    &true_ctx
                },
                &mut sums,
            )
        });
        sums.concat()
            .into_iter()
            .map(|lane| crate::ring::centred(lane, bits))
            .collect::<Vec<_>>()
    };
    let plain = round.plain(&Bitmap::full(4)).0;
    assert_eq!(
        sum_with(&true_ctx),
        plain,
        "the control: with one context the sum is exact"
    );
    let noise = sum_with(&shown_ctx);
    assert!(
        chi_square(&noise, bits) < 400.0,
        "255 degrees of freedom: 400 is beyond six standard deviations"
    );
    assert!(
        chi_square(&plain, bits) > 10_000.0,
        "the control: sums are not uniform"
    );
    let bound = 5.0 / f64::from(1 << 20).sqrt();
    assert!(
        correlation(&noise, &round.updates[victim as usize]).abs() < bound,
        "the victim's update is not in it"
    );
    assert!(
        correlation(&plain, &round.updates[victim as usize]) > 0.4,
        "the control"
    );
}
