//! Many rounds over real processes and real mutual TLS.

use veilsum_tests::{Federation, Study, files};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_sites_train_five_rounds_and_the_model_is_the_mean() {
    let mut federation = Federation::new(5, 5, |site, dir| files::trainer(site, dir, ""));
    federation.start_all();
    let study = Study::of(5, 5).to_toml();
    let run = federation.submit(&study, &files::model(&[0.0; 8])).await;
    let run = federation.completed(&run.run_id).await;
    assert_eq!(run.history.len(), 5);
    for round in &run.history {
        assert_eq!((round.cohort, round.survivors), (5, 5));
        assert!((round.metrics["loss"] - 1.5).abs() < 1e-6);
        eprintln!(
            "round {}: {} ms",
            round.round,
            round.published_ms - round.opened_ms
        );
    }
    let last = federation.model(&run.run_id, None).await;
    for (element, value) in files::values(&last, 8).into_iter().enumerate() {
        // each of five sites adds a half to its own element, five times, and the mean is taken
        let expected = if element < 5 { 0.5 } else { 0.0 };
        assert!((value - expected).abs() < 1e-3, "{element}: {value}");
    }
}
