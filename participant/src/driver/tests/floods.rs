//! More, larger or emptier answers than any honest coordinator gives: each is an error with a name, and little of it is kept.

use std::sync::Arc;

use prost::Message as _;
use veilsum_common::RunId;
use veilsum_common::limits::{MAX_CALL_BYTES, MAX_NEWS_BYTES, MAX_NOTICES};
use veilsum_proto::pb;
use veilsum_secagg::Digest;

use super::bench::Bench;
use super::coordinator::Coordinator;
use crate::link::LinkError;
use crate::models::{ModelFault, Models};

const RUN: RunId = RunId::from_bytes([7; 16]);
const ANN: Digest = Digest([1; 32]);

fn item(ciphertext_bytes: usize) -> pb::GetSharesResponse {
    pb::GetSharesResponse {
        item: Some(pb::ShareItem {
            ct: vec![0; ciphertext_bytes],
            ..pb::ShareItem::default()
        }),
    }
}

#[tokio::test]
async fn t24_a_list_is_bounded_in_number_and_size_and_has_no_holes() {
    let coordinator = Arc::new(Coordinator::default());
    let link = coordinator.serve().await;
    let says = |items| coordinator.shares.lock().unwrap().push_back(Ok(items));

    says(vec![pb::GetSharesResponse { item: None }; 3]);
    let refused = link.shares(RUN, ANN, 5).await.unwrap_err();
    assert!(refused.to_string().contains("item"), "{refused}");
    says(vec![item(MAX_CALL_BYTES)]);
    let refused = link.shares(RUN, ANN, 5).await.unwrap_err();
    assert!(matches!(refused, LinkError::Status(_)), "{refused}");
    coordinator
        .keys
        .lock()
        .unwrap()
        .push_back(Ok(vec![pb::GetNeighbourKeysResponse { item: None }]));
    let refused = link.neighbourhood(RUN, ANN, 5).await.unwrap_err();
    assert!(refused.to_string().contains("item"), "{refused}");
    let path = pb::NeighbourItem {
        item: Some(pb::neighbour_item::Item::Own(pb::MerklePath::default())),
    };
    let own = pb::GetNeighbourKeysResponse { item: Some(path) };
    coordinator
        .keys
        .lock()
        .unwrap()
        .push_back(Ok(vec![own; 100_000]));
    let refused = link.neighbourhood(RUN, ANN, 5).await.unwrap_err();
    assert!(
        matches!(refused, LinkError::TooMany { limit: 6 }),
        "{refused}"
    );
}

#[tokio::test]
async fn t24_pieces_of_a_model_are_neither_empty_nor_unset_nor_too_many() {
    let coordinator = Arc::new(Coordinator::default());
    let link = coordinator.serve().await;
    let piece = |offset: u64, data: &[u8]| pb::FetchModelResponse {
        chunk: Some(pb::BlobChunk {
            offset,
            blake3: blake3::hash(data).as_bytes().to_vec(),
            data: data.to_vec().into(),
            ..pb::BlobChunk::default()
        }),
    };
    let says = |pieces| coordinator.model.lock().unwrap().push_back(Ok(pieces));
    let whole = Digest::of_bulk(b"model");

    let dir = tempfile::tempdir().unwrap();
    let models = |limit_bytes| Models::new(link.clone(), RUN, dir.path(), limit_bytes);

    says(vec![piece(0, b""); 1000]);
    let refused = models(100).get(whole).await.err().unwrap();
    assert!(
        matches!(refused, ModelFault::Link(LinkError::Piece)),
        "{refused}"
    );
    says(vec![pb::FetchModelResponse { chunk: None }]);
    let refused = models(100).get(whole).await.err().unwrap();
    assert!(refused.to_string().contains("chunk"), "{refused}");
    says(vec![piece(0, b"mod"), piece(3, b"el")]);
    let refused = models(4).get(whole).await.err().unwrap();
    assert!(
        matches!(
            refused,
            ModelFault::Link(LinkError::TooLong { limit_bytes: 4 })
        ),
        "{refused}"
    );
    says(vec![piece(0, b"mod"), piece(3, b"els")]);
    let refused = models(6).get(whole).await.err().unwrap();
    assert!(
        matches!(refused, ModelFault::Link(LinkError::Model { .. })),
        "{refused}"
    );
    says(vec![piece(0, b"mod"), piece(3, b"el")]);
    let model = models(5).get(whole).await.unwrap();
    assert_eq!(std::fs::read(model.path).unwrap(), b"model");
}

#[tokio::test]
async fn t24_an_answer_to_a_poll_has_no_more_notices_than_it_may() {
    let coordinator = Arc::new(Coordinator::default());
    let link = coordinator.serve().await;
    for (count, taken) in [(MAX_NOTICES, true), (MAX_NOTICES + 1, false)] {
        let notices = vec![pb::Notice::default(); count];
        let cursor = Vec::new();
        coordinator
            .news
            .lock()
            .unwrap()
            .push_back(pb::PollResponse { notices, cursor });
        assert_eq!(link.poll(Some(RUN), Vec::new(), 0).await.is_ok(), taken);
    }
    let cursor = vec![0; 1000];
    let news = pb::PollResponse {
        cursor,
        ..pb::PollResponse::default()
    };
    coordinator.news.lock().unwrap().push_back(news);
    assert!(
        link.poll(Some(RUN), Vec::new(), 0).await.is_err(),
        "nothing so long is sent back"
    );
}

#[tokio::test]
async fn t24_an_answer_to_a_poll_is_not_read_if_it_is_one_byte_too_long() {
    let coordinator = Arc::new(Coordinator::default());
    let link = coordinator.serve().await;
    for (bytes, taken) in [(MAX_NEWS_BYTES, true), (MAX_NEWS_BYTES + 1, false)] {
        let news = news_of(bytes);
        assert_eq!(news.encoded_len(), bytes);
        coordinator.news.lock().unwrap().push_back(news);
        match link.poll(Some(RUN), Vec::new(), 0).await {
            Ok(_) => assert!(taken, "{bytes} bytes were read"),
            Err(refused) => {
                assert!(!taken, "{refused}");
                let text = refused.to_string();
                assert!(
                    text.contains(&format!("the {MAX_NEWS_BYTES} bytes")),
                    "{text}"
                );
            }
        }
    }
}

/// One notice and no more, exactly so long on the wire.
fn news_of(bytes: usize) -> pb::PollResponse {
    let notice = |padding: usize| pb::Notice {
        run_id: vec![0; padding],
        notice: None,
    };
    let of = |padding| pb::PollResponse {
        notices: vec![notice(padding)],
        cursor: Vec::new(),
    };
    let around = of(bytes / 2).encoded_len() - bytes / 2;
    of(bytes - around)
}

/// What a line says of its place is compared with where it stands: an answer that leaves a member out is no roster.
#[tokio::test]
async fn t24_a_roster_whose_lines_name_other_places_is_refused() {
    let coordinator = Arc::new(Coordinator::default());
    let link = coordinator.serve().await;
    let member = Bench::new().peer(2);
    let line = |index| pb::GetRosterResponse {
        entry: Some((index, member.clone()).into()),
    };
    let says = |places: [u32; 3]| {
        let lines = places.map(line).to_vec();
        coordinator.roster.lock().unwrap().push_back(Ok(lines));
    };
    says([0, 1, 2]);
    assert_eq!(link.roster(RUN, 1, 3).await.unwrap().len(), 3);
    says([0, 2, 1]);
    let refused = link.roster(RUN, 1, 3).await.unwrap_err().to_string();
    assert!(refused.contains("entry.index is 2, must be 1"), "{refused}");
}
