//! Attacks of the protocol, section 23, on daemons as processes: floods, what never ends, a second roster, and a disk of which only a part
//! went back in time.

#![expect(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use std::fs;
use std::path::Path;

use veilsum_proto::pb;
use veilsum_proto::pb::notice::Notice;
use veilsum_proto::pb::round_service_client::RoundServiceClient;
use veilsum_tests::{Federation, Moment, Process, Proxy, Sent, Study, files};

const SITES: u32 = 5;

/// Five sites; between the first one and the coordinator stands somebody else.
async fn attacked() -> (Federation, Proxy) {
    let federation = Federation::new(SITES as usize, 3, |site, dir| files::trainer(site, dir, ""));
    let between = Proxy::before(&federation, 0).await;
    (federation, between)
}

fn model() -> Vec<u8> {
    files::model(&[0.0; files::ELEMENTS])
}

fn study(rounds: u64) -> String {
    let study = Study {
        min: 3,
        join: "10s",
        report: "3s",
        ..Study::of(SITES, rounds)
    };
    study.to_toml()
}

/// T-10: of the same epoch, after the one that the site has confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t10_a_second_roster_that_is_offered_over_the_wire_is_not_signed() {
    let (mut federation, liar) = attacked().await;
    liar.lie("Poll", |mut answer: pb::PollResponse| {
        let honest = std::mem::take(&mut answer.notices);
        for told in honest {
            let mut other = told.clone();
            answer.notices.push(told);
            if let Some(Notice::RosterReady(ready)) = &mut other.notice {
                ready.roster_root = vec![7; 32];
                answer.notices.push(other);
            }
        }
        vec![answer]
    });
    federation.start_all();
    let run = federation.submit(&study(1), &model()).await;
    let run = federation.completed(&run.run_id).await;
    assert_eq!(liar.count("ConfirmRoster"), 1);
    assert_eq!((run.history[0].cohort, run.history[0].survivors), (5, 5));
}

/// T-24, at a site: a list without end, and a message that is longer than any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t24_a_coordinator_that_never_stops_talking_does_not_fill_a_sites_memory() {
    let (mut federation, liar) = attacked().await;
    federation.start_all();
    let run = federation.submit(&study(3), &model()).await;
    federation
        .wait(&run.run_id, |run| run.rounds_done >= 1)
        .await;
    let site = |federation: &Federation| {
        federation.participants[0]
            .as_ref()
            .map(Process::resident_kib)
    };
    let before = site(&federation).unwrap();
    liar.lie("GetShares", |item: pb::GetSharesResponse| {
        vec![item; 20_000]
    });
    liar.lie("GetSurvivors", |mut item: pb::GetSurvivorsResponse| {
        let signed = item.item.as_mut().unwrap();
        signed.sig_upload = vec![0; 64 << 20];
        vec![item]
    });
    let run = federation.completed(&run.run_id).await;
    let told = ["the coordinator's list has more than 5 entries"];
    federation.logged("site-0", &told).await;
    let grown = site(&federation).unwrap().saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB");
    for round in &run.history {
        assert_eq!((round.cohort, round.survivors), (5, 5), "{round:?}");
    }
}

/// T-24: a client that counts nothing keeps whatever it is told, and asked for the shares of five.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t24_without_a_limit_a_list_takes_as_much_memory_as_the_coordinator_likes() {
    let (federation, liar) = attacked().await;
    federation.submit(&study(1), &model()).await; // it listens now
    liar.lie("GetShares", |_: pb::GetSharesResponse| {
        let item = pb::ShareItem {
            ct: vec![7; 1024],
            ..pb::ShareItem::default()
        };
        vec![pb::GetSharesResponse { item: Some(item) }; 20_000]
    });
    let mut client = RoundServiceClient::new(federation.channel_to("site-0", &liar.url));
    let answer = client.get_shares(pb::GetSharesRequest::default()).await;
    let (mut stream, mut kept) = (answer.unwrap().into_inner(), Vec::new());
    while let Some(item) = stream.message().await.unwrap() {
        kept.extend(item.item);
    }
    let bytes: usize = kept.iter().map(|item| item.ct.len()).sum();
    assert_eq!((kept.len(), bytes), (20_000, 20_000 << 10));
}

/// T-24, at the coordinator: whoever has a site's certificate opens connections, says what is too long or no message at all, and begins
/// uploads that never end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t24_a_hostile_participant_neither_stops_the_others_nor_fills_the_coordinator() {
    let (mut federation, hostile) = attacked().await;
    federation.start_all();
    let run = federation.submit(&study(2), &model()).await;
    hostile.hold("SubmitMasked", Moment::After);
    hostile.reached().await; // it has uploaded, and now its process is another
    federation.kill_site(0);
    hostile.lose();
    let memory =
        |federation: &Federation| federation.coordinator.as_ref().map(Process::resident_kib);
    let before = memory(&federation).unwrap();
    let connect = || federation.channel("site-0");

    let polls: Vec<_> = (0..100)
        .map(|_| {
            let mut client = RoundServiceClient::new(connect());
            let request = pb::PollRequest {
                hold_ms: 55_000,
                ..pb::PollRequest::default()
            };
            tokio::spawn(async move { drop(client.poll(request).await) })
        })
        .collect();
    let upload = hostile
        .sent()
        .iter()
        .find(|sent| sent.call == "SubmitMasked")
        .unwrap()
        .messages();
    let [header, piece, ..] = &upload[..] else {
        panic!("an upload has a header and pieces")
    };
    let [header, piece] = [header, piece]
        .map(|bytes| <pb::SubmitMaskedRequest as prost::Message>::decode(&bytes[..]).unwrap());
    let endless = std::iter::once(header).chain(std::iter::repeat(piece));
    let uploads: Vec<_> = (0..3)
        .map(|_| {
            let mut client = RoundServiceClient::new(connect());
            let stream = tokio_stream::iter(endless.clone());
            tokio::spawn(async move {
                let mut answers = client.submit_masked(stream).await?.into_inner();
                while answers.message().await?.is_some() {}
                Ok::<(), tonic::Status>(())
            })
        })
        .collect();
    let too_long = pb::ConfirmRosterRequest {
        run_id: vec![0; 8 << 20],
        ..pb::ConfirmRosterRequest::default()
    };
    let refused = RoundServiceClient::new(connect())
        .confirm_roster(too_long)
        .await;
    assert!(refused.is_err());
    let no_message = Sent::made_up("JoinEpoch", &[0xff; 64]);
    no_message.again(connect()).await;

    let run = federation.completed(&run.run_id).await;
    let counts = run
        .history
        .iter()
        .map(|round| (round.cohort, round.survivors));
    assert_eq!(counts.collect::<Vec<_>>(), [(5, 5), (4, 4)]);
    for upload in uploads {
        assert!(upload.await.unwrap().is_err());
    }
    polls.iter().for_each(tokio::task::JoinHandle::abort);
    let grown = memory(&federation).unwrap().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB");
}

/// A directory and everything below it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Puts a directory back to what a copy of it has.
fn restore(copied: &Path, dir: &Path) {
    fs::remove_dir_all(dir).unwrap();
    copy(copied, dir);
}

/// T-72: the disk had the release, and the process was killed before the marker was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t72_a_site_killed_between_store_and_marker_goes_on_as_if_nothing_had_been() {
    let (mut federation, proxy) = attacked().await;
    federation.start_all();
    let run = federation.submit(&study(3), &model()).await;
    proxy.hold("AttestSurvivors", Moment::Before);
    proxy.reached().await;
    let dir = federation.members[0].dir.clone();
    let (marker, older) = (dir.join("data-marker"), dir.join("older-marker"));
    copy(&marker, &older);
    proxy.hold("Unmask", Moment::Before);
    proxy.reached().await; // released: in the store and in the marker
    federation.kill_site(0);
    restore(&older, &marker);
    proxy.lose();
    federation.start_site(0);
    let run = federation.completed(&run.run_id).await;
    for round in &run.history {
        assert_eq!((round.cohort, round.survivors), (5, 5), "{round:?}");
    }
    assert!(!federation.log("site-0").contains("rollback marker"));
}

/// T-72: the store was copied before an abort was signed, and put back afterwards; the marker was not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t72_a_site_restored_from_before_its_abort_signature_gives_neither_share_nor_signature() {
    let (mut federation, proxy) = attacked().await;
    let second = Proxy::before(&federation, 1).await;
    proxy.hold("GetNeighbourKeys", Moment::Before);
    second.hold("GetNeighbourKeys", Moment::Before);
    federation.start_all();
    let run = federation.submit(&study(1), &model()).await;
    proxy.reached().await;
    second.reached().await;
    federation.kill_site(0);
    federation.kill_site(1); // three uploads are too few, so the attempt is given up
    let dir = federation.members[0].dir.clone();
    let (data, older) = (dir.join("data"), dir.join("older"));
    copy(&data, &older);
    federation
        .logged("site-2", &["the attempt is given up"])
        .await;
    proxy.lose();
    proxy.hold("AttestAbort", Moment::After);
    second.lose();
    // Three signatures do not end the attempt: site 0 is asked for the fourth, while site 1 is still down.
    federation.start_site(0);
    proxy.reached().await; // the coordinator has its signature
    federation.kill_site(0);
    federation.start_site(1);
    restore(&older, &data);
    let said = |call| proxy.count(call);
    let before = (said("AttestAbort"), said("AttestSurvivors"), said("Unmask"));
    proxy.lose();
    federation.start_site(0);
    federation
        .logged(
            "site-0",
            &["rollback marker", "takes no part in the run any more"],
        )
        .await;
    let run = federation.completed(&run.run_id).await;
    assert_eq!((run.history[0].cohort, run.history[0].survivors), (4, 4));
    assert_eq!(
        (said("AttestAbort"), said("AttestSurvivors"), said("Unmask")),
        before
    );
}
