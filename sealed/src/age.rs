//! The age v1 file format: a header that wraps one file key for each recipient, and a payload of encrypted chunks.
//!
//! Where it sits: below [`crate::file`], which puts a safetensors file into the payload; beside [`crate::recipient`], which wraps file
//! keys. A file made here opens with any age, and the other way round. [`Container::seal`] and [`Container::open`] do it for bytes in
//! memory, such as an identity under a passphrase.
//!
//! What it deliberately does not do: ASCII armour (a file of tensors is not mailed as text), plug-ins.
//! Source: <https://c2sp.org/age>.

pub(crate) mod header;
pub(crate) mod payload;
pub(crate) mod reader;
pub(crate) mod writer;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use hkdf::Hkdf;
use sha2::Sha256;
use veilsum_common::model::Source;
use zeroize::{Zeroize as _, Zeroizing};

use crate::entropy::{Entropy, draw};
use crate::error::Error;
use crate::recipient::{Identity, Lock, Unlocked, unlock};
use header::Header;
use reader::Payload;

/// The 16 bytes that open one file: every recipient's stanza wraps the same.
///
/// # Security
/// Whoever has it has the file, and can make another one under the same header. It never leaves this crate.
pub(crate) struct FileKey(Box<[u8; 16]>);

impl FileKey {
    pub(crate) fn draw(entropy: &mut dyn Entropy) -> Self {
        let mut key = Self(Box::new([0; 16]));
        entropy.fill(&mut key.0[..]);
        key
    }

    /// `HKDF-SHA-256(ikm = file key, salt, info)`
    pub(crate) fn derive(&self, salt: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
        derive(&self.0[..], salt, info)
    }

    /// `body = ChaCha20-Poly1305(key = wrap key, plaintext = file key)`, under a nonce of zeros: a wrap key is used once.
    pub(crate) fn wrapped(&self, wrap_key: &[u8; 32]) -> Vec<u8> {
        self.sealed(&cipher(wrap_key), zero_nonce())
    }

    /// Encrypted under this key and nonce, which are used once.
    pub(crate) fn sealed(&self, key: &LessSafeKey, nonce: Nonce) -> Vec<u8> {
        // Room for the tag from the start: a vector that grows leaves a copy behind.
        let mut body = Vec::with_capacity(WRAPPED_BYTES);
        body.extend_from_slice(&self.0[..]);
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut body)
            .expect("sixteen bytes are not too long");
        body
    }

    /// The reverse of [`FileKey::wrapped`]; none if the body was not made under this wrap key.
    pub(crate) fn unwrapped(wrap_key: &[u8; 32], body: &[u8; WRAPPED_BYTES]) -> Option<Self> {
        Self::opened(&cipher(wrap_key), zero_nonce(), body)
    }

    /// What `body` holds under this key and nonce; none if it was not made under them.
    pub(crate) fn opened(
        key: &LessSafeKey,
        nonce: Nonce,
        body: &[u8; WRAPPED_BYTES],
    ) -> Option<Self> {
        let mut body = Zeroizing::new(*body);
        let key = key.open_in_place(nonce, Aad::empty(), &mut body[..]);
        let key: &[u8] = key.ok()?;
        let mut place = Self(Box::new([0; 16]));
        place.0.copy_from_slice(key);
        Some(place)
    }
}

impl Drop for FileKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// `HKDF-SHA-256(ikm, salt, info)`, 32 bytes.
pub(crate) fn derive(ikm: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), ikm)
        .expand(info, &mut out[..])
        .expect("32 bytes are one block of SHA-256");
    out
}

pub(crate) fn cipher(key: &[u8; 32]) -> LessSafeKey {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key);
    LessSafeKey::new(key.expect("a key of ChaCha20-Poly1305 has 32 bytes"))
}

pub(crate) fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Bytes in an age file, both in memory.
#[derive(Clone, Copy, Debug)]
pub struct Container;

impl Container {
    /// Encrypts `plaintext`.
    ///
    /// # Errors
    /// As [`Lock`] says: no recipients, too many of them, or classic and post-quantum ones together.
    pub fn seal(
        plaintext: &[u8],
        lock: Lock<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, Error> {
        let file_key = FileKey::draw(entropy);
        let mut file = Header::seal(lock.stanzas(&file_key, entropy)?, &file_key);
        let nonce = draw::<NONCE_BYTES>(entropy);
        file.extend_from_slice(&nonce[..]);
        let total_bytes = plaintext.len() as u64;
        let mut payload = writer::Chunks::new(&file_key, &nonce, total_bytes);
        payload.write(&mut file, plaintext)?;
        payload.finish(&mut file)?;
        Ok(file)
    }

    /// Decrypts all of `source`, at most `limit_bytes`.
    ///
    /// # Errors
    /// [`Error`]: none of `identities` fits, or the file was changed or cut.
    pub fn open(
        source: &dyn Source,
        identities: &[Identity],
        limit_bytes: u64,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (header, payload_start) = Header::read(source)?;
        let Unlocked { file_key, .. } = unlock(&header, identities)?;
        let payload = Payload::open(source, payload_start, &file_key)?;
        let len_bytes = payload.len_bytes();
        if len_bytes > limit_bytes {
            return Err(Error::TooLong {
                len_bytes,
                limit_bytes,
            });
        }
        let len = usize::try_from(len_bytes).expect("the limit fits an address space");
        let mut plaintext = Zeroizing::new(vec![0; len]);
        payload.read(&mut plaintext, 0)?;
        Ok(plaintext)
    }
}

/// A file key and the tag of its encryption.
pub(crate) const WRAPPED_BYTES: usize = 32;
/// Of the payload's nonce, which stands between header and chunks.
pub(crate) const NONCE_BYTES: usize = 16;
