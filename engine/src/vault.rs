//! The secrets a site's journalled events depend on, kept apart from the events so that they can be erased before them.
//!
//! The edge stores every [`SecretOp`] in the same transaction as the event it belongs to. On start the vault comes back as it was
//! last; replaying events never touches it, so what was erased stays erased. Sealing, and erasing for real, are the edge's business.
//!
//! Source: protocol, sections 4 (what is erased when) and 14.

use std::collections::BTreeMap;

use veilsum_secagg::Digest;
use veilsum_secagg::keys::Seed;
use zeroize::Zeroizing;

/// A change of the vault that must be durable together with an event.
pub enum SecretOp {
    /// Keep this secret under this name, instead of what was there.
    Put {
        /// Name.
        name: String,
        /// Secret bytes.
        secret: Zeroizing<Vec<u8>>,
    },
    /// Erase what this name keeps.
    Erase {
        /// Name.
        name: String,
    },
}

impl SecretOp {
    pub(crate) fn put(name: Name, secret: &[u8]) -> Self {
        Self::Put {
            name: name.to_string(),
            secret: Zeroizing::new(secret.to_vec()),
        }
    }

    pub(crate) fn erase(name: Name) -> Self {
        Self::Erase {
            name: name.to_string(),
        }
    }
}

/// What the vault keeps, by name.
#[derive(Default)]
pub struct Vault(BTreeMap<String, Zeroizing<Vec<u8>>>);

impl Vault {
    /// The vault as it was stored.
    pub fn restore(secrets: BTreeMap<String, Zeroizing<Vec<u8>>>) -> Self {
        Self(secrets)
    }

    /// Applies changes that are durable.
    pub fn apply(&mut self, ops: Vec<SecretOp>) {
        for op in ops {
            match op {
                SecretOp::Put { name, secret } => drop(self.0.insert(name, secret)),
                SecretOp::Erase { name } => drop(self.0.remove(&name)),
            }
        }
    }

    /// Erases what a newer attempt, or the result of the newest one, puts an end to: every secret of an attempt.
    pub(crate) fn end_attempts(&self) -> impl Iterator<Item = SecretOp> {
        self.end(|name| name.starts_with(ATTEMPT))
    }

    /// Erases the keys of every epoch but this one.
    pub(crate) fn end_epochs_but(&self, epoch: u64) -> impl Iterator<Item = SecretOp> {
        let kept = format!("{EPOCH}{epoch}/");
        self.end(move |name| name.starts_with(EPOCH) && !name.starts_with(&kept))
    }

    fn end(&self, over: impl Fn(&str) -> bool) -> impl Iterator<Item = SecretOp> {
        let names = self.0.keys().filter(move |name| over(name)).cloned();
        names.map(|name| SecretOp::Erase { name })
    }

    pub(crate) fn get(&self, name: Name) -> Option<&[u8]> {
        self.0
            .get(&name.to_string())
            .map(|secret| secret.as_slice())
    }

    pub(crate) fn seed(&self, name: Name) -> Option<Seed> {
        Seed::restore(self.get(name)?)
    }
}

/// Place of an attempt: (epoch, seq).
pub type Place = (u64, u64);

/// How the names of an epoch's secrets begin.
const EPOCH: &str = "epoch/";
/// How the names of an attempt's secrets begin.
const ATTEMPT: &str = "attempt/";

/// Every kind of secret a site keeps.
#[derive(Clone, Copy)]
pub(crate) enum Name {
    /// Seed of an epoch's channel key, until the roster is accepted.
    EpochSeed(u64),
    /// Chain keys of an epoch, at the next attempt number.
    Channels(u64),
    /// Seed of all secrets this site deals in an attempt.
    AttemptSeed(Place),
    /// Outbound round keys, until the Commit is answered.
    Outbound(Place),
    /// Inbound round keys, until release or abort.
    Inbound(Place),
    /// Own pair of shares, until release or abort.
    OwnShares(Place),
    /// Hash of the neighbours' keys that were first masked with: no secret, but of the same life as the seed.
    Near(Place),
    /// Source of the rounding of one contribution.
    Rounding(Digest),
}

impl core::fmt::Display for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::EpochSeed(epoch) => write!(f, "{EPOCH}{epoch}/seed"),
            Self::Channels(epoch) => write!(f, "{EPOCH}{epoch}/channels"),
            Self::AttemptSeed((epoch, seq)) => write!(f, "{ATTEMPT}{epoch}/{seq}/seed"),
            Self::Outbound((epoch, seq)) => write!(f, "{ATTEMPT}{epoch}/{seq}/outbound"),
            Self::Inbound((epoch, seq)) => write!(f, "{ATTEMPT}{epoch}/{seq}/inbound"),
            Self::OwnShares((epoch, seq)) => write!(f, "{ATTEMPT}{epoch}/{seq}/own"),
            Self::Near((epoch, seq)) => write!(f, "{ATTEMPT}{epoch}/{seq}/near"),
            Self::Rounding(model) => write!(f, "rounding/{model}"),
        }
    }
}
