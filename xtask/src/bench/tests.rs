use super::*;

const LINES: &str = r#"{"id":"P1","value":2.4,"unit":"a / b","against":"bare keystream","quartiles":[2.3,2.5]}
{"id":"P3","value":1.6,"unit":"a / b","against":"P1","quartiles":[1.5,1.7]}
{"id":"P4a/n=10","value":3.0,"unit":"a / b","against":"Flower"}
{"id":"P9/m=19","value":0.5,"unit":"a / b","against":"adding"}"#;

fn row(id: &str) -> String {
    let page = page(&figures(LINES).unwrap(), "* a machine\n");
    let found: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with(&format!("| {id} |")))
        .collect();
    assert_eq!(found.len(), 1, "{page}");
    found[0].to_owned()
}

#[test]
fn a_figure_is_held_against_the_limit_of_its_row() {
    assert!(row("P1").ends_with("| 2.400 | 2.300–2.500 | ≥ 0.9 | yes | bare keystream |"));
    assert!(row("P3").contains("| ≤ 1.5 | **no** |"));
    assert!(
        row("P9/m=19").contains("| 0.500 |  | ≥ 0.6 | **no** |"),
        "a variant has its row's limit"
    );
}

#[test]
fn a_variant_for_which_no_limit_was_set_keeps_and_breaks_none() {
    assert!(row("P4a/n=10").ends_with("| 3.000 |  |  |  | Flower |"));
}

#[test]
fn a_figure_that_nobody_measured_is_said_to_be_missing() {
    assert!(row("P5b").contains("not measured"));
}

#[test]
fn a_line_without_a_value_is_an_error() {
    assert!(figures(r#"{"id":"P1","unit":"","against":""}"#).is_err());
    assert!(figures("P1 2.4").is_err());
}

#[test]
fn every_row_has_its_own_id() {
    let mut ids: Vec<_> = ROWS.iter().map(|(id, ..)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), ROWS.len());
}
