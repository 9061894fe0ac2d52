use super::*;

fn wanted(ids: &[&str]) -> Wanted {
    Wanted(ids.iter().map(|id| (*id).to_owned()).collect())
}

#[test]
fn a_figure_is_asked_for_by_its_id_or_by_its_number_without_letter() {
    assert!(wanted(&["P4a"]).has("P4a"));
    assert!(!wanted(&["P4a"]).has("P4b"));
    assert!(wanted(&["P4"]).has("P4b"));
}

#[test]
fn a_number_does_not_ask_for_those_that_begin_with_it() {
    assert!(!wanted(&["P1"]).has("P10"));
}

#[test]
fn no_id_asks_for_all() {
    assert!(wanted(&[]).has("P9"));
}
