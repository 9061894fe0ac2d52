use super::*;

fn models() -> Vec<pb::ModelVersion> {
    let version = |round, accuracy: f64, loss: f64| pb::ModelVersion {
        round,
        metrics: [
            ("accuracy".to_owned(), accuracy),
            ("val_loss".to_owned(), loss),
        ]
        .into(),
        ..pb::ModelVersion::default()
    };
    vec![
        pb::ModelVersion::default(),
        version(1, 0.5, 0.9),
        version(2, 0.8, 0.4),
        version(3, 0.8, 0.6),
    ]
}

#[test]
fn the_best_model_is_the_highest_accuracy_or_the_lowest_loss() {
    let run = RunId::from_bytes([1; 16]);
    let check = |wanted: &str, round| {
        let models = models();
        assert_eq!(
            choose(run, &models, &wanted.parse().unwrap())
                .unwrap()
                .round,
            round,
            "{wanted}"
        );
    };
    check("best:accuracy", 2);
    check("best:val_loss", 2);
    check("last", 3);
    check("0", 0);
    check("1", 1);
}

#[test]
fn an_unknown_version_or_metric_is_an_error_that_names_what_there_is() {
    let run = RunId::from_bytes([1; 16]);
    let error = |wanted: &str| {
        choose(run, &models(), &wanted.parse().unwrap())
            .unwrap_err()
            .to_string()
    };
    assert!(error("4").contains("the newest is of round 3"));
    assert!(error("best:f1").contains("accuracy, val_loss"));
}

#[test]
fn other_bytes_than_the_published_ones_are_an_error() {
    let expected = BlobRef::of(b"model").digest;
    assert!(same(1, "on disk", expected, BlobRef::of(b"model")).is_ok());
    assert!(matches!(
        same(1, "on disk", expected, BlobRef::of(b"other")),
        Err(Error::Digest { round: 1, .. })
    ));
}
