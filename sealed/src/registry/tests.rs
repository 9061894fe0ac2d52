use super::*;
use crate::Identity;

fn key(seed: u8) -> Recipient {
    let identity = Identity::draw(&mut |out: &mut [u8]| out.fill(seed));
    identity.recipient().unwrap()
}

fn post_quantum(seed: u8) -> Recipient {
    let identity = Identity::draw_post_quantum(&mut |out: &mut [u8]| out.fill(seed));
    identity.recipient().unwrap()
}

fn registry() -> Registry {
    let text = format!(
        "[recipients.alice]\nclassic = \"{}\"\npost_quantum = \"{}\"\n[recipients.bob]\nclassic = \"{}\"\n[recipients.carol]\npost_quantum = \"{}\"\n",
        key(1),
        post_quantum(1),
        key(2),
        post_quantum(3),
    );
    Registry::parse(&text).unwrap()
}

fn resolved(words: &[&str]) -> Result<Resolved, Error> {
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    registry().resolve(&words)
}

#[test]
fn post_quantum_keys_are_taken_if_everybody_has_one() {
    let all = resolved(&["alice", "carol"]).unwrap();
    assert_eq!(all.recipients, [post_quantum(1), post_quantum(3)]);
    assert!(all.classic_only.is_empty());
    let some = resolved(&["alice", "bob"]).unwrap();
    assert_eq!(some.recipients, [key(1), key(2)]);
    assert_eq!(some.classic_only, ["bob"]);
}

#[test]
fn keys_may_be_written_out_beside_names() {
    let text = key(5).to_string();
    let both = resolved(&["alice", &text]).unwrap();
    assert_eq!(both.recipients, [key(1), key(5)]);
}

#[test]
fn a_name_that_is_not_there_is_an_error_with_the_likely_one() {
    let error = resolved(&["alice", "bop"]).unwrap_err();
    assert!(
        matches!(&error, Error::UnknownRecipient { name, suggestion: Some(meant) } if name == "bop" && meant == "bob"),
        "{error}"
    );
}

#[test]
fn entries_without_a_usable_key_are_refused_by_name() {
    let classic = key(1);
    for entry in [
        "".to_owned(),
        "classic = \"age1\"".to_owned(),
        format!("post_quantum = \"{classic}\""),
        format!("classic = \"{}\"", post_quantum(1)),
    ] {
        let error = Registry::parse(&format!("[recipients.dave]\n{entry}\n")).unwrap_err();
        let named = matches!(&error, RegistryError::Entry { name, .. } if name == "dave");
        assert!(named, "{entry}: {error}");
    }
    let error = Registry::parse("[recipients.dave]\nclasic = \"x\"\n").unwrap_err();
    assert!(matches!(error, RegistryError::Document(_)), "{error}");
}
