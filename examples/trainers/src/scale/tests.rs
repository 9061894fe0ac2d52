use ndarray::array;

use super::*;
use crate::data::{breast_cancer, parse};

#[test]
fn a_fixed_scale_asks_nothing_of_the_rows() {
    let data = parse("a,b,label\n0,8,0\n4,2,1\n").unwrap();
    let fixed = Scaling::Fixed {
        centre: 4.0,
        unit: 2.0,
    };
    let scaled = fixed.fit(&data).apply(&data);
    assert_eq!(scaled.features, array![[-2.0, 2.0], [0.0, -1.0]]);
    assert_eq!((scaled.labels, scaled.rows), (data.labels, data.rows));
}

#[test]
fn standardised_features_have_mean_zero_and_deviation_one() {
    let data = breast_cancer();
    let scaled = Scaling::Standardise.fit(&data).apply(&data);
    for column in scaled.features.columns() {
        let n = column.len() as f32;
        let mean = column.sum() / n;
        let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / n;
        assert!(mean.abs() < 1e-4, "mean {mean}");
        assert!((variance - 1.0).abs() < 1e-3, "variance {variance}");
    }
}

#[test]
fn a_feature_that_does_not_vary_becomes_zero() {
    let data = parse("a,label\n5,0\n5,1\n").unwrap();
    let scaler = Scaling::Standardise.fit(&data);
    assert_eq!(scaler.apply(&data).features, array![[0.0], [0.0]]);
}

#[test]
fn a_scale_fitted_elsewhere_is_applied_as_it_is() {
    let fitted = parse("a,label\n0,0\n2,1\n").unwrap();
    let other = parse("a,label\n5,0\n").unwrap();
    let scaled = Scaling::Standardise.fit(&fitted).apply(&other);
    assert_eq!(scaled.features, array![[4.0]]);
}
