//! Who may open a file: recipients are public and wrap a file key, identities are secret and unwrap it.
//!
//! | kind | recipient | identity |
//! |---|---|---|
//! | X25519 | `age1…` | `AGE-SECRET-KEY-1…` |
//! | ML-KEM-768 with X25519 | `age1pq1…` | `AGE-SECRET-KEY-PQ-1…` |
//! | SSH, Ed25519 only | `ssh-ed25519 AAAA…` | an OpenSSH private key without a passphrase |
//! | passphrase | – | the passphrase |
//!
//! What it deliberately does not do: RSA keys of SSH, plug-ins, identities from the network.

pub(crate) mod bech;
mod passphrase;
mod pq;
mod ssh;
mod x25519;

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64_NOPAD, HEXLOWER};
use sha2::{Digest as _, Sha256};
use veilsum_common::limits::{MAX_IDENTITIES, MAX_RECIPIENTS};

pub use passphrase::Passphrase;

use crate::age::header::{Header, Stanza};
use crate::age::{FileKey, WRAPPED_BYTES};
use crate::entropy::Entropy;
use crate::error::Error;
use crate::keys::SshIdentity;

/// A public key that files are encrypted to.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(Public);

#[derive(Clone, PartialEq, Eq)]
enum Public {
    X25519(x25519::Recipient),
    PostQuantum(Box<pq::Recipient>),
    Ssh(ssh::Recipient),
}

/// A secret key that opens files. It has neither `Debug` nor `Clone` and is erased when dropped.
pub struct Identity(Secret);

enum Secret {
    X25519(x25519::Identity),
    PostQuantum(Box<pq::Identity>),
    Ssh(Box<ssh::Identity>),
    Passphrase(Passphrase),
}

/// How a file is locked.
///
/// A passphrase stands alone, since it also says who wrote the file: somebody who knew it. Post-quantum recipients are not joined by
/// classic ones, since the file would be as weak as those.
#[derive(Clone, Copy)]
pub enum Lock<'a> {
    /// To these recipients.
    Recipients(&'a [Recipient]),
    /// To whoever knows it.
    Passphrase(&'a Passphrase),
}

/// The name of a recipient in manifests, grants and logs: 16 bytes of SHA-256 of its text form, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(String);

impl Fingerprint {
    fn of(text: &str) -> Self {
        let hash = Sha256::digest(text.as_bytes());
        Self(HEXLOWER.encode(&hash[..FINGERPRINT_BYTES]))
    }

    /// That of a passphrase: the word, since anything more would help to guess it.
    fn of_passphrase() -> Self {
        Self(PASSPHRASE.to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.starts_with(SSH_ED25519) {
            text.parse().map(Public::Ssh).map(Self)
        } else if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-")
        {
            Err(Error::Key(
                "only ssh-ed25519 keys of SSH can open sealed files",
            ))
        } else if text.starts_with("age1pq1") {
            let recipient = pq::Recipient::from_str(text)?;
            Ok(Self(Public::PostQuantum(Box::new(recipient))))
        } else if text.starts_with("age1") {
            text.parse().map(Public::X25519).map(Self)
        } else {
            Err(Error::Key(
                "a recipient is written age1…, age1pq1… or ssh-ed25519 AAAA…",
            ))
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Public::X25519(recipient) => recipient.fmt(f),
            Public::PostQuantum(recipient) => recipient.fmt(f),
            Public::Ssh(recipient) => recipient.fmt(f),
        }
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({})", self.fingerprint())
    }
}

impl Recipient {
    /// Its name in manifests and logs.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.to_string())
    }

    /// Whether a quantum computer would not open what is encrypted to it.
    pub fn is_post_quantum(&self) -> bool {
        matches!(self.0, Public::PostQuantum(_))
    }

    fn wrap(&self, file_key: &FileKey, entropy: &mut dyn Entropy) -> Result<Stanza, Error> {
        match &self.0 {
            Public::X25519(recipient) => recipient.wrap(file_key, entropy),
            Public::PostQuantum(recipient) => Ok(recipient.wrap(file_key, entropy)),
            Public::Ssh(recipient) => recipient.wrap(file_key, entropy),
        }
    }
}

impl Identity {
    /// A fresh X25519 identity.
    pub fn draw(entropy: &mut dyn Entropy) -> Self {
        Self(Secret::X25519(x25519::Identity::draw(entropy)))
    }

    /// A fresh post-quantum identity.
    pub fn draw_post_quantum(entropy: &mut dyn Entropy) -> Self {
        Self(Secret::PostQuantum(Box::new(pq::Identity::draw(entropy))))
    }

    /// The identity of whoever knows a passphrase.
    pub fn passphrase(passphrase: Passphrase) -> Self {
        Self(Secret::Passphrase(passphrase))
    }

    /// The identity of an SSH key.
    pub fn ssh(key: &SshIdentity) -> Self {
        Self(Secret::Ssh(Box::new(ssh::Identity::of(key))))
    }

    /// One line of an identity file.
    fn parse_line(line: &str) -> Result<Self, Error> {
        if line.starts_with("AGE-SECRET-KEY-PQ-1") {
            let identity = pq::Identity::parse(line)?;
            Ok(Self(Secret::PostQuantum(Box::new(identity))))
        } else {
            x25519::Identity::parse(line).map(Secret::X25519).map(Self)
        }
    }

    /// The identities of a file: lines of age, `#` before comments; or one private key of OpenSSH.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::KeyEncrypted`]: the file holds no identity, or a line is none. No part of it is quoted.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, Error> {
        if text.trim_start().starts_with("-----BEGIN ") {
            return Ok(vec![Self::ssh(&SshIdentity::parse(text)?)]);
        }
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let identities = lines.map(Self::parse_line).collect::<Result<Vec<_>, _>>()?;
        match identities.len() {
            0 => Err(Error::Key("the file holds no identity")),
            1..=MAX_IDENTITIES => Ok(identities),
            _ => Err(Error::Key(
                "the file holds more identities than are tried on a file",
            )),
        }
    }

    /// The text form, for an identity file; none for SSH keys and passphrases, which have files or heads of their own.
    pub fn expose(&self) -> Option<zeroize::Zeroizing<String>> {
        match &self.0 {
            Secret::X25519(identity) => Some(identity.expose()),
            Secret::PostQuantum(identity) => Some(identity.expose()),
            Secret::Ssh(_) | Secret::Passphrase(_) => None,
        }
    }

    /// The public half; a passphrase has none.
    pub fn recipient(&self) -> Option<Recipient> {
        match &self.0 {
            Secret::X25519(identity) => Some(Recipient(Public::X25519(identity.recipient()))),
            Secret::PostQuantum(identity) => {
                let recipient = Box::new(identity.recipient());
                Some(Recipient(Public::PostQuantum(recipient)))
            }
            Secret::Ssh(identity) => Some(Recipient(Public::Ssh(identity.recipient()))),
            Secret::Passphrase(_) => None,
        }
    }

    /// Its name in manifests and logs: that of its public half.
    pub fn fingerprint(&self) -> Fingerprint {
        self.recipient()
            .map_or_else(Fingerprint::of_passphrase, |recipient| {
                recipient.fingerprint()
            })
    }

    /// The file key, if `stanza` wraps it for this identity.
    ///
    /// # Errors
    /// [`Error::Stanza`]: it is of this identity's kind and malformed.
    fn unwrap(&self, stanza: &Stanza) -> Result<Option<FileKey>, Error> {
        match &self.0 {
            Secret::X25519(identity) => identity.unwrap(stanza),
            Secret::PostQuantum(identity) => identity.unwrap(stanza),
            Secret::Ssh(identity) => identity.unwrap(stanza),
            Secret::Passphrase(passphrase) => passphrase.unwrap(stanza),
        }
    }
}

impl Lock<'_> {
    /// Wraps the file key for everybody.
    ///
    /// # Errors
    /// [`Error::NoRecipients`], [`Error::TooManyRecipients`], [`Error::MixedRecipients`], or a recipient's key is a weak one.
    pub(crate) fn stanzas(
        &self,
        file_key: &FileKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<Stanza>, Error> {
        let recipients = match self {
            Self::Passphrase(passphrase) => return Ok(vec![passphrase.wrap(file_key, entropy)]),
            Self::Recipients(recipients) => *recipients,
        };
        let post_quantum = recipients
            .iter()
            .filter(|one| one.is_post_quantum())
            .count();
        if recipients.is_empty() {
            return Err(Error::NoRecipients);
        }
        if recipients.len() > MAX_RECIPIENTS {
            return Err(Error::TooManyRecipients {
                limit: MAX_RECIPIENTS,
            });
        }
        if post_quantum != 0 && post_quantum != recipients.len() {
            return Err(Error::MixedRecipients);
        }
        let stanzas = recipients.iter().map(|one| one.wrap(file_key, entropy));
        stanzas.collect()
    }

    /// The names of everybody, sorted, each once.
    pub(crate) fn fingerprints(&self) -> Vec<Fingerprint> {
        let mut names = match self {
            Self::Passphrase(_) => vec![Fingerprint::of_passphrase()],
            Self::Recipients(recipients) => recipients.iter().map(Recipient::fingerprint).collect(),
        };
        names.sort();
        names.dedup();
        names
    }
}

/// A file key, and whose identity opened it.
pub(crate) struct Unlocked {
    pub(crate) file_key: FileKey,
    pub(crate) by: Fingerprint,
}

/// Tries every identity on every stanza; the header is then proved to be the one that was written.
///
/// # Errors
/// [`Error::NotARecipient`], [`Error::AgeHeaderChanged`], [`Error::Stanza`]; [`Error::MixedRecipients`] if a passphrase does not stand
/// alone.
pub(crate) fn unlock(header: &Header, identities: &[Identity]) -> Result<Unlocked, Error> {
    let by_passphrase = header
        .stanzas
        .iter()
        .any(|one| one.kind() == passphrase::KIND);
    if by_passphrase && header.stanzas.len() > 1 {
        return Err(Error::MixedRecipients);
    }
    if identities.len() > MAX_IDENTITIES {
        return Err(Error::Key(
            "there are more identities than are tried on a file",
        ));
    }
    for identity in identities {
        for stanza in &header.stanzas {
            if let Some(file_key) = identity.unwrap(stanza)? {
                header.verify(&file_key)?;
                let by = identity.fingerprint();
                return Ok(Unlocked { file_key, by });
            }
        }
    }
    Err(Error::NotARecipient)
}

/// A stanza of the kind that was looked for.
struct Addressed<'a, const N: usize> {
    /// What stands behind the kind.
    arguments: [&'a str; N],
    body: &'a [u8; WRAPPED_BYTES],
}

/// The stanza as one of this kind; none if it is of another kind.
///
/// # Errors
/// [`Error::Stanza`] if there are not `N` of them, or its body does not have a wrapped key's length.
fn expect<'a, const N: usize>(
    stanza: &'a Stanza,
    kind: &'static str,
) -> Result<Option<Addressed<'a, N>>, Error> {
    if stanza.kind() != kind {
        return Ok(None);
    }
    let arguments: Vec<&str> = stanza.arguments[1..].iter().map(String::as_str).collect();
    let arguments = arguments.try_into().map_err(|_| Error::Stanza {
        kind,
        what: "it has another number of arguments",
    })?;
    // Before anything is decrypted: a longer body could open under several keys.
    let body = stanza.body.as_slice().try_into();
    let body = body.map_err(|_| Error::Stanza {
        kind,
        what: "its body has another length",
    })?;
    Ok(Some(Addressed { arguments, body }))
}

/// `N` bytes in canonical base64.
fn decoded<const N: usize>(word: &str, kind: &'static str) -> Result<[u8; N], Error> {
    let bytes = BASE64_NOPAD.decode(word.as_bytes()).ok();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or(Error::Stanza {
        kind,
        what: "an argument is not base64 of the right length",
    })
}

const SSH_ED25519: &str = "ssh-ed25519";
const PASSPHRASE: &str = "passphrase";
/// 128 bits: nobody finds two keys with one name.
const FINGERPRINT_BYTES: usize = 16;

#[cfg(test)]
mod tests;
