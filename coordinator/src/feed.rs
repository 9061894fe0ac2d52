//! Answers Poll: what a run has to say after a cursor, held until there is something, and which sites are there to hear it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use veilsum_common::ids::SiteName;
use veilsum_common::limits::PRESENCE_MS;
use veilsum_common::time::{Span, Timestamp};
use veilsum_daemon::clock;

/// Which sites have a poll open, or had one a moment ago.
#[derive(Default)]
pub struct Presence {
    seen: Mutex<BTreeMap<SiteName, Seen>>,
    polls: watch::Sender<u64>,
}

#[derive(Clone, Copy)]
struct Seen {
    polls: u32,
    last: Timestamp,
}

impl Presence {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SiteName, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a poll of `site` as open until the guard is dropped.
    pub fn polling(&self, site: &SiteName) -> Polling<'_> {
        let now = clock::now();
        let mut seen = self.lock();
        let entry = seen.entry(site.clone()).or_insert(Seen {
            polls: 0,
            last: now,
        });
        entry.polls += 1;
        entry.last = now;
        drop(seen);
        self.polls.send_modify(|count| *count += 1);
        Polling {
            presence: self,
            site: site.clone(),
        }
    }

    /// Changes with every poll.
    pub fn polls(&self) -> watch::Receiver<u64> {
        self.polls.subscribe()
    }

    /// Sites that are online at `at`.
    pub fn online(&self, at: Timestamp) -> BTreeSet<SiteName> {
        let fresh = |seen: &Seen| seen.polls > 0 || seen.last + Span(PRESENCE_MS) > at;
        self.lock()
            .iter()
            .filter(|(_, seen)| fresh(seen))
            .map(|(site, _)| site.clone())
            .collect()
    }
}

/// An open poll.
pub struct Polling<'a> {
    presence: &'a Presence,
    site: SiteName,
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        if let Some(seen) = self.presence.lock().get_mut(&self.site) {
            seen.polls = seen.polls.saturating_sub(1);
            seen.last = clock::now();
        }
    }
}
