use rustix::process::{Signal, getpid, kill_process};

use super::*;

#[tokio::test]
async fn a_trigger_wakes_those_who_wait_and_those_who_come_later() {
    let shutdown = Shutdown::new();
    let waiting = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { shutdown.triggered().await }
    });
    assert!(!shutdown.is_triggered());
    shutdown.trigger();
    waiting.await.unwrap();
    shutdown.triggered().await;
    assert!(shutdown.is_triggered());
}

#[tokio::test]
async fn a_second_trigger_changes_nothing() {
    let shutdown = Shutdown::new();
    shutdown.trigger();
    shutdown.trigger();
    shutdown.triggered().await;
}

#[tokio::test]
async fn sigterm_and_sigint_trigger_the_token() {
    for signal in [Signal::TERM, Signal::INT] {
        let shutdown = Shutdown::on_signals().unwrap();
        kill_process(getpid(), signal).unwrap();
        shutdown.triggered().await;
    }
}
