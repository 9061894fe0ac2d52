//! The masked demo: start everything, submit the study, follow it, and take the result home.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use veilsum_common::model::Source as _;
use veilsum_common::time::Span;
use veilsum_daemon::files::{Draft, Reading};
use veilsum_proto::pb;
use veilsum_proto::pb::RunState;

use super::DemoError;
use super::directory::{Directory, METRICS};
use super::drop::Dropper;
use super::federation::{Federation, site_name};
use super::plan::{INITIAL, Plan};
use super::processes::{Processes, Role};
use super::progress::{Progress, Show, interrupted};
use super::report::{Resident, RoundTime, Trained};
use crate::client::{Client, fresh_request_id, next_round};
use crate::commands::run::{over, show};
use crate::error::Error;

/// Trains under masks, in processes of their own. They are all gone when this returns, whatever happened.
pub(super) async fn train(
    plan: &Plan,
    directory: &Directory,
    show: Show,
) -> Result<Trained, Error> {
    let progress = Progress::new(show, plan.rounds);
    let executable = std::env::current_exe().map_err(|source| Error::System {
        what: "find this executable",
        source,
    })?;
    let mut demo = Demo {
        plan,
        directory,
        processes: Processes::new(
            executable.clone(),
            directory.logs(),
            progress.clone(),
            show.verbose,
        ),
        progress: progress.clone(),
        executable,
    };
    let trained = tokio::select! {
        trained = demo.train() => trained,
        interrupt = interrupted() => Err(interrupt.into()),
    };
    progress.finish();
    demo.processes.stop().await;
    trained
}

struct Demo<'a> {
    plan: &'a Plan,
    directory: &'a Directory,
    processes: Processes,
    progress: Progress,
    executable: PathBuf,
}

impl Demo<'_> {
    async fn train(&mut self) -> Result<Trained, Error> {
        let started = Instant::now();
        let initial = self.directory.write(INITIAL, &self.plan.initial_model)?;
        let federation = Federation::create(&self.plan.cast(), self.directory)?;
        let client = self.start(&federation).await?;
        let created = client
            .create(
                self.plan.study_text.clone(),
                Reading::open(&initial)?,
                fresh_request_id(),
            )
            .await?;
        let id = show::id(&created)?;
        let mut dropper = Dropper::new(self.plan, &federation)?;
        self.start_sites(&federation)?;
        let run = self.follow(&client, id, &mut dropper).await?;
        let seconds = started.elapsed().as_secs_f64();
        let resident = self.resident().await;
        let newest = run.history.last().ok_or(Error::Incomplete {
            what: "the history",
        })?;
        let models = client.models(id).await?;
        let version = models.iter().find(|model| model.round == newest.round);
        let version = version.ok_or(Error::Incomplete {
            what: "the last model",
        })?;
        let draft = Draft::public(&self.directory.path().join(INITIAL))?;
        let draft = client.model(id, version.round, version.len_bytes, draft);
        let model = whole(&draft.await?)?;
        // Last: the coordinator appends a round's line just after it has published the round.
        self.copy_metrics(&federation, &created.run_id)?;
        Ok(self.trained(&run, model, seconds, resident))
    }

    async fn start(&mut self, federation: &Federation) -> Result<Client, Error> {
        self.progress.at(0, "starting".to_owned());
        self.processes.start(
            COORDINATOR,
            Role::Coordinator,
            &federation.coordinator_config(),
        )?;
        let address = self.processes.address(COORDINATOR).await?;
        federation.configure_sites(&self.plan.cast(), &self.executable, address)?;
        Client::open(&federation.connection(address))
    }

    fn start_sites(&mut self, federation: &Federation) -> Result<(), DemoError> {
        for site in 0..self.plan.sites {
            let name = site_name(site);
            self.processes.start(
                name.as_str(),
                Role::Participant,
                &federation.site_config(&name),
            )?;
        }
        Ok(())
    }

    /// Follows the run to its end; the answer has the whole history.
    async fn follow(
        &mut self,
        client: &Client,
        id: veilsum_common::RunId,
        dropper: &mut Option<Dropper<'_>>,
    ) -> Result<pb::Run, Error> {
        let (mut history, mut version) = (Vec::new(), 0);
        loop {
            let mut run = client.wait(id, version, HOLD, next_round(&history)).await?;
            version = run.version;
            history.append(&mut run.history);
            self.progress
                .at(run.rounds_done, self.message(&history, &run));
            match run.state() {
                RunState::Completed => return Ok(pb::Run { history, ..run }),
                RunState::Failed | RunState::Cancelled | RunState::Paused => {
                    return Err(over(id, run));
                }
                RunState::Unspecified | RunState::Pending | RunState::Running => {}
            }
            self.processes.check().await?;
            match dropper {
                Some(dropper) => dropper.act(&run, &mut self.processes).await?,
                // Every message of every site is a change; a bar need not show each.
                None => tokio::time::sleep(REFRESH).await,
            }
        }
    }

    fn message(&self, history: &[pb::RoundSummary], run: &pb::Run) -> String {
        match (history.last(), &run.reason) {
            (_, Some(reason)) => reason.text.clone(),
            (None, None) => format!("{} sites join", self.plan.sites),
            (Some(last), None) => {
                let accuracy = last.metrics.get("accuracy").copied().unwrap_or_default();
                let took = last.published_ms.saturating_sub(last.opened_ms);
                format!(
                    "{}/{} masked · accuracy {accuracy:.3} · {took} ms/round",
                    last.survivors, self.plan.sites
                )
            }
        }
    }

    /// Memory of the processes when they have nothing more to do.
    async fn resident(&self) -> Resident {
        tokio::time::sleep(SETTLE).await;
        Resident {
            participant_bytes_max: self.processes.resident_bytes_max(Role::Participant),
            coordinator_bytes_max: self.processes.resident_bytes_max(Role::Coordinator),
        }
    }

    fn copy_metrics(&self, federation: &Federation, run: &str) -> Result<(), DemoError> {
        let from = federation.metrics(run);
        let metrics =
            std::fs::read(&from).map_err(|source| DemoError::Io { path: from, source })?;
        self.directory.write(METRICS, &metrics).map(|_| ())
    }

    fn trained(&self, run: &pb::Run, model: Vec<u8>, seconds: f64, resident: Resident) -> Trained {
        let figures = self.processes.figures();
        let times = run.history.iter().map(|round| RoundTime {
            round_ms: milliseconds(round.published_ms.saturating_sub(round.opened_ms)),
            trainer_ms: milliseconds(
                figures
                    .trainer_ms
                    .get(&round.round)
                    .copied()
                    .unwrap_or_default(),
            ),
        });
        Trained {
            model,
            seconds,
            times: times.collect(),
            bytes_up: figures.bytes_up.checked_div(figures.uploads),
            dropped: run.history.iter().map(|round| round.dropped.len()).sum(),
            masked: true,
            resident,
        }
    }
}

/// A small model.
fn whole(draft: &Draft) -> Result<Vec<u8>, Error> {
    let bytes = draft.read()?;
    let mut model = vec![0; usize::try_from(draft.len_bytes()).unwrap_or(0)];
    let read = bytes.read_exact_at(&mut model, 0);
    read.map_err(|_| Error::Incomplete {
        what: "the last model",
    })?;
    Ok(model)
}

/// Exact up to 2^53 ms, which is longer than there have been people.
fn milliseconds(ms: u64) -> f64 {
    ms as f64
}

const COORDINATOR: &str = "coordinator";

/// Long enough to cost nothing, short enough that a process that died is noticed.
const HOLD: Span = Span::from_secs(2);

/// Between two looks at the run.
const REFRESH: Duration = Duration::from_millis(50);

/// After the last round a process has still to hand memory back.
const SETTLE: Duration = Duration::from_millis(500);
