//! Properties that hold for all inputs: encodings, sharing, masks, and whole rounds with whatever goes wrong.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::kit::{self, Plan, World};
use crate::channel::PairKeys;
use crate::error::{Error, Fault};
use crate::mask::{Masks, pair_sign};
use crate::merkle::Tree;
use crate::params::{RunConfig, ceil_log2};
use crate::participant::Dealing;
use crate::prg::Prg;
use crate::ring::{self, Lane, LaneWidth};
use crate::shamir::{Lagrange, SecretScalar};
use crate::{Bitmap, BitmapError, Digest};

proptest! {
    #[test]
    fn unpacking_undoes_packing(bits in 1u8..=64, values in vec(any::<u64>(), 0..70)) {
        let values: Vec<u64> = values.iter().map(|value| value & u64::MAX >> (64 - u32::from(bits))).collect();
        let count = u32::try_from(values.len()).unwrap();
        let mut packed = Vec::new();
        ring::pack(&values, bits, &mut packed);
        prop_assert_eq!(packed.len(), ring::packed_len(count, bits));
        let mut out = vec![0; values.len()];
        ring::unpack(&packed, bits, count, |k, value| out[k] = value).unwrap();
        prop_assert_eq!(&out, &values);
        // Element k stands at bits k·m … k·m+m−1 of the string, least significant first.
        let bit = |j: usize| packed[j / 8] >> (j % 8) & 1;
        for (k, value) in values.iter().enumerate() {
            let m = usize::from(bits);
            let read = (0..m).fold(0u64, |read, j| read | u64::from(bit(k * m + j)) << j);
            prop_assert_eq!(read, *value);
        }
    }

    #[test]
    fn lanes_are_packed_and_added_as_numbers_are(bits in 4u8..=64, values in vec(any::<u64>(), 0..150), sum in any::<u64>()) {
        match LaneWidth::for_ring(bits) {
            LaneWidth::U16 => packed_like_numbers::<u16>(bits, &values, sum),
            LaneWidth::U32 => packed_like_numbers::<u32>(bits, &values, sum),
            LaneWidth::U64 => packed_like_numbers::<u64>(bits, &values, sum),
        }
    }

    #[test]
    fn a_padding_bit_or_another_length_is_refused(bits in 1u8..=64, count in 1u32..70, spare in 0u32..7) {
        let mut packed = vec![0; ring::packed_len(count, bits)];
        prop_assert_eq!(ring::check_packed(&packed, bits, count), Ok(()));
        let used = count * u32::from(bits) % 8;
        if used > 0 && used + spare < 8 {
            *packed.last_mut().unwrap() |= 1 << (used + spare);
            prop_assert_eq!(ring::check_packed(&packed, bits, count), Err(Fault::Padding));
        }
        packed.push(0);
        let refused = matches!(ring::check_packed(&packed, bits, count), Err(Fault::Length { .. }));
        prop_assert!(refused);
    }

    #[test]
    fn decoding_as_signed_undoes_reduction(bits in 2u8..=64, value in any::<i64>()) {
        let small = value >> (64 - u32::from(bits));
        let reduced = small.cast_unsigned() & u64::MAX >> (64 - u32::from(bits));
        prop_assert_eq!(ring::centred(reduced, bits), small);
    }

    #[test]
    fn a_set_has_one_form(size in 1u32..200, members in vec(any::<u32>(), 0..50)) {
        let members: BTreeSet<u32> = members.into_iter().map(|member| member % size).collect();
        let set = Bitmap::of(size, members.iter().copied());
        let parsed = Bitmap::parse(size, set.as_bytes());
        prop_assert_eq!(parsed.as_ref(), Ok(&set));
        prop_assert!(set.iter().eq(members.iter().copied()));
        prop_assert_eq!(set.count() as usize, members.len());
        for member in 0..size {
            let place = members.iter().position(|other| *other == member).map(|place| u32::try_from(place).unwrap());
            prop_assert_eq!(set.rank(member), place);
        }
        let mut bytes = set.as_bytes().to_vec();
        if size % 8 != 0 {
            *bytes.last_mut().unwrap() |= 0x80;
            prop_assert_eq!(Bitmap::parse(size, &bytes), Err(BitmapError::UnusedBits { size }));
        }
        bytes.push(0);
        let refused = matches!(Bitmap::parse(size, &bytes), Err(BitmapError::Length { .. }));
        prop_assert!(refused);
        prop_assert!(set.is_subset(&Bitmap::full(size)) && !set.is_subset(&Bitmap::full(size + 8)));
    }

    #[test]
    fn a_path_leads_from_its_own_leaf_and_place_to_the_root(size in 1usize..70, at in any::<prop::sample::Index>()) {
        let leaves: Vec<[u8; 8]> = (0..size as u64).map(u64::to_le_bytes).collect();
        let (index, root) = (at.index(size), Tree::Chunks.root(&leaves).unwrap());
        let path = Tree::Chunks.path(&leaves, index).unwrap();
        prop_assert!(path.len() <= size.next_power_of_two().ilog2() as usize);
        let lead = |leaf: &[u8], index, size, path: &[Digest]| Tree::Chunks.root_from_path(leaf, index, size, path);
        prop_assert_eq!(lead(&leaves[index], index, size, &path), Some(root));
        prop_assert_ne!(lead(&[0xff; 8], index, size, &path), Some(root));
        prop_assert_eq!(lead(&leaves[index], size, size, &path), None);
        prop_assert_eq!(lead(&leaves[index], index, size, &[&path[..], &[Digest::ZERO]].concat()), None);
        prop_assert_ne!(Tree::Shares.root(&leaves), Some(root), "the kind of tree is in every hash");
        for other in (0..size).filter(|other| *other != index) {
            prop_assert_ne!(lead(&leaves[index], other, size, &path), Some(root));
        }
        if let Some((_, shorter)) = path.split_last() {
            prop_assert_eq!(lead(&leaves[index], index, size, shorter), None);
        }
    }

    #[test]
    fn a_digest_is_read_back_from_its_text(bytes in any::<[u8; 32]>(), cut in 0usize..64) {
        let text = Digest(bytes).to_string();
        prop_assert_eq!(text.parse(), Ok(Digest(bytes)));
        prop_assert!(text[..cut].parse::<Digest>().is_err());
        let other = [&text[1..], "g"].concat();
        prop_assert!(other.parse::<Digest>().is_err());
    }

    #[test]
    fn stored_pair_keys_of_any_other_length_are_refused(len in 0usize..200) {
        prop_assert_eq!(PairKeys::from_secret_bytes(&vec![7; len]).is_ok(), len % 36 == 0);
    }

    /// In the sum over a cohort each pair mask meets its opposite, for every width of a lane, in the model and in the metadata.
    #[test]
    fn pair_masks_sum_to_zero(n in 2u32..8, bits in 1u8..=64, len in 1usize..50) {
        let number = |i: u32, j: u32| u64::from(i.min(j)) << 32 | u64::from(i.max(j));
        let pairs = |i| (0..n).filter(move |j| *j != i);
        let masks = |i| Masks::new(Prg::Aes256Ctr, pairs(i).map(|j| (pair_sign(i, j), kit::seed("pair", number(i, j)))).collect());
        let (mut model, mut metadata) = (vec![0u64; len], vec![0u64; 5]);
        for masks in (0..n).map(masks) {
            let packed = masks.mask_chunk(LaneWidth::for_ring(bits), bits, 3, &vec![0; len]);
            ring::unpack(&packed, bits, u32::try_from(len).unwrap(), |k, value| model[k] = model[k].wrapping_add(value)).unwrap();
            masks.add_to_metadata(&mut metadata);
        }
        prop_assert!(model.iter().all(|lane| ring::centred(*lane, bits) == 0));
        prop_assert_eq!(metadata, vec![0; 5]);
    }
}

fn dealing(seed: u64) -> (Dealing, u32, u32) {
    let world = World::new(7);
    let round = world.open();
    let dealing = Dealing::derive(&round.attempt, &kit::seed("property", seed));
    (
        dealing,
        round.attempt.threshold(),
        round.attempt.holder_count(),
    )
}

fn combine(shares: &[(u32, SecretScalar)], threshold: u32) -> Result<SecretScalar, Error> {
    let positions: Vec<_> = shares.iter().map(|(x, _)| *x).collect();
    let lagrange = Lagrange::new(&positions, threshold)?;
    Ok(lagrange.combine(&shares.iter().map(|(_, share)| share).collect::<Vec<_>>()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// combine ∘ split = id for any t shares in any order, and for no t − 1.
    #[test]
    fn any_t_shares_give_the_secret_and_fewer_do_not(seed in any::<u64>(), order in Just((1u32..=7).collect::<Vec<_>>()).prop_shuffle()) {
        let (dealing, t, _) = dealing(seed);
        let shares: Vec<_> = order.iter().map(|x| (*x, dealing.f_b.share(*x))).collect();
        for count in t..=7 {
            prop_assert!(combine(&shares[..count as usize], t).unwrap() == *dealing.f_b.secret());
        }
        let few = &shares[..t as usize - 1];
        prop_assert_eq!(combine(few, t).err(), Some(Error::BelowThreshold { have: t - 1, need: t }));
        prop_assert!(combine(few, t - 1).unwrap() != *dealing.f_b.secret());
    }

    /// Any number of liars: filtered and named while t honest lists remain, else nothing is opened and no dealer is blamed.
    #[test]
    fn lying_holders_are_named_up_to_answers_minus_t(lying in prop::collection::btree_set(0u32..7, 0..=7), silent in 0u32..7) {
        let world = World::new(7);
        let mut round = world.open();
        let vanished = BTreeSet::from([silent]);
        let answers = 6u32;
        let liars: BTreeSet<u32> = lying.difference(&vanished).copied().collect();
        let good = answers - u32::try_from(liars.len()).unwrap();
        let plan = Plan { dropped: [2].into(), vanished, lying, ..Plan::default() };
        match kit::run(&mut round, &plan) {
            Ok(outcome) => {
                prop_assert!(good >= 5);
                prop_assert_eq!(outcome.liars, liars);
                prop_assert_eq!(outcome.sum, round.plain(&outcome.survivors));
            }
            Err(error) => prop_assert_eq!(error, Error::BelowThreshold { have: good, need: 5 }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    There,
    Absent,
    Dropped,
    Late,
    Mute,
    Vanished,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        20 => Just(Fate::There),
        1 => Just(Fate::Absent),
        2 => Just(Fate::Dropped),
        2 => Just(Fate::Late),
        1 => Just(Fate::Mute),
        1 => Just(Fate::Vanished),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Input {
    Random,
    Highest,
    Lowest,
}

fn plan(fates: &[Fate]) -> Plan {
    let with = |fate| {
        (0u32..)
            .zip(fates)
            .filter(|(_, f)| **f == fate)
            .map(|(i, _)| i)
            .collect()
    };
    Plan {
        absent: with(Fate::Absent),
        dropped: with(Fate::Dropped),
        late: with(Fate::Late),
        mute: with(Fate::Mute),
        vanished: with(Fate::Vanished),
        lying: BTreeSet::new(),
    }
}

/// What must come of it: the first rule that is not met, or a sum.
fn expected(world: &World, fates: &[Fate]) -> Result<(), u32> {
    let n = world.roster.len();
    let count = |gone: &[Fate]| {
        n - u32::try_from(fates.iter().filter(|fate| gone.contains(fate)).count()).unwrap()
    };
    let params = world.params();
    let t = params.threshold(n, n);
    let enough = |have: u32, need: u32| if have < need { Err(need) } else { Ok(()) };
    enough(count(&[Fate::Absent]), params.cohort_floor(n))?;
    enough(
        count(&[Fate::Absent, Fate::Dropped, Fate::Late]),
        params.min_survivors(n),
    )?;
    enough(count(&[Fate::Absent, Fate::Mute]), t)?;
    enough(count(&[Fate::Absent, Fate::Mute, Fate::Vanished]), t)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A whole round, whoever fails and whenever: the sum of the survivors bit for bit, or a refusal that names the number needed.
    #[test]
    fn t45_a_round_gives_the_exact_sum_or_says_how_many_are_missing(
        fates in vec(fate(), 3..=9),
        m in 10u8..=40,
        elements in 1u64..80,
        chunk_elems in prop::sample::select(vec![8u32, 16, 64]),
        inputs in prop::sample::select(vec![Input::Random, Input::Random, Input::Highest, Input::Lowest]),
    ) {
        let n = u32::try_from(fates.len()).unwrap();
        let v = (m - ceil_log2(n)).min(32);
        let world = World::with(n, RunConfig { v, m, elements, chunk_elems, ..kit::config(n) }, 1);
        let mut round = world.open();
        let edge = kit::qmax(world.params());
        match inputs {
            Input::Random => {}
            Input::Highest => round.updates.iter_mut().for_each(|update| update.fill(edge)),
            Input::Lowest => round.updates.iter_mut().for_each(|update| update.fill(-edge)),
        }
        match (kit::run(&mut round, &plan(&fates)), expected(&world, &fates)) {
            (Ok(outcome), Ok(())) => prop_assert_eq!(outcome.sum, round.plain(&outcome.survivors)),
            (Err(Error::BelowThreshold { need, .. }), Err(missing)) => prop_assert_eq!(need, missing),
            (found, wanted) => prop_assert!(false, "{found:?} instead of {wanted:?}"),
        }
    }
}

/// A list that is counted twice must not make an honest dealer look like a cheat.
#[test]
fn positions_that_repeat_or_are_zero_are_refused_before_anything_is_joined() {
    for positions in [[1, 1, 2], [0, 1, 2], [3, 2, 3]] {
        let refused = Lagrange::new(&positions, 3).err();
        assert_eq!(refused, Some(Error::Positions), "{positions:?}");
    }
}

/// The straight-line code of a lane's own ring sizes against the definition, bit by bit; what was in the sum before stays in it.
fn packed_like_numbers<L: Lane + PartialEq + std::fmt::Debug>(
    bits: u8,
    values: &[u64],
    start: u64,
) {
    let lanes: Vec<L> = values.iter().map(|value| L::of(*value)).collect();
    let mut packed = vec![0xee];
    ring::pack(&lanes, bits, &mut packed);
    let m = usize::from(bits);
    let mut expected = vec![0_u8; (lanes.len() * m).div_ceil(8)];
    for (k, lane) in lanes.iter().enumerate() {
        for j in (0..m).filter(|j| lane.widen() >> j & 1 == 1) {
            expected[(k * m + j) / 8] |= 1 << ((k * m + j) % 8);
        }
    }
    assert_eq!(
        packed.split_first(),
        Some((&0xee, &expected[..])),
        "appended, {bits} bits"
    );
    let mut sum = vec![L::of(start); lanes.len()];
    ring::unpack_add(&packed[1..], bits, &mut sum).unwrap();
    for (sum, lane) in sum.iter().zip(&lanes) {
        let value = lane.widen() & u64::MAX >> (64 - u32::from(bits));
        assert_eq!(*sum, L::of(start).add(L::of(value)));
    }
    let before = sum.clone();
    assert!(
        ring::unpack_add(&packed, bits, &mut sum).is_err(),
        "one byte too long"
    );
    assert_eq!(sum, before, "nothing is added then");
}
