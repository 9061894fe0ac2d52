//! The contract of every machine, with the others around it: crash before and after each append of anybody, replay, go on; the same
//! journals, the same outputs asked, the same result.

use std::collections::BTreeSet;
use std::fmt::Debug;

use super::kit::{Appends, Crash, Federation, Kind, START, Setup, Sum, Trainer};
use crate::round::Decline;
use crate::run::State;

/// Everything that is durable at the end, and everything that was ever asked.
#[derive(Debug, PartialEq)]
struct Trace {
    journals: Vec<Vec<String>>,
    asked: Vec<BTreeSet<String>>,
    sums: Vec<Sum>,
    state: State,
}

fn lines<T: Debug>(journal: &[T]) -> Vec<String> {
    journal.iter().map(|entry| format!("{entry:?}")).collect()
}

fn set(asked: &[String]) -> BTreeSet<String> {
    asked.iter().cloned().collect()
}

impl Trace {
    fn of(fed: &Federation) -> Self {
        let hub = &fed.hub;
        let rounds = || {
            hub.past
                .iter()
                .map(|step| &step.stream)
                .chain(hub.round.iter().map(|(_, round)| round))
        };
        let mut journals = vec![lines(&hub.run.journal)];
        journals.extend(hub.epoch.iter().map(|epoch| lines(&epoch.journal)));
        journals.extend(rounds().map(|round| lines(&round.journal)));
        journals.extend(fed.sites.iter().map(|site| lines(&site.journal)));
        for journal in &mut journals {
            // a result may overtake the answer to the list, and then says more
            journal.retain(|entry| !entry.ends_with("step: Delivered })"));
        }
        let mut asked = vec![set(&hub.run.asked)];
        asked.extend(rounds().map(|round| set(&round.asked)));
        asked.extend(fed.sites.iter().map(|site| set(&site.asked)));
        Self {
            journals,
            asked,
            sums: hub.sums.iter().map(|summed| summed.sum.clone()).collect(),
            state: hub.run().state(),
        }
    }

    /// Where two traces part, in few words.
    fn compare(&self, other: &Self, what: &str) {
        for (ours, theirs) in self.journals.iter().zip(&other.journals) {
            let parted = ours
                .iter()
                .zip(theirs)
                .position(|(ours, theirs)| ours != theirs);
            let at = parted.unwrap_or(ours.len().min(theirs.len()));
            assert_eq!(ours.get(at), theirs.get(at), "{what}: another entry {at}");
        }
        for (ours, theirs) in self.asked.iter().zip(&other.asked) {
            let more: Vec<_> = theirs.symmetric_difference(ours).collect();
            assert!(more.is_empty(), "{what}: asked otherwise: {more:#?}");
        }
        self.compare_results(other, what);
    }

    /// A sum may be computed twice, but never another one.
    fn compare_results(&self, other: &Self, what: &str) {
        let same = |sums: &[Sum]| {
            sums.iter()
                .map(|sum| format!("{sum:?}"))
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(same(&self.sums), same(&other.sums), "{what}: another sum");
        assert_eq!(self.state, other.state, "{what}: another end");
    }
}

/// What happens to a federation.
type Play = fn(&mut Federation);

fn played(setup: Setup, play: Play, crash: Crash) -> Federation {
    let mut fed = Federation::journalled(setup, Appends::crashing(crash));
    play(&mut fed);
    fed
}

/// Plays the same scenario without a crash, and with one at every append.
fn survives(setup: Setup, play: Play, crash: fn(usize) -> Crash) {
    let calm = played(setup, play, Crash::Never);
    let expected = Trace::of(&calm);
    for number in 0..calm.appends.count() {
        let what = format!("{:?}, {}", crash(number), calm.appends.kind(number));
        expected.compare(&Trace::of(&played(setup, play, crash(number))), &what);
    }
}

fn one_round(fed: &mut Federation) {
    fed.finish();
    assert_eq!(fed.summed(), [0, 1, 2]);
}

#[test]
fn a_crash_before_any_append_is_not_to_be_noticed_afterwards() {
    survives(Setup::of(3), one_round, Crash::Before);
}

#[test]
fn a_crash_after_any_append_is_not_to_be_noticed_afterwards() {
    survives(Setup::of(3), one_round, Crash::After);
}

/// The first attempt is aborted for want of uploads; the second gives the result.
fn abort_and_retry(fed: &mut Federation) {
    let cut = |fed: &mut Federation, sites: std::ops::Range<u32>, kind| {
        sites.for_each(|index| fed.site(index).silent.extend([kind]));
    };
    cut(fed, 0..2, Kind::Upload);
    cut(fed, 0..4, Kind::Abort);
    fed.settle();
    fed.wait();
    (0..4).for_each(|index| fed.site(index).silent.clear());
    fed.finish();
    assert_eq!((fed.hub.past.len(), fed.summed()), (1, vec![0, 1, 2, 3]));
}

#[test]
fn a_crash_before_any_append_of_an_abort_and_a_retry_is_not_to_be_noticed_afterwards() {
    survives(Setup::of(4), abort_and_retry, Crash::Before);
}

#[test]
fn a_crash_after_any_append_of_an_abort_and_a_retry_is_not_to_be_noticed_afterwards() {
    survives(Setup::of(4), abort_and_retry, Crash::After);
}

/// One site sits the round out and says so.
fn sitting_out(fed: &mut Federation) {
    fed.site(3).trainer = Trainer::Declines(Decline::NotNow);
    fed.settle();
    assert_eq!(
        fed.now, START,
        "nobody waited for a site that had said that it sits out"
    );
    assert_eq!(fed.summed(), [0, 1, 2]);
}

#[test]
fn a_crash_before_any_append_of_sitting_out_is_not_to_be_noticed_afterwards() {
    survives(Setup::of(4), sitting_out, Crash::Before);
}

#[test]
fn a_crash_after_any_append_of_sitting_out_is_not_to_be_noticed_afterwards() {
    survives(Setup::of(4), sitting_out, Crash::After);
}

/// Until it is answered, and while somebody may wait for it.
#[test]
fn a_site_that_sits_out_says_so_again_until_it_is_answered_or_the_cohort_is_fixed() {
    let mut fed = Federation::of(4);
    fed.site(3).trainer = Trainer::Declines(Decline::NotNow);
    fed.enrol();
    fed.act(Kind::Train);
    let asked = |fed: &mut Federation| {
        fed.restart(3);
        fed.sites[3].asked(Kind::Decline)
    };
    assert_eq!((asked(&mut fed), asked(&mut fed)), (1, 1));
    fed.act_at(3, Kind::Decline);
    assert_eq!(asked(&mut fed), 0, "answered");
    assert_eq!(fed.sites[3].trained, 0);

    let mut fed = Federation::of(4);
    fed.site(3).trainer = Trainer::Declines(Decline::NotNow);
    fed.site(3).silent.insert(Kind::Decline);
    fed.settle();
    fed.now = fed.hub.deadline().unwrap();
    fed.hear();
    fed.hear();
    assert!(fed.round().cohort().is_some());
    fed.site(3).silent.clear();
    assert_eq!(asked(&mut fed), 0, "nobody waits any more");
}

/// Rounds, epochs and a dropout.
fn long_run(fed: &mut Federation) {
    fed.site(3).silent.insert(Kind::Upload);
    fed.settle();
    fed.wait();
    fed.site(3).silent.clear();
    fed.finish();
    assert_eq!(fed.hub.sums.last().unwrap().survivors.len(), 4);
}

#[test]
fn processes_that_crash_at_every_single_append_still_come_to_the_same_result() {
    let setup = Setup {
        epoch_rounds: Some(2),
        ..Setup::of(4).rounds(3)
    };
    let scenarios: [(Setup, Play); 2] = [(setup, long_run), (Setup::of(4), abort_and_retry)];
    for (setup, play) in scenarios {
        let expected = Trace::of(&played(setup, play, Crash::Never));
        for crash in [Crash::BeforeEach, Crash::AfterEach] {
            // what several sites say at once comes in another order
            let trace = Trace::of(&played(setup, play, crash));
            expected.compare_results(&trace, &format!("{crash:?}"));
        }
    }
}

#[test]
fn a_crash_before_an_append_that_draws_anew_afterwards_still_gives_the_plain_sum() {
    let calm = played(Setup::of(3), one_round, Crash::Never);
    for number in 0..calm.appends.count() {
        let appends = Appends::crashing(Crash::Before(number));
        let mut fed = Federation::journalled(Setup::of(3), appends);
        fed.sites
            .iter_mut()
            .for_each(|site| site.fresh_draws = true);
        one_round(&mut fed); // and the kit compares the sum
    }
}

/// The seed of site 0's attempt is gone when it comes back: it is a dropout, and its duty to others goes on.
#[test]
fn a_crash_that_loses_the_attempts_seed_makes_a_dropout_and_no_worse_holder() {
    let (seed, own) = ("attempt/1/1/seed", "attempt/1/1/own");
    let mut calm = Federation::of(5);
    calm.finish();
    let mut lost = 0;
    for entries in 1..calm.sites[0].journal.len() {
        let mut fed = Federation::of(5);
        fed.site(0).loses = Some((entries, seed));
        fed.finish();
        let ann = fed.round().attempt().hash();
        let gone = fed.summed() == [1, 2, 3, 4];
        assert!(gone || fed.summed() == [0, 1, 2, 3, 4]);
        assert!(
            fed.witness.has_list(fed.sites[0].name.as_str(), ann),
            "after entry {entries}"
        );
        assert!(
            !fed.site(0).stored.contains_key(own),
            "until its list was delivered"
        );
        lost += usize::from(gone);
    }
    assert_eq!(
        lost, 4,
        "after Committed, Answered, CohortSeen and Submitting"
    );
}
