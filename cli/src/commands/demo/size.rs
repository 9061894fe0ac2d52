//! `veilsum demo --params N`: the same processes, masks and checks on a synthetic model, to see what its size costs on this machine.
//!
//! Nothing is learned: every site sends the same update, which [`synthetic`] makes so that the next model shows whether the sum was exact.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use veilsum_common::study::Study;
use veilsum_common::time::Span;
use veilsum_daemon::files::{Draft, Reading};
use veilsum_proto::pb;
use veilsum_proto::pb::RunState;

use super::DemoError;
use super::directory::Directory;
use super::federation::{Cast, Federation, Work, site_name};
use super::figures::median;
use super::plan::{INITIAL, check_sites, min_cohort};
use super::processes::{Processes, Role};
use super::progress::{Progress, Show, interrupted};
use crate::args;
use crate::client::{Client, fresh_request_id};
use crate::commands::run::{over, show};
use crate::commands::synthetic;
use crate::error::Error;
use crate::render::Output;

/// Does what `veilsum demo --params` was asked for.
pub(super) async fn run(
    params: u64,
    demo: &args::Demo,
    directory: &Directory,
    show: Show,
) -> Result<Output, Error> {
    let sites = check_sites(demo.sites)?;
    let rounds = demo.rounds.unwrap_or(1);
    let text = study(sites, rounds);
    let cast = Cast {
        sites,
        min_cohort: min_cohort(sites),
        study_text: &text,
        study: &Study::parse(&text).expect("the demo's study is one of its tests"),
        work: Work::Fill { params },
    };
    let progress = Progress::new(show, rounds);
    let executable = std::env::current_exe().map_err(|source| Error::System {
        what: "find this executable",
        source,
    })?;
    let logs = directory.logs();
    let processes = Processes::new(executable.clone(), logs, progress.clone(), show.verbose);
    let mut size = Size {
        params,
        rounds,
        cast,
        directory,
        processes,
        progress: progress.clone(),
        peak: Peak::default(),
    };
    let done = tokio::select! {
        done = size.run(&executable) => done,
        interrupt = interrupted() => Err(interrupt.into()),
    };
    progress.finish();
    let (peak, figures) = (size.peak, size.processes.figures());
    size.processes.stop().await;
    let costs = done?;
    let sent = figures.bytes_up.checked_div(figures.uploads);
    Ok(output(params, sites, &costs, &peak, sent, directory))
}

/// One demo of a size.
struct Size<'a> {
    params: u64,
    rounds: u32,
    cast: Cast<'a>,
    directory: &'a Directory,
    processes: Processes,
    progress: Progress,
    peak: Peak,
}

/// Most memory of any process of a role at any look, without what the kernel can drop at any time: file pages.
#[derive(Clone, Copy, Default)]
struct Peak {
    participant: u64,
    coordinator: u64,
}

/// What it took.
struct Costs {
    seconds: f64,
    round_ms: Vec<f64>,
}

impl Size<'_> {
    async fn run(&mut self, executable: &Path) -> Result<Costs, Error> {
        let started = Instant::now();
        let initial = self.directory.path().join(INITIAL);
        synthetic::write_model(&initial, self.params).map_err(|source| DemoError::Io {
            path: initial.clone(),
            source,
        })?;
        let federation = Federation::create(&self.cast, self.directory)?;
        self.progress.at(0, "starting".to_owned());
        let config = federation.coordinator_config();
        self.processes
            .start(COORDINATOR, Role::Coordinator, &config)?;
        let address = self.processes.address(COORDINATOR).await?;
        federation.configure_sites(&self.cast, executable, address)?;
        let client = Client::open(&federation.connection(address))?;
        let study = self.cast.study_text.to_owned();
        let created = client.create(study, Reading::open(&initial)?, fresh_request_id());
        let id = show::id(&created.await?)?;
        for site in 0..self.cast.sites {
            let name = site_name(site);
            let config = federation.site_config(&name);
            self.processes
                .start(name.as_str(), Role::Participant, &config)?;
        }
        let run = self.follow(&client, id).await?;
        let seconds = started.elapsed().as_secs_f64();
        self.compare(&client, id).await?;
        let took = |round: &pb::RoundSummary| round.published_ms.saturating_sub(round.opened_ms);
        Ok(Costs {
            seconds,
            round_ms: run.history.iter().map(|round| took(round) as f64).collect(),
        })
    }

    async fn follow(
        &mut self,
        client: &Client,
        id: veilsum_common::RunId,
    ) -> Result<pb::Run, Error> {
        loop {
            let run = client.wait(id, u64::MAX, Span::from_ms(0), 0).await?;
            let message = format!("{} sites, {} parameters", self.cast.sites, self.params);
            self.progress.at(run.rounds_done, message);
            match run.state() {
                RunState::Completed => return Ok(run),
                RunState::Failed | RunState::Cancelled | RunState::Paused => {
                    return Err(over(id, run));
                }
                RunState::Unspecified | RunState::Pending | RunState::Running => {}
            }
            self.processes.check().await?;
            self.peak.look(&self.processes);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The sum was exact if the last model is what the rounds make of the first, in every parameter.
    async fn compare(&self, client: &Client, id: veilsum_common::RunId) -> Result<(), Error> {
        let models = client.models(id).await?;
        let last = models.last().ok_or(Error::Incomplete {
            what: "the last model",
        })?;
        let path = self.directory.path().join(MODEL);
        let draft = client.model(id, last.round, last.len_bytes, Draft::public(&path)?);
        let draft = draft.await?;
        let found = synthetic::first_difference(&draft.read()?, self.params, self.rounds);
        if let Some((index, have, need)) = found.map_err(DemoError::Tensors)? {
            return Err(DemoError::Inexact { index, have, need }.into());
        }
        draft.cache(&path)?;
        Ok(())
    }
}

impl Peak {
    fn look(&mut self, processes: &Processes) {
        let most = |role, before: u64| {
            let now = processes.anonymous_bytes_max(role).unwrap_or_default();
            now.max(before)
        };
        self.participant = most(Role::Participant, self.participant);
        self.coordinator = most(Role::Coordinator, self.coordinator);
    }
}

fn output(
    params: u64,
    sites: u32,
    costs: &Costs,
    peak: &Peak,
    sent: Option<u64>,
    directory: &Directory,
) -> Output {
    let round_ms = median(costs.round_ms.iter().copied()).unwrap_or_default();
    let update_gb = 4.0 * params as f64 / 1e9;
    let rate = update_gb * f64::from(sites) / (round_ms / 1000.0);
    let (participant, coordinator) = (peak.participant as f64 / 1e6, peak.coordinator as f64 / 1e6);
    let model = directory.path().join(MODEL);
    let text = format!(
        "  {params} parameters, {sites} sites of {update_gb:.3} GB each     the sum is exact in every parameter\n  \
           {:.1} s   {:.1} s a round: {rate:.2} GB of updates a second   {:.3} GB up per site and round\n  \
           peak memory beside file pages: site {participant:.0} MB, coordinator {coordinator:.0} MB\n  \
           model  {}     logs  {}",
        costs.seconds,
        round_ms / 1000.0,
        sent.unwrap_or_default() as f64 / 1e9,
        model.display(),
        directory.logs().display()
    );
    Output {
        data: json!({
            "params": params,
            "sites": sites,
            "rounds": costs.round_ms.len(),
            "seconds": costs.seconds,
            "round_ms_median": round_ms,
            "updates_gb_per_second": rate,
            "bytes_up_per_site_round": sent,
            "participant_peak_anonymous_mb": participant,
            "coordinator_peak_anonymous_mb": coordinator,
            "exact": true,
            "model": model.display().to_string(),
        }),
        text,
        next: vec!["veilsum demo learns something".to_owned()],
    }
}

fn study(sites: u32, rounds: u32) -> String {
    let clip = synthetic::CLIP;
    format!(
        r#"schema = "veilsum.study/v1"
name = "synthetic"

[rounds]
count = {rounds}
cohort = {{ min = {sites}, target = {sites} }}
join_timeout = "30m"
report_timeout = "2h"

[secagg]
clip = {{ kind = "element", value = {clip} }}
bits = 16
weight = {{ by = "uniform" }}

[model]
initial = "{INITIAL}"
"#
    )
}

const COORDINATOR: &str = "coordinator";

/// File name of the last model.
pub(super) const MODEL: &str = "synthetic.safetensors";

/// Between two looks at the processes' memory: buffers of a pipeline live longer.
const LOOK: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;
