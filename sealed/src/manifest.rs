//! What a sender signs: every tensor by digest, the other metadata, for whom and what the file is, and when it was made.
//!
//! Where it sits: the file writer puts it into `__metadata__` beside its signature, so both are encrypted with the rest; the reader
//! holds every tensor against it. Its JSON has one form (RFC 8785: no spaces, keys sorted, whole numbers), since bytes are signed.
//!
//! What it deliberately does not do: digests of the encrypted bytes. Whoever has the file key can make other chunks that open as well;
//! plaintext digests catch that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use veilsum_common::ids::RunId;
use veilsum_common::limits::{MAX_PRINCIPAL_BYTES, MAX_PURPOSE_BYTES};
use veilsum_common::model::{Header, Placed};
use veilsum_common::time::Timestamp;

use crate::error::Error;
use crate::recipient::Fingerprint;

/// What a sender says of a file, beside its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Who says it: a name that readers find in their list of signers, for a site its SPIFFE ID.
    pub sender: String,
    /// What the file is for.
    pub purpose: String,
    /// When it was made.
    pub created: Timestamp,
    /// The run it belongs to, if any: an old file then cannot pass for one of another run.
    pub run: Option<RunId>,
    /// The round it belongs to, if any.
    pub round: Option<u64>,
}

impl Statement {
    /// # Errors
    /// [`Error::Name`]: a name that a list of signers could not hold, or an endless purpose.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_name(&self.sender)?;
        check_purpose(&self.purpose)
    }
}

/// Whether a name can stand in a list of signers.
///
/// # Errors
/// [`Error::Name`].
pub fn check_name(name: &str) -> Result<(), Error> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || ",*?!\"#".contains(c);
    if name.is_empty() || name.len() > MAX_PRINCIPAL_BYTES || name.contains(odd) {
        return Err(Error::Name {
            what: "sender",
            limit_bytes: MAX_PRINCIPAL_BYTES,
        });
    }
    Ok(())
}

pub(crate) fn check_purpose(purpose: &str) -> Result<(), Error> {
    if purpose.len() > MAX_PURPOSE_BYTES || purpose.contains(char::is_control) {
        return Err(Error::Name {
            what: "purpose",
            limit_bytes: MAX_PURPOSE_BYTES,
        });
    }
    Ok(())
}

/// The signed description of one file. Fields are in the order of the alphabet, which is that of their JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// BLAKE3 of the file's other metadata, as canonical JSON.
    pub metadata: String,
    /// What the file is for.
    pub purpose: String,
    /// Fingerprints of those whom the sender meant to read it, sorted.
    pub recipients: Vec<String>,
    /// The round it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u64>,
    /// The run it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Who made it.
    pub sender: String,
    /// The tensors, in the order of their data.
    pub tensors: Vec<Line>,
    /// Version of this form.
    pub v: u32,
}

/// One tensor of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// BLAKE3 of its bytes.
    pub blake3: String,
    /// The type of its elements.
    pub dtype: String,
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<u64>,
}

impl Manifest {
    pub(crate) fn new(
        statement: &Statement,
        recipients: &[Fingerprint],
        metadata: &BTreeMap<String, String>,
        tensors: Vec<Line>,
    ) -> Self {
        let recipients = recipients.iter().map(|one| one.as_str().to_owned());
        Self {
            created_ms: statement.created.0,
            metadata: metadata_digest(metadata),
            purpose: statement.purpose.clone(),
            recipients: recipients.collect(),
            round: statement.round,
            run: statement.run,
            sender: statement.sender.clone(),
            tensors,
            v: VERSION,
        }
    }

    /// The bytes that are signed.
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are JSON")
    }

    /// BLAKE3 of the signed bytes, in hexadecimal: how a grant names it.
    pub fn digest(&self) -> String {
        blake3::hash(self.canonical().as_bytes())
            .to_hex()
            .to_string()
    }

    /// Reads one, and refuses any other spelling of it.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`].
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let manifest: Self = serde_json::from_str(text)
            .map_err(|_| Error::ManifestInvalid("it is not the JSON of a manifest"))?;
        if manifest.v != VERSION {
            return Err(Error::ManifestInvalid("it is of another version"));
        }
        if manifest.canonical() != text {
            return Err(Error::ManifestInvalid("it is not in its one form"));
        }
        Ok(manifest)
    }

    /// Whether it speaks of exactly what the header has.
    ///
    /// # Errors
    /// [`Error::ManifestMismatch`] names the first tensor that differs, or the metadata.
    pub(crate) fn check(&self, header: &Header, own: [&str; 2]) -> Result<(), Error> {
        let mismatch = |what: &str| Error::ManifestMismatch {
            what: what.to_owned(),
        };
        let mut metadata = header.metadata.clone();
        metadata.retain(|key, _| !own.contains(&key.as_str()));
        if metadata_digest(&metadata) != self.metadata {
            return Err(mismatch("the metadata"));
        }
        if self.tensors.len() != header.tensors.len() {
            return Err(mismatch("the number of tensors"));
        }
        for (line, found) in self.tensors.iter().zip(&header.tensors) {
            let Placed {
                name, dtype, shape, ..
            } = found;
            if line.name != *name || line.dtype != dtype.to_string() || line.shape != *shape {
                return Err(mismatch(&line.name));
            }
        }
        Ok(())
    }
}

/// BLAKE3 of a map of texts as canonical JSON.
fn metadata_digest(metadata: &BTreeMap<String, String>) -> String {
    let json = serde_json::to_string(metadata).expect("texts are JSON");
    blake3::hash(json.as_bytes()).to_hex().to_string()
}

const VERSION: u32 = 1;

#[cfg(test)]
mod tests;
