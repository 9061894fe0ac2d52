//! A site's side of its rounds: parse, find the machine, hand the event in, answer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};
use veilsum_common::ids::SiteName;
use veilsum_common::limits::HOLD_MAX_MS;
use veilsum_daemon::identity::Role;
use veilsum_daemon::{binding, clock};
use veilsum_engine::epoch;
use veilsum_engine::notice::{Notice, Position};
use veilsum_engine::rejection::{Abort, Rejection};
use veilsum_engine::round::{self, Round};
use veilsum_engine::run::State;
use veilsum_proto::convert::notice::{self, Voice};
use veilsum_proto::convert::{self, ConvertError, OverRoster as _, Problem, required};
use veilsum_proto::pb;
use veilsum_proto::pb::round_service_server::RoundService;
use veilsum_secagg::coordinator;
use veilsum_secagg::keys::binding_message;
use veilsum_secagg::message::{Advertisement, SurvivorItem};

use super::{Caller, Context, download, status, upload};
use crate::driver::{Handle, Refused};
use crate::live::LiveRun;
use crate::store::Journal;

/// The service for participants.
pub struct Rounds<J>(pub Arc<Context<J>>);

/// What a call answers one by one.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl<J: Journal> Rounds<J> {
    fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        Caller::of(request, &self.0.federation, Role::Participant)
    }

    pub(super) fn run(&self, bytes: &[u8]) -> Result<Arc<LiveRun<J>>, Status> {
        self.0.run(convert::run_id(bytes).map_err(status::convert)?)
    }

    /// The caller's place in the current round, if it is about `ann_hash`.
    pub(super) fn round(
        &self,
        run: &LiveRun<J>,
        caller: &Caller,
        ann_hash: &[u8],
    ) -> Result<(Handle<Round>, u32), Status> {
        let ann_hash = convert::digest("ann_hash", ann_hash).map_err(status::convert)?;
        let round = run.round().ok_or_else(|| absent(run, "attempt"))?;
        if round.read().attempt().hash() != ann_hash {
            return Err(status::not_found("attempt"));
        }
        // Of the attempt's own roster: the epoch that is open may be a later one.
        let index = round.read().index_of(&caller.name);
        let index = index.ok_or_else(|| status::rejection(&Rejection::NotAMember("roster")))?;
        Ok((round, index))
    }

    async fn offers(
        &self,
        caller: &Caller,
        cursor: &[u8],
        hold: Duration,
    ) -> Result<pb::PollResponse, Status> {
        let known = offers_seen(cursor)?;
        let mut additions = self.0.additions();
        let wait = additions.wait_for(|count| *count > known);
        tokio::select! {
            _ = tokio::time::timeout(hold, wait) => {}
            () = self.0.shutdown.triggered() => {}
        }
        let count = *additions.borrow();
        let running = self
            .0
            .runs()
            .into_iter()
            .filter(|run| run.run().read().state() == State::Running);
        let notices = running.map(|run| voice(&run, None).offer());
        tracing::debug!(site = %caller.name, "asked for runs");
        Ok(pb::PollResponse {
            notices: notices.collect(),
            cursor: count.to_le_bytes().to_vec(),
        })
    }

    async fn news(
        &self,
        run: &LiveRun<J>,
        caller: &Caller,
        after: Position,
        hold: Duration,
    ) -> pb::PollResponse {
        let _polling = run.presence.polling(&caller.name);
        let mut changes = run.changes();
        let deadline = tokio::time::Instant::now() + hold;
        loop {
            changes.mark_unchanged();
            let news = run.notices(after);
            if !news.is_empty()
                || tokio::time::Instant::now() >= deadline
                || self.0.shutdown.is_triggered()
            {
                return answer(run, after, news);
            }
            tokio::select! {
                _ = tokio::time::timeout_at(deadline, changes.changed()) => {}
                () = self.0.shutdown.triggered() => {}
            }
        }
    }

    /// The organisation's word on the identity key, made with the very certificate of this connection.
    fn check_binding(caller: &Caller, advertisement: &Advertisement) -> Result<(), Status> {
        let claim = &advertisement.binding;
        if claim.site != caller.name.as_str() {
            return Err(status::binding(&format!(
                "it names the site {}, the certificate is {}'s",
                claim.site, caller.name
            )));
        }
        if advertisement.chain.first() != Some(&caller.leaf) {
            return Err(status::binding(
                &"its certificate is not the one of this connection, and every peer would refuse the roster",
            ));
        }
        let now = clock::now().0 / 1000;
        if now < claim.not_before || now > claim.not_after {
            return Err(status::binding(&"it is not valid now"));
        }
        let message = binding_message(&claim.hash(&advertisement.id_pk));
        let message = message
            .as_slice()
            .try_into()
            .map_err(|_| status::internal("the binding message has 63 bytes"))?;
        binding::verify(
            &caller.leaf,
            advertisement.binding_scheme,
            &advertisement.binding_signature,
            message,
        )
        .map_err(|error| status::binding(&error))
    }
}

/// How many runs there were when a site last asked for them.
fn offers_seen(cursor: &[u8]) -> Result<u64, Status> {
    if cursor.is_empty() {
        return Ok(0);
    }
    let (have, need) = (cursor.len(), size_of::<u64>());
    let seen = cursor.try_into().map(u64::from_le_bytes);
    seen.map_err(|_| {
        status::convert(ConvertError {
            field: "cursor",
            problem: Problem::Length { have, need },
        })
    })
}

/// A machine that is not there. A run that goes on has one: it was just created, or the coordinator has started a moment ago, and a site
/// must not take that for a refusal. A paused one has none until it is resumed.
fn absent<J: Journal>(run: &LiveRun<J>, what: &'static str) -> Status {
    let run = run.run();
    let run = run.read();
    match run.state() {
        State::Running if run.paused().is_some() => status::not_found(what),
        State::Running => status::starting(),
        State::Completed | State::Failed(_) | State::Cancelled => status::not_found(what),
    }
}

/// The epoch that is open, if it has this number.
fn numbered<J: Journal>(run: &LiveRun<J>, number: u64) -> Result<Handle<epoch::Epoch>, Status> {
    let epoch = run.epoch().ok_or_else(|| absent(run, "epoch"))?;
    if epoch.read().number() == number {
        Ok(epoch)
    } else {
        Err(status::not_found("epoch"))
    }
}

fn answer<J: Journal>(
    run: &LiveRun<J>,
    after: Position,
    news: Vec<(Position, Notice)>,
) -> pb::PollResponse {
    let last = news.last().map_or(after, |(position, _)| *position);
    let round = run.round();
    let why = round.and_then(|round| round.read().aborting().cloned());
    let voice = voice(run, why.as_ref());
    pb::PollResponse {
        notices: news
            .into_iter()
            .map(|(position, told)| voice.say(position, told))
            .collect(),
        cursor: notice::cursor(last),
    }
}

fn voice<'a, J: Journal>(run: &'a LiveRun<J>, aborting: Option<&'a Abort>) -> Voice<'a> {
    Voice {
        run_id: run.spec().run_id(),
        run_hash: run.spec().params().run_hash(),
        identity: run.coordinator(),
        aborting,
    }
}

fn hold(hold_ms: u32) -> Duration {
    Duration::from_millis(u64::from(hold_ms).min(HOLD_MAX_MS))
}

fn answers<T: Send + 'static>(
    items: impl Iterator<Item = T> + Send + 'static,
) -> Response<Answers<T>> {
    Response::new(Box::pin(tokio_stream::iter(items.map(Ok))))
}

async fn submit<M: veilsum_engine::machine::Machine>(
    machine: &Handle<M>,
    event: M::Event,
    sender: &SiteName,
) -> Result<(), Status> {
    let result: Result<(), Refused> = machine.submit(event, Some(sender.to_string())).await;
    if let Err(Refused::Rejected(rejection)) = &result
        && *rejection != Rejection::Repeated
    {
        tracing::warn!(site = %sender, %rejection, "refused");
    }
    status::answer(result)
}

#[tonic::async_trait]
impl<J: Journal> RoundService for Rounds<J> {
    async fn poll(
        &self,
        request: Request<pb::PollRequest>,
    ) -> Result<Response<pb::PollResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let hold = hold(request.hold_ms);
        if request.run_id.is_empty() {
            return Ok(Response::new(
                self.offers(&caller, &request.cursor, hold).await?,
            ));
        }
        let run = self.run(&request.run_id)?;
        let after = notice::position(&request.cursor).map_err(status::convert)?;
        Ok(Response::new(self.news(&run, &caller, after, hold).await))
    }

    async fn fetch_run(
        &self,
        request: Request<pb::FetchRunRequest>,
    ) -> Result<Response<pb::FetchRunResponse>, Status> {
        self.caller(&request)?;
        let run = self.run(&request.into_inner().run_id)?;
        let sig = run.spec().params().sign(run.coordinator()).0.to_vec();
        Ok(Response::new(pb::FetchRunResponse {
            run_spec: run.spec().to_bytes(),
            sig,
        }))
    }

    async fn join_epoch(
        &self,
        request: Request<pb::JoinEpochRequest>,
    ) -> Result<Response<pb::JoinEpochResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let advertisement =
            required("advertisement", request.advertisement).map_err(status::convert)?;
        let advertisement: Advertisement = advertisement.try_into().map_err(status::convert)?;
        Self::check_binding(&caller, &advertisement)?;
        let epoch = run.epoch().ok_or_else(|| absent(&run, "epoch"))?;
        let event = epoch::Event::Advertised {
            site: caller.name.clone(),
            advertisement: Box::new(advertisement),
        };
        submit(&epoch, event, &caller.name).await?;
        Ok(Response::new(pb::JoinEpochResponse {}))
    }

    type GetRosterStream = Answers<pb::GetRosterResponse>;

    async fn get_roster(
        &self,
        request: Request<pb::GetRosterRequest>,
    ) -> Result<Response<Self::GetRosterStream>, Status> {
        self.caller(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let epoch = numbered(&run, request.epoch)?;
        let members: Vec<Advertisement> = epoch.read().advertisements().cloned().collect();
        let entry = |member| pb::GetRosterResponse {
            entry: Some(pb::RosterEntry::from(member)),
        };
        Ok(answers((0u32..).zip(members).map(entry)))
    }

    async fn confirm_roster(
        &self,
        request: Request<pb::ConfirmRosterRequest>,
    ) -> Result<Response<pb::ConfirmRosterResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let epoch = numbered(&run, request.epoch)?;
        let confirmation =
            required("confirmation", request.confirmation).map_err(status::convert)?;
        let confirmation = veilsum_secagg::message::RosterConfirmation::try_from(confirmation)
            .map_err(status::convert)?;
        if epoch.read().index_of(&caller.name) != Some(confirmation.index) {
            return Err(status::rejection(&Rejection::NotAMember(
                "roster under this index",
            )));
        }
        submit(&epoch, epoch::Event::Confirmed(confirmation), &caller.name).await?;
        Ok(Response::new(pb::ConfirmRosterResponse {}))
    }

    type FetchModelStream = Answers<pb::FetchModelResponse>;

    async fn fetch_model(
        &self,
        request: Request<pb::FetchModelRequest>,
    ) -> Result<Response<Self::FetchModelStream>, Status> {
        self.caller(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let digest = convert::digest("digest", &request.digest).map_err(status::convert)?;
        let model = run
            .model_by_digest(&digest)
            .ok_or_else(|| status::not_found("model"))?;
        Ok(download::answers(&self.0, model, request.offset, |chunk| {
            pb::FetchModelResponse { chunk: Some(chunk) }
        }))
    }

    async fn commit_round(
        &self,
        request: Request<pb::CommitRoundRequest>,
    ) -> Result<Response<pb::CommitRoundResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let commit = required("commit", request.commit).map_err(status::convert)?;
        let (round, index) = self.round(&run, &caller, &commit.ann_hash)?;
        let commit = Box::new(commit.try_into().map_err(status::convert)?);
        submit(
            &round,
            round::Event::Committed { index, commit },
            &caller.name,
        )
        .await?;
        Ok(Response::new(pb::CommitRoundResponse {}))
    }

    type GetNeighbourKeysStream = Answers<pb::GetNeighbourKeysResponse>;

    async fn get_neighbour_keys(
        &self,
        request: Request<pb::GetNeighbourKeysRequest>,
    ) -> Result<Response<Self::GetNeighbourKeysStream>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let (round, index) = self.round(&run, &caller, &request.ann_hash)?;
        let near = {
            let round = round.read();
            round.cohort().ok_or_else(|| status::not_found("cohort"))?;
            coordinator::neighbourhood(round.attempt(), round.commits(), index)
        };
        let near = near.map_err(|error| status::invalid(&error))?;
        let items: Vec<_> = convert::round::neighbour_items(near).collect();
        Ok(answers(items.into_iter().map(|item| {
            pb::GetNeighbourKeysResponse { item: Some(item) }
        })))
    }

    type SubmitMaskedStream = upload::Answers;

    async fn submit_masked(
        &self,
        request: Request<Streaming<pb::SubmitMaskedRequest>>,
    ) -> Result<Response<Self::SubmitMaskedStream>, Status> {
        let caller = self.caller(&request)?;
        let answers = upload::receive(self, &caller, request.into_inner()).await?;
        Ok(Response::new(answers))
    }

    type GetSharesStream = Answers<pb::GetSharesResponse>;

    async fn get_shares(
        &self,
        request: Request<pb::GetSharesRequest>,
    ) -> Result<Response<Self::GetSharesStream>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let (round, index) = self.round(&run, &caller, &request.ann_hash)?;
        let items = {
            let round = round.read();
            round.cohort().ok_or_else(|| status::not_found("cohort"))?;
            coordinator::share_items(round.attempt(), round.commits(), index)
        };
        let items = items.map_err(|error| status::invalid(&error))?;
        Ok(answers(items.into_iter().map(|item| {
            pb::GetSharesResponse {
                item: Some(item.into()),
            }
        })))
    }

    async fn get_commit_record(
        &self,
        request: Request<pb::GetCommitRecordRequest>,
    ) -> Result<Response<pb::GetCommitRecordResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let (round, index) = self.round(&run, &caller, &request.ann_hash)?;
        let commit = {
            let round = round.read();
            let commit = round.commit_record(index, request.dealer);
            commit
                .map_err(|rejection| status::rejection(&rejection))?
                .clone()
        };
        Ok(Response::new(pb::GetCommitRecordResponse {
            commit: Some(commit.into()),
        }))
    }

    type GetSurvivorsStream = Answers<pb::GetSurvivorsResponse>;

    async fn get_survivors(
        &self,
        request: Request<pb::GetSurvivorsRequest>,
    ) -> Result<Response<Self::GetSurvivorsStream>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let (round, _) = self.round(&run, &caller, &request.ann_hash)?;
        let items: Vec<SurvivorItem> = {
            let round = round.read();
            let proposal = round
                .proposal()
                .ok_or_else(|| status::not_found("survivor set"))?;
            let kept = round
                .uploads()
                .values()
                .filter(|upload| proposal.survivors.contains(upload.item.index));
            kept.map(|upload| upload.item).collect()
        };
        Ok(answers(items.into_iter().map(|item| {
            pb::GetSurvivorsResponse {
                item: Some(item.into()),
            }
        })))
    }

    async fn attest_survivors(
        &self,
        request: Request<pb::AttestSurvivorsRequest>,
    ) -> Result<Response<pb::AttestSurvivorsResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let (round, index) = self.round(&run, &caller, &request.ann_hash)?;
        let n = round.read().attempt().roster().len();
        let attestation = required("attestation", request.attestation).map_err(status::convert)?;
        let attestation = Box::new(attestation.over(n).map_err(status::convert)?);
        submit(
            &round,
            round::Event::Attested { index, attestation },
            &caller.name,
        )
        .await?;
        Ok(Response::new(pb::AttestSurvivorsResponse {}))
    }

    async fn attest_abort(
        &self,
        request: Request<pb::AttestAbortRequest>,
    ) -> Result<Response<pb::AttestAbortResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let attestation = required("attestation", request.attestation).map_err(status::convert)?;
        let (round, index) = self.round(&run, &caller, &attestation.ann_hash)?;
        let attestation = attestation.try_into().map_err(status::convert)?;
        submit(
            &round,
            round::Event::AbortAttested { index, attestation },
            &caller.name,
        )
        .await?;
        Ok(Response::new(pb::AttestAbortResponse {}))
    }

    async fn unmask(
        &self,
        request: Request<pb::UnmaskRequest>,
    ) -> Result<Response<pb::UnmaskResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let (round, index) = self.round(&run, &caller, &request.ann_hash)?;
        let n = round.read().attempt().roster().len();
        let list = required("list", request.list).map_err(status::convert)?;
        let list = Box::new(list.over(n).map_err(status::convert)?);
        submit(&round, round::Event::Unmasked { index, list }, &caller.name).await?;
        Ok(Response::new(pb::UnmaskResponse {}))
    }

    async fn decline(
        &self,
        request: Request<pb::DeclineRequest>,
    ) -> Result<Response<pb::DeclineResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let run = self.run(&request.run_id)?;
        let (round, index) = self.round(&run, &caller, &request.ann_hash)?;
        let why = convert::round::decline(request.reason).map_err(status::convert)?;
        submit(&round, round::Event::Declined { index, why }, &caller.name).await?;
        Ok(Response::new(pb::DeclineResponse {}))
    }
}
