use std::fs;
use std::os::unix::fs::PermissionsExt;

use rcgen::CertificateSigningRequestParams;

use super::*;

fn name() -> SiteName {
    "hospital-a".parse().unwrap()
}

#[test]
fn the_key_stays_with_its_owner_and_the_request_names_the_site() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    let csr = request(&site, &name()).unwrap();
    let mode = fs::metadata(key_path(&site)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        csr.as_str()
            .starts_with("-----BEGIN CERTIFICATE REQUEST-----")
    );

    // Parsing verifies that the request is signed by its own key.
    let parsed = CertificateSigningRequestParams::from_pem(csr.as_str()).unwrap();
    let key = KeyPair::from_pem(&fs::read_to_string(key_path(&site)).unwrap()).unwrap();
    assert_eq!(
        rcgen::PublicKeyData::der_bytes(&parsed.public_key),
        key.public_key_raw()
    );
    let mut expected = DistinguishedName::new();
    expected.push(DnType::CommonName, "hospital-a");
    assert_eq!(parsed.params.distinguished_name, expected);
    assert!(parsed.params.subject_alt_names.is_empty());
}

#[test]
fn a_key_that_is_there_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    request(dir.path(), &name()).unwrap();
    let key = fs::read(key_path(dir.path())).unwrap();
    let again = request(dir.path(), &name());
    assert!(matches!(
        again,
        Err(EnrolError::File(FileError::Exists { .. }))
    ));
    assert_eq!(fs::read(key_path(dir.path())).unwrap(), key);
}
