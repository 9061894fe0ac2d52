//! A coordinator that answers what a test lays down, over HTTP/2 without TLS, and refuses everything else.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, iter};
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, async_trait};
use veilsum_proto::pb;
use veilsum_proto::pb::round_service_server::{RoundService, RoundServiceServer};

use crate::link::Link;

type Listed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answers<T> = Mutex<VecDeque<Result<Vec<T>, Status>>>;

/// What it answers, one after the other.
#[derive(Default)]
pub struct Coordinator {
    pub news: Mutex<VecDeque<pb::PollResponse>>,
    pub roster: Answers<pb::GetRosterResponse>,
    pub keys: Answers<pb::GetNeighbourKeysResponse>,
    pub shares: Answers<pb::GetSharesResponse>,
    pub commits: Mutex<BTreeMap<u32, pb::RoundCommit>>,
    pub model: Answers<pb::FetchModelResponse>,
    pub download: Mutex<Option<Download>>,
}

/// A model that is asked for piece by piece, by a link that breaks.
#[derive(Default)]
pub struct Download {
    pub bytes: Vec<u8>,
    pub piece_bytes: usize,
    /// After how many pieces each answer breaks off; those that follow do not.
    pub cuts: VecDeque<usize>,
    /// From where on each answer was asked for.
    pub offsets: Vec<u64>,
}

impl Download {
    fn next(&mut self, offset: u64) -> Vec<Result<pb::FetchModelResponse, Status>> {
        self.offsets.push(offset);
        let rest = &self.bytes[usize::try_from(offset).unwrap()..];
        let offsets = (offset..).step_by(self.piece_bytes);
        let pieces = rest.chunks(self.piece_bytes).zip(offsets);
        let pieces = pieces.map(|(data, offset)| {
            let chunk = pb::BlobChunk {
                offset,
                blake3: blake3::hash(data).as_bytes().to_vec(),
                data: data.to_vec().into(),
                total_bytes: self.bytes.len() as u64,
            };
            Ok(pb::FetchModelResponse { chunk: Some(chunk) })
        });
        match self.cuts.pop_front() {
            None => pieces.collect(),
            Some(cut) => {
                let broken = Err(Status::unavailable("the connection was cut"));
                pieces.take(cut).chain([broken]).collect()
            }
        }
    }
}

impl Coordinator {
    /// A way to it; it lives as long as the test's runtime.
    pub async fn serve(self: &Arc<Self>) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = RoundServiceServer::from_arc(Arc::clone(self));
        let serving = Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        Link::new(Endpoint::from_shared(url).unwrap().connect_lazy())
    }
}

fn next<T: Send + 'static>(answers: &Answers<T>) -> Result<Response<Listed<T>>, Status> {
    let answer = answers.lock().unwrap().pop_front();
    let items = answer.unwrap_or_else(|| Err(Status::not_found("nothing is left to say")))?;
    Ok(Response::new(Box::pin(iter(items.into_iter().map(Ok)))))
}

fn refuse<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("no test asks for it"))
}

#[async_trait]
impl RoundService for Coordinator {
    type GetRosterStream = Listed<pb::GetRosterResponse>;
    type FetchModelStream = Listed<pb::FetchModelResponse>;
    type GetNeighbourKeysStream = Listed<pb::GetNeighbourKeysResponse>;
    type SubmitMaskedStream = Listed<pb::SubmitMaskedResponse>;
    type GetSharesStream = Listed<pb::GetSharesResponse>;
    type GetSurvivorsStream = Listed<pb::GetSurvivorsResponse>;

    async fn poll(
        &self,
        _: Request<pb::PollRequest>,
    ) -> Result<Response<pb::PollResponse>, Status> {
        let news = self.news.lock().unwrap().pop_front();
        Ok(Response::new(news.unwrap_or_default()))
    }

    async fn fetch_run(
        &self,
        _: Request<pb::FetchRunRequest>,
    ) -> Result<Response<pb::FetchRunResponse>, Status> {
        refuse()
    }

    async fn join_epoch(
        &self,
        _: Request<pb::JoinEpochRequest>,
    ) -> Result<Response<pb::JoinEpochResponse>, Status> {
        refuse()
    }

    async fn get_roster(
        &self,
        _: Request<pb::GetRosterRequest>,
    ) -> Result<Response<Self::GetRosterStream>, Status> {
        next(&self.roster)
    }

    async fn confirm_roster(
        &self,
        _: Request<pb::ConfirmRosterRequest>,
    ) -> Result<Response<pb::ConfirmRosterResponse>, Status> {
        refuse()
    }

    async fn fetch_model(
        &self,
        request: Request<pb::FetchModelRequest>,
    ) -> Result<Response<Self::FetchModelStream>, Status> {
        match &mut *self.download.lock().unwrap() {
            Some(download) => {
                let pieces = download.next(request.into_inner().offset);
                Ok(Response::new(Box::pin(iter(pieces))))
            }
            None => next(&self.model),
        }
    }

    async fn commit_round(
        &self,
        _: Request<pb::CommitRoundRequest>,
    ) -> Result<Response<pb::CommitRoundResponse>, Status> {
        refuse()
    }

    async fn get_neighbour_keys(
        &self,
        _: Request<pb::GetNeighbourKeysRequest>,
    ) -> Result<Response<Self::GetNeighbourKeysStream>, Status> {
        next(&self.keys)
    }

    async fn submit_masked(
        &self,
        _: Request<tonic::Streaming<pb::SubmitMaskedRequest>>,
    ) -> Result<Response<Self::SubmitMaskedStream>, Status> {
        refuse()
    }

    async fn get_shares(
        &self,
        _: Request<pb::GetSharesRequest>,
    ) -> Result<Response<Self::GetSharesStream>, Status> {
        next(&self.shares)
    }

    async fn get_commit_record(
        &self,
        request: Request<pb::GetCommitRecordRequest>,
    ) -> Result<Response<pb::GetCommitRecordResponse>, Status> {
        let dealer = request.into_inner().dealer;
        let known = self.commits.lock().unwrap().get(&dealer).cloned();
        let commit = known.ok_or_else(|| Status::not_found("it did not commit"))?;
        let commit = Some(commit);
        Ok(Response::new(pb::GetCommitRecordResponse { commit }))
    }

    async fn get_survivors(
        &self,
        _: Request<pb::GetSurvivorsRequest>,
    ) -> Result<Response<Self::GetSurvivorsStream>, Status> {
        refuse()
    }

    async fn attest_survivors(
        &self,
        _: Request<pb::AttestSurvivorsRequest>,
    ) -> Result<Response<pb::AttestSurvivorsResponse>, Status> {
        refuse()
    }

    async fn attest_abort(
        &self,
        _: Request<pb::AttestAbortRequest>,
    ) -> Result<Response<pb::AttestAbortResponse>, Status> {
        refuse()
    }

    async fn unmask(
        &self,
        _: Request<pb::UnmaskRequest>,
    ) -> Result<Response<pb::UnmaskResponse>, Status> {
        refuse()
    }

    async fn decline(
        &self,
        _: Request<pb::DeclineRequest>,
    ) -> Result<Response<pb::DeclineResponse>, Status> {
        refuse()
    }
}
