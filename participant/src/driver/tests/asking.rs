//! What a site asks for: again when it is refused, and never beyond the attempt that it is for.

use std::sync::Arc;

use tonic::Status;

use super::super::*;
use super::bench::Bench;
use super::coordinator::Coordinator;

/// A site in attempt 1, and what announced it.
async fn opened(bench: &Bench, site: Arc<Site>) -> (Driver, mpsc::Receiver<Input>, Digest) {
    bench.accept(&site);
    let (mut driver, inbox) = bench.driver(site).await.unwrap();
    bench.enrol(&mut driver);
    let announcement = bench.announcement(&driver, 1);
    assert!(driver.submit(bench.opened(&announcement)).unwrap());
    (driver, inbox, announcement.hash())
}

#[tokio::test]
async fn shares_that_are_refused_at_either_end_are_asked_for_again() {
    let coordinator = Arc::new(Coordinator::default());
    let answers = [Err(Status::internal("a blip")), Ok(Vec::new())];
    coordinator.shares.lock().unwrap().extend(answers);
    let bench = Bench::new();
    let site = bench.site_at(coordinator.serve().await);
    let (mut driver, mut inbox, ann_hash) = opened(&bench, site).await;

    driver
        .take(Input::Shares(ann_hash, Vec::new()))
        .await
        .unwrap(); // of no cohort: refused here
    while let Some(input) = inbox.recv().await {
        match input {
            Input::Idle(..) => driver.take(input).await.unwrap(),
            Input::Shares(of, items) => {
                assert_eq!((of, items.len()), (ann_hash, 0));
                break;
            }
            _ => panic!("nothing else was asked for"),
        }
    }
    assert!(
        coordinator.shares.lock().unwrap().is_empty(),
        "refused once, answered once"
    );
}

/// Twenty attempts of a coordinator that answers nothing.
#[tokio::test]
async fn t24_no_task_outlives_its_attempt() {
    let bench = Bench::new();
    let (mut driver, _inbox, _) = opened(&bench, bench.site()).await;
    for seq in 2..=20 {
        let announcement = bench.announcement(&driver, seq);
        assert!(driver.submit(bench.opened(&announcement)).unwrap());
        let attempt = Arc::clone(driver.machine.attempt().unwrap());
        driver.fetch_shares(&attempt);
        driver.fetch_neighbourhood(&attempt);
        driver.decline(Digest([9; 32]), Decline::Policy, None);
        assert_eq!(driver.busy.len(), 3, "{:?}", driver.busy.keys());
    }
    let ann_hash = driver.machine.attempt().unwrap().hash();
    driver.step(ann_hash, Step::Expired).unwrap();
    assert_eq!(
        driver.busy.keys().collect::<Vec<_>>(),
        [&Task::Refuse(Digest([9; 32]))]
    );
}

/// The loop stays free while GetRoster is never answered: what follows is held, the end of the run is not.
#[tokio::test]
async fn t24_a_roster_that_never_comes_holds_up_nothing_but_what_depends_on_it() {
    use pb::notice::Notice;
    let bench = Bench::new();
    let site = bench.site();
    bench.accept(&site);
    let (mut driver, _inbox) = bench.driver(site).await.unwrap();
    let binding = Box::new(super::bench::binding(1));
    assert!(driver.submit(Event::Joined { epoch: 1, binding }).unwrap());
    let ready = |n| {
        Notice::RosterReady(pb::RosterReady {
            epoch: 1,
            n,
            roster_root: vec![0; 32],
        })
    };
    driver.hear(bench.news([ready(u32::MAX)])).await.unwrap();
    assert_eq!(driver.fetching, None, "larger than the run allows");
    let certificate = Notice::RosterCert(pb::RosterCert {
        epoch_ctx: vec![0; 32],
        ..pb::RosterCert::default()
    });
    driver
        .hear(bench.news([ready(5), certificate]))
        .await
        .unwrap();
    assert_eq!((driver.fetching, driver.held.len()), (Some(1), 1));
    let ended = Notice::RunEnded(pb::RunEnded {
        state: pb::RunState::Cancelled.into(),
        reason: None,
    });
    driver.hear(bench.news([ended])).await.unwrap();
    assert!(driver.over);
}
