use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::data::parse;

/// A work directory as the participant makes it.
struct Work {
    dir: TempDir,
    env: HookEnv,
}

fn work(assignment: &Value, model: &[u8]) -> Work {
    let dir = tempfile::tempdir().unwrap();
    let at = |name| dir.path().join(name);
    let env = HookEnv {
        assignment: at("assignment.json"),
        model_in: at("model.safetensors"),
        update_out: at("update.safetensors"),
        result_out: at("result.json"),
    };
    fs::write(&env.assignment, assignment.to_string()).unwrap();
    fs::write(&env.model_in, model).unwrap();
    Work { dir, env }
}

fn assignment() -> Value {
    json!({
        "schema": "veilsum.assignment/v1", "kind": "train", "run_id": "run_x", "round": 3, "rounds": 60, "deadline": "later",
        "config": {"local_epochs": 2, "lr": 0.1, "batch_size": 2, "seed": 7},
        "model": "model.safetensors",
        "tensors": [{"name": "layer1.weight", "dtype": "F32", "shape": [2, 1]}, {"name": "layer1.bias", "dtype": "F32", "shape": [2]}],
        "metrics": ["loss", "accuracy"],
    })
}

fn with(key: &str, value: Value) -> Value {
    let mut changed = assignment();
    changed[key] = value;
    changed
}

fn model() -> Model {
    Model::init(&[1, 2], 7)
}

fn model_bytes() -> Vec<u8> {
    model().to_safetensors(FileKind::Model)
}

fn data() -> Dataset {
    parse("a,label\n-1,0\n1,1\n2,1\n").unwrap()
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn files_in_files_out() {
    let work = work(&assignment(), &model_bytes());
    run_hook(&data(), &work.env).unwrap();

    let mut expected = model();
    let config = TrainConfig {
        local_epochs: 2,
        lr: 0.1,
        batch_size: 2,
        seed: 7,
    };
    expected.train(&data(), &config, 3).unwrap();
    let update = fs::read(&work.env.update_out).unwrap();
    assert_eq!(update, expected.to_safetensors(FileKind::Update));

    let score = model().score(&data()).unwrap();
    let metrics = json!({"loss": score.loss, "accuracy": score.accuracy});
    let result = read_json(&work.env.result_out);
    assert_eq!(result, json!({"num_examples": 3, "metrics": metrics}));
}

#[test]
fn nothing_but_the_two_files_is_left_and_the_model_is_untouched() {
    let work = work(&assignment(), &model_bytes());
    run_hook(&data(), &work.env).unwrap();
    let mut names: Vec<OsString> = fs::read_dir(work.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    let expected = [
        "assignment.json",
        "model.safetensors",
        "result.json",
        "update.safetensors",
    ];
    assert_eq!(names, expected);
    assert_eq!(fs::read(&work.env.model_in).unwrap(), model_bytes());
}

#[test]
fn the_same_assignment_gives_the_same_bytes_and_another_round_others() {
    let update = |assignment: &Value| {
        let work = work(assignment, &model_bytes());
        run_hook(&data(), &work.env).unwrap();
        fs::read(&work.env.update_out).unwrap()
    };
    assert_eq!(update(&assignment()), update(&assignment()));
    assert_ne!(update(&assignment()), update(&with("round", json!(4))));
}

#[test]
fn only_the_metrics_that_the_study_declares_are_reported() {
    let work = work(&with("metrics", json!(["loss", "auc"])), &model_bytes());
    run_hook(&data(), &work.env).unwrap();
    let result = read_json(&work.env.result_out);
    let names: Vec<&String> = result["metrics"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["loss"]);
}

#[test]
fn a_refused_assignment_has_its_exit_code_and_leaves_no_update() {
    let check = |assignment: Value, model: &[u8], code, part: &str| {
        let work = work(&assignment, model);
        let error = run_hook(&data(), &work.env).unwrap_err();
        assert_eq!(error.exit_code(), code, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(!work.env.update_out.exists() && !work.env.result_out.exists());
    };
    let good = model_bytes();
    check(json!("no"), &good, 78, "not understood");
    check(with("round", json!(-1)), &good, 78, "not understood");
    check(
        with("schema", json!("veilsum.assignment/v2")),
        &good,
        78,
        "v2",
    );
    check(with("kind", json!("evaluate")), &good, 75, "`evaluate`");
    let config = |key: &str, value: Value| {
        let mut changed = assignment();
        changed["config"][key] = value;
        changed
    };
    check(with("config", json!({})), &good, 78, "local_epochs");
    check(config("momentum", json!(0.9)), &good, 78, "momentum");
    check(config("lr", json!(0)), &good, 78, "lr is 0");
    check(assignment(), b"garbage", 78, "safetensors");
    let wide = Model::init(&[2, 2], 0).to_safetensors(FileKind::Model);
    check(assignment(), &wide, 78, "1 features");
}

#[test]
fn a_model_that_is_not_finite_fails_this_round_only() {
    let mut bytes = model_bytes();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let work = work(&assignment(), &bytes);
    assert_eq!(run_hook(&data(), &work.env).unwrap_err().exit_code(), 1);
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let mut work = work(&assignment(), &model_bytes());
    work.env.update_out = work.dir.path().join("missing").join("update.safetensors");
    let error = run_hook(&data(), &work.env).unwrap_err();
    assert!(
        error.to_string().contains("missing/update.safetensors"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 1);
    assert!(!work.env.result_out.exists());

    fs::remove_file(&work.env.model_in).unwrap();
    let error = run_hook(&data(), &work.env).unwrap_err();
    assert!(error.to_string().contains("model.safetensors"), "{error}");
}

#[test]
fn the_paths_come_from_the_variables_of_the_contract() {
    let all = |name: &str| Some(OsString::from(format!("/w/{name}")));
    let env = HookEnv::from_lookup(all).unwrap();
    assert_eq!(env.assignment, Path::new("/w/VEILSUM_ASSIGNMENT"));
    assert_eq!(env.model_in, Path::new("/w/VEILSUM_MODEL_IN"));
    assert_eq!(env.update_out, Path::new("/w/VEILSUM_UPDATE_OUT"));
    assert_eq!(env.result_out, Path::new("/w/VEILSUM_RESULT_OUT"));
    for lacking in ["VEILSUM_ASSIGNMENT", "VEILSUM_RESULT_OUT"] {
        let some = |name: &str| all(name).filter(|_| name != lacking);
        let error = HookEnv::from_lookup(some).unwrap_err();
        assert!(error.to_string().starts_with(lacking), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
}
