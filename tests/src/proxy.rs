//! A stop on the way between one site and the coordinator: it shows the site a coordinator's certificate and the coordinator the
//! site's own, passes every call on as it is, and holds the one that a test names until it is told to let go.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::transport::Channel;
use tower::ServiceExt as _;
use veilsum_coordinator::serve::{Limits, serve};
use veilsum_daemon::identity::Role;
use veilsum_daemon::tls;

use crate::federation::{Federation, patiently};

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
    gate: Arc<Gate>,
    task: tokio::task::JoinHandle<()>,
}

struct Gate {
    held: watch::Sender<Held>,
    arrived: watch::Sender<Option<(Call, Moment)>>,
    calls: Mutex<BTreeMap<String, u64>>,
}

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
        federation.edit(
            site,
            &federation.url(),
            &format!("https://127.0.0.1:{port}"),
        );

        let gate = Arc::new(Gate {
            held: watch::Sender::default(),
            arrived: watch::Sender::new(None),
            calls: Mutex::default(),
        });
        let (channel, passing) = (federation.channel(&name), Arc::clone(&gate));
        let service = tower::service_fn(move |request| {
            let (channel, gate) = (channel.clone(), Arc::clone(&passing));
            async move { Ok::<_, Infallible>(gate.pass(channel, request).await) }
        });
        let never = std::future::pending();
        let task = tokio::spawn(serve(listener, config, service, Limits::default(), never));
        Self { gate, task }
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

    /// Waits until a call is held.
    pub async fn reached(&self) {
        let mut arrived = self.gate.arrived.subscribe();
        let what = format!("{:?} is never called", self.gate.held.borrow().at);
        let held = arrived.wait_for(Option::is_some);
        patiently(&what, held).await.unwrap();
    }

    /// How often the site made this call.
    pub fn count(&self, call: Call) -> u64 {
        let calls = self.gate.calls.lock().unwrap();
        calls.get(call).copied().unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gate {
    async fn pass(&self, channel: Channel, request: Request<Body>) -> Response<Body> {
        let call = request.uri().path().rsplit('/').next().unwrap().to_owned();
        *self.calls.lock().unwrap().entry(call.clone()).or_default() += 1;
        self.stop(&call, Moment::Before).await;
        let answer = match channel.oneshot(request).await {
            Ok(answer) => answer,
            Err(error) => Status::unavailable(error.to_string()).into_http(),
        };
        self.stop(&call, Moment::After).await;
        answer
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
