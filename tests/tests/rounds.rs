//! Many rounds over real processes and real mutual TLS.

use std::path::Path;

use veilsum_proto::pb;
use veilsum_tests::{Federation, over};

const STUDY: &str = r#"
schema = "veilsum.study/v1"
name = "smoke"
[rounds]
count = 5
cohort = { min = 5, target = 5 }
join_timeout = "10s"
report_timeout = "10s"
[secagg]
clip = { kind = "element", value = 1.0 }
weight = { by = "uniform", max = 1 }
[model]
initial = "model.safetensors"
[metrics]
loss = { range = [0.0, 10.0] }
"#;

/// A safetensors file with one f32 vector.
fn checkpoint(values: &[f32], kind: Option<&str>) -> Vec<u8> {
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let metadata = kind.map_or(String::new(), |kind| {
        format!(r#""__metadata__":{{"veilsum.kind":"{kind}"}},"#)
    });
    let header = format!(
        r#"{{{metadata}"w":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{}]}}}}"#,
        values.len(),
        data.len()
    );
    let padded = format!("{header:<width$}", width = header.len().next_multiple_of(8));
    [
        &(padded.len() as u64).to_le_bytes()[..],
        padded.as_bytes(),
        &data,
    ]
    .concat()
}

/// A trainer that hands in a delta prepared beforehand.
fn copying(dir: &Path) -> Vec<String> {
    let script = format!(
        "cp '{0}/update.safetensors' \"$VEILSUM_UPDATE_OUT\" && cp '{0}/result.json' \"$VEILSUM_RESULT_OUT\"",
        dir.display()
    );
    vec!["sh".to_owned(), "-c".to_owned(), script]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_sites_train_five_rounds_and_the_model_is_the_mean() {
    let mut federation = Federation::new(5, 5, |site, dir| {
        let mut delta = vec![0.0f32; 8];
        delta[site] = 0.5;
        std::fs::write(
            dir.join("update.safetensors"),
            checkpoint(&delta, Some("delta")),
        )
        .unwrap();
        std::fs::write(
            dir.join("result.json"),
            r#"{"num_examples": 10, "metrics": {"loss": 1.5}}"#,
        )
        .unwrap();
        copying(dir)
    });
    federation.start_all();
    let run = federation.submit(STUDY, &checkpoint(&[0.0; 8], None)).await;
    let run = federation.wait(&run.run_id, over).await;
    assert_eq!(
        run.state(),
        pb::RunState::Completed,
        "{:?}\n{}",
        run.reason,
        federation.log("site-0")
    );
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
}
