use std::fs;

use tempfile::tempdir;
use veilsum_common::time::Timestamp;

use super::*;
use crate::Identity;
use crate::gate::Action;

fn name(seed: u8) -> Fingerprint {
    Identity::draw(&mut |out: &mut [u8]| out.fill(seed)).fingerprint()
}

fn request(identities: Vec<Fingerprint>) -> Request {
    Request {
        action: Action::Open,
        payload: "00".repeat(16),
        identities,
        readers: Vec::new(),
        purpose: Some("training".to_owned()),
        at: Timestamp(7),
    }
}

#[test]
fn only_configured_identities_are_permitted() {
    let allow = AllowIdentities(BTreeSet::from([name(1), name(2)]));
    for (identities, expected) in [
        (vec![name(1)], Decision::Permit),
        (vec![name(2), name(1)], Decision::Permit),
        (vec![name(3)], Decision::Deny),
        (vec![name(1), name(3)], Decision::Deny),
        (vec![], Decision::Deny),
    ] {
        assert_eq!(allow.decide(&request(identities)), expected);
    }
}

#[test]
fn a_log_goes_on_where_it_was() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("access.jsonl");
    for expected in 0..3 {
        let mut log = LocalLog::open(&path).unwrap();
        assert_eq!(log.lines(), expected);
        log.record(&request(vec![name(1)]), Decision::Deny).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["decision"], "deny");
    assert_eq!(lines[2]["index"], 2);
    assert_eq!(lines[2]["prev"], lines[1]["hash"]);
    assert_eq!(lines[2]["hash"], LocalLog::open(&path).unwrap().head());
}

#[test]
fn a_log_that_was_changed_is_not_gone_on_with() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("access.jsonl");
    let mut log = LocalLog::open(&path).unwrap();
    for seed in 0..4 {
        log.record(&request(vec![name(seed)]), Decision::Permit)
            .unwrap();
    }
    drop(log);
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let without = |skip: usize| {
        let kept = (0..4).filter(|at| *at != skip).map(|at| lines[at]);
        kept.collect::<Vec<_>>().join("\n") + "\n"
    };
    let swapped = [lines[0], lines[2], lines[1], lines[3]].join("\n") + "\n";
    for (changed, at) in [
        (whole.replacen("permit", "deny", 1), 1),
        (without(0), 1),
        (without(1), 2),
        (swapped, 2),
        (whole[..whole.len() - 1].to_owned(), 4),
        (format!("{whole}{{\"half"), 5),
        (format!("{whole}{}\n", "x".repeat(MAX_ACCESS_LINE_BYTES)), 5),
    ] {
        fs::write(&path, &changed).unwrap();
        let error = LocalLog::open(&path).unwrap_err();
        assert!(
            matches!(error, LogError::Broken { line } if line == at),
            "{at}: {error}"
        );
    }
}

#[test]
fn a_line_whose_hash_was_made_anew_does_not_fit_the_next_one() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("access.jsonl");
    let mut log = LocalLog::open(&path).unwrap();
    for seed in 0..2 {
        log.record(&request(vec![name(seed)]), Decision::Permit)
            .unwrap();
    }
    drop(log);
    let text = fs::read_to_string(&path).unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    let mut line: Line = serde_json::from_str(first).unwrap();
    line.hash.clear();
    line.decision = "deny".to_owned();
    line.hash = line.hashed();
    let first = serde_json::to_string(&line).unwrap();
    fs::write(&path, format!("{first}\n{second}")).unwrap();
    let error = LocalLog::open(&path).unwrap_err();
    assert!(matches!(error, LogError::Broken { line: 2 }), "{error}");
}

#[test]
fn one_process_writes_at_a_time() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("access.jsonl");
    let first = LocalLog::open(&path).unwrap();
    assert!(matches!(LocalLog::open(&path), Err(LogError::Locked)));
    drop(first);
    LocalLog::open(&path).unwrap();
}

#[test]
fn only_the_owner_reads_a_log() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempdir().unwrap();
    let path = folder.path().join("access.jsonl");
    drop(LocalLog::open(&path).unwrap());
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
