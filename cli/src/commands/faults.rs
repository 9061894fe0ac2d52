//! `veilsum participant faults`: the proofs of lies that a site keeps, listed or copied.
//!
//! Reads files only, beside a running daemon too. What a proof is worth is said by `verify-fault`; the list shows whom it accuses and
//! whether it holds.

use std::path::Path;

use serde_json::{Value, json};
use veilsum_daemon::files;
use veilsum_participant::config::Config;
use veilsum_participant::faults::{KeptFault, kept};
use veilsum_secagg::evidence::CulpritKey;

use crate::args::ParticipantFaults;
use crate::commands::verify_fault::words;
use crate::error::Error;
use crate::render::{Output, table};

pub(crate) fn run(asked: &ParticipantFaults) -> Result<Output, Error> {
    let config = Config::load(&asked.config, std::env::vars_os())
        .map_err(|error| Error::Daemon(error.into()))?;
    let found = kept(&config.data_dir)?;
    match asked.export.as_deref() {
        Some([id, to]) => export(&found, id, Path::new(to)),
        _ => Ok(list(&found)),
    }
}

/// Under a name that must be free: a proof is never replaced by another one unnoticed.
fn export(found: &[KeptFault], id: &str, to: &Path) -> Result<Output, Error> {
    let fault = found
        .iter()
        .find(|fault| fault.id == id)
        .ok_or_else(|| Error::NoFault { id: id.to_owned() })?;
    let bytes = files::read(&fault.path, veilsum_common::limits::MAX_FAULT_BYTES as u64)?;
    files::create_atomic(to, &bytes)?;
    Ok(Output {
        data: json!({"id": id, "file": to.display().to_string(), "bytes": bytes.len()}),
        text: format!("{} ({} bytes)", to.display(), bytes.len()),
        next: vec![format!("veilsum verify-fault {}", to.display())],
    })
}

fn list(found: &[KeptFault]) -> Output {
    let lines: Vec<Line> = found.iter().map(Line::of).collect();
    let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(lines.iter().map(Line::row));
    let next = match found.first() {
        Some(first) => format!(
            "veilsum participant faults --export {} FILE, then veilsum verify-fault FILE, here or anywhere",
            first.id
        ),
        None => "this site has met no lie that can be proved to others".to_owned(),
    };
    Output {
        data: json!({"faults": lines.iter().map(Line::data).collect::<Vec<_>>()}),
        text: if found.is_empty() {
            String::new()
        } else {
            table(&rows)
        },
        next: vec![next],
    }
}

const HEADINGS: [&str; 6] = ["id", "run", "kind", "epoch", "attempt", "culprit"];

/// One fault file.
struct Line<'a> {
    fault: &'a KeptFault,
    kind: &'static str,
    culprit: String,
    epoch: Option<u64>,
    attempt: Option<(u64, u64)>,
    holds: bool,
}

impl<'a> Line<'a> {
    fn of(fault: &'a KeptFault) -> Self {
        let evidence = fault.evidence.as_ref().ok();
        let conviction = evidence.and_then(|evidence| evidence.verify().ok());
        let culprit = match conviction.as_ref().map(|conviction| conviction.culprit) {
            Some(CulpritKey::Coordinator(_)) => "the coordinator".to_owned(),
            Some(CulpritKey::Member(key)) => key.id().to_string(),
            None => "nobody: the file is damaged".to_owned(),
        };
        Self {
            fault,
            kind: evidence.map_or("unreadable", |evidence| evidence.word()),
            culprit,
            epoch: conviction.as_ref().map(|conviction| conviction.epoch),
            attempt: conviction
                .as_ref()
                .and_then(|conviction| conviction.attempt),
            holds: conviction.is_some(),
        }
    }

    fn row(&self) -> Vec<String> {
        let number = |number: Option<u64>| number.map_or("-".to_owned(), |n| n.to_string());
        vec![
            self.fault.id.clone(),
            self.fault.run.clone(),
            self.kind.to_owned(),
            number(self.epoch),
            number(self.attempt.map(|(_, seq)| seq)),
            self.culprit.clone(),
        ]
    }

    fn data(&self) -> Value {
        let words = self.fault.evidence.as_ref().ok().map(words::of);
        json!({
            "id": self.fault.id,
            "run_id": self.fault.run,
            "kind": self.kind,
            "culprit": self.culprit,
            "epoch": self.epoch,
            "round": self.attempt.map(|(round, _)| round),
            "attempt": self.attempt.map(|(_, seq)| seq),
            "holds": self.holds,
            "fault": words.map(|words| words.fault),
            "file": self.fault.path.display().to_string(),
        })
    }
}

#[cfg(test)]
mod tests;
