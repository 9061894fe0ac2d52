//! The header of the safetensors file inside: places follow from the declared shapes, the manifest from the digests.
//!
//! Its length is known before the digests are: a digest has 64 characters, whatever it is, and an Ed25519 signature one length. So room
//! is kept with zeros, the data is written behind it, and the header that is sealed in the end has the same length to the byte.

use std::collections::{BTreeMap, BTreeSet};

use veilsum_common::limits::{MAX_ELEMENTS, MAX_SEALED_HEADER_BYTES, MAX_TENSOR_NAME, MAX_TENSORS};

use super::writer::Sender;
use super::{Declared, MANIFEST_KEY, SIGNATURE_KEY};
use crate::error::Error;
use crate::manifest::{Line, Manifest};
use crate::recipient::Fingerprint;
use crate::sshsig::{self, Namespace};

/// What the header is made of.
pub(super) struct Head<'a> {
    tensors: Vec<Declared>,
    /// Bytes of each.
    sizes: Vec<u64>,
    metadata: BTreeMap<String, String>,
    recipients: Vec<Fingerprint>,
    sender: Option<Sender<'a>>,
}

impl<'a> Head<'a> {
    /// Checks what is declared.
    ///
    /// # Errors
    /// [`Error::Declared`] names the tensor: its name stands twice or is too long, its size is out of bounds or no whole bytes;
    /// [`Error::ReservedKey`]; [`Error::Name`].
    pub(super) fn new(
        tensors: Vec<Declared>,
        metadata: BTreeMap<String, String>,
        recipients: Vec<Fingerprint>,
        sender: Option<Sender<'a>>,
    ) -> Result<Self, Error> {
        if let Some(sender) = &sender {
            sender.statement.check()?;
        }
        for key in [MANIFEST_KEY, SIGNATURE_KEY] {
            if metadata.contains_key(key) {
                return Err(Error::ReservedKey { key });
            }
        }
        if tensors.len() > MAX_TENSORS {
            return Err(Error::TooManyTensors {
                have: tensors.len(),
                limit: MAX_TENSORS,
            });
        }
        let mut names = BTreeSet::new();
        let mut sizes = Vec::new();
        for tensor in &tensors {
            sizes.push(checked(tensor, names.insert(&tensor.name))?);
        }
        Ok(Self {
            tensors,
            sizes,
            metadata,
            recipients,
            sender,
        })
    }

    pub(super) fn tensors(&self) -> &[Declared] {
        &self.tensors
    }

    pub(super) fn is_signed(&self) -> bool {
        self.sender.is_some()
    }

    pub(super) fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    /// Length word and JSON, padded to eight bytes; with the digests of all tensors, or with room for them.
    ///
    /// # Errors
    /// [`Error::SealedHeaderTooLong`].
    pub(super) fn bytes(&self, digests: Option<&[blake3::Hash]>) -> Result<Vec<u8>, Error> {
        let mut metadata = self.metadata.clone();
        if let Some(sender) = &self.sender {
            let manifest = self
                .manifest(sender, digests.unwrap_or_default())
                .canonical();
            // What keeps room for the signature signs nothing.
            let message = digests.map_or(&b""[..], |_| manifest.as_bytes());
            let sig = sshsig::sign(sender.key, Namespace::Manifest, message);
            metadata.insert(MANIFEST_KEY.to_owned(), manifest);
            metadata.insert(SIGNATURE_KEY.to_owned(), sig);
        }
        let mut json = String::from("{");
        if !metadata.is_empty() {
            json.push_str("\"__metadata__\":");
            json.push_str(&text(&metadata));
        }
        let mut start = 0;
        for (tensor, size) in self.tensors.iter().zip(&self.sizes) {
            let Declared { name, dtype, shape } = tensor;
            let comma = if json.len() == 1 { "" } else { "," };
            let (name, shape, end) = (text(name), text(shape), start + size);
            json.push_str(&format!(
                r#"{comma}{name}:{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#
            ));
            start = end;
        }
        json.push('}');
        while !json.len().is_multiple_of(ALIGNMENT) {
            json.push(' ');
        }
        let length = json.len() as u64;
        if length > MAX_SEALED_HEADER_BYTES {
            return Err(Error::SealedHeaderTooLong {
                header_bytes: length,
                limit_bytes: MAX_SEALED_HEADER_BYTES,
            });
        }
        Ok([&length.to_le_bytes()[..], json.as_bytes()].concat())
    }

    fn manifest(&self, sender: &Sender<'_>, digests: &[blake3::Hash]) -> Manifest {
        let none = blake3::Hash::from_bytes([0; 32]);
        let lines = self.tensors.iter().enumerate().map(|(at, tensor)| Line {
            blake3: digests.get(at).unwrap_or(&none).to_hex().to_string(),
            dtype: tensor.dtype.to_string(),
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
        });
        let lines = lines.collect();
        Manifest::new(&sender.statement, &self.recipients, &self.metadata, lines)
    }
}

/// Bytes of a tensor whose name is `new`.
fn checked(tensor: &Declared, new: bool) -> Result<u64, Error> {
    let wrong = |what| Error::Declared {
        tensor: tensor.name.chars().take(80).collect(),
        what,
    };
    if !new || tensor.name == "__metadata__" {
        return Err(wrong("its name is taken"));
    }
    if tensor.name.is_empty() || tensor.name.len() > MAX_TENSOR_NAME {
        return Err(wrong("its name is empty or too long"));
    }
    let elements = tensor
        .shape
        .iter()
        .try_fold(1_u64, |product, dimension| product.checked_mul(*dimension));
    let elements = elements.filter(|elements| *elements <= MAX_ELEMENTS);
    let elements = elements.ok_or_else(|| wrong("it has more elements than are supported"))?;
    let bits = elements * tensor.dtype.bitsize() as u64;
    if bits.is_multiple_of(8) {
        Ok(bits / 8)
    } else {
        Err(wrong("its elements do not fill whole bytes"))
    }
}

fn text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("texts and numbers are JSON")
}

/// Data begins where any type of element may.
const ALIGNMENT: usize = 8;
