use super::*;
use crate::keys::SshIdentity;

fn key(seed: u8) -> SshPublic {
    SshIdentity::draw(&mut |out: &mut [u8]| out.fill(seed))
        .public()
        .clone()
}

#[test]
fn a_line_trusts_its_names_with_its_key_and_nothing_else() {
    let (one, two) = (key(1), key(2));
    let text = format!("# signers\n\nsite-a,site-b {one} a comment\nsite-c {two}\n");
    let trust = Trust::parse(&text).unwrap();
    for (name, key, expected) in [
        ("site-a", &one, true),
        ("site-b", &one, true),
        ("site-c", &two, true),
        ("site-c", &one, false),
        ("site-a", &two, false),
        ("site", &one, false),
        ("", &one, false),
    ] {
        let found = trust.allows(name, key, Namespace::Manifest);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_key_for_one_namespace_does_not_sign_in_another() {
    let one = key(1);
    let text = format!("site-a namespaces=\"file,veilsum/v1/manifest\" {one}");
    let trust = Trust::parse(&text).unwrap();
    assert!(trust.allows("site-a", &one, Namespace::Manifest));
    assert!(!trust.allows("site-a", &one, Namespace::Grant));
}

#[test]
fn lines_that_ssh_keygen_reads_in_another_way_are_refused() {
    let one = key(1);
    for line in [
        format!("* {one}"),
        format!("!site-a,site-* {one}"),
        format!("\"site a\" {one}"),
        format!("site-a cert-authority {one}"),
        format!("site-a valid-before=\"20200101\" {one}"),
        format!("site-a namespaces=\"veilsum/*\" {one}"),
        format!("site-a namespaces=\"open {one}"),
        "site-a".to_owned(),
        "site-a ssh-rsa AAAA".to_owned(),
        "site-a ssh-ed25519 AAAA".to_owned(),
    ] {
        let error = Trust::parse(&format!("# first\n{line}\n")).unwrap_err();
        assert!(
            matches!(error, Error::Signers { line: 2, .. }),
            "{line}: {error}"
        );
    }
}
