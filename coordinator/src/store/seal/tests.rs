use std::{fs, os::unix::fs::PermissionsExt};

use tempfile::TempDir;

use super::*;
use crate::store::conformance::entropy;

fn key(dir: &TempDir) -> StoreKey {
    StoreKey::create(&dir.path().join("store.key"), entropy()).unwrap()
}

fn fresh() -> Sealer {
    Sealer::new(&key(&TempDir::new().unwrap()), entropy())
}

#[test]
fn a_payload_opens_only_under_its_header_and_key() {
    let sealer = fresh();
    let sealed = sealer.seal(b"header", b"payload");
    assert_eq!(sealer.open(b"header", &sealed).unwrap(), b"payload");
    assert_eq!(sealer.open(b"other", &sealed), None);
    assert_eq!(fresh().open(b"header", &sealed), None);
}

#[test]
fn no_bit_of_a_sealed_payload_may_change() {
    let sealer = fresh();
    let sealed = sealer.seal(b"header", b"payload");
    for place in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        assert_eq!(sealer.open(b"header", &changed), None, "byte {place}");
        assert_eq!(
            sealer.open(b"header", &sealed[..place]),
            None,
            "cut at {place}"
        );
    }
}

#[test]
fn a_payload_is_never_sealed_to_the_same_bytes_twice() {
    let sealer = fresh();
    assert_ne!(
        sealer.seal(b"header", b"payload"),
        sealer.seal(b"header", b"payload")
    );
}

#[test]
fn a_key_comes_back_from_its_file() {
    let dir = TempDir::new().unwrap();
    let made = key(&dir);
    let path = dir.path().join("store.key");
    assert_eq!(
        StoreKey::load(&path).unwrap().check_value(),
        made.check_value()
    );
    assert!(
        StoreKey::create(&path, entropy()).is_err(),
        "a key is never overwritten"
    );
}

#[test]
fn a_file_that_is_no_safe_key_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store.key");
    let refusal = || StoreKey::load(&path).err().unwrap();
    for len in [0, 31, 33] {
        files::write_secret(&path, &vec![0; len]).unwrap();
        assert!(matches!(refusal(), KeyError::Length { .. }), "{len} bytes");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        refusal(),
        KeyError::File(FileError::Exposed { .. })
    ));
}
