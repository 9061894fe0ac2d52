//! The coordinator as an operator calls it: one mutual-TLS channel, every call bounded in time.
//!
//! Connecting, and telling a refusal from an outage, is `veilsum_participant::link`'s; the words for either are `exit`'s.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};
use veilsum_common::BlobRef;
use veilsum_common::ids::RunId;
use veilsum_common::limits::{MAX_ANSWER_BYTES, PIECE_BYTES};
use veilsum_common::model::Source as _;
use veilsum_common::time::Span;
use veilsum_daemon::entropy;
use veilsum_daemon::files::{Draft, Reading};
use veilsum_daemon::tls::{self, Credentials, Trust};
use veilsum_participant::link;
use veilsum_proto::pb;
use veilsum_proto::pb::create_run_request::Part;
use veilsum_proto::pb::run_service_client::RunServiceClient;

use crate::args::Connection;
use crate::error::Error;

/// An operator's connection.
#[derive(Clone)]
pub(crate) struct Client {
    service: RunServiceClient<Channel>,
}

impl Client {
    /// Reads the certificates; the connection is made by the first call.
    pub(crate) fn open(connection: &Connection) -> Result<Self, Error> {
        let credentials = Credentials::load(&connection.cert, &connection.key)?;
        let trust = Trust::load(&connection.ca, &[])?;
        let channel = link::connect(&connection.at, tls::client(&credentials, &trust)?)?;
        Ok(Self {
            service: RunServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES),
        })
    }

    /// Submits a study and its model; the same id and body give the same run.
    pub(crate) async fn create(
        &self,
        study: String,
        model: Reading,
        request_id: String,
    ) -> Result<pb::Run, Error> {
        let header = pb::CreateRunHeader {
            study: study.into_bytes(),
            request_id,
        };
        let slowest_ms = model.len_bytes() / SLOWEST_BYTES_PER_MS;
        let limit = Span::from_ms(SUBMIT.as_ms() + slowest_ms);
        let mut service = self.service.clone();
        let call = service.create_run(submission(header, model));
        let answer = within(limit, call).await?;
        answer.run.ok_or(Error::Incomplete { what: "the run" })
    }

    /// How a run stands, with its whole history.
    pub(crate) async fn show(&self, run: RunId) -> Result<pb::Run, Error> {
        let mut history = Vec::new();
        loop {
            let history_from = next_round(&history);
            let request = pb::GetRunRequest {
                run_id: run.to_string(),
                history_from,
            };
            let answer = within(CALL, self.service.clone().get_run(request)).await?;
            let mut shown = answer.run.ok_or(Error::Incomplete { what: "the run" })?;
            let complete = shown.history.is_empty();
            history.append(&mut shown.history);
            if complete {
                return Ok(pb::Run { history, ..shown });
            }
        }
    }

    /// How a run stands when it is no longer at `version`, or when `hold` is over. History begins at `history_from`.
    pub(crate) async fn wait(
        &self,
        run: RunId,
        version: u64,
        hold: Span,
        history_from: u64,
    ) -> Result<pb::Run, Error> {
        let hold_ms = u32::try_from(hold.as_ms()).unwrap_or(u32::MAX);
        let request = pb::WaitRunRequest {
            run_id: run.to_string(),
            version,
            hold_ms,
            history_from,
        };
        let answer = within(CALL + hold, self.service.clone().wait_run(request)).await?;
        answer.run.ok_or(Error::Incomplete { what: "the run" })
    }

    /// All runs, newest first.
    pub(crate) async fn list(&self) -> Result<Vec<pb::Run>, Error> {
        let (mut runs, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListRunsRequest {
                page_size: 0,
                page_token,
            };
            let mut page = within(CALL, self.service.clone().list_runs(request)).await?;
            runs.append(&mut page.runs);
            if page.next_page_token.is_empty() {
                return Ok(runs);
            }
            page_token = page.next_page_token;
        }
    }

    /// Ends a run.
    pub(crate) async fn cancel(&self, run: RunId, request_id: String) -> Result<pb::Run, Error> {
        let request = pb::CancelRunRequest {
            run_id: run.to_string(),
            request_id,
        };
        let answer = within(CALL, self.service.clone().cancel_run(request)).await?;
        answer.run.ok_or(Error::Incomplete { what: "the run" })
    }

    /// Goes on with a paused run.
    pub(crate) async fn resume(&self, run: RunId, request_id: String) -> Result<pb::Run, Error> {
        let request = pb::ResumeRunRequest {
            run_id: run.to_string(),
            request_id,
        };
        let answer = within(CALL, self.service.clone().resume_run(request)).await?;
        answer.run.ok_or(Error::Incomplete { what: "the run" })
    }

    /// The model versions of a run, oldest first.
    pub(crate) async fn models(&self, run: RunId) -> Result<Vec<pb::ModelVersion>, Error> {
        let (mut models, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListModelsRequest {
                run_id: run.to_string(),
                page_size: 0,
                page_token,
            };
            let mut page = within(CALL, self.service.clone().list_models(request)).await?;
            models.append(&mut page.models);
            if page.next_page_token.is_empty() {
                return Ok(models);
            }
            page_token = page.next_page_token;
        }
    }

    /// Writes the model of a round, every piece checked against its own hash, `len_bytes` at most.
    pub(crate) async fn model(
        &self,
        run: RunId,
        round: u64,
        len_bytes: u64,
        mut draft: Draft,
    ) -> Result<Draft, Error> {
        let request = pb::FetchModelVersionRequest {
            run_id: run.to_string(),
            round: Some(round),
            offset: draft.len_bytes(),
        };
        let mut pieces = within(CALL, self.service.clone().fetch_model_version(request)).await?;
        while let Some(piece) = next_piece(&mut pieces).await? {
            let offset = draft.len_bytes();
            let fits = piece.offset == offset && offset + piece.data.len() as u64 <= len_bytes;
            if !fits || BlobRef::of(&piece.data).digest.0[..] != piece.blake3[..] {
                return Err(Error::Piece { offset });
            }
            draft.write(&piece.data)?;
        }
        Ok(draft)
    }
}

/// A fresh UUID (version 4) for a request that the caller did not name.
pub(crate) fn fresh_request_id() -> String {
    let mut bytes = *entropy::bytes::<16>();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// The first round that is not in `history`.
pub(crate) fn next_round(history: &[pb::RoundSummary]) -> u64 {
    history.last().map_or(0, |last| last.round + 1)
}

/// The header, then the model in pieces; each piece is read when it is sent.
fn submission(
    header: pb::CreateRunHeader,
    model: Reading,
) -> impl Stream<Item = pb::CreateRunRequest> {
    let (parts, stream) = mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        let say = |part| parts.blocking_send(pb::CreateRunRequest { part: Some(part) });
        // Whoever hangs up has an answer; a file that cannot be read any more ends the submission too early, which is refused.
        if say(Part::Header(header)).is_err() {
            return;
        }
        let total_bytes = model.len_bytes();
        let mut offset = 0;
        while offset < total_bytes {
            let left = usize::try_from(total_bytes - offset).unwrap_or(usize::MAX);
            let mut data = vec![0; left.min(PIECE_BYTES)];
            if model.read_exact_at(&mut data, offset).is_err() {
                return;
            }
            let piece = pb::BlobChunk {
                offset,
                blake3: BlobRef::of(&data).digest.0.to_vec(),
                data: data.into(),
                total_bytes,
            };
            offset += piece.data.len() as u64;
            if say(Part::Piece(piece)).is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(stream)
}

async fn next_piece(
    pieces: &mut Streaming<pb::FetchModelVersionResponse>,
) -> Result<Option<pb::BlobChunk>, Error> {
    let limit = CALL;
    let next = tokio::time::timeout(duration(limit), pieces.message()).await;
    let message = next.map_err(|_| Error::NoAnswer { limit })??;
    message
        .map(|message| {
            message.chunk.ok_or(Error::Incomplete {
                what: "a piece of the model",
            })
        })
        .transpose()
}

async fn within<T>(
    limit: Span,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    match tokio::time::timeout(duration(limit), call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Error::NoAnswer { limit }),
    }
}

/// The length of time in the form that timers take.
pub(crate) fn duration(span: Span) -> Duration {
    Duration::from_millis(span.as_ms())
}

/// Connecting takes at most 10 s; the rest is generous for a small answer.
const CALL: Span = Span::from_secs(30);

/// What a coordinator needs to look at a submission, apart from its bytes.
const SUBMIT: Span = Span::from_secs(120);

/// 1 MB/s: whoever is slower should not send models.
const SLOWEST_BYTES_PER_MS: u64 = 1000;

/// Pieces that wait for the network.
const PIECES_AHEAD: usize = 4;
