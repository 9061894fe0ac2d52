use veilsum_common::RunId;

use super::*;
use crate::store::StreamId;

fn slot(index: u32) -> Slot {
    let stream = StreamId::round(RunId::from_bytes([7; 16]), 1, 1);
    Slot { stream, index }
}

#[tokio::test]
async fn a_newer_upload_waits_for_the_older_one_to_end() {
    let turns = Turns::new(10, Queue::default());
    let older = turns.take(slot(1)).await.unwrap();
    let newer = tokio::spawn({
        let turns = turns.clone();
        async move { turns.take(slot(1)).await.map(drop) }
    });
    older.replaced().await;
    assert!(!newer.is_finished());
    drop(older);
    newer.await.unwrap().unwrap();
    assert!(lock(&turns.seats).is_empty());
}

#[tokio::test]
async fn whoever_waited_is_replaced_as_well() {
    let turns = Turns::new(10, Queue::default());
    let first = turns.take(slot(1)).await.unwrap();
    let second = tokio::spawn({
        let turns = turns.clone();
        async move { turns.take(slot(1)).await.map(drop) }
    });
    first.replaced().await;
    let third = tokio::spawn({
        let turns = turns.clone();
        async move { turns.take(slot(1)).await.map(drop) }
    });
    assert_eq!(second.await.unwrap(), Err(NoTurn::Replaced));
    drop(first);
    third.await.unwrap().unwrap();
    assert!(lock(&turns.seats).is_empty());
}

#[tokio::test]
async fn two_sites_do_not_wait_for_each_other_but_all_have_one_limit() {
    let turns = Turns::new(2, Queue::default());
    let one = turns.take(slot(1)).await.unwrap();
    let _other = turns.take(slot(2)).await.unwrap();
    let full = turns.take(slot(3)).await.map(drop);
    assert_eq!(full, Err(NoTurn::Full { limit: 2 }));
    drop(one);
    turns.take(slot(3)).await.map(drop).unwrap();
}

#[tokio::test]
async fn one_who_gave_up_waiting_leaves_the_turn_where_it_is() {
    let turns = Turns::new(10, Queue::default());
    let older = turns.take(slot(1)).await.unwrap();
    let impatient = tokio::spawn({
        let turns = turns.clone();
        async move { turns.take(slot(1)).await.map(drop) }
    });
    older.replaced().await;
    impatient.abort();
    impatient.await.unwrap_err();
    assert!(lock(&turns.seats).contains_key(&slot(1)));
    drop(older);
    assert!(lock(&turns.seats).is_empty());
}
