//! The table of attacks and the numbered tests agree: what one names, the other has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use xtask::attacks::{self, PAGE, Row};
use xtask::root;

/// Names of numbered tests below a folder, generated and built sources left out, and this crate's, which speak of such names.
fn numbered(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("the folder is part of the repository") {
        let path = entry.expect("a folder lists its entries").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() && !name.starts_with('.') && !["target", "gen", "xtask"].contains(&name) {
            found.extend(numbered(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).expect("a source can be read");
            let names = text.split("fn ").skip(1).filter_map(|rest| {
                let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                name.into_iter().next().map(str::to_owned)
            });
            found.extend(names.filter(|name| !numbers(name).is_empty()));
        }
    }
    found
}

/// "06" and "07" of `t06_t07_…`.
fn numbers(name: &str) -> Vec<&str> {
    let number = |part: &str| {
        let digits = part.strip_prefix('t')?;
        let bare = digits.strip_suffix('a').unwrap_or(digits);
        (bare.len() == 2 && bare.chars().all(|c| c.is_ascii_digit())).then_some(())
    };
    name.split('_')
        .take_while(|part| number(part).is_some())
        .map(|part| &part[1..])
        .collect()
}

/// A control says what the attack does without its defence.
fn is_control(name: &str) -> bool {
    let rest: Vec<&str> = name.split('_').skip(numbers(name).len()).collect();
    rest.first() == Some(&"without")
}

fn table() -> Vec<Row> {
    let page = fs::read_to_string(root().join(PAGE)).expect("the page is part of the repository");
    attacks::rows(&page)
}

#[test]
fn every_numbered_test_stands_in_the_row_of_each_of_its_numbers() {
    let rows = table();
    let tests = numbered(&root());
    assert!(
        tests.len() > 80,
        "{} numbered tests were found",
        tests.len()
    );
    for name in &tests {
        for number in numbers(name) {
            let row = rows.iter().find(|row| row.number == number);
            let row = row.unwrap_or_else(|| panic!("{PAGE} has no row T-{number} for {name}"));
            let column = if is_control(name) {
                &row.controls
            } else {
                &row.tests
            };
            assert!(
                column.contains(name),
                "{PAGE} does not name {name} in row T-{number}"
            );
        }
    }
}

#[test]
fn every_row_has_a_test_and_a_control() {
    for row in table() {
        let Row {
            number,
            tests,
            controls,
            ..
        } = row;
        assert!(!tests.is_empty(), "{PAGE}: T-{number} has no test");
        assert!(!controls.is_empty(), "{PAGE}: T-{number} has no control");
        for control in &controls {
            assert!(is_control(control), "{PAGE}: {control} is no control");
        }
    }
}

#[test]
fn every_numbered_name_in_the_table_is_a_test() {
    let tests = numbered(&root());
    for row in table() {
        for name in row.tests.iter().chain(&row.controls) {
            assert!(
                numbers(name).is_empty() || tests.contains(name),
                "{PAGE} names {name} in row T-{}, which is not there",
                row.number
            );
        }
    }
}
