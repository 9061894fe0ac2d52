//! How a run stands, as an operator sees it.
//!
//! Pure functions of the machines' states. What they deliberately leave to the service: versions, pages, and which part of the
//! history was asked for. Numbers of single sites are never in here; means over the survivors are.

use std::collections::BTreeMap;

use veilsum_common::blob::BlobRef;
use veilsum_common::limits::REQUEST_ID_BYTES;
use veilsum_common::metadata::Metadata;
use veilsum_common::run::RunSpec;
use veilsum_common::time::Timestamp;
use veilsum_engine::rejection::Abort;
use veilsum_engine::round::{Decline, Round};
use veilsum_engine::run::{Paused, Record, Run, State};

use super::{ConvertError, Problem};
use crate::pb;
use crate::pb::ParticipantState;

/// The caller's name for a request: a UUID, in lower case, so that one UUID is one name.
///
/// # Errors
/// [`Problem::NotA`] if it is none.
pub fn request_id(text: &str) -> Result<String, ConvertError> {
    let place = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    let uuid = text.len() == REQUEST_ID_BYTES && text.bytes().enumerate().all(place);
    if uuid {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(Problem::NotA("a UUID").of("request_id"))
    }
}

impl From<&Abort> for pb::Reason {
    fn from(abort: &Abort) -> Self {
        Self {
            code: abort.code().to_owned(),
            text: abort.to_string(),
        }
    }
}

/// Where a run is in its life, and why it ended if it is over without all of its rounds.
pub fn ending(state: &State) -> (pb::RunState, Option<pb::Reason>) {
    match state {
        State::Running => (pb::RunState::Running, None),
        State::Completed => (pb::RunState::Completed, None),
        State::Failed(why) => (pb::RunState::Failed, Some(why.into())),
        State::Cancelled => (pb::RunState::Cancelled, Some((&Abort::Cancelled).into())),
    }
}

/// How `run` stands; `version`, participants and history are left to the caller.
pub fn overview(spec: &RunSpec, run: &Run, created_at: Timestamp) -> pb::Run {
    let (state, reason) = match (run.state(), run.paused()) {
        (State::Running, Some(paused)) => {
            (pb::RunState::Paused, Some((&paused.loss.reason).into()))
        }
        (State::Running, None) if waits_for_its_first_epoch(run) => {
            (pb::RunState::Pending, last_failure(run))
        }
        (State::Running, None) => (pb::RunState::Running, last_failure(run)),
        (over @ (State::Completed | State::Failed(_) | State::Cancelled), _) => ending(&over),
    };
    pb::Run {
        run_id: spec.run_id().to_string(),
        name: spec.study().name().to_owned(),
        state: state.into(),
        rounds_done: run.history().len() as u64,
        rounds: spec.study().rounds().count,
        created_at_ms: created_at.0,
        reason: reason.map(Box::new),
        participants: Vec::new(),
        history: Vec::new(),
        version: 0,
        lost: run.paused().map(|paused| Box::new(paused.into())),
    }
}

impl From<&Paused> for pb::LostAttempt {
    fn from(paused: &Paused) -> Self {
        let Paused {
            epoch,
            round,
            seq,
            at,
            loss,
        } = paused;
        Self {
            epoch: *epoch,
            round: *round,
            seq: *seq,
            lost_ms: at.0,
            missing: loss.missing.iter().map(ToString::to_string).collect(),
            culprit: loss
                .culprit
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        }
    }
}

fn waits_for_its_first_epoch(run: &Run) -> bool {
    run.history().is_empty() && run.current().is_none()
}

/// Between two tries of an epoch's set-up or of a round: why the last one gave nothing.
fn last_failure(run: &Run) -> Option<pb::Reason> {
    let failed = run.failed_setups().last();
    failed.or(run.aborted().last()).map(Into::into)
}

/// The sites of the current round, in roster order, and how far each got.
pub fn participants(round: &Round) -> Vec<pb::RoundParticipant> {
    let sites = (0..round.attempt().roster().len()).filter_map(|index| {
        let (state, detail) = progress(round, index);
        Some(pb::RoundParticipant {
            site: round.site(index)?.to_string(),
            state: state.into(),
            detail: detail.to_owned(),
        })
    });
    sites.collect()
}

fn progress(round: &Round, index: u32) -> (ParticipantState, &'static str) {
    if let Some(why) = round.declined().get(&index) {
        return (ParticipantState::Declined, class(*why));
    }
    let left_out = round
        .proposal()
        .is_some_and(|proposal| !proposal.survivors.contains(index));
    let state = if !round.commits().contains_key(&index) {
        ParticipantState::Invited
    } else if left_out {
        ParticipantState::Dropped
    } else if round.attestations().contains_key(&index) {
        ParticipantState::Attested
    } else if round.uploads().contains_key(&index) {
        ParticipantState::Uploaded
    } else {
        ParticipantState::Committed
    };
    (state, "")
}

fn class(why: Decline) -> &'static str {
    match why {
        Decline::NotNow => "its trainer sits this round out",
        Decline::TrainerFailed => "its trainer failed; the site's log says how",
        Decline::UpdateRefused => "what its trainer wrote cannot be sent; the site's log says why",
        Decline::Policy => "its own policy refuses; the site's log names the rule",
        Decline::Spent => {
            "its update for this model was used; it takes part again when its operator consents, or with the next model"
        }
    }
}

/// What is kept of a published round.
pub fn summary(metadata: &Metadata, record: &Record) -> pb::RoundSummary {
    let published = &record.published;
    pb::RoundSummary {
        round: record.round,
        seq: record.seq,
        opened_ms: published.opened_at.0,
        published_ms: record.at.0,
        cohort: published.cohort,
        survivors: u32::try_from(published.result.survivors).unwrap_or(u32::MAX),
        metrics: means(metadata, record),
        model_digest: published.model.digest.0.to_vec(),
        dropped: published.dropped.iter().map(ToString::to_string).collect(),
    }
}

/// The model version that a published round made.
pub fn model_version(metadata: &Metadata, record: &Record) -> pb::ModelVersion {
    pb::ModelVersion {
        round: record.round,
        metrics: means(metadata, record),
        ..initial_model(&record.published.model, record.at)
    }
}

/// The model version that round 1 trains on.
pub fn initial_model(model: &BlobRef, created_at: Timestamp) -> pb::ModelVersion {
    pb::ModelVersion {
        round: 0,
        digest: model.digest.0.to_vec(),
        len_bytes: model.len_bytes,
        published_ms: created_at.0,
        metrics: BTreeMap::new(),
    }
}

/// Empty if the sums cannot be read: the final job refuses such sums, so no record has them.
fn means(metadata: &Metadata, record: &Record) -> BTreeMap<String, f64> {
    let (lanes, _) = record.published.result.metadata.as_chunks::<8>();
    let sums: Vec<u64> = lanes.iter().map(|lane| u64::from_le_bytes(*lane)).collect();
    let means = metadata.decode(&sums).ok();
    means.map(|means| means.metrics).unwrap_or_default()
}

#[cfg(test)]
mod tests;
