//! Reads a sealed file: header and proofs first, then any tensor by itself.
//!
//! The order of the checks is that of what they rest on: the gate permits; the age header is the one that was written; the last chunk
//! proves the length; the safetensors header has no holes and no name twice; the manifest speaks of this header and of these readers,
//! and is signed by somebody the reader trusts. A tensor is held against its digest when it is read.

use std::num::NonZeroUsize;
use std::ops::Range;

use data_encoding::HEXLOWER;
use safetensors::Dtype;
use veilsum_common::limits::{MAX_SEALED_HEADER_BYTES, MAX_TENSORS};
use veilsum_common::model::{Bounds, Header, Placed, Source};
use zeroize::Zeroizing;

use super::proof::{Audience, Signed};
use crate::age::header::Header as AgeHeader;
use crate::age::reader::Payload;
use crate::age::{FileKey, NONCE_BYTES};
use crate::error::Error;
use crate::gate::{Action, Gate, Request};
use crate::keys::SshPublic;
use crate::manifest::Manifest;
use crate::recipient::{Fingerprint, Identity, Unlocked, unlock};
use crate::trust::Trust;

/// How much of what a file says of itself must be true.
#[derive(Clone, Copy, Debug)]
pub enum Verify<'a> {
    /// It is signed by a sender whom the reader trusts, for this reader, and for this purpose if one is named. Every tensor has its digest.
    Sender {
        /// Whose signatures count.
        trust: &'a Trust,
        /// What the file must be for.
        purpose: Option<&'a str>,
    },
    /// Whoever made it: unsigned files are read, and so are files for other readers. Digests are checked where there are any.
    Anybody,
    /// Nothing beyond the encryption, so that a slice is read without the rest of its tensor. Any reader can have changed the file.
    AeadOnly,
}

/// What a file is opened with.
pub struct Opening<'a, 'g> {
    /// Keys to try.
    pub identities: &'a [Identity],
    /// What is checked.
    pub verify: Verify<'a>,
    /// Who is asked first.
    pub gate: &'a mut Gate<'g>,
}

/// An open file. Nothing of its tensors is in memory.
pub struct SealedFile<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) payload_start: u64,
    pub(crate) file_key: FileKey,
    payload: Payload<'a>,
    header: Header,
    signed: Option<Signed>,
    opened_by: Fingerprint,
    check_digests: bool,
}

/// One tensor, or some rows of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorBuf {
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<u64>,
    /// Its elements, little-endian.
    pub bytes: Vec<u8>,
}

impl<'a> SealedFile<'a> {
    /// Opens a file: everything is checked but the tensors' bytes.
    ///
    /// # Errors
    /// [`Error`]; each check has its own.
    pub fn open(source: &'a dyn Source, opening: Opening<'_, '_>) -> Result<Self, Error> {
        let Opening {
            identities,
            verify,
            gate,
        } = opening;
        let (age, payload_start) = AgeHeader::read(source)?;
        let purpose = match verify {
            Verify::Sender { purpose, .. } => purpose.map(str::to_owned),
            Verify::Anybody | Verify::AeadOnly => None,
        };
        gate.pass(&Request {
            action: Action::Open,
            payload: payload_name(source, payload_start)?,
            identities: identities.iter().map(Identity::fingerprint).collect(),
            readers: Vec::new(),
            purpose,
            at: gate.at,
        })?;
        let Unlocked { file_key, by } = unlock(&age, identities)?;
        let payload = Payload::open(source, payload_start, &file_key)?;
        let header = Header::read(&payload, BOUNDS)?;
        let signed = Signed::of(&header)?;
        if let Verify::Sender { trust, purpose } = verify {
            let signed = signed.as_ref().ok_or(Error::ManifestMissing)?;
            let audience = Audience {
                stanzas: &age.stanzas,
                file_key: &file_key,
                reader: &by,
                at: gate.at,
            };
            signed.check_sender(trust)?;
            signed.check_reader(&audience, trust, purpose)?;
        }
        Ok(Self {
            source,
            payload_start,
            file_key,
            payload,
            header,
            signed,
            opened_by: by,
            check_digests: !matches!(verify, Verify::AeadOnly),
        })
    }

    /// Reads on this many threads at most.
    #[must_use]
    pub fn on_threads(mut self, threads: NonZeroUsize) -> Self {
        self.payload = self.payload.on_threads(threads);
        self
    }

    /// Its tensors, in the order of their data, without the bytes.
    pub fn tensors(&self) -> &[Placed] {
        &self.header.tensors
    }

    /// Its metadata, manifest and signature included.
    pub fn metadata(&self) -> &std::collections::BTreeMap<String, String> {
        &self.header.metadata
    }

    /// Its manifest, if it is signed.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.signed.as_ref().map(|signed| &signed.manifest)
    }

    /// The armoured signature on the manifest's canonical bytes, and the key that made it.
    pub fn signature(&self) -> Option<(&str, &SshPublic)> {
        let signed = self.signed.as_ref();
        signed.map(|signed| (signed.signature.as_str(), &signed.key))
    }

    /// Whose identity opened it.
    pub fn opened_by(&self) -> &Fingerprint {
        &self.opened_by
    }

    /// Length of the safetensors file inside.
    pub fn len_bytes(&self) -> u64 {
        self.payload.len_bytes()
    }

    /// All of one tensor, held against its digest.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::ManifestMismatch`], [`Error::ChunkRejected`], [`Error::Unreadable`].
    pub fn tensor(&self, name: &str) -> Result<TensorBuf, Error> {
        let (index, placed) = self.find(name)?;
        let mut bytes = room(&placed.place);
        self.payload.read(&mut bytes, placed.place.start)?;
        if self.digest(index).is_some() {
            self.hold(index, blake3::hash(&bytes))?;
        }
        Ok(TensorBuf {
            dtype: placed.dtype,
            shape: placed.shape.clone(),
            bytes,
        })
    }

    /// Some rows of a tensor: `rows` counts along its first dimension. Only they are kept, but all of the tensor is read and held
    /// against its digest, unless the file was opened with [`Verify::AeadOnly`].
    ///
    /// # Errors
    /// As [`SealedFile::tensor`]; [`Error::Rows`] if the tensor does not have these rows, or they are no whole bytes.
    pub fn rows(&self, name: &str, rows: Range<u64>) -> Result<TensorBuf, Error> {
        let (index, placed) = self.find(name)?;
        let within = row_bytes(placed, &rows).ok_or(Error::Rows {
            start: rows.start,
            end: rows.end,
            have: placed.shape.first().copied().unwrap_or(0),
        })?;
        let start = placed.place.start;
        let wanted = start + within.start..start + within.end;
        let bytes = match self.digest(index) {
            None => {
                let mut bytes = room(&wanted);
                self.payload.read(&mut bytes, wanted.start)?;
                bytes
            }
            Some(expected) => self.digested(name, placed, wanted, expected)?,
        };
        let mut shape = placed.shape.clone();
        shape[0] = rows.end - rows.start;
        Ok(TensorBuf {
            dtype: placed.dtype,
            shape,
            bytes,
        })
    }

    /// Holds every tensor against its digest, in constant memory.
    ///
    /// # Errors
    /// As [`SealedFile::tensor`]; [`Error::ManifestMissing`] if there are no digests.
    pub fn verify_all(&self, mut done: impl FnMut(u64)) -> Result<(), Error> {
        let signed = self.signed.as_ref().ok_or(Error::ManifestMissing)?;
        for (placed, expected) in self.header.tensors.iter().zip(&signed.digests) {
            let mut hasher = blake3::Hasher::new();
            self.each_block(placed.place.clone(), |block, _| {
                hasher.update(block);
                done(block.len() as u64);
                Ok::<(), Error>(())
            })?;
            same(&placed.name, hasher.finalize(), *expected)?;
        }
        Ok(())
    }

    /// Gives `sink` all of the safetensors file inside, in order. Every tensor that has a digest is held against it as it passes: an
    /// error means that what `sink` has must not be used.
    ///
    /// # Errors
    /// As [`SealedFile::tensor`], or that of `sink`.
    pub fn copy_to<E: From<Error>>(
        &self,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_block(0..self.header.data_start, |block, _| sink(block))?;
        for (index, placed) in self.header.tensors.iter().enumerate() {
            if self.digest(index).is_none() {
                self.each_block(placed.place.clone(), |block, _| sink(block))?;
                continue;
            }
            let mut hasher = blake3::Hasher::new();
            self.each_block(placed.place.clone(), |block, _| {
                hasher.update(block);
                sink(block)
            })?;
            self.hold(index, hasher.finalize())?;
        }
        Ok(())
    }

    /// The name of the payload in logs.
    pub fn payload_name(&self) -> Result<String, Error> {
        payload_name(self.source, self.payload_start)
    }

    /// Fills `out` with the plaintext from `offset` on.
    pub(crate) fn plaintext(&self, out: &mut [u8], offset: u64) -> Result<(), Error> {
        self.payload.read(out, offset)
    }

    /// Holds what the tensor at `index` hashes to against its digest, if that is checked at all.
    pub(crate) fn hold(&self, index: usize, found: blake3::Hash) -> Result<(), Error> {
        let name = &self.header.tensors[index].name;
        self.digest(index)
            .map_or(Ok(()), |expected| same(name, found, expected))
    }

    fn find(&self, name: &str) -> Result<(usize, &Placed), Error> {
        let mut tensors = self.header.tensors.iter().enumerate();
        let found = tensors.find(|(_, placed)| placed.name == name);
        found.ok_or_else(|| Error::NoTensor {
            name: name.chars().take(80).collect(),
        })
    }

    /// What the tensor at `index` must hash to, if that is checked at all.
    fn digest(&self, index: usize) -> Option<blake3::Hash> {
        let signed = self.signed.as_ref().filter(|_| self.check_digests);
        signed.map(|signed| signed.digests[index])
    }

    /// The bytes at `wanted`, after the whole tensor was held against its digest.
    fn digested(
        &self,
        name: &str,
        placed: &Placed,
        wanted: Range<u64>,
        expected: blake3::Hash,
    ) -> Result<Vec<u8>, Error> {
        let mut kept = Vec::with_capacity(room_bytes(&wanted));
        let mut hasher = blake3::Hasher::new();
        self.each_block(placed.place.clone(), |block, at| {
            hasher.update(block);
            let within = |position: u64| {
                let offset = position.saturating_sub(at).min(block.len() as u64);
                usize::try_from(offset).expect("a block fits an address space")
            };
            kept.extend_from_slice(&block[within(wanted.start)..within(wanted.end)]);
            Ok::<(), Error>(())
        })?;
        same(name, hasher.finalize(), expected).map(|()| kept)
    }

    /// Gives the plaintext of a range in blocks, each with its position.
    fn each_block<E: From<Error>>(
        &self,
        range: Range<u64>,
        mut each: impl FnMut(&[u8], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut block, mut sealed) = (Zeroizing::new(Vec::new()), Vec::new());
        let mut at = range.start;
        while at < range.end {
            let count = (range.end - at).min(BLOCK_BYTES);
            block.resize(
                usize::try_from(count).expect("a block fits an address space"),
                0,
            );
            self.payload.read_through(&mut block, at, &mut sealed)?;
            each(&block, at)?;
            at += count;
        }
        Ok(())
    }
}

/// The nonce of a payload in hexadecimal: 16 random bytes that a new header keeps.
fn payload_name(source: &dyn Source, payload_start: u64) -> Result<String, Error> {
    let file_bytes = source.len_bytes();
    if file_bytes < payload_start + NONCE_BYTES as u64 {
        return Err(Error::Truncated { file_bytes });
    }
    let mut nonce = [0; NONCE_BYTES];
    let read = source.read_exact_at(&mut nonce, payload_start);
    read.map_err(Error::Unreadable)?;
    Ok(HEXLOWER.encode(&nonce))
}

fn same(tensor: &str, found: blake3::Hash, expected: blake3::Hash) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::ManifestMismatch {
        what: tensor.chars().take(80).collect(),
    })
}

/// The bytes of some rows within their tensor.
fn row_bytes(placed: &Placed, rows: &Range<u64>) -> Option<Range<u64>> {
    let (first, others) = placed.shape.split_first()?;
    if rows.start > rows.end || rows.end > *first {
        return None;
    }
    let elements = others.iter().try_fold(1_u64, |n, d| n.checked_mul(*d))?;
    let bits = elements.checked_mul(placed.dtype.bitsize() as u64)?;
    let bytes = |row: u64| {
        let bits = bits.checked_mul(row)?;
        (bits % 8 == 0).then_some(bits / 8)
    };
    Some(bytes(rows.start)?..bytes(rows.end)?)
}

fn room_bytes(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).expect("a tensor in memory fits an address space")
}

/// Its length is that of bytes in the file, which are there: the last chunk proved it.
fn room(range: &Range<u64>) -> Vec<u8> {
    vec![0; room_bytes(range)]
}

const BOUNDS: Bounds = Bounds {
    header_bytes: MAX_SEALED_HEADER_BYTES,
    tensors: MAX_TENSORS,
};
/// Plaintext that is looked at at once: a batch of chunks for every thread, and little memory.
const BLOCK_BYTES: u64 = 4 * 1024 * 1024;
