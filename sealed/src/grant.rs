//! Leave to read a file that was made for others: signed by whoever gives it, carried in the header of the file.
//!
//! A manifest names the readers whom its sender meant. Who passes a file on writes a new header over the same payload and puts a grant
//! into it: a stanza that age ignores, encrypted under the file key. A reader takes it from signers that it trusts with grants.
//!
//! What it deliberately does not do: hold back the file key. Whoever can read a file can pass it on without a grant, and a reader that
//! does not check will not notice.

use aws_lc_rs::aead::Aad;
use data_encoding::BASE64_NOPAD;
use serde::{Deserialize, Serialize};
use veilsum_common::time::Timestamp;

use crate::age::header::Stanza;
use crate::age::{FileKey, cipher, zero_nonce};
use crate::entropy::{Entropy, draw};
use crate::error::Error;
use crate::keys::SshIdentity;
use crate::recipient::Fingerprint;
use crate::sshsig::{self, Namespace};
use crate::trust::Trust;

/// The signed words of a grant, in the order of their JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// When it was given, in milliseconds since 1970.
    pub created_ms: u64,
    /// From when on readers no longer take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Who gives it.
    pub granter: String,
    /// BLAKE3 of the manifest of the file.
    pub manifest: String,
    /// What the file may be used for.
    pub purpose: String,
    /// Fingerprints of those who may read it, sorted.
    pub recipients: Vec<String>,
    /// Version of this form.
    pub v: u32,
}

/// A grant and the signature on it, as they stand in the stanza.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    grant: String,
    sig: String,
}

impl Grant {
    /// The bytes that are signed.
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are JSON")
    }

    /// Signs it and encrypts it for whoever has the file key.
    pub(crate) fn seal(
        &self,
        signer: &SshIdentity,
        file_key: &FileKey,
        entropy: &mut dyn Entropy,
    ) -> Stanza {
        let grant = self.canonical();
        let sig = sshsig::sign(signer, Namespace::Grant, grant.as_bytes());
        let mut body = serde_json::to_vec(&Sealed { grant, sig }).expect("texts are JSON");
        let salt = draw::<SALT_BYTES>(entropy);
        cipher(&file_key.derive(&salt[..], INFO))
            .seal_in_place_append_tag(zero_nonce(), Aad::empty(), &mut body)
            .expect("a grant is not too long");
        Stanza::new(&[KIND, &BASE64_NOPAD.encode(&salt[..])], body)
    }

    /// The grant of a stanza, if it is one, with a valid signature of somebody whom `trust` lets give grants.
    ///
    /// # Errors
    /// [`Error::GrantInvalid`], [`Error::SignatureInvalid`], [`Error::SignerUntrusted`].
    pub(crate) fn open(
        stanza: &Stanza,
        file_key: &FileKey,
        trust: &Trust,
    ) -> Result<Option<Self>, Error> {
        if stanza.kind() != KIND {
            return Ok(None);
        }
        let sealed = Self::decrypt(stanza, file_key).ok_or(Error::GrantInvalid)?;
        let grant: Self = serde_json::from_str(&sealed.grant).map_err(|_| Error::GrantInvalid)?;
        if grant.v != VERSION || grant.canonical() != sealed.grant {
            return Err(Error::GrantInvalid);
        }
        let key = sshsig::verify(&sealed.sig, Namespace::Grant, sealed.grant.as_bytes())?;
        if trust.allows(&grant.granter, &key, Namespace::Grant) {
            return Ok(Some(grant));
        }
        Err(Error::SignerUntrusted {
            sender: grant.granter,
        })
    }

    fn decrypt(stanza: &Stanza, file_key: &FileKey) -> Option<Sealed> {
        let [_, salt] = stanza.arguments.as_slice() else {
            return None;
        };
        let salt = BASE64_NOPAD.decode(salt.as_bytes()).ok()?;
        let mut body = stanza.body.clone();
        let text = cipher(&file_key.derive(&salt, INFO))
            .open_in_place(zero_nonce(), Aad::empty(), &mut body)
            .ok()?;
        serde_json::from_slice(text).ok()
    }

    /// Whether it lets this reader have this file now.
    ///
    /// # Errors
    /// [`Error::AudienceMismatch`], [`Error::GrantExpired`].
    pub(crate) fn covers(
        &self,
        manifest: &str,
        reader: &Fingerprint,
        at: Timestamp,
    ) -> Result<(), Error> {
        let named = self.recipients.iter().any(|one| one == reader.as_str());
        if !named || self.manifest != manifest {
            return Err(Error::AudienceMismatch {
                reader: reader.to_string(),
            });
        }
        match self.expires_ms {
            Some(expires_ms) if expires_ms <= at.0 => Err(Error::GrantExpired { expires_ms }),
            Some(_) | None => Ok(()),
        }
    }
}

/// Kind of the stanza.
pub(crate) const KIND: &str = "veilsum/v1/grant";
pub(crate) const VERSION: u32 = 1;
const INFO: &[u8] = b"veilsum/v1/grant-stanza";
const SALT_BYTES: usize = 16;
