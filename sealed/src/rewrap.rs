//! Passing a file on, taking leave back, and sealing anew.
//!
//! | | header | payload | who can still read it |
//! |---|---|---|---|
//! | [`SealedFile::grant`] | new, for the new readers | the same bytes | the new readers; the old ones with the old header |
//! | [`SealedFile::withdraw`] | new, for those who remain | the same bytes | also whoever kept a header or the file key: [`Effect::FutureAccessOnly`] |
//! | [`reseal`] | new | encrypted anew under a new key | of the new file only the named readers: [`Effect::Removed`] |
//!
//! A new header costs a few hundred bytes and the same time at any length of the file. No call takes back what was read before.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, Write};
use std::ops::Range;

use veilsum_common::time::Timestamp;

use crate::age::header::Header;
use crate::entropy::Entropy;
use crate::error::Error;
use crate::file::{Declared, MANIFEST_KEY, SIGNATURE_KEY, SealedFile, SealedWriter, Sender};
use crate::gate::{Action, Gate, Request};
use crate::grant::{Grant, VERSION};
use crate::keys::SshIdentity;
use crate::manifest::{check_name, check_purpose};
use crate::recipient::{Fingerprint, Lock, Recipient};

/// What a call changed for somebody who may read no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They find themselves in no new header. With an old header, or a file key that they kept, they read this payload as before.
    FutureAccessOnly,
    /// The new file has another key, which they never had. Copies of the old file are as readable as before.
    Removed,
}

/// Who gives leave, and on what terms.
pub struct Terms<'a> {
    /// The key that signs.
    pub key: &'a SshIdentity,
    /// The name under which readers trust that key with grants.
    pub granter: String,
    /// What the file may be used for.
    pub purpose: String,
    /// From when on readers no longer take the grant; none for never.
    pub expires: Option<Timestamp>,
}

impl SealedFile<'_> {
    /// A new header, with a signed grant in it, under which `readers` open the payload as it is. The new file is the header and then
    /// [`SealedFile::payload`] of this one.
    ///
    /// # Errors
    /// [`Error::ManifestMissing`] if the file is not signed: a grant names what it is for. [`Error::Denied`], [`Error::NotRecorded`],
    /// [`Error::Name`], and those of [`Lock`].
    ///
    /// # Security
    /// The readers get the key of this payload and can pass it on as well.
    pub fn grant(
        &self,
        readers: &[Recipient],
        terms: &Terms<'_>,
        gate: &mut Gate<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, Error> {
        check_name(&terms.granter)?;
        check_purpose(&terms.purpose)?;
        let manifest = self.manifest().ok_or(Error::ManifestMissing)?.digest();
        let lock = Lock::Recipients(readers);
        let names = lock.fingerprints();
        self.pass(Action::Grant, &names, Some(&terms.purpose), gate)?;
        let grant = Grant {
            created_ms: gate.at.0,
            expires_ms: terms.expires.map(|at| at.0),
            granter: terms.granter.clone(),
            manifest,
            purpose: terms.purpose.clone(),
            recipients: names.iter().map(ToString::to_string).collect(),
            v: VERSION,
        };
        let mut stanzas = lock.stanzas(&self.file_key, entropy)?;
        stanzas.push(grant.seal(terms.key, &self.file_key, entropy));
        Ok(Header::seal(stanzas, &self.file_key))
    }

    /// A new header for those who remain, and what that is worth. Readers that are not named find themselves in it no longer.
    ///
    /// # Errors
    /// As [`SealedFile::grant`].
    pub fn withdraw(
        &self,
        remaining: &[Recipient],
        terms: &Terms<'_>,
        gate: &mut Gate<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<(Vec<u8>, Effect), Error> {
        let header = self.grant(remaining, terms, gate, entropy)?;
        Ok((header, Effect::FutureAccessOnly))
    }

    /// Where the payload lies in the file: what follows a new header.
    pub fn payload(&self) -> Range<u64> {
        self.payload_start..self.source.len_bytes()
    }

    fn pass(
        &self,
        action: Action,
        readers: &[Fingerprint],
        purpose: Option<&str>,
        gate: &mut Gate<'_>,
    ) -> Result<(), Error> {
        gate.pass(&Request {
            action,
            payload: self.payload_name()?,
            identities: vec![self.opened_by().clone()],
            readers: readers.to_vec(),
            purpose: purpose.map(str::to_owned),
            at: gate.at,
        })
    }
}

/// Writes the contents of `file` anew: under a new key, for the readers of `lock` alone, signed by `sender`. Gives the output and its length.
///
/// Every tensor that has a digest is held against it on the way, in constant memory.
///
/// # Errors
/// Those of reading and of writing; [`Error::Denied`], [`Error::NotRecorded`]. What `out` has is then no sealed file.
pub fn reseal<W: Write + Seek>(
    file: &SealedFile<'_>,
    out: W,
    lock: Lock<'_>,
    sender: Option<Sender<'_>>,
    gate: &mut Gate<'_>,
    entropy: &mut dyn Entropy,
) -> Result<(W, u64, Effect), Error> {
    let purpose = sender
        .as_ref()
        .map(|sender| sender.statement.purpose.clone());
    file.pass(
        Action::Reseal,
        &lock.fingerprints(),
        purpose.as_deref(),
        gate,
    )?;
    let mut metadata: BTreeMap<_, _> = file.metadata().clone();
    metadata.retain(|key, _| key != MANIFEST_KEY && key != SIGNATURE_KEY);
    let declared = file.tensors().iter().map(|placed| Declared {
        name: placed.name.clone(),
        dtype: placed.dtype,
        shape: placed.shape.clone(),
    });
    let mut writer = SealedWriter::begin(out, lock, declared.collect(), metadata, sender, entropy)?;
    for (index, placed) in file.tensors().iter().enumerate() {
        let mut data = Plaintext {
            file,
            left: placed.place.clone(),
            failed: None,
        };
        let written = writer.digested(&placed.name, &mut data);
        // What went wrong in reading has its own name.
        if let Some(error) = data.failed {
            return Err(error);
        }
        file.hold(index, written?)?;
    }
    let (out, len_bytes) = writer.finish()?;
    Ok((out, len_bytes, Effect::Removed))
}

/// The plaintext of one tensor, to read from its start.
struct Plaintext<'a, 'f> {
    file: &'a SealedFile<'f>,
    left: Range<u64>,
    failed: Option<Error>,
}

impl Read for Plaintext<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
        let count = out.len().min(left);
        if let Err(error) = self.file.plaintext(&mut out[..count], self.left.start) {
            self.failed = Some(error);
            return Err(io::Error::other("the sealed file that is sealed anew"));
        }
        self.left.start += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
