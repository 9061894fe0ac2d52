use super::*;

const TEXT: &str = "# cargo xtask instructions --write; rustc 1.95.0\nmask 1000\npack 200\n";

fn found(counts: &[(&str, u64)]) -> Vec<String> {
    let counts = counts
        .iter()
        .map(|(kernel, count)| ((*kernel).to_owned(), *count));
    worse(&read(TEXT).1, &counts.collect())
}

#[test]
fn what_was_written_down_is_read_with_its_compiler() {
    let (compiler, counts) = read(TEXT);
    assert_eq!(compiler, "rustc 1.95.0");
    assert_eq!(
        counts,
        [("mask".to_owned(), 1000), ("pack".to_owned(), 200)]
    );
}

#[test]
fn a_few_instructions_more_or_fewer_are_no_regression() {
    assert!(found(&[("mask", 1030), ("pack", 100)]).is_empty());
}

#[test]
fn a_kernel_that_needs_more_is_named_with_both_numbers() {
    assert_eq!(
        found(&[("mask", 1031), ("pack", 200)]),
        ["mask: 1031, was 1000"]
    );
}

#[test]
fn a_kernel_without_a_number_is_a_fault() {
    assert_eq!(found(&[("fold", 1)]).len(), 1);
}

#[test]
fn another_compiler_is_a_reason_to_compare_nothing() {
    assert!(hindrance("rustc 1.95.0", "rustc 1.96.0").is_some());
}
