use std::future::pending;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};

use super::*;

/// With no patience at all: time need not pass in a test.
const HASTY: Pace = Pace {
    patience: Duration::ZERO,
    limit: Duration::ZERO,
};

/// One that waits, after all that wait already.
async fn waiting(queue: &Queue) -> JoinHandle<Transfer> {
    let queue = queue.clone();
    let waits = tokio::spawn(async move { queue.wait().await });
    yield_now().await;
    waits
}

#[tokio::test]
async fn uploads_transfer_in_the_order_in_which_they_came() {
    let queue = Queue::new(1, HASTY);
    let mut transfers = queue.wait().await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(waiting(&queue).await);
    }
    for k in 0..5 {
        drop(transfers);
        yield_now().await;
        assert!(all[1..].iter().all(|later| !later.is_finished()), "{k}");
        transfers = all.remove(0).await.unwrap();
    }
}

#[tokio::test]
async fn as_many_transfer_at_once_as_there_may_be() {
    let queue = Queue::new(2, HASTY);
    let (_one, other) = (queue.wait().await, queue.wait().await);
    let third = waiting(&queue).await;
    assert!(!third.is_finished());
    drop(other);
    drop(third.await.unwrap());
}

#[tokio::test]
async fn one_who_stopped_waiting_takes_no_place_and_puts_nobody_off() {
    let queue = Queue::new(1, HASTY);
    let transfers = queue.wait().await;
    let impatient = waiting(&queue).await;
    let patient = waiting(&queue).await;
    impatient.abort();
    drop(impatient.await);
    assert_eq!(queue.waiting(), 1);
    drop(transfers);
    drop(patient.await.unwrap());
    assert_eq!(queue.waiting(), 0);
}

#[tokio::test]
async fn one_who_stalls_while_another_waits_makes_room_for_it() {
    let queue = Queue::new(1, HASTY);
    let mut stalls = queue.wait().await;
    let next = waiting(&queue).await;
    let said = stalls.next(pending::<()>()).await;
    assert!(matches!(said, Err(PutOff::Slow { .. })), "{said:?}");
    assert!(!next.is_finished());
    drop(stalls);
    drop(next.await.unwrap());
}

#[tokio::test]
async fn one_for_whom_nobody_waits_may_be_as_slow_as_it_is() {
    let queue = Queue::new(1, HASTY);
    let mut alone = queue.wait().await;
    let (say, said) = oneshot::channel();
    let slow = tokio::spawn(async move {
        let said = alone.next(said).await;
        (said, alone.goes_on())
    });
    for _ in 0..10 {
        timeout(Duration::ZERO, pending::<()>()).await.unwrap_err();
    }
    say.send(()).unwrap();
    assert_eq!(slow.await.unwrap(), (Ok(Ok(())), Ok(())));
}

#[tokio::test]
async fn after_its_time_an_upload_goes_on_only_if_nobody_waits() {
    let queue = Queue::new(1, HASTY);
    let long = queue.wait().await;
    assert_eq!(long.goes_on(), Ok(()));
    let next = waiting(&queue).await;
    assert_eq!(long.goes_on(), Err(PutOff::Over { limit_s: 0 }));
    drop(long);
    assert_eq!(next.await.unwrap().goes_on(), Ok(()));
}

#[tokio::test]
async fn before_its_time_is_over_an_upload_goes_on_although_others_wait() {
    let queue = Queue::new(1, Pace::default());
    let quick = queue.wait().await;
    let _next = waiting(&queue).await;
    assert_eq!(quick.goes_on(), Ok(()));
}

/// What comes drop by drop counts by what it is together.
#[test]
fn patience_ends_with_one_who_drips() {
    let mut patience = Patience::new(Duration::from_secs(30));
    for _ in 0..30 {
        assert!(!patience.left.is_zero());
        patience.waited(Duration::from_secs(1));
        patience.moved(1);
    }
    assert!(patience.left.is_zero());
}

#[test]
fn patience_is_whole_again_after_a_step() {
    let mut patience = Patience::new(Duration::from_secs(30));
    for _ in 0..4 {
        patience.waited(Duration::from_secs(7));
        assert_ne!(patience.left, patience.whole);
        patience.moved(TRANSFER_STEP / 4);
    }
    assert_eq!((patience.left, patience.bytes), (patience.whole, 0));
}
