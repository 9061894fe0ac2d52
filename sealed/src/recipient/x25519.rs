//! X25519 recipients of age. Source: <https://c2sp.org/age>, section "The X25519 recipient type".

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64_NOPAD;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{Addressed, bech, decoded, expect};
use crate::age::header::Stanza;
use crate::age::{FileKey, derive};
use crate::entropy::{Entropy, draw};
use crate::error::Error;

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Recipient(PublicKey);

pub(super) struct Identity(Box<StaticSecret>);

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = bech::decode::<32>(text, PUBLIC_PREFIX)?;
        Ok(Self(PublicKey::from(**bytes)))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech::encode(PUBLIC_PREFIX, self.0.as_bytes()))
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
        let wrap_key = wrap_key(&ephemeral, &self.0, &share, &self.0);
        let wrap_key = wrap_key.ok_or(Error::Key("a recipient is a point of small order"))?;
        let share = BASE64_NOPAD.encode(share.as_bytes());
        let body = file_key.wrapped(&wrap_key);
        Ok(Stanza::new(&[KIND, &share], body))
    }
}

impl Identity {
    pub(super) fn draw(entropy: &mut dyn Entropy) -> Self {
        Self(Box::new(StaticSecret::from(*draw::<32>(entropy))))
    }

    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let bytes = bech::decode::<32>(text, SECRET_PREFIX)?;
        Ok(Self(Box::new(StaticSecret::from(**bytes))))
    }

    pub(super) fn expose(&self) -> Zeroizing<String> {
        let lower = Zeroizing::new(bech::encode(SECRET_PREFIX, self.0.as_bytes()));
        Zeroizing::new(lower.to_ascii_uppercase())
    }

    pub(super) fn recipient(&self) -> Recipient {
        Recipient(PublicKey::from(&*self.0))
    }

    pub(super) fn unwrap(&self, stanza: &Stanza) -> Result<Option<FileKey>, Error> {
        let Some(Addressed { arguments, body }) = expect::<1>(stanza, KIND)? else {
            return Ok(None);
        };
        let [share] = arguments;
        let share = PublicKey::from(decoded::<32>(share, KIND)?);
        let own = self.recipient().0;
        let wrap_key = wrap_key(&self.0, &share, &share, &own).ok_or(Error::Stanza {
            kind: KIND,
            what: "its share is a point of small order",
        })?;
        Ok(FileKey::unwrapped(&wrap_key, body))
    }
}

/// `HKDF-SHA-256(ikm = X25519(secret, point), salt = ephemeral share || recipient, info)`; none if the shared secret is all zeros.
fn wrap_key(
    secret: &StaticSecret,
    point: &PublicKey,
    share: &PublicKey,
    recipient: &PublicKey,
) -> Option<Zeroizing<[u8; 32]>> {
    let shared = secret.diffie_hellman(point);
    let salt = [*share.as_bytes(), *recipient.as_bytes()].concat();
    let key = || derive(shared.as_bytes(), &salt, INFO);
    shared.was_contributory().then(key)
}

const KIND: &str = "X25519";
const PUBLIC_PREFIX: &str = "age";
const SECRET_PREFIX: &str = "age-secret-key-";
const INFO: &[u8] = b"age-encryption.org/v1/X25519";
