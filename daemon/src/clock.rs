//! The only place that asks what time it is.
//!
//! The machines are given time as data; the drivers get it here. A clock set before 1970 reads as 1970, since no
//! deadline of ours lies there.

use std::time::{SystemTime, UNIX_EPOCH};

use veilsum_common::time::Timestamp;

/// The wall clock, in milliseconds since 1970-01-01T00:00:00Z.
///
/// It may jump when an administrator or a time service sets it; whoever measures a duration uses
/// [`std::time::Instant`].
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
