//! Waiting for unmask shares (CP7), until every cohort member has t scalars that match its commitments.
//!
//! Joining them is the final job's business. Source: protocol, sections 11.2 and 11.3.

use veilsum_secagg::coordinator;
use veilsum_secagg::message::UnmaskList;

use super::{Event, Phase, Round, count, first};
use crate::rejection::{Abort, Rejection};

pub(super) fn order(round: &Round, index: u32, list: &UnmaskList) -> Result<(), Rejection> {
    first(round.lists.get(&index), list, "unmask list")?;
    match round.phase {
        Phase::Unmasking => Ok(()),
        // Enough lists are in; the holder may forget what it kept for this attempt.
        Phase::Finishing | Phase::Ended(_) if round.certificate.is_some() => {
            Err(Rejection::Repeated)
        }
        _ => Err(round.out_of_phase("an unmask list")),
    }
}

pub(super) fn check(round: &Round, index: u32, list: &UnmaskList) -> Result<(), Rejection> {
    let (Some(cohort), Some(proposal)) = (&round.cohort, &round.proposal) else {
        return Err(round.out_of_phase("an unmask list"));
    };
    Ok(coordinator::check_unmask(
        &round.attempt,
        cohort,
        &proposal.digest(),
        index,
        list,
    )?)
}

/// Counts, per cohort member, the scalars that match its commitments: a lie never makes the set look complete.
pub(super) fn insert(round: &mut Round, index: u32, list: UnmaskList) {
    if let Some(proposal) = &round.proposal {
        for member in
            coordinator::matching(&round.attempt, &proposal.survivors, &round.commits, &list)
        {
            *round.usable.entry(member).or_default() += 1;
        }
    }
    round.lists.insert(index, list);
}

pub(super) fn due(round: &Round, expired: bool) -> Option<Event> {
    let (cohort, need) = (round.cohort.as_ref()?, round.attempt.threshold());
    let fewest = cohort
        .members
        .iter()
        .map(|member| round.usable.get(&member).copied().unwrap_or(0))
        .min()
        .unwrap_or(0);
    if fewest >= need {
        return Some(Event::SharesClosed {
            holders: round.lists.keys().copied().collect(),
        });
    }
    expired.then_some(Event::Lost(Abort::ReleaseLost { have: fewest, need }))
}

pub(super) fn close(round: &mut Round, holders: &[u32]) -> Result<Phase, Abort> {
    round.lists.retain(|index, _| holders.contains(index));
    if count(&round.lists) < round.attempt.threshold() {
        return Err(Abort::Diverged("set of unmask lists"));
    }
    Ok(Phase::Finishing)
}
