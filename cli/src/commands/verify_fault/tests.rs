use std::path::PathBuf;

use super::*;
use crate::exit::Failure;

/// What `proto` keeps of each kind.
fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/src/convert/fault/tests/files")
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(kept())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 11, "one of each kind");
    files
}

fn asked(file: &Path) -> VerifyFault {
    VerifyFault {
        file: file.to_owned(),
        coordinator_key: None,
        config: None,
    }
}

fn code(asked: &VerifyFault) -> String {
    Failure::from(&run(asked).unwrap_err()).code
}

#[test]
fn a_proof_says_who_of_what_where_and_what_it_leaves_open() {
    for file in files() {
        let evidence = read(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("fault-{}-", evidence.word())));
        if evidence.verify().is_err() {
            assert_eq!(code(&asked(&file)), "FAULT_NOT_PROVED", "{name}");
            continue;
        }
        let Output { data, text, next } = run(&asked(&file)).unwrap();
        assert_eq!(data["kind"], evidence.word());
        assert_eq!(data["epoch"], 3);
        assert_eq!(
            data["run_id"],
            RunId::from_bytes([1; 16]).to_string(),
            "{data}"
        );
        let role = data["culprit"]["role"].as_str().unwrap();
        assert!(text.contains(&format!("the {role} with ")), "{text}");
        for line in ["run hash", "coordinator key", "proves", "does not prove"] {
            assert!(text.lines().any(|found| found.starts_with(line)), "{text}");
        }
        assert!(next[0].starts_with("compare"));
    }
}

#[test]
fn a_proof_about_another_coordinator_than_the_one_asked_for_is_no_success() {
    let [file] = files()
        .into_iter()
        .filter(|file| file.to_str().unwrap().contains("two-cohorts"))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let key: Digest = run(&asked(&file)).unwrap().data["coordinator_key"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let known = |key| VerifyFault {
        coordinator_key: Some(key),
        ..asked(&file)
    };
    assert!(run(&known(key)).is_ok());
    assert_eq!(code(&known(Digest([7; 32]))), "FAULT_OTHER_PARTY");
}

#[test]
fn what_is_no_fault_file_is_an_input_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    assert_eq!(code(&asked(&path)), "FILE_INVALID", "there is none");
    for bytes in [
        b"".to_vec(),
        b"hello".to_vec(),
        vec![0; MAX_FAULT_BYTES + 1],
    ] {
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(code(&asked(&path)), "FAULT_FILE_INVALID");
    }
    let mut damaged = std::fs::read(&files()[0]).unwrap();
    damaged[500] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    assert_eq!(code(&asked(&path)), "FAULT_FILE_INVALID");
}
