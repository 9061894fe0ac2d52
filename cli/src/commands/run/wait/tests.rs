use super::*;

#[test]
fn a_run_that_ended_otherwise_never_completes_but_has_ended_and_a_paused_one_needs_a_person() {
    let check = |state: RunState, awaited, expected| {
        let run = pb::Run {
            state: state.into(),
            ..pb::Run::default()
        };
        assert_eq!(judge(&run, awaited), expected, "{state:?} {awaited:?}");
    };
    check(RunState::Pending, Awaited::Running, Verdict::NotYet);
    check(RunState::Running, Awaited::Running, Verdict::Holds);
    check(RunState::Running, Awaited::Completed, Verdict::NotYet);
    check(RunState::Completed, Awaited::Completed, Verdict::Holds);
    check(RunState::Completed, Awaited::Running, Verdict::Holds);
    check(RunState::Failed, Awaited::Completed, Verdict::Never);
    check(RunState::Cancelled, Awaited::Running, Verdict::Never);
    check(RunState::Failed, Awaited::Ended, Verdict::Holds);
    check(RunState::Cancelled, Awaited::Ended, Verdict::Holds);
    check(RunState::Paused, Awaited::Running, Verdict::Holds);
    check(RunState::Paused, Awaited::Completed, Verdict::Never);
    check(RunState::Paused, Awaited::Ended, Verdict::Never);
}
