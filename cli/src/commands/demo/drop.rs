//! `--drop`: in each round some sites die between their Commit and the end of their upload, and come back for the next one.
//!
//! Deterministic, and without a switch in any daemon. A cohort closes when the last site has committed, and uploads begin only then; so one
//! surviving site's trainer is held back ([`hold_file`]) until the victims' Commits are there, the victims are killed, and the trainer is let
//! go. The coordinator then waits for their uploads until its report deadline. As soon as it counts them as dropouts they are started again;
//! they replay their journals and take part in the next round.

use std::path::PathBuf;
use std::{fs, io};

use veilsum_common::SiteName;
use veilsum_proto::pb;
use veilsum_proto::pb::ParticipantState;

use super::DemoError;
use super::federation::{Federation, site_name};
use super::plan::Plan;
use super::processes::{Processes, Role};
use crate::commands::trainer::hold_file;

/// Kills and revives.
pub(super) struct Dropper<'a> {
    federation: &'a Federation,
    names: Vec<SiteName>,
    dropped: usize,
    rounds: u64,
    phase: Phase,
}

/// Where the round of this number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its victims have not committed yet.
    Committing(u64),
    /// Its victims are dead.
    Dead(u64),
    /// Its victims are back.
    Back(u64),
}

impl<'a> Dropper<'a> {
    /// Holds back the first round. To be called before any site is started.
    pub(super) fn new(plan: &Plan, federation: &'a Federation) -> Result<Option<Self>, DemoError> {
        let dropped = match plan.dropped {
            None | Some(0) => return Ok(None),
            Some(dropped) => dropped as usize,
        };
        let names: Vec<SiteName> = (0..plan.sites).map(site_name).collect();
        for name in &names {
            let dir = federation.hold(name);
            fs::create_dir_all(&dir).map_err(|source| DemoError::Io { path: dir, source })?;
        }
        let dropper = Self {
            federation,
            names,
            dropped,
            rounds: plan.rounds.into(),
            phase: Phase::Committing(1),
        };
        dropper.hold(1)?;
        Ok(Some(dropper))
    }

    /// Does what is due as the run now stands.
    pub(super) async fn act(
        &mut self,
        run: &pb::Run,
        processes: &mut Processes,
    ) -> Result<(), DemoError> {
        match self.phase {
            Phase::Committing(round) if self.committed(run, round) => {
                for name in self.victims(round) {
                    processes.kill(name.as_str()).await?;
                }
                // Before this round can be published, so that the next one cannot pass unheld.
                self.hold(round + 1)?;
                self.let_go(round)?;
                self.phase = Phase::Dead(round);
            }
            Phase::Dead(round) if self.given_up(run, round) => {
                for name in self.victims(round) {
                    processes.start(
                        name.as_str(),
                        Role::Participant,
                        &self.federation.site_config(name),
                    )?;
                }
                self.phase = Phase::Back(round);
            }
            Phase::Back(round) if run.rounds_done >= round => {
                self.phase = Phase::Committing(round + 1)
            }
            Phase::Committing(_) | Phase::Dead(_) | Phase::Back(_) => {}
        }
        Ok(())
    }

    /// Whether all victims of `round` have committed to it. Of an older round no victim of this one is left as committed: it survived it.
    fn committed(&self, run: &pb::Run, round: u64) -> bool {
        run.rounds_done + 1 == round
            && self
                .victims(round)
                .all(|name| state(run, name) == Some(ParticipantState::Committed))
    }

    /// Whether the coordinator waits for the victims of `round` no more.
    fn given_up(&self, run: &pb::Run, round: u64) -> bool {
        run.rounds_done >= round
            || self
                .victims(round)
                .any(|name| state(run, name) != Some(ParticipantState::Committed))
    }

    /// Everybody's turn comes.
    fn victims(&self, round: u64) -> impl Iterator<Item = &SiteName> {
        let first = turn(round, self.dropped, self.names.len());
        self.names.iter().cycle().skip(first).take(self.dropped)
    }

    /// A survivor of `round`: the next one after the victims.
    fn held(&self, round: u64) -> &SiteName {
        &self.names[(turn(round, self.dropped, self.names.len()) + self.dropped) % self.names.len()]
    }

    fn hold(&self, round: u64) -> Result<(), DemoError> {
        if round > self.rounds {
            return Ok(());
        }
        let path = self.hold_file(round);
        fs::write(&path, b"").map_err(|source| DemoError::Io { path, source })
    }

    fn let_go(&self, round: u64) -> Result<(), DemoError> {
        let path = self.hold_file(round);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(DemoError::Io { path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn hold_file(&self, round: u64) -> PathBuf {
        hold_file(&self.federation.hold(self.held(round)), round)
    }
}

/// The first victim of a round.
fn turn(round: u64, dropped: usize, sites: usize) -> usize {
    let rounds = usize::try_from(round % sites as u64).expect("below the number of sites");
    (rounds + sites - 1) * dropped % sites
}

fn state(run: &pb::Run, name: &SiteName) -> Option<ParticipantState> {
    let site = run
        .participants
        .iter()
        .find(|site| site.site == name.as_str());
    site.map(pb::RoundParticipant::state)
}

#[cfg(test)]
mod tests;
