//! The accept loop: TCP, then TLS 1.3 with a client certificate, then HTTP/2 under explicit limits, then a tower service.
//!
//! tonic's own loop is not used: it leaves handshakes and streams unbounded, cannot exchange its TLS configuration, and swallows accept
//! errors. Who the peer *is* is not decided here. TLS has proved that the peer holds the key of a certificate that a trusted authority
//! issued; that certificate goes to the services as a [`PeerCertificate`] among the request's extensions, and through it they can have the
//! connection end.

use std::{
    convert::Infallible,
    future::{self, Future},
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use hyper::{Request, Response, body::Incoming, server::conn::http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::{ServerConfig, pki_types::CertificateDer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinError, JoinSet},
    time,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::body::Body;
use tower::{Service, ServiceExt};
use veilsum_common::limits;
use veilsum_common::time::Timestamp;
use veilsum_daemon::identity;
use veilsum_daemon::refusal::Refusal;

mod guests;
mod heard;
#[cfg(test)]
mod tests;

pub use guests::{Entered, Guest, Guests};
use heard::Heard;

/// The certificate with which the peer of a request has authenticated itself; all requests of a connection share one.
#[derive(Clone, Debug)]
pub struct PeerCertificate {
    der: Arc<CertificateDer<'static>>,
    expiry: Timestamp,
    sent_away: watch::Sender<bool>,
}

impl PeerCertificate {
    /// Wraps a certificate. Only what has verified it may do so.
    pub fn new(certificate: CertificateDer<'static>) -> Self {
        Self {
            // One whose dates cannot be read is not believed at all.
            expiry: identity::expiry(&certificate).unwrap_or(Timestamp(0)),
            der: Arc::new(certificate),
            sent_away: watch::Sender::new(false),
        }
    }

    /// The certificate, encoded.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Whether it has expired by `now`, as it may while its connection is open.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.expiry
    }

    /// Has the connection end as soon as its calls have ended. Whoever comes back shakes hands anew.
    pub fn send_away(&self) {
        self.sent_away.send_replace(true);
    }

    /// Becomes true once the peer has been sent away.
    pub fn sent_away(&self) -> watch::Receiver<bool> {
        self.sent_away.subscribe()
    }
}

/// How much of everything one listener allows; what belongs to HTTP/2 itself is fixed.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at once, those in their handshake included; one more is closed as soon as it is accepted.
    pub connections: usize,
    /// Handshakes at once; others wait their turn, and their time runs.
    pub handshakes: usize,
    /// From accepting a connection to the end of its handshake.
    pub handshake_timeout: Duration,
    /// Connections of one peer at once; one more is closed after its handshake.
    pub connections_per_peer: usize,
    /// The same for an operator, whose every command is a connection.
    pub connections_per_operator: usize,
    /// From the handshake to the first bytes of HTTP/2 from the peer.
    pub preface_timeout: Duration,
    /// From the handshake to the first call.
    pub first_call_timeout: Duration,
    /// From the request to stop to the end of the last call; what runs then is cut off.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    /// As the table of limits has them.
    fn default() -> Self {
        Self {
            connections: limits::MAX_CONNECTIONS,
            handshakes: limits::MAX_HANDSHAKES,
            handshake_timeout: Duration::from_millis(limits::HANDSHAKE_MS),
            connections_per_peer: limits::MAX_PEER_CONNECTIONS,
            connections_per_operator: limits::MAX_OPERATOR_CONNECTIONS,
            preface_timeout: Duration::from_millis(limits::PREFACE_MS),
            first_call_timeout: Duration::from_millis(limits::FIRST_CALL_MS),
            drain_timeout: Duration::from_millis(limits::DRAIN_MS),
        }
    }
}

/// Serves `service` on `listener` until `shutdown` is ready, and then until the calls in flight have ended or their time is up.
///
/// A new configuration sent through `tls` counts from the next handshake on; what is connected stays connected. Calls that wait for
/// something, such as a held poll, should watch the same shutdown, since nobody else tells them to end.
pub async fn serve<S>(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    service: S,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let (stop, stopping) = watch::channel(false);
    let door = Door {
        tls,
        handshakes: Arc::new(Semaphore::new(limits.handshakes)),
        guests: Guests::default(),
        limits: limits.clone(),
        stopping,
    };
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            (stream, peer) = accept(&listener) => {
                if connections.len() < limits.connections {
                    connections.spawn(attend(door.clone(), service.clone(), stream, peer));
                } else {
                    tracing::warn!(%peer, limit = limits.connections, "connection closed: too many are open");
                }
            }
            Some(ended) = connections.join_next() => report(ended),
        }
    }
    // Before the drain, so that new clients are refused at once and do not wait in the backlog of a process that is about to end.
    drop(listener);
    stop.send_replace(true);
    drain(connections, limits.drain_timeout).await;
}

/// Accepts the next connection, however long the operating system has none to give.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted; trying again");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether an accept failed only for the connection that would have come next.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

async fn drain(mut connections: JoinSet<()>, timeout: Duration) {
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if time::timeout(timeout, drained).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "connections cut off: they did not drain in time"
        );
        connections.shutdown().await;
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "the task of a connection panicked");
    }
}

/// What a connection needs to come in, and to notice that it has to go.
#[derive(Clone)]
struct Door {
    tls: watch::Receiver<Arc<ServerConfig>>,
    handshakes: Arc<Semaphore>,
    guests: Guests,
    limits: Limits,
    stopping: watch::Receiver<bool>,
}

impl Door {
    /// Shakes hands with `peer`; nobody comes in if that fails, takes too long or is interrupted.
    async fn admit(&mut self, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<TcpStream>> {
        let handshake = time::timeout(
            self.limits.handshake_timeout,
            shake_hands(stream, &self.handshakes, &self.tls),
        );
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            () = stopped(&mut self.stopping) => return None,
        };
        match shaken {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => match Refusal::find(&error) {
                Some(refusal) => tracing::info!(%peer, %refusal, "handshake refused"),
                None => tracing::info!(%peer, %error, "handshake failed"),
            },
            Err(_) => {
                tracing::info!(%peer, timeout = ?self.limits.handshake_timeout, "handshake cut off: it took too long")
            }
        }
        None
    }

    /// Counts a connection of whoever the certificate names, unless it has as many as it may.
    fn count(&self, guest: &Guest) -> Option<Entered> {
        let limit = if guest.is_operator() {
            self.limits.connections_per_operator
        } else {
            self.limits.connections_per_peer
        };
        self.guests.enter(guest, limit)
    }
}

async fn shake_hands(
    stream: TcpStream,
    handshakes: &Semaphore,
    tls: &watch::Receiver<Arc<ServerConfig>>,
) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    let _turn = handshakes
        .acquire()
        .await
        .expect("the semaphore is never closed");
    let acceptor = TlsAcceptor::from(tls.borrow().clone());
    acceptor.accept(stream).await
}

/// Takes one connection from its first byte to its last.
async fn attend<S>(mut door: Door, service: S, stream: TcpStream, peer: SocketAddr)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let Some(stream) = door.admit(stream, peer).await else {
        return;
    };
    let certificate = certificate_of(&stream);
    let guest = certificate.as_ref().map(|leaf| Guest::of(leaf.der()));
    let counted = guest.as_ref().map(|guest| door.count(guest));
    if let Some(None) = counted {
        tracing::warn!(%peer, ?guest, "connection closed: its peer has too many");
        return;
    }
    let mut sent_away = certificate.as_ref().map(PeerCertificate::sent_away);
    let (stream, begun) = Heard::new(stream);
    let (first_call, called) = watch::channel(false);
    let service = TowerToHyperService::new(presenting(certificate, first_call, service));
    let mut connection = pin!(http2().serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut door.stopping) => {
            // GOAWAY: no new calls, and the connection ends with the last one.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = dismissed(&mut sent_away) => {
            tracing::info!(%peer, ?guest, "connection is closed: its certificate counts no longer");
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = overdue(begun, door.limits.preface_timeout) => {
            tracing::info!(%peer, ?guest, "connection closed: it did not begin as HTTP/2 does");
            return;
        }
        () = overdue(called, door.limits.first_call_timeout) => {
            tracing::info!(%peer, ?guest, "connection closed: nobody called");
            return;
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Returns if what must come has not come for `timeout`.
async fn overdue(mut come: watch::Receiver<bool>, timeout: Duration) {
    // If the sender is gone, so is the connection, whose end is awaited beside this.
    if time::timeout(timeout, come.wait_for(|come| *come))
        .await
        .is_ok()
    {
        future::pending::<()>().await;
    }
}

/// The leaf that the peer has shown, if the configuration asked for one.
fn certificate_of(stream: &TlsStream<TcpStream>) -> Option<PeerCertificate> {
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates()?.first()?;
    Some(PeerCertificate::new(leaf.clone().into_owned()))
}

/// `service`, with the peer's certificate among the extensions of every request; tells of the first.
fn presenting<S>(
    certificate: Option<PeerCertificate>,
    first_call: watch::Sender<bool>,
    service: S,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future = S::Future>
+ Clone
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    service.map_request(move |mut request: Request<Incoming>| {
        first_call.send_if_modified(|called| !std::mem::replace(called, true));
        if let Some(certificate) = &certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        request.map(Body::new)
    })
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // If the sender is gone, so is the loop that would have asked to stop.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Returns if the services have sent the peer away; never if they cannot.
async fn dismissed(sent_away: &mut Option<watch::Receiver<bool>>) {
    match sent_away {
        Some(sent_away) => stopped(sent_away).await,
        None => future::pending().await,
    }
}

/// HTTP/2 and nothing else, with no limit left to a default of hyper or h2.
fn http2() -> http2::Builder<TokioExecutor> {
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    let keepalive = Duration::from_millis(limits::KEEPALIVE_MS);
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::MAX_STREAMS)
        .max_pending_accept_reset_streams(limits::MAX_PENDING_RESETS)
        .max_local_error_reset_streams(limits::MAX_ERROR_RESETS)
        .max_header_list_size(limits::MAX_HEADER_BYTES)
        .max_frame_size(limits::FRAME_BYTES)
        .max_send_buf_size(limits::PIECE_BYTES)
        .adaptive_window(false)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(keepalive)
        .keep_alive_timeout(keepalive);
    http2
}

/// After an accept that failed for want of file descriptors or memory: long enough to spare the processor, short beside a handshake.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
