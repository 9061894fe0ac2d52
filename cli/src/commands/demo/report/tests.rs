use clap::Parser as _;

use super::*;
use crate::args::{Arguments, Command};

fn plan() -> Plan {
    match Arguments::try_parse_from(["veilsum", "demo"])
        .unwrap()
        .command
    {
        Command::Demo(demo) => Plan::new(&demo).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn output(trained: &Trained) -> Output {
    let scores = Scores {
        federated: 0.95,
        alone: vec![0.2; 5],
        pooled: 0.97,
    };
    let (model, directory) = (Path::new("demo/digits.safetensors"), Path::new("demo"));
    Report {
        plan: &plan(),
        trained,
        scores: &scores,
        model,
        directory,
    }
    .output()
}

#[test]
fn overhead_is_what_a_round_takes_beside_its_longest_trainer() {
    let time = |round_ms, trainer_ms| RoundTime {
        round_ms,
        trainer_ms,
    };
    let resident = Resident {
        participant_bytes_max: Some(15_000_000),
        coordinator_bytes_max: Some(30_000_000),
    };
    let trained = Trained {
        model: Vec::new(),
        seconds: 3.0,
        times: vec![time(50.0, 20.0), time(60.0, 25.0), time(70.0, 10.0)],
        bytes_up: Some(7_500),
        dropped: 0,
        masked: true,
        resident,
    };
    let output = output(&trained);
    assert_eq!(output.data["overhead_ms_per_round_median"], 35.0);
    assert_eq!(output.data["round_ms_median"], 60.0);
    assert_eq!(output.data["trainer_ms_median"], 20.0);
    assert_eq!(output.data["participant_rss_mb_max"], 15.0);
    assert_eq!(output.data["rounds"], 3);
    assert_eq!(
        output.data["test_rows"].as_array().unwrap().len(),
        plan().partition.test_rows().len()
    );
    assert!(output.text.contains("federated 95.0 %") && output.text.contains("7.5 kB up"));
}
