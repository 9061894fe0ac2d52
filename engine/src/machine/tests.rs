//! The test every machine must pass. Whole federations that crash at each of their appends are in `tests/contract.rs`.

use std::fmt::Debug;

use super::*;
use crate::tests::kit::{Federation, Kind, Setup, Stream, drain};

/// What an observer can ask of a machine without changing it, and what it asks for when it comes back.
#[derive(Debug, PartialEq)]
struct View {
    asked: Vec<String>,
    due: Vec<String>,
    deadline: Option<Timestamp>,
}

fn view<M>(machine: &mut M, entries: &[(Timestamp, M::Event)]) -> View
where
    M: Machine,
    M::Event: Debug,
    M::Output: Debug,
{
    machine.resume();
    let due = |(at, _): &(Timestamp, M::Event)| format!("{:?}", machine.due(*at));
    View {
        due: entries.iter().map(due).collect(),
        deadline: machine.deadline(),
        asked: drain(machine)
            .iter()
            .map(|asked| format!("{asked:?}"))
            .collect(),
    }
}

fn replay<M>(fresh: &impl Fn() -> M, entries: &[(Timestamp, M::Event)]) -> M
where
    M: Machine,
    M::Event: Clone,
{
    let mut machine = fresh();
    for (at, event) in entries {
        machine
            .handle(*at, event.clone())
            .expect("it was handled before");
        drain(&mut machine);
    }
    machine
}

/// Before and after every append: a crash and a replay are not to be noticed, asking again asks for the same, and what is refused
/// changes nothing.
fn holds<M>(fresh: impl Fn() -> M, entries: &[(Timestamp, M::Event)])
where
    M: Machine + Debug,
    M::Event: Clone + Debug,
    M::Output: Debug,
{
    let mut live = fresh();
    for (number, (at, event)) in entries.iter().enumerate() {
        let mut replayed = replay(&fresh, &entries[..number]);
        let expected = view(&mut live, entries);
        assert_eq!(
            view(&mut replayed, entries),
            expected,
            "before entry {number}"
        );
        assert_eq!(view(&mut replayed, entries), expected, "asked twice");
        for (at, earlier) in &entries[..number] {
            let before = format!("{replayed:?}");
            let refused = replayed.handle(*at, earlier.clone());
            assert!(refused.is_err(), "{earlier:?} was handled twice");
            assert_eq!(format!("{replayed:?}"), before, "refused, and yet changed");
        }
        assert_eq!(
            live.admit(*at, event),
            Ok(()),
            "entry {number} was admitted when it came"
        );
        live.handle(*at, event.clone()).unwrap();
    }
    let mut replayed = replay(&fresh, entries);
    assert_eq!(
        view(&mut replayed, entries),
        view(&mut live, entries),
        "at the end"
    );
}

fn stream_holds<M>(stream: &Stream<M>)
where
    M: Machine + Debug,
    M::Event: Clone + Debug,
    M::Output: Debug,
{
    assert!(!stream.journal.is_empty());
    holds(|| stream.fresh(), &stream.journal);
}

fn hub_holds(fed: &Federation) {
    stream_holds(&fed.hub.run);
    stream_holds(fed.hub.epoch.as_ref().unwrap());
    stream_holds(&fed.hub.round.as_ref().unwrap().1);
    fed.hub.past_epochs.iter().for_each(stream_holds);
    fed.hub
        .past
        .iter()
        .for_each(|step| stream_holds(&step.stream));
}

#[test]
fn run_epoch_and_round_keep_the_contract_over_rounds_and_epochs() {
    let mut fed = Federation::with(Setup {
        epoch_rounds: Some(2),
        ..Setup::of(4).rounds(3)
    });
    fed.finish();
    hub_holds(&fed);
}

#[test]
fn run_epoch_and_round_keep_the_contract_over_dropouts_and_refusals() {
    let mut fed = Federation::of(7);
    fed.enrol();
    fed.site(6).online = false; // so the cohort closes without it
    fed.site(5).silent.insert(Kind::Upload);
    fed.finish();
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4]);
    hub_holds(&fed);
}

#[test]
fn run_epoch_and_round_keep_the_contract_over_an_abort_and_a_lost_release() {
    let mut fed = Federation::of(5);
    for index in 0..2 {
        fed.site(index).silent.insert(Kind::Upload);
    }
    for index in 0..3 {
        fed.site(index).silent.insert(Kind::Abort);
    }
    fed.settle();
    fed.wait();
    for index in 0..5 {
        fed.site(index).silent.clear();
        fed.site(index).silent.insert(Kind::Unmask);
    }
    fed.finish();
    assert_eq!(fed.hub.past.len(), 1);
    hub_holds(&fed);
}
