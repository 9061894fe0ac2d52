use std::collections::BTreeSet;

use super::*;
use crate::data::{breast_cancer, digits, parse};

fn rows(data: &Dataset) -> BTreeSet<usize> {
    data.rows.iter().copied().collect()
}

fn classes(data: &Dataset) -> BTreeSet<usize> {
    data.labels.iter().copied().collect()
}

/// The sites have all rows of the whole, and no row twice.
fn check_shares(whole: &Dataset, sites: &[Dataset]) {
    let count: usize = sites.iter().map(Dataset::len).sum();
    let union: BTreeSet<usize> = sites.iter().flat_map(rows).collect();
    assert_eq!(count, whole.len());
    assert_eq!(union, rows(whole));
    assert!(sites.iter().all(|site| !site.is_empty()));
}

#[test]
fn a_fifth_of_each_class_is_held_out_and_no_row_is_lost() {
    for data in [digits(), breast_cancer()] {
        let split = train_test(&data, 4);
        assert!(rows(&split.train).is_disjoint(&rows(&split.test)));
        assert_eq!(split.train.len() + split.test.len(), data.len());
        for (whole, test) in by_label(&data).iter().zip(by_label(&split.test)) {
            assert!((5 * test.len()).abs_diff(whole.len()) <= 2);
        }
    }
}

#[test]
fn rows_keep_their_values_and_their_numbers() {
    let data = digits();
    let split = train_test(&data, 0);
    for (at, &row) in split.test.rows.iter().enumerate() {
        assert_eq!(split.test.features.row(at), data.features.row(row));
        assert_eq!(split.test.labels[at], data.labels[row]);
    }
    assert!(split.test.rows.is_sorted());
}

#[test]
fn a_seed_always_gives_the_same_split_and_another_seed_another() {
    let data = breast_cancer();
    assert_eq!(train_test(&data, 1), train_test(&data, 1));
    assert_ne!(
        train_test(&data, 1).test.rows,
        train_test(&data, 2).test.rows
    );
    assert_eq!(iid(&data, 5, 1), iid(&data, 5, 1));
    assert_ne!(iid(&data, 5, 1), iid(&data, 5, 2));
}

#[test]
fn five_sites_have_two_classes_each() {
    let train = train_test(&digits(), 0).train;
    let sites = by_class(&train, 5).unwrap();
    check_shares(&train, &sites);
    for (index, site) in sites.iter().enumerate() {
        assert_eq!(classes(site), BTreeSet::from([index, index + 5]));
        assert_eq!(site.classes, 10);
    }
}

#[test]
fn classes_are_dealt_out_round_robin_for_any_number_of_sites() {
    let train = train_test(&digits(), 0).train;
    for count in [1, 2, 3, 4, 7, 10, 11, 23, 128] {
        let sites = by_class(&train, count).unwrap();
        check_shares(&train, &sites);
        for (index, site) in sites.iter().enumerate() {
            let expected = if count <= 10 {
                (index..10).step_by(count).collect()
            } else {
                BTreeSet::from([index % 10])
            };
            assert_eq!(classes(site), expected, "site {index} of {count}");
        }
    }
}

#[test]
fn sites_of_one_class_share_its_rows_evenly() {
    let train = train_test(&digits(), 0).train;
    let sites = by_class(&train, 128).unwrap();
    for class in 0..10 {
        let sizes: Vec<usize> = (class..128).step_by(10).map(|i| sites[i].len()).collect();
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
    }
}

#[test]
fn random_shares_differ_by_one_row_at_most() {
    let train = train_test(&breast_cancer(), 0).train;
    for count in [1, 3, 5, 128] {
        let sites = iid(&train, count, 9).unwrap();
        check_shares(&train, &sites);
        let sizes: Vec<usize> = sites.iter().map(Dataset::len).collect();
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
    }
}

#[test]
fn a_site_without_rows_is_refused() {
    let data = parse("a,label\n1,0\n2,1\n3,1\n").unwrap();
    let without = |site, sites| Err(SplitError::SiteWithoutRows { site, sites });
    assert_eq!(by_class(&data, 0), Err(SplitError::NoSites));
    assert_eq!(iid(&data, 0, 1), Err(SplitError::NoSites));
    assert_eq!(by_class(&data, 3), without(2, 3));
    assert_eq!(iid(&data, 4, 1), without(3, 4));
    assert!(iid(&data, 3, 1).is_ok());
}
