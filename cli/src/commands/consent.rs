//! `veilsum participant consent`: the site's own operator lets an update that is spent into one more sum.
//!
//! Says first what is spent and what consenting may reveal, and asks. Whoever answers is a person at the site: nothing in a
//! configuration and no call of the coordinator can do it.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use serde_json::{Value, json};
use veilsum_common::time::Timestamp;
use veilsum_daemon::clock;
use veilsum_participant::config::Config;
use veilsum_participant::consent::{Consent, SpentAttempt, Standing};

use crate::args::ParticipantConsent;
use crate::error::Error;
use crate::render::{self, Output};

pub(crate) fn run(asked: &ParticipantConsent) -> Result<Output, Error> {
    let config = Config::load(&asked.config, std::env::vars_os())
        .map_err(|error| Error::Daemon(error.into()))?;
    let mut consent = Consent::open(&config, asked.run)?;
    let before = consent.standing();
    if before == Standing::Awaited {
        render::note(&explanation(&consent.spent(), clock::now()));
        if !asked.yes && !confirmed() {
            return Err(Error::Withheld { run: asked.run });
        }
        consent.give(clock::now())?;
    }
    let attempts: Vec<Value> = consent.spent().iter().map(data).collect();
    let done = match before {
        Standing::Awaited => "consented",
        Standing::Given => "consented before",
    };
    Ok(Output {
        data: json!({
            "run_id": asked.run.to_string(),
            "model": consent.model().to_string(),
            "consented": true,
            "given_before": before == Standing::Given,
            "spent": attempts,
        }),
        text: format!(
            "{done} to one more sum over this site's update for model {}",
            consent.model()
        ),
        next: vec![format!(
            "start the daemon again; the run goes on when its operator runs: veilsum run resume {}",
            asked.run
        )],
    })
}

fn data(attempt: &SpentAttempt) -> Value {
    json!({
        "epoch": attempt.epoch,
        "round": attempt.round,
        "attempt": attempt.seq,
        "released": attempt.released,
        "expires_ms": attempt.expires.0,
    })
}

/// What is spent, and what one more sum means.
pub(crate) fn explanation(spent: &[SpentAttempt], now: Timestamp) -> String {
    let mut lines = vec![
        "This site has sent its masked update, and no result came of it. The coordinator may hold the sum all the same:".to_owned(),
    ];
    lines.extend(spent.iter().map(|attempt| line(attempt, now)));
    lines.push(MEANING.to_owned());
    lines.join("\n")
}

fn line(attempt: &SpentAttempt, now: Timestamp) -> String {
    let SpentAttempt {
        round,
        seq,
        released,
        expires,
        ..
    } = attempt;
    let shares = if *released {
        "this site released the shares it held"
    } else {
        "this site released no shares"
    };
    let left_min = expires.0.saturating_sub(now.0).div_ceil(60_000);
    let end = if left_min == 0 {
        "expired".to_owned()
    } else {
        format!("may still end by itself for {left_min} min: if you can, wait")
    };
    format!("  round {round}, attempt {seq}: {shares}; {end}")
}

/// Whether somebody at a terminal says so.
fn confirmed() -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    let mut answer = String::new();
    // Standard error may be closed; then nobody answers either.
    let asked = write!(io::stderr().lock(), "Type yes to consent: ").is_ok();
    asked && io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim() == "yes"
}

const MEANING: &str = "\
Consenting means: this site adds the same update to one more sum, which is published with its model. Whoever holds both sums
can subtract them. If the cohorts differ by one site, the difference is that site's update: it may be this site's or another's.
It counts for one attempt, under a new round number. Lost again, it needs another consent.
Not consenting costs nothing: this site sits out until the next model.";

#[cfg(test)]
mod tests;
