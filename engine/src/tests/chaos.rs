//! Any order of messages, any crashes, any silences: while everybody is honest nobody is accused, no sum is wrong, no promise is
//! broken, and once the faults stop the run ends. The onlooker of the kit protests on its own.

use proptest::prelude::*;

use super::kit::{Federation, Kind, Setup};
use crate::participant::accuses_coordinator;
use crate::rejection::{Abort, Rejection};
use crate::run::State;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Op {
    Hear(u32),
    Act(u32, Kind),
    /// Everybody polls, and then does everything of one kind.
    All(Kind),
    /// One kind of message of one site does not get through any more.
    Silence(u32, Kind),
    /// Everything of one site gets through again.
    Speak(u32),
    Kill(u32),
    Restart(u32),
    /// The secret of an attempt that a daemon can lose without harm to others.
    LoseSeed(u32),
    /// Time jumps to the coordinator's next deadline.
    Wait,
}

const SITES: u32 = 5;

fn op() -> impl Strategy<Value = Op> {
    let kind = || proptest::sample::select(&Kind::ALL[..]);
    prop_oneof![
        4 => (0..SITES).prop_map(Op::Hear),
        6 => (0..SITES, kind()).prop_map(|(site, kind)| Op::Act(site, kind)),
        12 => kind().prop_map(Op::All),
        2 => (0..SITES, kind()).prop_map(|(site, kind)| Op::Silence(site, kind)),
        2 => (0..SITES).prop_map(Op::Speak),
        1 => (0..SITES).prop_map(Op::Kill),
        2 => (0..SITES).prop_map(Op::Restart),
        1 => (0..SITES).prop_map(Op::LoseSeed),
        1 => Just(Op::Wait),
    ]
}

fn happen(fed: &mut Federation, op: Op) {
    match op {
        Op::Hear(site) => fed.hear_at(site),
        Op::Act(site, kind) => fed.act_at(site, kind),
        Op::All(kind) => {
            fed.hear();
            fed.act(kind);
        }
        Op::Silence(site, kind) => fed.site(site).silent.extend([kind]),
        Op::Speak(site) => fed.site(site).silent.clear(),
        Op::Kill(site) => fed.kill(site),
        Op::Restart(site) => fed.restart(site),
        Op::LoseSeed(site) => {
            let secrets = fed.site(site).secrets();
            let seed = secrets.iter().find(|name| name.ends_with("/seed"));
            if let Some(name) = seed.map(|name| String::from(*name)) {
                fed.site(site).lose(&name);
            }
        }
        Op::Wait => {
            if let Some(deadline) = fed.hub.deadline() {
                fed.now = fed.now.max(deadline);
            }
            fed.tick();
        }
    }
}

fn nobody_is_accused(fed: &Federation) {
    for site in &fed.sites {
        let accused = site
            .refused
            .iter()
            .find(|refused| accuses_coordinator(refused));
        assert_eq!(accused, None, "{} accuses an honest coordinator", site.name);
    }
    let accused = |refused: &&Rejection| {
        matches!(refused, Rejection::Protocol(error) if error.culprits().is_some())
            || matches!(refused, Rejection::Conflict(_))
    };
    assert_eq!(
        fed.hub.refused.iter().find(accused),
        None,
        "an honest site is accused"
    );
}

/// Reasons for which faults of these kinds may end a run of honest parties.
fn forgivable(reason: &Abort) -> bool {
    matches!(
        reason,
        Abort::RosterTooSmall { .. }
            | Abort::RosterUnconfirmed { .. }
            | Abort::CohortTooSmall { .. }
            | Abort::SurvivorsTooFew { .. }
            | Abort::AttestationsTooFew { .. }
            | Abort::ReleaseLost { .. }
            | Abort::AbortUncertified { .. }
    )
}

/// Found below: site 0 was asked to judge a set, and came to it when the attempt was over and the next one had a cohort.
#[test]
fn a_survivor_set_that_is_judged_after_its_attempt_accuses_nobody() {
    let mut fed = Federation::with(Setup::of(SITES).rounds(2));
    fed.enrol();
    for op in [
        Op::All(Kind::Train),
        Op::All(Kind::Commit),
        Op::All(Kind::Upload),
        Op::Act(0, Kind::OpenShares),
        Op::Wait,
        Op::All(Kind::Abort),
        Op::All(Kind::Commit),
        Op::All(Kind::OpenShares),
        Op::All(Kind::Judge),
    ] {
        happen(&mut fed, op);
        nobody_is_accused(&fed);
    }
}

proptest! {
    // PROPTEST_CASES asks for more; what is found becomes a test of its own
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn honest_parties_survive_every_order_of_messages_and_crashes(ops in proptest::collection::vec(op(), 0..160)) {
        let mut fed = Federation::with(Setup::of(SITES).rounds(2));
        fed.sites.iter_mut().for_each(|site| site.fresh_draws = true);
        fed.enrol();
        for op in ops {
            happen(&mut fed, op);
            nobody_is_accused(&fed);
        }
        for site in 0..SITES {
            fed.restart(site);
            fed.site(site).silent.clear();
        }
        fed.finish();
        nobody_is_accused(&fed);
        match fed.hub.run().state() {
            State::Running => {
                let lost = fed.hub.lost();
                prop_assert!(lost.is_some_and(forgivable), "{:?}", lost);
            }
            State::Completed => prop_assert_eq!(fed.hub.run().history().len(), 2),
            State::Failed(reason) => prop_assert!(forgivable(&reason), "{}", reason),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

/// A site is back with an attempt that the coordinator gave up long ago, and asks for its shares.
#[test]
fn a_site_that_asks_about_an_attempt_that_is_gone_is_told_so_and_accuses_nobody() {
    let mut fed = Federation::with(Setup::of(SITES).rounds(2));
    fed.sites
        .iter_mut()
        .for_each(|site| site.fresh_draws = true);
    fed.enrol();
    let ops = [
        Op::All(Kind::Train),
        Op::All(Kind::Commit),
        Op::Hear(0),
        Op::Restart(0),
        Op::All(Kind::Join),
        Op::Kill(4),
        Op::Wait,
        Op::All(Kind::Abort),
        Op::Kill(0),
        Op::Wait,
        Op::Restart(4),
        Op::Hear(0),
        Op::Silence(0, Kind::Join),
        Op::Wait,
    ];
    for op in ops {
        happen(&mut fed, op);
    }
    for site in 0..SITES {
        fed.restart(site);
        fed.site(site).silent.clear();
    }
    fed.finish();
    nobody_is_accused(&fed);
}
