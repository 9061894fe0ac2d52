//! `veilsum run`: submit a study, look, wait, watch, resume, cancel.

mod create;
pub(crate) mod show;
mod study;
mod wait;
mod watch;

use veilsum_common::limits::DEFAULT_COHORT;
use veilsum_proto::pb;
use veilsum_proto::pb::RunState;

use crate::args::{Connection, RunCommand};
use crate::client::{Client, fresh_request_id};
use crate::commands::block_on;
use crate::error::Error;
use crate::render::{Form, Output, warn};
pub(crate) use wait::over;
use watch::Telling;

pub(crate) fn run(command: RunCommand, form: Form) -> Result<Output, Error> {
    match command {
        RunCommand::Create(create) => block_on(create::run(create)),
        RunCommand::List { connection } => block_on(async move {
            let runs = Client::open(&connection)?.list().await?;
            Ok(show::list(&runs, &connection))
        }),
        RunCommand::Show { run, connection } => block_on(async move {
            let run = Client::open(&connection)?.show(run).await?;
            warn_of(&run);
            Ok(show::one(&run, &connection))
        }),
        RunCommand::Wait(wait) => block_on(wait::run(wait)),
        RunCommand::Watch {
            run,
            jsonl,
            connection,
        } => {
            let telling = match form {
                _ if jsonl => Telling::Jsonl,
                Form::Text => Telling::Text,
                Form::Json => Telling::Silent,
            };
            block_on(watch::run(run, telling, connection))
        }
        RunCommand::Resume {
            run,
            request_id,
            connection,
        } => block_on(async move {
            let request_id = request_id.unwrap_or_else(fresh_request_id);
            let run = Client::open(&connection)?.resume(run, request_id).await?;
            Ok(show::one(&run, &connection))
        }),
        RunCommand::Cancel {
            run,
            request_id,
            connection,
        } => block_on(async move {
            let request_id = request_id.unwrap_or_else(fresh_request_id);
            let run = Client::open(&connection)?.cancel(run, request_id).await?;
            Ok(show::one(&run, &connection))
        }),
    }
}

/// What a person should know of a run: why it does not move, and that its sums hide little.
fn warn_of(run: &pb::Run) {
    let going = matches!(
        run.state(),
        RunState::Pending | RunState::Running | RunState::Paused
    );
    if let Some(reason) = run.reason.as_ref().filter(|_| going) {
        warn(&format!("{} [{}]", reason.text, reason.code));
    }
    if let Some(sites) = smallest_cohort(run).filter(|sites| *sites < DEFAULT_COHORT) {
        warn(&format!(
            "only {sites} sites: in so small a cohort one or two colluding sites are left with the sum of the other two"
        ));
    }
}

/// Of the rounds that are shown, and of the one that is under way.
fn smallest_cohort(run: &pb::Run) -> Option<u32> {
    let roster = u32::try_from(run.participants.len())
        .ok()
        .filter(|sites| *sites > 0);
    run.history
        .iter()
        .map(|round| round.cohort)
        .chain(roster)
        .min()
}

/// The flags to repeat in the next command: none if they come from the environment.
pub(crate) fn flags(connection: &Connection) -> String {
    let Connection { at, ca, cert, key } = connection;
    let given = [
        ("--at", "VEILSUM_AT", at.as_str().into()),
        ("--ca", "VEILSUM_CA", ca.to_string_lossy()),
        ("--cert", "VEILSUM_CERT", cert.to_string_lossy()),
        ("--key", "VEILSUM_KEY", key.to_string_lossy()),
    ];
    let typed = given
        .into_iter()
        .filter(|(_, variable, value)| std::env::var(variable).as_deref() != Ok(value.as_ref()));
    typed
        .map(|(flag, _, value)| format!(" {flag} {value}"))
        .collect()
}
