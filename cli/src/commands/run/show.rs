//! How a run looks, for programs and for people. No number of a single site is in here, since none reaches the coordinator.

use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use veilsum_common::ids::RunId;
use veilsum_common::time::{Span, Timestamp};
use veilsum_daemon::clock;
use veilsum_proto::pb;
use veilsum_proto::pb::{ParticipantState, RunState};

use super::flags;
use crate::args::Connection;
use crate::error::Error;
use crate::render::{Output, table};

/// All runs.
pub(super) fn list(runs: &[pb::Run], connection: &Connection) -> Output {
    let header = ["run", "name", "state", "rounds", "created"]
        .map(str::to_owned)
        .to_vec();
    let row = |run: &pb::Run| {
        vec![
            run.run_id.clone(),
            run.name.clone(),
            state(run).to_owned(),
            rounds(run),
            age(run),
        ]
    };
    let rows: Vec<Vec<String>> = std::iter::once(header)
        .chain(runs.iter().map(row))
        .collect();
    let (text, next) = match runs.first() {
        None => (
            String::new(),
            format!(
                "no runs yet: veilsum run create -f study.toml{}",
                flags(connection)
            ),
        ),
        Some(newest) => (
            table(&rows),
            format!("veilsum run show {}{}", newest.run_id, flags(connection)),
        ),
    };
    Output {
        data: json!({"runs": runs.iter().map(data).collect::<Vec<_>>()}),
        text,
        next: vec![next],
    }
}

/// One run.
pub(super) fn one(run: &pb::Run, connection: &Connection) -> Output {
    let flags = flags(connection);
    let id = &run.run_id;
    let next = match run.state() {
        RunState::Completed => {
            vec![format!(
                "veilsum model get {id} -o model.safetensors{flags}"
            )]
        }
        RunState::Failed | RunState::Cancelled => vec![format!("veilsum model list {id}{flags}")],
        RunState::Pending | RunState::Running | RunState::Unspecified => {
            vec![format!("veilsum run wait {id}{flags}")]
        }
        RunState::Paused => vec![
            format!("veilsum participant consent {id}   # at each site that agrees"),
            format!("veilsum run resume {id}{flags}"),
        ],
    };
    Output {
        data: data(run),
        text: text(run),
        next,
    }
}

/// The run in JSON.
pub(crate) fn data(run: &pb::Run) -> Value {
    json!({
        "run_id": run.run_id,
        "name": run.name,
        "state": state(run),
        "rounds_done": run.rounds_done,
        "rounds": run.rounds,
        "created_at_ms": run.created_at_ms,
        "reason": run.reason.as_ref().map(|reason| json!({"code": reason.code, "text": reason.text})),
        "lost": run.lost.as_deref().map(lost),
        "participants": run.participants.iter().map(participant).collect::<Vec<_>>(),
        "history": run.history.iter().map(round).collect::<Vec<_>>(),
    })
}

/// An attempt that was lost, in JSON.
pub(crate) fn lost(lost: &pb::LostAttempt) -> Value {
    let culprit = Some(&lost.culprit).filter(|name| !name.is_empty());
    json!({
        "epoch": lost.epoch,
        "round": lost.round,
        "attempt": lost.seq,
        "lost_ms": lost.lost_ms,
        "missing": lost.missing,
        "culprit": culprit,
    })
}

/// Who a lost attempt waits for, or whose fault it is.
pub(super) fn lost_text(lost: &pb::LostAttempt) -> String {
    let who = match (&lost.missing[..], lost.culprit.as_str()) {
        (_, culprit) if !culprit.is_empty() => format!("the shares of {culprit} do not fit"),
        ([], _) => "no holder is missing".to_owned(),
        (missing, _) => format!("holders missing: {}", missing.join(", ")),
    };
    format!("round {} (attempt {}) is lost  {who}", lost.round, lost.seq)
}

/// A published round in JSON.
pub(crate) fn round(round: &pb::RoundSummary) -> Value {
    json!({
        "round": round.round,
        "attempt": round.seq,
        "opened_ms": round.opened_ms,
        "published_ms": round.published_ms,
        "duration_ms": round.published_ms.saturating_sub(round.opened_ms),
        "cohort": round.cohort,
        "survivors": round.survivors,
        "dropped": round.dropped,
        "metrics": metrics(&round.metrics),
        "model": HEXLOWER.encode(&round.model_digest),
    })
}

/// Means by name.
pub(crate) fn metrics<'a>(
    metrics: impl IntoIterator<Item = (&'a String, &'a f64)>,
) -> Map<String, Value> {
    metrics
        .into_iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect()
}

/// The word for where a run is in its life.
pub(crate) fn state(run: &pb::Run) -> &'static str {
    match run.state() {
        RunState::Unspecified => "unknown",
        RunState::Pending => "pending",
        RunState::Running => "running",
        RunState::Completed => "completed",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
        RunState::Paused => "paused",
    }
}

/// The run's id as a value.
pub(crate) fn id(run: &pb::Run) -> Result<RunId, Error> {
    run.run_id.parse().map_err(|_| Error::Incomplete {
        what: "the run's id",
    })
}

/// `accuracy 0.914  loss 0.31`, in the order of their names.
pub(crate) fn metrics_text<'a>(metrics: impl IntoIterator<Item = (&'a String, &'a f64)>) -> String {
    let mut words: Vec<String> = metrics
        .into_iter()
        .map(|(name, value)| format!("{name} {value:.4}"))
        .collect();
    words.sort();
    words.join("  ")
}

fn text(run: &pb::Run) -> String {
    let mut lines = vec![format!(
        "{}  {}  {}  {} rounds  {}",
        run.run_id,
        run.name,
        state(run),
        rounds(run),
        age(run)
    )];
    if let Some(reason) = &run.reason {
        lines.push(format!("{} [{}]", reason.text, reason.code));
    }
    lines.extend(run.lost.as_deref().map(lost_text));
    if let Some(last) = run.history.last() {
        let took = Span(last.published_ms.saturating_sub(last.opened_ms));
        let metrics = metrics_text(&last.metrics);
        lines.push(format!(
            "round {}  {} of {} sites in the sum  {took}  {metrics}",
            last.round, last.survivors, last.cohort
        ));
    }
    let sites = run.participants.iter().map(|site| {
        vec![
            site.site.clone(),
            progress(site).to_owned(),
            site.detail.clone(),
        ]
    });
    let sites: Vec<Vec<String>> = sites.collect();
    if !sites.is_empty() {
        lines.push(table(&sites));
    }
    lines.join("\n")
}

fn participant(site: &pb::RoundParticipant) -> Value {
    json!({"site": site.site, "state": progress(site), "detail": site.detail})
}

fn progress(site: &pb::RoundParticipant) -> &'static str {
    match site.state() {
        ParticipantState::Unspecified => "unknown",
        ParticipantState::Invited => "invited",
        ParticipantState::Committed => "committed",
        ParticipantState::Uploaded => "uploaded",
        ParticipantState::Attested => "attested",
        ParticipantState::Dropped => "dropped",
        ParticipantState::Declined => "declined",
    }
}

fn rounds(run: &pb::Run) -> String {
    format!("{}/{}", run.rounds_done, run.rounds)
}

/// How long ago it was created, in one unit.
fn age(run: &pb::Run) -> String {
    let seconds = clock::now().since(Timestamp(run.created_at_ms)).as_ms() / 1000;
    let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "min")];
    match units.iter().find(|(unit, _)| seconds >= *unit) {
        Some((unit, name)) => format!("{} {name} ago", seconds / unit),
        None => format!("{seconds} s ago"),
    }
}
