//! Waiting for uploads (CP4), until all of the cohort are there or the report deadline; then the survivors are fixed, once (CP5).
//!
//! The bytes, the header and the signed trailer were checked where they arrived. Source: protocol, sections 9 and 10.

use veilsum_common::time::Timestamp;
use veilsum_secagg::message::{Cohort, SurvivorItem};
use veilsum_secagg::{Bitmap, Error, coordinator};

use super::{Event, Phase, Round, Upload, count};
use crate::rejection::{Abort, Rejection};

pub(super) fn expected(round: &Round, index: u32) -> Result<&Cohort, Rejection> {
    let cohort = round
        .cohort
        .as_ref()
        .ok_or(round.out_of_phase("an upload"))?;
    if !cohort.members.contains(index) {
        return Err(Rejection::NotAMember("cohort"));
    }
    if round.uploads.contains_key(&index) {
        return Err(Rejection::Repeated);
    }
    if matches!(round.phase, Phase::Submitting { .. }) {
        Ok(cohort)
    } else {
        Err(round.out_of_phase("an upload"))
    }
}

pub(super) fn order(round: &Round, upload: &Upload) -> Result<(), Rejection> {
    match round.uploads.get(&upload.item.index) {
        Some(known) if known.item.upload_hash == upload.item.upload_hash => {
            Err(Rejection::Repeated)
        }
        Some(_) => Err(Rejection::Conflict("upload")),
        None => expected(round, upload.item.index).map(|_| ()),
    }
}

pub(super) fn due(round: &Round, late: bool) -> Option<Event> {
    let cohort = round.cohort.as_ref()?;
    let have = count(&round.uploads);
    if have < cohort.members.count() && !late {
        return None;
    }
    Some(
        match coordinator::close_survivors(&round.attempt, cohort, &items(round)) {
            Ok(proposal) => Event::SurvivorsClosed {
                survivors: proposal.survivors,
            },
            // the degree rule may have left fewer than arrived; what people can act on is what arrived
            Err(Error::BelowThreshold { need, .. }) => {
                Event::AbortDecided(Abort::SurvivorsTooFew { have, need })
            }
            Err(_) => Event::AbortDecided(Abort::Diverged("survivor set")),
        },
    )
}

fn items(round: &Round) -> Vec<SurvivorItem> {
    round.uploads.values().map(|upload| upload.item).collect()
}

/// Replay checks the recorded set: no second set can exist for this attempt.
pub(super) fn close(round: &mut Round, at: Timestamp, survivors: &Bitmap) -> Result<Phase, Abort> {
    let diverged = || Abort::Diverged("survivor set");
    let cohort = round.cohort.as_ref().ok_or_else(diverged)?;
    let kept: Vec<_> = items(round)
        .into_iter()
        .filter(|item| survivors.contains(item.index))
        .collect();
    let proposal =
        coordinator::close_survivors(&round.attempt, cohort, &kept).map_err(|_| diverged())?;
    if proposal.survivors != *survivors {
        return Err(diverged());
    }
    round.proposal = Some(proposal);
    Ok(Phase::Attesting {
        until: round.report_deadline(at),
    })
}
