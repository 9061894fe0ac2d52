//! Disks without room, of the coordinator and of a site, over real processes: each on a small file system of its own. A test that may not
//! mount one says so and passes; `resuming.rs` has the same with a limit on the length of files, which anybody may set.

use std::time::Duration;

use veilsum_proto::pb;
use veilsum_tests::summands::{SMALL, below, counts, federation, is_the_mean_of};
use veilsum_tests::{Call, Federation, Moment, Proxy, SmallDisk, Study, files};

/// Room for all that a daemon keeps of a run of [`SMALL`].
const DISK_BYTES: u64 = 64 << 20;
/// Far below a model and an upload of [`SMALL`], far above what a journal writes in one round.
const LITTLE_BYTES: u64 = 512 << 10;

fn study(sites: u32) -> String {
    let study = Study::of(sites, 1);
    Study { min: 3, ..study }.to_toml()
}

/// Without zeros, for which a file system has holes.
fn model() -> Vec<u8> {
    files::model(&vec![1.0; SMALL])
}

/// A coordinator with a disk of its own, and sites that are not started.
fn small_coordinator(sites: usize) -> Option<(Federation, SmallDisk)> {
    let mut federation = federation(sites, SMALL, "");
    drop(federation.coordinator.take());
    let data = federation.dir("main").join("data");
    std::fs::remove_dir_all(&data).ok();
    let disk = SmallDisk::mount(&data, DISK_BYTES)?;
    federation.start_coordinator();
    Some((federation, disk))
}

/// A site 0 with a disk of its own that is held where `call` says, once it is started.
async fn small_site(
    sites: usize,
    first: &str,
    (call, moment): (Call, Moment),
) -> Option<(Federation, SmallDisk, Proxy)> {
    let federation = federation(sites, SMALL, first);
    let disk = SmallDisk::mount(&federation.members[0].dir.join("data"), DISK_BYTES)?;
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold(call, moment);
    Some((federation, disk, proxy))
}

/// Three sites' updates, and nobody else's.
async fn ends_with(federation: &Federation, run: &pb::Run, sites: &[usize]) {
    let run = federation.completed(&run.run_id).await;
    assert_eq!(counts(&run), [(3, 3)]);
    let model = federation.model(&run.run_id, None).await;
    let added = files::values(&model, SMALL).into_iter();
    let added: Vec<f32> = added.map(|value| value - 1.0).collect();
    is_the_mean_of(&files::model(&added), SMALL, sites);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_waits_until_the_coordinators_disk_has_room() {
    let Some((mut federation, disk)) = small_coordinator(3) else {
        return;
    };
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold("SubmitMasked", Moment::Before);
    federation.start_all();
    let run = federation.submit(&study(3), &model()).await;
    let others = |run: &pb::Run| {
        let is = |site: &&pb::RoundParticipant| site.state() == pb::ParticipantState::Uploaded;
        run.participants.iter().filter(is).count() == 2
    };
    federation.wait(&run.run_id, others).await;
    disk.leave(LITTLE_BYTES);
    proxy.release();
    let full = "the coordinator's disk is full; its operator frees space, then send it again";
    federation.logged("site-0", &[full]).await;
    disk.free();
    ends_with(&federation, &run, &[0, 1, 2]).await;
}

/// What cannot be written down is not taken, and so nothing is lost: sites say it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_whose_journal_has_no_room_takes_nothing_until_there_is_some() {
    let Some((mut federation, disk)) = small_coordinator(3) else {
        return;
    };
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold("CommitRound", Moment::Before);
    federation.start_all();
    let run = federation.submit(&study(3), &model()).await;
    proxy.reached().await;
    disk.leave(0);
    proxy.release();
    let says = ["the journal cannot be written for now", "full"];
    federation.logged("main", &says).await;
    disk.free();
    ends_with(&federation, &run, &[0, 1, 2]).await;
    for site in &federation.members {
        assert_eq!(files::trained(&site.dir), [1]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_finds_no_room_on_the_coordinators_disk_is_computed_when_there_is_some() {
    let Some((mut federation, disk)) = small_coordinator(3) else {
        return;
    };
    // all three lists are needed: t of 3 is 3
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold("Unmask", Moment::Before);
    federation.start_all();
    let run = federation.submit(&study(3), &model()).await;
    proxy.reached().await;
    disk.leave(LITTLE_BYTES);
    proxy.release();
    let says = ["a job waits for the disk", "No space left"];
    federation.logged("main", &says).await;
    disk.free();
    ends_with(&federation, &run, &[0, 1, 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_whose_disk_has_no_room_for_the_model_sits_out() {
    let held = ("FetchModel", Moment::Before);
    let Some((mut federation, disk, proxy)) = small_site(4, "", held).await else {
        return;
    };
    federation.start_all();
    let run = federation.submit(&study(4), &model()).await;
    proxy.reached().await;
    disk.leave(LITTLE_BYTES);
    proxy.release();
    let says = ["the model cannot be used", "cannot write", "No space left"];
    federation.logged("site-0", &says).await;
    let models = federation.members[0].dir.join("data/models");
    assert!(below(&models.join(&run.run_id)).is_empty());
    ends_with(&federation, &run, &[1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_whose_disk_has_no_room_for_its_update_sits_out() {
    let wait = "cp update.safetensors \"$VEILSUM_UPDATE_OUT\"\n\
                if [ -p go ]; then echo > started; read go < go; fi";
    let held = ("Unmask", Moment::Before); // which is nothing to it
    let Some((mut federation, disk, proxy)) = small_site(4, wait, held).await else {
        return;
    };
    proxy.release();
    let dir = federation.members[0].dir.clone();
    let (started, go) = (
        files::pipe(&dir.join("started")),
        files::pipe(&dir.join("go")),
    );
    federation.start_all();
    let run = federation.submit(&study(4), &model()).await;
    started.read().await;
    disk.leave(LITTLE_BYTES);
    go.write().await;
    let says = ["the update is refused", "No space left"];
    federation.logged("site-0", &says).await;
    let updates = dir.join("data/updates");
    assert!(below(&updates.join(&run.run_id)).is_empty());
    ends_with(&federation, &run, &[1, 2, 3]).await;
}

/// What a site promises is durable first: without room for that nothing leaves, and the process ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_whose_journal_has_no_room_sends_nothing_ends_and_is_counted_when_it_is_back() {
    let held = ("GetNeighbourKeys", Moment::After);
    let Some((mut federation, disk, proxy)) = small_site(3, "", held).await else {
        return;
    };
    federation.start_all();
    let run = federation.submit(&study(3), &model()).await;
    proxy.reached().await;
    disk.leave(0);
    proxy.release();
    let site = federation.participants[0].as_mut().unwrap();
    let status = site.ended(Duration::from_secs(60)).await;
    assert!(!status.success(), "{status}");
    assert_eq!(proxy.count("SubmitMasked"), 0);
    disk.free();
    federation.start_site(0);
    ends_with(&federation, &run, &[0, 1, 2]).await;
    assert_eq!(files::trained(&federation.members[0].dir), [1]);
}
