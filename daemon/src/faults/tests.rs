use std::os::unix::fs::PermissionsExt as _;

use super::*;

const RUN: RunId = RunId::from_bytes([1; 16]);

fn name(kind: &str, number: usize) -> String {
    format!("fault-{kind}-{number:016x}.veilsum-fault")
}

#[test]
fn a_file_is_written_once_for_its_owner_only_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::of(dir.path(), RUN);
    assert!(kept(dir.path()).unwrap().is_empty());
    let name = name("two-cohorts", 1);
    let Kept::New(path) = folder.keep(&name, b"a proof").unwrap() else {
        panic!("it was not there");
    };
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(folder.keep(&name, b"a proof").unwrap(), Kept::Known);
    fs::write(folder.path.join(format!("{name}.tmp")), b"").unwrap();
    let found = kept(dir.path()).unwrap();
    let [file] = &found[..] else {
        panic!("{} files", found.len());
    };
    assert_eq!((&file.run, &file.path), (&RUN.to_string(), &path));
    assert_eq!(
        (&file.id[..], &file.bytes[..]),
        ("0000000000000001", &b"a proof"[..])
    );
}

#[test]
fn a_lie_that_is_repeated_leaves_room_for_the_proofs_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::of(dir.path(), RUN);
    let write = |kind: &str, count| -> usize {
        let kept = (0..count).map(|number| folder.keep(&name(kind, number), b"").unwrap());
        kept.filter(|kept| matches!(kept, Kept::New(_))).count()
    };
    assert_eq!(write("wrong-share", 100), MAX_FAULTS_PER_KIND);
    assert_eq!(write("wrong-scalar", 100), MAX_FAULTS_PER_KIND);
    let left = MAX_FAULTS_PER_RUN - 2 * MAX_FAULTS_PER_KIND;
    assert_eq!(write("two-rosters", 100), left);
    assert_eq!(write("two-cohorts", 100), 0, "the run has all its files");
    let another = Folder::of(dir.path(), RunId::from_bytes([2; 16]));
    let kept = another.keep(&name("two-cohorts", 1), b"").unwrap();
    assert!(matches!(kept, Kept::New(_)));
}
