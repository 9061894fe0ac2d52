//! `veilsum demo`, whole: real processes, real TLS, real masks, and nothing left behind.

#![expect(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use veilsum_tests::binary;

fn demo(out: &Path, flags: &str) -> Command {
    let mut command = Command::new(binary("veilsum"));
    command
        .args(["demo", "--json", "--out"])
        .arg(out)
        .args(flags.split_whitespace())
        .stdin(Stdio::null());
    command
}

fn envelope(output: &Output) -> Value {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        stdout.lines().count(),
        1,
        "{stdout}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(&stdout).unwrap()
}

#[track_caller]
fn data(output: &Output) -> Value {
    let mut envelope = envelope(output);
    assert!(
        output.status.success(),
        "{envelope}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    envelope["data"].take()
}

#[track_caller]
fn refused(output: &Output, code: &str) -> Value {
    let mut envelope = envelope(output);
    assert_eq!(
        (output.status.code(), envelope["error"]["code"].as_str()),
        (Some(4), Some(code)),
        "{envelope}"
    );
    envelope["error"].take()
}

/// Names of what is in a directory.
fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn five_sites_train_one_model_and_everything_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let output = demo(dir.path(), "--rounds 3").output().unwrap();
    let data = data(&output);
    let number = |key: &str| {
        data[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key} of {data}"))
    };
    for key in ["federated_accuracy", "pooled_accuracy"] {
        assert!((0.0..=1.0).contains(&number(key)), "{key}");
    }
    let alone = data["alone_accuracy"].as_array().unwrap();
    assert_eq!(alone.len(), 5);
    assert!(
        alone
            .iter()
            .all(|accuracy| accuracy.as_f64().unwrap() < 0.25),
        "two of ten classes: {alone:?}"
    );
    assert!(
        number("federated_accuracy") > 0.3,
        "three rounds know more than two classes"
    );
    assert_eq!(
        (number("rounds"), data["masked"].as_bool()),
        (3.0, Some(true))
    );
    assert_eq!(
        data["test_rows"].as_array().unwrap().len(),
        359,
        "a fifth of 1797 rows, by class"
    );
    let beside = number("round_ms_median") - number("trainer_ms_median");
    assert!(number("seconds") > 0.0 && number("trainer_ms_median") > 0.0 && beside > 0.0);
    assert!(number("overhead_ms_per_round_median") > 0.0);
    // 2410 values of 23 bits are 6929 bytes; the rest is metadata and signatures.
    assert!(
        (6929.0..12_000.0).contains(&number("bytes_up_per_site_round")),
        "{}",
        number("bytes_up_per_site_round")
    );
    assert!(number("participant_rss_mb_max") > 1.0 && number("coordinator_rss_mb_max") > 1.0);

    let model = Path::new(data["model"].as_str().unwrap()).to_owned();
    assert!(fs::metadata(&model).unwrap().len() > 2410 * 4);
    assert_eq!(
        entries(dir.path()),
        [
            ".veilsum-demo",
            "digits.safetensors",
            "logs",
            "metrics.jsonl"
        ]
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("metrics.jsonl"))
            .unwrap()
            .lines()
            .count(),
        3
    );
    assert_eq!(entries(&dir.path().join("logs")).len(), 6);
}

#[test]
fn a_site_that_dies_after_its_commit_in_each_round_is_replaced_by_its_own_journal() {
    let dir = tempfile::tempdir().unwrap();
    let output = demo(
        dir.path(),
        "--rounds 3 --drop 0.2 --keep --data breast-cancer",
    )
    .output()
    .unwrap();
    let data = data(&output);
    assert_eq!(
        (data["rounds"].as_u64(), data["dropped_uploads"].as_u64()),
        (Some(3), Some(3))
    );
    assert!(data["federated_accuracy"].as_f64().unwrap() > 0.8);
    let rounds = fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
    for round in rounds
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
    {
        assert_eq!(
            (round["cohort"].as_u64(), round["survivors"].as_u64()),
            (Some(5), Some(4)),
            "{round}"
        );
    }
    // Each victim trained in the round in which it died, and was back for the next one.
    let log = fs::read_to_string(dir.path().join("logs/site-1.jsonl")).unwrap();
    assert_eq!(log.matches("participant ready").count(), 2);
    assert_eq!(log.matches("trainer finished").count(), 3);
    assert!(
        dir.path().join("site-1/site.toml").exists() && dir.path().join("study.toml").exists(),
        "kept"
    );
}

#[test]
fn the_comparison_without_masks_says_that_it_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(&demo(dir.path(), "--plain --rounds 3").output().unwrap());
    assert_eq!(
        (data["masked"].as_bool(), data["rounds"].as_u64()),
        (Some(false), Some(3))
    );
    assert!(data["federated_accuracy"].as_f64().unwrap() > 0.3);
    assert!(
        data["participant_rss_mb_max"].is_null(),
        "there is no participant"
    );
    assert_eq!(
        entries(dir.path()),
        [".veilsum-demo", "digits.safetensors", "logs"]
    );
}

/// A vector of several parts, the last of them short.
#[test]
fn a_synthetic_model_of_some_size_is_summed_exactly_in_every_parameter() {
    let dir = tempfile::tempdir().unwrap();
    let flags = "--params 9000000 --sites 3 --rounds 2";
    let output = demo(dir.path(), flags).output().unwrap();
    let data = data(&output);
    assert_eq!(data["exact"], true);
    assert_eq!(data["rounds"], 2);
    // 16 bits and two for the sum of three; header, digests and trailer beside them
    let sent = data["bytes_up_per_site_round"].as_f64().unwrap();
    let floor = 9e6 * 18.0 / 8.0;
    assert!((floor..1.01 * floor).contains(&sent), "{data}");
    for role in ["participant", "coordinator"] {
        let peak = data[format!("{role}_peak_anonymous_mb")].as_f64().unwrap();
        assert!(peak > 0.0, "{data}");
    }
    assert_eq!(
        entries(dir.path()),
        [".veilsum-demo", "logs", "synthetic.safetensors"]
    );
}

#[test]
fn three_sites_are_warned_of_and_two_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let three = demo(dir.path(), "--sites 3 --rounds 1").output().unwrap();
    assert_eq!(data(&three)["alone_accuracy"].as_array().unwrap().len(), 3);
    assert!(String::from_utf8_lossy(&three.stderr).contains("warning"));
    let two = refused(
        &demo(dir.path(), "--sites 2").output().unwrap(),
        "DEMO_SITES",
    );
    assert!(
        two["message"]
            .as_str()
            .unwrap()
            .contains("subtract its own update"),
        "{two}"
    );
}

#[test]
fn more_dropouts_than_the_threshold_survives_are_refused_with_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let error = refused(
        &demo(dir.path(), "--drop 0.4").output().unwrap(),
        "DEMO_DROP",
    );
    assert_eq!(error["details"]["limit"], 1);
    assert_eq!(entries(dir.path()), [""; 0], "nothing was made");
}

#[test]
fn a_directory_with_other_peoples_files_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    refused(
        &demo(dir.path(), "--plain --rounds 1").output().unwrap(),
        "DEMO_DIRECTORY",
    );
    assert_eq!(entries(dir.path()), ["thesis.tex"]);
}

/// Process ids of the daemons of a demo, from the command lines that name its directory.
fn daemons(out: &Path) -> Vec<Pid> {
    let processes = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok());
    let ours = processes.filter(|pid| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains(out.to_str().unwrap()) && line.contains("--die-with-parent")
    });
    ours.filter_map(Pid::from_raw).collect()
}

/// Waits for what must come within a minute.
fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[track_caller]
fn a_signal_leaves_nothing(signal: Signal, exit: Option<i32>) {
    let dir = tempfile::tempdir().unwrap();
    let mut child = demo(dir.path(), "--rounds 5000")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("six daemons run", || daemons(dir.path()).len() == 6);
    let daemons = daemons(dir.path());
    kill_process(Pid::from_child(&child), signal).unwrap();
    assert_eq!(child.wait().unwrap().code(), exit);
    until("no daemon is left", || {
        daemons.iter().all(|pid| test_kill_process(*pid).is_err())
    });
    let mut said = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(said.contains("DEMO_INTERRUPTED"), exit.is_some(), "{said}");
}

#[test]
fn an_interrupted_demo_ends_its_children() {
    a_signal_leaves_nothing(Signal::INT, Some(1));
}

#[test]
fn a_killed_demo_takes_its_children_with_it() {
    a_signal_leaves_nothing(Signal::KILL, None);
}
