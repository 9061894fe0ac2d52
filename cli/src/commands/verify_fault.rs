//! `veilsum verify-fault`: checks a fault file, offline, and says whom it convicts of what.
//!
//! It trusts nothing but the file's signatures. Whether the key that made them is whose the reader thinks it is, only the reader can tell:
//! the coordinator's key and the run's hash are what every site of the run was told, the members' ids are what sites pin. Source:
//! protocol, section 28.

pub(crate) mod words;

use std::path::Path;

use serde_json::{Value, json};
use veilsum_common::ids::RunId;
use veilsum_common::limits::MAX_FAULT_BYTES;
use veilsum_daemon::files;
use veilsum_participant::config::Config;
use veilsum_proto::convert::fault;
use veilsum_secagg::Digest;
use veilsum_secagg::evidence::{Conviction, CulpritKey, Evidence};
use veilsum_secagg::keys::MemberId;

use crate::args::VerifyFault;
use crate::error::Error;
use crate::render::Output;

pub(crate) fn run(asked: &VerifyFault) -> Result<Output, Error> {
    let evidence = read(&asked.file)?;
    let conviction = evidence
        .verify()
        .map_err(|unproved| Error::FaultNotProved {
            path: asked.file.clone(),
            kind: evidence.word(),
            unproved,
        })?;
    let pinned = expected(asked, &conviction)?;
    Ok(show(&evidence, &conviction, pinned))
}

/// The evidence in a file.
pub(crate) fn read(path: &Path) -> Result<Evidence, Error> {
    // One byte more than a fault file may have: a longer one is refused for what it is.
    let bytes = files::read(path, MAX_FAULT_BYTES as u64 + 1)?;
    fault::evidence(&bytes).map_err(|source| Error::FaultFile {
        path: path.to_owned(),
        source,
    })
}

/// Compares with what the reader says it knows; gives whether a convicted member is pinned, where that can be told.
fn expected(asked: &VerifyFault, conviction: &Conviction) -> Result<Option<bool>, Error> {
    let found = Digest(conviction.coordinator_pk);
    if asked.coordinator_key.is_some_and(|known| known != found) {
        return Err(Error::FaultOtherParty {
            what: "coordinator key",
            found,
        });
    }
    let (Some(path), CulpritKey::Member(key)) = (&asked.config, conviction.culprit) else {
        return Ok(None);
    };
    let config =
        Config::load(path, std::env::vars_os()).map_err(|error| Error::Daemon(error.into()))?;
    let MemberId(found) = key.id();
    match config.policy.peers.pins(&key.id()) {
        Some(false) => Err(Error::FaultOtherParty {
            what: "member id",
            found,
        }),
        pinned => Ok(pinned),
    }
}

fn show(evidence: &Evidence, conviction: &Conviction, pinned: Option<bool>) -> Output {
    let Conviction {
        culprit,
        run_id,
        run_hash,
        coordinator_pk,
        epoch,
        attempt,
    } = conviction;
    let (who, culprit, next) = match culprit {
        CulpritKey::Coordinator(key) => {
            let key = Digest(*key.as_bytes());
            let data = json!({"role": "coordinator", "key": key.to_string()});
            (format!("the coordinator with key {key}"), data, COMPARE_RUN)
        }
        CulpritKey::Member(key) => {
            let (id, key) = (key.id(), Digest(*key.as_bytes()));
            let data = json!({"role": "member", "id": id.to_string(), "key": key.to_string()});
            let pin = match pinned {
                Some(true) => ", which this site pins",
                _ => "",
            };
            (format!("the member with id {id}{pin}"), data, COMPARE_ID)
        }
    };
    let run_id = RunId::from_bytes(*run_id);
    let words = words::of(evidence);
    let place = attempt.map_or(format!("epoch {epoch}"), |(round, seq)| {
        format!("epoch {epoch}, round {round}, attempt {seq}")
    });
    let lines = [
        format!("convicted       {who}"),
        format!("of              {} ({})", words.fault, evidence.word()),
        format!("in              {run_id}, {place}"),
        format!("run hash        {run_hash}"),
        format!("coordinator key {}", Digest(*coordinator_pk)),
        format!("proves          {}", words.proves),
        format!("does not prove  {}", words.leaves_open),
    ];
    Output {
        data: json!({
            "kind": evidence.word(),
            "culprit": culprit,
            "pinned": pinned,
            "run_id": run_id.to_string(),
            "run_hash": run_hash.to_string(),
            "coordinator_key": Digest(*coordinator_pk).to_string(),
            "epoch": epoch,
            "round": attempt.map_or(Value::Null, |(round, _)| round.into()),
            "attempt": attempt.map_or(Value::Null, |(_, seq)| seq.into()),
            "fault": words.fault,
            "proves": words.proves,
            "does_not_prove": words.leaves_open,
        }),
        text: lines.join("\n"),
        next: vec![next.to_owned()],
    }
}

const COMPARE_RUN: &str = "compare run hash and coordinator key with what a site of this run logged when it accepted it: anybody can make a \
                           run of that name with a key of its own";
const COMPARE_ID: &str =
    "compare the id with the one that site gave you: `veilsum participant id` shows it there";

#[cfg(test)]
mod tests;
