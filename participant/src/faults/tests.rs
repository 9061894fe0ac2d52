use std::fs;

use super::*;

/// The files that `proto` keeps, one of each kind.
fn evidence() -> Vec<Evidence> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/src/convert/fault/tests/files");
    let mut paths: Vec<_> = (fs::read_dir(kept).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert_eq!(paths.len(), 11);
    let read = |path| fault::evidence(&fs::read(path).unwrap()).unwrap();
    paths.into_iter().map(read).collect()
}

const RUN: RunId = RunId::from_bytes([1; 16]);

#[test]
fn what_convicts_is_kept_once() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::of(dir.path(), RUN);
    assert!(kept(dir.path()).unwrap().is_empty());
    let mut written = 0;
    for evidence in evidence() {
        match faults.keep(&evidence).unwrap() {
            Kept::New(path) => {
                written += 1;
                assert!(path.exists());
                assert_eq!(faults.keep(&evidence).unwrap(), Kept::Known);
            }
            other => assert_eq!(other, Kept::Unproved, "{}", evidence.word()),
        }
    }
    let found = kept(dir.path()).unwrap();
    assert_eq!((found.len(), written), (8, 8));
    for KeptFault {
        id,
        run,
        path,
        evidence,
    } in found
    {
        assert_eq!(run, RUN.to_string());
        assert!(evidence.unwrap().verify().is_ok());
        assert!(path.to_str().unwrap().contains(&id));
        assert_eq!(id.len(), 16);
    }
}
