//! The gate of one machine: a list of identities that may act, and a log in a file in which every line carries the hash of the one before.
//!
//! A line that was changed or taken out from the middle shows, since all hashes behind it change. Lines cut off the end do not show
//! here: only somebody who keeps the last hash elsewhere can tell.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use veilsum_common::limits::MAX_ACCESS_LINE_BYTES;

use super::{Decide, Decision, Record, Request, Unrecorded};
use crate::recipient::Fingerprint;

/// Permits what is asked with configured identities only; an identity that is not on the list denies the whole request.
#[derive(Clone, Debug, Default)]
pub struct AllowIdentities(pub BTreeSet<Fingerprint>);

impl Decide for AllowIdentities {
    fn decide(&self, request: &Request) -> Decision {
        let known = request.identities.iter().all(|one| self.0.contains(one));
        if known && !request.identities.is_empty() {
            Decision::Permit
        } else {
            Decision::Deny
        }
    }
}

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system.
    #[error("the access log cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// Another process writes to it.
    #[error("another process writes to the access log; wait for it, or name another log")]
    Locked,
    /// A line was changed, lost or cut.
    #[error(
        "line {line} of the access log does not follow from the one before it: the log was changed; keep it as evidence and begin another"
    )]
    Broken {
        /// Its number, from 1.
        line: u64,
    },
}

/// One line, in the order of its JSON. `hash` is over the line without it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    action: String,
    at_ms: u64,
    decision: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    hash: String,
    identities: Vec<String>,
    index: u64,
    payload: String,
    prev: String,
    purpose: Option<String>,
    readers: Vec<String>,
}

impl Line {
    /// `BLAKE3("veilsum/v1/access\0" ‖ the line as JSON without its hash)`; the hash before is a part of the line.
    fn hashed(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(LABEL);
        hasher.update(&serde_json::to_vec(self).expect("texts and numbers are JSON"));
        hasher.finalize().to_hex().to_string()
    }
}

/// A log in one file, for one process at a time.
#[derive(Debug)]
pub struct LocalLog {
    file: File,
    next: u64,
    last: String,
}

impl LocalLog {
    /// Opens a log, or begins one with mode 0600, and checks every line that is there.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        if file.try_lock().is_err() {
            return Err(LogError::Locked);
        }
        let (next, last) = follow(&file)?;
        Ok(Self { file, next, last })
    }

    /// The hash of the last line. Kept elsewhere, it shows later that nothing was cut off.
    pub fn head(&self) -> &str {
        &self.last
    }

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        self.next
    }
}

impl Record for LocalLog {
    fn record(&mut self, request: &Request, decision: Decision) -> Result<(), Unrecorded> {
        let names = |names: &[Fingerprint]| names.iter().map(ToString::to_string).collect();
        let mut line = Line {
            action: request.action.as_str().to_owned(),
            at_ms: request.at.0,
            decision: decision.as_str().to_owned(),
            hash: String::new(),
            identities: names(&request.identities),
            index: self.next,
            payload: request.payload.clone(),
            prev: self.last.clone(),
            purpose: request.purpose.clone(),
            readers: names(&request.readers),
        };
        line.hash = line.hashed();
        let mut json = serde_json::to_vec(&line)?;
        if json.len() >= MAX_ACCESS_LINE_BYTES {
            return Err("the request has more names than a line of the log holds".into());
        }
        json.push(b'\n');
        self.file.write_all(&json)?;
        self.file.sync_data()?;
        (self.next, self.last) = (self.next + 1, line.hash);
        Ok(())
    }
}

/// Reads all lines; the number of the next one, and the hash of the last.
fn follow(file: &File) -> Result<(u64, String), LogError> {
    let (mut next, mut last) = (0, blake3::hash(LABEL).to_hex().to_string());
    let mut reader = BufReader::new(file);
    loop {
        let mut bytes = Vec::new();
        let mut bounded = reader.by_ref().take(MAX_ACCESS_LINE_BYTES as u64);
        if bounded.read_until(b'\n', &mut bytes)? == 0 {
            return Ok((next, last));
        }
        let broken = LogError::Broken { line: next + 1 };
        let Ok(mut line) = serde_json::from_slice::<Line>(&bytes) else {
            return Err(broken);
        };
        let hash = std::mem::take(&mut line.hash);
        let whole = bytes.ends_with(b"\n");
        if !whole || line.index != next || line.prev != last || line.hashed() != hash {
            return Err(broken);
        }
        (next, last) = (next + 1, hash);
    }
}

const LABEL: &[u8] = b"veilsum/v1/access\0";

#[cfg(test)]
mod tests;
