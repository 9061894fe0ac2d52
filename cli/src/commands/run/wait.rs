//! `veilsum run wait`: long polls until the run is where it was wanted, can no longer get there by itself, or the time is up.

use std::time::{Duration, Instant};

use veilsum_common::ids::RunId;
use veilsum_common::limits::HOLD_MAX_MS;
use veilsum_common::time::Span;
use veilsum_daemon::backoff::Backoff;
use veilsum_proto::pb;
use veilsum_proto::pb::RunState;

use super::show;
use crate::args::{Awaited, Connection, RunWait};
use crate::client::{Client, duration};
use crate::error::Error;
use crate::exit::{Exit, Failure};
use crate::render::{Output, note};

pub(super) async fn run(wait: RunWait) -> Result<Output, Error> {
    let client = Client::open(&wait.connection)?;
    until(
        &client,
        wait.run,
        wait.awaited,
        wait.timeout,
        &wait.connection,
    )
    .await
}

/// Waits for a state. An outage in between is waited out for [`OUTAGE`]; one at the first call is an error at once.
pub(super) async fn until(
    client: &Client,
    id: RunId,
    awaited: Awaited,
    timeout: Option<Span>,
    connection: &Connection,
) -> Result<Output, Error> {
    let mut follow = Follow::new(client.clone(), id);
    let started = Instant::now();
    let mut run = follow.next(Span(0)).await?;
    loop {
        match judge(&run, awaited) {
            Verdict::Holds => {
                let run = client.show(id).await?;
                super::warn_of(&run);
                return Ok(show::one(&run, connection));
            }
            Verdict::Never => return Err(over(id, run)),
            Verdict::NotYet => {}
        }
        let left = timeout.map(|limit| duration(limit).saturating_sub(started.elapsed()));
        match left {
            Some(Duration::ZERO) => return Err(timed_out(id, &run, timeout.unwrap_or_default())),
            Some(left) => run = follow.next(span(left)).await?,
            None => run = follow.next(Span(HOLD_MAX_MS)).await?,
        }
    }
}

/// A run that is asked for again whenever it has changed.
pub(super) struct Follow {
    client: Client,
    id: RunId,
    version: u64,
    history_from: u64,
}

impl Follow {
    /// Nothing was seen yet, so the first answer comes at once.
    pub(super) fn new(client: Client, id: RunId) -> Self {
        Self {
            client,
            id,
            version: 0,
            history_from: 0,
        }
    }

    /// The run with the rounds published since the last call, as soon as it has changed or `hold` is over.
    pub(super) async fn next(&mut self, hold: Span) -> Result<pb::Run, Error> {
        let hold = Span(hold.as_ms().min(HOLD_MAX_MS));
        let run = if self.version == 0 {
            self.ask(hold).await?
        } else {
            self.persist(hold).await?
        };
        self.version = run.version;
        if let Some(last) = run.history.last() {
            self.history_from = last.round + 1;
        }
        Ok(run)
    }

    async fn ask(&self, hold: Span) -> Result<pb::Run, Error> {
        self.client
            .wait(self.id, self.version, hold, self.history_from)
            .await
    }

    /// Asks until there is an answer; an outage is told of once.
    async fn persist(&self, hold: Span) -> Result<pb::Run, Error> {
        let (mut backoff, lost) = (Backoff::new(RETRY.0, RETRY.1), Instant::now());
        loop {
            let error = match self.ask(hold).await {
                Ok(run) => return Ok(run),
                Err(error) => error,
            };
            let failure = Failure::from(&error);
            if failure.exit != Exit::Unreachable || lost.elapsed() > OUTAGE {
                return Err(error);
            }
            if backoff.failures() == 0 {
                note(&format!("{}; trying again", failure.message));
            }
            veilsum_participant::link::pause(&mut backoff).await;
        }
    }
}

/// Why the awaited state will not come, or not by itself.
pub(crate) fn over(id: RunId, run: pb::Run) -> Error {
    Error::RunOver {
        run: id,
        state: show::state(&run),
        rounds_done: run.rounds_done,
        rounds: run.rounds,
        reason: run.reason.map(|reason| *reason),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Holds,
    NotYet,
    Never,
}

fn judge(run: &pb::Run, awaited: Awaited) -> Verdict {
    match (run.state(), awaited) {
        (RunState::Completed, _) | (RunState::Running, Awaited::Running) => Verdict::Holds,
        (RunState::Failed | RunState::Cancelled, Awaited::Ended) => Verdict::Holds,
        (RunState::Failed | RunState::Cancelled, Awaited::Completed | Awaited::Running) => {
            Verdict::Never
        }
        // It had its first round; nothing else comes before a person decides.
        (RunState::Paused, Awaited::Running) => Verdict::Holds,
        (RunState::Paused, Awaited::Completed | Awaited::Ended) => Verdict::Never,
        (RunState::Unspecified | RunState::Pending, _) => Verdict::NotYet,
        (RunState::Running, Awaited::Completed | Awaited::Ended) => Verdict::NotYet,
    }
}

fn timed_out(id: RunId, run: &pb::Run, waited: Span) -> Error {
    Error::WaitTimedOut {
        run: id,
        state: show::state(run),
        rounds_done: run.rounds_done,
        rounds: run.rounds,
        waited,
    }
}

fn span(duration: Duration) -> Span {
    Span(
        u64::try_from(duration.as_millis())
            .unwrap_or(u64::MAX)
            .max(1),
    )
}

/// An outage in the middle of waiting: longer than a coordinator takes to restart.
const OUTAGE: Duration = Duration::from_secs(5 * 60);

/// Waits between tries, as a site's.
const RETRY: (Span, Span) = (Span::from_ms(50), Span::from_secs(5));

#[cfg(test)]
mod tests;
