//! Recipients by name: `recipients.toml`, which a person keeps.
//!
//! ```toml
//! [recipients.hospital-b]
//! classic = "age1…"            # or ssh-ed25519 AAAA…
//! post_quantum = "age1pq1…"    # used if every recipient of a file has one
//! ```
//!
//! What it deliberately does not do: prove whose key an entry is. Whoever can write the file decides who can read.

use std::collections::BTreeMap;

use serde::Deserialize;
use veilsum_common::document::{self, DocumentError, suggest};
use veilsum_common::limits::MAX_KEYS_BYTES;

use crate::error::Error;
use crate::recipient::Recipient;

/// Names and the keys behind them.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    classic: Option<Recipient>,
    post_quantum: Option<Recipient>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegistry {
    #[serde(default)]
    recipients: BTreeMap<String, RawEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    classic: Option<String>,
    post_quantum: Option<String>,
}

/// Why a registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Not the file that it should be.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// An entry without a usable key.
    #[error("recipient `{name}`: {what}")]
    Entry {
        /// Its name.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// The keys that some words stand for.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// One for each word.
    pub recipients: Vec<Recipient>,
    /// The words whose only key is a classic one, if it is for them that the file is not safe from quantum computers.
    pub classic_only: Vec<String>,
}

impl Registry {
    /// Reads `recipients.toml`.
    ///
    /// # Errors
    /// [`RegistryError`], with the line or the name.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        let limit = usize::try_from(MAX_KEYS_BYTES).expect("the limit fits an address space");
        let RawRegistry { recipients } = document::parse(text, limit)?;
        let entries = recipients.into_iter().map(|(name, raw)| {
            let entry = Entry::checked(raw);
            match entry {
                Ok(entry) => Ok((name, entry)),
                Err(what) => Err(RegistryError::Entry { name, what }),
            }
        });
        let entries = entries.collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// The recipients that `words` stand for: names of the registry, or keys written out. Post-quantum keys are taken if all have one.
    ///
    /// # Errors
    /// [`Error::UnknownRecipient`], [`Error::Key`].
    pub fn resolve(&self, words: &[String]) -> Result<Resolved, Error> {
        let entries = words.iter().map(|word| self.entry(word));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let all = entries.iter().all(|entry| entry.post_quantum.is_some());
        let mut classic_only = Vec::new();
        let mut recipients = Vec::new();
        for (word, entry) in words.iter().zip(entries) {
            let Entry {
                classic,
                post_quantum,
            } = entry;
            if post_quantum.is_none() {
                classic_only.push(word.clone());
            }
            let chosen = if all {
                post_quantum
            } else {
                classic.or(post_quantum)
            };
            recipients.push(chosen.expect("every entry has a key"));
        }
        Ok(Resolved {
            recipients,
            classic_only,
        })
    }

    fn entry(&self, word: &str) -> Result<Entry, Error> {
        if word.starts_with("age1") || word.contains(char::is_whitespace) {
            return Ok(Entry::of(word.parse()?));
        }
        let unknown = || Error::UnknownRecipient {
            name: word.chars().take(80).collect(),
            suggestion: suggest(word, self.entries.keys().map(String::as_str)).map(str::to_owned),
        };
        self.entries.get(word).cloned().ok_or_else(unknown)
    }
}

impl Entry {
    fn of(key: Recipient) -> Self {
        let (classic, post_quantum) = if key.is_post_quantum() {
            (None, Some(key))
        } else {
            (Some(key), None)
        };
        Self {
            classic,
            post_quantum,
        }
    }

    fn checked(raw: RawEntry) -> Result<Self, &'static str> {
        let parse = |text: Option<String>, post_quantum: bool| {
            let Some(text) = text else { return Ok(None) };
            let key: Recipient = text.parse().map_err(|_| "a key is mistyped or cut")?;
            if key.is_post_quantum() == post_quantum {
                Ok(Some(key))
            } else {
                Err("its keys stand under each other's names; age1pq1… is post_quantum")
            }
        };
        let classic = parse(raw.classic, false)?;
        let post_quantum = parse(raw.post_quantum, true)?;
        if classic.is_none() && post_quantum.is_none() {
            return Err("it has no key; give it `classic`, `post_quantum` or both");
        }
        Ok(Self {
            classic,
            post_quantum,
        })
    }
}

#[cfg(test)]
mod tests;
