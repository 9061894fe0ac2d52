//! Masks: uniform on the whole ring, other ones in every other context, gone in the sum.

use std::collections::BTreeMap;

use super::kit::{self, World};
use crate::coordinator;
use crate::error::Fault;
use crate::keys::Seed;
use crate::mask::{End, Masks, pair_seed, pair_sign, self_seed};
use crate::message::{Announcement, Cohort, SurvivorProposal};
use crate::params::{RunConfig, ceil_log2};
use crate::prg::{Keystream, Prg, Sign};
use crate::ring::{self, Lane, LaneWidth};
use crate::{Bitmap, Digest};

/// χ² of the highest eight bits of each lane against uniform: 255 degrees of freedom, standard deviation 22.6.
pub fn chi_square(lanes: &[i64], bits: u8) -> f64 {
    let mut counts = [0u32; 256];
    lanes
        .iter()
        .for_each(|lane| counts[((lane.cast_unsigned() << (64 - bits)) >> 56) as usize] += 1);
    let expected = lanes.len() as f64 / 256.0;
    counts
        .iter()
        .map(|count| (f64::from(*count) - expected).powi(2) / expected)
        .sum()
}

/// Pearson's correlation.
pub fn correlation(xs: &[i64], ys: &[i64]) -> f64 {
    let mean = |values: &[i64]| {
        values.iter().map(|value| *value as f64).sum::<f64>() / values.len() as f64
    };
    let (x0, y0) = (mean(xs), mean(ys));
    let product = |(x, y): (&i64, &i64)| (*x as f64 - x0) * (*y as f64 - y0);
    let covariance: f64 = xs.iter().zip(ys).map(product).sum();
    let variance = |values: &[i64], centre: f64| {
        values
            .iter()
            .map(|value| (*value as f64 - centre).powi(2))
            .sum::<f64>()
    };
    covariance / (variance(xs, x0) * variance(ys, y0)).sqrt()
}

/// Lanes of an upload of zeros: the mask itself.
fn mask_alone(bits: u8, lanes: usize) -> Vec<u64> {
    let masks = Masks::new(
        Prg::Aes256Ctr,
        vec![
            (Sign::Plus, kit::seed("own", 0)),
            (Sign::Minus, kit::seed("pair", 0)),
        ],
    );
    let packed = masks.mask_chunk(LaneWidth::for_ring(bits), bits, 0, &vec![0; lanes]);
    let mut out = vec![0; lanes];
    ring::unpack(&packed, bits, u32::try_from(lanes).unwrap(), |k, value| {
        out[k] = value
    })
    .unwrap();
    out
}

/// Whether each of the 64 values of a ring of six bits comes about as often as every other.
pub fn whole_ring(lanes: &[u64]) -> bool {
    let mut counts = [0u32; 64];
    for value in lanes {
        counts[usize::try_from(*value).unwrap()] += 1;
    }
    let expected = lanes.len() as f64 / 64.0;
    let within = |count: &u32| (f64::from(*count) - expected).abs() < 5.0 * expected.sqrt();
    counts.iter().all(within)
}

#[test]
fn t44_masks_are_uniform_on_the_whole_ring_including_its_top_value() {
    assert!(whole_ring(&mask_alone(6, 1 << 20)));
    for bits in [10, 16, 17, 19, 32, 33, 40, 63, 64] {
        let lanes: Vec<i64> = mask_alone(bits, 1 << 16)
            .into_iter()
            .map(|value| ring::centred(value, bits))
            .collect();
        assert!(
            chi_square(&lanes, bits) < 400.0,
            "{bits} bits, the highest eight"
        );
        assert!(
            chi_square(&lanes, 8) < 400.0,
            "{bits} bits, the lowest eight"
        );
    }
}

#[test]
fn t44_one_bit_of_a_seed_changes_half_the_stream() {
    let stream = |seed: [u8; 32]| {
        let mut bytes = vec![0; 1 << 16];
        Keystream::new(&Seed::new(seed), 0, 0).fill(&mut bytes);
        bytes
    };
    let base = stream([7; 32]);
    for bit in 0..256 {
        let mut seed = [7; 32];
        seed[bit / 8] ^= 1 << (bit % 8);
        let changed: u32 = base
            .iter()
            .zip(stream(seed))
            .map(|(a, b)| (a ^ b).count_ones())
            .sum();
        let expected = 1 << 18;
        assert!(
            changed.abs_diff(expected) < 2048,
            "bit {bit} changed {changed} of {} bits",
            2 * expected
        );
    }
}

#[test]
fn a_stream_is_read_by_part_and_chunk_and_seeking_agrees_with_reading() {
    let seed = kit::seed("stream", 0);
    let read = |part, chunk, len: usize| {
        let mut bytes = vec![0; len];
        Keystream::new(&seed, part, chunk).fill(&mut bytes);
        bytes
    };
    let whole = read(0, 3, 100_000);
    let mut stream = Keystream::new(&seed, 0, 3);
    let mut pieces = vec![0; 100_000];
    pieces.chunks_mut(777).for_each(|piece| stream.fill(piece));
    assert_eq!(whole, pieces);
    let starts = [
        read(0, 3, 32),
        read(0, 4, 32),
        read(1, 3, 32),
        read(3, 0, 32),
    ];
    assert!((0..4).all(|i| (0..i).all(|j| starts[i] != starts[j])));
}

/// Self and pair seed of site 0 with site 1, in one context.
fn seeds(world: &World, announcement: Announcement, left_out: Option<u32>) -> [[u8; 32]; 2] {
    let mut round = world.open_with(announcement);
    round.commit((0..world.roster.len()).filter(|i| Some(*i) != left_out));
    let ctx = round.cohort().ctx();
    // The same secrets in every context, so that only the context can make a difference.
    let fixed = World::new(world.roster.len());
    let (fixed, attempt) = (fixed.open().dealing(0), &round.attempt);
    let other = kit::seed("another mask key", 1);
    let other = crate::keys::ExchangeSecret::new(&other).public();
    let own = End {
        index: 0,
        key: &fixed.mask_key.public(),
    };
    let pair = pair_seed(
        attempt,
        &ctx,
        &fixed.mask_key,
        own,
        End {
            index: 1,
            key: &other,
        },
    )
    .unwrap();
    [
        *self_seed(attempt, &ctx, 0, fixed.f_b.secret())
            .unwrap()
            .expose(),
        *pair.expose(),
    ]
}

#[test]
fn t44_any_input_of_the_context_changes_every_mask() {
    let world = World::new(7);
    let changes: [fn(&mut Announcement); 10] = [
        |_| (),
        |a| a.round = 2,
        |a| a.seq = 2,
        |a| a.retry_of = Digest([1; 32]),
        |a| a.model_hash = Digest([1; 32]),
        |a| a.prev_result_hash = Digest([1; 32]),
        |a| a.roundcfg_hash = Digest([1; 32]),
        |a| a.commit_by_ms -= 1,
        |a| a.submit_by_ms -= 1,
        |a| a.expires_ms -= 1,
    ];
    let mut all = Vec::new();
    for change in changes {
        let mut announcement = world.announcement();
        change(&mut announcement);
        all.push(seeds(&world, announcement.clone(), None));
        all.push(seeds(&world, announcement, Some(6)));
    }
    all.push(seeds(&world, world.announcement_to(0..6), None));
    let configs: [fn(&mut RunConfig); 3] =
        [|c| c.m += 1, |c| c.l2_clip = 1.0, |c| c.run_id = [1; 16]];
    for change in configs {
        let mut config = kit::config(7);
        change(&mut config);
        let other = World::with(7, config, 1);
        all.push(seeds(&other, other.announcement(), None));
    }
    let next = World::with(7, kit::config(7), 2);
    all.push(seeds(&next, next.announcement(), None));
    let distinct: std::collections::BTreeSet<_> = all.iter().flatten().collect();
    assert_eq!(distinct.len(), 2 * all.len());
    assert_eq!(
        all[0],
        seeds(&world, world.announcement(), None),
        "the control: the same inputs give the same masks"
    );
}

/// Every lane of every other chunk and site differs: a packed chunk of zeros shows the masks.
#[test]
fn no_two_chunks_or_sites_are_masked_alike() {
    let world = World::new(3);
    let mut round = world.open();
    let cohort = round.commit_all();
    let masked: Vec<_> = (0..3)
        .flat_map(|i| {
            let masking = round.masking(i, &cohort).unwrap();
            (0..3).map(move |chunk| masking.chunk(chunk, &[0; 32]))
        })
        .collect();
    assert!((0..9).all(|i| (0..i).all(|j| masked[i] != masked[j])));
}

/// Everything the coordinator and the colluding neighbours know is taken off; one honest neighbour's mask remains.
#[test]
fn t38_one_honest_neighbour_is_enough_to_hide_a_site() {
    let world = World::with(
        7,
        RunConfig {
            elements: 1 << 16,
            chunk_elems: 1 << 16,
            ..kit::config(7)
        },
        1,
    );
    let mut round = world.open();
    let cohort = round.commit_all();
    let (victim, honest) = (0, 5);
    let (ctx, bits) = (cohort.ctx(), world.params().config().m);
    let known_of = |site: u32, partner: u32| {
        let dealing = round.dealing(site);
        let own = End {
            index: site,
            key: &dealing.mask_key.public(),
        };
        let mut known = vec![(
            Sign::Minus,
            self_seed(&round.attempt, &ctx, site, dealing.f_b.secret()).unwrap(),
        )];
        for other in (0..7).filter(|other| *other != site && *other != partner) {
            let end = End {
                index: other,
                key: &round.commits[&other].e_pk,
            };
            let seed = pair_seed(&round.attempt, &ctx, &dealing.mask_key, own, end).unwrap();
            known.push((pair_sign(site, other).flipped(), seed));
        }
        Masks::new(Prg::Aes256Ctr, known)
    };
    let strip = |site: u32, masks: &Masks| {
        let uploads = BTreeMap::from([(site, round.upload(site, &cohort))]);
        round.sum(&uploads, &Bitmap::of(7, [site]), masks).0
    };
    let (of_victim, of_honest) = (
        strip(victim, &known_of(victim, honest)),
        strip(honest, &known_of(honest, victim)),
    );
    assert!(
        chi_square(&of_victim, bits) < 400.0,
        "the lanes are uniform"
    );
    assert!(correlation(&of_victim, &round.updates[victim as usize]).abs() < 5.0 / 256.0);
    let both = of_victim
        .iter()
        .zip(&of_honest)
        .map(|(a, b)| ring::centred((a + b).cast_unsigned(), bits));
    let plain = round.plain(&Bitmap::of(7, [victim, honest])).0;
    assert!(
        both.eq(plain),
        "the control: together they are the sum of two"
    );
    let exposed = strip(victim, &known_of(victim, 7));
    assert_eq!(
        exposed, round.updates[victim as usize],
        "the control: with no honest neighbour nothing is hidden"
    );
}

#[test]
fn t38_holders_refuse_a_set_without_the_victims_honest_neighbours() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let items: Vec<_> = round
        .uploads(&cohort, [0, 5, 6])
        .into_values()
        .map(|upload| upload.item)
        .collect();
    assert!(
        round.propose(&cohort, &items).is_err(),
        "an honest coordinator proposes no such set"
    );
    let leaves: Vec<_> = items
        .iter()
        .map(|item| crate::holder::upload_leaf(item.index, &item.upload_hash))
        .collect();
    let upload_root = crate::merkle::Tree::Uploads.root(&leaves).unwrap();
    let proposal = SurvivorProposal {
        ctx: cohort.ctx(),
        survivors: Bitmap::of(7, [0, 5, 6]),
        upload_root,
    };
    let judged = round.judge(1, &cohort, &proposal, &items).map(drop);
    assert_eq!(
        judged,
        Err(Fault::TooFew {
            what: "survivors",
            have: 3,
            need: 5
        }
        .by_coordinator())
    );
}

/// With ρ = 1/7 each site must keep all but a seventh of its neighbours: the degree rule bites before the size rule.
#[test]
fn t38_the_degree_rule_is_kept_by_site_holder_and_coordinator() {
    let world = World::with(
        7,
        RunConfig {
            rho_num: 1,
            rho_den: 7,
            ..kit::config(7)
        },
        1,
    );
    let mut round = world.open();
    let cohort = round.commit_all();
    let items: Vec<_> = round
        .uploads(&cohort, 0..7)
        .into_values()
        .map(|upload| upload.item)
        .collect();
    assert_eq!(
        round.propose(&cohort, &items[..6]),
        Err(crate::Error::BelowThreshold { have: 0, need: 5 })
    );
    let mut proposal = round.propose(&cohort, &items).unwrap();
    assert!(
        round.judge(1, &cohort, &proposal, &items).is_ok(),
        "the control"
    );
    proposal.survivors.remove(6);
    let judged = round.judge(1, &cohort, &proposal, &items[..6]).map(drop);
    assert_eq!(judged, Err(Fault::Degree { member: 0 }.by_coordinator()));

    let mut small = world.open();
    small.commit(0..6);
    let masked = small.masking(2, &small.cohort()).map(drop);
    assert_eq!(masked, Err(Fault::Degree { member: 2 }.by_coordinator()));
}

#[test]
fn a_site_refuses_a_cohort_that_leaves_it_or_too_many_out() {
    let world = World::new(7);
    let mut round = world.open();
    round.commit(0..5);
    let small = round.cohort();
    assert_eq!(small.members.count(), 5, "70 % of seven");
    assert!(round.masking(4, &small).is_ok());
    assert_eq!(
        round.masking(6, &small).map(drop),
        Err(crate::Error::NotAMember("cohort"))
    );
    round.commits.remove(&4);
    assert!(coordinator::close_cohort(&round.attempt, &round.commits).is_err());
    let elsewhere = Cohort {
        ann_hash: Digest::ZERO,
        ..small.clone()
    };
    let near = coordinator::neighbourhood(&round.attempt, &round.commits, 1).unwrap();
    let refused = round.committed(1).accept(&elsewhere, &near).map(drop);
    assert_eq!(
        refused,
        Err(Fault::Context("announcement").by_coordinator())
    );
    let forged = Cohort {
        members: Bitmap::of(7, 0..4),
        ..small
    };
    let near = coordinator::neighbourhood(&round.attempt, &round.commits, 1).unwrap();
    let refused = round.committed(1).accept(&forged, &near).map(drop);
    assert_eq!(
        refused,
        Err(Fault::TooFew {
            what: "members of the cohort",
            have: 4,
            need: 5
        }
        .by_coordinator())
    );
}

#[test]
fn the_head_room_of_a_ring_is_the_ceiling_of_the_binary_logarithm() {
    for (n, bits) in [
        (1, 0),
        (2, 1),
        (3, 2),
        (4, 2),
        (5, 3),
        (8, 3),
        (9, 4),
        (128, 7),
        (129, 8),
    ] {
        assert_eq!(ceil_log2(n), bits, "n = {n}");
    }
}

/// Longer than many blocks, so that it counts where in the stream each of them begins.
#[test]
fn a_long_chunk_is_masked_by_one_stream_without_a_gap() {
    fn check<L: Lane>() {
        let lanes = 140_000;
        let masks = Masks::new(Prg::Aes256Ctr, vec![(Sign::Plus, Seed::new([7; 32]))]);
        let mut masked = vec![L::default(); lanes];
        masks.add(5, &mut masked);
        let mut stream = vec![0; lanes * L::BYTES];
        Keystream::new(&Seed::new([7; 32]), 0, 5).fill(&mut stream);
        for (lane, bytes) in masked.iter().zip(stream.chunks_exact(L::BYTES)) {
            let mut word = [0; 8];
            word[..L::BYTES].copy_from_slice(bytes);
            assert_eq!(lane.widen(), u64::from_le_bytes(word));
        }
    }
    check::<u16>();
    check::<u32>();
    check::<u64>();
}
