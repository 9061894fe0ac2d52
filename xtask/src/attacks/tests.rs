use super::*;

#[test]
fn rows_are_read_with_their_tests_and_controls() {
    let page = "| T | attack | what stops it | tests | controls |\n|---|---|---|---|---|\n\
                | T-05 | a small cohort | floors | `t05_a`, `t05_b` (engine) | `t05_without_floors` |\n\
                | T-29a | complaints | c_max | `t29a_x` | – |\n";
    let read = rows(page);
    assert_eq!(read.len(), 2);
    assert_eq!(
        (read[0].number.as_str(), read[0].attack.as_str()),
        ("05", "a small cohort")
    );
    assert_eq!(read[0].tests, ["t05_a", "t05_b"]);
    assert_eq!(read[0].controls, ["t05_without_floors"]);
    assert_eq!(
        (read[1].number.as_str(), read[1].controls.len()),
        ("29a", 0)
    );
}

#[test]
fn both_ways_of_printing_a_result_are_read_and_one_failure_counts() {
    let printed = "test tests::t01_a ... ok\ntest t02_b ... FAILED\n\
                   PASS [   0.004s] (1/3) veilsum-engine tests::t03_c\n\
                   FAIL [   0.004s] (2/3) veilsum-tests::attacks t04_d\n\
                   PASS [   0.004s] (3/3) veilsum-secagg tests::t04_d\n";
    let verdicts = verdicts(printed);
    let of = |name: &str| worst(&[name.to_owned()], &verdicts);
    assert_eq!(of("t01_a"), Some(Verdict::Passed));
    assert_eq!(of("t02_b"), Some(Verdict::Failed));
    assert_eq!(of("t03_c"), Some(Verdict::Passed));
    assert_eq!(of("t04_d"), Some(Verdict::Failed));
    assert_eq!(of("t05_e"), Some(Verdict::Missing));
    assert_eq!(worst(&[], &verdicts), None);
}
