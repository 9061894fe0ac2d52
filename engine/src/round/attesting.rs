//! Waiting for holders to attest the survivors, until every cohort member has t clean holders; then the set is certified (CP6).
//!
//! Source: protocol, sections 10 and 11.1.

use veilsum_secagg::coordinator::{self, Recoverability};
use veilsum_secagg::message::Attestation;
use veilsum_secagg::{Certificate, Error};

use super::{Event, Phase, Round, first};
use crate::rejection::{Abort, Rejection};

pub(super) fn order(round: &Round, index: u32, attestation: &Attestation) -> Result<(), Rejection> {
    first(round.attestations.get(&index), attestation, "attestation")?;
    match round.phase {
        Phase::Attesting { .. } => Ok(()),
        // The certificate is complete; a late attestation changes nothing and is welcome.
        _ if round.certificate.is_some() => Err(Rejection::Repeated),
        Phase::Unmasking
        | Phase::Finishing
        | Phase::Committing
        | Phase::Submitting { .. }
        | Phase::Aborting(_)
        | Phase::Ended(_) => Err(round.out_of_phase("an attestation")),
    }
}

pub(super) fn check(round: &Round, index: u32, attestation: &Attestation) -> Result<(), Rejection> {
    let proposal = round
        .proposal
        .as_ref()
        .ok_or(round.out_of_phase("an attestation"))?;
    Ok(coordinator::check_attestation(
        &round.attempt,
        &proposal.digest(),
        index,
        attestation,
    )?)
}

pub(super) fn due(round: &Round, late: bool) -> Option<Event> {
    let cohort = round.cohort.as_ref()?;
    match coordinator::recoverability(&round.attempt, cohort, round.attestations.values()) {
        Recoverability::Given => Some(Event::Certified {
            holders: round.attestations.keys().copied().collect(),
        }),
        Recoverability::Convicted { dealers } => {
            Some(Event::AbortDecided(Abort::BadDealing { dealers }))
        }
        // a holder that complains is absent for the dealer it complains about (section 11.1)
        Recoverability::Waiting { clean, need, .. } => {
            let reason = Abort::AttestationsTooFew { have: clean, need };
            late.then_some(Event::AbortDecided(reason))
        }
    }
}

pub(super) fn close(round: &mut Round, holders: &[u32]) -> Result<Phase, Abort> {
    let diverged = || Abort::Diverged("survivor certificate");
    let digest = round.proposal.as_ref().ok_or_else(diverged)?.digest();
    let sign = |index: &u32| {
        round
            .attestations
            .get(index)
            .map(|a| (a.position, a.signature))
    };
    let signatures = holders
        .iter()
        .map(sign)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(diverged)?;
    let certificate = Certificate { digest, signatures };
    let certified: Result<_, Error> = certificate.certify_survivors(&round.attempt, digest);
    certified.map_err(|_| diverged())?;
    round.certificate = Some(certificate);
    Ok(Phase::Unmasking)
}
