//! The header of an age file: one stanza for each recipient and a MAC under the file key.
//!
//! Parsing is strict, so that a header has one spelling: what is read here would be written the same way. Length and count are
//! bounded before anything is kept. What stanzas mean is [`crate::recipient`]'s business.

use data_encoding::BASE64_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use veilsum_common::limits::{MAX_AGE_HEADER_BYTES, MAX_RECIPIENTS};
use veilsum_common::model::Source;

use super::FileKey;
use crate::error::Error;

/// One way to the file key: its kind and arguments, and a body for whoever knows the kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stanza {
    /// The kind, then what the kind says; never empty.
    pub(crate) arguments: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Stanza {
    pub(crate) fn new(arguments: &[&str], body: Vec<u8>) -> Self {
        Self {
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            body,
        }
    }

    pub(crate) fn kind(&self) -> &str {
        &self.arguments[0]
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(STANZA.as_bytes());
        out.extend_from_slice(self.arguments.join(" ").as_bytes());
        out.push(b'\n');
        let body = BASE64_NOPAD.encode(&self.body);
        for line in body.as_bytes().chunks(COLUMNS) {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        // The last line is a short one, if need be an empty one.
        if body.len().is_multiple_of(COLUMNS) {
            out.push(b'\n');
        }
    }
}

/// A header whose MAC nobody has checked yet: that takes the file key.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) stanzas: Vec<Stanza>,
    /// What the MAC is over: everything up to the dashes that stand before it.
    covered: Vec<u8>,
    mac: [u8; 32],
}

impl Header {
    /// The bytes of a header with these stanzas.
    pub(crate) fn seal(stanzas: Vec<Stanza>, file_key: &FileKey) -> Vec<u8> {
        let mut bytes = VERSION.as_bytes().to_vec();
        stanzas.iter().for_each(|stanza| stanza.write(&mut bytes));
        bytes.extend_from_slice(END.as_bytes());
        let mac = mac(file_key, &bytes).finalize().into_bytes();
        bytes.push(b' ');
        bytes.extend_from_slice(BASE64_NOPAD.encode(&mac).as_bytes());
        bytes.push(b'\n');
        bytes
    }

    /// Reads the header at the start of `source`; with it, where the payload begins.
    ///
    /// # Errors
    /// [`Error`]: it is no age file, of another version, malformed or beyond a limit.
    pub(crate) fn read(source: &dyn Source) -> Result<(Self, u64), Error> {
        let (mut bytes, mut want) = (Vec::new(), FIRST_READ_BYTES);
        let len_bytes = source.len_bytes();
        loop {
            let have = bytes.len();
            let some = want.min(len_bytes).min(MAX_AGE_HEADER_BYTES);
            bytes.resize(
                usize::try_from(some).expect("the limit fits an address space"),
                0,
            );
            let read = source.read_exact_at(&mut bytes[have..], have as u64);
            read.map_err(Error::Unreadable)?;
            if !bytes.starts_with(PREFIX.as_bytes()) {
                return Err(Error::NotSealed);
            }
            if let Some(end) = end_of(&bytes) {
                let header = Self::parse(&bytes[..end])?;
                return Ok((header, end as u64));
            }
            if some == len_bytes {
                return Err(Error::AgeHeader("it ends before its last line"));
            }
            if some == MAX_AGE_HEADER_BYTES {
                return Err(Error::AgeHeaderTooLong {
                    limit_bytes: MAX_AGE_HEADER_BYTES,
                });
            }
            want = some * 4;
        }
    }

    /// The header that `bytes` are, to the last newline.
    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::AgeHeader("it is not ASCII"))?;
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        let version = lines.next().unwrap_or_default();
        if version != VERSION.trim_end() {
            return Err(Error::Version);
        }
        let mut stanzas = Vec::new();
        loop {
            let line = lines.next();
            let line = line.ok_or(Error::AgeHeader("it ends before its last line"))?;
            if let Some(mac) = line.strip_prefix(END) {
                return Self::ended(stanzas, bytes, mac, lines.next().is_none());
            }
            let arguments = arguments(line)?;
            let body = body(&mut lines)?;
            if stanzas.len() == MAX_RECIPIENTS {
                return Err(Error::TooManyRecipients {
                    limit: MAX_RECIPIENTS,
                });
            }
            stanzas.push(Stanza { arguments, body });
        }
    }

    fn ended(stanzas: Vec<Stanza>, bytes: &[u8], mac: &str, last: bool) -> Result<Self, Error> {
        let wrong = || Error::AgeHeader("its last line is not a MAC");
        if stanzas.is_empty() {
            return Err(Error::AgeHeader("it has no recipients"));
        }
        let digits = mac.strip_prefix(' ').filter(|_| last).ok_or_else(wrong)?;
        let found = BASE64_NOPAD
            .decode(digits.as_bytes())
            .map_err(|_| wrong())?;
        Ok(Self {
            stanzas,
            covered: bytes[..bytes.len() - mac.len() - 1].to_vec(),
            mac: found.try_into().map_err(|_| wrong())?,
        })
    }

    /// Whether this is the header that was written with this key.
    ///
    /// # Errors
    /// [`Error::AgeHeaderChanged`].
    pub(crate) fn verify(&self, file_key: &FileKey) -> Result<(), Error> {
        let mac = mac(file_key, &self.covered);
        mac.verify_slice(&self.mac)
            .map_err(|_| Error::AgeHeaderChanged)
    }
}

/// `HMAC key = HKDF-SHA-256(ikm = file key, salt = empty, info = "header")`
fn mac(file_key: &FileKey, covered: &[u8]) -> Hmac<Sha256> {
    let key = file_key.derive(b"", b"header");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key[..]).expect("HMAC takes keys of any length");
    mac.update(covered);
    mac
}

/// Where the header ends: behind the first line that begins with dashes. No other line of a header can.
fn end_of(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        start += line.len();
        if line.starts_with(END.as_bytes()) {
            return line.ends_with(b"\n").then_some(start);
        }
    }
    None
}

/// `arg-line = "-> " argument *(SP argument) LF`, `argument = 1*VCHAR`
fn arguments(line: &str) -> Result<Vec<String>, Error> {
    let words = line.strip_prefix(STANZA);
    let words = words.ok_or(Error::AgeHeader("a recipient does not begin with an arrow"))?;
    let visible = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic());
    if !words.split(' ').all(visible) {
        return Err(Error::AgeHeader(
            "a recipient has an empty or invisible word",
        ));
    }
    Ok(words.split(' ').map(str::to_owned).collect())
}

/// `*full-line final-line`, where only the last line has fewer than 64 characters.
fn body<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    for line in lines {
        let decoded = BASE64_NOPAD.decode(line.as_bytes());
        let decoded = decoded.map_err(|_| Error::AgeHeader("a recipient's body is not base64"))?;
        if line.len() > COLUMNS {
            return Err(Error::AgeHeader("a recipient's body has a long line"));
        }
        body.extend_from_slice(&decoded);
        if line.len() < COLUMNS {
            return Ok(body);
        }
    }
    Err(Error::AgeHeader("a recipient's body has no end"))
}

const PREFIX: &str = "age-encryption.org/";
const VERSION: &str = "age-encryption.org/v1\n";
const STANZA: &str = "-> ";
const END: &str = "---";
/// Characters of a full line of base64.
const COLUMNS: usize = 64;
/// A header of twenty classic recipients.
const FIRST_READ_BYTES: u64 = 4096;

#[cfg(test)]
mod tests;
