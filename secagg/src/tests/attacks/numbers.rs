//! Numbers: tests of uniformity and of exactness that must see a failure, and what too few bits tell.

use crate::params::{Params, RunConfig, ceil_log2};
use crate::prg::Keystream;
use crate::ring;
use crate::tests::kit::{self, Plan, World};
use crate::tests::masks::{chi_square, whole_ring};

/// Masks that are a little biased, each in its own way; the tests of uniformity find all of them.
#[test]
fn t44_without_uniform_masks_the_tests_of_uniformity_fail() {
    let mut words = vec![0u8; 8 << 20];
    Keystream::new(&kit::seed("masks", 0), 0, 0).fill(&mut words);
    let words: Vec<u64> = words
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
        .collect();
    let lanes = |of: &dyn Fn(u64) -> u64| words.iter().map(|word| of(*word)).collect::<Vec<_>>();
    assert!(whole_ring(&lanes(&|word| word % 64)), "the control");
    assert!(
        !whole_ring(&lanes(&|word| word % 63)),
        "the top value never comes"
    );
    assert!(!whole_ring(&lanes(&|word| (word % 64).max(1))), "nor zero");
    assert!(
        !whole_ring(&lanes(&|word| word % 100 % 64)),
        "reduced from another range"
    );
    let signed = |of: &dyn Fn(u64) -> u64| {
        let lanes: Vec<_> = lanes(of)[..1 << 16].to_vec();
        let centred = lanes.iter().map(|lane| ring::centred(*lane, 19));
        chi_square(&centred.collect::<Vec<_>>(), 19)
    };
    assert!(signed(&|word| word) < 400.0, "the control");
    assert!(
        signed(&|word| word & !(1 << 18)) > 10_000.0,
        "the highest bit never set"
    );
    assert!(
        signed(&|word| (word % (1 << 19)) * 15 / 16) > 4_000.0,
        "a sixteenth too short"
    );
}

/// One bit less than m = v + ⌈log2 n⌉: the same round gives another number.
#[test]
fn t45_without_the_spare_bits_an_extreme_sum_wraps() {
    for n in [3, 4, 5, 7, 9] {
        let narrow = RunConfig {
            m: 15 + ceil_log2(n),
            ..kit::config(n)
        };
        assert_eq!(Params::new(narrow).unwrap_err().field, "m");
        let world = World::new(n);
        let mut round = world.open();
        let extreme = kit::qmax(world.params());
        round
            .updates
            .iter_mut()
            .for_each(|update| update.fill(extreme));
        let sum = kit::run(&mut round, &Plan::default()).unwrap().sum.0[0];
        assert_eq!(sum, i64::from(n) * extreme);
        let wrapped = ring::centred(sum.cast_unsigned(), 15 + ceil_log2(n));
        assert!(wrapped < 0, "n = {n}: {sum} became {wrapped}");
    }
}

/// How many elements of a sum of three sites' values of `bits` bits are the largest there is: then everybody's value is known.
fn told_by_the_sum(bits: u8, bound: i64) -> usize {
    let config = RunConfig {
        v: bits.max(4),
        m: bits.max(4) + 2,
        elements: 4096,
        chunk_elems: 4096,
        ..kit::config(3)
    };
    let world = World::with(3, config, 1);
    let mut round = world.open();
    let largest = |q: &mut i64| *q = q.rem_euclid(bound + 1);
    round.updates.iter_mut().flatten().for_each(largest);
    let sum = kit::run(&mut round, &Plan::default()).unwrap().sum.0;
    let extreme = |(_, sum): &(usize, &i64)| **sum == 3 * bound || **sum == 0;
    for (k, sum) in sum.iter().enumerate().filter(extreme) {
        let everybodys = round.updates.iter().all(|update| 3 * update[k] == *sum);
        assert!(everybodys, "element {k}");
    }
    sum.iter().enumerate().filter(extreme).count()
}

#[test]
fn t46_fewer_than_four_bits_are_refused() {
    for v in 0..=3 {
        let config = RunConfig {
            v,
            ..kit::config(5)
        };
        let refused = Params::new(config).unwrap_err();
        assert_eq!((refused.field, refused.value), ("v", f64::from(v)));
    }
    let config = RunConfig {
        v: 4,
        ..kit::config(5)
    };
    assert!(Params::new(config).is_ok());
}

/// One bit each: where the sum is 0 or 3 it tells all three inputs, in a quarter of all elements.
#[test]
fn t46_without_the_floor_on_bits_the_sum_tells_single_inputs() {
    let of_one_bit = told_by_the_sum(1, 1);
    assert!((900..1150).contains(&of_one_bit), "{of_one_bit} of 4096");
    assert_eq!(told_by_the_sum(16, (1 << 15) - 1), 0);
    let of_four_bits = told_by_the_sum(4, (1 << 3) - 1);
    assert!(of_four_bits < 64, "{of_four_bits} of 4096");
}
