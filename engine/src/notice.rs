//! What a participant may be told: a pure function of the machines' states, so that any process that has replayed can answer a Poll.
//!
//! A notice's [`Position`] orders everything a run ever says; a site asks for what comes after the last one it acted on. The edge
//! signs what carries a coordinator's signature. Source: protocol, section 7.

use veilsum_common::limits::MAX_NOTICES;
use veilsum_common::time::Timestamp;
use veilsum_secagg::message::{Announcement, Cohort, RoundResult, SurvivorProposal};
use veilsum_secagg::{Certificate, Digest};

use crate::epoch::Epoch;
use crate::round::Round;
use crate::run::{Record, Run, State};

/// Where a notice stands among all notices of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Epoch.
    pub epoch: u64,
    /// Attempt; 0 for the set-up of the epoch.
    pub seq: u64,
    /// Place within the epoch's set-up or the attempt.
    pub rank: u8,
}

/// Rank of a result: the last word of an attempt.
pub const RESULT_RANK: u8 = 6;
/// Place of the run's end: after everything.
pub const END: Position = Position {
    epoch: u64::MAX,
    seq: u64::MAX,
    rank: u8::MAX,
};

/// One thing a participant is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An epoch is open for joining.
    EpochOpen {
        /// Its number.
        epoch: u64,
        /// Until when.
        join_by: Timestamp,
    },
    /// The roster is fixed.
    RosterReady {
        /// Epoch.
        epoch: u64,
        /// Members.
        members: u32,
        /// Its root.
        root: Digest,
    },
    /// The roster is certified.
    RosterCertified(Certificate),
    /// An attempt is open.
    RoundOpen {
        /// Its announcement.
        announcement: Box<Announcement>,
        /// Configuration for the trainers.
        round_config: Vec<u8>,
        /// Abort certificates of earlier attempts for the same model.
        proofs: Vec<Certificate>,
    },
    /// The cohort is fixed.
    CohortReady(Cohort),
    /// The survivors are fixed.
    SurvivorProposal(SurvivorProposal),
    /// The survivors are certified.
    SurvivorsCertified(Certificate),
    /// The attempt is being given up.
    AbortProposal(Box<Announcement>),
    /// A round has a result.
    Result {
        /// Its round.
        round: u64,
        /// The result.
        result: Box<RoundResult>,
        /// The holders' word on whose updates are in it.
        certificate: Certificate,
    },
    /// The run is over.
    Ended(State),
}

/// What a run has to say next after `after`, in order: [`MAX_NOTICES`] at most, whoever wants more asks again.
pub fn notices(
    run: &Run,
    epoch: Option<&Epoch>,
    round: Option<&Round>,
    after: Position,
) -> Vec<(Position, Notice)> {
    first(MAX_NOTICES, run, epoch, round, after)
}

/// The first `limit` of all that there is to say.
fn first(
    limit: usize,
    run: &Run,
    epoch: Option<&Epoch>,
    round: Option<&Round>,
    after: Position,
) -> Vec<(Position, Notice)> {
    let history = run.history();
    let known = history.partition_point(|record| position(record) <= after);
    // Of so many results none is left out that comes before one of those that are told.
    let results = history[known..].iter().take(limit);
    let mut all: Vec<(Position, Notice)> = results.map(result).collect();
    if run.state() == State::Running {
        all.extend(epoch.into_iter().flat_map(setup));
        // An attempt that has ended asks nothing of anybody; what came of it is a result, or the certificate with the next attempt.
        let live = round.filter(|round| round.outcome().is_none());
        all.extend(live.into_iter().flat_map(attempt));
    } else {
        all.push((END, Notice::Ended(run.state())));
    }
    all.retain(|(position, _)| *position > after);
    all.sort_by_key(|(position, _)| *position);
    all.truncate(limit);
    all
}

fn position(record: &Record) -> Position {
    Position {
        epoch: record.epoch,
        seq: record.seq,
        rank: RESULT_RANK,
    }
}

fn result(record: &Record) -> (Position, Notice) {
    (
        position(record),
        Notice::Result {
            round: record.round,
            result: Box::new(record.published.result.clone()),
            certificate: record.published.certificate.clone(),
        },
    )
}

fn setup(epoch: &Epoch) -> Vec<(Position, Notice)> {
    let at = |rank| Position {
        epoch: epoch.number(),
        seq: 0,
        rank,
    };
    let mut all = Vec::new();
    if let Some(join_by) = epoch.join_by() {
        all.push((
            at(1),
            Notice::EpochOpen {
                epoch: epoch.number(),
                join_by,
            },
        ));
    }
    if let Some(roster) = epoch.roster() {
        all.push((
            at(2),
            Notice::RosterReady {
                epoch: epoch.number(),
                members: roster.len(),
                root: roster.root(),
            },
        ));
    }
    all.extend(
        epoch
            .certificate()
            .map(|certificate| (at(3), Notice::RosterCertified(certificate.clone()))),
    );
    all
}

fn attempt(round: &Round) -> Vec<(Position, Notice)> {
    let announcement = round.attempt().announcement();
    let at = |rank| Position {
        epoch: round.attempt().roster().epoch(),
        seq: announcement.seq,
        rank,
    };
    let open = Notice::RoundOpen {
        announcement: Box::new(announcement.clone()),
        round_config: round.round_config().to_vec(),
        proofs: round.abort_certificates().to_vec(),
    };
    let mut all = vec![(at(1), open)];
    all.extend(
        round
            .cohort()
            .map(|cohort| (at(2), Notice::CohortReady(cohort.clone()))),
    );
    all.extend(
        round
            .proposal()
            .map(|proposal| (at(3), Notice::SurvivorProposal(proposal.clone()))),
    );
    all.extend(
        round
            .certificate()
            .map(|certificate| (at(4), Notice::SurvivorsCertified(certificate.clone()))),
    );
    all.extend(
        round
            .aborting()
            .map(|_| (at(5), Notice::AbortProposal(Box::new(announcement.clone())))),
    );
    all
}

#[cfg(test)]
mod tests;
