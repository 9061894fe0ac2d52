//! What the machines need of a run: its frozen parameters and its two timeouts. Everything else of a study is the edge's business.

use std::sync::Arc;

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
const EXPIRY: Span = Span(24 * 3600 * 1000);

impl Terms {
    /// Deadlines of an attempt opened at `at`: commit, submit, expiry.
    pub fn deadlines(&self, at: Timestamp) -> [Timestamp; 3] {
        let commit = at + self.join;
        let submit = commit + self.report;
        [commit, submit, submit + EXPIRY]
    }
}
