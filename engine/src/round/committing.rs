//! Waiting for Commits, until everybody answered or the join deadline; then the cohort is fixed (CP3).
//!
//! Source: protocol, sections 7 (the barrier stands after training) and 8.

use std::collections::BTreeSet;

use veilsum_common::time::Timestamp;
use veilsum_secagg::message::Commit;
use veilsum_secagg::{Bitmap, Fault, coordinator};

use super::{Event, Phase, Round, count, first};
use crate::rejection::{Abort, Rejection};

pub(super) fn order(round: &Round, index: u32, commit: &Commit) -> Result<(), Rejection> {
    first(round.commits.get(&index), commit, "Commit")?;
    if round.phase != Phase::Committing {
        return Err(round.out_of_phase("a Commit"));
    }
    if round.declined.contains_key(&index) {
        return Err(Rejection::Conflict("answer"));
    }
    if round.opening.excluded.contains(&index) {
        return Err(Rejection::NotAMember(
            "attempt: its earlier shares could not be used",
        ));
    }
    if round
        .commits
        .values()
        .any(|known| known.e_pk == commit.e_pk)
    {
        return Err(Rejection::Protocol(Fault::Duplicate("mask key").by(index)));
    }
    Ok(())
}

pub(super) fn check(round: &Round, index: u32, commit: &Commit) -> Result<(), Rejection> {
    coordinator::check_commit(&round.attempt, index, commit)?;
    Ok(())
}

pub(super) fn order_decline(round: &Round, index: u32) -> Result<(), Rejection> {
    if index >= round.attempt.roster().len() {
        return Err(Rejection::NotAMember("roster"));
    }
    if round.commits.contains_key(&index) {
        return Err(Rejection::Conflict("answer"));
    }
    if round.declined.contains_key(&index) {
        return Err(Rejection::Repeated);
    }
    if round.phase == Phase::Committing {
        Ok(())
    } else {
        Err(round.out_of_phase("a refusal"))
    }
}

pub(super) fn due(round: &Round, at: Timestamp) -> Option<Event> {
    let n = round.attempt.roster().len();
    let (have, need) = (count(&round.commits), round.terms.params.cohort_floor(n));
    let all = answered(round) >= n || have >= round.terms.target;
    if !all && at.0 < round.attempt.announcement().commit_by_ms {
        return None;
    }
    if have < need {
        return Some(Event::AbortDecided(Abort::CohortTooSmall { have, need }));
    }
    if at >= round.expires() {
        // Nothing was masked yet, so an abort needs no holder; once a cohort is shown it would need t of them, and they have expired.
        let (have, need) = (0, round.terms.params.min_survivors(n));
        return Some(Event::AbortDecided(Abort::SurvivorsTooFew { have, need }));
    }
    Some(Event::CohortClosed {
        members: Bitmap::of(n, round.commits.keys().copied()),
    })
}

/// Members that need not be waited for: those that answered, and those whose Commit would be refused.
fn answered(round: &Round) -> u32 {
    let excluded = &round.opening.excluded;
    let silent = |index: &&u32| !round.declined.contains_key(index);
    let left_out: BTreeSet<&u32> = excluded.iter().filter(silent).collect();
    count(&round.commits)
        + count(&round.declined)
        + u32::try_from(left_out.len()).unwrap_or(u32::MAX)
}

/// Replay checks the recorded set: a later version of the code cannot compute another one.
///
/// The report timeout runs from here: a join deadline that nobody needed is not waited for, and a coordinator that was away until after the
/// announced deadlines leaves its sites as long as any other. They look at `expires_ms` alone (protocol, section 7).
pub(super) fn close(round: &mut Round, at: Timestamp, members: &Bitmap) -> Result<Phase, Abort> {
    let diverged = || Abort::Diverged("cohort");
    round.commits.retain(|index, _| members.contains(*index));
    let cohort =
        coordinator::close_cohort(&round.attempt, &round.commits).map_err(|_| diverged())?;
    if cohort.members != *members {
        return Err(diverged());
    }
    round.cohort = Some(cohort);
    Ok(Phase::Submitting {
        until: round.report_deadline(at),
    })
}
