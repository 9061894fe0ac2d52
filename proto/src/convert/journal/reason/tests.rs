use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// Every .rs file below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                sources(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
}

#[test]
fn every_word_that_the_machines_use_for_a_part_is_known() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = 0;
    for folder in ["engine/src", "coordinator/src"] {
        for path in sources(&workspace.join(folder)) {
            let source = fs::read_to_string(&path).unwrap();
            for rest in source.split("Abort::Diverged(\"").skip(1) {
                let (word, _) = rest.split_once('"').unwrap();
                assert!(
                    PARTS.contains(&word),
                    "{}: add \"{word}\" to PARTS, or it comes back as another word",
                    path.display()
                );
                found += 1;
            }
        }
    }
    assert!(found >= 8, "the machines' words were found");
}

#[test]
fn a_word_of_another_version_does_not_make_a_journal_unreadable() {
    let abort = Abort::Diverged("model of the moon");
    assert_eq!(read(write(&abort)), Ok(Abort::Diverged("fact")));
}

#[test]
fn a_reason_that_this_version_does_not_know_is_refused() {
    let error = read(pb::AbortReason { reason: None }).unwrap_err();
    assert_eq!(error.to_string(), "field reason is missing");
}
