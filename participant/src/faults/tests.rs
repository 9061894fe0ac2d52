use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// The files that `proto` keeps, one of each kind.
fn evidence() -> Vec<Evidence> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/src/convert/fault/tests/files");
    let names = names(&kept).unwrap();
    assert_eq!(names.len(), 11);
    let read = |name| fault::evidence(&fs::read(kept.join(name)).unwrap()).unwrap();
    names.into_iter().map(read).collect()
}

const RUN: RunId = RunId::from_bytes([1; 16]);

#[test]
fn what_convicts_is_kept_once_and_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::of(dir.path(), RUN);
    assert!(kept(dir.path()).unwrap().is_empty());
    let mut written = 0;
    for evidence in evidence() {
        match faults.keep(&evidence).unwrap() {
            Kept::New(path) => {
                written += 1;
                let mode = fs::metadata(&path).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
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

#[test]
fn of_one_run_a_bounded_number_is_kept_the_first_ones() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::of(dir.path(), RUN);
    files::private_directory(&faults.folder).unwrap();
    for number in 0..MAX_FAULTS_PER_RUN {
        let name = format!("fault-two-cohorts-{number:016x}.veilsum-fault");
        fs::write(faults.folder.join(name), b"an older one").unwrap();
    }
    fs::write(faults.folder.join(".left-behind.tmp"), b"").unwrap();
    let proof = evidence()
        .into_iter()
        .find(|evidence| evidence.verify().is_ok())
        .unwrap();
    assert_eq!(faults.keep(&proof).unwrap(), Kept::Full);
    let found = kept(dir.path()).unwrap();
    assert_eq!(found.len(), MAX_FAULTS_PER_RUN);
    assert!(found.iter().all(|fault| fault.evidence.is_err()));
    let another = Faults::of(dir.path(), RunId::from_bytes([2; 16]));
    assert!(matches!(another.keep(&proof).unwrap(), Kept::New(_)));
}
