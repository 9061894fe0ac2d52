//! Attacks of the protocol, section 23, that need a real wire: a coordinator that lies to one site over mutual TLS, with its own signing
//! key wherever a lie needs one, and calls that come again.

#![expect(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use std::path::Path;
use std::process::Command;

use veilsum_proto::convert::{OverRoster as _, Signed};
use veilsum_proto::pb;
use veilsum_proto::pb::notice::Notice;
use veilsum_secagg::keys::VerifyKey;
use veilsum_secagg::message::{Announcement, Cohort};
use veilsum_secagg::{Bitmap, Digest};
use veilsum_tests::{Federation, Proxy, Study, binary, files, over};

const SITES: u32 = 5;

/// Five sites; what the coordinator tells the first one passes a liar.
async fn attacked() -> (Federation, Proxy) {
    let federation = Federation::new(SITES as usize, 3, |site, dir| files::trainer(site, dir, ""));
    let liar = Proxy::before(&federation, 0).await;
    (federation, liar)
}

fn model() -> Vec<u8> {
    files::model(&[0.0; files::ELEMENTS])
}

fn study(rounds: u64) -> String {
    let study = Study {
        min: 3,
        join: "10s",
        report: "3s",
        ..Study::of(SITES, rounds)
    };
    study.to_toml()
}

/// Every notice to the site passes `alter`, which may say other things instead.
fn notices(liar: &Proxy, alter: impl Fn(Notice) -> Vec<Notice> + Send + Sync + 'static) {
    liar.lie("Poll", move |mut answer: pb::PollResponse| {
        let honest = std::mem::take(&mut answer.notices);
        for told in honest {
            let (run_id, notice) = (told.run_id, told.notice.unwrap());
            let shown = alter(notice).into_iter().map(|notice| pb::Notice {
                run_id: run_id.clone(),
                notice: Some(notice),
            });
            answer.notices.extend(shown);
        }
        vec![answer]
    });
}

/// T-08: other bytes than the announced model.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t08_a_model_that_is_not_the_announced_one_is_trained_on_by_nobody() {
    let (mut federation, liar) = attacked().await;
    let other = files::model(&[1.0; files::ELEMENTS]);
    liar.lie("FetchModel", move |_: pb::FetchModelResponse| {
        vec![whole(&other)]
    });
    federation.start_all();
    let run = federation.submit(&study(1), &model()).await;
    let run = federation.completed(&run.run_id).await;
    let told = ["does not have the announced BLAKE3", "no training"];
    federation.logged("site-0", &told).await;
    assert!(files::trained(&federation.members[0].dir).is_empty());
    assert_eq!((run.history[0].cohort, run.history[0].survivors), (4, 4));
}

fn whole(model: &[u8]) -> pb::FetchModelResponse {
    pb::FetchModelResponse {
        chunk: Some(pb::BlobChunk {
            offset: 0,
            data: model.to_vec().into(),
            blake3: blake3::hash(model).as_bytes().to_vec(),
            total_bytes: u64::try_from(model.len()).unwrap(),
        }),
    }
}

/// The announced hash is the one defence: a coordinator that announces the other model to the victim has it trained on, and the context,
/// which is another one then, keeps the update hidden (T-06).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t08_without_the_announced_hash_the_victim_trains_on_the_other_model() {
    let (mut federation, liar) = attacked().await;
    let other = files::model(&[1.0; files::ELEMENTS]);
    let shown = whole(&other);
    liar.lie("FetchModel", move |_: pb::FetchModelResponse| {
        vec![shown.clone()]
    });
    let run = federation.submit(&study(1), &model()).await;
    let key = federation.coordinator_key(&run.run_id);
    notices(&liar, move |notice| {
        let Notice::RoundOpen(mut open) = notice else {
            return vec![notice];
        };
        let announced = open.announcement.take().unwrap().over(SITES).unwrap();
        let value = Announcement {
            model_hash: Digest::of_bulk(&other),
            ..announced.value
        };
        let signature = value.sign(&key);
        open.announcement = Some(Signed { value, signature }.into());
        vec![Notice::RoundOpen(open)]
    });
    federation.start_all();
    let run = federation.completed(&run.run_id).await;
    assert_eq!(files::trained(&federation.members[0].dir), [1]);
    assert_eq!(
        run.history[0].survivors, 4,
        "its Commit is for another attempt"
    );
}

/// T-15: after the cohort, a second one without two of its members, signed as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t15_a_second_cohort_over_the_wire_is_reported_and_changes_nothing() {
    let (mut federation, liar) = attacked().await;
    let run = federation.submit(&study(1), &model()).await;
    let key = federation.coordinator_key(&run.run_id);
    notices(&liar, move |notice| {
        let Notice::CohortReady(ready) = notice else {
            return vec![notice];
        };
        let honest = ready.clone().over(SITES).unwrap().value;
        let value = Cohort {
            members: Bitmap::of(SITES, 0..4),
            ..honest
        };
        let signature = value.sign(&key);
        let second = Signed { value, signature }.into();
        vec![Notice::CohortReady(ready), Notice::CohortReady(second)]
    });
    federation.start_all();
    let run = federation.completed(&run.run_id).await;
    let told = "the coordinator sent what no honest coordinator sends";
    federation.logged("site-0", &[told, "cohort"]).await;
    assert_eq!((run.history[0].cohort, run.history[0].survivors), (5, 5));
    let key = federation.coordinator_key(&run.run_id).public();
    convicted_by(&federation.members[0].dir, "two-cohorts", key);
}

/// The site keeps one proof, beside a running daemon and after the run was forgotten; copied elsewhere it convicts the coordinator.
fn convicted_by(site: &Path, kind: &str, key: VerifyKey) {
    let kept = veilsum(site, "participant faults --config site.toml");
    let [fault] = kept["faults"].as_array().unwrap().as_slice() else {
        panic!("one proof: {kept}");
    };
    assert_eq!(
        (&fault["kind"], &fault["holds"]),
        (&kind.into(), &true.into())
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("proof");
    let id = fault["id"].as_str().unwrap();
    let export = format!(
        "participant faults --config site.toml --export {id} {}",
        file.display()
    );
    veilsum(site, &export);
    let key = Digest(*key.as_bytes());
    let verify = format!("verify-fault proof --coordinator-key {key}");
    let proof = veilsum(elsewhere.path(), &verify);
    assert_eq!(proof["culprit"]["role"], "coordinator", "{proof}");
    assert_eq!(proof["culprit"]["key"], key.to_string());
}

/// The data that a command prints; it must succeed.
fn veilsum(dir: &Path, line: &str) -> serde_json::Value {
    let mut command = Command::new(binary("veilsum"));
    command
        .args(line.split_whitespace())
        .arg("--json")
        .current_dir(dir);
    let output = command.output().unwrap();
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{line}: {printed}");
    printed["data"].clone()
}

/// T-48: everything that a site ever said, said again twice, backwards, in the middle of a run and at its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t48_calls_that_come_again_in_any_order_change_nothing() {
    let (mut federation, liar) = attacked().await;
    federation.start_all();
    let run = federation.submit(&study(3), &model()).await;
    federation
        .wait(&run.run_id, |run| run.rounds_done >= 1)
        .await;
    federation.replay("site-0", &liar.sent()).await;
    let run = federation.completed(&run.run_id).await;
    let before = (
        run.history.clone(),
        federation.model(&run.run_id, None).await,
    );
    federation.replay("site-0", &liar.sent()).await;
    let after = federation.wait(&run.run_id, over).await;
    assert_eq!(
        (after.history, federation.model(&run.run_id, None).await),
        before
    );
    for round in &run.history {
        assert_eq!((round.cohort, round.survivors), (5, 5), "{round:?}");
    }
}
