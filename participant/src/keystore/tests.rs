use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn write(path: &Path, text: &[u8], mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_identity_is_made_once_and_loads_as_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.key");
    let made = create_identity(&path, |bytes| bytes.fill(0xc3)).unwrap();
    assert_eq!(*made, [0xc3; KEY_BYTES]);
    assert_eq!(*load_identity(&path).unwrap(), *made);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_identity_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.key");
    create_identity(&path, |bytes| bytes.fill(1)).unwrap();
    let error = create_identity(&path, |bytes| bytes.fill(2)).unwrap_err();
    assert!(matches!(
        error,
        KeystoreError::File(FileError::Exists { .. })
    ));
    assert_eq!(*load_identity(&path).unwrap(), [1; KEY_BYTES]);
}

#[test]
fn a_key_may_be_raw_bytes_or_hexadecimal_with_or_without_a_line_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.key");
    for text in [
        vec![0xab; 32],
        b"ab".repeat(32),
        [b"AB".repeat(32), b"\n".to_vec()].concat(),
    ] {
        write(&path, &text, 0o600);
        assert_eq!(*load_identity(&path).unwrap(), [0xab; 32]);
    }
}

#[test]
fn what_is_no_key_is_refused_with_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.key");
    for len in [0, 31, 33, 63, 66, 4096] {
        write(&path, &vec![b'a'; len], 0o600);
        match load_identity(&path).unwrap_err() {
            KeystoreError::Malformed { len_bytes, .. } => assert_eq!(len_bytes, len),
            other => panic!("{other}"),
        }
    }
    write(&path, &b"zz".repeat(32), 0o600);
    let error = load_identity(&path).unwrap_err();
    assert!(matches!(error, KeystoreError::Malformed { .. }));
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_command_that_helps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.key");
    for mode in [0o640, 0o604, 0o660, 0o601] {
        write(&path, &[1; 32], mode);
        assert!(
            load_identity(&path)
                .unwrap_err()
                .to_string()
                .contains("chmod 600")
        );
        let error = StoreKey::open(&path, |_| panic!("no key is drawn"))
            .err()
            .unwrap();
        assert!(matches!(
            error,
            KeystoreError::File(FileError::Exposed { .. })
        ));
    }
}

#[test]
fn a_missing_identity_says_how_to_make_one() {
    let dir = tempfile::tempdir().unwrap();
    let error = load_identity(&dir.path().join("identity.key")).unwrap_err();
    assert!(matches!(error, KeystoreError::Missing { .. }));
    assert!(error.to_string().contains("veilsum participant csr"));
}

#[test]
fn the_store_key_is_made_at_the_first_start_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.key");
    let first = StoreKey::open(&path, |bytes| bytes.fill(5)).unwrap();
    let second = StoreKey::open(&path, |_| panic!("no key is drawn")).unwrap();
    assert_eq!(first.as_bytes(), &[5; 32]);
    assert_eq!(second.as_bytes(), &[5; 32]);
}
