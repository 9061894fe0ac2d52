use proptest::prelude::*;

use super::*;
use crate::document::DocumentError;
use crate::limits::{MAX_GLOBS, MAX_METRICS, MAX_WEIGHT};

mod limits;

const SAMPLE: &str = include_str!("../../../docs/config/study.toml");

/// The shortest study there is.
const SHORT: &str = r#"
schema = "veilsum.study/v1"
name = "short"
rounds = { count = 1 }
secagg = { clip = { kind = "element", value = 0.5 }, weight = { by = "uniform" } }
model = { initial = "m.safetensors" }
"#;

fn refused(text: &str) -> StudyError {
    match Study::parse(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error,
    }
}

/// The sample with `part` of one of its lines replaced; comments are left alone.
fn changed(part: &str, by: &str) -> String {
    let is_it = |line: &&str| !line.starts_with('#') && line.contains(part);
    let line = SAMPLE
        .lines()
        .find(is_it)
        .unwrap_or_else(|| panic!("the sample has no `{part}`"));
    SAMPLE.replacen(
        &format!("\n{line}\n"),
        &format!("\n{}\n", line.replacen(part, by, 1)),
        1,
    )
}

#[test]
fn the_sample_parses() {
    let study = Study::parse(SAMPLE).unwrap();
    assert_eq!(study.name(), "digits-mlp");
    let minutes = Span::from_secs(600);
    let expected = Rounds {
        count: 60,
        cohort: Cohort { min: 5, target: 5 },
        join_timeout: minutes,
        report_timeout: minutes,
    };
    assert_eq!(*study.rounds(), expected);
    let secagg = study.secagg();
    assert_eq!(
        secagg.clip,
        Clip {
            kind: ClipKind::L2,
            value: 1.0
        }
    );
    assert_eq!(
        (secagg.bits, secagg.weight),
        (20, Weighting::Examples { max: 2000 })
    );
    assert_eq!(secagg.prg, Prg::Aes256Ctr);
    assert_eq!(study.model().initial, "model/init.safetensors");
    assert_eq!(study.model().keep_global, ["*.num_batches_tracked"]);
    let loss = MetricSpec {
        name: "loss".to_owned(),
        lo: 0.0,
        hi: 10.0,
    };
    assert_eq!(study.metrics()[1], loss);
    assert_eq!(study.strategy(), ServerStep::FedAvg);
    assert_eq!(study.config()["local_epochs"], 2);
    assert_eq!(study.warnings(), []);
}

#[test]
fn the_sample_names_the_true_defaults_and_every_key() {
    let study = Study::parse(SHORT).unwrap();
    for (key, default) in [
        ("\"min\"", "Default: min = 5, target = min"),
        (
            "\"join_timeout\":\"10m\"",
            "# Default: 10m; 100ms to 6d, and together with report_timeout",
        ),
        (
            "\"report_timeout\":\"10m\"",
            "# Default: 10m; 100ms to 6d. How long a committed",
        ),
        ("\"bits\":16", "Default: 16; 4 to 32"),
        ("\"aggregate\":[\"*\"]", "Default: [\"*\"]"),
        ("\"keep_global\":[]", "Default: []."),
        ("\"kind\":\"fedavg\"", "Default: \"fedavg\""),
    ] {
        let json = serde_json::to_string(&study).unwrap();
        assert!(json.contains(key), "{key} in {json}");
        assert!(SAMPLE.contains(default), "{default}");
    }
    assert_eq!(study.secagg().prg.name(), "aes-256-ctr");
    assert!(SAMPLE.contains("Default: \"aes-256-ctr\""));
    let (full, json) = (Study::parse(SAMPLE).unwrap(), |s| {
        serde_json::to_value(s).unwrap()
    });
    for (table, keys) in json(&full).as_object().unwrap() {
        assert!(SAMPLE.contains(table.as_str()), "{table}");
        for key in keys.as_object().into_iter().flatten().map(|(key, _)| key) {
            assert!(SAMPLE.contains(&format!("{key} =")), "{table}.{key}");
        }
    }
}

#[test]
fn defaults_are_filled_in() {
    let study = Study::parse(SHORT).unwrap();
    assert_eq!(study.rounds().cohort, Cohort { min: 5, target: 5 });
    assert_eq!(study.secagg().bits, 16);
    assert_eq!(
        (
            study.secagg().weight.max(),
            study.secagg().weight.weight(77)
        ),
        (1, 1)
    );
    assert_eq!(Weighting::Examples { max: 9 }.weight(77), 77);
    assert!(study.metrics().is_empty() && study.config().is_empty());
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_likely_one() {
    let error = refused(&changed(
        "join_timeout = \"10m\"",
        "joint_timeout = \"10m\"",
    ));
    let StudyError::Document(DocumentError::UnknownKey {
        line,
        column,
        key,
        suggestion,
        ..
    }) = &error
    else {
        panic!("{error}")
    };
    let expected = SAMPLE
        .lines()
        .position(|line| line.starts_with("join_timeout"))
        .unwrap()
        + 1;
    assert_eq!(
        (*line, *column, key.as_str()),
        (expected, 1, "joint_timeout")
    );
    assert_eq!(suggestion.as_deref(), Some("join_timeout"));
    for (line, wrong) in [
        ("count = 60", "count = 60\nthreshold = 4"),
        ("bits = 20", "bits = 20\nrequired = false"),
        ("kind = \"fedavg\"", "kind = \"fedavg\"\nlr = 1.0"),
        ("aggregate = [\"*\"]", "aggregat = [\"*\"]"),
        (
            "loss = { range = [0.0, 10.0] }",
            "loss = { rnage = [0.0, 10.0] }",
        ),
        ("kind = \"l2\"", "kind = \"l2\", norm = 3"),
        ("by = \"examples\"", "by = \"examples\", min = 1"),
        ("min = 5", "min = 5, max = 5"),
        ("[config]", "[privacy]\nepsilon = 8.0\n[config]"),
    ] {
        let error = refused(&changed(line, wrong));
        assert!(
            matches!(
                error,
                StudyError::Document(DocumentError::UnknownKey { .. })
            ),
            "{wrong}: {error}"
        );
    }
}

#[test]
fn a_missing_key_is_named() {
    for (line, key) in [
        ("count = 60", "count"),
        ("name = \"digits-mlp\"", "name"),
        ("initial = \"model/init.safetensors\"", "initial"),
        ("clip = { kind = \"l2\", value = 1.0 }", "clip"),
        ("weight = { by = \"examples\", max = 2000 }", "weight"),
    ] {
        let text = refused(&changed(line, "")).to_string();
        assert!(text.contains(&format!("missing field `{key}`")), "{text}");
    }
}

#[test]
fn other_server_steps_are_not_available() {
    for kind in ["fedadam", "fedprox", "krum", "fedavgm", ""] {
        let text =
            refused(&changed("kind = \"fedavg\"", &format!("kind = \"{kind}\""))).to_string();
        assert!(text.contains("not available in this version"), "{text}");
        assert!(text.contains("fedavg"), "{text}");
    }
    let text = refused(&changed("kind = \"fedavg\"", "kind = \"FedAvg\"")).to_string();
    assert!(text.contains("did you mean \"fedavg\""), "{text}");
}

/// Sites of a version that does not know the key read a study that does not use it as they always did.
#[test]
fn the_usual_cipher_of_masks_is_not_written_out_and_another_is() {
    let line = "prg = \"aes-256-ctr\"";
    let json = |text: &str| serde_json::to_string(&Study::parse(text).unwrap()).unwrap();
    assert_eq!(json(SAMPLE), json(&changed(line, "")));
    assert!(!json(SAMPLE).contains("prg"));
    let other = changed(line, "prg = \"chacha20\"");
    assert_eq!(Study::parse(&other).unwrap().secagg().prg, Prg::ChaCha20);
    assert!(json(&other).contains(r#""prg":"chacha20""#));
}

#[test]
fn masks_have_one_of_two_ciphers() {
    for wrong in ["\"none\"", "\"aes\"", "\"ChaCha20\"", "\"\"", "0", "false"] {
        let text = changed("prg = \"aes-256-ctr\"", &format!("prg = {wrong}"));
        let error = refused(&text);
        assert!(matches!(error, StudyError::Document(_)), "{error}");
    }
    let text = refused(&changed("prg = \"aes-256-ctr\"", "prg = \"none\"")).to_string();
    assert!(
        text.contains("expected `aes-256-ctr` or `chacha20`"),
        "{text}"
    );
}

#[test]
fn config_is_json_or_refused() {
    let with = |line: &str| changed("local_epochs = 2", line);
    let study = Study::parse(&with("lr = 0.1\nnested = { deep = [1, \"two\", true] }")).unwrap();
    let json = serde_json::to_string(study.config()).unwrap();
    assert_eq!(json, r#"{"lr":0.1,"nested":{"deep":[1,"two",true]}}"#);
    let error = refused(&with("a = { b = [1.0, nan] }"));
    assert!(
        matches!(&error, StudyError::ConfigNotFinite { key, .. } if key == "config.a.b[1]"),
        "{error}"
    );
    assert!(matches!(
        refused(&with("a = -inf")),
        StudyError::ConfigNotFinite { .. }
    ));
    let error = refused(&with("start = 2026-01-01"));
    assert!(
        matches!(&error, StudyError::ConfigDate { key } if key == "config.start"),
        "{error}"
    );
}

#[test]
fn a_cohort_of_three_or_four_is_allowed_with_a_warning() {
    for (min, warned) in [(3, true), (4, true), (5, false)] {
        let study = Study::parse(&changed("min = 5", &format!("min = {min}"))).unwrap();
        assert_eq!(!study.warnings().is_empty(), warned);
        for warning in study.warnings() {
            assert!(warning.to_string().contains("min_cohort = 3"), "{warning}");
        }
    }
}

#[test]
fn the_digest_depends_on_meaning_and_on_nothing_else() {
    let digest = |text: &str| Study::parse(text).unwrap().digest();
    let comments = SAMPLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(digest(SAMPLE), digest(&comments));
    assert_eq!(digest(SAMPLE), digest(&changed("\"10m\"", "\"600s\"")));
    assert_eq!(digest(SAMPLE), digest(&changed("kind = \"fedavg\"", "")));
    let mut all: Vec<_> = [
        ("count = 60", "count = 61"),
        ("target = 5", "target = 6"),
        ("join_timeout = \"10m\"", "join_timeout = \"11m\""),
        ("report_timeout = \"10m\"", "report_timeout = \"11m\""),
        ("value = 1.0", "value = 1.0000000000000002"),
        ("kind = \"l2\"", "kind = \"element\""),
        ("bits = 20", "bits = 16"),
        ("max = 2000", "max = 2001"),
        ("prg = \"aes-256-ctr\"", "prg = \"chacha20\""),
        ("aggregate = [\"*\"]", "aggregate = [\"**\"]"),
        (
            "keep_global = [\"*.num_batches_tracked\"]",
            "keep_global = []",
        ),
        ("range = [0.0, 10.0]", "range = [0.0, 9.0]"),
        ("local_epochs = 2", "local_epochs = 3"),
        ("local_epochs = 2", "local_epochs = 2.0"),
    ]
    .map(|(line, by)| digest(&changed(line, by)))
    .into();
    all.push(digest(SAMPLE));
    all.sort();
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(line in "\\PC{0,60}") {
        let _ = Study::parse(&line);
        let _ = Study::parse(&changed("local_epochs = 2", &line));
        let _ = Study::parse(&changed("bits = 20", &line));
    }
}
