//! Giving an attempt up: at once while nobody can have sent a masked byte, else with the word of t holders that nothing of it will
//! ever be released. Without that word a new attempt could not be told from an attack. Source: protocol, section 12.

use veilsum_secagg::message::AbortAttestation;
use veilsum_secagg::{Certificate, coordinator};

use super::{Event, Outcome, Phase, Round, count, first};
use crate::rejection::{Abort, Rejection};

/// An abort and a survivor certificate exclude each other.
pub(super) fn possible(round: &Round) -> bool {
    matches!(
        round.phase,
        Phase::Committing | Phase::Submitting { .. } | Phase::Attesting { .. }
    )
}

pub(super) fn start(round: &Round, reason: Abort) -> Phase {
    if round.cohort.is_none() {
        return Phase::Ended(Outcome::Aborted {
            reason,
            certificate: None,
        });
    }
    Phase::Aborting(reason)
}

pub(super) fn order(
    round: &Round,
    index: u32,
    attestation: &AbortAttestation,
) -> Result<(), Rejection> {
    first(round.aborts.get(&index), attestation, "abort")?;
    match round.phase {
        Phase::Aborting(_) => Ok(()),
        Phase::Ended(Outcome::Aborted { .. }) => Err(Rejection::Repeated),
        _ => Err(round.out_of_phase("an abort")),
    }
}

pub(super) fn check(
    round: &Round,
    index: u32,
    attestation: &AbortAttestation,
) -> Result<(), Rejection> {
    Ok(coordinator::check_abort(
        &round.attempt,
        index,
        attestation,
    )?)
}

pub(super) fn due(round: &Round, expired: bool) -> Option<Event> {
    let (have, need) = (count(&round.aborts), round.attempt.threshold());
    if have >= need {
        return Some(Event::AbortCertified {
            holders: round.aborts.keys().copied().collect(),
        });
    }
    expired.then_some(Event::Lost(Abort::AbortUncertified { have, need }))
}

pub(super) fn close(round: &Round, holders: &[u32]) -> Result<Phase, Abort> {
    let diverged = || Abort::Diverged("abort certificate");
    let Phase::Aborting(reason) = &round.phase else {
        return Err(diverged());
    };
    let sign = |index: &u32| round.aborts.get(index).map(|a| (a.position, a.signature));
    let signatures = holders
        .iter()
        .map(sign)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(diverged)?;
    let certificate = Certificate {
        digest: round.attempt.hash(),
        signatures,
    };
    certificate
        .certify_abort(&round.attempt)
        .map_err(|_| diverged())?;
    Ok(Phase::Ended(Outcome::Aborted {
        reason: reason.clone(),
        certificate: Some(certificate),
    }))
}
