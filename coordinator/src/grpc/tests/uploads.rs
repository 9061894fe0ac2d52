use std::time::Duration;

use tokio_stream::StreamExt as _;
use tonic::Code;
use veilsum_engine::round::Event;
use veilsum_proto::pb;
use veilsum_proto::pb::submit_masked_request::Part;
use veilsum_proto::pb::submit_masked_response::Answer;
use veilsum_secagg::Digest;
use veilsum_secagg::participant::chunk_root;

use crate::transfer::{Pace, Queue};

use super::kit::{Member, Open, Sending, Sent, World, cut, reason};

/// An upload that the coordinator has begun to take in, and that does not go on.
async fn begun(member: &Member, sent: &Sent) -> Sending {
    let mut sending = member.begin();
    sending.send(Part::Header(sent.header.clone())).await;
    assert!(matches!(sending.told().await, Answer::Status(status) if status.have == [0]));
    sending.send(Part::Piece(sent.pieces[0].clone())).await;
    sending
}

/// The row behind the one chunk of the tests' vectors: hash and checksum.
const TABLE: u64 = 32 + 64;

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
    assert_eq!(world.staged_bytes(), vector(&sent) + TABLE);
    assert_eq!(member.send_known(&sent).await.unwrap(), receipt);
    assert_eq!(world.staged_bytes(), vector(&sent) + TABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn t33_a_second_different_upload_is_a_conflict_and_the_first_stays() {
    let world = World::new(3);
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let receipt = member.send(&member.upload(&open, 1)).await.unwrap();
    let other = member.upload(&open, 2);
    for refused in [member.send(&other).await, member.send_known(&other).await] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::AlreadyExists);
        assert_eq!(reason(&refused), "CONFLICT");
    }
    let again = member.send_known(&member.upload(&open, 1)).await;
    assert_eq!(again.unwrap(), receipt);
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
        older.push(begun(member, &sent).await);
        assert!(world.staged_bytes() <= vector(&sent) + TABLE);
    }
    member.send(&sent).await.unwrap();
    for sending in older {
        let refused = sending.refused().await;
        assert_eq!(reason(&refused), "UPLOAD_REPLACED", "{refused}");
    }
    assert_eq!(world.staged_bytes(), vector(&sent) + TABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoned_uploads_take_the_room_of_one_and_go_with_their_attempt() {
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
    assert!(world.staged_bytes() <= vector(&sent) + TABLE);
    let round = open.run.round().unwrap();
    let over = veilsum_engine::rejection::Abort::BadSum;
    round.submit(Event::Lost(over), None).await.unwrap();
    // Letting go is a task of its own; it tells nobody when it is done.
    while world.staged_bytes() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_cut_off_goes_on_with_the_parts_that_are_missing() {
    let world = World::new(3);
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let sent = member.upload(&open, 1);
    let mut cut = member.begin();
    for part in sent
        .parts()
        .into_iter()
        .flatten()
        .take(sent.pieces.len() + 1)
    {
        cut.send(part).await;
    }
    assert!(matches!(cut.told().await, Answer::Status(status) if status.have == [0]));
    assert!(matches!(cut.told().await, Answer::Kept(kept) if kept.part == 0));
    drop(cut);

    let mut again = member.begin();
    again.send(Part::Header(sent.header.clone())).await;
    assert!(matches!(again.told().await, Answer::Status(status) if status.have == [1]));
    again.send(Part::Trailer(sent.trailer.clone())).await;
    let Answer::Receipt(receipt) = again.told().await else {
        panic!("not a receipt")
    };
    assert_eq!(member.send_known(&sent).await.unwrap(), receipt);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_accepted_is_complete_and_takes_no_piece() {
    let world = World::new(3);
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let sent = member.upload(&open, 1);
    member.send(&sent).await.unwrap();
    let refused = member.send(&sent).await.unwrap_err();
    assert_eq!(reason(&refused), "CONFLICT", "{refused}");
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
        "next byte of part 0 is 0",
    )
    .await;
    check(
        vec![header.clone(), piece.clone(), piece],
        "UPLOAD_INVALID",
        "next byte of part 0 is 512",
    )
    .await;
    let other = altered(|piece| piece.part = 1);
    check(
        vec![header.clone(), other],
        "UPLOAD_INVALID",
        "the upload has 1 parts",
    )
    .await;
    let mut flipped = sent.parts();
    if let Some(Some(Part::Piece(piece))) = flipped.iter_mut().rev().nth(1) {
        piece.digest[0] ^= 1;
    }
    check(flipped, "UPLOAD_INVALID", "does not have the digest").await;
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
        "1 of 1 parts are missing",
    )
    .await;
    let mut long = sent.parts();
    let last = long.len() - 2;
    if let Some(Some(Part::Piece(piece))) = long.get_mut(last) {
        piece.data = [&piece.data[..], &[0; 8]].concat().into();
    }
    check(long, "UPLOAD_INVALID", "and more came").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stalls_ends() {
    let world = World::with(3, |context| context.with_stall(Duration::from_millis(50)));
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let sent = member.upload(&open, 1);
    let sending = begun(member, &sent).await;
    let refused = sending.refused().await;
    assert_eq!(refused.code(), Code::DeadlineExceeded);
    assert_eq!(reason(&refused), "UPLOAD_STALLED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_reads_no_answers_keeps_nobody_from_uploading() {
    let soon = Duration::from_millis(50);
    let world = World::with(3, |context| {
        context.with_uploads(1, Queue::default()).with_stall(soon)
    });
    let open = world.commit(&world.submit(1).await).await;
    let (deaf, other) = (&open.members[0], &open.members[1]);
    let mut parts = deaf.upload(&open, 1).parts();
    parts.pop();
    let messages = parts
        .into_iter()
        .map(|part| pb::SubmitMaskedRequest { part });
    let messages = tokio_stream::iter(messages).chain(tokio_stream::pending());
    let unread = deaf.calls.clone().submit_masked(messages).await.unwrap();
    let sent = other.upload(&open, 1);
    let freed = async {
        while let Err(refused) = other.send(&sent).await {
            assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
            tokio::task::yield_now().await;
        }
    };
    let freed = tokio::time::timeout(Duration::from_secs(20), freed).await;
    freed.expect("its turn ends when it has been silent for as long as it may be");
    drop(unread);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_when_its_round_moves_on() {
    let world = World::new(3);
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let sent = member.upload(&open, 1);
    let sending = begun(member, &sent).await;
    let round = open.run.round().unwrap();
    let over = veilsum_engine::rejection::Abort::BadSum;
    round.submit(Event::Lost(over), None).await.unwrap();
    let refused = sending.refused().await;
    assert_eq!(reason(&refused), "OUT_OF_PHASE", "{refused}");
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
    let each = bytes.len() as u64 + TABLE;
    assert_eq!(world.staged_bytes(), 2 * each);
    let round = one.run.round().unwrap();
    let over = veilsum_engine::rejection::Abort::BadSum;
    round.submit(Event::Lost(over), None).await.unwrap();
    // Letting go is a task of its own; it tells nobody when it is done.
    while world.staged_bytes() > each {
        tokio::task::yield_now().await;
    }
    let round = other.run.round().unwrap();
    let upload = round.read().uploads()[&other.members[0].index].clone();
    let root = chunk_root(&[Digest::of_bulk(&bytes)]).unwrap();
    assert_eq!(upload.blob.digest, root);
    assert_eq!(world.staged_bytes(), each);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_uploads_than_there_may_be_are_put_off() {
    let world = World::with(3, |context| context.with_uploads(1, Queue::default()));
    let open = world.commit(&world.submit(1).await).await;
    let (busy, waiting) = (&open.members[0], &open.members[1]);
    let sent = busy.upload(&open, 1);
    let sending = begun(busy, &sent).await;
    let refused = waiting.send(&waiting.upload(&open, 1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "TOO_MANY_CALLS");
    use tonic_types::StatusExt as _;
    assert!(refused.get_details_retry_info().is_some());
    drop(sending);
}

/// A coordinator at which one upload transfers at a time, and the queue in which others wait.
async fn narrow(patience: Duration) -> (World, Open, Queue) {
    let pace = Pace {
        patience,
        ..Pace::default()
    };
    let queue = Queue::new(1, pace);
    let shared = queue.clone();
    let world = World::with(3, |context| context.with_uploads(10, shared));
    let open = world.commit(&world.submit(1).await).await;
    (world, open, queue)
}

/// An upload that waits for its turn behind nobody.
async fn waiting(queue: &Queue, member: &Member, sent: &Sent) -> Sending {
    let sending = member.begin();
    sending.send(Part::Header(sent.header.clone())).await;
    while queue.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    sending
}

/// Longer than any test.
const EVER: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_waits_for_its_turn_without_a_file() {
    let (world, open, queue) = narrow(EVER).await;
    let (first, second) = (&open.members[0], &open.members[1]);
    let sent = second.upload(&open, 1);
    let transfers = begun(first, &first.upload(&open, 1)).await;
    let mut waits = waiting(&queue, second, &sent).await;
    assert_eq!(world.staged_files(), 1);
    transfers.hang_up().await;
    assert!(matches!(waits.told().await, Answer::Status(status) if status.have == [0]));
    assert_eq!(world.staged_files(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn t24_an_upload_that_stalls_is_put_off_and_the_next_has_its_turn() {
    use tonic_types::StatusExt as _;
    let (_world, open, _queue) = narrow(Duration::from_millis(50)).await;
    let (first, second) = (&open.members[0], &open.members[1]);
    let sent = first.upload(&open, 1);
    let stalls = begun(first, &sent).await;
    second.send(&second.upload(&open, 1)).await.unwrap();
    let refused = stalls.refused().await;
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "TRANSFER_PUT_OFF", "{refused}");
    assert!(refused.get_details_retry_info().is_some());
    first.send(&sent).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_waits_is_replaced_by_a_newer_one() {
    let (_world, open, queue) = narrow(EVER).await;
    let (first, second) = (&open.members[0], &open.members[1]);
    let sent = second.upload(&open, 1);
    let _transfers = begun(first, &first.upload(&open, 1)).await;
    let older = waiting(&queue, second, &sent).await;
    let newer = second.begin();
    newer.send(Part::Header(sent.header.clone())).await;
    assert_eq!(reason(&older.refused().await), "UPLOAD_REPLACED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_waits_ends_when_its_round_moves_on() {
    let (_world, open, queue) = narrow(EVER).await;
    let _busy = queue.wait().await;
    let member = &open.members[0];
    let waits = waiting(&queue, member, &member.upload(&open, 1)).await;
    let round = open.run.round().unwrap();
    let over = veilsum_engine::rejection::Abort::BadSum;
    round.submit(Event::Lost(over), None).await.unwrap();
    assert_eq!(reason(&waits.refused().await), "OUT_OF_PHASE");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_cut_off_while_it_waits_leaves_the_queue() {
    let (_world, open, queue) = narrow(EVER).await;
    let (first, second) = (&open.members[0], &open.members[1]);
    let _transfers = begun(first, &first.upload(&open, 1)).await;
    let waits = waiting(&queue, second, &second.upload(&open, 1)).await;
    waits.hang_up().await;
    while queue.waiting() > 0 {
        tokio::task::yield_now().await;
    }
}

/// Scenario 47: nothing that is sized or cut in another way than the run's vectors is staged.
#[tokio::test(flavor = "multi_thread")]
async fn t32_an_upload_of_another_shape_than_the_runs_is_refused_and_nothing_of_it_counts() {
    let world = World::new(3);
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let sent = member.upload(&open, 1);
    let before = world.bytes();
    let shapes: [fn(&mut pb::UploadHeader); 6] = [
        |header| header.elements += 1,
        |header| header.elements -= 1,
        |header| header.elements = u64::MAX,
        |header| header.m += 1,
        |header| header.m = 64,
        |header| header.chunk_elems /= 2,
    ];
    for shape in shapes {
        let mut parts = sent.parts();
        if let Some(Some(Part::Header(header))) = parts.first_mut() {
            shape(header);
        }
        let refused = member.send_parts(parts).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert_eq!(reason(&refused), "PROTOCOL_VIOLATION", "{refused}");
        assert_eq!(world.bytes(), before, "refused before a byte is kept");
    }
    let pieces: [fn(&mut Vec<pb::UploadPiece>); 6] = [
        |pieces| drop(pieces.remove(0)),
        |pieces| drop(pieces.pop()),
        |pieces| pieces.push(pieces[0].clone()),
        |pieces| pieces[1].offset -= 1,
        |pieces| pieces[1].offset += 1,
        |pieces| pieces.iter_mut().for_each(|piece| piece.part = 1),
    ];
    for change in pieces {
        let mut other = member.upload(&open, 1);
        change(&mut other.pieces);
        let refused = member.send(&other).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        let round = open.run.round().unwrap();
        assert!(!round.read().uploads().contains_key(&member.index));
    }
}

#[test]
fn a_disk_without_room_is_said_by_name_and_with_the_time_to_come_again() {
    use std::io::ErrorKind;
    use tonic_types::StatusExt as _;
    let kinds = [
        (ErrorKind::StorageFull, "STORE_FULL"),
        (ErrorKind::QuotaExceeded, "STORE_FULL"),
        (ErrorKind::FileTooLarge, "STORE_FULL"),
        (ErrorKind::PermissionDenied, "STORE_UNAVAILABLE"),
    ];
    for (kind, word) in kinds {
        let source = std::sync::Arc::new(std::io::Error::from(kind));
        let path = "uploads/0".into();
        let error = crate::store::blobs::Error::Io { path, source };
        let refused = crate::grpc::status::upload(&error.into());
        assert_eq!(reason(&refused), word, "{kind:?}");
        let full = word == "STORE_FULL";
        assert_eq!(refused.get_details_retry_info().is_some(), full);
        assert_eq!(refused.code() == Code::ResourceExhausted, full);
    }
}
