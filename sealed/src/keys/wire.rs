//! SSH's way to write strings and numbers as bytes, and bytes as lines. Source: RFC 4251, section 5.

use crate::error::Error;

/// Adds a string: its length in four bytes, then itself.
pub(crate) fn put(out: &mut Vec<u8>, string: &[u8]) {
    let length = u32::try_from(string.len()).expect("keys and signatures are short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(string);
}

/// Adds lines of 70 characters, each with its newline.
pub(crate) fn wrapped(digits: &str, out: &mut String) {
    let mut rest = digits;
    while !rest.is_empty() {
        let (line, later) = rest.split_at(rest.len().min(COLUMNS));
        out.push_str(line);
        out.push('\n');
        rest = later;
    }
}

/// Bytes that are read from their start. No length in them is believed before it is compared with what is there.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn number(&mut self) -> Result<u32, Error> {
        let (number, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], Error> {
        let length = usize::try_from(self.number()?).map_err(|_| CUT)?;
        let (string, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
        self.0 = rest;
        Ok(string)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }
}

const CUT: Error = Error::Key("a key or a signature of SSH is cut");
/// As OpenSSH writes.
const COLUMNS: usize = 70;
