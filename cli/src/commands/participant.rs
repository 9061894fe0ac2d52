//! `veilsum participant`: the daemon of `veilsum-participant`, its keys, and the hash of a roster.

use std::path::Path;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use serde_json::json;
use veilsum_participant::keystore;
use veilsum_secagg::Digest;
use veilsum_secagg::keys::{Identity, MemberId, Seed, members_hash};

use crate::args::{Parent, Participant, ParticipantCommand, ParticipantRun};
use crate::commands::{consent, csr, faults};
use crate::error::Error;
use crate::render::Output;

pub(crate) fn run(participant: Participant) -> Result<Output, Error> {
    match participant.command {
        None => daemon(&participant.run),
        Some(ParticipantCommand::Run(run)) => daemon(&run),
        Some(ParticipantCommand::Csr(csr)) => csr::participant(&csr),
        Some(ParticipantCommand::Consent(asked)) => consent::run(&asked),
        Some(ParticipantCommand::Faults(asked)) => faults::run(&asked),
        Some(ParticipantCommand::Id { dir }) => id(&dir),
        Some(ParticipantCommand::RosterHash { ids }) => Ok(roster_hash(&ids)),
    }
}

/// The protocol id of the identity key in `dir`.
pub(crate) fn protocol_id(dir: &Path) -> Result<MemberId, Error> {
    let seed = Seed::from(keystore::load_identity(&dir.join(IDENTITY_KEY))?);
    Ok(Identity::from_seed(&seed).public().id())
}

/// Asks the kernel to kill this process when the one that started it dies, and stops if that has happened already.
pub(crate) fn follow_parent(parent: &Parent) -> Result<(), Error> {
    let Some(expected) = parent.die_with_parent else {
        return Ok(());
    };
    let refused = |source: std::io::Error| Error::System {
        what: "follow the process that started this one",
        source,
    };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| refused(errno.into()))?;
    if getppid().map(Pid::as_raw_pid) == Some(expected) {
        Ok(())
    } else {
        Err(refused(std::io::ErrorKind::NotConnected.into()))
    }
}

fn daemon(run: &ParticipantRun) -> Result<Output, Error> {
    follow_parent(&run.parent)?;
    veilsum_participant::daemon(&run.config).map_err(Error::Daemon)?;
    Ok(Output::default())
}

fn id(dir: &Path) -> Result<Output, Error> {
    let id = protocol_id(dir)?;
    Ok(Output {
        data: json!({"protocol_id": id.to_string()}),
        text: id.to_string(),
        next: vec!["give this id to every other site; each lists all ids, its own included, under peers.ids in site.toml".to_owned()],
    })
}

fn roster_hash(ids: &[Digest]) -> Output {
    let hash = members_hash(ids.iter().copied().map(MemberId));
    Output {
        data: json!({"roster_hash": hash.to_string(), "members": ids.len()}),
        text: hash.to_string(),
        next: vec!["write it as peers.roster into site.toml, instead of peers.ids".to_owned()],
    }
}

/// Where the daemon looks for it: beside site.toml.
pub(crate) const IDENTITY_KEY: &str = "identity.key";
