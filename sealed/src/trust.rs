//! Whose signatures count, and for what: the `allowed_signers` file of OpenSSH, the part of it that needs no guessing.
//!
//! A line is `NAME[,NAME…] [namespaces="…"] ssh-ed25519 AAAA… [comment]`. Patterns, dates and authorities are refused, not ignored: a file
//! that means less to us than to ssh-keygen would trust more.
//! Source: ssh-keygen(1), section ALLOWED SIGNERS.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::keys::SshPublic;
use crate::sshsig::Namespace;

/// The signers that a reader trusts.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    names: BTreeSet<String>,
    /// None stands for all.
    namespaces: Option<BTreeSet<String>>,
    key: SshPublic,
}

impl Trust {
    /// Nobody but this sender with this key, for everything.
    pub fn only(name: &str, key: SshPublic) -> Self {
        let names = BTreeSet::from([name.to_owned()]);
        let namespaces = None;
        Self {
            entries: vec![Entry {
                names,
                namespaces,
                key,
            }],
        }
    }

    /// Reads an `allowed_signers` file.
    ///
    /// # Errors
    /// [`Error::Signers`] with the number of the line.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut entries = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let entry = entry(line);
                entries.push(entry.map_err(|what| Error::Signers { line: number, what })?);
            }
        }
        Ok(Self { entries })
    }

    /// Whether `key` signs for `name` in this namespace.
    pub(crate) fn allows(&self, name: &str, key: &SshPublic, namespace: Namespace) -> bool {
        self.entries.iter().any(|entry| {
            let Entry {
                names,
                namespaces,
                key: known,
            } = entry;
            let namespaces = namespaces.as_ref();
            let fits = namespaces.is_none_or(|known| known.contains(namespace.as_str()));
            names.contains(name) && known == key && fits
        })
    }
}

fn entry(line: &str) -> Result<Entry, &'static str> {
    let (names, rest) = line
        .split_once(char::is_whitespace)
        .ok_or("it has no key")?;
    if names.contains(['*', '?', '!', '"']) {
        return Err("names are written out here, without patterns or quotes");
    }
    let rest = rest.trim_start();
    let (namespaces, key) = match rest.strip_prefix("namespaces=\"") {
        Some(rest) => {
            let (namespaces, key) = rest.split_once('"').ok_or("a quote is not closed")?;
            if namespaces.contains(['*', '?', '!']) {
                return Err("namespaces are written out here, without patterns");
            }
            (Some(split(namespaces)), key)
        }
        None => (None, rest),
    };
    let key = key.parse();
    let key = key.map_err(
        |_| "behind the names stands namespaces=\"…\", if anything, and an ssh-ed25519 key",
    )?;
    Ok(Entry {
        names: split(names),
        namespaces,
        key,
    })
}

fn split(words: &str) -> BTreeSet<String> {
    words.split(',').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
