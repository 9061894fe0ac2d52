//! `veilsum run watch`: what happens in a run, as it happens, until it is over.
//!
//! Events are differences between two answers of the long poll, so one that comes and goes between two of them is not shown; published rounds
//! never are, since they stay in the history.

use serde_json::{Value, json};
use veilsum_common::ids::RunId;
use veilsum_common::limits::HOLD_MAX_MS;
use veilsum_common::time::Span;
use veilsum_proto::pb;
use veilsum_proto::pb::RunState;

use super::wait::{Follow, over};
use super::{show, warn_of};
use crate::args::Connection;
use crate::client::Client;
use crate::error::Error;
use crate::render::{Output, line};

/// How events are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// In words, a line each.
    Text,
    /// In JSON, a line each.
    Jsonl,
    /// Not at all: standard output is for one envelope.
    Silent,
}

/// Follows `id`; the exit code says how the run ended, as that of `run wait` does.
pub(super) async fn run(
    id: RunId,
    telling: Telling,
    connection: Connection,
) -> Result<Output, Error> {
    let client = Client::open(&connection)?;
    let mut follow = Follow::new(client.clone(), id);
    let mut seen = Seen::default();
    loop {
        let run = follow.next(Span(HOLD_MAX_MS)).await?;
        for event in seen.events(&run) {
            match telling {
                Telling::Text => line(&event.text()),
                Telling::Jsonl => line(&event.json(id).to_string()),
                Telling::Silent => {}
            }
        }
        match run.state() {
            RunState::Completed => {
                let run = client.show(id).await?;
                warn_of(&run);
                let shown = show::one(&run, &connection);
                return Ok(Output {
                    text: String::new(),
                    ..shown
                });
            }
            RunState::Failed | RunState::Cancelled => return Err(over(id, run)),
            RunState::Unspecified | RunState::Pending | RunState::Running | RunState::Paused => {}
        }
    }
}

/// What was told already.
#[derive(Default)]
struct Seen {
    state: Option<RunState>,
    reason: Option<pb::Reason>,
}

/// Something to tell.
enum Event<'a> {
    Published(&'a pb::RoundSummary, u64),
    State(&'a pb::Run),
    Waiting(&'a pb::Reason),
}

impl Seen {
    /// What is new in `run`; a terminal state comes last.
    fn events<'a>(&mut self, run: &'a pb::Run) -> Vec<Event<'a>> {
        let mut events: Vec<Event<'a>> = run
            .history
            .iter()
            .map(|round| Event::Published(round, run.rounds))
            .collect();
        if run.reason.as_deref() != self.reason.as_ref() && !terminal(run) {
            events.extend(run.reason.as_deref().map(Event::Waiting));
        }
        if self.state != Some(run.state()) {
            events.push(Event::State(run));
        }
        (self.state, self.reason) = (Some(run.state()), run.reason.as_deref().cloned());
        events
    }
}

impl Event<'_> {
    fn json(&self, id: RunId) -> Value {
        let (event, mut data) = match self {
            Self::Published(round, _) => ("round_published", show::round(round)),
            Self::State(run) => (
                "run_state",
                json!({
                    "state": show::state(run),
                    "reason": run.reason.as_deref().map(reason),
                    "lost": run.lost.as_deref().map(show::lost),
                }),
            ),
            Self::Waiting(why) => ("run_waiting", json!({"reason": reason(why)})),
        };
        data["event"] = event.into();
        data["run_id"] = id.to_string().into();
        data["terminal"] = matches!(self, Self::State(run) if terminal(run)).into();
        data
    }

    fn text(&self) -> String {
        match self {
            Self::Published(round, rounds) => {
                let took = Span(round.published_ms.saturating_sub(round.opened_ms));
                let dropped = match &round.dropped[..] {
                    [] => String::new(),
                    names => format!("  without {}", names.join(", ")),
                };
                let metrics = show::metrics_text(&round.metrics);
                format!(
                    "round {}/{rounds}  {} sites in the sum{dropped}  {took}  {metrics}",
                    round.round, round.survivors
                )
            }
            Self::State(run) => {
                let lost = run.lost.as_deref().map(show::lost_text);
                let lost = lost.map(|lost| format!("  {lost}")).unwrap_or_default();
                format!(
                    "run {}  {} rounds done{lost}",
                    show::state(run),
                    run.rounds_done
                )
            }
            Self::Waiting(reason) => format!("waiting  {} [{}]", reason.text, reason.code),
        }
    }
}

fn reason(reason: &pb::Reason) -> Value {
    json!({"code": reason.code, "text": reason.text})
}

fn terminal(run: &pb::Run) -> bool {
    match run.state() {
        RunState::Completed | RunState::Failed | RunState::Cancelled => true,
        RunState::Unspecified | RunState::Pending | RunState::Running | RunState::Paused => false,
    }
}

#[cfg(test)]
mod tests;
