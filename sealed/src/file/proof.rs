//! Who vouches for a file, and for whom: the manifest in its metadata and the grants in its header, held against what the reader trusts.
//!
//! What it deliberately does not do: look at tensors. Their digests are compared when they are read.

use veilsum_common::model::Header;
use veilsum_common::time::Timestamp;

use super::{MANIFEST_KEY, SIGNATURE_KEY};
use crate::age::FileKey;
use crate::age::header::Stanza;
use crate::error::Error;
use crate::grant::Grant;
use crate::keys::SshPublic;
use crate::manifest::Manifest;
use crate::recipient::Fingerprint;
use crate::sshsig::{self, Namespace};
use crate::trust::Trust;

/// A manifest with a valid signature of this key, whosever it is.
pub(super) struct Signed {
    pub(super) manifest: Manifest,
    pub(super) signature: String,
    pub(super) key: SshPublic,
    pub(super) digests: Vec<blake3::Hash>,
}

/// Who reads a file, and where leave to do so may stand.
pub(super) struct Audience<'a> {
    pub(super) stanzas: &'a [Stanza],
    pub(super) file_key: &'a FileKey,
    pub(super) reader: &'a Fingerprint,
    pub(super) at: Timestamp,
}

impl Signed {
    /// The manifest of a header with its signature checked; none if there is neither.
    ///
    /// # Errors
    /// [`Error::ManifestMissing`] if only one of both is there, [`Error::ManifestInvalid`], [`Error::SignatureInvalid`],
    /// [`Error::ManifestMismatch`].
    pub(super) fn of(header: &Header) -> Result<Option<Self>, Error> {
        let manifest = header.metadata.get(MANIFEST_KEY);
        let signature = header.metadata.get(SIGNATURE_KEY);
        let (text, signature) = match (manifest, signature) {
            (None, None) => return Ok(None),
            (Some(manifest), Some(signature)) => (manifest, signature),
            (Some(_), None) | (None, Some(_)) => return Err(Error::ManifestMissing),
        };
        let key = sshsig::verify(signature, Namespace::Manifest, text.as_bytes())?;
        let manifest = Manifest::parse(text)?;
        manifest.check(header, [MANIFEST_KEY, SIGNATURE_KEY])?;
        let digests = manifest.tensors.iter().map(|line| {
            let digest = blake3::Hash::from_hex(&line.blake3);
            digest.map_err(|_| Error::ManifestInvalid("a digest is not one"))
        });
        Ok(Some(Self {
            digests: digests.collect::<Result<_, _>>()?,
            manifest,
            signature: signature.clone(),
            key,
        }))
    }

    /// The signature is of a key that may sign for the sender.
    ///
    /// # Errors
    /// [`Error::SignerUntrusted`].
    pub(super) fn check_sender(&self, trust: &Trust) -> Result<(), Error> {
        let sender = &self.manifest.sender;
        if trust.allows(sender, &self.key, Namespace::Manifest) {
            return Ok(());
        }
        Err(Error::SignerUntrusted {
            sender: sender.chars().take(80).collect(),
        })
    }

    /// The file is for whoever opened it, by its sender's word or by that of somebody who may give grants.
    ///
    /// # Errors
    /// [`Error::AudienceMismatch`], [`Error::PurposeMismatch`], and those of grants.
    pub(super) fn check_reader(
        &self,
        audience: &Audience<'_>,
        trust: &Trust,
        purpose: Option<&str>,
    ) -> Result<(), Error> {
        let reader = audience.reader.as_str();
        let meant = self.manifest.recipients.iter().any(|one| one == reader);
        let found = if meant {
            self.manifest.purpose.clone()
        } else {
            audience.granted(&self.manifest.digest(), trust)?.purpose
        };
        match purpose {
            Some(expected) if expected != found => Err(Error::PurposeMismatch {
                found: found.chars().take(80).collect(),
            }),
            Some(_) | None => Ok(()),
        }
    }
}

impl Audience<'_> {
    /// The grant that lets this reader have the file; if there is none, the reason of the last one that does not.
    fn granted(&self, manifest: &str, trust: &Trust) -> Result<Grant, Error> {
        let mut reason = Error::AudienceMismatch {
            reader: self.reader.to_string(),
        };
        for stanza in self.stanzas {
            match Grant::open(stanza, self.file_key, trust) {
                Ok(None) => (),
                Ok(Some(grant)) => match grant.covers(manifest, self.reader, self.at) {
                    Ok(()) => return Ok(grant),
                    Err(error) => reason = error,
                },
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }
}
