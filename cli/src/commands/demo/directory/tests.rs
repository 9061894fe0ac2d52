use super::*;

fn problem(out: &Path) -> Option<Problem> {
    match Directory::prepare(out) {
        Ok(_) => None,
        Err(DemoError::Directory { problem, .. }) => Some(problem),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_directory_of_an_earlier_demo_is_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let first = Directory::prepare(&out).unwrap();
    first.write("old", b"old").unwrap();
    drop(first);
    let second = Directory::prepare(&out).unwrap();
    assert!(!second.path().join("old").exists() && second.logs().is_dir());
}

#[test]
fn a_directory_with_other_files_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), b"years").unwrap();
    assert_eq!(problem(dir.path()), Some(Problem::Foreign));
    fs::write(dir.path().join(MARKER), b"something else").unwrap();
    assert_eq!(problem(dir.path()), Some(Problem::Foreign));
    assert!(dir.path().join("thesis.tex").exists());
}

#[test]
fn an_empty_directory_is_taken_and_a_file_is_not() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(problem(dir.path()), None);
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert_eq!(problem(&file), Some(Problem::NoDirectory));
}

#[test]
fn two_demos_do_not_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Directory::prepare(dir.path()).unwrap();
    assert_eq!(problem(dir.path()), Some(Problem::InUse));
    drop(first);
    assert_eq!(problem(dir.path()), None);
}

#[test]
fn what_stays_is_model_metrics_and_logs() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::prepare(dir.path()).unwrap();
    for name in ["digits.safetensors", METRICS, "study.toml"] {
        directory.write(name, b"x").unwrap();
    }
    fs::create_dir(directory.path().join("site-1")).unwrap();
    directory.tidy("digits.safetensors").unwrap();
    let mut left: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, [MARKER, "digits.safetensors", "logs", METRICS]);
}
