//! A coordinator that listens on loopback, and a round of it in which three sites have committed and none has uploaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tonic::service::Routes;
use tonic::transport::Channel;
use veilsum_common::ids::SiteName;
use veilsum_common::limits::{MAX_PEER_CALLS, PIECE_BYTES};
use veilsum_common::parts::Parts;
use veilsum_common::time::Span;
use veilsum_coordinator::ca::{Authority, CERTIFICATE_FILE};
use veilsum_coordinator::grpc::{self, Context, Edge};
use veilsum_coordinator::live::{LiveRun, Shared};
use veilsum_coordinator::serve::{Limits, serve};
use veilsum_coordinator::store::blobs::Blobs;
use veilsum_coordinator::store::sqlite::SqliteJournal;
use veilsum_coordinator::store::staging::{Slot, Staging};
use veilsum_daemon::identity::Role;
use veilsum_daemon::shutdown::Shutdown;
use veilsum_daemon::tls::{self, Credentials, Trust};
use veilsum_daemon::{binding, clock, entropy, files};
use veilsum_participant::{enrol, link};
use veilsum_proto::pb;
use veilsum_proto::pb::round_service_client::RoundServiceClient;
use veilsum_proto::pb::run_service_client::RunServiceClient;
use veilsum_secagg::channel::RoundKeys;
use veilsum_secagg::coordinator;
use veilsum_secagg::keys::{BindingClaim, Identity, Seed, binding_message};
use veilsum_secagg::participant::{AwaitingRoster, Binding, Committed, Masking};

/// The fewest there may be.
const SITES: u8 = 3;

/// One site's call is what is measured; the other two are there for the round to exist.
pub struct Open {
    pub calls: RoundServiceClient<Channel>,
    header: pb::UploadHeader,
    parts: Parts,
    slot: Slot,
    context: Arc<Context<SqliteJournal>>,
    keys: Keys,
    // Last: what runs in it uses the rest.
    _server: Runtime,
}

impl Open {
    /// A round of a model of `elements` zeros.
    pub async fn new(elements: u64) -> Self {
        let keys = Keys::new();
        let (server, context, url) = start(&keys).await;
        let run = submit(&keys, &url, &context, elements).await;
        let mut sites: Vec<Site> = (0..SITES).map(|k| Site::new(&keys, &url, k)).collect();
        let (masking, slot, ann_hash) = commit(&run, &mut sites).await;
        let header = pb::UploadHeader {
            run_id: run.spec().run_id().as_bytes().to_vec(),
            ann_hash,
            ..masking.header().into()
        };
        Self {
            calls: sites.swap_remove(0).calls,
            header,
            parts: Parts::of(run.spec().params()),
            slot,
            context,
            keys,
            _server: server,
        }
    }

    pub fn parts(&self) -> Parts {
        self.parts
    }

    pub fn header(&self) -> pb::UploadHeader {
        self.header.clone()
    }

    pub fn dir(&self) -> &Path {
        self.keys.dir.path()
    }

    pub fn server_tls(&self) -> Arc<ServerConfig> {
        self.keys.server()
    }

    pub fn client_tls(&self) -> Arc<ClientConfig> {
        self.keys.client("site-0")
    }

    /// Removes what was uploaded, so that all of it is missing.
    pub fn forget(&self) {
        let removed = self.context.shared.uploads.remove(&self.slot);
        removed.expect("the disk works");
    }
}

/// Certificates of everybody.
struct Keys {
    dir: TempDir,
    authority: Authority,
}

impl Keys {
    fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let ca = dir.path().join("ca");
        let authority = Authority::init(&ca, "example.org", "bench", clock::now());
        let authority = authority.expect("the names are good");
        let keys = Self { dir, authority };
        keys.certify("main", Role::Coordinator);
        keys.certify("boss", Role::Operator);
        for k in 0..SITES {
            keys.certify(&site(k), Role::Participant);
        }
        keys
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn certify(&self, name: &str, role: Role) {
        let site: SiteName = name.parse().expect("a good name");
        let csr = enrol::request(&self.path(name), &site).expect("a key can be made");
        let hosts = match role {
            Role::Coordinator => vec!["127.0.0.1".to_owned()],
            Role::Participant | Role::Operator | Role::Auditor => Vec::new(),
        };
        let day = Span::from_secs(86_400);
        let issued = self
            .authority
            .issue(csr.as_str(), role, &hosts, day, clock::now())
            .expect("the request is good");
        files::write_atomic(&self.path(name).join("tls.pem"), issued.pem.as_bytes())
            .expect("the disk works");
    }

    fn credentials(&self, name: &str) -> (Credentials, Trust) {
        let dir = self.path(name);
        let credentials = Credentials::load(&dir.join("tls.pem"), &dir.join("tls.key"));
        let trust = Trust::load(&self.path("ca").join(CERTIFICATE_FILE), &[]);
        (
            credentials.expect("both were written"),
            trust.expect("it was written"),
        )
    }

    fn server(&self) -> Arc<ServerConfig> {
        let (credentials, trust) = self.credentials("main");
        tls::server(&credentials, &trust).expect("the key is the certificate's")
    }

    fn client(&self, name: &str) -> Arc<ClientConfig> {
        let (credentials, trust) = self.credentials(name);
        tls::client(&credentials, &trust).expect("the key is the certificate's")
    }

    fn channel(&self, name: &str, url: &str) -> Channel {
        link::connect(url, self.client(name)).expect("the address is good")
    }
}

/// The daemon's coordinator without its configuration file, on threads of its own.
async fn start(keys: &Keys) -> (Runtime, Arc<Context<SqliteJournal>>, String) {
    let server = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let dir = keys.path("data");
    files::private_directory(&dir.join("keys")).expect("the disk works");
    let journal = SqliteJournal::open_in(&dir, entropy::fill).expect("the disk works");
    let books = journal.books();
    let shared = Arc::new(Shared {
        journal,
        blobs: Blobs::new(&dir.join("blobs")).expect("the disk works"),
        uploads: Staging::new(&dir.join("uploads"), books).expect("the disk works"),
        data_dir: dir.clone(),
        runs_dir: dir.join("runs"),
        fatal: mpsc::channel(1).0,
    });
    let federation = keys.authority.federation().clone();
    let context = Context::new(shared, federation, Shutdown::new(), dir.join("keys"));
    let context = Arc::new(context);
    let listener = server
        .spawn(TcpListener::bind("127.0.0.1:0"))
        .await
        .expect("the runtime runs")
        .expect("loopback has a free port");
    let url = format!("https://{}", listener.local_addr().expect("it is bound"));
    let edge = Edge::new(grpc::services(&context, Routes::default()), MAX_PEER_CALLS);
    let (_, tls) = watch::channel(keys.server());
    server.spawn(serve(
        listener,
        tls,
        edge,
        Limits::default(),
        std::future::pending(),
    ));
    (server, context, url)
}

/// A run over a model of zeros.
async fn submit(
    keys: &Keys,
    url: &str,
    context: &Context<SqliteJournal>,
    elements: u64,
) -> Arc<LiveRun<SqliteJournal>> {
    use pb::create_run_request::Part;
    let study = format!(
        "schema = \"veilsum.study/v1\"\nname = \"bench\"\n[rounds]\ncount = 1\n\
         cohort = {{ min = {SITES}, target = {SITES} }}\njoin_timeout = \"1h\"\nreport_timeout = \"1h\"\n\
         [secagg]\nclip = {{ kind = \"element\", value = 1.0 }}\nbits = 16\n\
         weight = {{ by = \"uniform\", max = 1 }}\n[model]\ninitial = \"m\"\n"
    );
    let header = Part::Header(pb::CreateRunHeader {
        study: study.into_bytes(),
        request_id: "00000000-0000-0000-0000-000000000001".into(),
    });
    let bytes = 4 * elements;
    let tensors =
        format!(r#"{{"w":{{"dtype":"F32","shape":[{elements}],"data_offsets":[0,{bytes}]}}}}"#);
    let mut head = (tensors.len() as u64).to_le_bytes().to_vec();
    head.extend_from_slice(tensors.as_bytes());
    let (head_bytes, total_bytes) = (head.len() as u64, head.len() as u64 + bytes);
    let piece = move |offset: u64, data: Vec<u8>| {
        Part::Piece(pb::BlobChunk {
            offset,
            blake3: blake3::hash(&data).as_bytes().to_vec(),
            total_bytes,
            data: data.into(),
        })
    };
    let zeros = (0..bytes).step_by(PIECE_BYTES).map(move |at| {
        let left = usize::try_from(bytes - at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        piece(head_bytes + at, vec![0; left])
    });
    let parts = [header, piece(0, head)].into_iter().chain(zeros);
    let messages = parts.map(|part| pb::CreateRunRequest { part: Some(part) });
    let mut operator = RunServiceClient::new(keys.channel("boss", url));
    let created = operator.create_run(tokio_stream::iter(messages)).await;
    let run = created.expect("the study is good").into_inner().run;
    let id = run.expect("it is answered").run_id;
    let run = context.run(id.parse().expect("it is an id"));
    run.expect("it was just created")
}

/// One member of the cohort.
struct Site {
    calls: RoundServiceClient<Channel>,
    identity: Identity,
    binding: Binding,
    k: u8,
}

impl Site {
    fn new(keys: &Keys, url: &str, k: u8) -> Self {
        let identity = Identity::from_seed(&Seed::new([k; 32]));
        let claim = BindingClaim {
            organisation: "Bench".into(),
            site: site(k),
            not_before: 0,
            not_after: clock::now().0,
        };
        let message = binding_message(&claim.hash(&identity.public()));
        let message = message.as_slice().try_into().expect("it has this length");
        let key = std::fs::read(keys.path(&site(k)).join("tls.key")).expect("it was written");
        let (scheme, signature) = binding::sign(&key, message).expect("it is a key");
        let (credentials, _) = keys.credentials(&site(k));
        let chain = credentials.chain().iter().map(|link| link.to_vec());
        Self {
            calls: RoundServiceClient::new(keys.channel(&site(k), url)),
            binding: Binding {
                claim,
                scheme,
                signature,
                chain: chain.collect(),
            },
            identity,
            k,
        }
    }

    fn seed(&self, use_of_it: u8) -> Seed {
        let mut seed = [self.k; 32];
        seed[0] = use_of_it;
        Seed::new(seed)
    }
}

/// Takes a run up to the cohort of its first round; gives the first site's masks, its place, and which attempt it is.
async fn commit(run: &LiveRun<SqliteJournal>, sites: &mut [Site]) -> (Masking, Slot, Vec<u8>) {
    let run_id = run.spec().run_id().as_bytes().to_vec();
    until(run, |run| run.epoch().is_some()).await;
    let waiting = enrol(run, &run_id, sites).await;
    for site in &mut *sites {
        let poll = pb::PollRequest {
            run_id: run_id.clone(),
            cursor: Vec::new(),
            hold_ms: 0,
        };
        site.calls.poll(poll).await.expect("it is a member");
    }
    until(run, |run| run.round().is_some()).await;
    let round = run.round().expect("it was just seen");
    let attempt = Arc::clone(round.read().attempt());
    let mut members = Vec::new();
    for (site, waiting) in sites.iter_mut().zip(waiting) {
        let roster = attempt.roster();
        let id = site.identity.public().id();
        let index = roster.index_of(&id).expect("it has joined");
        let channels = waiting.accept(roster).expect("the roster is honest");
        let (_, RoundKeys { outbound, .. }) =
            channels.advance(&attempt, index).expect("it is the first");
        let member = Committed::new(Arc::clone(&attempt), index, &site.seed(1)).expect("a member");
        let commit = member.commit(&site.identity, &outbound).expect("honest");
        let request = pb::CommitRoundRequest {
            run_id: run_id.clone(),
            commit: Some(commit.into()),
        };
        site.calls.commit_round(request).await.expect("in time");
        members.push((index, member));
    }
    let closed = |run: &LiveRun<_>| {
        run.round()
            .is_some_and(|round| round.read().cohort().is_some())
    };
    until(run, closed).await;
    let cohort = round.read().cohort().cloned().expect("it was just seen");
    let commits = round.read().commits().clone();
    let (index, member) = members.swap_remove(0);
    let near = coordinator::neighbourhood(&attempt, &commits, index).expect("a member");
    let masking = member.accept(&cohort, &near).expect("the cohort is honest");
    let slot = Slot::of(run.spec().run_id(), &attempt, index);
    (masking, slot, attempt.hash().0.to_vec())
}

/// Up to the certified roster.
async fn enrol(
    run: &LiveRun<SqliteJournal>,
    run_id: &[u8],
    sites: &mut [Site],
) -> Vec<AwaitingRoster> {
    let mut all = Vec::new();
    for site in &mut *sites {
        let params = run.spec().params();
        let (waiting, advertisement) =
            AwaitingRoster::new(params, 1, &site.identity, &site.binding, &site.seed(0));
        let request = pb::JoinEpochRequest {
            run_id: run_id.to_vec(),
            advertisement: Some(advertisement.into()),
        };
        site.calls.join_epoch(request).await.expect("in time");
        all.push(waiting);
    }
    let closed = |run: &LiveRun<_>| {
        run.epoch()
            .is_some_and(|epoch| epoch.read().roster().is_some())
    };
    until(run, closed).await;
    let epoch = run.epoch().expect("it was just seen");
    let roster = epoch.read().roster().cloned().expect("it was just seen");
    for site in sites {
        let confirmation = roster.confirm(&site.identity).expect("a member");
        let request = pb::ConfirmRosterRequest {
            run_id: run_id.to_vec(),
            epoch: roster.epoch(),
            confirmation: Some(confirmation.into()),
        };
        site.calls.confirm_roster(request).await.expect("in time");
    }
    all
}

fn site(k: u8) -> String {
    format!("site-{k}")
}

/// Waits until the run is as wanted.
async fn until(run: &LiveRun<SqliteJournal>, wanted: impl Fn(&LiveRun<SqliteJournal>) -> bool) {
    let mut changes = run.changes();
    while !wanted(run) {
        changes.changed().await.expect("the run goes on");
    }
}
