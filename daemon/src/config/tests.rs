use std::collections::BTreeMap as Map;
use std::fs;

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Site {
    coordinator: String,
    name: String,
    policy: Policy,
    trainer: Option<Trainer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    min_cohort: u32,
    #[serde(default)]
    metrics: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trainer {
    mode: Mode,
    #[serde(default)]
    environment: Map<String, String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Command,
    Attach,
}

const GOOD: &str = r#"coordinator = "https://coord.example.org:8443"
name = "hospital-a"

[policy]
min_cohort = 5
metrics = ["loss"]

[trainer]
mode = "command"
"#;

fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Loaded<Site>, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("site.toml");
    fs::write(&path, text).unwrap();
    load(
        &path,
        ENV_PREFIX,
        variables
            .iter()
            .map(|(name, value)| (name.into(), value.into())),
    )
}

fn refusal(text: &str, variables: &[(&str, &str)]) -> String {
    let message = load_text(text, variables).unwrap_err().to_string();
    match message.split_once("site.toml") {
        Some((_, rest)) => format!("site.toml{rest}"),
        None => message,
    }
}

#[test]
fn a_file_is_read_and_each_value_knows_its_place() {
    let loaded = load_text(GOOD, &[]).unwrap();
    assert_eq!(loaded.raw.coordinator, "https://coord.example.org:8443");
    assert_eq!(loaded.raw.name, "hospital-a");
    assert_eq!(loaded.raw.policy.min_cohort, 5);
    let place = |key: &str| {
        loaded
            .origin(key)
            .to_string()
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(place("coordinator"), "site.toml:1:1");
    assert_eq!(place("policy"), "site.toml:4:2");
    assert_eq!(place("policy.min_cohort"), "site.toml:5:1");
    assert_eq!(
        place("trainer.timeout"),
        "site.toml (not set there: this is the default)"
    );
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_a_suggestion() {
    let text = GOOD.replace("min_cohort = 5", "  min_cohrt = 5");
    assert_eq!(
        refusal(&text, &[]),
        "site.toml:5:3: unknown key `min_cohrt`; did you mean `min_cohort`?; known here: min_cohort, metrics"
    );
    let error = load_text(&text, &[]).unwrap_err();
    assert!(matches!(
        error,
        ConfigError::Unknown {
            kind: UnknownKind::Key,
            ..
        }
    ));
}

#[test]
fn an_unknown_key_that_resembles_nothing_gets_no_suggestion() {
    let text = format!("zzz = 1\n{GOOD}");
    assert_eq!(
        refusal(&text, &[]),
        "site.toml:1:1: unknown key `zzz`; known here: coordinator, name, policy, trainer"
    );
}

#[test]
fn an_unknown_value_of_a_choice_is_refused_like_an_unknown_key() {
    let text = GOOD.replace("\"command\"", "\"comand\"");
    assert_eq!(
        refusal(&text, &[]),
        "site.toml:9:8: unknown value `comand`; did you mean `command`?; known here: command, attach"
    );
}

#[test]
fn a_wrong_type_is_refused_with_its_place() {
    let text = GOOD.replace("min_cohort = 5", "min_cohort = \"five\"");
    assert_eq!(
        refusal(&text, &[]),
        "site.toml:5:14: invalid type: string \"five\", expected u32"
    );
}

#[test]
fn a_missing_key_names_its_table_and_one_of_the_outermost_table_the_file() {
    let text = GOOD.replace("min_cohort = 5\n", "");
    assert_eq!(
        refusal(&text, &[]),
        "site.toml:4:1: missing field `min_cohort`"
    );
    let text = GOOD.replace("name = \"hospital-a\"\n", "");
    assert_eq!(refusal(&text, &[]), "site.toml: missing field `name`");
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_place() {
    let message = refusal("name = \"a\"\nname 5\n", &[]);
    assert!(message.starts_with("site.toml:2:"), "{message}");
    assert!(message.contains("not valid TOML"), "{message}");
    let message = refusal("name = \"a\"\nname = \"b\"\n", &[]);
    assert!(
        message.starts_with("site.toml:2:1: not valid TOML: duplicate key"),
        "{message}"
    );
}

#[test]
fn columns_count_characters_not_bytes() {
    let text = GOOD.replace("metrics = [\"loss\"]", "metrics = [\"öäü\", 5]");
    assert_eq!(
        refusal(&text, &[]),
        "site.toml:6:19: invalid type: integer `5`, expected a string"
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let variables = [
        ("VEILSUM__NAME", "hospital-b"),
        ("VEILSUM_POLICY__MIN_COHORT", "7"),
        ("VEILSUM_POLICY__METRICS", r#"["loss", "accuracy"]"#),
        ("VEILSUM_TRAINER__ENVIRONMENT__SEED", "\"42\""),
    ];
    let loaded = load_text(GOOD, &variables).unwrap();
    assert_eq!(loaded.raw.name, "hospital-b");
    assert_eq!(loaded.raw.policy.min_cohort, 7);
    assert_eq!(loaded.raw.policy.metrics, ["loss", "accuracy"]);
    let trainer = loaded.raw.trainer.as_ref().unwrap();
    assert_eq!(trainer.mode, Mode::Command);
    assert_eq!(trainer.environment["seed"], "42");
    assert_eq!(
        loaded.origin("name").to_string(),
        "environment variable VEILSUM__NAME"
    );
    assert_eq!(
        loaded.origin("policy.min_cohort").to_string(),
        "environment variable VEILSUM_POLICY__MIN_COHORT"
    );
}

#[test]
fn the_environment_may_set_what_the_file_leaves_out() {
    let text = GOOD
        .replace("name = \"hospital-a\"\n", "")
        .replace("[trainer]\nmode = \"command\"\n", "");
    let loaded = load_text(
        &text,
        &[
            ("VEILSUM__NAME", "hospital-a"),
            ("VEILSUM_TRAINER__MODE", "attach"),
        ],
    )
    .unwrap();
    assert_eq!(loaded.raw.name, "hospital-a");
    assert_eq!(loaded.raw.trainer.unwrap().mode, Mode::Attach);
}

#[test]
fn a_bad_value_in_the_environment_is_blamed_on_the_variable() {
    assert_eq!(
        refusal(GOOD, &[("VEILSUM_POLICY__MIN_COHORT", "many")]),
        "environment variable VEILSUM_POLICY__MIN_COHORT: invalid type: string \"many\", expected u32"
    );
    assert_eq!(
        refusal(GOOD, &[("VEILSUM_POLICY__METRICS", r#"["loss", 5]"#)]),
        "environment variable VEILSUM_POLICY__METRICS: invalid type: integer `5`, expected a string"
    );
    assert_eq!(
        refusal(
            GOOD,
            &[("VEILSUM__AAA", "1"), ("VEILSUM_POLICY__MIN_COHRT", "4")]
        ),
        "environment variable VEILSUM__AAA: unknown key `aaa`; known here: coordinator, name, policy, trainer"
    );
    assert_eq!(
        refusal(GOOD, &[("VEILSUM_POLICY__MIN_COHRT", "4")]),
        "environment variable VEILSUM_POLICY__MIN_COHRT: unknown key `min_cohrt`; did you mean `min_cohort`?; \
         known here: min_cohort, metrics"
    );
}

#[test]
fn a_variable_sets_one_key_whatever_it_holds() {
    let name = |value| {
        load_text(GOOD, &[("VEILSUM__NAME", value)])
            .unwrap()
            .raw
            .name
    };
    assert_eq!(
        name("a\"\ncoordinator = \"evil"),
        "a\"\ncoordinator = \"evil"
    );
    assert_eq!(
        name("\"a\"\ncoordinator = \"evil\""),
        "\"a\"\ncoordinator = \"evil\""
    );
    assert_eq!(name("\"a\""), "a");
    assert_eq!(name(""), "");
    assert_eq!(name("10m"), "10m");
    assert_eq!(name("127.0.0.1:8443"), "127.0.0.1:8443");
}

#[test]
fn a_variable_that_names_no_place_is_refused() {
    assert!(matches!(
        load_text(GOOD, &[("VEILSUM_POLICY__", "4")]),
        Err(ConfigError::VariableName { .. })
    ));
    assert!(matches!(
        load_text(GOOD, &[("VEILSUM_NAME__FIRST", "4")]),
        Err(ConfigError::VariableThroughValue { .. })
    ));
}

#[test]
fn variables_without_a_double_underscore_are_not_about_configuration() {
    load_text(
        GOOD,
        &[
            ("VEILSUM_LOG", "debug"),
            ("VEILSUM_WORKDIR", "/tmp"),
            ("OTHER_POLICY__MIN_COHORT", "1"),
        ],
    )
    .unwrap();
}

#[test]
fn a_missing_file_and_one_that_is_not_text_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.toml");
    let error = load::<Site>(&path, ENV_PREFIX, []).unwrap_err();
    assert!(error.to_string().contains("none.toml"), "{error}");
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(
        load::<Site>(&path, ENV_PREFIX, []),
        Err(ConfigError::NotUtf8 { .. })
    ));
}
