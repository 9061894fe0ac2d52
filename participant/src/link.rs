//! Calls to the coordinator: one mutual-TLS channel, every call safe to repeat, retried while the fault is a passing one.
//!
//! What is refused is told apart from what is out of reach: a refusal is answered at once, an outage is waited out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_stream::Stream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Response, Status, Streaming};
use veilsum_common::RunId;
use veilsum_common::limits::{
    MAX_CALL_BYTES, MAX_CURSOR_BYTES, MAX_MESSAGE_BYTES, MAX_NEWS_BYTES, MAX_NOTICES,
    MAX_PART_BYTES,
};
use veilsum_common::time::Span;
use veilsum_daemon::backoff::Backoff;
use veilsum_daemon::entropy;
use veilsum_daemon::refusal::Refusal;
use veilsum_proto::convert::{self, ConvertError};
use veilsum_proto::pb;
use veilsum_proto::pb::round_service_client::RoundServiceClient;
use veilsum_proto::pb::submit_masked_response::Answer;
use veilsum_secagg::Digest;
use veilsum_secagg::message::{Advertisement, Commit, Neighbourhood, ShareItem, SurvivorItem};

/// Time to reach the coordinator and finish the handshake.
const CONNECT: Duration = Duration::from_secs(10);
/// Keepalive of an idle connection: below what most middle boxes forget.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Waits between tries of a call: 50 ms and up, at most 5 s.
const RETRY: (Span, Span) = (Span::from_ms(50), Span::from_secs(5));

/// Why there is no channel to the coordinator.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The URL is not one.
    #[error(
        "`{url}` is not the URL of a coordinator; it looks like https://coord.example.org:8443"
    )]
    Url {
        /// What was given.
        url: String,
    },
    /// What the coordinator sent is not what the protocol says.
    #[error("the coordinator's answer cannot be read: {0}")]
    Answer(#[from] ConvertError),
    /// The coordinator refused, or could not be reached.
    #[error("{}", explain(.0))]
    Status(#[from] Status),
    /// A list is longer than any honest one.
    #[error("the coordinator's list has more than {limit} entries")]
    TooMany {
        /// Allowed.
        limit: usize,
    },
    /// An answer to a poll is longer than any honest one; it was not read.
    #[error(
        "the coordinator's news is longer than the {limit_bytes} bytes that an answer to a poll may have; its operator should know"
    )]
    News {
        /// Allowed.
        limit_bytes: usize,
    },
    /// A model is longer than this site accepts.
    #[error("the model has more than the {limit_bytes} bytes this site accepts")]
    TooLong {
        /// Allowed.
        limit_bytes: u64,
    },
    /// An upload ended neither with a receipt nor with a refusal.
    #[error("the coordinator ended an upload without a receipt")]
    NoReceipt,
    /// A piece of a model cannot be used.
    #[error("a piece of the model is empty, damaged, or does not follow the one before")]
    Piece,
    /// A blob is not what its hash says.
    #[error("the coordinator sent a model that does not have the announced BLAKE3 {expected}")]
    Model {
        /// What was announced.
        expected: Digest,
    },
}

impl LinkError {
    /// Whether the coordinator judged what was sent, so that the same again would meet the same answer.
    pub fn is_final(&self) -> bool {
        let Self::Status(status) = self else {
            return false;
        };
        matches!(
            status.code(),
            Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::Unauthenticated
        )
    }
}

/// A status in words, down to the cause: "transport error" alone helps nobody.
pub fn explain(status: &Status) -> String {
    if let Some(refusal) = refusal(status) {
        return refusal.to_string();
    }
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// Why one end refused the other's certificate, if that is what happened.
pub fn refusal(status: &Status) -> Option<&io::Error> {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if let Some(io) = io.filter(|io| io.kind() == io::ErrorKind::PermissionDenied) {
            return Some(io);
        }
        cause = error.source();
    }
    None
}

/// Whether asking again may help.
///
/// What the coordinator says comes as a bare status. A status with a cause was made at this end from a broken connection, and its code
/// then says only how it broke: a stream that is cut can be INTERNAL, OUT_OF_RANGE or anything else.
pub fn is_passing(status: &Status) -> bool {
    let broken = std::error::Error::source(status).is_some();
    let later = matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted
    );
    broken || later
}

/// A channel to the coordinator at `url`, connected when first used and again whenever it breaks.
///
/// # Errors
/// [`LinkError::Url`].
pub fn connect(url: &str, tls: Arc<ClientConfig>) -> Result<Channel, LinkError> {
    let wrong = || LinkError::Url {
        url: url.to_owned(),
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let host = uri
        .host()
        .ok_or_else(wrong)?
        .trim_matches(['[', ']'])
        .to_owned();
    if uri.scheme_str() != Some("https") {
        return Err(wrong());
    }
    let address = (host.clone(), uri.port_u16().unwrap_or(443));
    let name = ServerName::try_from(host).map_err(|_| wrong())?;
    // The connector does TLS itself, so tonic must not: it is told a plain URL.
    let plain = url.replacen("https://", "http://", 1);
    let endpoint = Endpoint::from_shared(plain)
        .map_err(|_| wrong())?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    let connector = TlsConnector::from(tls);
    Ok(
        endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let (address, name, connector) = (address.clone(), name.clone(), connector.clone());
            async move {
                let tcp = TcpStream::connect(address).await?;
                tcp.set_nodelay(true)?;
                let mut stream = connector.connect(name, tcp).await.map_err(worded)?;
                judged(&mut stream).await.map_err(worded)?;
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        })),
    )
}

/// Waits until the coordinator has judged our certificate: it speaks first, its HTTP/2 settings or an alert.
///
/// In TLS 1.3 a client's handshake is done before that. A call that is sent meanwhile may find the connection closed before anybody has
/// read why.
async fn judged(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
    match stream.fill_buf().await?.is_empty() {
        false => Ok(()),
        true => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// An error whose reason is a refused certificate says so in words, under a kind that nothing else on a socket has.
fn worded(error: io::Error) -> io::Error {
    match Refusal::find(&error) {
        Some(refusal) => io::Error::new(io::ErrorKind::PermissionDenied, refusal.to_string()),
        None => error,
    }
}

type Client = RoundServiceClient<Channel>;

/// The coordinator, as one run's driver calls it.
#[derive(Clone)]
pub struct Link {
    /// For answers of one thing: a receipt, an advertisement, a share.
    client: Client,
    /// For pieces of a model.
    parts: Client,
    /// For notices.
    news: Client,
    /// For the description of a run, which comes whole.
    whole: Client,
}

impl Link {
    /// Over a channel.
    pub fn new(channel: Channel) -> Self {
        let client = |limit_bytes| {
            RoundServiceClient::new(channel.clone()).max_decoding_message_size(limit_bytes)
        };
        Self {
            client: client(MAX_CALL_BYTES),
            parts: client(MAX_PART_BYTES),
            news: client(MAX_NEWS_BYTES),
            whole: client(MAX_MESSAGE_BYTES),
        }
    }

    /// Repeats `call` with the same request while its fault is a passing one.
    async fn persist<R: Clone, T, F>(
        client: &Client,
        request: R,
        call: impl Fn(Client, R) -> F,
    ) -> Result<T, LinkError>
    where
        F: Future<Output = Result<T, LinkError>>,
    {
        let mut backoff = backoff();
        loop {
            match call(client.clone(), request.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => wait_out(error, &mut backoff).await?,
            }
        }
    }

    /// All messages of a streamed answer, at most `limit`, each read as it comes; what is cut off is asked for again from the beginning.
    async fn list<R: Clone, T, U, F>(
        &self,
        request: R,
        limit: usize,
        call: impl Fn(Client, R) -> F,
        read: fn(T) -> Result<U, ConvertError>,
    ) -> Result<Vec<U>, LinkError>
    where
        F: Future<Output = Result<Response<Streaming<T>>, Status>>,
    {
        Self::persist(&self.client, request, |client, request| {
            let answer = call(client, request);
            async move { collect(answer.await?.into_inner(), limit, read).await }
        })
        .await
    }

    /// One Poll; not repeated here, since the caller shows outages to the operator.
    ///
    /// # Errors
    /// [`LinkError::Status`]; [`LinkError::News`] and [`LinkError::TooMany`] for more bytes or notices than an answer may have.
    pub async fn poll(
        &self,
        run: Option<RunId>,
        cursor: Vec<u8>,
        hold_ms: u32,
    ) -> Result<pb::PollResponse, LinkError> {
        let run_id = run.map(|run| run.as_bytes().to_vec()).unwrap_or_default();
        let request = pb::PollRequest {
            run_id,
            cursor,
            hold_ms,
        };
        let answer = self.news.clone().poll(request).await;
        let news = answer.map_err(too_long)?.into_inner();
        if news.notices.len() > MAX_NOTICES || news.cursor.len() > MAX_CURSOR_BYTES {
            let limit = MAX_NOTICES;
            return Err(LinkError::TooMany { limit });
        }
        Ok(news)
    }

    /// The run's parameters and the coordinator's signature.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn fetch_run(&self, run: RunId) -> Result<pb::FetchRunResponse, LinkError> {
        let request = pb::FetchRunRequest {
            run_id: run.as_bytes().to_vec(),
        };
        Self::persist(&self.whole, request, |mut client, request| async move {
            Ok(client.fetch_run(request).await?.into_inner())
        })
        .await
    }

    /// The members of an epoch in roster order.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn roster(
        &self,
        run: RunId,
        epoch: u64,
        members: u32,
    ) -> Result<Vec<Advertisement>, LinkError> {
        let request = pb::GetRosterRequest {
            run_id: run.as_bytes().to_vec(),
            epoch,
        };
        let lines = self
            .list(
                request,
                members as usize,
                |mut client, request| async move { client.get_roster(request).await },
                |response| convert::required("entry", response.entry)?.try_into(),
            )
            .await?;
        Ok(convert::epoch::roster(lines)?)
    }

    /// The pieces of a model from `offset` on; not repeated here, since only the caller knows how much it has.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn model(
        &self,
        run: RunId,
        digest: Digest,
        offset: u64,
    ) -> Result<Pieces, LinkError> {
        let request = pb::FetchModelRequest {
            run_id: run.as_bytes().to_vec(),
            digest: digest.0.to_vec(),
            offset,
        };
        let answer = self.parts.clone().fetch_model(request).await?;
        Ok(Pieces(answer.into_inner()))
    }

    /// What this site needs to mask.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn neighbourhood(
        &self,
        run: RunId,
        ann_hash: Digest,
        members: u32,
    ) -> Result<Neighbourhood, LinkError> {
        let request = pb::GetNeighbourKeysRequest {
            run_id: run.as_bytes().to_vec(),
            ann_hash: ann_hash.0.to_vec(),
        };
        let items = self
            .list(
                request,
                members as usize + 1,
                |mut client, request| async move { client.get_neighbour_keys(request).await },
                |response: pb::GetNeighbourKeysResponse| convert::required("item", response.item),
            )
            .await?;
        Ok(convert::round::neighbourhood(items)?)
    }

    /// The shares this site holds for the cohort.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn shares(
        &self,
        run: RunId,
        ann_hash: Digest,
        members: u32,
    ) -> Result<Vec<ShareItem>, LinkError> {
        let request = pb::GetSharesRequest {
            run_id: run.as_bytes().to_vec(),
            ann_hash: ann_hash.0.to_vec(),
        };
        self.list(
            request,
            members as usize,
            |mut client, request| async move { client.get_shares(request).await },
            |response: pb::GetSharesResponse| convert::required("item", response.item)?.try_into(),
        )
        .await
    }

    /// What a dealer signed.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn commit_record(
        &self,
        run: RunId,
        ann_hash: Digest,
        dealer: u32,
    ) -> Result<Commit, LinkError> {
        let request = pb::GetCommitRecordRequest {
            run_id: run.as_bytes().to_vec(),
            ann_hash: ann_hash.0.to_vec(),
            dealer,
        };
        let answer = Self::persist(&self.client, request, |mut client, request| async move {
            Ok(client.get_commit_record(request).await?.into_inner())
        })
        .await?;
        Ok(convert::required("commit", answer.commit)?.try_into()?)
    }

    /// The survivors' signed upload hashes.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn survivors(
        &self,
        run: RunId,
        ann_hash: Digest,
        members: u32,
    ) -> Result<Vec<SurvivorItem>, LinkError> {
        let request = pb::GetSurvivorsRequest {
            run_id: run.as_bytes().to_vec(),
            ann_hash: ann_hash.0.to_vec(),
        };
        self.list(
            request,
            members as usize,
            |mut client, request| async move { client.get_survivors(request).await },
            |response: pb::GetSurvivorsResponse| {
                convert::required("item", response.item)?.try_into()
            },
        )
        .await
    }

    /// Makes the call that an upload is sent in; not repeated here, since only the caller knows what is missing.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn upload(
        &self,
        messages: impl Stream<Item = pb::SubmitMaskedRequest> + Send + 'static,
    ) -> Result<UploadAnswers, LinkError> {
        let answer = self.client.clone().submit_masked(messages).await?;
        Ok(UploadAnswers(answer.into_inner()))
    }

    /// Hands something in and waits until it is durable.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn hand_in(&self, message: HandIn) -> Result<(), LinkError> {
        Self::persist(&self.client, message, |mut client, message| async move {
            match message {
                HandIn::Join(request) => drop(client.join_epoch(*request).await?),
                HandIn::Confirm(request) => drop(client.confirm_roster(request).await?),
                HandIn::Commit(request) => drop(client.commit_round(*request).await?),
                HandIn::Attest(request) => drop(client.attest_survivors(*request).await?),
                HandIn::Unmask(request) => drop(client.unmask(*request).await?),
                HandIn::Abort(request) => drop(client.attest_abort(request).await?),
                HandIn::Decline(request) => drop(client.decline(request).await?),
            }
            Ok(())
        })
        .await
    }
}

/// A message that is answered by nothing but its being durable.
#[derive(Clone)]
#[allow(
    missing_docs,
    reason = "each is named after its call in participant.proto"
)]
pub enum HandIn {
    Join(Box<pb::JoinEpochRequest>),
    Confirm(pb::ConfirmRosterRequest),
    Commit(Box<pb::CommitRoundRequest>),
    Attest(Box<pb::AttestSurvivorsRequest>),
    Unmask(Box<pb::UnmaskRequest>),
    Abort(pb::AttestAbortRequest),
    Decline(pb::DeclineRequest),
}

/// Waits between the tries of one call.
pub fn backoff() -> Backoff {
    Backoff::new(RETRY.0, RETRY.1)
}

/// Waits before the next try, if the fault is a passing one.
///
/// # Errors
/// Any other fault, as it came.
pub async fn wait_out(error: LinkError, backoff: &mut Backoff) -> Result<(), LinkError> {
    match error {
        LinkError::Status(status) if is_passing(&status) => {
            tracing::debug!(why = explain(&status), "asking again");
            pause(backoff).await;
            Ok(())
        }
        final_one => Err(final_one),
    }
}

/// An answer that was not read for its length is named as such. What the coordinator refuses carries a reason, this does not.
fn too_long(status: Status) -> LinkError {
    if status.code() == Code::OutOfRange && status.details().is_empty() {
        let limit_bytes = MAX_NEWS_BYTES;
        LinkError::News { limit_bytes }
    } else {
        LinkError::Status(status)
    }
}

/// Waits before the next try.
pub async fn pause(backoff: &mut Backoff) {
    let wait = backoff.next_wait(u64::from_le_bytes(*entropy::bytes()));
    tokio::time::sleep(Duration::from_millis(wait.0)).await;
}

/// What the messages of a stream say, each read as it comes, at most `limit`: more than that no honest coordinator sends.
async fn collect<T, U>(
    mut stream: Streaming<T>,
    limit: usize,
    read: fn(T) -> Result<U, ConvertError>,
) -> Result<Vec<U>, LinkError> {
    let mut all = Vec::new();
    while let Some(message) = stream.message().await? {
        if all.len() == limit {
            return Err(LinkError::TooMany { limit });
        }
        all.push(read(message)?);
    }
    Ok(all)
}

/// What the coordinator says to an upload.
pub struct UploadAnswers(Streaming<pb::SubmitMaskedResponse>);

impl UploadAnswers {
    /// The next answer.
    ///
    /// # Errors
    /// [`LinkError::NoReceipt`] if there is none: only a receipt ends an upload.
    pub async fn next(&mut self) -> Result<Answer, LinkError> {
        let message = self.0.message().await?.ok_or(LinkError::NoReceipt)?;
        Ok(convert::required("answer", message.answer)?)
    }
}

/// A model on its way here.
pub struct Pieces(Streaming<pb::FetchModelResponse>);

impl Pieces {
    /// The piece that begins at `offset`; none if that is the end.
    ///
    /// # Errors
    /// [`LinkError::Piece`] if another one came, or its bytes are not those of its hash.
    pub async fn next(&mut self, offset: u64) -> Result<Option<Bytes>, LinkError> {
        let Some(message) = self.0.message().await? else {
            return Ok(None);
        };
        let piece = convert::required("chunk", message.chunk)?;
        let follows = piece.offset == offset && !piece.data.is_empty();
        if follows && blake3::hash(&piece.data).as_bytes()[..] == piece.blake3[..] {
            Ok(Some(piece.data))
        } else {
            Err(LinkError::Piece)
        }
    }
}

#[cfg(test)]
mod tests;
