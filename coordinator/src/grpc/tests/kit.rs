//! A coordinator in this process, and sites that call it as gRPC clients do, without a network.
//!
//! Requests pass the same services as over TLS; only the certificate of the connection is put beside them by hand. Sites are made of the
//! plain functions of `secagg`, so that each can be told to send whatever a test wants it to send.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Request, Response};
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;
use veilsum_common::parts::part_digest;
use veilsum_daemon::identity::{Federation, Role};
use veilsum_daemon::shutdown::Shutdown;
use veilsum_daemon::{binding, clock};
use veilsum_proto::pb;
use veilsum_proto::pb::round_service_client::RoundServiceClient;
use veilsum_proto::pb::run_service_client::RunServiceClient;
use veilsum_proto::pb::submit_masked_request::Part;
use veilsum_proto::pb::submit_masked_response::Answer;
use veilsum_secagg::channel::RoundKeys;
use veilsum_secagg::context::Attempt;
use veilsum_secagg::keys::{BindingClaim, Identity, Seed, binding_message};
use veilsum_secagg::message::UploadTrailer;
use veilsum_secagg::participant::{AwaitingRoster, Binding, Committed, Masking};
use veilsum_secagg::{Digest, coordinator};

use crate::grpc::{self, Context, Edge};
use crate::live::{LiveRun, Shared};
use crate::serve::PeerCertificate;
use crate::store::blobs::Blobs;
use crate::store::memory::MemoryJournal;
use crate::store::staging::Staging;

/// A coordinator's services, as one connection of a caller sees them.
pub type Door = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A coordinator without a network.
pub struct World {
    pub context: Arc<Context<MemoryJournal>>,
    pub dir: TempDir,
    edge: Edge,
    operator: Credential,
    sites: Vec<Credential>,
}

/// A certificate, and the key it is for.
pub struct Credential {
    pub name: String,
    leaf: CertificateDer<'static>,
    key_pem: String,
}

/// A round in which everybody has committed.
pub struct Open {
    pub run: Arc<LiveRun<MemoryJournal>>,
    pub attempt: Arc<Attempt>,
    pub members: Vec<Member>,
}

/// A member of the cohort, about to upload.
pub struct Member {
    pub index: u32,
    pub calls: RoundServiceClient<Door>,
    pub ann_hash: Digest,
    pub run_id: Vec<u8>,
    identity: Identity,
    masking: Masking,
}

/// Calls of one site at once: fewer than are ever made here, but for one test.
pub const CALLS_PER_PEER: usize = 40;
/// Elements of the model.
const ELEMENTS: usize = 1000;

impl World {
    /// With `sites` sites, which have done nothing yet.
    pub fn new(sites: usize) -> Self {
        Self::with(sites, |context| context)
    }

    /// The same, with something changed about the coordinator.
    pub fn with(
        sites: usize,
        change: impl FnOnce(Context<MemoryJournal>) -> Context<MemoryJournal>,
    ) -> Self {
        let dir = TempDir::new().unwrap();
        let federation = Federation::new("example.org", "clinics").unwrap();
        let keys_dir = dir.path().join("keys");
        std::fs::create_dir(&keys_dir).unwrap();
        let shared = Arc::new(Shared {
            journal: MemoryJournal::new(),
            blobs: Blobs::new(&dir.path().join("blobs")).unwrap(),
            uploads: Staging::new(&dir.path().join("uploads"), Seed::new([3; 32])).unwrap(),
            data_dir: dir.path().to_owned(),
            runs_dir: dir.path().join("runs"),
            fatal: mpsc::channel(1).0,
        });
        let context = Context::new(shared, federation.clone(), Shutdown::new(), keys_dir);
        let issue = |role, name: String| Credential::issue(&federation, role, name);
        let context = Arc::new(change(context));
        let routes = grpc::services(&context, Routes::default());
        Self {
            context,
            edge: Edge::new(routes, CALLS_PER_PEER),
            dir,
            operator: issue(Role::Operator, "op".to_owned()),
            sites: (0..sites)
                .map(|k| issue(Role::Participant, format!("site-{k}")))
                .collect(),
        }
    }

    /// Another process on the same store.
    pub async fn restarted(self) -> Self {
        let before = &self.context;
        let shared = Arc::new(Shared {
            journal: before.shared.journal.clone(),
            blobs: before.shared.blobs.clone(),
            uploads: before.shared.uploads.clone(),
            data_dir: before.shared.data_dir.clone(),
            runs_dir: before.shared.runs_dir.clone(),
            fatal: mpsc::channel(1).0,
        });
        let (federation, keys_dir) = (before.federation.clone(), before.keys_dir.clone());
        let context = Arc::new(Context::new(shared, federation, Shutdown::new(), keys_dir));
        crate::server::revive(&context).await.unwrap();
        let routes = grpc::services(&context, Routes::default());
        Self {
            edge: Edge::new(routes, CALLS_PER_PEER),
            context,
            ..self
        }
    }

    /// The services, called with this certificate.
    pub fn door(&self, credential: &Credential) -> Door {
        self.door_of(PeerCertificate::new(credential.leaf.clone()))
    }

    /// The services on the connection that this certificate belongs to.
    pub fn door_of(&self, certificate: PeerCertificate) -> Door {
        let service = self.edge.clone();
        BoxCloneSyncService::new(service.map_request(move |mut request: Request<Body>| {
            request.extensions_mut().insert(certificate.clone());
            request
        }))
    }

    /// What site `k` has shown on a connection, but for the year its certificate was good until.
    pub fn shown(&self, k: usize, good_until_year: i32) -> PeerCertificate {
        let name = self.sites[k].name.parse().unwrap();
        let uri = self.context.federation.uri(Role::Participant, &name);
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.not_after = rcgen::date_time_ymd(good_until_year, 1, 1);
        let leaf = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        PeerCertificate::new(leaf.der().clone())
    }

    /// The services, as site `k` sees them.
    pub fn site_door(&self, k: usize) -> Door {
        self.door(&self.sites[k])
    }

    /// An operator's calls.
    pub fn runs(&self) -> RunServiceClient<Door> {
        RunServiceClient::new(self.door(&self.operator))
    }

    /// Calls of site `k`.
    pub fn rounds(&self, k: usize) -> RoundServiceClient<Door> {
        RoundServiceClient::new(self.site_door(k))
    }

    /// Submits a study for all sites.
    pub async fn submit(&self, request_id: u8) -> Arc<LiveRun<MemoryJournal>> {
        let study = study(self.sites.len());
        let created = self.runs().create_run(submission(&study, request_id)).await;
        let run = created.unwrap().into_inner().run.unwrap();
        self.context.run(run.run_id.parse().unwrap()).unwrap()
    }

    /// Everything up to the cohort of the first round.
    pub async fn commit(&self, run: &Arc<LiveRun<MemoryJournal>>) -> Open {
        let run_id = run.spec().run_id().as_bytes().to_vec();
        let waiting = self.joined(run).await;
        // All are online before the first round can open: all are its holders.
        for k in 0..self.sites.len() {
            self.rounds(k).poll(poll(&run_id)).await.unwrap();
        }
        self.confirm(run).await;
        let roster = Arc::clone(run.epoch().unwrap().read().roster().unwrap());
        until(run, |run| run.round().is_some()).await;
        let round = run.round().unwrap();
        let attempt = Arc::clone(round.read().attempt());
        let mut committed = Vec::new();
        for (k, waiting) in waiting.into_iter().enumerate() {
            let me = roster.index_of(&identity(k).public().id()).unwrap();
            let channels = waiting.accept(&roster).unwrap();
            let (_, RoundKeys { outbound, .. }) = channels.advance(&attempt, me).unwrap();
            let member = Committed::new(Arc::clone(&attempt), me, &seed("attempt", k)).unwrap();
            let request = pb::CommitRoundRequest {
                run_id: run_id.clone(),
                commit: Some(member.commit(&identity(k), &outbound).unwrap().into()),
            };
            self.rounds(k).commit_round(request).await.unwrap();
            committed.push((me, member));
        }
        until(run, |run| {
            run.round()
                .is_some_and(|round| round.read().cohort().is_some())
        })
        .await;
        let cohort = round.read().cohort().cloned().unwrap();
        let commits = round.read().commits().clone();
        let member = |(k, (index, member)): (usize, (u32, Committed))| {
            let near = coordinator::neighbourhood(&attempt, &commits, index).unwrap();
            Member {
                index,
                calls: self.rounds(k),
                ann_hash: attempt.hash(),
                run_id: run_id.clone(),
                identity: identity(k),
                masking: member.accept(&cohort, &near).unwrap(),
            }
        };
        let members = committed.into_iter().enumerate().map(member).collect();
        Open {
            run: Arc::clone(run),
            attempt: Arc::clone(&attempt),
            members,
        }
    }

    /// Everything up to the certified roster; no site has polled, so that none counts as online.
    pub async fn enrol(&self, run: &LiveRun<MemoryJournal>) -> Vec<AwaitingRoster> {
        let waiting = self.joined(run).await;
        self.confirm(run).await;
        waiting
    }

    /// Everybody has joined, and there is a roster to confirm.
    async fn joined(&self, run: &LiveRun<MemoryJournal>) -> Vec<AwaitingRoster> {
        let mut waiting = Vec::new();
        for k in 0..self.sites.len() {
            waiting.push(self.join(run, k).await);
        }
        until(run, |run| {
            run.epoch()
                .is_some_and(|epoch| epoch.read().roster().is_some())
        })
        .await;
        waiting
    }

    async fn confirm(&self, run: &LiveRun<MemoryJournal>) {
        let run_id = run.spec().run_id().as_bytes().to_vec();
        let epoch = run.epoch().unwrap();
        let roster = Arc::clone(epoch.read().roster().unwrap());
        for k in 0..self.sites.len() {
            let request = pb::ConfirmRosterRequest {
                run_id: run_id.clone(),
                epoch: roster.epoch(),
                confirmation: Some(roster.confirm(&identity(k)).unwrap().into()),
            };
            self.rounds(k).confirm_roster(request).await.unwrap();
        }
    }

    async fn join(&self, run: &LiveRun<MemoryJournal>, k: usize) -> AwaitingRoster {
        let params = run.spec().params();
        let (who, credential) = (identity(k), &self.sites[k]);
        let binding = credential.bind(&who);
        until(run, |run| run.epoch().is_some()).await;
        let (waiting, advertisement) =
            AwaitingRoster::new(params, 1, &who, &binding, &seed("epoch", k));
        let request = pb::JoinEpochRequest {
            run_id: run.spec().run_id().as_bytes().to_vec(),
            advertisement: Some(advertisement.into()),
        };
        self.rounds(k).join_epoch(request).await.unwrap();
        waiting
    }

    /// Bytes of all uploads, those included that are being taken in.
    pub fn staged_bytes(&self) -> u64 {
        bytes_below(&self.dir.path().join("uploads"))
    }

    /// How many uploads have a file.
    pub fn staged_files(&self) -> usize {
        files_below(&self.dir.path().join("uploads"))
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        bytes_below(self.dir.path())
    }
}

impl Credential {
    fn issue(federation: &Federation, role: Role, name: String) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        let uri = federation.uri(role, &name.parse().unwrap());
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        let leaf = params.self_signed(&key).unwrap();
        Self {
            name,
            leaf: leaf.der().clone(),
            key_pem: key.serialize_pem(),
        }
    }

    fn bind(&self, who: &Identity) -> Binding {
        let claim = BindingClaim {
            organisation: "Clinic".to_owned(),
            site: self.name.clone(),
            not_before: 0,
            not_after: clock::now().0,
        };
        let message = binding_message(&claim.hash(&who.public()));
        let message = message.as_slice().try_into().unwrap();
        let (scheme, signature) = binding::sign(self.key_pem.as_bytes(), message).unwrap();
        Binding {
            claim,
            scheme,
            signature,
            chain: vec![self.leaf.to_vec()],
        }
    }
}

/// What a member sends: the parts, for a test to leave out, repeat or alter.
pub struct Sent {
    pub header: pb::UploadHeader,
    pub pieces: Vec<pb::UploadPiece>,
    pub trailer: pb::UploadTrailer,
}

impl Member {
    /// An upload of the same value in every element.
    pub fn upload(&self, open: &Open, value: i64) -> Sent {
        let params = open.attempt.params();
        let lanes = vec![value; usize::try_from(params.config().elements).unwrap()];
        let packed = self.masking.chunk(0, &lanes);
        let metadata = vec![1; params.config().meta_lanes as usize];
        let hashes = [Digest::of_bulk(&packed)];
        let (trailer, _) = self.masking.trailer(&self.identity, &hashes, &metadata);
        Sent {
            header: self.header(),
            pieces: cut(&packed, 512),
            trailer: trailer.into(),
        }
    }

    /// An upload of noise under a trailer of other bytes.
    pub fn noise(&self, open: &Open, fill: u8) -> Sent {
        let mut sent = self.upload(open, 0);
        let bytes: usize = sent.pieces.iter().map(|piece| piece.data.len()).sum();
        sent.pieces = cut(&vec![fill; bytes], 512);
        sent
    }

    pub fn header(&self) -> pb::UploadHeader {
        pb::UploadHeader {
            run_id: self.run_id.clone(),
            ann_hash: self.ann_hash.0.to_vec(),
            ..self.masking.header().into()
        }
    }

    /// A trailer that this member signs, for these packed bytes.
    pub fn sign(&self, packed: &[u8], metadata: &[u64]) -> UploadTrailer {
        let hashes = [Digest::of_bulk(packed)];
        self.masking.trailer(&self.identity, &hashes, metadata).0
    }

    /// Sends a whole upload.
    pub async fn send(&self, sent: &Sent) -> Result<pb::UploadReceipt, tonic::Status> {
        self.send_parts(sent.parts()).await
    }

    /// Sends an upload of which the coordinator has all parts: header and trailer.
    pub async fn send_known(&self, sent: &Sent) -> Result<pb::UploadReceipt, tonic::Status> {
        let header = Part::Header(sent.header.clone());
        let trailer = Part::Trailer(sent.trailer.clone());
        self.send_parts(vec![Some(header), Some(trailer)]).await
    }

    /// Sends these messages and then the end of the stream.
    pub async fn send_parts(
        &self,
        parts: Vec<Option<Part>>,
    ) -> Result<pb::UploadReceipt, tonic::Status> {
        let messages = parts
            .into_iter()
            .map(|part| pb::SubmitMaskedRequest { part });
        let stream = tokio_stream::iter(messages.collect::<Vec<_>>());
        let answers = self.calls.clone().submit_masked(stream).await?;
        receipt(answers.into_inner()).await
    }

    /// Begins an upload that goes on as long as the test sends parts.
    pub fn begin(&self) -> Sending {
        let (parts, messages) = mpsc::channel(1);
        let mut calls = self.calls.clone();
        let (told, answers) = mpsc::unbounded_channel();
        let call = async move {
            let answers = calls.submit_masked(ReceiverStream::new(messages)).await?;
            let mut answers = answers.into_inner();
            while let Some(message) = answers.message().await? {
                drop(told.send(message.answer.unwrap()));
            }
            Ok(())
        };
        Sending {
            parts,
            answers,
            call: tokio::spawn(call),
        }
    }
}

/// The receipt that ends an upload.
async fn receipt(
    mut answers: tonic::Streaming<pb::SubmitMaskedResponse>,
) -> Result<pb::UploadReceipt, tonic::Status> {
    loop {
        match answers.message().await?.unwrap().answer.unwrap() {
            Answer::Receipt(receipt) => return Ok(receipt),
            Answer::Status(_) | Answer::Kept(_) => {}
        }
    }
}

/// An upload under way.
pub struct Sending {
    parts: mpsc::Sender<pb::SubmitMaskedRequest>,
    answers: mpsc::UnboundedReceiver<Answer>,
    call: tokio::task::JoinHandle<Result<(), tonic::Status>>,
}

impl Sending {
    /// Sends a part and returns once the coordinator has taken the one before.
    pub async fn send(&self, part: Part) {
        let message = pb::SubmitMaskedRequest { part: Some(part) };
        self.parts.send(message).await.unwrap();
    }

    /// The next answer.
    pub async fn told(&mut self) -> Answer {
        self.answers.recv().await.unwrap()
    }

    /// Cuts it off, as a connection that breaks does.
    pub async fn hang_up(self) {
        self.call.abort();
        self.call.await.unwrap_err();
    }

    /// How the coordinator ends it.
    pub async fn refused(self) -> tonic::Status {
        self.call.await.unwrap().unwrap_err()
    }
}

impl Sent {
    pub fn parts(&self) -> Vec<Option<Part>> {
        let pieces = self.pieces.iter().cloned().map(Part::Piece);
        std::iter::once(Part::Header(self.header.clone()))
            .chain(pieces)
            .chain([Part::Trailer(self.trailer.clone())])
            .map(Some)
            .collect()
    }
}

/// Pieces of `len` bytes, as they are sent: of an upload of one part with one chunk.
pub fn cut(bytes: &[u8], len: usize) -> Vec<pb::UploadPiece> {
    let piece = |(k, data): (usize, &[u8])| pb::UploadPiece {
        part: 0,
        offset: (k * len) as u64,
        data: data.to_vec().into(),
        digest: Vec::new(),
    };
    let mut pieces: Vec<_> = bytes.chunks(len).enumerate().map(piece).collect();
    let digest = part_digest(&[Digest::of_bulk(bytes)]);
    pieces.last_mut().unwrap().digest = digest.0.to_vec();
    pieces
}

/// The reason word of a refusal.
pub fn reason(status: &tonic::Status) -> String {
    use tonic_types::StatusExt as _;
    let info = status.get_details_error_info();
    info.map_or_else(|| format!("none: {status}"), |info| info.reason)
}

/// Waits until the run is as wanted.
pub async fn until<J: crate::store::Journal>(
    run: &LiveRun<J>,
    wanted: impl Fn(&LiveRun<J>) -> bool,
) {
    let mut changes = run.changes();
    let waiting = async {
        while !wanted(run) {
            changes.changed().await.unwrap();
        }
    };
    let limit = Duration::from_secs(20);
    let waited = tokio::time::timeout(limit, waiting).await;
    waited.expect("this takes milliseconds");
}

pub fn poll(run_id: &[u8]) -> pb::PollRequest {
    pb::PollRequest {
        run_id: run_id.to_vec(),
        cursor: Vec::new(),
        hold_ms: 0,
    }
}

/// A model of zeros.
pub fn model() -> Vec<u8> {
    let bytes = 4 * ELEMENTS;
    let header =
        format!(r#"{{"w":{{"dtype":"F32","shape":[{ELEMENTS}],"data_offsets":[0,{bytes}]}}}}"#);
    let mut model = (header.len() as u64).to_le_bytes().to_vec();
    model.extend_from_slice(header.as_bytes());
    model.resize(model.len() + bytes, 0);
    model
}

pub fn study(sites: usize) -> String {
    format!(
        "schema = \"veilsum.study/v1\"\nname = \"test\"\n[rounds]\ncount = 2\n\
         cohort = {{ min = {sites}, target = {sites} }}\njoin_timeout = \"10m\"\nreport_timeout = \"10m\"\n\
         [secagg]\nclip = {{ kind = \"element\", value = 1.0 }}\nbits = 16\n\
         weight = {{ by = \"uniform\", max = 1 }}\n[model]\ninitial = \"m\"\n"
    )
}

/// A study and the model as they are submitted.
pub fn submission(
    study: &str,
    request_id: u8,
) -> impl tokio_stream::Stream<Item = pb::CreateRunRequest> + Send + 'static {
    use pb::create_run_request::Part;
    let header = Part::Header(pb::CreateRunHeader {
        study: study.as_bytes().to_vec(),
        request_id: format!("00000000-0000-0000-0000-0000000000{request_id:02x}"),
    });
    let model = model();
    let piece = Part::Piece(pb::BlobChunk {
        offset: 0,
        blake3: blake3::hash(&model).as_bytes().to_vec(),
        total_bytes: model.len() as u64,
        data: model.into(),
    });
    tokio_stream::iter([header, piece].map(|part| pb::CreateRunRequest { part: Some(part) }))
}

pub fn identity(k: usize) -> Identity {
    Identity::from_seed(&seed("identity", k))
}

/// Test entropy: as good as its name is new.
pub fn seed(what: &str, number: usize) -> Seed {
    Seed::new(Digest::of_bulk(format!("{what}/{number}").as_bytes()).0)
}

fn files_below(path: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(path) else {
        return usize::from(path.exists());
    };
    entries
        .map(|entry| files_below(&entry.unwrap().path()))
        .sum()
}

fn bytes_below(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::metadata(path).map_or(0, |found| found.len());
    };
    entries
        .map(|entry| bytes_below(&entry.unwrap().path()))
        .sum()
}
