use std::time::Duration;

use tonic::{Code, Streaming};
use veilsum_proto::pb;

use super::kit::{World, reason};
use crate::transfer::{Pace, Queue};

/// A coordinator that sends one model at a time, and its queue.
async fn narrow(patience: Duration) -> (World, pb::FetchModelRequest, Queue) {
    let pace = Pace {
        patience,
        ..Pace::default()
    };
    let queue = Queue::new(1, pace);
    let shared = queue.clone();
    let world = World::with(3, |context| context.with_downloads(shared));
    let run = world.submit(1).await;
    let request = pb::FetchModelRequest {
        run_id: run.spec().run_id().as_bytes().to_vec(),
        digest: run.created.model.digest.0.to_vec(),
        offset: 0,
    };
    (world, request, queue)
}

async fn fetch(
    world: &World,
    site: usize,
    request: &pb::FetchModelRequest,
) -> Streaming<pb::FetchModelResponse> {
    let answer = world.rounds(site).fetch_model(request.clone()).await;
    answer.unwrap().into_inner()
}

async fn until_one_waits(queue: &Queue) {
    while queue.waiting() == 0 {
        tokio::task::yield_now().await;
    }
}

/// Longer than any test.
const EVER: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn a_model_waits_for_its_turn_to_go_out() {
    let (world, request, queue) = narrow(EVER).await;
    let other = queue.wait().await;
    let mut pieces = fetch(&world, 0, &request).await;
    until_one_waits(&queue).await;
    drop(other);
    let piece = pieces.message().await.unwrap().unwrap().chunk.unwrap();
    assert_eq!(piece.total_bytes, piece.data.len() as u64);
    assert_eq!(pieces.message().await.unwrap(), None);
    drop(queue.wait().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_cut_off_while_it_waits_leaves_the_queue() {
    let (world, request, queue) = narrow(EVER).await;
    let _other = queue.wait().await;
    let pieces = fetch(&world, 0, &request).await;
    until_one_waits(&queue).await;
    drop(pieces);
    while queue.waiting() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t24_a_site_that_reads_no_pieces_is_put_off_and_the_next_has_its_turn() {
    let (world, request, queue) = narrow(Duration::from_millis(50)).await;
    let mut unread = fetch(&world, 0, &request).await;
    let mut next = fetch(&world, 1, &request).await;
    next.message().await.unwrap().unwrap();
    drop(queue.wait().await);
    unread.message().await.unwrap().unwrap();
    let refused = unread.message().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "TRANSFER_PUT_OFF", "{refused}");
}
