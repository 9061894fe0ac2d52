use clap::Parser as _;

use super::*;
use crate::args::{Arguments, Command};

fn plan(flags: &str) -> Result<Plan, DemoError> {
    let line = format!("veilsum demo {flags}");
    match Arguments::try_parse_from(line.split_whitespace())
        .unwrap()
        .command
    {
        Command::Demo(demo) => Plan::new(&demo),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_study_of_every_data_set_is_one_that_can_run() {
    for data in ["digits", "breast-cancer"] {
        let plan = plan(&format!("--data {data}")).unwrap();
        assert_eq!(plan.study.rounds().count, u64::from(plan.recipe.rounds));
        assert!(plan.spec().is_ok() && plan.warnings().is_empty());
    }
}

#[test]
fn two_sites_are_refused_with_the_reason_and_three_or_four_warn() {
    assert!(matches!(
        plan("--sites 2"),
        Err(DemoError::TwoSites { sites: 2 })
    ));
    assert!(matches!(
        plan("--sites 1"),
        Err(DemoError::Sites { sites: 1 })
    ));
    assert!(matches!(
        plan("--sites 129"),
        Err(DemoError::Sites { sites: 129 })
    ));
    for sites in [3, 4] {
        let plan = plan(&format!("--sites {sites}")).unwrap();
        assert_eq!((plan.min_cohort, plan.study.rounds().cohort.min), (3, 3));
        assert_eq!(plan.warnings().len(), 1);
    }
}

#[test]
fn every_site_must_be_there_unless_some_are_killed() {
    let cohort = |flags| plan(flags).unwrap().study.rounds().cohort;
    assert_eq!(
        (cohort("--sites 7").min, cohort("--sites 7").target),
        (7, 7)
    );
    assert_eq!(cohort("--sites 5 --drop 0.2").min, 5);
    assert_eq!(cohort("--sites 10 --drop 0.2").min, 7);
}

#[test]
fn a_share_is_cut_down_to_whole_sites() {
    let check = |rate, sites, expected| assert_eq!(share(rate, sites).unwrap(), expected);
    check(0.2, 5, 1);
    check(0.39, 5, 1);
    check(0.29, 100, 29);
    check(0.1, 5, 0);
    for rate in [0.0, 1.0, -0.2, f64::NAN] {
        assert!(share(rate, 5).is_err(), "{rate}");
    }
}

#[test]
fn a_share_that_the_threshold_cannot_survive_is_refused_with_the_limit() {
    let check = |flags: &str, expected: u32| match plan(flags) {
        Err(DemoError::DropTooMany { limit, .. }) => assert_eq!(limit, expected, "{flags}"),
        other => panic!("{flags}: {:?}", other.map(|_| ())),
    };
    check("--drop 0.4", 1);
    check("--sites 3 --drop 0.34", 0);
    check("--sites 10 --drop 0.4", 3);
    assert_eq!(plan("--drop 0.2").unwrap().dropped, Some(1));
    assert_eq!(plan("--sites 4 --drop 0.25").unwrap().dropped, Some(1));
    assert_eq!(plan("--drop 0.1").unwrap().warnings().len(), 1);
}
