use std::fs;
use std::path::PathBuf;

use super::*;
use crate::exit::Failure;

/// A site that keeps one fault file of each kind, and a damaged one.
fn site() -> (tempfile::TempDir, Vec<KeptFault>) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("faults/run_a");
    fs::create_dir_all(&folder).unwrap();
    let files: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/src/convert/fault/tests/files");
    for entry in fs::read_dir(files).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    fs::write(folder.join("fault-two-cohorts-00ff.veilsum-fault"), b"?").unwrap();
    let found = kept(dir.path()).unwrap();
    (dir, found)
}

#[test]
fn each_file_is_listed_with_whom_it_convicts_and_a_damaged_one_with_nobody() {
    let (_dir, found) = site();
    let Output { data, text, next } = list(&found);
    let faults = data["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 12);
    assert_eq!(text.lines().count(), 13, "{text}");
    let holds = faults.iter().filter(|fault| fault["holds"] == true).count();
    assert_eq!(holds, 8);
    let damaged = faults.iter().find(|fault| fault["id"] == "00ff").unwrap();
    assert_eq!(
        (&damaged["kind"], &damaged["holds"]),
        (&json!("unreadable"), &json!(false))
    );
    assert!(next[0].contains("verify-fault"));
    let none = list(&[]);
    assert_eq!((none.text.as_str(), none.data), ("", json!({"faults": []})));
}

#[test]
fn a_file_is_copied_as_it_is_and_never_over_another_one() {
    let (dir, found) = site();
    let to = dir.path().join("proof");
    let id = &found[0].id;
    export(&found, id, &to).unwrap();
    assert_eq!(fs::read(&to).unwrap(), fs::read(&found[0].path).unwrap());
    let code = |result: Result<Output, Error>| Failure::from(&result.unwrap_err()).code;
    assert_eq!(code(export(&found, id, &to)), "FILE_INVALID");
    let absent = export(&found, "0123", &dir.path().join("other"));
    assert_eq!(code(absent), "NOT_FOUND");
}
