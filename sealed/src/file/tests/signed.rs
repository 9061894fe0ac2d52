//! Who vouches for a file, for whom, and for what.

use super::hostile::remade;
use super::*;

/// Seals with this key and statement.
fn seal_as(world: &World, key: &SshIdentity, statement: Statement) -> Vec<u8> {
    let sender = Sender { key, statement };
    seal_to(&world.recipients(), &three(), Some(sender))
}

#[test]
fn an_unsigned_file_is_read_only_by_whoever_says_that_this_does_not_matter() {
    let world = world();
    let file = world.seal(&three(), false);
    let error = world.open(&file, world.trusting()).err().unwrap();
    assert!(matches!(error, Error::ManifestMissing), "{error}");
    assert!(world.open(&file, Verify::Anybody).is_ok());
}

#[test]
fn a_foreign_signature_is_not_the_senders() {
    let world = world();
    let stranger = SshIdentity::draw(&mut Counter(7000));
    let forged = seal_as(&world, &stranger, statement());
    let other_name = Statement {
        sender: "site-b".to_owned(),
        ..statement()
    };
    let renamed = seal_as(&world, &world.signer, other_name);
    for file in [forged, renamed] {
        let error = world.open(&file, world.trusting()).err().unwrap();
        assert!(matches!(error, Error::SignerUntrusted { .. }), "{error}");
        let opened = world.open(&file, Verify::Anybody).unwrap();
        assert!(opened.signature().is_some());
    }
}

#[test]
fn a_manifest_that_was_changed_is_not_signed() {
    let world = world();
    let file = world.seal(&three(), true);
    for (from, to) in [("training", "straying"), ("site-a", "site-b")] {
        let changed = remade(&world, &file, |text| {
            let at = text
                .windows(from.len())
                .position(|found| found == from.as_bytes())
                .unwrap();
            text[at..at + from.len()].copy_from_slice(to.as_bytes());
        });
        for verify in [world.trusting(), Verify::Anybody, Verify::AeadOnly] {
            let error = world.open(&changed, verify).err().unwrap();
            assert!(matches!(error, Error::SignatureInvalid), "{error}");
        }
    }
}

#[test]
fn a_signature_is_for_one_file() {
    let world = world();
    let one = world.seal(&[("a", bytes(500, 1))], true);
    let other = world.seal(&[("a", bytes(500, 2))], true);
    let from = Container::open(&one, &world.reader, 1 << 20).unwrap();
    // the header of one with the data of the other: the sender has signed the one and sealed the other
    let mixed = remade(&world, &other, |text| {
        assert_eq!(from.len(), text.len());
        let head = from.len() - 500;
        text[..head].copy_from_slice(&from[..head]);
    });
    let opened = world.open(&mixed, world.trusting()).unwrap();
    let error = opened.tensor("a").unwrap_err();
    assert!(matches!(error, Error::ManifestMismatch { .. }), "{error}");
}

#[test]
fn half_a_signature_is_none() {
    let world = world();
    for key in ["veilsum.manifest", "veilsum.sig"] {
        let metadata = std::collections::HashMap::from([(key.to_owned(), "x".to_owned())]);
        let none = Vec::<(String, safetensors::tensor::TensorView<'_>)>::new();
        let inside = safetensors::serialize(none, Some(metadata)).unwrap();
        let to = world.recipients();
        let file = Container::seal(&inside, Lock::Recipients(&to), &mut Counter(5)).unwrap();
        let error = world.open(&file, Verify::Anybody).err().unwrap();
        assert!(matches!(error, Error::ManifestMissing), "{error}");
    }
}

#[test]
fn a_file_is_not_passed_on_as_if_it_were_meant_for_somebody_else() {
    let world = world();
    let file = world.seal(&three(), true);
    // a reader encrypts what it got, signature and all, to another: age allows it, the manifest does not
    let inside = Container::open(&file, &world.reader, 1 << 20).unwrap();
    let other = World {
        reader: [Identity::draw(&mut Counter(4000))],
        ..super::world()
    };
    let to = other.recipients();
    let passed = Container::seal(&inside, Lock::Recipients(&to), &mut Counter(8)).unwrap();
    let error = other.open(&passed, other.trusting()).err().unwrap();
    let name = other.reader[0].fingerprint().to_string();
    let named = matches!(&error, Error::AudienceMismatch { reader } if *reader == name);
    assert!(named, "{error}");
    assert!(other.open(&passed, Verify::Anybody).is_ok());
}

#[test]
fn a_file_for_one_purpose_is_not_read_for_another() {
    let world = world();
    let file = world.seal(&three(), true);
    let verify = |purpose| Verify::Sender {
        trust: &world.trust,
        purpose,
    };
    let error = world.open(&file, verify(Some("research"))).err().unwrap();
    let named = matches!(&error, Error::PurposeMismatch { found } if found == "training");
    assert!(named, "{error}");
    let opened = world.open(&file, verify(None)).unwrap();
    let manifest = opened.manifest().unwrap();
    assert_eq!(manifest.purpose, "training");
    assert_eq!(manifest.round, Some(7));
    assert_eq!(manifest.created_ms, NOW.0);
    let reader = world.reader[0].fingerprint().to_string();
    assert_eq!(manifest.recipients, [reader]);
}

#[test]
fn names_that_no_list_of_signers_could_hold_are_refused_before_anything_is_written() {
    let world = world();
    let names = [
        ("", ""),
        ("a b", ""),
        ("a,b", ""),
        ("a*", ""),
        ("a", "two\nlines"),
    ];
    for (sender, purpose) in names {
        let statement = Statement {
            sender: sender.to_owned(),
            purpose: purpose.to_owned(),
            ..statement()
        };
        let mut out = Cursor::new(Vec::new());
        let begun = SealedWriter::begin(
            &mut out,
            Lock::Recipients(&world.recipients()),
            Vec::new(),
            BTreeMap::new(),
            Some(Sender {
                key: &world.signer,
                statement,
            }),
            &mut Counter(0),
        );
        assert!(matches!(begun.err(), Some(Error::Name { .. })), "{sender}");
        assert!(out.into_inner().is_empty());
    }
}
