//! Daemons that are killed, or asked to stop, between any two messages: nothing is trained twice, counted twice or lost.
//!
//! A [`Proxy`] holds the message at which a process dies, so that no test depends on how fast a machine is.

use std::time::Duration;

use veilsum_proto::pb;
use veilsum_tests::{Federation, Moment, Proxy, Study, files};

/// The drain limit of a coordinator, and a little.
const DRAIN: Duration = Duration::from_secs(35);

fn federation(sites: usize, min_cohort: u32) -> Federation {
    Federation::new(sites, min_cohort, |site, dir| files::trainer(site, dir, ""))
}

fn model() -> Vec<u8> {
    files::model(&[0.0; files::ELEMENTS])
}

/// Cohort and survivors of every round.
fn counts(run: &pb::Run) -> Vec<(u32, u32)> {
    let rounds = run.history.iter();
    rounds
        .map(|round| (round.cohort, round.survivors))
        .collect()
}

/// Every site was started once for every round.
fn trained_once(federation: &Federation, rounds: u64) {
    for member in &federation.members {
        let expected: Vec<u64> = (1..=rounds).collect();
        assert_eq!(files::trained(&member.dir), expected, "{}", member.name);
    }
}

/// Kills site 0 at its next `call`, and starts it again.
async fn kill_at(federation: &mut Federation, proxy: &Proxy, call: &'static str, moment: Moment) {
    proxy.hold(call, moment);
    proxy.reached().await;
    federation.kill_site(0);
    proxy.lose();
    federation.start_site(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_killed_at_any_message_comes_back_and_is_counted_in_every_round() {
    let calls = [
        "JoinEpoch",
        "GetRoster",
        "ConfirmRoster",
        "FetchModel",
        "CommitRound",
        "GetNeighbourKeys",
        "SubmitMasked",
        "GetShares",
        "GetSurvivors",
        "AttestSurvivors",
        "Unmask",
    ];
    let mut federation = federation(5, 5);
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold(calls[0], Moment::Before);
    federation.start_all();
    // the threshold of five holders is four: a round does not wait for the last message of a site that is away
    let rounds = 12;
    let run = federation
        .submit(&Study::of(5, rounds).to_toml(), &model())
        .await;
    for call in calls {
        for moment in [Moment::Before, Moment::After] {
            kill_at(&mut federation, &proxy, call, moment).await;
        }
    }
    let run = federation.completed(&run.run_id).await;
    assert_eq!(counts(&run), vec![(5, 5); 12]);
    trained_once(&federation, rounds);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_killed_between_its_commit_and_its_upload_is_back_in_the_same_epoch_for_the_next_round()
 {
    let mut federation = federation(5, 4);
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold("SubmitMasked", Moment::Before);
    federation.start_all();
    let study = Study {
        min: 4,
        report: "2s",
        ..Study::of(5, 2)
    };
    let run = federation.submit(&study.to_toml(), &model()).await;
    proxy.reached().await;
    federation.kill_site(0);
    proxy.lose();
    federation
        .wait(&run.run_id, |run| run.rounds_done == 1)
        .await;
    federation.start_site(0);
    let run = federation.completed(&run.run_id).await;
    assert_eq!(counts(&run), [(5, 4), (5, 5)]);
    assert_eq!(run.history[0].dropped, ["site-0"]);
    // attempts are counted within an epoch
    assert_eq!(run.history[1].seq, run.history[0].seq + 1);
    trained_once(&federation, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_killed_in_the_middle_of_a_round_completes_the_run_and_nobody_trains_twice() {
    let mut federation = federation(5, 5);
    let proxy = Proxy::before(&federation, 0).await;
    let stops = [
        ("ConfirmRoster", Moment::Before),
        ("CommitRound", Moment::Before),
        ("CommitRound", Moment::After),
        ("SubmitMasked", Moment::Before),
        ("SubmitMasked", Moment::After),
        ("AttestSurvivors", Moment::After),
        ("Unmask", Moment::Before),
        ("Unmask", Moment::After),
    ];
    proxy.hold(stops[0].0, stops[0].1);
    federation.start_all();
    let rounds = 8;
    let run = federation
        .submit(&Study::of(5, rounds).to_toml(), &model())
        .await;
    for (call, moment) in stops {
        proxy.hold(call, moment);
        proxy.reached().await;
        federation.restart_coordinator();
        proxy.release();
    }
    let run = federation.completed(&run.run_id).await;
    assert_eq!(counts(&run), vec![(5, 5); 8]);
    trained_once(&federation, rounds);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_killed_after_its_release_is_not_needed_any_more() {
    let mut federation = federation(3, 3);
    let (killed, slow) = (
        Proxy::before(&federation, 0).await,
        Proxy::before(&federation, 1).await,
    );
    killed.hold("Unmask", Moment::After);
    slow.hold("Unmask", Moment::Before);
    federation.start_all();
    let run = federation
        .submit(&Study::of(3, 2).to_toml(), &model())
        .await;
    killed.reached().await;
    slow.reached().await;
    federation.kill_site(0);
    killed.lose();
    slow.release();
    federation
        .wait(&run.run_id, |run| run.rounds_done == 1)
        .await;
    federation.start_site(0);
    let run = federation.completed(&run.run_id).await;
    assert_eq!(counts(&run), [(3, 3), (3, 3)]);
    trained_once(&federation, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_killed_before_its_release_is_waited_for_and_releases_when_it_is_back() {
    let mut federation = federation(3, 3);
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold("Unmask", Moment::Before);
    federation.start_all();
    let run = federation
        .submit(&Study::of(3, 1).to_toml(), &model())
        .await;
    proxy.reached().await;
    federation.kill_site(0);
    proxy.lose();
    let waiting = federation.wait(&run.run_id, |_| true).await;
    assert_eq!(waiting.rounds_done, 0, "three of three holders are needed");
    federation.start_site(0);
    let run = federation.completed(&run.run_id).await;
    assert_eq!(counts(&run), [(3, 3)]);
    trained_once(&federation, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_daemons_end_with_code_0_when_asked_to_stop_and_go_on_where_they_were() {
    // site 0 says that it trains, and then waits for the other end of a pipe
    let mut federation = Federation::new(3, 3, |site, dir| {
        let wait = if site == 0 {
            "echo > started; read go < go"
        } else {
            ""
        };
        files::trainer(site, dir, wait)
    });
    let dir = federation.members[0].dir.clone();
    let (started, go) = (
        files::pipe(&dir.join("started")),
        files::pipe(&dir.join("go")),
    );
    federation.start_all();
    let run = federation
        .submit(&Study::of(3, 1).to_toml(), &model())
        .await;

    // in the middle of one training, the others committed, with every poll held open
    started.read().await;
    let committed = |run: &pb::Run| {
        let is = |site: &&pb::RoundParticipant| site.state() == pb::ParticipantState::Committed;
        run.participants.iter().filter(is).count() == 2
    };
    federation.wait(&run.run_id, committed).await;
    for child in federation
        .participants
        .iter_mut()
        .chain([&mut federation.coordinator])
    {
        let child = child.as_mut().unwrap();
        child.terminate();
        assert_eq!(child.ended(DRAIN).await.code(), Some(0));
    }
    federation.start_coordinator();
    federation.start_all();
    started.read().await;
    go.write().await;
    let run = federation.completed(&run.run_id).await;
    assert_eq!(counts(&run), [(3, 3)]);
    // training that was cut short starts over; what was handed in is not asked for again
    assert_eq!(files::trained(&dir), [1, 1]);
    assert_eq!(files::trained(&federation.members[1].dir), [1]);
}
