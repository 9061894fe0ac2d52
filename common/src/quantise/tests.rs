use std::cell::RefCell;

use proptest::prelude::*;

use veilsum_secagg::ring::Lane;

use super::*;

/// A fixed stand-in for the keystream: splitmix64 of (chunk, position).
fn noise(chunk: u64, bytes: &mut [u8]) {
    for (k, word) in (0_u64..).zip(bytes.chunks_exact_mut(4)) {
        let mut z = (chunk << 32 | k)
            .wrapping_add(1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..4]);
    }
}

/// ⌊y⌋, plus one if `u` is below the fraction of y: the rule as the protocol says it.
fn round_down_or_up(y: f64, u: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation)]
    let floor = y.floor() as i64;
    floor + i64::from(u < y - y.floor())
}

/// Element by element, with branches and conversions: what the lanes must be.
fn by_the_rule(q: &Quantiser, update: &[f32], weight: u64, words: &[u32]) -> (Vec<i64>, u64) {
    let norm = update
        .iter()
        .fold(0.0, |sum, x| sum + f64::from(*x) * f64::from(*x))
        .sqrt();
    let factor = q
        .l2_clip
        .filter(|clip| norm > *clip)
        .map_or(1.0, |clip| clip / norm);
    let (mut lanes, mut clipped) = (Vec::new(), 0);
    for (value, word) in update.iter().zip(words) {
        let scaled = f64::from(*value) * factor;
        let x = scaled.clamp(-q.clamp, q.clamp);
        clipped += u64::from(x != scaled);
        let lane = round_down_or_up(
            x * weight as f64 * q.scale,
            f64::from(*word) * TWO_POW_MINUS_32,
        );
        lanes.push(lane.clamp(-q.q_max, q.q_max));
    }
    (lanes, clipped)
}

fn constant(word: u32) -> impl Fn(u64, &mut [u8]) {
    move |_, bytes| {
        bytes
            .chunks_exact_mut(4)
            .for_each(|w| w.copy_from_slice(&word.to_le_bytes()))
    }
}

fn element(clamp: f64, weight_max: u64, bits: u8) -> Quantiser {
    Quantiser::new(clamp, None, weight_max, bits).unwrap()
}

#[test]
fn a_value_on_the_grid_is_exact_whatever_the_noise() {
    let q = element(1.0, 1, 16);
    let grid: Vec<f32> = [0.0, 1.0, -1.0].to_vec();
    for word in [0, 1, u32::MAX] {
        let lanes = q.quantise(&grid, 1, &constant(word)).unwrap().lanes;
        assert_eq!(lanes, [0, 32_767, -32_767]);
    }
}

#[test]
fn noise_decides_between_the_two_neighbours() {
    // a = 7, W = 1, Qmax = 7: one quantum is 1.0
    let q = element(7.0, 1, 4);
    let down = q
        .quantise(&[2.25, -2.25], 1, &constant(u32::MAX))
        .unwrap()
        .lanes;
    let up = q.quantise(&[2.25, -2.25], 1, &constant(0)).unwrap().lanes;
    assert_eq!((down, up), (vec![2, -3], vec![3, -2]));
    // u < fraction, strictly: u = 1/4 exactly does not round 2.25 up
    assert_eq!(
        q.quantise(&[2.25], 1, &constant(1 << 30)).unwrap().lanes,
        [2]
    );
    assert_eq!(
        q.quantise(&[2.25], 1, &constant((1 << 30) - 1))
            .unwrap()
            .lanes,
        [3]
    );
}

#[test]
fn an_l2_clip_scales_the_whole_vector() {
    let q = Quantiser::new(1.0, Some(1.0), 1, 16).unwrap();
    let clipped = q.quantise(&[3.0, 4.0], 1, &constant(u32::MAX)).unwrap();
    assert_eq!(
        (clipped.norm, clipped.factor, clipped.clipped),
        (5.0, 0.2, 0)
    );
    assert!((clipped.lanes[0] - 19_660).abs() <= 1 && (clipped.lanes[1] - 26_213).abs() <= 1);
    let small = q.quantise(&[0.3, 0.4], 1, &noise).unwrap();
    assert_eq!(small.factor, 1.0);
}

#[test]
fn the_clamp_counts_what_it_changed() {
    let q = element(0.5, 1, 8);
    let result = q.quantise(&[0.5, -0.5, 0.6, -7.0, 0.0], 1, &noise).unwrap();
    assert_eq!(result.clipped, 2);
    assert_eq!(result.lanes, [127, -127, 127, -127, 0]);
}

#[test]
fn weights_share_the_bits_with_the_values() {
    let q = element(1.0, 1000, 16);
    let lanes = q.quantise(&[1.0], 500, &constant(u32::MAX)).unwrap().lanes;
    assert_eq!(lanes, [16_383]);
    assert!((q.decode(32_767, 1000) - 1.0).abs() < 1e-12);
}

#[test]
fn a_bad_update_is_named_by_index_and_value() {
    let q = element(1.0, 10, 16);
    let error = q.quantise(&[0.0, f32::INFINITY], 1, &noise).unwrap_err();
    assert_eq!(
        error,
        QuantiseError::NotFinite {
            index: 1,
            value: f32::INFINITY
        }
    );
    let error = q.quantise(&[f32::NAN], 1, &noise).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("element 0 of the update is NaN"),
        "{error}"
    );
}

#[test]
fn a_weight_of_zero_or_above_the_cap_is_an_error_with_a_remedy() {
    let q = element(1.0, 10, 16);
    let none = q.quantise(&[0.0], 0, &noise).unwrap_err();
    assert!(none.to_string().contains("exits 75"), "{none}");
    let heavy = q.quantise(&[0.0], 11, &noise).unwrap_err();
    assert_eq!(
        heavy,
        QuantiseError::WeightAboveCap {
            weight: 11,
            limit: 10
        }
    );
    assert!(heavy.to_string().contains("secagg.weight.max"), "{heavy}");
    assert!(q.quantise(&[0.0], 10, &noise).is_ok());
}

/// A rule that scales to more than its bits hold, as only a bug could make it.
fn beyond_range() -> Quantiser {
    let honest = element(1.0, 10, 8);
    Quantiser {
        scale: 2.0 * honest.scale,
        ..honest
    }
}

/// What is masked is made from lanes, and there are none.
#[test]
fn t30_a_weight_above_the_cap_or_a_value_beyond_its_range_is_an_error_before_anything_is_masked() {
    let asked = RefCell::new(0);
    let counted = |chunk, bytes: &mut [u8]| {
        *asked.borrow_mut() += 1;
        noise(chunk, bytes);
    };
    let q = element(1.0, 10, 8);
    for weight in [11, 1 << 20, u64::MAX] {
        let refused = q.quantise(&[1.0, 0.0], weight, &counted).map(drop);
        assert_eq!(
            refused,
            Err(QuantiseError::WeightAboveCap { weight, limit: 10 })
        );
    }
    assert_eq!(*asked.borrow(), 0, "not even its rounding was drawn");
    for (update, value) in [([0.0, 1.0], 254.0), ([0.0, -0.51], -129.54)] {
        let error = beyond_range().quantise(&update, 10, &noise).unwrap_err();
        let QuantiseError::BeyondRange {
            index: 1,
            value: found,
            limit: 127,
        } = error
        else {
            panic!("{error}")
        };
        assert!((found - value).abs() < 1e-3, "{found}");
    }
    let largest = q.quantise(&[1.0, -1.0], 10, &noise).unwrap().lanes;
    assert_eq!(largest, [127, -127], "the control");
}

/// Lanes as the weight makes them: one site's number overflows the ring, and the sum of all changes its sign.
#[test]
fn t30_without_the_error_one_heavy_site_turns_the_sum_around() {
    let (q, sites) = (element(1.0, 10, 8), 5);
    let bits = ring_bits(8, sites);
    let lane = |weight: f64| round_down_or_up(weight * q.scale, 0.5);
    let sum = |heaviest: f64| {
        let sum = 4 * lane(10.0) + lane(heaviest);
        veilsum_secagg::ring::centred(sum.cast_unsigned(), bits)
    };
    assert_eq!(sum(10.0), 5 * 127, "within the cap every sum is exact");
    assert_eq!(sum(50.0), 4 * 127 + 635 - 2048, "five times the cap");
    assert!(
        q.decode(sum(50.0), 90) < -0.5,
        "a mean of ones became one of minus ones"
    );
}

#[test]
fn settings_out_of_bounds_are_refused_by_name() {
    for (result, name) in [
        (Quantiser::new(0.0, None, 1, 16), "clamp"),
        (Quantiser::new(f64::NAN, None, 1, 16), "clamp"),
        (Quantiser::new(f64::INFINITY, None, 1, 16), "clamp"),
        (Quantiser::new(1.0, Some(-1.0), 1, 16), "l2_clip"),
        (Quantiser::new(1.0, Some(f64::NAN), 1, 16), "l2_clip"),
        (Quantiser::new(1.0, None, 0, 16), "weight_max"),
        (Quantiser::new(1.0, None, MAX_WEIGHT + 1, 16), "weight_max"),
        (Quantiser::new(1.0, None, 1, 3), "bits"),
        (Quantiser::new(1.0, None, 1, 33), "bits"),
    ] {
        let error = result.unwrap_err();
        assert!(
            matches!(error, QuantiseError::Setting { setting, .. } if setting == name),
            "{error}"
        );
    }
}

#[test]
fn noise_is_asked_for_by_chunk_and_only_for_what_is_there() {
    let asked = RefCell::new(Vec::new());
    let chunk = CHUNK_ELEMS as usize;
    let update = vec![0.1; 2 * chunk + 3];
    let q = element(1.0, 1, 16);
    q.quantise(&update, 1, &|c, bytes: &mut [u8]| {
        asked.borrow_mut().push((c, bytes.len()))
    })
    .unwrap();
    assert_eq!(*asked.borrow(), [(0, 4 * chunk), (1, 4 * chunk), (2, 12)]);
    assert!(q.quantise(&[], 1, &noise).unwrap().lanes.is_empty());
}

#[test]
fn the_ring_has_the_bits_of_the_protocols_table() {
    let sizes = [3, 10, 32, 100, 1000, 10_000, 50_000];
    for (bits, expected) in [
        (8, [10, 12, 13, 15, 18, 22, 24]),
        (16, [18, 20, 21, 23, 26, 30, 32]),
        (24, [26, 28, 29, 31, 34, 38, 40]),
    ] {
        assert_eq!(sizes.map(|n| ring_bits(bits, n)), expected);
    }
}

#[test]
fn extreme_inputs_of_every_site_do_not_wrap() {
    for bits in MIN_BITS..=MAX_BITS {
        for n in 2..=128 {
            let sum = i64::from(n) * element(1.0, 1, bits).q_max();
            assert!(sum < 1 << (ring_bits(bits, n) - 1), "bits {bits}, n {n}");
        }
    }
}

#[test]
fn rounding_is_unbiased() {
    let q = element(1.0, 1, 8);
    let x = 0.123_456_f32;
    let count = 200_000;
    let lanes = q.quantise(&vec![x; count], 1, &noise).unwrap().lanes;
    let mean = lanes.iter().sum::<i64>() as f64 / count as f64;
    // standard deviation of one ≤ 1/2, of the mean ≤ 0.0012: five of them
    assert!((mean - f64::from(x) * 127.0).abs() < 0.006, "{mean}");
}

/// Every lane of `update` in slices of `slice` elements, by the two passes.
fn in_slices<L: Lane>(
    q: &Quantiser,
    update: &[f32],
    weight: u64,
    words: &[u32],
    slice: usize,
) -> (Vec<L>, u64) {
    let mut measure = Measure::new();
    update
        .chunks(slice)
        .for_each(|values| measure.add(values).unwrap());
    let second = q.begin(weight, measure).unwrap();
    let (mut first, mut clipped) = (0, 0);
    let (mut lanes, mut bytes) = (
        vec![L::default(); update.len()],
        words.iter().flat_map(|word| word.to_le_bytes()),
    );
    for (values, lanes) in update.chunks(slice).zip(lanes.chunks_mut(slice)) {
        let mut noise = |out: &mut [u8]| out.fill_with(|| bytes.next().unwrap());
        clipped += second.chunk(first, values, &mut noise, lanes).unwrap();
        first += values.len() as u64;
    }
    (lanes, clipped)
}

#[test]
fn an_element_that_went_bad_between_the_passes_is_named_by_its_place_in_the_vector() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut measure = Measure::new();
        measure.add(&[0.5; 2001]).unwrap();
        let second = Quantiser::new(1.0, Some(1.0), 1, 16)
            .unwrap()
            .begin(1, measure)
            .unwrap();
        let (mut zeros, mut lanes) = (|bytes: &mut [u8]| bytes.fill(0), vec![0_u32; 1000]);
        let mut values = vec![0.5; 1000];
        values[999] = bad;
        let bad = second.chunk(1000, &values, &mut zeros, &mut lanes);
        let error = bad.unwrap_err();
        assert!(
            matches!(error, QuantiseError::NotFinite { index: 1999, .. }),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn lanes_of_every_width_and_slice_are_those_of_the_rule(
        update in prop::collection::vec(prop_oneof![-3.0_f32..3.0, -1e-3_f32..1e-3, Just(0.0), Just(-0.0), Just(1.0), Just(-1.0)], 1..2500),
        words in prop::collection::vec(prop_oneof![any::<u32>(), Just(0), Just(u32::MAX), Just(1 << 31)], 2500),
        l2_clip in prop::option::of(0.1_f64..40.0),
        weight in 1_u64..=1000,
        bits in MIN_BITS..=MAX_BITS,
        slice in 1_usize..2500,
    ) {
        let q = Quantiser::new(1.0, l2_clip, 1000, bits).unwrap();
        let (lanes, clipped) = by_the_rule(&q, &update, weight, &words);
        let wide = in_slices::<u64>(&q, &update, weight, &words, slice);
        prop_assert_eq!(&wide, &(lanes.iter().map(|lane| lane.cast_unsigned()).collect(), clipped));
        let narrow = in_slices::<u32>(&q, &update, weight, &words, slice);
        prop_assert_eq!(narrow, (lanes.iter().map(|lane| Lane::of(lane.cast_unsigned())).collect(), clipped));
        let half = in_slices::<u16>(&q, &update, weight, &words, slice);
        prop_assert_eq!(half, (lanes.iter().map(|lane| Lane::of(lane.cast_unsigned())).collect(), clipped));
    }

    #[test]
    fn a_lane_stays_in_range_and_within_one_quantum(
        values in prop::collection::vec(-3.0_f32..3.0, 1..200),
        clamp in 0.01_f64..4.0,
        weight_max in 1_u64..=MAX_WEIGHT,
        part in 0.0_f64..1.0,
        bits in MIN_BITS..=MAX_BITS,
    ) {
        #[allow(clippy::cast_possible_truncation)]
        let weight = ((weight_max as f64 * part) as u64).clamp(1, weight_max);
        let q = element(clamp, weight_max, bits);
        let result = q.quantise(&values, weight, &noise).unwrap();
        prop_assert_eq!(&result, &q.quantise(&values, weight, &noise).unwrap());
        for (value, lane) in values.iter().zip(&result.lanes) {
            prop_assert!(lane.abs() <= q.q_max());
            let exact = f64::from(*value).clamp(-clamp, clamp) * weight as f64 * q.scale;
            prop_assert!((*lane as f64 - exact).abs() < 1.0 + 1e-6, "{} for {}", lane, exact);
        }
    }

    #[test]
    fn the_decoded_mean_is_the_weighted_mean_within_a_quantum_a_site(
        sites in prop::collection::vec((-1.0_f32..1.0, 1_u64..=500), 3..20),
    ) {
        let q = element(1.0, 500, 16);
        let lanes = sites.iter().map(|(x, w)| q.quantise(&[*x], *w, &noise).unwrap().lanes[0]);
        let sum: i64 = lanes.sum();
        let weight_sum: u64 = sites.iter().map(|(_, w)| w).sum();
        let exact = sites.iter().map(|(x, w)| f64::from(*x) * *w as f64).sum::<f64>() / weight_sum as f64;
        let bound = sites.len() as f64 / (q.scale * weight_sum as f64) + 1e-12;
        prop_assert!((q.decode(sum, weight_sum) - exact).abs() <= bound);
    }

    #[test]
    fn no_finite_update_is_refused(values in prop::collection::vec(any::<f32>().prop_filter("finite", |v| v.is_finite()), 0..50)) {
        for q in [element(1e9, MAX_WEIGHT, 32), Quantiser::new(1e-9, Some(1e-9), 1, 4).unwrap()] {
            prop_assert!(q.quantise(&values, 1, &noise).is_ok());
        }
    }
}
