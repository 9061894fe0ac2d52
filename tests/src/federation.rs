//! The federation: who is in it, how each is configured, and what an operator asks of it.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tonic::Status;
use tonic::transport::Channel;
use veilsum_common::ids::SiteName;
use veilsum_common::limits::PIECE_BYTES;
use veilsum_common::time::{Span, Timestamp};
use veilsum_coordinator::ca::{self, Authority};
use veilsum_daemon::identity::Role;
use veilsum_daemon::{clock, entropy, files, tls};
use veilsum_participant::{enrol, keystore, link};
use veilsum_proto::pb;
use veilsum_proto::pb::run_service_client::RunServiceClient;
use veilsum_secagg::keys::{Identity, MemberId, Seed};

use crate::process::Process;
use crate::proxy::Sent;

/// Longest wait for anything: far beyond what a loaded machine needs, far below what stops a test run.
const PATIENCE: Duration = Duration::from_secs(90);

/// A member's directory: keys, certificate, configuration.
pub struct Member {
    pub name: String,
    pub dir: PathBuf,
    pub id: MemberId,
}

pub struct Federation {
    pub root: tempfile::TempDir,
    pub authority: Authority,
    pub port: u16,
    pub coordinator: Option<Process>,
    pub members: Vec<Member>,
    pub participants: Vec<Option<Process>>,
}

impl Federation {
    /// An authority, a running coordinator, and `sites` that are configured but not started. `trainer` gives each site's command.
    pub fn new(
        sites: usize,
        min_cohort: u32,
        trainer: impl Fn(usize, &Path) -> Vec<String>,
    ) -> Self {
        let root = tempfile::tempdir().unwrap();
        let authority =
            Authority::init(&root.path().join("ca"), "example.org", "test", clock::now()).unwrap();
        let mut federation = Self {
            root,
            authority,
            port: free_port(),
            coordinator: None,
            members: Vec::new(),
            participants: Vec::new(),
        };
        federation.certify("main", Role::Coordinator);
        federation.certify("boss", Role::Operator);
        federation.start_coordinator();
        let names: Vec<String> = (0..sites).map(|site| format!("site-{site}")).collect();
        federation.members = names.iter().map(|name| federation.member(name)).collect();
        for site in 0..sites {
            let dir = federation.members[site].dir.clone();
            federation.configure(site, min_cohort, &trainer(site, &dir));
        }
        federation.participants = (0..sites).map(|_| None).collect();
        federation
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub fn ca(&self) -> PathBuf {
        self.dir("ca").join(ca::CERTIFICATE_FILE)
    }

    /// What `veilsum participant csr` and `veilsum ca issue` do, one after the other.
    pub fn certify(&self, name: &str, role: Role) -> PathBuf {
        let dir = self.dir(name);
        let csr = enrol::request(&dir, &name.parse::<SiteName>().unwrap()).unwrap();
        fs::write(dir.join("request.csr"), csr.as_str()).unwrap();
        self.reissue(&self.authority, name, role, clock::now());
        dir
    }

    /// A day's certificate of `authority` for a signing request, in `dir`.
    pub fn issue(&self, authority: &Authority, csr: &str, role: Role, dir: &Path) {
        self.issue_at(authority, csr, role, dir, clock::now());
    }

    /// Replaces a member's certificate by one that is valid for a day from `at` on.
    pub fn reissue(&self, authority: &Authority, name: &str, role: Role, at: Timestamp) {
        let dir = self.dir(name);
        let csr = fs::read_to_string(dir.join("request.csr")).unwrap();
        self.issue_at(authority, &csr, role, &dir, at);
    }

    fn issue_at(&self, authority: &Authority, csr: &str, role: Role, dir: &Path, at: Timestamp) {
        let hosts = match role {
            Role::Coordinator => vec!["127.0.0.1".to_owned()],
            Role::Participant | Role::Operator | Role::Auditor => Vec::new(),
        };
        let day = Span::from_secs(86_400);
        let issued = authority.issue(csr, role, &hosts, day, at).unwrap();
        files::write_atomic(&dir.join("tls.pem"), issued.pem.as_bytes()).unwrap();
    }

    fn member(&self, name: &str) -> Member {
        let dir = self.certify(name, Role::Participant);
        let seed = keystore::create_identity(&dir.join("identity.key"), entropy::fill).unwrap();
        let id = Identity::from_seed(&Seed::new(*seed)).public().id();
        let name = name.to_owned();
        Member { name, dir, id }
    }

    fn configure(&self, site: usize, min_cohort: u32, command: &[String]) {
        let member = &self.members[site];
        let ids: Vec<String> = self.ids().iter().map(ToString::to_string).collect();
        let mut text = String::new();
        let lines = [
            "schema = \"veilsum.site/v1\"".to_owned(),
            format!("coordinator = {:?}\nname = {:?}", self.url(), member.name),
            "organisation = \"Test\"\ndata_dir = \"data\"\napprove = { mode = \"all\" }".to_owned(),
            format!("[peers]\nids = {ids:?}"),
            format!("[tls]\nca = {:?}", self.ca()),
            "cert = \"tls.pem\"\nkey = \"tls.key\"".to_owned(),
            format!("[policy]\nmin_cohort = {min_cohort}"),
            format!("[trainer]\ncommand = {command:?}\ntimeout = \"1m\""),
            "[log]\nformat = \"json\"".to_owned(),
        ];
        lines
            .iter()
            .for_each(|line| writeln!(text, "{line}").unwrap());
        fs::write(member.dir.join("site.toml"), text).unwrap();
    }

    /// Changes a site's configuration; what is to be changed must be there.
    pub fn edit(&self, site: usize, from: &str, to: &str) {
        let path = self.members[site].dir.join("site.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "`{from}` is not in {text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Replaces the ids that a site pins.
    pub fn pin(&self, site: usize, ids: &[MemberId]) {
        let path = self.members[site].dir.join("site.toml");
        let text = fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.starts_with("ids = "));
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        self.edit(site, line.unwrap(), &format!("ids = {ids:?}"));
    }

    /// The ids of all members.
    pub fn ids(&self) -> Vec<MemberId> {
        self.members.iter().map(|member| member.id).collect()
    }

    pub fn start_coordinator(&mut self) {
        let dir = self.dir("main");
        let text = format!(
            "schema = \"veilsum.coordinator/v1\"\nlisten = \"127.0.0.1:{}\"\ndata_dir = \"data\"\n\
             [tls]\nca = {:?}\ncert = \"tls.pem\"\nkey = \"tls.key\"\n[log]\nformat = \"json\"\n",
            self.port,
            self.ca()
        );
        fs::write(dir.join("coordinator.toml"), text).unwrap();
        self.coordinator = Some(Process::start(
            "veilsum-coordinator",
            &dir,
            "coordinator.toml",
        ));
    }

    /// SIGKILL, and the same port and data again.
    pub fn restart_coordinator(&mut self) {
        drop(self.coordinator.take());
        self.start_coordinator();
    }

    pub fn start_site(&mut self, site: usize) {
        let dir = &self.members[site].dir;
        let child = Process::start("veilsum-participant", dir, "site.toml");
        self.participants[site] = Some(child);
    }

    pub fn start_all(&mut self) {
        (0..self.members.len()).for_each(|site| self.start_site(site));
    }

    /// SIGKILL.
    pub fn kill_site(&mut self, site: usize) {
        drop(self.participants[site].take());
    }

    /// A channel to the coordinator, with a member's certificate.
    pub fn channel(&self, name: &str) -> Channel {
        self.channel_to(name, &self.url())
    }

    /// A channel with a member's certificate.
    pub fn channel_to(&self, name: &str, url: &str) -> Channel {
        let dir = self.dir(name);
        let credentials =
            tls::Credentials::load(&dir.join("tls.pem"), &dir.join("tls.key")).unwrap();
        let trust = tls::Trust::load(&self.ca(), &[]).unwrap();
        link::connect(url, tls::client(&credentials, &trust).unwrap()).unwrap()
    }

    pub fn operator(&self) -> RunServiceClient<Channel> {
        RunServiceClient::new(self.channel("boss"))
    }

    /// Submits a study; asks again while the coordinator is still starting.
    ///
    /// # Errors
    /// What the coordinator says to it.
    pub async fn try_submit(
        &self,
        study: &str,
        model: &[u8],
        request: u32,
    ) -> Result<pb::Run, Status> {
        let header = pb::CreateRunHeader {
            study: study.as_bytes().to_vec(),
            request_id: format!("00000000-0000-4000-8000-{request:012}"),
        };
        let pieces = (0..)
            .step_by(PIECE_BYTES)
            .zip(model.chunks(PIECE_BYTES))
            .map(|(offset, data)| {
                pb::create_run_request::Part::Piece(pb::BlobChunk {
                    offset,
                    data: data.to_vec().into(),
                    blake3: blake3::hash(data).as_bytes().to_vec(),
                    total_bytes: u64::try_from(model.len()).unwrap(),
                })
            });
        let messages: Vec<_> = [pb::create_run_request::Part::Header(header)]
            .into_iter()
            .chain(pieces)
            .map(|part| pb::CreateRunRequest { part: Some(part) })
            .collect();
        let mut operator = self.operator();
        patiently("the coordinator does not answer", async {
            loop {
                let stream = tokio_stream::iter(messages.clone());
                match operator.create_run(stream).await {
                    Ok(answer) => return Ok(answer.into_inner().run.unwrap()),
                    Err(status) if link::is_passing(&status) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(status) => return Err(status),
                }
            }
        })
        .await
    }

    pub async fn submit(&self, study: &str, model: &[u8]) -> pb::Run {
        let created = self.try_submit(study, model, 1).await;
        created.unwrap_or_else(|status| panic!("{}", link::explain(&status)))
    }

    /// Waits until `done` holds of the run.
    pub async fn wait(&self, run: &str, done: impl Fn(&pb::Run) -> bool) -> pb::Run {
        let (mut version, mut operator) = (0, self.operator());
        let found = patiently("the run does not get there", async {
            loop {
                let request = pb::WaitRunRequest {
                    run_id: run.to_owned(),
                    version,
                    hold_ms: 10_000,
                    history_from: 0,
                };
                let Ok(answer) = operator.wait_run(request).await else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                };
                let run = answer.into_inner().run.unwrap();
                if done(&run) {
                    return run;
                }
                version = run.version;
            }
        });
        found.await
    }

    /// Waits for the end of the run, which must be a good one.
    pub async fn completed(&self, run: &str) -> pb::Run {
        let run = self.wait(run, over).await;
        let logs = (0..self.members.len()).map(|site| self.log(&format!("site-{site}")));
        assert_eq!(
            run.state(),
            pb::RunState::Completed,
            "{:?}\n{}",
            run.reason,
            logs.collect::<String>()
        );
        run
    }

    /// A model version: of a round, or the newest.
    pub async fn model(&self, run: &str, round: Option<u64>) -> Vec<u8> {
        let request = pb::FetchModelVersionRequest {
            run_id: run.to_owned(),
            round,
            offset: 0,
        };
        let answer = self.operator().fetch_model_version(request).await.unwrap();
        let (mut stream, mut model) = (answer.into_inner(), Vec::new());
        while let Some(piece) = stream.message().await.unwrap() {
            model.extend_from_slice(&piece.chunk.unwrap().data);
        }
        model
    }

    /// The key that the coordinator signs a run with: who has it can lie as the coordinator.
    pub fn coordinator_key(&self, run: &str) -> Identity {
        let path = self.dir("main").join(format!("data/keys/{run}.key"));
        Identity::from_seed(&Seed::restore(&fs::read(path).unwrap()).unwrap())
    }

    /// Says again, as `name` and twice each, what was said before: the last first. What is answered is the coordinator's business.
    pub async fn replay(&self, name: &str, sent: &[Arc<Sent>]) {
        for said in sent.iter().rev().filter(|said| said.call != "Poll") {
            for _ in 0..2 {
                let answer = said.again(self.channel(name));
                patiently("the coordinator does not answer", answer).await;
            }
        }
    }

    /// Everything a member's process has logged.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir(name).join("log.jsonl")).unwrap_or_default()
    }

    /// Waits until a member has logged all of `words` in one line.
    pub async fn logged(&self, name: &str, words: &[&str]) {
        patiently(&format!("{name} never says {words:?}"), async {
            loop {
                let log = self.log(name);
                if log
                    .lines()
                    .any(|line| words.iter().all(|word| line.contains(word)))
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

impl Drop for Federation {
    /// Keeps everything for a person to look at if the test failed.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.root.disable_cleanup(true);
            eprintln!("logs and data are kept in {}", self.root.path().display());
        }
    }
}

/// A port that nobody listens on now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits for something that must come.
pub async fn patiently<T>(otherwise: &str, awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, awaited)
        .await
        .unwrap_or_else(|_| panic!("{otherwise}, not within {PATIENCE:?}"))
}

/// A run that is over.
pub fn over(run: &pb::Run) -> bool {
    matches!(
        run.state(),
        pb::RunState::Completed | pb::RunState::Failed | pb::RunState::Cancelled
    )
}
