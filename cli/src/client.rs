//! The coordinator as an operator calls it: one mutual-TLS channel, every call bounded in time.
//!
//! Connecting, and telling a refusal from an outage, is `veilsum_participant::link`'s; the words for either are `exit`'s.

use std::time::Duration;

use tokio_stream::Stream;
use tonic::codegen::Bytes;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};
use veilsum_common::BlobRef;
use veilsum_common::ids::RunId;
use veilsum_common::limits::{MAX_ANSWER_BYTES, PIECE_BYTES};
use veilsum_common::time::Span;
use veilsum_daemon::entropy;
use veilsum_daemon::tls::{self, Credentials, Trust};
use veilsum_participant::link;
use veilsum_proto::pb;
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
        model: Vec<u8>,
        request_id: String,
    ) -> Result<pb::Run, Error> {
        let header = pb::CreateRunHeader {
            study: study.into_bytes(),
            request_id,
        };
        let mut service = self.service.clone();
        let call = service.create_run(submission(header, model));
        let answer = within(SUBMIT, call).await?;
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

    /// The bytes of the model of a round, every piece checked against its own hash, `len_bytes` at most.
    pub(crate) async fn model(
        &self,
        run: RunId,
        round: u64,
        len_bytes: u64,
    ) -> Result<Vec<u8>, Error> {
        let request = pb::FetchModelVersionRequest {
            run_id: run.to_string(),
            round: Some(round),
            offset: 0,
        };
        let mut pieces = within(CALL, self.service.clone().fetch_model_version(request)).await?;
        let mut model = Vec::new();
        while let Some(piece) = next_piece(&mut pieces).await? {
            let offset = model.len() as u64;
            let fits = piece.offset == offset && offset + piece.data.len() as u64 <= len_bytes;
            if !fits || BlobRef::of(&piece.data).digest.0[..] != piece.blake3[..] {
                return Err(Error::Piece { offset });
            }
            model.extend_from_slice(&piece.data);
        }
        Ok(model)
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

/// The header, then the model in pieces; each piece is cut when it is sent.
fn submission(
    header: pb::CreateRunHeader,
    model: Vec<u8>,
) -> impl Stream<Item = pb::CreateRunRequest> {
    let (len, model) = (model.len(), Bytes::from(model));
    let piece = move |at: usize| {
        let data = model.slice(at..len.min(at + PIECE_BYTES));
        let blake3 = BlobRef::of(&data).digest.0.to_vec();
        pb::create_run_request::Part::Piece(pb::BlobChunk {
            offset: at as u64,
            blake3,
            data,
            total_bytes: len as u64,
        })
    };
    let starts = (0..len).step_by(PIECE_BYTES);
    let parts =
        std::iter::once(pb::create_run_request::Part::Header(header)).chain(starts.map(piece));
    tokio_stream::iter(parts.map(|part| pb::CreateRunRequest { part: Some(part) }))
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

/// The largest model, 1 GiB, at 1 MB/s.
const SUBMIT: Span = Span::from_secs(20 * 60);
