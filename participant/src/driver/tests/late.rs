//! Answers that come when the attempt they are for is over: its keys are erased, so there is nothing to do with them and nothing wrong.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::subscriber::{DefaultGuard, set_default};
use veilsum_engine::participant::session::SessionPhase;
use veilsum_secagg::Bitmap;
use veilsum_secagg::coordinator::{self, Commits};

use super::super::*;
use super::accusing::{dealt, of_this_site};
use super::bench::{self, Bench, SITES};

/// What this thread logs from now on, at the levels that a person is to look at.
struct Log(Arc<Mutex<Vec<u8>>>, #[expect(dead_code)] DefaultGuard);

impl Log {
    fn open() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let to = Lines(Arc::clone(&lines));
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_writer(move || to.clone())
            .finish();
        Self(lines, set_default(subscriber))
    }

    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One of each that names the attempt, with a name.
fn answers(driver: &Driver, commits: &Commits) -> Vec<(&'static str, Input)> {
    let attempt = driver.machine.attempt().unwrap();
    let ann_hash = attempt.hash();
    let me = attempt.roster().index_of(&bench::identity(1).public().id());
    let near = coordinator::neighbourhood(attempt, commits, me.unwrap()).unwrap();
    let cohort = coordinator::close_cohort(attempt, commits).unwrap();
    let proposal = SurvivorProposal {
        ctx: cohort.ctx(),
        survivors: Bitmap::full(SITES.into()),
        upload_root: Digest([1; 32]),
    };
    let receipt = pb::UploadReceipt {
        ctx: cohort.ctx().0.to_vec(),
        upload_hash: vec![2; 32],
        time_ms: 3,
        sig: vec![4; 64],
    };
    let parts = UploadParts {
        chunk_root: Digest([5; 32]),
        metadata_hash: Digest([6; 32]),
    };
    let dealer = commits.keys().find(|dealer| Some(**dealer) != me).unwrap();
    let record = (*dealer, commits[dealer].clone());
    let sitting = Sitting {
        why: Decline::NotNow,
        retire: false,
    };
    let model = attempt.announcement().model_hash;
    vec![
        ("near", Input::Near(ann_hash, near)),
        (
            "shares",
            Input::Shares(ann_hash, of_this_site(driver, commits)),
        ),
        (
            "survivors",
            Input::Survivors(ann_hash, Box::new(proposal), Vec::new()),
        ),
        (
            "commit records",
            Input::CommitRecords(ann_hash, vec![record]),
        ),
        (
            "received",
            Input::Received(ann_hash, (Digest([2; 32]), parts), Box::new(receipt)),
        ),
        ("answered", Input::Answered(ann_hash)),
        ("delivered", Input::Delivered(ann_hash)),
        ("drop out", Input::DropOut(ann_hash)),
        (
            "sitting",
            Input::Trained {
                ann_hash,
                model,
                result: Box::new(Err(sitting)),
            },
        ),
    ]
}

#[tokio::test]
async fn what_comes_when_its_attempt_is_over_is_dropped_without_a_word() {
    let bench = Bench::new();
    let site = bench.site();
    let (mut driver, _inbox, commits) = dealt(&bench, site, |_, _, _, honest| honest).await;
    let answers = answers(&driver, &commits);
    let ann_hash = driver.machine.attempt().unwrap().hash();
    assert!(driver.step(ann_hash, Step::Expired).unwrap());
    while driver.machine.poll_output().is_some() {}
    let entries = driver.next;
    let log = Log::open();
    for (what, answer) in answers {
        driver.take(answer).await.unwrap();
        assert_eq!(log.take(), "", "{what}");
        assert_eq!(driver.machine.session(), Some(SessionPhase::Over), "{what}");
        assert_eq!((driver.next, driver.busy.len()), (entries, 0), "{what}");
    }
    driver.commit(ann_hash).unwrap();
    assert_eq!(log.take(), "", "a Commit that was asked for before");
    assert_eq!(driver.machine.session(), Some(SessionPhase::Over));
}

/// The same answer says something as long as the attempt is open.
#[tokio::test]
async fn an_answer_that_cannot_be_used_while_its_attempt_is_open_is_said() {
    let bench = Bench::new();
    let site = bench.site();
    let (mut driver, _inbox, _) = dealt(&bench, site, |_, _, _, honest| honest).await;
    let ann_hash = driver.machine.attempt().unwrap().hash();
    let log = Log::open();
    let nothing = Input::Shares(ann_hash, Vec::new());
    driver.take(nothing).await.unwrap();
    let said = log.take();
    assert!(said.contains("shares refused; asking again"), "{said}");
}
