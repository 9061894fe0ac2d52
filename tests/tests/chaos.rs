//! Pairs of daemons that die at one message, again and again in one run: every round counts everybody once.
//!
//! A [`Proxy`] before each site holds the message, so that the same things happen however fast a machine is.

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
        for victim in victims {
            proxies[victim].reached().await;
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
        let expected: Vec<u64> = (1..=rounds).collect();
        assert_eq!(files::trained(&member.dir), expected, "{}", member.name);
    }
}
