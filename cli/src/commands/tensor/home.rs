//! The directory of a person's keys and lists for sealed files.
//!
//! | file | holds |
//! |---|---|
//! | `identity.txt` | the identity, as age reads it; 0600 |
//! | `signer`, `signer.pub` | the key that signs, as OpenSSH reads it; 0600 |
//! | `name` | the name under which it signs |
//! | `signers` | whose signatures are trusted: an allowed_signers file of OpenSSH |
//! | `recipients.toml` | recipients by name; optional |
//! | `allowed-identities` | fingerprints that may open files on this machine, one a line; without it all that are given |
//! | `access.jsonl` | who asked to open, grant or reseal what; every line carries the hash of the one before |

use std::path::{Path, PathBuf};

use veilsum_daemon::files::{self, FileError};
use veilsum_sealed::gate::local::AllowIdentities;
use veilsum_sealed::{Identity, Registry};

use super::text;
use crate::args::tensor as args;
use crate::error::Error;

/// The directory, which may not be there yet.
pub(super) struct Home(PathBuf);

impl Home {
    /// What was typed or set, else `veilsum/sealed` in the user's configuration directory.
    pub(super) fn of(typed: &args::Home) -> Result<Self, Error> {
        if let Some(home) = &typed.home {
            return Ok(Self(home.clone()));
        }
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let configuration = set("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(Path::new(&set("HOME")?).join(".config")));
        let configuration = configuration.ok_or(Error::NoHome)?;
        Ok(Self(configuration.join("veilsum/sealed")))
    }

    /// Makes the directory, with mode 0700.
    pub(super) fn make(&self) -> Result<(), Error> {
        Ok(files::private_directory(&self.0)?)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn identity(&self) -> PathBuf {
        self.0.join("identity.txt")
    }

    pub(super) fn signer(&self) -> PathBuf {
        self.0.join("signer")
    }

    pub(super) fn signer_public(&self) -> PathBuf {
        self.0.join("signer.pub")
    }

    pub(super) fn name(&self) -> PathBuf {
        self.0.join("name")
    }

    pub(super) fn signers(&self) -> PathBuf {
        self.0.join("signers")
    }

    /// The log, in a directory that is made if need be.
    pub(super) fn access_log(&self) -> Result<PathBuf, Error> {
        self.make()?;
        Ok(self.0.join("access.jsonl"))
    }

    /// The names that may be used instead of keys.
    pub(super) fn registry(&self) -> Result<Registry, Error> {
        let path = self.0.join("recipients.toml");
        match optional(&path)? {
            Some(text) => {
                Registry::parse(&text).map_err(|source| Error::Recipients { path, source })
            }
            None => Ok(Registry::default()),
        }
    }

    /// Which identities may open files here.
    pub(super) fn allowed(&self, given: &[Identity]) -> Result<AllowIdentities, Error> {
        let given = given.iter().map(Identity::fingerprint);
        let Some(text) = optional(&self.0.join("allowed-identities"))? else {
            return Ok(AllowIdentities(given.collect()));
        };
        let listed: Vec<&str> = text.lines().map(str::trim).collect();
        let allowed = given.filter(|one| listed.contains(&one.as_str()));
        Ok(AllowIdentities(allowed.collect()))
    }
}

/// What a file holds, if it is there.
fn optional(path: &Path) -> Result<Option<String>, Error> {
    match text(path) {
        Ok(text) => Ok(Some(text)),
        Err(Error::File(FileError::Io { source, .. }))
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
