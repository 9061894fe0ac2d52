//! SSH keys as recipients, Ed25519 only: the key's point is carried over to X25519.
//!
//! The tag in the stanza tells the owner which of its keys to use; it also tells everybody who knows the public key that the file is for
//! it. Source: the ssh-ed25519 recipient of age's reference implementation; RFC 8032 for the secret scalar.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64_NOPAD;
use sha2::{Digest as _, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{Addressed, decoded, expect};
use crate::age::header::Stanza;
use crate::age::{FileKey, derive};
use crate::entropy::{Entropy, draw};
use crate::error::Error;
use crate::keys::{SshIdentity, SshPublic};

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Recipient(SshPublic);

pub(super) struct Identity {
    secret: StaticSecret,
    public: SshPublic,
}

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Recipient {
    pub(super) fn wrap(
        &self,
        file_key: &FileKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Stanza, Error> {
        let ephemeral = StaticSecret::from(*draw::<32>(entropy));
        let share = PublicKey::from(&ephemeral);
        let wrap_key = wrap_key(&ephemeral, &point(&self.0), &share, &self.0);
        let wrap_key = wrap_key.ok_or(Error::Key("a recipient is a point of small order"))?;
        let tag = BASE64_NOPAD.encode(&tag(&self.0));
        let share = BASE64_NOPAD.encode(share.as_bytes());
        let body = file_key.wrapped(&wrap_key);
        Ok(Stanza::new(&[KIND, &tag, &share], body))
    }
}

impl Identity {
    pub(super) fn of(key: &SshIdentity) -> Self {
        Self {
            secret: StaticSecret::from(*key.scalar()),
            public: key.public().clone(),
        }
    }

    pub(super) fn recipient(&self) -> Recipient {
        Recipient(self.public.clone())
    }

    pub(super) fn unwrap(&self, stanza: &Stanza) -> Result<Option<FileKey>, Error> {
        let Some(Addressed { arguments, body }) = expect::<2>(stanza, KIND)? else {
            return Ok(None);
        };
        let [name, share] = arguments;
        let name: [u8; TAG_BYTES] = decoded(name, KIND)?;
        let share = PublicKey::from(decoded::<32>(share, KIND)?);
        if name != tag(&self.public) {
            return Ok(None);
        }
        let wrap_key = wrap_key(&self.secret, &share, &share, &self.public);
        let wrap_key = wrap_key.ok_or(Error::Stanza {
            kind: KIND,
            what: "its share is a point of small order",
        })?;
        Ok(FileKey::unwrapped(&wrap_key, body))
    }
}

/// `HKDF-SHA-256(ikm = X25519(tweak, X25519(secret, other)), salt = ephemeral share || recipient, info)`, where
/// `tweak = HKDF-SHA-256(ikm = empty, salt = SSH key, info)` ties the secret to the key's SSH form.
fn wrap_key(
    secret: &StaticSecret,
    other: &PublicKey,
    share: &PublicKey,
    recipient: &SshPublic,
) -> Option<Zeroizing<[u8; 32]>> {
    let tweak = StaticSecret::from(*derive(b"", &recipient.wire(), INFO));
    let shared = secret.diffie_hellman(other);
    let tweaked = tweak.diffie_hellman(&PublicKey::from(*shared.as_bytes()));
    let salt = [*share.as_bytes(), *point(recipient).as_bytes()].concat();
    let key = || derive(tweaked.as_bytes(), &salt, INFO);
    (shared.was_contributory() && tweaked.was_contributory()).then(key)
}

fn point(key: &SshPublic) -> PublicKey {
    PublicKey::from(key.verify_key().to_montgomery().to_bytes())
}

fn tag(key: &SshPublic) -> [u8; TAG_BYTES] {
    let hash = Sha256::digest(key.wire());
    let (tag, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
    *tag
}

const KIND: &str = "ssh-ed25519";
const INFO: &[u8] = b"age-encryption.org/v1/ssh-ed25519";
const TAG_BYTES: usize = 4;
