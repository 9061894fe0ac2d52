use super::*;

fn run(state: RunState, rounds: std::ops::Range<u64>) -> pb::Run {
    let history = rounds
        .map(|round| pb::RoundSummary {
            round,
            survivors: 5,
            ..pb::RoundSummary::default()
        })
        .collect();
    pb::Run {
        state: state.into(),
        rounds: 3,
        history,
        ..pb::Run::default()
    }
}

#[test]
fn each_round_is_told_once_and_the_last_line_is_terminal() {
    let id = RunId::from_bytes([1; 16]);
    let mut seen = Seen::default();
    let mut lines = Vec::new();
    for run in [
        run(RunState::Running, 1..2),
        run(RunState::Running, 2..3),
        run(RunState::Completed, 3..4),
    ] {
        lines.extend(seen.events(&run).iter().map(|event| event.json(id)));
    }
    let events: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["event"].as_str())
        .collect();
    assert_eq!(
        events,
        [
            "round_published",
            "run_state",
            "round_published",
            "round_published",
            "run_state"
        ]
    );
    let terminal: Vec<bool> = lines
        .iter()
        .filter_map(|line| line["terminal"].as_bool())
        .collect();
    assert_eq!(terminal, [false, false, false, false, true]);
    assert_eq!(lines[4]["state"], "completed");
}

#[test]
fn why_a_run_does_not_move_is_told_when_it_changes() {
    let mut seen = Seen::default();
    let reason = pb::Reason {
        code: "ROUND_TOO_FEW_ONLINE".into(),
        text: "2 sites are online".into(),
    };
    let stuck = pb::Run {
        reason: Some(Box::new(reason)),
        ..run(RunState::Running, 1..1)
    };
    assert_eq!(seen.events(&stuck).len(), 2);
    assert_eq!(seen.events(&stuck).len(), 0);
}

#[test]
fn a_paused_run_is_told_with_who_is_missing_and_is_not_over() {
    let lost = pb::LostAttempt {
        round: 3,
        seq: 5,
        missing: vec!["north".into(), "south".into()],
        ..pb::LostAttempt::default()
    };
    let paused = pb::Run {
        lost: Some(Box::new(lost)),
        ..run(RunState::Paused, 1..1)
    };
    let mut seen = Seen::default();
    let events = seen.events(&paused);
    let [event] = &events[..] else {
        panic!("one event")
    };
    let json = event.json(RunId::from_bytes([1; 16]));
    assert_eq!(json["state"], "paused");
    assert_eq!(json["terminal"], false);
    assert_eq!(json["lost"]["missing"], json!(["north", "south"]));
    let text = event.text();
    assert!(
        text.contains("paused") && text.contains("holders missing: north, south"),
        "{text}"
    );
}
