//! Many rounds over real processes and real mutual TLS, and what may go differently in a round without harm.

use std::fs;

use veilsum_proto::pb;
use veilsum_tests::{Federation, Moment, Proxy, Study, files, over};

fn federation(sites: usize, min_cohort: u32) -> Federation {
    Federation::new(sites, min_cohort, |site, dir| files::trainer(site, dir, ""))
}

fn model() -> Vec<u8> {
    files::model(&[0.0; files::ELEMENTS])
}

/// Every one of `sites` added a half to its own element in each of `rounds`, and the mean was taken.
fn is_the_mean(model: &[u8], sites: usize, rounds: usize) {
    for (element, value) in files::values(model, files::ELEMENTS)
        .into_iter()
        .enumerate()
    {
        let share = if element < sites {
            0.5 / sites as f32
        } else {
            0.0
        };
        let expected = share * rounds as f32;
        assert!((value - expected).abs() < 1e-2, "{element}: {value}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_sites_train_five_rounds_and_the_model_is_the_mean() {
    let mut federation = federation(5, 5);
    federation.start_all();
    let run = federation
        .submit(&Study::of(5, 5).to_toml(), &model())
        .await;
    let run = federation.completed(&run.run_id).await;
    assert_eq!(run.history.len(), 5);
    for round in &run.history {
        assert_eq!((round.cohort, round.survivors), (5, 5));
        assert!((round.metrics["loss"] - 1.5).abs() < 1e-6);
    }
    is_the_mean(&federation.model(&run.run_id, None).await, 5, 5);
    assert_eq!(federation.model(&run.run_id, Some(0)).await, model());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_side_by_side_in_rings_of_every_width_and_under_either_cipher_do_not_meet() {
    let mut federation = federation(3, 3);
    federation.start_all();
    // 3 sites need 2 bits of head-room: lanes of 16, 32 and 64 bits
    let mut runs = Vec::new();
    let aes = "aes-256-ctr";
    for (request, bits, prg) in [
        (1, 14, aes),
        (2, 30, aes),
        (3, 32, aes),
        (4, 16, "chacha20"),
    ] {
        let study = Study::of(3, 3).to_toml();
        let special = format!("[secagg]\nbits = {bits}\nprg = \"{prg}\"");
        let study = study.replace("[secagg]", &special);
        runs.push(
            federation
                .try_submit(&study, &model(), request)
                .await
                .unwrap(),
        );
    }
    for run in runs {
        let run = federation.completed(&run.run_id).await;
        is_the_mean(&federation.model(&run.run_id, None).await, 3, 3);
    }
    for (word, times) in [("\"prg\":\"chacha20\"", 1), ("\"prg\":\"aes-256-ctr\"", 3)] {
        assert_eq!(federation.log("site-0").matches(word).count(), times);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_of_several_chunks_and_many_pieces_comes_out_as_the_mean() {
    let elements = 600_000;
    let wave = |element: usize, site: usize| {
        let phase = element as f32 * 0.01 + site as f32;
        phase.sin() / 2.0
    };
    let mut federation = Federation::new(3, 3, |site, dir| {
        let command = files::trainer(site, dir, "");
        let update: Vec<f32> = (0..elements).map(|element| wave(element, site)).collect();
        fs::write(dir.join("update.safetensors"), files::delta(&update)).unwrap();
        command
    });
    federation.start_all();
    let initial = files::model(&vec![1.0; elements]);
    let run = federation
        .submit(&Study::of(3, 2).to_toml(), &initial)
        .await;
    let run = federation.completed(&run.run_id).await;
    let last = files::values(&federation.model(&run.run_id, None).await, elements);
    for (element, value) in last.into_iter().enumerate() {
        let mean = (0..3).map(|site| wave(element, site)).sum::<f32>() / 3.0;
        assert!(
            (value - 1.0 - 2.0 * mean).abs() < 1e-2,
            "{element}: {value}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_upload_is_a_dropout_of_its_round_and_of_nothing_else() {
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
    federation
        .wait(&run.run_id, |run| run.rounds_done == 1)
        .await;
    proxy.release();
    let run = federation.completed(&run.run_id).await;
    let survivors: Vec<u32> = run.history.iter().map(|round| round.survivors).collect();
    assert_eq!(survivors, [4, 5]);
    assert_eq!(run.history[0].dropped, ["site-0"]);
    let log = federation.log("site-0");
    assert!(
        log.contains("this site is a dropout of the attempt"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_lost_too_many_uploads_is_aborted_for_good_and_tried_again_without_training()
 {
    let mut federation = federation(5, 4);
    let proxies = [
        Proxy::before(&federation, 0).await,
        Proxy::before(&federation, 1).await,
    ];
    for proxy in &proxies {
        proxy.hold("SubmitMasked", Moment::Before);
    }
    federation.start_all();
    let study = Study {
        min: 4,
        report: "2s",
        ..Study::of(5, 1)
    };
    let run = federation.submit(&study.to_toml(), &model()).await;
    let retried = federation
        .wait(&run.run_id, |run| run.reason.is_some())
        .await;
    let reason = retried.reason.unwrap();
    assert_eq!(reason.code, "ROUND_QUORUM_LOST");
    assert!(
        reason
            .text
            .contains("3 uploads arrived in time, 4 are needed"),
        "{}",
        reason.text
    );
    for proxy in &proxies {
        proxy.release();
    }
    let run = federation.completed(&run.run_id).await;
    let round = &run.history[0];
    assert_eq!((round.seq, round.cohort, round.survivors), (2, 5, 5));
    for member in &federation.members {
        assert_eq!(
            files::trained(&member.dir),
            [1],
            "a pinned update serves both attempts"
        );
        federation
            .logged(
                &member.name,
                &["the attempt is given up", &reason.code, &reason.text],
            )
            .await;
    }
    is_the_mean(&federation.model(&run.run_id, None).await, 5, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_ends_its_trainers_and_says_so_in_every_log() {
    let mut federation = Federation::new(3, 3, |site, dir| {
        files::trainer(site, dir, "echo $$ > started; exec sleep 60")
    });
    let started: Vec<_> = federation
        .members
        .iter()
        .map(|member| files::pipe(&member.dir.join("started")))
        .collect();
    federation.start_all();
    let run = federation
        .submit(&Study::of(3, 1).to_toml(), &model())
        .await;
    let mut trainers = Vec::new();
    for pipe in &started {
        trainers.push(pipe.read().await);
    }
    let request = pb::CancelRunRequest {
        run_id: run.run_id.clone(),
        request_id: "00000000-0000-4000-8000-000000000002".to_owned(),
    };
    federation.operator().cancel_run(request).await.unwrap();
    let run = federation.wait(&run.run_id, over).await;
    assert_eq!(run.state(), pb::RunState::Cancelled);
    for (member, pid) in federation.members.iter().zip(trainers) {
        federation
            .logged(&member.name, &["run ended", "RUN_CANCELLED"])
            .await;
        files::gone(&format!("/proc/{}", pid.trim())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_longer_than_an_epoch_goes_on_in_the_next_one() {
    let mut federation = federation(3, 3);
    federation.start_all();
    let run = federation
        .submit(&Study::of(3, 104).to_toml(), &model())
        .await;
    let run = federation.completed(&run.run_id).await;
    assert_eq!(run.history.len(), 104);
    let seq = |round: usize| run.history[round - 1].seq;
    assert_eq!((seq(100), seq(101), seq(104)), (100, 1, 4));
    assert!(run.history.iter().all(|round| round.survivors == 3));
}

/// The pinned peers sign no roster without the site that is missing, so the first epoch comes to nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_starts_after_the_first_epochs_deadlines_costs_one_epoch_and_not_the_run() {
    let mut federation = federation(5, 4);
    (0..4).for_each(|site| federation.start_site(site));
    let study = Study {
        min: 4,
        join: "8s",
        report: "2s",
        ..Study::of(5, 2)
    };
    let run = federation.submit(&study.to_toml(), &model()).await;
    let waiting = federation.wait(&run.run_id, |run| run.reason.is_some());
    let waiting = waiting.await;
    assert_eq!(waiting.state(), pb::RunState::Pending);
    let reason = waiting.reason.unwrap();
    assert_eq!(reason.code, "EPOCH_ROSTER_UNCONFIRMED");
    federation.start_site(4);
    let run = federation.completed(&run.run_id).await;
    assert!(run.history.iter().all(|round| round.survivors == 5));
    is_the_mean(&federation.model(&run.run_id, None).await, 5, 2);
}
