//! What the daemons take when there is nothing to do, in whatever profile the tests were built.

use veilsum_tests::{Federation, Study, files};

/// Resident memory of an idle participant and of the coordinator.
const PARTICIPANT_KIB: u64 = 20 * 1024;
const COORDINATOR_KIB: u64 = 50 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_daemons_stay_within_their_memory_after_a_run() {
    // as many as the demo's network has
    let elements = 64 * 32 + 32 + 32 * 10 + 10;
    let mut federation = Federation::new(5, 5, |site, dir| {
        let command = files::trainer(site, dir, "");
        let update = files::delta(&vec![0.25; elements]);
        std::fs::write(dir.join("update.safetensors"), update).unwrap();
        command
    });
    federation.start_all();
    let study = Study::of(5, 5).to_toml();
    let run = federation
        .submit(&study, &files::model(&vec![0.0; elements]))
        .await;
    federation.completed(&run.run_id).await;
    for site in 0..5 {
        federation
            .logged(&format!("site-{site}"), &["run completed"])
            .await;
    }
    let coordinator = federation.coordinator.as_ref().unwrap().resident_kib();
    let sites: Vec<u64> = federation
        .participants
        .iter()
        .map(|site| site.as_ref().unwrap().resident_kib())
        .collect();
    eprintln!("coordinator {coordinator} KiB, participants {sites:?} KiB");
    assert!(coordinator <= COORDINATOR_KIB, "{coordinator} KiB");
    for site in sites {
        assert!(site <= PARTICIPANT_KIB, "{site} KiB");
    }
}
