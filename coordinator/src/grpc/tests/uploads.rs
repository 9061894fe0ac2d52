use std::time::Duration;

use tonic::Code;
use veilsum_engine::round::Event;
use veilsum_proto::pb;
use veilsum_proto::pb::submit_masked_request::Part;
use veilsum_secagg::Digest;

use super::kit::{Member, Sending, Sent, World, cut, reason};

/// An upload that the coordinator has begun to take in, and that does not go on.
async fn begun(world: &World, member: &Member, sent: &Sent) -> Sending {
    let before = world.staging();
    let sending = member.begin();
    sending.send(Part::Header(sent.header.clone())).await;
    sending.send(Part::Piece(sent.pieces[0].clone())).await;
    // The coordinator tells nobody how far it is, but for its disk.
    while world.staging() == before || world.staging().is_empty() {
        tokio::task::yield_now().await;
    }
    sending
}

/// Bytes of one packed vector of the tests' runs.
fn vector(sent: &Sent) -> u64 {
    sent.pieces
        .iter()
        .map(|piece| piece.data.len() as u64)
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_kept_and_its_receipt_is_the_same_each_time() {
    let world = World::new(3);
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let sent = member.upload(&open, 1);
    let receipt = member.send(&sent).await.unwrap();
    assert_eq!(world.staged_bytes(), vector(&sent));
    assert_eq!(member.send(&sent).await.unwrap(), receipt);
    assert_eq!(world.staged_bytes(), vector(&sent));
}

#[tokio::test(flavor = "multi_thread")]
async fn t33_a_second_different_upload_is_a_conflict_and_the_first_stays() {
    let world = World::new(3);
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let receipt = member.send(&member.upload(&open, 1)).await.unwrap();
    let refused = member.send(&member.upload(&open, 2)).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(reason(&refused), "CONFLICT");
    assert_eq!(
        member.send(&member.upload(&open, 1)).await.unwrap(),
        receipt
    );
    let round = open.run.round().unwrap();
    let kept = round.read().uploads()[&member.index].item.upload_hash;
    assert_eq!(kept.0[..], receipt.upload_hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn t32_nothing_is_kept_of_uploads_that_nobody_vouches_for() {
    let world = World::new(3);
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let before = world.bytes();
    for fill in 0..100 {
        let refused = member.send(&member.noise(&open, fill)).await.unwrap_err();
        assert_eq!(reason(&refused), "PROTOCOL_VIOLATION", "{refused}");
        assert_eq!(world.bytes(), before);
    }
    // The honest upload is still taken.
    member.send(&member.upload(&open, 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn t24_a_site_has_one_upload_under_way_and_a_newer_one_replaces_it() {
    let world = World::new(3);
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let sent = member.upload(&open, 1);
    let mut older = Vec::new();
    for _ in 0..32 {
        older.push(begun(&world, member, &sent).await);
        assert!(world.staged_bytes() <= vector(&sent));
    }
    member.send(&sent).await.unwrap();
    for sending in older {
        let refused = sending.refused().await;
        assert_eq!(reason(&refused), "UPLOAD_REPLACED", "{refused}");
    }
    assert_eq!(world.staged_bytes(), vector(&sent));
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoned_uploads_leave_nothing() {
    let world = World::new(3);
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let sent = member.upload(&open, 1);
    for _ in 0..100 {
        let mut parts = sent.parts();
        parts.truncate(3);
        let refused = member.send_parts(parts).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_MESSAGE", "{refused}");
    }
    assert_eq!(world.staged_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_an_upload_is_refused_by_name() {
    let world = World::new(3);
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let sent = member.upload(&open, 1);
    let (header, piece) = (
        Some(Part::Header(sent.header.clone())),
        Some(Part::Piece(sent.pieces[0].clone())),
    );
    let altered = |change: fn(&mut pb::UploadPiece)| {
        let mut piece = sent.pieces[0].clone();
        change(&mut piece);
        Some(Part::Piece(piece))
    };
    let check = async |parts: Vec<Option<Part>>, expected: &str, says: &str| {
        let refused = member.send_parts(parts).await.unwrap_err();
        assert_eq!(reason(&refused), expected, "{refused}");
        assert!(refused.message().contains(says), "{refused}");
    };
    check(vec![], "INVALID_MESSAGE", "without its trailer").await;
    check(
        vec![piece.clone()],
        "INVALID_MESSAGE",
        "begins with its header",
    )
    .await;
    check(vec![None], "INVALID_MESSAGE", "field part is missing").await;
    check(
        vec![header.clone(), None],
        "INVALID_MESSAGE",
        "field part is missing",
    )
    .await;
    check(
        vec![header.clone(), header.clone()],
        "INVALID_MESSAGE",
        "one header",
    )
    .await;
    let skipped = altered(|piece| piece.offset = 1);
    check(
        vec![header.clone(), skipped],
        "UPLOAD_INVALID",
        "next byte is 0",
    )
    .await;
    check(
        vec![header.clone(), piece.clone(), piece],
        "UPLOAD_INVALID",
        "next byte is 512",
    )
    .await;
    let flipped = altered(|piece| piece.blake3[0] ^= 1);
    check(vec![header.clone(), flipped], "UPLOAD_INVALID", "BLAKE3").await;
    let empty = altered(|piece| piece.data.clear());
    check(
        vec![header.clone(), empty],
        "UPLOAD_INVALID",
        "has no bytes",
    )
    .await;
    let trailer = Some(Part::Trailer(sent.trailer.clone()));
    check(
        vec![header.clone(), trailer],
        "UPLOAD_INVALID",
        "ended after 0 of",
    )
    .await;
    let mut long = sent.parts();
    let end = vector(&sent);
    let last = cut(&[0; 8], 8).pop().unwrap();
    long.insert(
        long.len() - 1,
        Some(Part::Piece(pb::UploadPiece {
            offset: end,
            ..last
        })),
    );
    check(long, "UPLOAD_INVALID", "more than").await;
    assert_eq!(world.staged_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stalls_ends_and_leaves_nothing() {
    let world = World::with(3, |context| context.with_stall(Duration::from_millis(50)));
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let sent = member.upload(&open, 1);
    let sending = begun(&world, member, &sent).await;
    let refused = sending.refused().await;
    assert_eq!(refused.code(), Code::DeadlineExceeded);
    assert_eq!(reason(&refused), "UPLOAD_STALLED");
    assert_eq!(world.staged_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_when_its_round_moves_on() {
    let world = World::new(3);
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let sent = member.upload(&open, 1);
    let sending = begun(&world, member, &sent).await;
    let round = open.run.round().unwrap();
    let over = veilsum_engine::rejection::Abort::BadSum;
    round.submit(Event::Lost(over), None).await.unwrap();
    let refused = sending.refused().await;
    assert_eq!(reason(&refused), "OUT_OF_PHASE", "{refused}");
    assert_eq!(world.staged_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_bytes_in_two_runs_are_two_uploads_and_one_rounds_end_takes_one() {
    let world = World::new(3);
    let (first, second) = (world.submit(1).await, world.submit(2).await);
    let (one, other) = (world.commit(&first).await, world.commit(&second).await);
    let bytes = vec![0; usize::try_from(vector(&one.members[0].upload(&one, 1))).unwrap()];
    for open in [&one, &other] {
        let member = &open.members[0];
        let mut sent = member.upload(open, 0);
        let metadata = vec![1; open.attempt.params().config().meta_lanes as usize];
        sent.pieces = cut(&bytes, 512);
        sent.trailer = member.sign(&bytes, &metadata).into();
        member.send(&sent).await.unwrap();
    }
    assert_eq!(world.staged_bytes(), 2 * bytes.len() as u64);
    let round = one.run.round().unwrap();
    let over = veilsum_engine::rejection::Abort::BadSum;
    round.submit(Event::Lost(over), None).await.unwrap();
    // Letting go is a task of its own; it tells nobody when it is done.
    while world.staged_bytes() > bytes.len() as u64 {
        tokio::task::yield_now().await;
    }
    let round = other.run.round().unwrap();
    let upload = round.read().uploads()[&other.members[0].index].clone();
    assert_eq!(upload.blob.digest, Digest::of_bulk(&bytes));
    assert_eq!(world.staged_bytes(), bytes.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_uploads_than_there_may_be_are_put_off() {
    let world = World::with(3, |context| context.with_uploads(1));
    let open = world.commit(&world.submit(1).await).await;
    let (busy, waiting) = (&open.members[0], &open.members[1]);
    let sent = busy.upload(&open, 1);
    let sending = begun(&world, busy, &sent).await;
    let refused = waiting.send(&waiting.upload(&open, 1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "TOO_MANY_CALLS");
    use tonic_types::StatusExt as _;
    assert!(refused.get_details_retry_info().is_some());
    drop(sending);
}
