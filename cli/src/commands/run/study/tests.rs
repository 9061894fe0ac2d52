use super::*;

const STUDY: &str = r#"
schema = "veilsum.study/v1"
name = "small"
[rounds]
count = 1
[secagg]
clip = { kind = "l2", value = 1.0 }
weight = { by = "uniform" }
[model]
initial = "init.safetensors"
[config]
lr = 0.1
optimiser = { kind = "sgd" }
"#;

fn study(overrides: &[&str]) -> Result<Study, Error> {
    let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
    Ok(Study::parse(&overridden(STUDY, &overrides)?).unwrap())
}

#[test]
fn an_override_replaces_or_adds_keys_of_the_config_table_only() {
    let study = study(&["lr=0.05", "epochs=3", "optimiser.momentum=0.9"]).unwrap();
    let expected =
        serde_json::json!({"lr": 0.05, "epochs": 3, "optimiser": {"kind": "sgd", "momentum": 0.9}});
    assert_eq!(serde_json::Value::from(study.config().clone()), expected);
    assert_eq!(study.name(), "small");
}

#[test]
fn a_key_below_a_value_is_refused_by_name() {
    let error = study(&["lr.start=1"]).unwrap_err().to_string();
    assert!(error.contains("`lr` is a value"), "{error}");
}

#[test]
fn the_model_is_looked_for_beside_the_study() {
    assert_eq!(
        beside(Path::new("a/study.toml"), "m/init.safetensors"),
        Path::new("a/m/init.safetensors")
    );
    assert_eq!(
        beside(Path::new("study.toml"), "init.safetensors"),
        Path::new("init.safetensors")
    );
}

#[test]
fn a_study_with_an_unknown_key_is_refused_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("study.toml");
    std::fs::write(&path, STUDY.replace("count = 1", "counts = 1")).unwrap();
    let error = read(&path, &[]).map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("study.toml") && error.contains("counts"),
        "{error}"
    );
}
