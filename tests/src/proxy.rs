//! A stop on the way between one site and the coordinator: it shows the site a coordinator's certificate and the coordinator the
//! site's own, keeps what the site sent, holds the call that a test names until it is told to let go, and passes every other on: as it
//! is, or with the coordinator's answers altered.

mod lie;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as _, Frame};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::transport::Channel;
use tower::ServiceExt as _;
use veilsum_coordinator::serve::{Limits, serve};
use veilsum_daemon::identity::Role;
use veilsum_daemon::tls;
use veilsum_proto::pb;

use crate::federation::{Federation, patiently};
use lie::Lie;

/// A call of the participant's service, by its name in `participant.proto`.
pub type Call = &'static str;

/// Where a call is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The coordinator has not heard of it.
    Before,
    /// The coordinator has answered; the site has not heard it.
    After,
}

/// The way of one site to the coordinator.
pub struct Proxy {
    /// Where it stands.
    pub url: String,
    gate: Arc<Gate>,
    task: tokio::task::JoinHandle<()>,
}

struct Gate {
    held: watch::Sender<Held>,
    arrived: watch::Sender<Option<(Call, Moment)>>,
    sent: Mutex<Vec<Arc<Sent>>>,
    lies: Mutex<Vec<Lie>>,
}

/// One call, and every byte of its messages.
#[derive(Debug)]
pub struct Sent {
    pub call: String,
    bytes: Mutex<Vec<u8>>,
}

impl Sent {
    /// The messages, as gRPC frames them: a flag, a length, the message.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        let bytes = self.bytes.lock().unwrap();
        let (mut rest, mut messages) = (&bytes[..], Vec::new());
        while let [0, a, b, c, d, later @ ..] = rest {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            let (message, later) = later.split_at(length);
            messages.push(message.to_vec());
            rest = later;
        }
        messages
    }
}

impl Sent {
    /// One message that no site ever sent, to be said all the same.
    pub fn made_up(call: Call, message: &[u8]) -> Self {
        Self {
            call: call.to_owned(),
            bytes: Mutex::new(lie::framed(message.to_vec().into())),
        }
    }

    /// The same bytes to the same call once more; waits for the whole answer.
    pub async fn again(&self, channel: Channel) {
        let body = self.bytes.lock().unwrap().clone();
        let uri = format!("https://coordinator{SERVICE}{}", self.call);
        let request = Request::post(uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(lie::Told::new(body.into())));
        if let Ok(answer) = channel.oneshot(request.unwrap()).await {
            drop(lie::read(answer).await);
        }
    }
}

/// The one call that is answered while it goes on.
const UPLOAD: Call = "SubmitMasked";

/// What the path of every call begins with.
const SERVICE: &str = "/veilsum.v1.RoundService/";

/// What is held, and how often everything that was held was thrown away.
#[derive(Clone, Copy, Default)]
struct Held {
    at: Option<(Call, Moment)>,
    lost: u64,
}

impl Proxy {
    /// Stands between `site` and the coordinator from the site's next start on.
    pub async fn before(federation: &Federation, site: usize) -> Self {
        let name = federation.members[site].name.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dir = federation.certify(&format!("proxy-{name}"), Role::Coordinator);
        let credentials =
            tls::Credentials::load(&dir.join("tls.pem"), &dir.join("tls.key")).unwrap();
        let trust = tls::Trust::load(&federation.ca(), &[]).unwrap();
        let (_, config) = watch::channel(tls::server(&credentials, &trust).unwrap());
        let url = format!("https://127.0.0.1:{port}");
        federation.edit(site, &federation.url(), &url);

        let gate = Arc::new(Gate {
            held: watch::Sender::default(),
            arrived: watch::Sender::new(None),
            sent: Mutex::default(),
            lies: Mutex::default(),
        });
        let (channel, passing) = (federation.channel(&name), Arc::clone(&gate));
        let service = tower::service_fn(move |request| {
            let (channel, gate) = (channel.clone(), Arc::clone(&passing));
            async move { Ok::<_, Infallible>(gate.pass(channel, request).await) }
        });
        let never = std::future::pending();
        let task = tokio::spawn(serve(listener, config, service, Limits::default(), never));
        Self { url, gate, task }
    }

    /// Holds every such call from now on, and lets go what was held before.
    pub fn hold(&self, call: Call, moment: Moment) {
        self.gate.arrived.send_replace(None);
        self.gate
            .held
            .send_modify(|held| held.at = Some((call, moment)));
    }

    /// Lets everything pass.
    pub fn release(&self) {
        self.gate.held.send_modify(|held| held.at = None);
    }

    /// What is held gets no further: its site is dead, or its answer lost.
    pub fn lose(&self) {
        self.gate.held.send_modify(|held| {
            held.at = None;
            held.lost += 1;
        });
    }

    /// From now on every message of the coordinator's answers to `call` goes through `alter`, which may drop it, change it or say more.
    pub fn lie<M: prost::Message + Default>(
        &self,
        call: Call,
        alter: impl Fn(M) -> Vec<M> + Send + Sync + 'static,
    ) {
        let mut lies = self.gate.lies.lock().unwrap();
        lies.retain(|lie| lie.call != call);
        lies.push(Lie::new(call, alter));
    }

    /// Waits until a call is held.
    pub async fn reached(&self) {
        let mut arrived = self.gate.arrived.subscribe();
        let what = format!("{:?} is never called", self.gate.held.borrow().at);
        let held = arrived.wait_for(Option::is_some);
        patiently(&what, held).await.unwrap();
    }

    /// How often the site made this call.
    pub fn count(&self, call: Call) -> usize {
        let sent = self.sent();
        sent.iter().filter(|sent| sent.call == call).count()
    }

    /// Every call of the site so far.
    pub fn sent(&self) -> Vec<Arc<Sent>> {
        self.gate.sent.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gate {
    async fn pass(self: &Arc<Self>, channel: Channel, request: Request<Body>) -> Response<Body> {
        let call = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let sent = Arc::new(Sent {
            call: call.clone(),
            bytes: Mutex::default(),
        });
        self.sent.lock().unwrap().push(Arc::clone(&sent));
        self.stop(&call, Moment::Before).await;
        let request = request.map(|body| Body::new(Tapped { body, sent }));
        let answer = match channel.oneshot(request).await {
            Ok(answer) => self.altered(&call, answer).await,
            Err(error) => Status::unavailable(error.to_string()).into_http(),
        };
        if call == UPLOAD {
            return self.until_receipt(answer);
        }
        self.stop(&call, Moment::After).await;
        answer
    }

    /// An upload is answered while it goes on. What counts as the answer is the receipt that ends it, or the refusal.
    fn until_receipt(self: &Arc<Self>, answer: Response<Body>) -> Response<Body> {
        let gate = Arc::clone(self);
        answer.map(|body| {
            let (passed, frames) = mpsc::channel(1);
            tokio::spawn(gate.hold_receipt(body, passed));
            Body::new(Frames(frames))
        })
    }

    async fn hold_receipt(
        self: Arc<Self>,
        mut body: Body,
        passed: mpsc::Sender<Result<Frame<Bytes>, Status>>,
    ) {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let last = |frame: &Frame<Bytes>| frame.data_ref().is_none_or(|data| is_receipt(data));
            if frame.as_ref().map_or(true, last) {
                self.stop(UPLOAD, Moment::After).await;
            }
            tokio::select! {
                sent = passed.send(frame) => if sent.is_err() { return },
                () = passed.closed() => return,
            }
        }
    }

    async fn altered(&self, call: &str, answer: Response<Body>) -> Response<Body> {
        let lie = {
            let lies = self.lies.lock().unwrap();
            lies.iter().find(|lie| lie.call == call).cloned()
        };
        match lie {
            Some(lie) => lie.tell(answer).await,
            None => answer,
        }
    }

    async fn stop(&self, call: &str, moment: Moment) {
        let mut held = self.held.subscribe();
        let before = *held.borrow();
        let here = |held: &Held| held.at.is_some_and(|at| at.0 == call && at.1 == moment);
        if !here(&before) {
            return;
        }
        self.arrived.send_replace(before.at);
        let after = held.wait_for(|held| held.lost != before.lost || !here(held));
        if after.await.unwrap().lost != before.lost {
            std::future::pending::<()>().await;
        }
    }
}

/// Whether a frame ends with the receipt of an upload: the messages before it have other fields.
fn is_receipt(data: &[u8]) -> bool {
    let mut rest = data;
    while let [0, a, b, c, d, later @ ..] = rest {
        let Some((message, later)) =
            later.split_at_checked(u32::from_be_bytes([*a, *b, *c, *d]) as usize)
        else {
            return false;
        };
        let answer = pb::SubmitMaskedResponse::decode(message).map(|message| message.answer);
        if let Ok(Some(pb::submit_masked_response::Answer::Receipt(_))) = answer {
            return true;
        }
        rest = later;
    }
    false
}

/// A body whose frames come from elsewhere.
struct Frames(mpsc::Receiver<Result<Frame<Bytes>, Status>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.poll_recv(cx)
    }
}

/// A body that is kept on its way.
struct Tapped {
    body: Body,
    sent: Arc<Sent>,
}

impl hyper::body::Body for Tapped {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.sent.bytes.lock().unwrap().extend_from_slice(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
