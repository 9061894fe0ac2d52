//! The command line as scripts see it: one object on standard output, and an exit code for each kind of end.

#![expect(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use veilsum_coordinator::ca::Authority;
use veilsum_coordinator::serve::{Limits, serve};
use veilsum_coordinator::store::sqlite::SqliteJournal;
use veilsum_coordinator::store::{Entry, Journal as _, StreamId};
use veilsum_daemon::identity::Role;
use veilsum_daemon::{clock, entropy, tls};
use veilsum_engine::rejection::Abort;
use veilsum_engine::round::{Loss, Outcome};
use veilsum_engine::run;
use veilsum_participant::enrol;
use veilsum_proto::convert::journal::Journalled as _;
use veilsum_proto::pb;
use veilsum_proto::pb::run_service_server::{RunService, RunServiceServer};
use veilsum_tests::{Federation, Study, binary, files};

/// `veilsum --json` in a directory, to its end.
#[derive(Debug)]
struct Ran {
    exit: i32,
    envelope: Value,
    stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            stdout.lines().count(),
            1,
            "exactly one object on standard output: {stdout}\n{stderr}"
        );
        let envelope: Value = serde_json::from_str(&stdout).unwrap();
        let exit = output.status.code().unwrap();
        assert_eq!(envelope["schema"], "veilsum.cli/v1");
        assert_eq!(envelope["ok"], exit == 0, "{envelope}");
        if exit != 0 {
            assert_eq!(envelope["error"]["exit"], exit);
            let said = |key: &str| {
                envelope["error"][key]
                    .as_str()
                    .is_some_and(|text| !text.is_empty())
            };
            assert!(said("message") && said("hint"), "{envelope}");
        }
        Self {
            exit,
            envelope,
            stderr,
        }
    }

    fn data(&self) -> &Value {
        assert_eq!(self.exit, 0, "{self:?}");
        &self.envelope["data"]
    }

    #[track_caller]
    fn refused(&self, exit: i32, code: &str) {
        assert_eq!(
            (self.exit, self.envelope["error"]["code"].as_str()),
            (exit, Some(code)),
            "{self:?}"
        );
    }
}

fn command(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(binary("veilsum"));
    command
        .args(line.split_whitespace())
        .current_dir(dir)
        .stdin(Stdio::null());
    command
}

fn veilsum(dir: &Path, line: &str) -> Ran {
    Ran::of(command(dir, line).arg("--json").output().unwrap())
}

/// A coordinator without sites: a run that is created stays pending until it is cancelled.
struct Lonely(Federation);

impl Lonely {
    fn new() -> Self {
        let lonely = Self(Federation::new(0, 5, |_, _| Vec::new()));
        fs::write(lonely.dir().join("study.toml"), Study::of(5, 3).to_toml()).unwrap();
        fs::write(
            lonely.dir().join("model.safetensors"),
            files::model(&[0.5; files::ELEMENTS]),
        )
        .unwrap();
        // The coordinator is up when it answers.
        assert!(
            (0..1000).any(|_| lonely.run("run list").exit == 0),
            "the coordinator does not answer"
        );
        lonely
    }

    fn dir(&self) -> &Path {
        self.0.root.path()
    }

    fn run(&self, line: &str) -> Ran {
        self.run_as("boss", line)
    }

    fn run_as(&self, name: &str, line: &str) -> Ran {
        veilsum(self.dir(), &format!("{line} {}", self.connection(name)))
    }

    fn connection(&self, name: &str) -> String {
        let (url, ca) = (self.0.url(), self.0.ca());
        format!(
            "--at {url} --ca {} --cert {name}/tls.pem --key {name}/tls.key",
            ca.display()
        )
    }

    fn create(&self) -> String {
        let created = self.run("run create -f study.toml");
        created.data()["run_id"].as_str().unwrap().to_owned()
    }
}

const UUID: &str = "0190163d-8694-439b-aea5-966c26f8ad91";
const NO_RUN: &str = "run_aaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn a_run_is_created_shown_listed_and_cancelled() {
    let lonely = Lonely::new();
    let created = lonely.run("run create -f study.toml");
    let run = created.data()["run_id"].as_str().unwrap();
    assert!(
        created.stderr.contains("veilsum run wait"),
        "the next command is named: {}",
        created.stderr
    );
    assert_eq!(
        created.data()["study_digest"].as_str().map(str::len),
        Some(64)
    );

    let shown = lonely.run(&format!("run show {run}"));
    assert_eq!(
        (
            shown.data()["state"].as_str(),
            shown.data()["rounds"].as_u64()
        ),
        (Some("pending"), Some(3))
    );
    assert_eq!(lonely.run("run list").data()["runs"][0]["run_id"], run);
    assert_eq!(
        lonely.run(&format!("run cancel {run}")).data()["state"],
        "cancelled"
    );
    assert_eq!(
        lonely.run(&format!("run wait {run} --for ended")).data()["state"],
        "cancelled"
    );
    lonely
        .run(&format!("run wait {run}"))
        .refused(1, "RUN_CANCELLED");

    let watch = format!("run watch {run} --jsonl {}", lonely.connection("boss"));
    let watched = command(lonely.dir(), &watch).output().unwrap();
    assert_eq!(watched.status.code(), Some(1));
    let last: Value = serde_json::from_slice(
        watched
            .stdout
            .split(|byte| *byte == b'\n')
            .rev()
            .nth(1)
            .unwrap(),
    )
    .unwrap();
    assert_eq!(
        (last["terminal"].as_bool(), last["state"].as_str()),
        (Some(true), Some("cancelled"))
    );
}

#[test]
fn a_submission_is_repeated_under_its_request_id_and_refused_with_another_body() {
    let lonely = Lonely::new();
    let create = format!("run create -f study.toml --request-id {UUID}");
    let first = lonely.run(&create);
    assert_eq!(lonely.run(&create).data()["run_id"], first.data()["run_id"]);
    lonely
        .run(&format!("{create} -c lr=0.5"))
        .refused(4, "REQUEST_ID_CONFLICT");
    assert_eq!(
        lonely.run("run list").data()["runs"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_wait_that_times_out_says_that_the_run_goes_on() {
    let lonely = Lonely::new();
    let waited = lonely.run(&format!("run wait {} --timeout 50ms", lonely.create()));
    waited.refused(3, "WAIT_TIMED_OUT");
    assert_eq!(waited.envelope["error"]["retryable"], true);
    assert_eq!(waited.envelope["error"]["details"]["state"], "pending");
}

#[test]
fn what_does_not_exist_is_not_found() {
    let lonely = Lonely::new();
    lonely
        .run(&format!("run show {NO_RUN}"))
        .refused(4, "RUN_NOT_FOUND");
    lonely
        .run(&format!("run wait {NO_RUN}"))
        .refused(4, "RUN_NOT_FOUND");
    lonely
        .run(&format!("run cancel {NO_RUN}"))
        .refused(4, "RUN_NOT_FOUND");
    lonely
        .run(&format!("model list {NO_RUN}"))
        .refused(4, "RUN_NOT_FOUND");
    let run = lonely.create();
    lonely
        .run(&format!("model get {run} --round 7 -o m"))
        .refused(4, "NOT_FOUND");
    lonely
        .run(&format!("model get {run} --round best:accuracy -o m"))
        .refused(4, "NOT_FOUND");
    assert!(!lonely.dir().join("m").exists());
}

#[test]
fn a_model_arrives_as_it_was_published() {
    let lonely = Lonely::new();
    let run = lonely.create();
    assert_eq!(
        lonely.run(&format!("model list {run}")).data()["models"][0]["round"],
        0
    );
    let got = lonely.run(&format!("model get {run} -o got.safetensors --verify"));
    assert_eq!(
        (
            got.data()["round"].as_u64(),
            got.data()["verified"].as_bool()
        ),
        (Some(0), Some(true))
    );
    let bytes = |name| fs::read(lonely.dir().join(name)).unwrap();
    assert_eq!(bytes("got.safetensors"), bytes("model.safetensors"));
}

#[test]
fn a_study_or_model_that_cannot_run_starts_nothing() {
    let lonely = Lonely::new();
    let submit = |text: String| {
        fs::write(lonely.dir().join("bad.toml"), text).unwrap();
        lonely.run("run create -f bad.toml")
    };
    let study = Study::of(5, 3).to_toml();
    submit(study.replace("count = 3", "counts = 3")).refused(4, "STUDY_INVALID");
    submit(study.replace("min = 5", "min = 2")).refused(4, "STUDY_INVALID");
    let long = submit(study.replace("report_timeout = \"1m\"", "report_timeout = \"6d\""));
    long.refused(4, "STUDY_INVALID");
    let said = long.envelope["error"]["message"].as_str().unwrap();
    assert!(
        said.contains("1m + 6d") && said.contains("at most 6d"),
        "{said}"
    );
    submit(study.replace("model.safetensors", "nowhere.safetensors")).refused(4, "FILE_INVALID");
    let mut values = [0.5; files::ELEMENTS];
    values[3] = f32::NAN;
    fs::write(
        lonely.dir().join("model.safetensors"),
        files::model(&values),
    )
    .unwrap();
    let refused = submit(study);
    refused.refused(4, "STUDY_INVALID");
    assert!(refused.stderr.contains("NaN"), "{}", refused.stderr);
    assert_eq!(
        lonely.run("run list").data()["runs"],
        Value::Array(Vec::new())
    );
}

#[test]
fn only_an_operator_of_this_federation_controls_runs() {
    let lonely = Lonely::new();
    lonely.0.certify("site", Role::Participant);
    let refused = lonely.run_as("site", "run list");
    refused.refused(6, "NOT_PERMITTED");
    assert!(
        refused.stderr.contains("--role operator"),
        "{}",
        refused.stderr
    );

    let foreign = Authority::init(
        &lonely.dir().join("foreign"),
        "example.org",
        "test",
        clock::now(),
    )
    .unwrap();
    let csr = enrol::request(&lonely.dir().join("stranger"), &"stranger".parse().unwrap()).unwrap();
    lonely.0.issue(
        &foreign,
        csr.as_str(),
        Role::Operator,
        &lonely.dir().join("stranger"),
    );
    let refused = lonely.run_as("stranger", "run list");
    refused.refused(6, "NOT_AUTHENTICATED");
    assert!(refused.stderr.contains("authority"), "{}", refused.stderr);
}

#[test]
fn a_coordinator_that_is_away_or_is_none_is_told_apart() {
    let mut lonely = Lonely::new();
    drop(lonely.0.coordinator.take());
    let away = lonely.run("run list");
    away.refused(5, "COORDINATOR_UNREACHABLE");
    assert_eq!(away.envelope["error"]["retryable"], true);
    let plain = lonely.connection("boss").replace("https://", "http://");
    veilsum(lonely.dir(), &format!("run list {plain}")).refused(4, "URL_INVALID");
    let no_key = lonely
        .connection("boss")
        .replace("boss/tls.key", "nowhere.key");
    veilsum(lonely.dir(), &format!("run list {no_key}")).refused(4, "FILE_INVALID");
}

#[test]
fn the_environment_takes_the_place_of_the_flags_and_of_the_ones_in_the_next_command() {
    let lonely = Lonely::new();
    let output = command(lonely.dir(), "run create -f study.toml --json")
        .envs([
            ("VEILSUM_AT", lonely.0.url()),
            ("VEILSUM_CERT", "boss/tls.pem".to_owned()),
        ])
        .envs([
            ("VEILSUM_CA", lonely.0.ca()),
            ("VEILSUM_KEY", PathBuf::from("boss/tls.key")),
        ])
        .output();
    let ran = Ran::of(output.unwrap());
    let run = ran.data()["run_id"].as_str().unwrap();
    assert!(
        ran.stderr
            .lines()
            .any(|line| line.ends_with(&format!("veilsum run wait {run}"))),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_command_line_that_is_not_understood_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for line in ["run create", "demo --sites many", "fly", "run wait run_1"] {
        veilsum(dir.path(), line).refused(2, "USAGE");
        let text = command(dir.path(), line).output().unwrap();
        assert_eq!(
            (text.status.code(), text.stdout.len()),
            (Some(2), 0),
            "{line}"
        );
    }
    let help = command(dir.path(), "--help").output().unwrap();
    assert!(help.status.success() && !help.stdout.is_empty());
}

#[test]
fn a_fault_file_that_convicts_exits_with_0_one_that_does_not_with_8_and_a_damaged_one_with_4() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/src/convert/fault/tests/files");
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(kept).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let check = |line: &str| veilsum(dir.path(), &format!("verify-fault {line}"));
    let holds = "fault-two-cohorts-0fd9c476a04f86f6.veilsum-fault";
    let proof = check(holds);
    assert_eq!(proof.data()["kind"], "two-cohorts");
    assert_eq!(proof.data()["culprit"]["role"], "coordinator");
    assert!(proof.stderr.contains("next  compare run hash"), "{proof:?}");
    let key = proof.data()["coordinator_key"].as_str().unwrap().to_owned();
    assert_eq!(check(&format!("{holds} --coordinator-key {key}")).exit, 0);
    let other = "0".repeat(64);
    check(&format!("{holds} --coordinator-key {other}")).refused(8, "FAULT_OTHER_PARTY");
    check("fault-wrong-share-de906d53e18f5e2e.veilsum-fault").refused(8, "FAULT_NOT_PROVED");
    let mut bytes = fs::read(dir.path().join(holds)).unwrap();
    bytes[300] ^= 1;
    fs::write(dir.path().join("damaged"), bytes).unwrap();
    check("damaged").refused(4, "FAULT_FILE_INVALID");
    check("absent").refused(4, "FILE_INVALID");
}

#[test]
fn keys_are_made_once_and_an_identity_outlives_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let run = |line: &str| veilsum(dir.path(), line);
    assert_eq!(
        run("ca init").data()["federation"],
        "spiffe://veilsum.internal/veilsum/main"
    );
    run("ca init").refused(4, "CERTIFICATE_NOT_ISSUED");

    let made = run("participant csr hospital-a --dir a");
    let id = made.data()["protocol_id"].as_str().unwrap();
    assert_eq!(run("participant id --dir a").data()["protocol_id"], id);
    run("participant csr hospital-a --dir a").refused(4, "CERTIFICATE_NOT_ISSUED");
    fs::remove_file(dir.path().join("a/tls.key")).unwrap();
    assert_eq!(
        run("participant csr hospital-a --dir a").data()["protocol_id"],
        id,
        "a new TLS key, the same member"
    );

    assert_eq!(
        run("ca issue a/hospital-a.csr").data()["role"],
        "participant"
    );
    assert!(dir.path().join("a/hospital-a.pem").exists());
    run("ca issue a/hospital-a.csr --role coordinator").refused(4, "CERTIFICATE_NOT_ISSUED");
    run("ca issue a/tls.key").refused(4, "CERTIFICATE_NOT_ISSUED");

    let other = run("participant csr hospital-b --dir b").data()["protocol_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let hash = |a: &str, b: &str| {
        run(&format!("participant roster-hash {a} {b}")).data()["roster_hash"].clone()
    };
    assert_eq!(
        hash(id, &other),
        hash(&other, id),
        "the order of the list does not matter"
    );
}

#[test]
fn a_daemon_that_cannot_start_says_whether_its_file_or_its_machine_is_at_fault() {
    let lonely = Lonely::new();
    let config = lonely.dir().join("main/coordinator.toml");
    let text = fs::read_to_string(&config).unwrap();
    let start = |name: &str, text: String| {
        fs::write(lonely.dir().join("main").join(name), text).unwrap();
        veilsum(lonely.dir(), &format!("coordinator --config main/{name}"))
    };
    let refused = start("typo.toml", text.replace("listen", "lisden"));
    refused.refused(4, "CONFIG_INVALID");
    assert!(
        refused.stderr.contains("did you mean"),
        "{}",
        refused.stderr
    );
    // The running one has the data directory, and the port.
    start("same.toml", text.clone()).refused(1, "DAEMON_FAILED");
    veilsum(lonely.dir(), "participant --config nowhere.toml").refused(4, "CONFIG_INVALID");
}

/// What a coordinator journals when its only attempt was lost, a day after the report deadline.
async fn lose(lonely: &Lonely, run: &str) {
    let loss = Loss {
        reason: Abort::ReleaseLost { have: 3, need: 4 },
        missing: vec!["north".parse().unwrap(), "south".parse().unwrap()],
        culprit: None,
    };
    let events = [
        run::Event::EpochEnded {
            epoch: 1,
            outcome: Ok(()),
        },
        run::Event::RoundEnded {
            round: 1,
            seq: 1,
            outcome: Outcome::Spent(loss),
        },
    ];
    let entries = events.map(|event| Entry {
        at: clock::now(),
        kind: event.kind().to_owned(),
        sender: None,
        payload: event.encode(),
    });
    let data = lonely.dir().join("main/data");
    let journal = SqliteJournal::open_in(&data, entropy::fill).unwrap();
    let stream = StreamId::run(run.parse().unwrap());
    journal.append(stream, 1, &entries).await.unwrap();
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_run_names_who_is_missing_waits_for_nobody_and_is_resumed_once_by_a_request() {
    let mut lonely = Lonely::new();
    let run = lonely.create();
    lonely
        .run(&format!("run resume {run}"))
        .refused(4, "OUT_OF_PHASE");
    drop(lonely.0.coordinator.take());
    lose(&lonely, &run).await;
    lonely.0.start_coordinator();
    assert!((0..1000).any(|_| lonely.run("run list").exit == 0));

    let shown = lonely.run(&format!("run show {run}"));
    let data = shown.data();
    assert_eq!(data["state"], "paused");
    assert_eq!(data["reason"]["code"], "ROUND_RELEASE_LOST");
    assert_eq!(data["lost"]["missing"], json!(["north", "south"]));
    assert_eq!(data["lost"]["round"], 1);
    assert!(shown.stderr.contains("veilsum run resume"), "{shown:?}");
    let listed = lonely.run("run list");
    assert_eq!(listed.data()["runs"][0]["lost"], data["lost"]);
    let waited = lonely.run(&format!("run wait {run} --for ended"));
    waited.refused(7, "ROUND_RELEASE_LOST");
    assert_eq!(waited.envelope["error"]["details"]["state"], "paused");

    let resume = format!("run resume {run} --request-id {UUID}");
    for _ in 0..2 {
        let resumed = lonely.run(&resume);
        assert_eq!(resumed.data()["lost"], Value::Null);
        assert_ne!(resumed.data()["state"], "paused");
    }
    lonely
        .run(&format!("run resume {run}"))
        .refused(4, "OUT_OF_PHASE");
    lonely.0.restart_coordinator();
    assert!((0..1000).any(|_| lonely.run("run list").exit == 0));
    let resumed = lonely.run(&resume);
    assert_ne!(resumed.data()["state"], "paused", "also after a restart");
    let cancelled = lonely.run(&format!("run cancel {run}"));
    assert_eq!(cancelled.data()["state"], "cancelled");
}

/// A coordinator that publishes one model and hands out another.
struct Liar;

fn published() -> pb::ModelVersion {
    let digest = veilsum_common::BlobRef::of(b"what was published").digest;
    pb::ModelVersion {
        round: 1,
        digest: digest.0.to_vec(),
        len_bytes: 18,
        ..pb::ModelVersion::default()
    }
}

#[tonic::async_trait]
impl RunService for Liar {
    type FetchModelVersionStream =
        Pin<Box<dyn Stream<Item = Result<pb::FetchModelVersionResponse, Status>> + Send>>;

    async fn create_run(
        &self,
        _: Request<Streaming<pb::CreateRunRequest>>,
    ) -> Result<Response<pb::CreateRunResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
    async fn get_run(
        &self,
        _: Request<pb::GetRunRequest>,
    ) -> Result<Response<pb::GetRunResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
    async fn list_runs(
        &self,
        _: Request<pb::ListRunsRequest>,
    ) -> Result<Response<pb::ListRunsResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
    async fn wait_run(
        &self,
        _: Request<pb::WaitRunRequest>,
    ) -> Result<Response<pb::WaitRunResponse>, Status> {
        let reason = pb::Reason {
            code: "ROUND_QUORUM_LOST".into(),
            text: "3 uploads arrived in time, 4 are needed".into(),
        };
        let run = pb::Run {
            state: pb::RunState::Failed.into(),
            reason: Some(Box::new(reason)),
            version: 1,
            ..pb::Run::default()
        };
        Ok(Response::new(pb::WaitRunResponse { run: Some(run) }))
    }
    async fn cancel_run(
        &self,
        _: Request<pb::CancelRunRequest>,
    ) -> Result<Response<pb::CancelRunResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
    async fn resume_run(
        &self,
        _: Request<pb::ResumeRunRequest>,
    ) -> Result<Response<pb::ResumeRunResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
    async fn list_models(
        &self,
        _: Request<pb::ListModelsRequest>,
    ) -> Result<Response<pb::ListModelsResponse>, Status> {
        Ok(Response::new(pb::ListModelsResponse {
            models: vec![published()],
            next_page_token: String::new(),
        }))
    }
    async fn fetch_model_version(
        &self,
        _: Request<pb::FetchModelVersionRequest>,
    ) -> Result<Response<Self::FetchModelVersionStream>, Status> {
        let data = b"what it hands out.".as_slice();
        let blake3 = blake3::hash(data).as_bytes().to_vec();
        let chunk = pb::BlobChunk {
            offset: 0,
            data: data.into(),
            blake3,
            total_bytes: 18,
        };
        let piece = Ok(pb::FetchModelVersionResponse { chunk: Some(chunk) });
        Ok(Response::new(Box::pin(tokio_stream::once(piece))))
    }
}

/// Runs a command against [`Liar`], which has the certificate of a real coordinator.
async fn against_the_liar(line: &str) -> Ran {
    let federation = Federation::new(0, 5, |_, _| Vec::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let main = federation.dir("main");
    let credentials = tls::Credentials::load(&main.join("tls.pem"), &main.join("tls.key")).unwrap();
    let trust = tls::Trust::load(&federation.ca(), &[]).unwrap();
    let (_reload, tls) = watch::channel(tls::server(&credentials, &trust).unwrap());
    let routes = Routes::new(RunServiceServer::new(Liar)).prepare();
    tokio::spawn(serve(
        listener,
        tls,
        routes,
        Limits::default(),
        std::future::pending(),
    ));
    let ca = federation.ca();
    let line = format!(
        "{line} --at {url} --ca {} --cert boss/tls.pem --key boss/tls.key",
        ca.display()
    );
    let dir = federation.root.path().to_owned();
    let ran = tokio::task::spawn_blocking(move || veilsum(&dir, &line))
        .await
        .unwrap();
    assert!(
        !federation.root.path().join("m").exists(),
        "nothing unverified is written"
    );
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_the_published_one_is_an_alarm() {
    let ran = against_the_liar(&format!("model get {NO_RUN} -o m")).await;
    ran.refused(8, "DIGEST_MISMATCH");
    assert_eq!(ran.envelope["error"]["retryable"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_lost_its_quorum_is_worth_another_try() {
    let ran = against_the_liar(&format!("run wait {NO_RUN}")).await;
    ran.refused(7, "ROUND_QUORUM_LOST");
    assert_eq!(ran.envelope["error"]["retryable"], true);
    assert!(
        ran.stderr.contains("3 uploads arrived in time"),
        "{}",
        ran.stderr
    );
}

#[test]
fn every_error_is_explained_by_its_word() {
    let dir = tempfile::tempdir().unwrap();
    let one = veilsum(dir.path(), "explain round_quorum_lost");
    let data = one.data();
    assert_eq!(
        (&data["code"], &data["exit"]),
        (&"ROUND_QUORUM_LOST".into(), &7.into())
    );
    assert!(data["cause"].is_string() && data["remedy"].is_string());
    let all = veilsum(dir.path(), "explain");
    assert!(all.data()["errors"].as_array().unwrap().len() > 50);
    veilsum(dir.path(), "explain NO_SUCH_WORD").refused(4, "NOT_FOUND");
}
