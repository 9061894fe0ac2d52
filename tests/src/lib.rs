//! A federation of real processes on loopback: an authority, a coordinator, sites with their own keys, certificates, pins and data.
//!
//! Nothing here ships. Everything lives in one temporary directory and every child ends with the [`Federation`].

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "a harness of tests says plainly that it expects success, and its names say what it does"
)]

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tonic::transport::Channel;
use veilsum_common::ids::SiteName;
use veilsum_common::time::Span;
use veilsum_coordinator::ca::{self, Authority};
use veilsum_daemon::identity::Role;
use veilsum_daemon::{clock, entropy, files, tls};
use veilsum_participant::{enrol, keystore, link};
use veilsum_proto::pb;
use veilsum_proto::pb::run_service_client::RunServiceClient;
use veilsum_secagg::keys::{Identity, MemberId, Seed};

/// Where cargo put the binaries: beside the directory of the test's own executable.
pub fn binary(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let path = exe.ancestors().nth(2).unwrap().join(name);
    assert!(
        path.exists(),
        "{} is missing; run `cargo build --bins` first",
        path.display()
    );
    path
}

/// A child that is killed when dropped.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

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
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut federation = Self {
            root,
            authority,
            port,
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

    /// What `veilsum participant csr` and `veilsum ca issue` do, one after the other.
    pub fn certify(&self, name: &str, role: Role) -> PathBuf {
        let (dir, site): (_, SiteName) = (self.dir(name), name.parse().unwrap());
        let csr = enrol::request(&dir, &site).unwrap();
        let hosts = if role == Role::Coordinator {
            vec!["127.0.0.1".to_owned()]
        } else {
            Vec::new()
        };
        let issued = self
            .authority
            .issue(
                csr.as_str(),
                role,
                &hosts,
                Span::from_secs(86_400),
                clock::now(),
            )
            .unwrap();
        files::write_atomic(&dir.join("tls.pem"), issued.pem.as_bytes()).unwrap();
        dir
    }

    fn member(&self, name: &str) -> Member {
        let dir = self.certify(name, Role::Participant);
        let seed = keystore::create_identity(&dir.join("identity.key"), entropy::fill).unwrap();
        let id = Identity::from_seed(&Seed::new(*seed)).public().id();
        Member {
            name: name.to_owned(),
            dir,
            id,
        }
    }

    pub fn configure(&self, site: usize, min_cohort: u32, command: &[String]) {
        let member = &self.members[site];
        let ids: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("\"{}\"", member.id))
            .collect();
        let command: Vec<String> = command.iter().map(|word| format!("{word:?}")).collect();
        let mut text = String::new();
        writeln!(
            text,
            "schema = \"veilsum.site/v1\"\ncoordinator = \"{}\"\nname = \"{}\"",
            self.url(),
            member.name
        )
        .unwrap();
        writeln!(
            text,
            "organisation = \"Test\"\ndata_dir = \"data\"\napprove = {{ mode = \"all\" }}"
        )
        .unwrap();
        writeln!(text, "[peers]\nids = [{}]", ids.join(", ")).unwrap();
        writeln!(
            text,
            "[tls]\nca = {:?}\ncert = \"tls.pem\"\nkey = \"tls.key\"",
            self.ca()
        )
        .unwrap();
        writeln!(
            text,
            "[policy]\nmin_cohort = {min_cohort}\n[trainer]\ncommand = [{}]\ntimeout = \"1m\"",
            command.join(", ")
        )
        .unwrap();
        writeln!(text, "[log]\nformat = \"json\"").unwrap();
        fs::write(member.dir.join("site.toml"), text).unwrap();
    }

    pub fn ca(&self) -> PathBuf {
        self.dir("ca").join(ca::CERTIFICATE_FILE)
    }

    pub fn start_coordinator(&mut self) {
        let dir = self.dir("main");
        let text = format!(
            "schema = \"veilsum.coordinator/v1\"\nlisten = \"127.0.0.1:{}\"\ndata_dir = \"data\"\n[tls]\nca = {:?}\ncert = \"tls.pem\"\nkey = \"tls.key\"\n[log]\nformat = \"json\"\n",
            self.port,
            self.ca()
        );
        fs::write(dir.join("coordinator.toml"), text).unwrap();
        self.coordinator = Some(start("veilsum-coordinator", &dir, "coordinator.toml"));
    }

    pub fn start_site(&mut self, site: usize) {
        let dir = self.members[site].dir.clone();
        self.participants[site] = Some(start("veilsum-participant", &dir, "site.toml"));
    }

    pub fn start_all(&mut self) {
        (0..self.members.len()).for_each(|site| self.start_site(site));
    }

    /// A channel with a member's certificate.
    pub fn channel(&self, name: &str) -> Channel {
        let dir = self.dir(name);
        let credentials =
            tls::Credentials::load(&dir.join("tls.pem"), &dir.join("tls.key")).unwrap();
        let trust = tls::Trust::load(&self.ca(), &[]).unwrap();
        link::connect(&self.url(), tls::client(&credentials, &trust).unwrap()).unwrap()
    }

    pub fn operator(&self) -> RunServiceClient<Channel> {
        RunServiceClient::new(self.channel("boss"))
    }

    /// Submits a study; asks again while the coordinator is still starting.
    pub async fn submit(&self, study: &str, model: &[u8]) -> pb::Run {
        let header = pb::CreateRunHeader {
            study: study.as_bytes().to_vec(),
            request_id: "00000000-0000-4000-8000-000000000001".to_owned(),
        };
        let piece = pb::BlobChunk {
            offset: 0,
            data: model.to_vec().into(),
            blake3: blake3::hash(model).as_bytes().to_vec(),
            total_bytes: model.len() as u64,
        };
        let messages = vec![
            pb::CreateRunRequest {
                part: Some(pb::create_run_request::Part::Header(header)),
            },
            pb::CreateRunRequest {
                part: Some(pb::create_run_request::Part::Piece(piece)),
            },
        ];
        loop {
            let stream = tokio_stream::iter(messages.clone());
            match self.operator().create_run(stream).await {
                Ok(answer) => return answer.into_inner().run.unwrap(),
                Err(status) if link::is_passing(&status) => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await
                }
                Err(status) => panic!("{}", link::explain(&status)),
            }
        }
    }

    /// Waits until `done` holds of the run.
    pub async fn wait(&self, run: &str, done: impl Fn(&pb::Run) -> bool) -> pb::Run {
        let (mut version, mut operator) = (0, self.operator());
        loop {
            let request = pb::WaitRunRequest {
                run_id: run.to_owned(),
                version,
                hold_ms: 10_000,
                history_from: 0,
            };
            let answer = operator.wait_run(request).await;
            let Ok(answer) = answer else { continue };
            let run = answer.into_inner().run.unwrap();
            if done(&run) {
                return run;
            }
            version = run.version;
        }
    }

    /// Everything a member's process has logged.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir(name).join("log.jsonl")).unwrap_or_default()
    }
}

fn start(name: &str, dir: &Path, config: &str) -> Process {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("log.jsonl"))
        .unwrap();
    let child = Command::new(binary(name))
        .args(["--config", config])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    Process(child)
}

/// A run that is over.
pub fn over(run: &pb::Run) -> bool {
    matches!(
        run.state(),
        pb::RunState::Completed | pb::RunState::Failed | pb::RunState::Cancelled
    )
}
