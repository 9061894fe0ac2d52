use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::Request;
use hyper::body::Frame;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;
use veilsum_common::limits::{MAX_CALL_BYTES, MAX_PART_BYTES, PIECE_BYTES, RETRY_AFTER_MS};
use veilsum_proto::pb;
use veilsum_proto::pb::round_service_client::RoundServiceClient;
use veilsum_proto::pb::submit_masked_request::Part;

use super::kit::{CALLS_PER_PEER, World, poll, reason};
use crate::serve::PeerCertificate;

/// What comes back for raw bytes as the body of a call.
async fn answer(world: &World, path: &str, body: Vec<u8>) -> Status {
    let request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .body(Body::new(Raw(Some(body.into()))))
        .unwrap();
    let response = world.site_door(0).oneshot(request).await.unwrap();
    Status::from_header_map(response.headers()).expect("a refusal stands in the headers")
}

/// The body of a call, byte for byte.
struct Raw(Option<Bytes>);

impl hyper::body::Body for Raw {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// A message as gRPC frames it.
fn framed(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap();
    [&[0][..], &len.to_be_bytes(), message].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_cannot_be_read_is_refused_with_a_reason() {
    let world = World::new(3);
    let check = async |path: &str, body: Vec<u8>, code: Code, word: &str| {
        let status = answer(&world, path, body).await;
        assert_eq!(
            (status.code(), &*reason(&status)),
            (code, word),
            "{path}: {status}"
        );
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.domain, "veilsum");
    };
    let poll = "/veilsum.v1.RoundService/Poll";
    let invalid = (Code::InvalidArgument, "INVALID_MESSAGE");
    for body in [
        vec![],                                  // no message at all
        framed(&[0xff; 10]),                     // no protobuf
        framed(&[0x0a, 0xff, 0xff, 0xff, 0x7f]), // a length far beyond the end
        vec![7, 0, 0, 0, 0],                     // a flag that does not exist
        vec![1, 0, 0, 0, 0],                     // compressed, nobody says how
        vec![0, 0, 0, 0, 9, 1],                  // cut short
    ] {
        check(poll, body, invalid.0, invalid.1).await;
    }
    let (out, large) = (Code::OutOfRange, "MESSAGE_TOO_LARGE");
    check(poll, vec![0, 0xff, 0xff, 0xff, 0xff], out, large).await;
    check(poll, framed(&vec![0; MAX_CALL_BYTES + 1]), out, large).await;
    let upload = "/veilsum.v1.RoundService/SubmitMasked";
    check(upload, framed(&vec![0; MAX_PART_BYTES + 1]), out, large).await;
    check(upload, framed(&[0xff; 10]), invalid.0, invalid.1).await;
    for path in [
        "/veilsum.v1.RoundService/Nothing",
        "/veilsum.v2.RoundService/Poll",
        "/",
    ] {
        check(path, framed(&[]), Code::Unimplemented, "UNIMPLEMENTED").await;
    }
}

/// TLS looked at the date once, when the connection was made.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_while_its_connection_is_open_is_refused_and_its_peer_sent_away()
{
    let world = World::new(3);
    let (good, expired) = (world.shown(0, 4000), world.shown(0, 2020));
    let call = async |certificate: &PeerCertificate| {
        let mut calls = RoundServiceClient::new(world.door_of(certificate.clone()));
        calls.poll(poll(&[])).await
    };
    call(&good).await.unwrap();
    assert!(!*good.sent_away().borrow());
    let refused = call(&expired).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(reason(&refused), "NOT_AUTHENTICATED");
    assert!(refused.message().contains("has expired"), "{refused}");
    assert!(*expired.sent_away().borrow());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_honest_messages_are_within_their_limits() {
    let world = World::new(3);
    // Refused for what it says, not for how long it is.
    let piece = pb::UploadPiece {
        part: u64::MAX,
        offset: u64::MAX,
        data: vec![0; PIECE_BYTES].into(),
        digest: vec![0; 32],
    };
    let message = pb::SubmitMaskedRequest {
        part: Some(Part::Piece(piece)),
    };
    let refused = world
        .rounds(0)
        .submit_masked(tokio_stream::once(message))
        .await
        .unwrap_err();
    assert!(
        refused.message().contains("begins with its header"),
        "{refused}"
    );
    let advertisement = pb::Advertisement {
        cert_chain: vec![vec![0; 8 * 1024]; 4],
        binding: Some(pb::Binding {
            org: "o".repeat(255),
            site: "s".repeat(255),
            sig: vec![0; 1024],
            ..pb::Binding::default()
        }),
        ..pb::Advertisement::default()
    };
    let request = pb::JoinEpochRequest {
        run_id: vec![0; 16],
        advertisement: Some(advertisement),
    };
    let refused = world.rounds(0).join_epoch(request).await.unwrap_err();
    assert_eq!(reason(&refused), "RUN_NOT_FOUND");
    let commit = pb::RoundCommit {
        share_list: vec![0; 128 * 64],
        ct: vec![vec![0; 80]; 128],
        ..pb::RoundCommit::default()
    };
    let request = pb::CommitRoundRequest {
        run_id: vec![0; 16],
        commit: Some(commit),
    };
    let refused = world.rounds(0).commit_round(request).await.unwrap_err();
    assert_eq!(reason(&refused), "RUN_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_field_is_named_for_programs() {
    let world = World::new(3);
    let request = pb::FetchRunRequest {
        run_id: vec![0; 15],
    };
    let refused = world.rounds(0).fetch_run(request).await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_MESSAGE");
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].field, "run_id");
    assert_eq!(violations[0].description, "has 15 bytes, must have 16");
}

#[tokio::test(flavor = "multi_thread")]
async fn t24_a_peer_with_too_many_calls_puts_off_itself_alone() {
    let world = World::new(2);
    let hold = pb::PollRequest {
        cursor: u64::MAX.to_le_bytes().to_vec(),
        hold_ms: 55_000,
        ..pb::PollRequest::default()
    };
    let held: Vec<_> = (0..CALLS_PER_PEER)
        .map(|_| {
            let (mut calls, request) = (world.rounds(0), hold.clone());
            // A quick call may take one's place for a moment.
            tokio::spawn(async move { while calls.poll(request.clone()).await.is_err() {} })
        })
        .collect();
    let quick = pb::PollRequest {
        hold_ms: 0,
        ..hold.clone()
    };
    // Polls are held one after the other; from the last one on there is no room.
    let refused = loop {
        match world.rounds(0).poll(quick.clone()).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "TOO_MANY_CALLS");
    let delay = refused.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(delay.unwrap().as_millis(), u128::from(RETRY_AFTER_MS));
    world.rounds(1).poll(quick.clone()).await.unwrap();
    for poll in held {
        poll.abort();
        poll.await.unwrap_err();
    }
    world.rounds(0).poll(quick).await.unwrap();
}
