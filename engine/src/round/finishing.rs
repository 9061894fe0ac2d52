//! Waiting for the final job; its first journalled result counts (J).
//!
//! What the job computes is not judged here: it is a pure function, and the sites learn what it gave from the signed result. Source:
//! protocol, sections 11.4 and 14.

use veilsum_secagg::message::RoundResult;

use super::{Computed, Outcome, Phase, Published, Round};
use crate::rejection::{Abort, Rejection};

pub(super) fn order(round: &Round, computed: &Computed) -> Result<(), Rejection> {
    match &round.phase {
        Phase::Finishing => Ok(()),
        Phase::Ended(Outcome::Published(published)) if published.model == computed.next_model => {
            Err(Rejection::Repeated)
        }
        Phase::Ended(Outcome::Published(_)) => Err(Rejection::Conflict("result of the final job")),
        _ => Err(round.out_of_phase("a job's result")),
    }
}

pub(super) fn close(round: &mut Round, computed: Computed) -> Result<Phase, Abort> {
    let diverged = || Abort::Diverged("result");
    let proposal = round.proposal.as_ref().ok_or_else(diverged)?;
    let certificate = round.certificate.clone().ok_or_else(diverged)?;
    let result = RoundResult {
        ctx: proposal.ctx,
        digest: proposal.digest(),
        survivors: u64::from(proposal.survivors.count()),
        sum_hash: computed.sum_hash,
        metadata: computed.metadata,
        next_model_hash: computed.next_model.digest,
    };
    let cohort = round.cohort.as_ref().ok_or_else(diverged)?;
    let lost = cohort
        .members
        .iter()
        .filter(|index| !proposal.survivors.contains(*index));
    let published = Published {
        result,
        certificate,
        model: computed.next_model,
        opened_at: round.opened_at,
        cohort: cohort.members.count(),
        dropped: lost
            .filter_map(|index| round.site(index).cloned())
            .collect(),
        liars: computed.liars,
    };
    Ok(Phase::Ended(Outcome::Published(Box::new(published))))
}
