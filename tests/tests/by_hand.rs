//! `docs/running-by-hand.md` works as it stands: its commands are run, in order, by bash.
//!
//! Changed is only the port, since another test or a real coordinator may have taken the one in the text.

#![expect(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use veilsum_tests::binary;

const DOCUMENT: &str = include_str!("../../docs/running-by-hand.md");

/// What the fenced blocks for bash say, one after the other.
fn commands(document: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in document.lines() {
        match line {
            "```bash" => inside = true,
            "```" => inside = false,
            line if inside => script.extend([line, "\n"]),
            _ => {}
        }
    }
    script
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn has_python() -> bool {
    let version = Command::new("python3")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

#[test]
fn every_command_of_running_by_hand_works() {
    if !has_python() {
        assert!(
            std::env::var_os("CI").is_none(),
            "python3 is missing, and the trainer of docs/running-by-hand.md is in Python"
        );
        eprintln!("NOT TESTED: docs/running-by-hand.md needs python3, which is not installed here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = commands(DOCUMENT).replace("8443", &free_port().to_string());
    // Whatever happens, no daemon stays; and a command that fails ends the script.
    let script =
        format!("set -euo pipefail\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{script}");
    let path = std::env::join_paths(
        std::iter::once(binary("veilsum").parent().unwrap().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut bash = Command::new("timeout")
        .args(["120", "bash", "-s"])
        .current_dir(dir.path())
        .env("PATH", path.unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    bash.stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let output = bash.wait_with_output().unwrap();
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{}\n{said}\n{complained}\n{}",
        output.status,
        logs(dir.path())
    );

    let accuracy: f64 = said
        .lines()
        .find_map(|line| line.strip_prefix("accuracy "))
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        accuracy > 0.85,
        "the federated model is no good: {accuracy}"
    );
    let run: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("federation/run.json")).unwrap())
            .unwrap();
    assert_eq!(
        (run["ok"].as_bool(), run["data"]["state"].as_str()),
        (Some(true), Some("completed"))
    );
    let history = run["data"]["history"].as_array().unwrap();
    assert_eq!(history.len(), 10);
    assert!(
        history
            .iter()
            .all(|round| round["survivors"] == 3 && round["metrics"]["loss"].is_f64())
    );
    assert!(
        complained.contains("colluding"),
        "three sites are warned of: {complained}"
    );
}

/// The ends of the daemons' logs, for whoever reads why the test failed.
fn logs(dir: &Path) -> String {
    let tail = |name: &str| {
        let text = std::fs::read_to_string(dir.join("federation").join(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!(
            "--- {name}\n{}\n",
            lines[lines.len().saturating_sub(20)..].join("\n")
        )
    };
    [
        "coordinator.log",
        "hospital-a.log",
        "hospital-b.log",
        "hospital-c.log",
    ]
    .map(tail)
    .concat()
}

#[test]
fn only_blocks_for_bash_are_run() {
    let document = "text\n```bash\na\n\nb\n```\n```json\nc\n```\n```bash\nd\n```\n";
    assert_eq!(commands(document), "a\n\nb\nd\n");
}
