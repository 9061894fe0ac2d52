use super::*;

#[test]
fn the_longest_trainer_of_a_round_and_all_uploads_are_counted() {
    let mut figures = Figures::default();
    let lines = [
        r#"{"level":"INFO","fields":{"message":"trainer finished","round":1,"elapsed_ms":30}}"#,
        r#"{"level":"INFO","fields":{"message":"trainer finished","round":1,"elapsed_ms":20}}"#,
        r#"{"level":"INFO","fields":{"message":"trainer finished","round":2,"elapsed_ms":10}}"#,
        r#"{"level":"INFO","fields":{"message":"update sent","run":"run_a","bytes":7000}}"#,
        r#"{"level":"INFO","fields":{"message":"update sent","run":"run_a","bytes":7002}}"#,
        r#"{"message":"update sent","bytes":1}"#,
        "update sent bytes=1",
    ];
    lines
        .iter()
        .for_each(|line| figures.add(&Line::parse(line)));
    assert_eq!(figures.trainer_ms, BTreeMap::from([(1, 30), (2, 10)]));
    assert_eq!((figures.bytes_up, figures.uploads), (14_002, 2));
}

#[test]
fn a_coordinator_says_where_it_listens() {
    let line =
        r#"{"level":"INFO","fields":{"message":"coordinator ready","listen":"127.0.0.1:4711"}}"#;
    assert_eq!(
        Line::parse(line).address(),
        Some("127.0.0.1:4711".parse().unwrap())
    );
    assert_eq!(
        Line::parse(line).text(),
        "INFO  coordinator ready listen=127.0.0.1:4711"
    );
    assert_eq!(Line::parse("listen=127.0.0.1:1").address(), None);
}

#[test]
fn a_median_is_in_the_middle() {
    assert_eq!(median([]), None);
    assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
}
