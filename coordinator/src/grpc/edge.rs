//! What every call passes on its way in and out: its certificate's date, a place among its peer's calls, a limit for its method's
//! messages, and a reason on every refusal.
//!
//! tonic refuses what it cannot read before any handler sees it, and says so without a reason that a program could act upon; here the
//! reason is put on. What a call means is not looked at.

use std::convert::Infallible;
use std::future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_types::StatusExt as _;
use tower::Service;
use veilsum_common::limits::{MAX_CALL_BYTES, MAX_PART_BYTES};
use veilsum_daemon::clock;
use veilsum_proto::pb::round_service_server::RoundServiceServer;
use veilsum_proto::pb::run_service_server::RunServiceServer;

use super::round_service::Rounds;
use super::run_service::Runs;
use super::{Context, status};
use crate::serve::{Entered, Guest, Guests, PeerCertificate};
use crate::store::Journal;

/// All services on one path tree, with what else a process shows there.
pub fn services<J: Journal>(context: &Arc<Context<J>>, others: Routes) -> Routes {
    let rounds = Arc::new(Rounds(Arc::clone(context)));
    let runs = Arc::new(Runs(Arc::clone(context)));
    let rounds = |limit_bytes| {
        RoundServiceServer::from_arc(Arc::clone(&rounds)).max_decoding_message_size(limit_bytes)
    };
    let runs = |limit_bytes| {
        RunServiceServer::from_arc(Arc::clone(&runs)).max_decoding_message_size(limit_bytes)
    };
    others
        .add_service(Bounded::new(
            rounds,
            "/veilsum.v1.RoundService/SubmitMasked",
        ))
        .add_service(Bounded::new(runs, "/veilsum.v1.RunService/CreateRun"))
        .prepare()
}

/// The services, with a reason on every refusal and so many calls of one peer at once.
#[derive(Clone)]
pub struct Edge {
    routes: Routes,
    calls: Guests,
    calls_per_peer: usize,
}

impl Edge {
    /// `calls_per_peer` is over all connections of the peer.
    pub fn new(routes: Routes, calls_per_peer: usize) -> Self {
        Self {
            routes,
            calls: Guests::default(),
            calls_per_peer,
        }
    }
}

impl Service<Request<Body>> for Edge {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.routes, task)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let certificate = request.extensions().get::<PeerCertificate>();
        if let Some(expired) = certificate.filter(|leaf| leaf.has_expired(clock::now())) {
            expired.send_away();
            return Box::pin(future::ready(Ok(status::expired().into_http())));
        }
        let guest = certificate.map(|leaf| Guest::of(leaf.der()));
        let limit = self.calls_per_peer;
        let counted = guest.map(|guest| self.calls.enter(&guest, limit));
        if let Some(None) = counted {
            let refused = status::too_many_calls(limit).into_http();
            return Box::pin(future::ready(Ok(refused)));
        }
        let call = self.routes.call(request);
        Box::pin(async move {
            let response = give_reason(call.await?);
            let counted = counted.flatten();
            Ok(response.map(|body| {
                Body::new(Counted {
                    body,
                    _call: counted,
                })
            }))
        })
    }
}

fn give_reason(response: Response<Body>) -> Response<Body> {
    match Status::from_header_map(response.headers()) {
        Some(bare) if bare.code() != tonic::Code::Ok && bare.get_details_error_info().is_none() => {
            status::broken(bare).into_http()
        }
        _ => response,
    }
}

/// An answer; its call counts until it has been sent or given up.
struct Counted {
    body: Body,
    _call: Option<Entered>,
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(task)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// One service with two limits: for the method whose stream carries pieces, and for all others.
#[derive(Clone)]
struct Bounded<S> {
    calls: S,
    parts: S,
    parts_path: &'static str,
}

impl<S> Bounded<S> {
    fn new(with_limit: impl Fn(usize) -> S, parts_path: &'static str) -> Self {
        Self {
            calls: with_limit(MAX_CALL_BYTES),
            parts: with_limit(MAX_PART_BYTES),
            parts_path,
        }
    }
}

impl<S: NamedService> NamedService for Bounded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Bounded<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    /// Both are the same service, whose readiness is the same.
    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.calls.poll_ready(task)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        if request.uri().path() == self.parts_path {
            self.parts.call(request)
        } else {
            self.calls.call(request)
        }
    }
}
