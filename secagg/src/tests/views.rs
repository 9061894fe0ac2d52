//! A coordinator that shows different sites different things: other keys, another model, another cohort.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kit::{self, Round, World, certificate_of};
use super::masks::{chi_square, correlation};
use crate::context::Roster;
use crate::coordinator;
use crate::error::{Error, Fault};
use crate::holder::Verdict;
use crate::keys::{ExchangeSecret, Identity, Seed};
use crate::mask::{End, Masks, pair_seed, pair_sign, self_seed};
use crate::message::{Announcement, Cohort, SurvivorItem, SurvivorProposal};
use crate::params::RunConfig;
use crate::participant::AwaitingRoster;
use crate::prg::Sign;
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
    let changes: [(&str, fn(&mut Announcement)); 9] = [
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
    let changes: [(&str, fn(&mut RunConfig)); 6] = [
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

/// Masks of a site that was shown `attempt` and `ctx`, without any of its checks.
fn unchecked_masks(round: &Round<'_>, ctx: &Digest, me: u32) -> Masks {
    let (attempt, dealing) = (&round.attempt, round.dealing(me));
    let mut masks = vec![(
        Sign::Plus,
        self_seed(attempt, ctx, me, dealing.f_b.secret()).unwrap(),
    )];
    let own = End {
        index: me,
        key: &dealing.mask_key.public(),
    };
    for (&other, commit) in round.commits.iter().filter(|(other, _)| **other != me) {
        let end = End {
            index: other,
            key: &commit.e_pk,
        };
        masks.push((
            pair_sign(me, other),
            pair_seed(attempt, ctx, &dealing.mask_key, own, end).unwrap(),
        ));
    }
    Masks::new(masks)
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
        let masks = unchecked_masks(&round, ctx, i);
        // The coordinator knows every b and takes the self masks off; pair masks cancel where two contexts agree.
        let b = self_seed(&round.attempt, ctx, i, round.dealing(i).f_b.secret()).unwrap();
        let off = Masks::new(vec![(Sign::Minus, b)]);
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
    let blind = |h: u32| {
        let complaints = ten.a.opened(h, &ten.cohort_a).unwrap().complaints().clone();
        let verdict = Verdict {
            proposal: proposal.clone(),
            cohort: ten.cohort_a.members.clone(),
            complaints,
        };
        (h, ten.a.idle(h).attest(verdict))
    };
    let attested: BTreeMap<_, _> = signers.map(blind).collect();
    let certificate = certificate_of(&ten.a.attestations(&attested));
    let released = |(h, attested)| {
        (
            h,
            ten.a.list(
                h,
                &ten.a.release(attested, &certificate).unwrap(),
                &ten.cohort_a,
            ),
        )
    };
    let lists: BTreeMap<_, _> = attested.into_iter().map(released).collect();

    // b of the victim and K of the sites that are dropped under A, joined from six shares each as the coordinator would.
    let join = |member: u32| {
        let (xs, shares): (Vec<u32>, Vec<_>) = lists
            .values()
            .map(|list| {
                (
                    list.position,
                    crate::shamir::SecretScalar::parse(list.scalar(member).unwrap()).unwrap(),
                )
            })
            .unzip();
        crate::shamir::Lagrange::new(&xs, 6)
            .unwrap()
            .combine(&shares.iter().collect::<Vec<_>>())
    };
    let attempt = &ten.b.attempt;
    let ctx = ten.cohort_b.ctx();
    let mut masks = vec![(
        Sign::Minus,
        self_seed(attempt, &ctx, VICTIM, &join(VICTIM)).unwrap(),
    )];
    let e_of_victim = ten.b.commits[&VICTIM].e_pk;
    let rescued = |member: u32| {
        let commit = &ten.a.commits[&member];
        let core = crate::commitment::core_of_commit(attempt, member, commit).unwrap();
        let id = attempt.member(member).unwrap().id;
        let key = crate::commitment::rescue_key(&attempt.hash(), &id, &join(member));
        ExchangeSecret::new(
            &Seed::restore(&crate::channel::open(&key, &core.0, &commit.blob).unwrap()).unwrap(),
        )
    };
    let known = HONEST_B
        .map(|i| (i, rescued(i)))
        .into_iter()
        .chain(CORRUPT.map(|i| (i, ten.b.dealing(i).mask_key)));
    for (i, secret) in known {
        let (own, victim) = (
            End {
                index: i,
                key: &secret.public(),
            },
            End {
                index: VICTIM,
                key: &e_of_victim,
            },
        );
        masks.push((
            pair_sign(VICTIM, i).flipped(),
            pair_seed(attempt, &ctx, &secret, own, victim).unwrap(),
        ));
    }
    let uploads = BTreeMap::from([(VICTIM, ten.b.upload(VICTIM, &ten.cohort_b))]);
    let (exposed, metadata) = ten
        .b
        .sum(&uploads, &Bitmap::of(10, [VICTIM]), &Masks::new(masks));
    assert_eq!(
        exposed, ten.b.updates[VICTIM as usize],
        "this is what rule 4 is for"
    );
    assert_eq!(metadata, ten.b.metadata[VICTIM as usize]);
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
