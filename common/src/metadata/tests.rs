use proptest::prelude::*;

use super::*;
use crate::limits::{MAX_COHORT, MAX_WEIGHT};

fn metric(name: &str, lo: f64, hi: f64) -> MetricSpec {
    MetricSpec {
        name: name.to_owned(),
        lo,
        hi,
    }
}

fn metadata() -> Metadata {
    Metadata::new(
        vec![metric("loss", 0.0, 10.0), metric("accuracy", 0.0, 1.0)],
        2000,
        5,
    )
}

fn report(values: &[(&str, f64)]) -> BTreeMap<String, f64> {
    values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect()
}

fn add(all: &[Vec<u64>]) -> Vec<u64> {
    let lanes = all[0].len();
    (0..lanes)
        .map(|k| {
            all.iter()
                .fold(0_u64, |sum, site| sum.wrapping_add(site[k]))
        })
        .collect()
}

#[test]
fn lanes_are_weight_examples_and_metrics_in_order_of_name() {
    let lanes = metadata()
        .encode(3, 4, &report(&[("loss", 2.0), ("accuracy", 0.5)]))
        .unwrap();
    let one = 4_294_967_296; // F = 32
    assert_eq!(lanes, [3, 4, 3 * one / 2, 3 * 2 * one]);
    assert_eq!(metadata().lanes(), 4);
    let names: Vec<_> = metadata().metrics().map(|m| m.name.clone()).collect();
    assert_eq!(names, ["accuracy", "loss"]);
}

#[test]
fn the_sum_decodes_to_weighted_means() {
    let m = metadata();
    let a = m
        .encode(100, 100, &report(&[("loss", 1.0), ("accuracy", 0.5)]))
        .unwrap();
    let b = m
        .encode(300, 300, &report(&[("loss", 2.0), ("accuracy", 1.0)]))
        .unwrap();
    let means = m.decode(&add(&[a, b])).unwrap();
    assert_eq!((means.weight, means.examples), (400, 400));
    assert_eq!(
        means.metrics,
        report(&[("loss", 1.75), ("accuracy", 0.875)])
    );
}

#[test]
fn negative_values_are_twos_complement() {
    let m = Metadata::new(vec![metric("gain", -5.0, 5.0)], 10, 3);
    let low = m.encode(10, 1, &report(&[("gain", -5.0)])).unwrap();
    let high = m.encode(5, 1, &report(&[("gain", 4.0)])).unwrap();
    let means = m.decode(&add(&[low, high])).unwrap();
    assert_eq!(means.metrics["gain"], -2.0);
}

#[test]
fn a_study_without_metrics_has_two_lanes() {
    let m = Metadata::new(Vec::new(), 1, 3);
    assert_eq!(m.encode(1, 9, &BTreeMap::new()).unwrap(), [1, 9]);
    assert_eq!(m.decode(&[3, 27]).unwrap().examples, 27);
}

#[test]
fn a_wrong_report_is_refused_by_name() {
    let m = metadata();
    let full = [("loss", 1.0), ("accuracy", 0.5)];
    let missing = m.encode(1, 1, &report(&full[..1])).unwrap_err();
    assert_eq!(
        missing,
        MetadataError::Missing {
            metric: "accuracy".to_owned()
        }
    );
    let extra = m
        .encode(1, 1, &report(&[full[0], full[1], ("patients", 3.0)]))
        .unwrap_err();
    assert_eq!(
        extra,
        MetadataError::Undeclared {
            metric: "patients".to_owned()
        }
    );
    for value in [10.000_001, -0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = m
            .encode(1, 1, &report(&[("loss", value), full[1]]))
            .unwrap_err();
        let MetadataError::OutOfRange { metric, lo, hi, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!((metric.as_str(), *lo, *hi), ("loss", 0.0, 10.0));
    }
}

#[test]
fn counts_have_bounds() {
    let m = metadata();
    let ok = report(&[("loss", 1.0), ("accuracy", 0.5)]);
    assert_eq!(m.encode(1, 0, &ok), Err(MetadataError::NoExamples));
    assert_eq!(m.encode(0, 1, &ok), Err(MetadataError::NoExamples));
    assert_eq!(
        m.encode(2001, 1, &ok),
        Err(MetadataError::Weight {
            weight: 2001,
            limit: 2000
        })
    );
    assert!(matches!(
        m.encode(1, MAX_EXAMPLES + 1, &ok),
        Err(MetadataError::Examples { .. })
    ));
    assert!(m.encode(2000, MAX_EXAMPLES, &ok).is_ok());
}

#[test]
fn impossible_sums_are_refused() {
    let m = metadata();
    assert_eq!(
        m.decode(&[1, 1, 0]),
        Err(SumError::Length { have: 3, need: 4 })
    );
    assert_eq!(m.decode(&[]), Err(SumError::Length { have: 0, need: 4 }));
    assert!(matches!(
        m.decode(&[0, 1, 0, 0]),
        Err(SumError::Count {
            what: "weights",
            ..
        })
    ));
    assert!(matches!(
        m.decode(&[10_001, 1, 0, 0]),
        Err(SumError::Count {
            sum: 10_001,
            limit: 10_000,
            ..
        })
    ));
    assert!(matches!(
        m.decode(&[1, 0, 0, 0]),
        Err(SumError::Count {
            what: "examples",
            ..
        })
    ));
    assert!(matches!(
        m.decode(&[1, 1, u64::MAX / 2, 0]),
        Err(SumError::Metric { .. })
    ));
    let negative = (-(1_i64 << 40)).cast_unsigned();
    assert!(
        matches!(m.decode(&[1, 1, 0, negative]), Err(SumError::Metric { metric, .. }) if metric == "loss")
    );
}

proptest! {
    #[test]
    fn no_lane_exceeds_its_bound_and_three_digits_remain(
        exponent in -6.0_f64..12.0,
        weight_max in 1..=MAX_WEIGHT,
        n_max in 3..=MAX_COHORT,
    ) {
        let bound = 10_f64.powf(exponent).clamp(MIN_METRIC_BOUND, MAX_METRIC_BOUND);
        let m = Metadata::new(vec![metric("x", -bound, bound)], weight_max, n_max);
        let limit = (1_i64 << 62) / i64::from(n_max);
        for value in [bound, -bound] {
            let lanes = m.encode(weight_max, 1, &report(&[("x", value)])).unwrap();
            prop_assert!(lanes[2].cast_signed().abs() <= limit);
        }
        prop_assert!(bound * m.metrics[0].1 >= 1000.0, "scale {}", m.metrics[0].1);
    }

    #[test]
    fn means_are_right_within_a_quantum_a_site(
        sites in prop::collection::vec((1_u64..=2000, 0.0_f64..=10.0), 1..5),
    ) {
        let m = metadata();
        let encode = |(w, v): &(u64, f64)| m.encode(*w, 1, &report(&[("loss", *v), ("accuracy", 1.0)])).unwrap();
        let all: Vec<_> = sites.iter().map(encode).collect();
        let means = m.decode(&add(&all)).unwrap();
        let weight: u64 = sites.iter().map(|(w, _)| w).sum();
        let exact = sites.iter().map(|(w, v)| *w as f64 * v).sum::<f64>() / weight as f64;
        prop_assert!((means.metrics["loss"] - exact).abs() < 1e-8);
        prop_assert_eq!(means.metrics["accuracy"], 1.0);
    }
}
