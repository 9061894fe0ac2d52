//! An abort that was signed is known after a restart, and its being forgotten is noticed: whichever attempt it was about.

use super::super::*;
use super::bench::Bench;

/// What a restarted daemon finds.
async fn restarted(bench: &Bench) -> Result<(), RunError> {
    bench.driver(bench.site()).await.map(drop)
}

/// Signs the abort of attempt `aborted` after the attempts `opened`; gives the state of the disk from before it.
async fn sign(bench: &Bench, opened: &[u64], aborted: u64) -> std::path::PathBuf {
    let (mut driver, inbox) = bench.enrolled().await;
    for seq in opened {
        let announcement = bench.announcement(&driver, *seq);
        assert!(driver.submit(bench.opened(&announcement)).unwrap());
    }
    let backup = bench.backup();
    let announcement = bench.announcement(&driver, aborted);
    assert!(driver.submit(bench.aborted(&announcement)).unwrap());
    drop((driver, inbox));
    backup
}

#[tokio::test]
async fn t72_a_restart_after_any_abort_is_no_alarm() {
    for (opened, aborted) in [(&[][..], 4), (&[1], 2), (&[1, 3], 2)] {
        let bench = Bench::new();
        sign(&bench, opened, aborted).await;
        let restarted = restarted(&bench).await;
        assert!(restarted.is_ok(), "{opened:?}, {aborted}: {restarted:?}");
    }
}

#[tokio::test]
async fn t72_a_store_from_before_an_abort_that_was_signed_takes_no_part() {
    for (opened, aborted) in [(&[][..], 4), (&[1], 2), (&[1, 3], 2)] {
        let bench = Bench::new();
        let backup = sign(&bench, opened, aborted).await;
        bench.restore(&backup);
        let restarted = restarted(&bench).await;
        assert!(
            matches!(restarted, Err(RunError::RolledBack { .. })),
            "{opened:?}, {aborted}: {restarted:?}"
        );
    }
}

#[tokio::test]
async fn t72_a_restored_store_keeps_no_secret() {
    let bench = Bench::new();
    let backup = sign(&bench, &[1], 2).await;
    bench.restore(&backup);
    let stream = replay::stream(bench.run());
    let secrets = || bench.site().journal().vault(&stream).unwrap().len();
    assert!(secrets() > 0);
    for _ in 0..2 {
        let restarted = restarted(&bench).await;
        assert!(matches!(restarted, Err(RunError::RolledBack { .. })));
        assert_eq!(secrets(), 0);
    }
}
