//! A stop on the way between one site and the coordinator: it shows the site a coordinator's certificate and the coordinator the
//! site's own, keeps what the site sent, holds the call that a test names until it is told to let go or to cut it, and passes every other
//! on: as it is, or with the site's messages or the coordinator's answers altered.

mod lie;
mod tapped;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

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
use veilsum_proto::pb::submit_masked_response::Answer;

use crate::federation::{Federation, patiently};
use lie::{Lie, messages};
use tapped::{Forged, Tapped};

/// A call of the participant's service, by its name in `participant.proto`.
pub type Call = &'static str;

/// Where a call is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The coordinator has not heard of it.
    Before,
    /// The coordinator has so many of the site's messages, and no more.
    Sent(usize),
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
    forged: Mutex<Vec<(Call, Forged)>>,
}

/// One call, and every byte of its messages.
#[derive(Debug)]
pub struct Sent {
    pub call: String,
    bytes: Mutex<Vec<u8>>,
    /// The coordinator's, if the call is an upload; the site need not have heard all of it.
    answered: Mutex<Vec<u8>>,
}

impl Sent {
    fn begun(call: &str) -> Self {
        Self {
            call: call.to_owned(),
            bytes: Mutex::default(),
            answered: Mutex::default(),
        }
    }

    /// The messages of the site.
    pub fn messages(&self) -> Vec<Bytes> {
        let bytes = self.bytes.lock().unwrap().clone();
        messages(bytes.into()).collect()
    }

    /// What the coordinator said to an upload.
    pub fn answers(&self) -> Vec<Answer> {
        let bytes = self.answered.lock().unwrap().clone();
        let answers = messages(bytes.into()).map(pb::SubmitMaskedResponse::decode);
        answers
            .filter_map(|answer| answer.unwrap().answer)
            .collect()
    }

    /// One message that no site ever sent, to be said all the same.
    pub fn made_up(call: Call, message: &[u8]) -> Self {
        Self {
            bytes: Mutex::new(lie::framed(message.to_vec().into())),
            ..Self::begun(call)
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
            forged: Mutex::default(),
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

    /// What is held in the middle of its messages breaks off at both ends, and the next such call is held where `next` says.
    pub fn cut(&self, next: Option<(Call, Moment)>) {
        self.gate.arrived.send_replace(None);
        self.gate.held.send_modify(|held| {
            held.at = next;
            held.lost += 1;
        });
    }

    /// From now on every message of the site to `call` goes through `alter`: it is another site's by then.
    pub fn forge<M: prost::Message + Default>(
        &self,
        call: Call,
        alter: impl Fn(M) -> M + Send + Sync + 'static,
    ) {
        let bytes = move |message: Bytes| {
            let sent = M::decode(message).expect("an honest site sends messages");
            alter(sent).encode_to_vec().into()
        };
        let mut forged = self.gate.forged.lock().unwrap();
        forged.push((call, Arc::new(bytes)));
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
        let sent = Arc::new(Sent::begun(&call));
        self.sent.lock().unwrap().push(Arc::clone(&sent));
        self.stop(&call, Moment::Before).await;
        let (cut, broken) = watch::channel(false);
        let (gate, kept) = (Arc::clone(self), Arc::clone(&sent));
        let request = request.map(|body| Body::new(Tapped::new(body, kept, gate, cut)));
        let answer = match channel.oneshot(request).await {
            Ok(answer) => self.altered(&call, answer).await,
            Err(error) => Status::unavailable(error.to_string()).into_http(),
        };
        if call == UPLOAD {
            return self.until_receipt(answer, sent, broken);
        }
        self.stop(&call, Moment::After).await;
        answer
    }

    /// An upload is answered while it goes on. What counts as the answer is the receipt that ends it, or the refusal.
    fn until_receipt(
        self: &Arc<Self>,
        answer: Response<Body>,
        sent: Arc<Sent>,
        mut broken: watch::Receiver<bool>,
    ) -> Response<Body> {
        let gate = Arc::clone(self);
        answer.map(|body| {
            let (passed, frames) = mpsc::channel(1);
            tokio::spawn(async move {
                let cut = async {
                    if broken.wait_for(|cut| *cut).await.is_err() {
                        std::future::pending().await
                    }
                };
                tokio::select! {
                    () = gate.hold_receipt(body, &sent, &passed) => {}
                    () = cut => drop(passed.send(Err(tapped::cut())).await),
                }
            });
            Body::new(Frames(frames))
        })
    }

    async fn hold_receipt(
        &self,
        mut body: Body,
        sent: &Sent,
        passed: &mpsc::Sender<Result<Frame<Bytes>, Status>>,
    ) {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
                sent.answered.lock().unwrap().extend_from_slice(data);
            }
            let last = |frame: &Frame<Bytes>| frame.data_ref().is_none_or(is_receipt);
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
        if self.held_at(call, moment).await {
            std::future::pending::<()>().await;
        }
    }

    /// Waits while this is held; whether it was thrown away then.
    async fn held_at(&self, call: &str, moment: Moment) -> bool {
        let mut held = self.held.subscribe();
        let before = *held.borrow();
        let here = |held: &Held| held.at.is_some_and(|at| at.0 == call && at.1 == moment);
        if !here(&before) {
            return false;
        }
        self.arrived.send_replace(before.at);
        let after = held.wait_for(|held| held.lost != before.lost || !here(held));
        after.await.unwrap().lost != before.lost
    }
}

/// Whether a frame ends with the receipt of an upload: the messages before it have other fields.
fn is_receipt(data: &Bytes) -> bool {
    let mut answers = messages(data.clone()).map(pb::SubmitMaskedResponse::decode);
    answers.any(|answer| answer.is_ok_and(|said| matches!(said.answer, Some(Answer::Receipt(_)))))
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
