use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::{
    ClientConfig, SignatureScheme, client::ResolvesClientCert, pki_types::ServerName,
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client};
use tonic::{
    codegen::http::Uri,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use veilsum_daemon::{
    refusal::Reason,
    shutdown::Shutdown,
    tls::{self, Credentials, Trust},
};

use super::*;

#[tokio::test]
async fn a_client_with_a_certificate_is_served_and_known_by_it() {
    let mut served = served(Limits::default()).await;
    let credentials = served.authority.issue(ExtendedKeyUsagePurpose::ClientAuth);
    let config = tls::client(&credentials, &served.authority.trust()).unwrap();
    assert_eq!(served.call(config).await.unwrap(), ServingStatus::Serving);
    let seen = served
        .begun
        .recv()
        .await
        .unwrap()
        .expect("the request carries the certificate");
    assert_eq!(seen.der(), credentials.leaf());
}

#[tokio::test]
async fn t47_a_client_without_a_certificate_is_refused() {
    let served = served(Limits::default()).await;
    let mut config = ClientConfig::clone(&served.authority.client());
    config.client_auth_cert_resolver = Arc::new(NoCertificate);
    assert_eq!(
        served.refusal(Arc::new(config)).await,
        Refusal::OfOurs(Reason::Missing)
    );
}

#[tokio::test]
async fn t47_a_client_of_a_foreign_authority_is_refused() {
    let served = served(Limits::default()).await;
    let foreign = Authority::new("foreign").issue(ExtendedKeyUsagePurpose::ClientAuth);
    let config = tls::client(&foreign, &served.authority.trust()).unwrap();
    assert_eq!(
        served.refusal(config).await,
        Refusal::OfOurs(Reason::UnknownAuthority)
    );
}

#[tokio::test]
async fn a_client_with_a_servers_certificate_is_refused() {
    let served = served(Limits::default()).await;
    let server = served.authority.issue(ExtendedKeyUsagePurpose::ServerAuth);
    let config = tls::client(&server, &served.authority.trust()).unwrap();
    assert_eq!(
        served.refusal(config).await,
        Refusal::OfOurs(Reason::WrongUse)
    );
}

#[tokio::test]
async fn a_new_configuration_counts_from_the_next_handshake_on() {
    let served = served(Limits::default()).await;
    let before = connect(served.address, served.authority.client());
    check(before.clone()).await.unwrap();
    let successor = Authority::new("successor");
    served.tls.send_replace(successor.server());
    served.call(successor.client()).await.unwrap();
    served.call(served.authority.client()).await.unwrap_err();
    check(before).await.unwrap();
}

/// It may have one connection, and gets its second only when the first is gone, which it would keep.
#[tokio::test]
async fn a_peer_that_is_sent_away_must_shake_hands_anew() {
    let limits = Limits {
        connections_per_peer: 1,
        ..PATIENT
    };
    let mut served = served(limits).await;
    let config = served.authority.client();
    let first = connect(served.address, config.clone());
    check(first.clone()).await.unwrap();
    served.call(config.clone()).await.unwrap_err();
    let certificate = served.begun.recv().await.unwrap();
    certificate.expect("the peer has shown one").send_away();
    let second = async {
        while served.call(config.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon(second).await;
    drop(first);
}

#[tokio::test]
async fn stopping_ends_the_calls_in_flight_and_takes_no_others() {
    let mut served = served(PATIENT).await;
    served.gate.send_replace(Gate::Closed);
    let channel = connect(served.address, served.authority.client());
    let in_flight = tokio::spawn(check(channel.clone()));
    served.begun.recv().await.unwrap();
    served.shutdown.trigger();
    let late = connect(served.address, served.authority.client());
    while TcpStream::connect(served.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    check(late).await.unwrap_err();
    assert!(!served.serving.is_finished());
    served.gate.send_replace(Gate::Open);
    assert_eq!(in_flight.await.unwrap().unwrap(), ServingStatus::Serving);
    // Without GOAWAY the client would keep its connection, and the drain would wait for it.
    soon(served.serving).await.unwrap();
    assert!(served.begun.recv().await.is_none());
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_off() {
    let limits = Limits {
        drain_timeout: Duration::from_millis(50),
        ..PATIENT
    };
    let mut served = served(limits).await;
    served.gate.send_replace(Gate::Closed);
    let endless = tokio::spawn(check(connect(served.address, served.authority.client())));
    served.begun.recv().await.unwrap();
    served.shutdown.trigger();
    served.serving.await.unwrap();
    endless.await.unwrap().unwrap_err();
    // The handler is gone as well, and with it its end of the channel.
    assert!(served.begun.recv().await.is_none());
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_handshake() {
    let served = served(PATIENT).await;
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    served.call(served.authority.client()).await.unwrap();
    served.shutdown.trigger();
    soon(served.serving).await.unwrap();
    assert_closed(&mut silent).await;
}

#[tokio::test]
async fn a_stalled_handshake_is_cut_off_and_gives_up_its_turn() {
    let limits = Limits {
        handshakes: 1,
        handshake_timeout: Duration::from_secs(1),
        ..PATIENT
    };
    let served = served(limits).await;
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    assert_closed(&mut silent).await;
    served.call(served.authority.client()).await.unwrap();
}

#[tokio::test]
async fn nobody_comes_in_without_a_turn_to_shake_hands() {
    let limits = Limits {
        handshakes: 0,
        handshake_timeout: Duration::from_millis(50),
        ..PATIENT
    };
    let served = served(limits).await;
    served.call(served.authority.client()).await.unwrap_err();
}

#[tokio::test]
async fn a_connection_too_many_is_closed() {
    let served = served(Limits {
        connections: 1,
        ..PATIENT
    })
    .await;
    let first = connect(served.address, served.authority.client());
    check(first.clone()).await.unwrap();
    let mut second = TcpStream::connect(served.address).await.unwrap();
    assert_closed(&mut second).await;
    check(first).await.unwrap();
}

#[tokio::test]
async fn t24_a_peer_with_too_many_connections_shuts_out_itself_alone() {
    let served = served(Limits {
        connections_per_peer: 4,
        ..PATIENT
    })
    .await;
    let greedy = served.authority.client();
    let mut open = Vec::new();
    for _ in 0..4 {
        let channel = connect(served.address, greedy.clone());
        check(channel.clone()).await.unwrap();
        open.push(channel);
    }
    for _ in 0..100 {
        served.call(greedy.clone()).await.unwrap_err();
    }
    served.call(served.authority.client()).await.unwrap();
    for channel in &open {
        check(channel.clone()).await.unwrap();
    }
    // What is closed is given back, though nobody can see when the coordinator has noticed.
    open.truncate(3);
    while served.call(greedy.clone()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_that_never_begins_http2_is_closed() {
    let served = served(Limits {
        preface_timeout: Duration::from_millis(50),
        ..PATIENT
    })
    .await;
    let config = served.authority.client();
    for first in [
        &b""[..],
        b"PRI * HTTP/2.0",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut stream = dial(served.address, config.clone()).await.unwrap();
        stream.write_all(first).await.unwrap();
        read_to_the_end(&mut stream).await;
    }
    served.call(served.authority.client()).await.unwrap();
}

/// Sites wait for it, to learn whether their certificate was refused, before they send anything.
#[tokio::test]
async fn the_server_speaks_first() {
    let served = served(PATIENT).await;
    let mut waiting = dial(served.address, served.authority.client())
        .await
        .unwrap();
    assert!(soon(waiting.read(&mut [0; 9])).await.unwrap() > 0);
}

#[tokio::test]
async fn a_connection_without_a_call_is_closed_and_one_with_a_call_is_not() {
    let served = served(Limits {
        first_call_timeout: Duration::from_millis(200),
        ..PATIENT
    })
    .await;
    let calling = connect(served.address, served.authority.client());
    check(calling.clone()).await.unwrap();
    let mut idle = dial(served.address, served.authority.client())
        .await
        .unwrap();
    idle.write_all(PREFACE).await.unwrap();
    read_to_the_end(&mut idle).await;
    check(calling).await.unwrap();
    assert!(!served.serving.is_finished());
}

#[test]
fn a_guest_is_whom_the_certificate_names() {
    let credentials = |uri: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
        params.self_signed(&key).unwrap().der().clone()
    };
    let site = "spiffe://example.org/veilsum/clinics/participant/north";
    let operator = "spiffe://example.org/veilsum/clinics/operator/north";
    assert_eq!(Guest::of(&credentials(site)), Guest::of(&credentials(site)));
    assert_ne!(
        Guest::of(&credentials(site)),
        Guest::of(&credentials(operator))
    );
    assert!(Guest::of(&credentials(operator)).is_operator());
    let nobody = "https://example.org";
    assert_ne!(
        Guest::of(&credentials(nobody)),
        Guest::of(&credentials(nobody))
    );
}

#[test]
fn only_an_accept_that_failed_for_one_connection_is_repeated_at_once() {
    assert!(concerns_one_connection(
        &io::ErrorKind::ConnectionAborted.into()
    ));
    let too_many_open_files = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
    assert!(!concerns_one_connection(&too_many_open_files));
}

/// Nothing is cut off by these, so that what ends has ended by itself.
const PATIENT: Limits = Limits {
    connections: 100,
    handshakes: 100,
    handshake_timeout: Duration::from_secs(3600),
    connections_per_peer: 100,
    connections_per_operator: 100,
    preface_timeout: Duration::from_secs(3600),
    first_call_timeout: Duration::from_secs(3600),
    drain_timeout: Duration::from_secs(3600),
};

/// What should take milliseconds, given long enough for the slowest machine.
async fn soon<T>(expected: impl Future<Output = T>) -> T {
    time::timeout(Duration::from_secs(20), expected)
        .await
        .expect("this takes milliseconds")
}

async fn assert_closed(stream: &mut (impl AsyncRead + Unpin)) {
    // An end or a reset: either way the other side is gone.
    assert_eq!(soon(stream.read(&mut [0; 1])).await.unwrap_or(0), 0);
}

/// The server speaks first; then it may end.
async fn read_to_the_end(stream: &mut (impl AsyncRead + Unpin)) {
    let mut told = Vec::new();
    // An end without a farewell is an error of TLS's.
    soon(stream.read_to_end(&mut told)).await.unwrap_or(0);
    assert!(!told.is_empty());
}

/// What every HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A listener with a health service behind a gate.
struct Served {
    authority: Authority,
    address: SocketAddr,
    tls: watch::Sender<Arc<ServerConfig>>,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
    /// The certificate of each call that has reached its handler. Ends when no handler is left.
    begun: mpsc::UnboundedReceiver<Option<PeerCertificate>>,
    gate: watch::Sender<Gate>,
}

#[derive(Clone, Copy, PartialEq)]
enum Gate {
    Open,
    Closed,
}

async fn served(limits: Limits) -> Served {
    let authority = Authority::new("authority");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tls, configurations) = watch::channel(authority.server());
    let shutdown = Shutdown::new();
    let (gate, mut passing) = watch::channel(Gate::Open);
    let (begin, begun) = mpsc::unbounded_channel();
    let (_, health) = tonic_health::server::health_reporter();
    passing.mark_unchanged();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (health, begin, mut passing) = (health.clone(), begin.clone(), passing.clone());
        async move {
            begin
                .send(request.extensions().get::<PeerCertificate>().cloned())
                .unwrap();
            passing.wait_for(|gate| *gate == Gate::Open).await.unwrap();
            health.oneshot(request).await
        }
    });
    let stop = shutdown.clone();
    let serving = tokio::spawn(async move {
        serve(listener, configurations, service, limits, stop.triggered()).await;
    });
    Served {
        authority,
        address,
        tls,
        shutdown,
        serving,
        begun,
        gate,
    }
}

impl Served {
    /// Calls over a new connection.
    async fn call(&self, config: Arc<ClientConfig>) -> Result<ServingStatus, tonic::Status> {
        check(connect(self.address, config)).await
    }

    /// Why a client is sent away. In TLS 1.3 it learns that with the first read, and HTTP/2 would make a mere text of it.
    async fn refusal(&self, config: Arc<ClientConfig>) -> Refusal {
        let mut stream = dial(self.address, config).await.unwrap();
        let error = stream.read(&mut [0; 1]).await.unwrap_err();
        Refusal::find(&error).unwrap()
    }
}

async fn dial(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config).connect(name, stream).await
}

fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> Channel {
    let connector = tower::service_fn(move |_: Uri| {
        let stream = dial(address, config.clone());
        async { stream.await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector)
}

async fn check(channel: Channel) -> Result<ServingStatus, tonic::Status> {
    let answer = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await?;
    Ok(answer.into_inner().status())
}

/// A certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn trust(&self) -> Trust {
        Trust::from_pem(self.0.pem().as_bytes()).unwrap()
    }

    fn issue(&self, usage: ExtendedKeyUsagePurpose) -> Credentials {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let leaf = params.signed_by(&key, &self.0).unwrap();
        Credentials::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    fn server(&self) -> Arc<ServerConfig> {
        tls::server(
            &self.issue(ExtendedKeyUsagePurpose::ServerAuth),
            &self.trust(),
        )
        .unwrap()
    }

    fn client(&self) -> Arc<ClientConfig> {
        tls::client(
            &self.issue(ExtendedKeyUsagePurpose::ClientAuth),
            &self.trust(),
        )
        .unwrap()
    }
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
