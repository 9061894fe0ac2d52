//! The accept loop: TCP, then TLS 1.3 with a client certificate, then HTTP/2 under explicit limits, then a tower service.
//!
//! tonic's own loop is not used: it leaves handshakes and streams unbounded, cannot exchange its TLS configuration, and swallows accept
//! errors. Who the peer *is* is not decided here. TLS has proved that the peer holds the key of a certificate that a trusted authority
//! issued; that certificate goes to the services as a [`PeerCertificate`] among the request's extensions.

use std::{
    convert::Infallible, future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration,
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
use veilsum_daemon::refusal::Refusal;

#[cfg(test)]
mod tests;

/// The certificate with which the peer of a request has authenticated itself.
#[derive(Clone, Debug)]
pub struct PeerCertificate(Arc<CertificateDer<'static>>);

impl PeerCertificate {
    /// Wraps a certificate. Only what has verified it may do so.
    pub fn new(certificate: CertificateDer<'static>) -> Self {
        Self(Arc::new(certificate))
    }

    /// The certificate, encoded.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.0
    }
}

/// How much of everything one listener allows. What belongs to HTTP/2 itself is fixed below.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at once, those in their handshake included; one more is closed as soon as it is accepted.
    pub connections: usize,
    /// Handshakes at once; others wait their turn, and their time runs.
    pub handshakes: usize,
    /// From accepting a connection to the end of its handshake.
    pub handshake_timeout: Duration,
    /// From the request to stop to the end of the last call; what runs then is cut off.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    /// Four thousand connections hold about 160 MiB. Sixty-four handshakes keep every core busy even if most of them are stalled. Five
    /// seconds are twenty round trips across the world. Thirty seconds of drain leave a service manager's minute to the rest.
    fn default() -> Self {
        Self {
            connections: 4096,
            handshakes: 64,
            handshake_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
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
        handshake_timeout: limits.handshake_timeout,
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
    handshake_timeout: Duration,
    stopping: watch::Receiver<bool>,
}

impl Door {
    /// Shakes hands with `peer`; nobody comes in if that fails, takes too long or is interrupted.
    async fn admit(&mut self, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<TcpStream>> {
        let handshake = time::timeout(
            self.handshake_timeout,
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
                tracing::info!(%peer, timeout = ?self.handshake_timeout, "handshake cut off: it took too long")
            }
        }
        None
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
    let service = TowerToHyperService::new(presenting(certificate_of(&stream), service));
    let mut connection = pin!(http2().serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut door.stopping) => {
            // GOAWAY: no new calls, and the connection ends with the last one.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// The leaf that the peer has shown, if the configuration asked for one.
fn certificate_of(stream: &TlsStream<TcpStream>) -> Option<PeerCertificate> {
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates()?.first()?;
    Some(PeerCertificate::new(leaf.clone().into_owned()))
}

/// `service`, with the peer's certificate among the extensions of every request.
fn presenting<S>(
    certificate: Option<PeerCertificate>,
    service: S,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future = S::Future>
+ Clone
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    service.map_request(move |mut request: Request<Incoming>| {
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

/// HTTP/2 and nothing else, with no limit left to a default of hyper or h2.
fn http2() -> http2::Builder<TokioExecutor> {
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .adaptive_window(false)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE);
    http2
}

/// After an accept that failed for want of file descriptors or memory: long enough to spare the processor, short beside a handshake.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Calls of one peer at once: a poll, an upload, a download and what an operator looks at, several times over.
const MAX_STREAMS: u32 = 32;
/// Streams that a peer may reset before they were looked at (rapid reset): what h2 thinks right, set explicitly.
const MAX_PENDING_RESETS: usize = 20;
/// Streams that we may reset for a peer's errors before it is sent away (RUSTSEC-2024-0003).
const MAX_ERROR_RESETS: usize = 1024;
/// All headers of one call: ten times what gRPC needs.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// What the standard prescribes as the least.
const FRAME_BYTES: u32 = 16 * 1024;
/// What one call may have waiting to be sent: a message of a download.
const SEND_BUFFER_BYTES: usize = 256 * 1024;
/// What one call may send ahead: 20 MB/s over 50 ms. It bounds the memory of a stalled upload.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// What all calls of a connection may send ahead: two uploads at full speed.
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Between pings, and for an answer to one: a dead peer is found within 40 s.
const KEEPALIVE: Duration = Duration::from_secs(20);
