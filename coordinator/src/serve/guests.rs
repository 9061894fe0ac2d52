//! How many connections each peer has: one that opens many shuts itself out, and nobody else.
//!
//! A peer is whom its certificate names, so that a second certificate of the same site gives it no second share. Which calls it may make
//! is decided elsewhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::CertificateDer;
use veilsum_daemon::identity::{Federation, PeerIdentity, Role};

/// Whom a certificate names; one that names nobody of ours stands for itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guest {
    /// A member of a federation.
    Member(Role, String),
    /// BLAKE3 of a certificate without a name that we can read.
    Certificate([u8; 32]),
}

impl Guest {
    /// Reads a certificate that TLS has verified.
    pub fn of(leaf: &CertificateDer<'_>) -> Self {
        let identity = Federation::of_leaf(leaf)
            .and_then(|federation| PeerIdentity::from_leaf(leaf, &federation));
        match identity {
            Ok(identity) => Self::Member(identity.role, identity.name.to_string()),
            Err(_) => Self::Certificate(*blake3::hash(leaf).as_bytes()),
        }
    }

    /// Whether it is a person's command line rather than a daemon.
    pub fn is_operator(&self) -> bool {
        matches!(self, Self::Member(Role::Operator, _))
    }
}

/// Counts something for each guest; its clones share the counts.
#[derive(Clone, Default)]
pub struct Guests(Arc<Mutex<BTreeMap<Guest, usize>>>);

impl Guests {
    /// Counts one more of `guest`'s, unless it has `limit` already.
    pub fn enter(&self, guest: &Guest, limit: usize) -> Option<Entered> {
        let mut counts = self.lock();
        let count = counts.get(guest).copied().unwrap_or(0);
        if count >= limit {
            return None;
        }
        counts.insert(guest.clone(), count + 1);
        Some(Entered {
            guests: self.clone(),
            guest: guest.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Guest, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is counted, until it is dropped.
pub struct Entered {
    guests: Guests,
    guest: Guest,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut counts = self.guests.lock();
        match counts.get_mut(&self.guest) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.guest)),
        }
    }
}
