use super::*;

fn put(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, b"in clear").unwrap();
}

#[test]
fn a_start_removes_what_belongs_to_no_run_and_what_was_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let (data, markers) = (dir.path().join("data"), dir.path().join("markers"));
    let kept = [
        data.join("journal.sqlite"),
        data.join("updates/run_a/x.safetensors"),
        data.join("work/run_a/3/update.safetensors"),
        data.join("models/run_a/y"),
        markers.join("run_a.marker"),
    ];
    let gone = [
        data.join("updates/run_b/x.safetensors"),
        data.join("work/run_b/3/update.safetensors"),
        data.join("models/run_c/y"),
        data.join("updates/run_a/.x.safetensors.0123456789abcdef.tmp"),
        markers.join(".run_a.marker.0123456789abcdef.tmp"),
    ];
    kept.iter().chain(&gone).for_each(|path| put(path));
    sweep(&data, &markers, &["run/run_a".into(), "ledger".into()]).unwrap();
    assert!(kept.iter().all(|path| path.exists()));
    assert!(gone.iter().all(|path| !path.exists()));
}

#[test]
fn erasing_a_run_twice_or_one_without_files_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    put(&dir.path().join("updates/run_a/x.safetensors"));
    for _ in 0..2 {
        erase(dir.path(), "run_a").unwrap();
        assert!(!dir.path().join("updates/run_a").exists());
    }
}
