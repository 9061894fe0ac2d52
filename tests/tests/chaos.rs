//! Pairs of sites that die about one message, every third time with the coordinator, again and again in one run: every round counts
//! everybody once.

use veilsum_tests::{Federation, Moment, Proxy, Study, files};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_together_and_wherever_every_round_counts_everybody_once() {
    let calls = [
        "FetchModel",
        "CommitRound",
        "GetNeighbourKeys",
        "SubmitMasked",
        "GetShares",
        "AttestSurvivors",
        "Unmask",
    ];
    let mut federation = Federation::new(5, 5, |site, dir| files::trainer(site, dir, ""));
    let mut proxies = Vec::new();
    for site in 0..5 {
        proxies.push(Proxy::before(&federation, site).await);
    }
    federation.start_all();
    let rounds = 24;
    let run = federation
        .submit(
            &Study::of(5, rounds).to_toml(),
            &files::model(&[0.0; files::ELEMENTS]),
        )
        .await;
    // two sites at a time, one before and one after the same message; every third time the coordinator with them
    for number in 0..21 {
        let victims = [number % 5, (number + 1 + number % 4) % 5];
        for (victim, moment) in victims.into_iter().zip([Moment::Before, Moment::After]) {
            proxies[victim].hold(calls[number % 7], moment);
        }
        // the other one may be past this message, or in the middle of anything
        tokio::select! {
            () = proxies[victims[0]].reached() => {}
            () = proxies[victims[1]].reached() => {}
        }
        for victim in victims {
            federation.kill_site(victim);
            proxies[victim].lose();
        }
        if number % 3 == 0 {
            federation.restart_coordinator();
        }
        for victim in victims {
            federation.start_site(victim);
        }
    }
    let run = federation.completed(&run.run_id).await;
    for round in &run.history {
        assert_eq!((round.cohort, round.survivors), (5, 5), "{:?}", run.history);
    }
    for member in &federation.members {
        let mut trained = files::trained(&member.dir);
        trained.dedup(); // training that was cut short starts over
        assert!(trained.into_iter().eq(1..=rounds), "{}", member.name);
    }
}
