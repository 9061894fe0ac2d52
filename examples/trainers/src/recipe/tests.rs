use std::collections::BTreeSet;

use super::*;

#[test]
fn a_recipe_and_its_data_fit_together() {
    for recipe in [DIGITS, BREAST_CANCER] {
        let data = (recipe.load)();
        assert_eq!(recipe.widths.first(), Some(&data.features.ncols()));
        assert_eq!(recipe.widths.last(), Some(&data.classes));
    }
}

#[test]
fn no_trainer_sees_a_test_row() {
    for recipe in [DIGITS, BREAST_CANCER] {
        let partition = recipe.partition(5, 2).unwrap();
        let test: BTreeSet<usize> = partition.test_rows().iter().copied().collect();
        let seen: Vec<usize> = (0..5).flat_map(|site| partition.site(site).rows).collect();
        assert!(seen.iter().all(|row| !test.contains(row)));
        assert_eq!(seen.len() + test.len(), (recipe.load)().len());
        assert_eq!(partition.test().rows, partition.test_rows());
    }
}

#[test]
fn every_process_finds_the_same_partition() {
    let partition = DIGITS.partition(5, 9).unwrap();
    assert_eq!(partition, DIGITS.partition(5, 9).unwrap());
    assert_ne!(
        partition.test_rows(),
        DIGITS.partition(5, 10).unwrap().test_rows()
    );
}

#[test]
fn a_site_scales_itself_and_the_test_rows_are_scaled_by_all() {
    let partition = BREAST_CANCER.partition(5, 0).unwrap();
    let mean = |data: &Dataset| data.features.column(0).mean().unwrap();
    assert!(mean(&partition.site(0)).abs() < 1e-4);
    assert!(mean(&partition.pooled()).abs() < 1e-4);
    assert_ne!(partition.test(), partition.test_of_site(0));
    assert_ne!(partition.test_of_site(0), partition.test_of_site(1));
}

#[test]
fn digits_are_scaled_alike_everywhere() {
    let partition = DIGITS.partition(5, 0).unwrap();
    assert_eq!(partition.test(), partition.test_of_site(3));
}

#[test]
fn every_number_of_sites_up_to_128_is_served() {
    for sites in [3, 4, 5, 10, 11, 64, 128] {
        assert_eq!(DIGITS.partition(sites, 0).unwrap().site_count(), sites);
        assert_eq!(
            BREAST_CANCER.partition(sites, 0).unwrap().site_count(),
            sites
        );
    }
    let refused = DIGITS.partition(0, 0);
    assert_eq!(refused, Err(SplitError::NoSites));
}
