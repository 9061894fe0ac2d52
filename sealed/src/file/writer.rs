//! Writes a sealed file in one pass over its tensors, in memory that does not grow with them.
//!
//! The header stands first and is known last. So the chunks that hold it are kept back, the rest is sealed and written behind them, and
//! they are sealed at the end, with the digests: every chunk once.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};

use super::Declared;
use super::head::Head;
use crate::age::header::Header;
use crate::age::payload::CHUNK_BYTES;
use crate::age::writer::{Chunks, sealed_bytes};
use crate::age::{FileKey, NONCE_BYTES};
use crate::entropy::{Entropy, draw};
use crate::error::Error;
use crate::keys::SshIdentity;
use crate::manifest::Statement;
use crate::recipient::Lock;

/// Who vouches for a file.
pub struct Sender<'a> {
    /// The key that signs.
    pub key: &'a SshIdentity,
    /// What is said.
    pub statement: Statement,
}

/// A sealed file on its way out. The output is a sealed file only after [`SealedWriter::finish`]; give it its name then.
pub struct SealedWriter<'a, W: Write + Seek> {
    out: W,
    head: Head<'a>,
    file_key: FileKey,
    nonce: [u8; NONCE_BYTES],
    /// Where the first chunk goes in `out`.
    chunks_start: u64,
    /// Length of the plaintext.
    total_bytes: u64,
    /// Plaintext of the first chunks: header and the data behind it, as far as it has come.
    held: Vec<u8>,
    held_bytes: usize,
    chunks: Chunks,
    digests: Vec<blake3::Hash>,
    /// A tensor broke off: what is there is not what was declared, and nothing can follow it.
    broken: bool,
}

impl<'a, W: Write + Seek> SealedWriter<'a, W> {
    /// Begins a file of these tensors, whose data will come in this order. Tensors with wider elements first keep all of them aligned.
    ///
    /// # Errors
    /// [`Error`]: what is declared contradicts itself or goes beyond a limit, the recipients do not go together, or `out` fails.
    pub fn begin(
        mut out: W,
        lock: Lock<'_>,
        tensors: Vec<Declared>,
        metadata: BTreeMap<String, String>,
        sender: Option<Sender<'a>>,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, Error> {
        let head = Head::new(tensors, metadata, lock.fingerprints(), sender)?;
        let held = head.bytes(None)?;
        let data_bytes = head.sizes().iter().sum::<u64>();
        let total_bytes = held.len() as u64 + data_bytes;
        let held_end = (held.len().div_ceil(CHUNK_BYTES) * CHUNK_BYTES) as u64;
        let held_end = held_end.min(total_bytes);
        let file_key = FileKey::draw(entropy);
        let age = Header::seal(lock.stanzas(&file_key, entropy)?, &file_key);
        let nonce = *draw::<NONCE_BYTES>(entropy);
        let start = out.stream_position().map_err(Error::Unwritten)?;
        let chunks_start = start + (age.len() + NONCE_BYTES) as u64;
        let mut begin = || {
            out.write_all(&age)?;
            out.write_all(&nonce)?;
            out.seek(SeekFrom::Start(chunks_start + sealed_bytes(held_end)))
        };
        begin().map_err(Error::Unwritten)?;
        Ok(Self {
            out,
            chunks: Chunks::range(&file_key, &nonce, total_bytes, held_end, total_bytes),
            head,
            file_key,
            nonce,
            chunks_start,
            total_bytes,
            held,
            held_bytes: usize::try_from(held_end).expect("a header fits an address space"),
            digests: Vec::new(),
            broken: false,
        })
    }

    /// The tensor whose data comes next.
    pub fn next(&self) -> Option<&Declared> {
        self.head.tensors().get(self.digests.len())
    }

    /// Takes all of the next tensor's data.
    ///
    /// # Errors
    /// [`Error::Declared`] if it is not the next one; [`Error::DataLength`] if `data` is shorter or longer than declared.
    pub fn tensor(&mut self, name: &str, data: &mut dyn Read) -> Result<(), Error> {
        // Nobody asks for the digests of a file that nobody signs.
        if self.head.is_signed() {
            return self.digested(name, data).map(|_| ());
        }
        self.next_tensor(name, data, |_| ())?;
        self.digests.push(blake3::Hash::from_bytes([0; 32]));
        Ok(())
    }

    /// As [`SealedWriter::tensor`]; gives the digest of what was read.
    pub(crate) fn digested(
        &mut self,
        name: &str,
        data: &mut dyn Read,
    ) -> Result<blake3::Hash, Error> {
        let mut hasher = blake3::Hasher::new();
        self.next_tensor(name, data, |block| {
            hasher.update(block);
        })?;
        let digest = hasher.finalize();
        self.digests.push(digest);
        Ok(digest)
    }

    /// Seals all of the next tensor's data, and shows it to `each` on its way.
    fn next_tensor(
        &mut self,
        name: &str,
        data: &mut dyn Read,
        each: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let index = self.digests.len();
        let declared = self.head.tensors().get(index);
        if self.broken || declared.is_none_or(|declared| declared.name != name) {
            return Err(Error::Declared {
                tensor: name.chars().take(80).collect(),
                what: "it is not the next one that was declared, or one before it broke off",
            });
        }
        self.broken = true;
        self.copy(name, data, self.head.sizes()[index], each)?;
        self.broken = false;
        Ok(())
    }

    fn copy(
        &mut self,
        tensor: &str,
        data: &mut dyn Read,
        need_bytes: u64,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let mut buffer = vec![0; READ_BYTES];
        let mut have_bytes = 0;
        loop {
            let some = match data.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.map_err(Error::SourceUnread)?,
            };
            have_bytes += some as u64;
            if have_bytes > need_bytes || (some == 0 && have_bytes < need_bytes) {
                return Err(Error::DataLength {
                    tensor: tensor.to_owned(),
                    need_bytes,
                });
            }
            if some == 0 {
                return Ok(());
            }
            each(&buffer[..some]);
            self.write(&buffer[..some])?;
        }
    }

    /// Seals what was kept back; gives the output, which is then whole, and its length.
    ///
    /// # Errors
    /// [`Error::Declared`] if a tensor is missing; or the output fails.
    pub fn finish(mut self) -> Result<(W, u64), Error> {
        if let Some(missing) = self.next() {
            return Err(Error::Declared {
                tensor: missing.name.clone(),
                what: "its data was not given, or not all of it",
            });
        }
        self.chunks.finish(&mut self.out)?;
        let head = self.head.bytes(Some(&self.digests))?;
        self.held[..head.len()].copy_from_slice(&head);
        let to_start = self.out.seek(SeekFrom::Start(self.chunks_start));
        to_start.map_err(Error::Unwritten)?;
        let held_end = self.held.len() as u64;
        let mut first = Chunks::range(&self.file_key, &self.nonce, self.total_bytes, 0, held_end);
        first.write(&mut self.out, &self.held)?;
        first.finish(&mut self.out)?;
        let end = self.chunks_start + sealed_bytes(self.total_bytes);
        let ended = self.out.seek(SeekFrom::Start(end));
        ended
            .and_then(|_| self.out.flush())
            .map_err(Error::Unwritten)?;
        Ok((self.out, end))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let room = self.held_bytes - self.held.len();
        let (held, rest) = bytes.split_at(bytes.len().min(room));
        self.held.extend_from_slice(held);
        self.chunks.write(&mut self.out, rest)
    }
}

/// Bytes read from a source at once.
const READ_BYTES: usize = 256 * 1024;
