use std::io::Cursor;

use super::*;
use crate::age::Container;
use crate::file::tests::{Counter, NOW, Porter, World, bytes, seal_to, statement, three, world};
use crate::gate::Decision;
use crate::{Identity, Trust, Verify};

/// Somebody who may give grants, and the reader that they are for.
struct Shared {
    from: World,
    to: World,
    granter: SshIdentity,
    /// Trusts the sender with manifests and the granter with grants.
    trust: Trust,
    file: Vec<u8>,
}

fn shared() -> Shared {
    let from = world();
    let granter = SshIdentity::draw(&mut Counter(8000));
    let signers = format!(
        "site-a {}\nsite-g namespaces=\"veilsum/v1/grant\" {}\n",
        from.signer.public(),
        granter.public()
    );
    Shared {
        to: World {
            reader: [Identity::draw(&mut Counter(4000))],
            ..world()
        },
        file: from.seal(&three(), true),
        trust: Trust::parse(&signers).unwrap(),
        from,
        granter,
    }
}

impl Shared {
    fn terms(&self) -> Terms<'_> {
        Terms {
            key: &self.granter,
            granter: "site-g".to_owned(),
            purpose: "evaluation".to_owned(),
            expires: None,
        }
    }

    fn verify<'a>(&'a self, purpose: &'a str) -> Verify<'a> {
        Verify::Sender {
            trust: &self.trust,
            purpose: Some(purpose),
        }
    }

    /// The file under a new header.
    fn granted(&self, terms: &Terms<'_>) -> Vec<u8> {
        let opened = self.from.open(&self.file, self.verify("training")).unwrap();
        let readers = self.to.recipients();
        let header = Porter::permits()
            .gate(|gate| opened.grant(&readers, terms, gate, &mut Counter(77)))
            .unwrap();
        [&header, &self.file[start(&opened)..]].concat()
    }
}

fn start(opened: &SealedFile<'_>) -> usize {
    usize::try_from(opened.payload().start).unwrap()
}

#[test]
fn a_granted_file_opens_for_its_new_readers_and_not_for_the_old_ones() {
    let shared = shared();
    let file = shared.granted(&shared.terms());
    let opened = shared.to.open(&file, shared.verify("evaluation")).unwrap();
    for (name, bytes) in three() {
        assert!(opened.tensor(name).unwrap().bytes == bytes);
    }
    let error = shared.from.open(&file, Verify::Anybody).err().unwrap();
    assert!(matches!(error, Error::NotARecipient), "{error}");
}

#[test]
fn a_grant_costs_a_few_hundred_bytes_and_leaves_the_payload_as_it_is() {
    let shared = shared();
    let file = shared.granted(&shared.terms());
    let old = shared.from.open(&shared.file, Verify::Anybody).unwrap();
    let new = shared.to.open(&file, Verify::Anybody).unwrap();
    assert!(file[start(&new)..] == shared.file[start(&old)..]);
    assert!(start(&new) < 1500, "{} bytes", start(&new));
    assert_eq!(old.payload_name().unwrap(), new.payload_name().unwrap());
}

#[test]
fn without_a_grant_a_new_header_is_no_leave_to_read() {
    let shared = shared();
    let opened = shared.from.open(&shared.file, Verify::Anybody).unwrap();
    let readers = shared.to.recipients();
    // what age itself would let any reader do: the same key under another header
    let stanzas = Lock::Recipients(&readers).stanzas(&opened.file_key, &mut Counter(5));
    let header = Header::seal(stanzas.unwrap(), &opened.file_key);
    let file = [&header, &shared.file[start(&opened)..]].concat();
    let error = shared
        .to
        .open(&file, shared.verify("training"))
        .err()
        .unwrap();
    assert!(matches!(error, Error::AudienceMismatch { .. }), "{error}");
}

#[test]
fn a_grant_counts_only_from_signers_who_are_trusted_with_grants() {
    let shared = shared();
    let as_sender = Terms {
        granter: "site-a".to_owned(),
        ..shared.terms()
    };
    let file = shared.granted(&as_sender);
    let error = shared
        .to
        .open(&file, shared.verify("evaluation"))
        .err()
        .unwrap();
    assert!(
        matches!(&error, Error::SignerUntrusted { sender } if sender == "site-a"),
        "{error}"
    );
    // the granter's key signs grants, and no manifests
    let forged = seal_to(
        &shared.to.recipients(),
        &three(),
        Some(Sender {
            key: &shared.granter,
            statement: crate::Statement {
                sender: "site-g".to_owned(),
                ..statement()
            },
        }),
    );
    let error = shared
        .to
        .open(&forged, shared.verify("training"))
        .err()
        .unwrap();
    assert!(matches!(error, Error::SignerUntrusted { .. }), "{error}");
}

#[test]
fn a_grant_is_for_one_purpose_and_expires() {
    let shared = shared();
    let file = shared.granted(&shared.terms());
    let error = shared
        .to
        .open(&file, shared.verify("training"))
        .err()
        .unwrap();
    assert!(
        matches!(&error, Error::PurposeMismatch { found } if found == "evaluation"),
        "{error}"
    );
    for (expires, open) in [(NOW.0, false), (NOW.0 + 1, true)] {
        let terms = Terms {
            expires: Some(Timestamp(expires)),
            ..shared.terms()
        };
        let file = shared.granted(&terms);
        let opened = shared.to.open(&file, shared.verify("evaluation"));
        assert_eq!(opened.is_ok(), open);
        if let Some(error) = opened.err() {
            assert!(matches!(error, Error::GrantExpired { .. }), "{error}");
        }
    }
}

#[test]
fn a_grant_for_one_file_does_not_open_another() {
    let shared = shared();
    let other = shared.from.seal(&[("a", bytes(100, 9))], true);
    let opened = shared.from.open(&other, Verify::Anybody).unwrap();
    // a reader of both moves the grant from one file to the other; it cannot change what is signed
    let grant = Grant {
        created_ms: 1,
        expires_ms: None,
        granter: "site-g".to_owned(),
        manifest: shared
            .from
            .open(&shared.file, Verify::Anybody)
            .unwrap()
            .manifest()
            .unwrap()
            .digest(),
        purpose: "training".to_owned(),
        recipients: vec![shared.to.reader[0].fingerprint().to_string()],
        v: VERSION,
    };
    let readers = shared.to.recipients();
    let mut stanzas = Lock::Recipients(&readers)
        .stanzas(&opened.file_key, &mut Counter(5))
        .unwrap();
    stanzas.push(grant.seal(&shared.granter, &opened.file_key, &mut Counter(6)));
    let header = Header::seal(stanzas, &opened.file_key);
    let file = [&header, &other[start(&opened)..]].concat();
    let error = shared
        .to
        .open(&file, shared.verify("training"))
        .err()
        .unwrap();
    assert!(matches!(error, Error::AudienceMismatch { .. }), "{error}");
}

#[test]
fn a_file_that_nobody_signed_cannot_be_granted() {
    let shared = shared();
    let unsigned = shared.from.seal(&three(), false);
    let opened = shared.from.open(&unsigned, Verify::Anybody).unwrap();
    let readers = shared.to.recipients();
    let error = Porter::permits()
        .gate(|gate| opened.grant(&readers, &shared.terms(), gate, &mut Counter(1)))
        .unwrap_err();
    assert!(matches!(error, Error::ManifestMissing), "{error}");
}

#[test]
fn withdrawing_says_that_it_is_for_the_future_only_and_it_is() {
    let shared = shared();
    let both = [shared.from.recipients(), shared.to.recipients()].concat();
    let file = seal_to(
        &both,
        &three(),
        Some(Sender {
            key: &shared.from.signer,
            statement: statement(),
        }),
    );
    let opened = shared.from.open(&file, Verify::Anybody).unwrap();
    let remaining = shared.from.recipients();
    let (header, effect) = Porter::permits()
        .gate(|gate| opened.withdraw(&remaining, &shared.terms(), gate, &mut Counter(1)))
        .unwrap();
    assert_eq!(effect, Effect::FutureAccessOnly);
    let payload = &file[start(&opened)..];
    let new = [&header, payload].concat();
    let error = shared.to.open(&new, Verify::Anybody).err().unwrap();
    assert!(matches!(error, Error::NotARecipient), "{error}");
    assert!(shared.from.open(&new, shared.verify("training")).is_ok());
    // what it cannot do: the old header still opens the same payload
    assert!(shared.to.open(&file, Verify::Anybody).is_ok());
}

#[test]
fn resealing_changes_every_chunk_and_shuts_the_others_out() {
    let shared = shared();
    let opened = shared
        .from
        .open(&shared.file, shared.verify("training"))
        .unwrap();
    let readers = shared.to.recipients();
    let sender = Sender {
        key: &shared.from.signer,
        statement: statement(),
    };
    let mut porter = Porter::permits();
    let (out, len_bytes, effect) = porter
        .gate(|gate| {
            let out = Cursor::new(Vec::new());
            let lock = Lock::Recipients(&readers);
            reseal(&opened, out, lock, Some(sender), gate, &mut Counter(500))
        })
        .unwrap();
    assert_eq!(effect, Effect::Removed);
    assert_eq!(porter.asked.last().unwrap().action, Action::Reseal);
    let new = out.into_inner();
    assert_eq!(new.len() as u64, len_bytes);
    let again = shared.to.open(&new, shared.verify("training")).unwrap();
    for (name, bytes) in three() {
        assert!(again.tensor(name).unwrap().bytes == bytes);
    }
    assert_eq!(again.metadata()["format"], "pt");
    let chunks = |file: &[u8], start: usize| -> Vec<Vec<u8>> {
        file[start..].chunks(65_552).map(<[u8]>::to_vec).collect()
    };
    let (old, now) = (
        chunks(&shared.file, start(&opened) + 16),
        chunks(&new, start(&again) + 16),
    );
    assert_eq!(old.len(), now.len());
    assert!(old.iter().zip(&now).all(|(old, new)| old != new));
    // not even with the old file key
    let old_header = &shared.file[..start(&opened)];
    let mixed = [old_header, &new[start(&again)..]].concat();
    assert!(Container::open(&mixed, &shared.from.reader, 1 << 20).is_err());
}

#[test]
fn what_a_reader_changed_is_not_sealed_anew() {
    let shared = shared();
    let changed = crate::file::tests::hostile::remade(&shared.from, &shared.file, |text| {
        *text.last_mut().unwrap() ^= 1;
    });
    let opened = shared
        .from
        .open(&changed, shared.verify("training"))
        .unwrap();
    let readers = shared.to.recipients();
    let resealed = Porter::permits().gate(|gate| {
        let out = Cursor::new(Vec::new());
        let lock = Lock::Recipients(&readers);
        reseal(&opened, out, lock, None, gate, &mut Counter(500)).map(|_| ())
    });
    assert!(matches!(resealed, Err(Error::ManifestMismatch { what }) if what == "b"));
}

#[test]
fn the_gate_is_asked_before_a_grant_and_before_sealing_anew() {
    let shared = shared();
    let opened = shared.from.open(&shared.file, Verify::Anybody).unwrap();
    let readers = shared.to.recipients();
    let mut porter = Porter {
        answer: Decision::Deny,
        ..Porter::permits()
    };
    porter.gate(|gate| {
        let granted = opened.grant(&readers, &shared.terms(), gate, &mut Counter(1));
        assert!(matches!(
            granted,
            Err(Error::Denied {
                action: Action::Grant
            })
        ));
        let mut out = Cursor::new(Vec::new());
        let lock = Lock::Recipients(&readers);
        let resealed = reseal(&opened, &mut out, lock, None, gate, &mut Counter(1)).map(|_| ());
        assert!(matches!(
            resealed,
            Err(Error::Denied {
                action: Action::Reseal
            })
        ));
        assert!(out.into_inner().is_empty());
    });
    let to = shared.to.reader[0].fingerprint();
    assert!(
        porter
            .asked
            .iter()
            .all(|asked| asked.readers == [to.clone()])
    );
    assert_eq!(porter.asked[0].purpose.as_deref(), Some("evaluation"));
}
