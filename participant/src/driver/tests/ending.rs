//! The end of a run: whatever was told before it, nothing of the run stays on disk in clear.

use std::fs;
use std::path::PathBuf;

use super::super::*;
use super::bench::Bench;
use crate::leftovers;

/// A site in attempt 1 with a pinned update, a trainer's directory that was left for a person to look at, and a fetched model.
async fn busy(bench: &Bench) -> (Driver, mpsc::Receiver<Input>) {
    let (mut driver, inbox) = bench.enrolled().await;
    let announcement = bench.announcement(&driver, 1);
    assert!(driver.submit(bench.opened(&announcement)).unwrap());
    for file in files(bench) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, b"in clear").unwrap();
    }
    (driver, inbox)
}

fn files(bench: &Bench) -> [PathBuf; 3] {
    let below = |root: &str| bench.data().join(root).join(bench.run().to_string());
    [
        below("updates").join("pinned.safetensors"),
        below("work").join("1").join("update.safetensors"),
        below("models").join("model"),
    ]
}

fn ended(bench: &Bench, state: pb::RunState) -> pb::PollResponse {
    bench.news([pb::notice::Notice::RunEnded(pb::RunEnded {
        state: state.into(),
        reason: None,
    })])
}

#[tokio::test]
async fn nothing_in_clear_outlives_a_run_however_it_ends() {
    for state in [
        pb::RunState::Completed,
        pb::RunState::Failed,
        pb::RunState::Cancelled,
    ] {
        let bench = Bench::new();
        let (mut driver, _inbox) = busy(&bench).await;
        driver.hear(ended(&bench, state)).await.unwrap();
        assert!(driver.over);
        for file in files(&bench) {
            assert!(!file.exists(), "{state:?} leaves {}", file.display());
        }
        assert!(driver.site.journal().streams().unwrap().is_empty());
    }
}

/// Killed between the two: the run is still known, and its end is heard and acted on again.
#[tokio::test]
async fn a_crash_between_erasing_and_forgetting_is_made_good() {
    let bench = Bench::new();
    let (driver, inbox) = busy(&bench).await;
    leftovers::erase(&bench.data(), &bench.run().to_string()).unwrap();
    drop((driver, inbox));
    let (mut driver, _inbox) = bench.driver(bench.site()).await.unwrap();
    let news = ended(&bench, pb::RunState::Completed);
    driver.hear(news).await.unwrap();
    assert!(driver.site.journal().streams().unwrap().is_empty());
}

#[tokio::test]
async fn the_end_of_another_run_ends_nothing_here() {
    let bench = Bench::new();
    let (mut driver, _inbox) = busy(&bench).await;
    let mut news = ended(&bench, pb::RunState::Completed);
    news.notices[0].run_id = vec![8; 16];
    driver.hear(news).await.unwrap();
    assert!(!driver.over);
    assert!(files(&bench).iter().all(|file| file.exists()));
}
