use proptest::prelude::*;

use super::*;

fn key() -> SshIdentity {
    SshIdentity::draw(&mut |out: &mut [u8]| out.fill(1))
}

#[test]
fn a_signature_names_its_key() {
    let signature = sign(&key(), Namespace::Manifest, b"message");
    let found = verify(&signature, Namespace::Manifest, b"message").unwrap();
    assert_eq!(found, *key().public());
    assert!(signature.len() < MAX_SSHSIG_BYTES);
}

#[test]
fn a_signature_is_for_one_message_and_one_namespace() {
    let signature = sign(&key(), Namespace::Manifest, b"message");
    for (namespace, message) in [
        (Namespace::Grant, &b"message"[..]),
        (Namespace::Manifest, b"messages"),
        (Namespace::Manifest, b""),
    ] {
        let error = verify(&signature, namespace, message).unwrap_err();
        assert!(matches!(error, Error::SignatureInvalid), "{error}");
    }
}

#[test]
fn the_length_does_not_depend_on_the_message() {
    let lengths = [&b""[..], b"a", &[7; 5000]].map(|m| sign(&key(), Namespace::Manifest, m).len());
    assert_eq!(lengths[0], lengths[1]);
    assert_eq!(lengths[0], lengths[2]);
}

proptest! {
    #[test]
    fn no_change_of_a_signature_panics_or_passes(at: prop::sample::Index, byte in 0x20_u8..0x7f) {
        let signature = sign(&key(), Namespace::Manifest, b"message");
        let mut bytes = signature.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        // white space may move: the lines are not signed
        if verify(&changed, Namespace::Manifest, b"message").is_ok() {
            let words = |text: &str| text.split_ascii_whitespace().collect::<String>();
            prop_assert_eq!(words(&changed), words(&signature));
        }
    }
}
