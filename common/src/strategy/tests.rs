use proptest::prelude::*;

use super::*;

fn quantiser() -> Quantiser {
    Quantiser::new(1.0, None, 10, 16).unwrap()
}

#[test]
fn fedavg_adds_the_weighted_mean() {
    let q = quantiser();
    // two sites of full weight at +1 and one of half weight at −1: mean (10 + 10 − 5) / 25
    let sum = [2 * 32_767 - 16_383];
    let mut next = [0.0];
    ServerStep::FedAvg.step(&[0.5], &sum, 25, &q, &mut next);
    assert!((next[0] - 1.1).abs() < 1e-4, "{}", next[0]);
}

#[test]
fn a_sum_of_zero_changes_nothing() {
    let global = [1.5, -0.0, f32::MIN_POSITIVE, 3.4e38];
    let mut next = [9.0; 4];
    ServerStep::FedAvg.step(&global, &[0; 4], 1, &quantiser(), &mut next);
    assert_eq!(next, global);
}

#[test]
fn names_are_those_of_the_study_file() {
    assert_eq!(ServerStep::named("fedavg"), Some(ServerStep::FedAvg));
    assert_eq!(ServerStep::named("fedadam"), None);
    assert_eq!(
        serde_json::to_string(&ServerStep::FedAvg).unwrap(),
        "{\"kind\":\"fedavg\"}"
    );
    for (name, step) in ServerStep::NAMES {
        assert_eq!(step.canonical(), name.as_bytes());
    }
}

proptest! {
    #[test]
    fn any_grouping_into_ranges_gives_the_same_bytes(
        values in prop::collection::vec((-10.0_f32..10.0, -100_000_i64..100_000), 1..100),
        cut in 0_usize..100,
    ) {
        let (global, sum): (Vec<f32>, Vec<i64>) = values.into_iter().unzip();
        let cut = cut.min(sum.len());
        let (mut whole, mut parts) = (vec![0.0; sum.len()], vec![0.0; sum.len()]);
        let q = quantiser();
        ServerStep::FedAvg.step(&global, &sum, 17, &q, &mut whole);
        let (left, right) = parts.split_at_mut(cut);
        ServerStep::FedAvg.step(&global[..cut], &sum[..cut], 17, &q, left);
        ServerStep::FedAvg.step(&global[cut..], &sum[cut..], 17, &q, right);
        prop_assert_eq!(whole, parts);
    }
}
