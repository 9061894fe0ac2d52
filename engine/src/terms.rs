//! What the machines need of a run: its frozen parameters and its two timeouts. Everything else of a study is the edge's business.
//!
//! Source: protocol, section 7 (deadlines of an attempt).

use std::sync::Arc;

use veilsum_common::limits::{EXPIRY_MS, MAX_ATTEMPT_MS};
use veilsum_common::time::{Span, Timestamp};
use veilsum_secagg::params::Params;

/// Parameters and times of a run.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The frozen parameters.
    pub params: Arc<Params>,
    /// Rounds of the run.
    pub rounds: u64,
    /// At this many commits a round waits no longer.
    pub target: u32,
    /// How long a round waits for sites to train and commit.
    pub join: Span,
    /// How long a committed site may take to upload, and holders to answer.
    pub report: Span,
}

/// How long an attempt stays open for holders to come back after its report deadline.
const EXPIRY: Span = Span(EXPIRY_MS);
/// Longest life of an attempt that a site accepts (protocol, section 7).
pub(crate) const MAX_LIFE: Span = Span(MAX_ATTEMPT_MS);
/// By how much the clocks of a coordinator and its sites may differ before a long attempt is refused.
const HOUR: Span = Span(3600 * 1000);

impl Terms {
    /// Deadlines of an attempt opened at `at`: commit, submit, expiry.
    pub fn deadlines(&self, at: Timestamp) -> [Timestamp; 3] {
        let commit = at + self.join;
        let submit = commit + self.report;
        // A day for holders to come back, or what the longest timeouts of a study and the clocks leave of the week that sites accept.
        let latest = at + Span(MAX_LIFE.0 - HOUR.0);
        [commit, submit, latest.min(submit + EXPIRY).max(submit)]
    }
}

#[cfg(test)]
mod tests;
