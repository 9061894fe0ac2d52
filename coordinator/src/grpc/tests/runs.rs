use std::time::Duration;

use tonic::Code;
use veilsum_common::limits::{MAX_PAGE_LEN, PIECE_BYTES};
use veilsum_proto::pb;
use veilsum_proto::pb::create_run_request::Part;

use super::kit::{World, model, reason, study, until};

fn header(study: &str) -> Option<Part> {
    Some(Part::Header(pb::CreateRunHeader {
        study: study.as_bytes().to_vec(),
        request_id: "00000000-0000-0000-0000-000000000001".to_owned(),
    }))
}

fn piece(offset: u64, data: &[u8]) -> Option<Part> {
    Some(Part::Piece(pb::BlobChunk {
        offset,
        blake3: blake3::hash(data).as_bytes().to_vec(),
        data: data.to_vec().into(),
        total_bytes: 0,
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_is_a_header_and_pieces_and_nothing_else() {
    let world = World::new(3);
    let check = async |parts: Vec<Option<Part>>, says: &str| {
        let parts = parts.into_iter().map(|part| pb::CreateRunRequest { part });
        let parts = tokio_stream::iter(parts.collect::<Vec<_>>());
        let refused = world.runs().create_run(parts).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert_eq!(reason(&refused), "INVALID_MESSAGE", "{refused}");
        assert!(refused.message().contains(says), "{refused}");
    };
    let (study, model) = (study(3), model());
    check(vec![], "one header").await;
    check(vec![None], "field part is missing").await;
    check(vec![piece(0, &model)], "one header").await;
    check(vec![header(&study), header(&study)], "one header").await;
    check(vec![header(&study), None], "field part is missing").await;
    check(vec![header(&study), piece(1, &model)], "do not follow").await;
    check(vec![header(&study), piece(0, &[])], "is empty").await;
    let long = vec![0; PIECE_BYTES + 1];
    check(vec![header(&study), piece(0, &long)], "longer than 256 KiB").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_page_token_is_answered() {
    let world = World::new(3);
    let run = world.submit(1).await;
    for token in [u64::MAX, u64::MAX - 1, 1 << 63, 1, 2] {
        let request = pb::ListRunsRequest {
            page_size: u32::MAX,
            page_token: token.to_string(),
        };
        let page = world.runs().list_runs(request).await.unwrap().into_inner();
        assert!(page.runs.is_empty() && page.next_page_token.is_empty());
        let request = pb::ListModelsRequest {
            run_id: run.spec().run_id().to_string(),
            page_size: MAX_PAGE_LEN.try_into().unwrap(),
            page_token: token.to_string(),
        };
        world.runs().list_models(request).await.unwrap();
    }
    let request = pb::ListRunsRequest {
        page_token: "-1".to_owned(),
        ..pb::ListRunsRequest::default()
    };
    let refused = world.runs().list_runs(request).await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_MESSAGE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_told_page_by_page() {
    let world = World::new(3);
    let mut submitted = Vec::new();
    for id in 1..=5 {
        submitted.push(world.submit(id).await.spec().run_id().to_string());
    }
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListRunsRequest {
            page_size: 2,
            page_token,
        };
        let page = world.runs().list_runs(request).await.unwrap().into_inner();
        assert!(page.runs.len() <= 2);
        seen.extend(page.runs.into_iter().map(|run| run.run_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    seen.sort();
    submitted.sort();
    assert_eq!(seen, submitted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_offers_is_empty_or_one_of_ours() {
    let world = World::new(3);
    for bytes in [0, 8] {
        let request = pb::PollRequest {
            cursor: vec![0; bytes],
            ..pb::PollRequest::default()
        };
        world.rounds(0).poll(request).await.unwrap();
    }
    for bytes in [1, 7, 9, 17, 60_000] {
        let request = pb::PollRequest {
            cursor: vec![0; bytes],
            ..pb::PollRequest::default()
        };
        let refused = world.rounds(0).poll(request).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_MESSAGE");
        assert!(refused.message().contains("field cursor"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_run_is_shown_as_such_and_the_others_are_served() {
    let world = World::new(3);
    let (broken, whole) = (world.submit(1).await, world.submit(2).await);
    let [broken, whole] = [broken, whole].map(|run| run.spec().run_id());
    std::fs::remove_file(world.dir.path().join(format!("keys/{broken}.key"))).unwrap();
    let again = world.restarted().await;
    let get = async |run: veilsum_common::RunId| {
        let request = pb::GetRunRequest {
            run_id: run.to_string(),
            history_from: 0,
        };
        again.runs().get_run(request).await
    };
    get(whole).await.unwrap();
    let refused = get(broken).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(reason(&refused), "RUN_DAMAGED");
    assert!(refused.message().contains("key file"), "{refused}");
    let listed = again.runs().list_runs(pb::ListRunsRequest::default()).await;
    let listed = listed.unwrap().into_inner().runs;
    let shown = listed.iter().find(|run| run.run_id == broken.to_string());
    let shown = shown.expect("the list has it");
    assert_eq!(shown.state(), pb::RunState::Failed);
    assert_eq!(shown.reason.as_ref().unwrap().code, "RUN_DAMAGED");
    assert_eq!(listed.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_peers_are_told_names_no_file_of_the_coordinator() {
    let world = World::new(3);
    let open = world.commit(&world.submit(1).await).await;
    let member = &open.members[0];
    let uploads = world.dir.path().join("uploads");
    std::fs::remove_dir_all(&uploads).unwrap();
    std::fs::write(&uploads, "not a directory").unwrap();
    let refused = member.send(&member.upload(&open, 1)).await.unwrap_err();
    assert_eq!(reason(&refused), "STORE_UNAVAILABLE");
    let path = world.dir.path().to_str().unwrap();
    assert!(!refused.message().contains(path), "{refused}");
}

/// Nobody is online, so the attempt waits for holders; whoever comes back later must not be given one of a run that is over.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_waits_for_holders_notices_that_its_run_was_cancelled() {
    let world = World::new(3);
    let run = world.submit(1).await;
    world.enrol(&run).await;
    until(&run, |run| run.run().read().current().is_some()).await;
    let next = run.run().read().current().cloned().unwrap();
    let sites = ["site-0", "site-1", "site-2"].map(|site| site.parse().unwrap());
    let request = pb::CancelRunRequest {
        run_id: run.spec().run_id().to_string(),
        request_id: "00000000-0000-0000-0000-000000000002".to_owned(),
    };
    let mut operator = world.runs();
    let both = async { tokio::join!(run.holders(&sites, &next), operator.cancel_run(request)) };
    let (holders, cancelled) = tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .expect("it does not wait for sites any more");
    cancelled.unwrap();
    assert!(holders.is_none());
}
