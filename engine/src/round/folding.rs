//! Folds of staged vectors into partials, while holders attest and release; the first journalled result of each counts.
//!
//! A fold is a pure function of what was accepted: a second run of it gives the same digest, and one that does not ends the attempt, since
//! nobody can say which of the two is right. Source: durability, section 5.

use veilsum_common::parts::Parts;
use veilsum_secagg::Digest;

use super::{Phase, Round};
use crate::plan::{Fold, Plan};
use crate::rejection::{Abort, Rejection};

impl Round {
    /// What is folded together, once the survivors are fixed.
    pub fn plan(&self) -> Option<Plan> {
        let survivors = &self.proposal.as_ref()?.survivors;
        Some(Plan::of(survivors, Parts::of(&self.terms.params)))
    }

    /// Digests of the finished folds.
    pub fn folded(&self, fold: Fold) -> Option<&Digest> {
        self.folded.get(&fold)
    }

    /// The next fold that nobody has finished; none once they all are, and none of an attempt that needs them no longer.
    pub fn next_fold(&self) -> Option<Fold> {
        if !folding(&self.phase) {
            return None;
        }
        let plan = self.plan()?;
        plan.folds().find(|fold| !self.folded.contains_key(fold))
    }
}

fn folding(phase: &Phase) -> bool {
    matches!(
        phase,
        Phase::Attesting { .. } | Phase::Unmasking | Phase::Finishing
    )
}

pub(super) fn order(round: &Round, fold: Fold, digest: &Digest) -> Result<(), Rejection> {
    if round.folded.get(&fold) == Some(digest) {
        return Err(Rejection::Repeated);
    }
    if !folding(&round.phase) {
        return Err(round.out_of_phase("a fold's result"));
    }
    let planned = round
        .plan()
        .is_some_and(|plan| plan.folds().any(|planned| planned == fold));
    planned.then_some(()).ok_or(Rejection::Elsewhere("plan"))
}

/// Takes a result in; the last one that was missing lets the final job run.
pub(super) fn insert(round: &mut Round, fold: Fold, digest: Digest) -> Result<(), Abort> {
    if round.folded.insert(fold, digest).is_some() {
        return Err(Abort::Unbalanced);
    }
    round.ask_compute();
    Ok(())
}
