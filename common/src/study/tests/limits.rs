use super::*;

/// Changes a line of the sample and expects the message to hold every one of `parts`.
fn check(line: &str, by: &str, parts: &[&str]) {
    let text = refused(&changed(line, by)).to_string();
    for part in parts {
        assert!(text.contains(part), "{by}: `{part}` is not in `{text}`");
    }
}

#[test]
fn two_sites_are_refused_with_the_reason() {
    check(
        "min = 5",
        "min = 2",
        &[
            "rounds.cohort.min is 2",
            "at least 3",
            "read the other's",
            "5 or more",
        ],
    );
    check("min = 5", "min = 1", &["at least 3"]);
    check("min = 5", "min = 0", &["at least 3"]);
}

#[test]
fn rounds_have_bounds() {
    check(
        "count = 60",
        "count = 0",
        &["rounds.count is 0", "1 to 100000"],
    );
    check("count = 60", "count = 100001", &["rounds.count is 100001"]);
    check("count = 60", "count = -1", &["line", "-1"]);
    check(
        "target = 5",
        "target = 4",
        &["target is 4", "min = 5", "to 5 or more"],
    );
    check(
        "target = 5",
        "target = 129",
        &["rounds.cohort.target is 129", "3 to 128"],
    );
    check(
        "join_timeout = \"10m\"",
        "join_timeout = \"99ms\"",
        &["rounds.join_timeout is 99ms", "100ms to 6d", "10m"],
    );
    check(
        "report_timeout = \"10m\"",
        "report_timeout = \"169h\"",
        &["rounds.report_timeout is 169h", "6d"],
    );
    check(
        "report_timeout = \"10m\"",
        "report_timeout = \"6d\"",
        &[
            "rounds.join_timeout + rounds.report_timeout is 10m + 6d = 8650m, at most 6d",
            "more than 7d",
            "shorten one of the two",
        ],
    );
    check(
        "report_timeout = \"10m\"",
        "report_timeout = \"10\"",
        &["line", "`10`", "a number and a unit"],
    );
    check(
        "report_timeout = \"10m\"",
        "report_timeout = 10",
        &["line", "integer `10`"],
    );
}

#[test]
fn masking_parameters_have_bounds() {
    check(
        "value = 1.0",
        "value = 0.0",
        &["secagg.clip.value is 0", "1e-9 to 1e9"],
    );
    check("value = 1.0", "value = -1.0", &["secagg.clip.value is -1"]);
    check("value = 1.0", "value = nan", &["secagg.clip.value is NaN"]);
    check("value = 1.0", "value = inf", &["secagg.clip.value is inf"]);
    check(
        "kind = \"l2\"",
        "kind = \"l1\"",
        &["line", "l1", "`l2`", "`element`"],
    );
    check(
        "bits = 20",
        "bits = 3",
        &["secagg.bits is 3", "4 to 32", "16"],
    );
    check("bits = 20", "bits = 33", &["secagg.bits is 33"]);
    check("bits = 20", "bits = 1000", &["secagg.bits is 1000"]);
    check("max = 2000", "max = 0", &["secagg.weight.max is 0", "1 to"]);
    check(
        "max = 2000",
        &format!("max = {}", MAX_WEIGHT + 1),
        &["secagg.weight.max is"],
    );
    check(
        ", max = 2000",
        "",
        &["secagg.weight.max is missing", "largest number of examples"],
    );
    check(
        "by = \"examples\"",
        "by = \"uniform\"",
        &["secagg.weight.max is 2000", "leave max out"],
    );
    check(
        "by = \"examples\"",
        "by = \"loss\"",
        &["line", "`examples`", "`uniform`"],
    );
    assert!(Study::parse(&changed("value = 1.0", "value = 1")).is_ok());
    assert!(
        Study::parse(&changed(
            "by = \"examples\", max = 2000",
            "by = \"uniform\", max = 1"
        ))
        .is_ok()
    );
}

#[test]
fn names_and_paths_have_bounds() {
    let long = format!("name = \"{}\"", "x".repeat(65));
    for name in [
        "name = \"\"",
        "name = \"a b\"",
        "name = \"../x\"",
        "name = \"é\"",
        "name = \"-x\"",
        &long,
    ] {
        check(
            "name = \"digits-mlp\"",
            name,
            &["name is `", "1 to 64 characters"],
        );
    }
    check(
        "schema = \"veilsum.study/v1\"",
        "schema = \"veilsum.study/v2\"",
        &["`veilsum.study/v2`", "reads `veilsum.study/v1`"],
    );
    check(
        "initial = \"model/init.safetensors\"",
        "initial = \"\"",
        &["model.initial is ``", "safetensors"],
    );
}

#[test]
fn patterns_have_bounds() {
    check(
        "aggregate = [\"*\"]",
        "aggregate = []",
        &["model.aggregate has 0 patterns", "1 to 32"],
    );
    check(
        "aggregate = [\"*\"]",
        "aggregate = [\"\"]",
        &["model.aggregate", "1 to 128 bytes"],
    );
    let many = format!("aggregate = [{}]", "\"*\", ".repeat(MAX_GLOBS + 1));
    check("aggregate = [\"*\"]", &many, &["has 33 patterns"]);
    let long = format!("keep_global = [\"{}\"]", "x".repeat(129));
    check(
        "keep_global = [\"*.num_batches_tracked\"]",
        &long,
        &["model.keep_global", "128 bytes"],
    );
}

#[test]
fn metrics_have_bounds() {
    let line = "loss = { range = [0.0, 10.0] }";
    check(
        line,
        "loss = { range = [1.0, 1.0] }",
        &["metrics.loss.range is [1, 1]", "first must be below"],
    );
    check(
        line,
        "loss = { range = [1.0, 0.0] }",
        &["metrics.loss.range is [1, 0]"],
    );
    check(
        line,
        "loss = { range = [nan, 1.0] }",
        &["metrics.loss.range is [NaN, 1]"],
    );
    check(
        line,
        "loss = { range = [0.0, inf] }",
        &["metrics.loss.range is [0, inf]"],
    );
    check(line, "loss = { range = [0.0, 1e13] }", &["and 1e12"]);
    check(line, "loss = { range = [0.0, 1e-7] }", &["between 1e-6"]);
    check(line, "loss = { range = [0.0] }", &["line"]);
    check(
        line,
        "\"my loss\" = { range = [0.0, 1.0] }",
        &["`my loss` is not a name for a metric"],
    );
    let many: Vec<_> = (0..=MAX_METRICS)
        .map(|k| format!("m{k} = {{ range = [0.0, 1.0] }}"))
        .collect();
    check(
        line,
        &many.join("\n"),
        &["declares 34 metrics", "at most 32"],
    );
    assert!(
        Study::parse(
            &changed(line, "val/loss.x-1_y = { range = [-1, 1] }")
                .replace("val/loss.x-1_y", "\"val/loss.x-1_y\"")
        )
        .is_ok()
    );
}

#[test]
fn a_long_file_is_refused() {
    let error = refused(&format!("{SAMPLE}{}", "#".repeat(MAX_STUDY_BYTES)));
    assert!(
        matches!(error, StudyError::Document(DocumentError::TooLong { .. })),
        "{error}"
    );
}
