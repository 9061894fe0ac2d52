//! Run control for operators: submit, look, wait, cancel, resume, fetch models.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::task::block_in_place;
use tonic::{Request, Response, Status, Streaming};
use veilsum_common::ids::RunId;
use veilsum_common::limits::{
    HOLD_MAX_MS, MAX_PAGE_BYTES, MAX_PAGE_LEN, MAX_STUDY_BYTES, PAGE_LEN,
};
use veilsum_common::run::RunSpec;
use veilsum_common::study::Study;
use veilsum_daemon::identity::Role;
use veilsum_daemon::{clock, entropy, files};
use veilsum_engine::rejection::Rejection;
use veilsum_engine::run::{self, State};
use veilsum_proto::convert::journal::{Journalled as _, RunCreated};
use veilsum_proto::convert::run as pb_run;
use veilsum_proto::pb;
use veilsum_proto::pb::run_service_server::RunService;
use veilsum_secagg::keys::{Identity, Seed};

use super::submission::Submission;
use super::{Caller, Context, download, status};
use crate::driver::Refused;
use crate::live::LiveRun;
use crate::store::blobs::BlobWriter;
use crate::store::{Entry, Journal, StreamId};

/// The service for operators.
pub struct Runs<J>(pub Arc<Context<J>>);

impl<J: Journal> Runs<J> {
    fn operator<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        Caller::of(request, &self.0.federation, Role::Operator)
    }

    fn run(&self, id: &str) -> Result<Arc<LiveRun<J>>, Status> {
        let id: RunId = id.parse().map_err(|error| status::invalid(&error))?;
        self.0.run(id)
    }

    /// Makes a run durable and brings it to life. The same request id with the same body gives the same run.
    async fn create(
        &self,
        Submission { header, model }: Submission,
    ) -> Result<Arc<LiveRun<J>>, Status> {
        let arrived = model.complete().map_err(|error| status::invalid(&error))?;
        let study = read_study(&header.study)?;
        let request_id = pb_run::request_id(&header.request_id).map_err(status::convert)?;
        let _one_at_a_time = self.0.creating.lock().await;
        let same_id = |run: &Arc<LiveRun<J>>| run.created.request_id == request_id;
        if let Some(known) = self.0.runs().into_iter().find(same_id) {
            let same = known.spec().study() == &study && known.created.model == arrived;
            return if same {
                Ok(known)
            } else {
                Err(status::request_id_conflict())
            };
        }
        self.0.check_running()?;
        let (run_id, seed) = (
            RunId::from_bytes(*entropy::bytes()),
            Seed::filled(entropy::fill),
        );
        let coordinator = Identity::from_seed(&seed);
        let key = *coordinator.public().as_bytes();
        let spec = block_in_place(|| -> Result<_, Status> {
            let bytes = model.read().map_err(|error| status::blob(&error))?;
            RunSpec::from_study(&study, run_id, key, &bytes)
                .map_err(|error| status::invalid_study(&error))
        })?;
        let created = self.store_run(&spec, request_id, model, seed.expose());
        let created = created.await?;
        let run = LiveRun::start(Arc::clone(&self.0.shared), spec, created, coordinator).await;
        let run = run.map_err(|error| status::store(&error))?;
        tracing::info!(run = %run_id, name = study.name(), "run created");
        self.0.add(Arc::clone(&run));
        Ok(run)
    }

    /// Key file, blobs, then the entry that makes the run exist.
    async fn store_run(
        &self,
        spec: &RunSpec,
        request_id: String,
        model: BlobWriter,
        seed: &[u8],
    ) -> Result<RunCreated, Status> {
        let key = self.0.keys_dir.join(format!("{}.key", spec.run_id()));
        let blobs = &self.0.shared.blobs;
        let write = || -> Result<_, Status> {
            files::create_secret(&key, seed)
                .map_err(|_| status::internal("the run's key could not be written"))?;
            let spec = blobs.put(&spec.to_bytes());
            let kept = model.finish().and_then(|model| Ok((model, spec?)));
            kept.map_err(|error| status::blob(&error))
        };
        let (model, spec_blob) = block_in_place(write)?;
        let created = RunCreated {
            spec: spec_blob,
            model,
            request_id,
        };
        let entry = Entry {
            at: clock::now(),
            kind: created.kind().to_owned(),
            sender: None,
            payload: created.encode(),
        };
        let appended = self
            .0
            .shared
            .journal
            .append(StreamId::run(spec.run_id()), 0, &[entry])
            .await;
        appended.map_err(|error| status::store(&error))?;
        Ok(created)
    }
}

fn read_study(bytes: &[u8]) -> Result<Study, Status> {
    if bytes.len() > MAX_STUDY_BYTES {
        let (have, limit) = (bytes.len(), MAX_STUDY_BYTES);
        return Err(status::invalid_study(&format!(
            "the study has {have} bytes, at most {limit} are allowed"
        )));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| status::invalid_study(&error))?;
    Study::parse(text).map_err(|error| status::invalid_study(&error))
}

/// A run as operators see it, from round `history_from` on.
fn show<J: Journal>(live: &LiveRun<J>, history_from: u64) -> pb::Run {
    let version = *live.changes().borrow();
    let (run, round) = (live.run(), live.round());
    let run = run.read();
    let from = |record: &&run::Record| record.round >= history_from;
    let metadata = live.spec().metadata();
    let history = run.history().iter().filter(from);
    let history = history.map(|record| pb_run::summary(metadata, record));
    pb::Run {
        participants: round
            .map(|round| pb_run::participants(&round.read()))
            .unwrap_or_default(),
        history: fitting(history, MAX_PAGE_LEN),
        version,
        ..pb_run::overview(live.spec(), &run, live.created_at)
    }
}

/// Where a page begins and how long it is.
fn page(token: &str, size: u32) -> Result<(usize, usize), Status> {
    let start = if token.is_empty() {
        0
    } else {
        token
            .parse()
            .map_err(|_| status::invalid(&"the page token is not one of ours"))?
    };
    let size = if size == 0 {
        PAGE_LEN
    } else {
        (size as usize).min(MAX_PAGE_LEN)
    };
    Ok((start, size))
}

/// The first items, `len` at most, that fit one answer; one of them always does.
fn fitting<T: Message>(items: impl Iterator<Item = T>, len: usize) -> Vec<T> {
    let mut bytes = 0usize;
    let fits = |item: &T| {
        let first = bytes == 0;
        bytes = bytes.saturating_add(item.encoded_len());
        first || bytes <= MAX_PAGE_BYTES
    };
    items.take(len).take_while(fits).collect()
}

fn next_token(start: usize, shown: usize, total: usize) -> String {
    let next = start.saturating_add(shown);
    if shown > 0 && next < total {
        next.to_string()
    } else {
        String::new()
    }
}

fn versions<J: Journal>(live: &LiveRun<J>) -> Vec<pb::ModelVersion> {
    let run = live.run();
    let run = run.read();
    let initial = pb_run::initial_model(&live.created.model, live.created_at);
    let published = run
        .history()
        .iter()
        .map(|record| pb_run::model_version(live.spec().metadata(), record));
    std::iter::once(initial).chain(published).collect()
}

#[tonic::async_trait]
impl<J: Journal> RunService for Runs<J> {
    async fn create_run(
        &self,
        request: Request<Streaming<pb::CreateRunRequest>>,
    ) -> Result<Response<pb::CreateRunResponse>, Status> {
        self.operator(&request)?;
        let place = self.0.submissions.try_acquire();
        let _place = place.map_err(|_| status::too_many_submissions())?;
        let submission = Submission::receive(&self.0, request.into_inner()).await?;
        let run = self.create(submission).await?;
        Ok(Response::new(pb::CreateRunResponse {
            run: Some(show(&run, 0)),
        }))
    }

    async fn get_run(
        &self,
        request: Request<pb::GetRunRequest>,
    ) -> Result<Response<pb::GetRunResponse>, Status> {
        self.operator(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        Ok(Response::new(pb::GetRunResponse {
            run: Some(show(&run, request.history_from)),
        }))
    }

    async fn list_runs(
        &self,
        request: Request<pb::ListRunsRequest>,
    ) -> Result<Response<pb::ListRunsResponse>, Status> {
        self.operator(&request)?;
        let request = request.into_inner();
        let (start, size) = page(&request.page_token, request.page_size)?;
        let mut all = self.0.runs();
        all.sort_by_key(|run| std::cmp::Reverse(run.created_at));
        let whole = all.iter().map(|run| {
            let mut shown = show(run, u64::MAX);
            shown.participants.clear();
            shown
        });
        let damaged = self.0.damaged();
        let total = all.len() + damaged.len();
        let damaged = damaged
            .into_iter()
            .map(|(run, what)| show_damaged(run, &what));
        let runs = fitting(whole.chain(damaged).skip(start), size);
        Ok(Response::new(pb::ListRunsResponse {
            next_page_token: next_token(start, runs.len(), total),
            runs,
        }))
    }

    async fn wait_run(
        &self,
        request: Request<pb::WaitRunRequest>,
    ) -> Result<Response<pb::WaitRunResponse>, Status> {
        self.operator(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let hold = Duration::from_millis(u64::from(request.hold_ms).min(HOLD_MAX_MS));
        let mut changes = run.changes();
        let newer = changes.wait_for(|version| *version != request.version);
        tokio::select! {
            _ = tokio::time::timeout(hold, newer) => {}
            () = self.0.shutdown.triggered() => {}
        }
        Ok(Response::new(pb::WaitRunResponse {
            run: Some(show(&run, request.history_from)),
        }))
    }

    async fn cancel_run(
        &self,
        request: Request<pb::CancelRunRequest>,
    ) -> Result<Response<pb::CancelRunResponse>, Status> {
        let caller = self.operator(&request)?;
        let run = self.run(&request.into_inner().run_id)?;
        let over = run.run().read().state() == State::Cancelled;
        if !over {
            let sender = Some(caller.name.to_string());
            status::answer(run.run().submit(run::Event::Cancelled, sender).await)?;
        }
        Ok(Response::new(pb::CancelRunResponse {
            run: Some(show(&run, u64::MAX)),
        }))
    }

    async fn resume_run(
        &self,
        request: Request<pb::ResumeRunRequest>,
    ) -> Result<Response<pb::ResumeRunResponse>, Status> {
        let caller = self.operator(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let request_id = pb_run::request_id(&request.request_id).map_err(status::convert)?;
        let sender = Some(caller.name.to_string());
        let resumed = run::Event::Resumed { request_id };
        match run.run().submit(resumed, sender).await {
            Err(Refused::Rejected(Rejection::OutOfPhase { .. })) => {
                return Err(status::not_paused(run.spec().run_id()));
            }
            answered => status::answer(answered)?,
        }
        Ok(Response::new(pb::ResumeRunResponse {
            run: Some(show(&run, u64::MAX)),
        }))
    }

    async fn list_models(
        &self,
        request: Request<pb::ListModelsRequest>,
    ) -> Result<Response<pb::ListModelsResponse>, Status> {
        self.operator(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let (start, size) = page(&request.page_token, request.page_size)?;
        let all = versions(&run);
        let total = all.len();
        let models = fitting(all.into_iter().skip(start), size);
        Ok(Response::new(pb::ListModelsResponse {
            next_page_token: next_token(start, models.len(), total),
            models,
        }))
    }

    type FetchModelVersionStream = std::pin::Pin<
        Box<dyn tokio_stream::Stream<Item = Result<pb::FetchModelVersionResponse, Status>> + Send>,
    >;

    async fn fetch_model_version(
        &self,
        request: Request<pb::FetchModelVersionRequest>,
    ) -> Result<Response<Self::FetchModelVersionStream>, Status> {
        self.operator(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let model = match request.round {
            None => Some(run.run().read().model()),
            Some(0) => Some(run.created.model),
            Some(round) => {
                let machine = run.run();
                let machine = machine.read();
                let record = machine
                    .history()
                    .iter()
                    .find(|record| record.round == round);
                record.map(|record| record.published.model)
            }
        };
        let model = model.ok_or_else(|| status::not_found("model version"))?;
        Ok(download::answers(&self.0, model, request.offset, |chunk| {
            pb::FetchModelVersionResponse { chunk: Some(chunk) }
        }))
    }
}

/// All that can be said of a run whose files do not fit.
fn show_damaged(run: RunId, what: &str) -> pb::Run {
    pb::Run {
        run_id: run.to_string(),
        state: pb::RunState::Failed.into(),
        reason: Some(Box::new(pb::Reason {
            code: status::RUN_DAMAGED.to_owned(),
            text: status::damage(what),
        })),
        ..pb::Run::default()
    }
}
