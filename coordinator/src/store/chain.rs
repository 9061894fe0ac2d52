//! The chain of digests that runs through a stream.
//!
//! An entry's digest covers its header (stream, number, time, kind, sender), the digest of its stored payload and the digest of the entry
//! before. Because the payload takes part only through its own digest, the chain still verifies when a scrub has erased the payloads; and
//! because that digest is of the *stored* bytes, which are sealed under a random nonce where they reach a disk, it says nothing about what
//! was erased. The chain finds damage and missing rows. It does not stop somebody who rewrites all of it.

use blake3::Hasher;
use veilsum_common::time::Timestamp;
use veilsum_secagg::Digest;

use super::{Entry, Error, StreamId};

#[cfg(test)]
mod tests;

/// What stands before the first entry of every stream.
pub(super) const GENESIS: Digest = Digest::ZERO;

/// One entry as a backend keeps it.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) number: u64,
    pub(super) at: Timestamp,
    pub(super) kind: String,
    pub(super) sender: Option<String>,
    /// As stored: sealed or plain, and nothing once scrubbed.
    pub(super) payload: Option<Vec<u8>>,
    pub(super) payload_digest: Digest,
    pub(super) digest: Digest,
}

impl Row {
    /// Puts `entry`, whose payload is already as it is to be stored, behind the entry with the digest `previous`.
    pub(super) fn link(stream: StreamId, number: u64, entry: Entry, previous: &Digest) -> Self {
        let mut row = Self {
            number,
            at: entry.at,
            kind: entry.kind,
            sender: entry.sender,
            payload_digest: Digest::of_bulk(&entry.payload),
            payload: Some(entry.payload),
            digest: GENESIS,
        };
        row.digest = row.chained(stream, previous);
        row
    }

    /// The bytes that say which entry this is, for the chain and for the seal.
    pub(super) fn header(&self, stream: StreamId) -> Vec<u8> {
        header(
            stream,
            self.number,
            self.at,
            &self.kind,
            self.sender.as_deref(),
        )
    }

    fn chained(&self, stream: StreamId, previous: &Digest) -> Digest {
        let mut hasher = Hasher::new_derive_key("veilsum coordinator store v1 entry");
        hasher.update(&self.header(stream));
        hasher.update(&self.payload_digest.0);
        hasher.update(&previous.0);
        Digest(*hasher.finalize().as_bytes())
    }

    fn holds(&self, stream: StreamId, number: u64, previous: &Digest) -> bool {
        let payload_fits = self
            .payload
            .as_ref()
            .is_none_or(|payload| Digest::of_bulk(payload) == self.payload_digest);
        self.number == number && payload_fits && self.chained(stream, previous) == self.digest
    }
}

/// Checks that `rows` are the entries from `first` up to, not including, `head`, behind the entry with the digest `previous`.
pub(super) fn verify(
    stream: StreamId,
    first: u64,
    head: u64,
    previous: Digest,
    rows: &[Row],
) -> Result<(), Error> {
    let mut previous = previous;
    let mut number = first;
    for row in rows {
        if !row.holds(stream, number, &previous) {
            return Err(Error::Diverged { stream, number });
        }
        previous = row.digest;
        number += 1;
    }
    if number == head {
        Ok(())
    } else {
        // The first that is missing, or the first of those that are too many.
        Err(Error::Diverged {
            stream,
            number: number.min(head),
        })
    }
}

/// stream ‖ number ‖ time ‖ kind ‖ (0, or 1 ‖ sender); texts behind their length, integers as 8 bytes, little-endian.
pub(super) fn header(
    stream: StreamId,
    number: u64,
    at: Timestamp,
    kind: &str,
    sender: Option<&str>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_text(&mut bytes, &stream.to_string());
    bytes.extend(number.to_le_bytes());
    bytes.extend(at.0.to_le_bytes());
    put_text(&mut bytes, kind);
    bytes.push(u8::from(sender.is_some()));
    if let Some(sender) = sender {
        put_text(&mut bytes, sender);
    }
    bytes
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
