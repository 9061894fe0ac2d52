//! What the daemons take when there is nothing to do, in whatever profile the tests were built.

use veilsum_tests::{Federation, Process, Study, files};

/// Resident memory of an idle participant and of the coordinator.
const PARTICIPANT_KIB: u64 = 20 * 1024;
const COORDINATOR_KIB: u64 = 50 * 1024;

/// A crash writes no secret to disk (T-51): no core file, and nobody but root may look into the process.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t51_no_daemon_dumps_its_memory() {
    use std::os::unix::fs::MetadataExt as _;

    let mut federation = Federation::new(3, 3, |site, dir| files::trainer(site, dir, ""));
    federation.start_all();
    for site in 0..3 {
        federation
            .logged(&format!("site-{site}"), &["participant ready"])
            .await;
    }
    let coordinator = federation.coordinator.as_ref().unwrap().id();
    let sites = federation.participants.iter().flatten().map(Process::id);
    for id in sites.chain([coordinator]) {
        let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core"));
        let words: Vec<&str> = core.unwrap().split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "{limits}");
        let owner = std::fs::metadata(format!("/proc/{id}/environ"))
            .unwrap()
            .uid();
        assert_eq!(owner, 0, "what is not dumpable belongs to root");
    }
}

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
