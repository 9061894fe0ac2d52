//! Rosters of the coordinator's making: two under one epoch number, and one without the sites it would rather do without.

use std::sync::Arc;

use veilsum_secagg::context::Roster;
use veilsum_secagg::evidence::promises::TwoRosters;
use veilsum_secagg::evidence::{CulpritKey, Evidence};
use veilsum_secagg::keys::{Signature, members_hash};
use veilsum_secagg::{Certificate, Digest, Error, Fault};

use super::super::kit::{
    Federation, Kind, Setup, advertisement, advertisement_from, initial_model, policy, seed,
};
use super::{VICTIM, last_sum, own};
use crate::machine::Machine;
use crate::participant::{Event, Output};
use crate::policy::PeerTrust;
use crate::rejection::Rejection;

/// In league with the coordinator; it has a second channel key.
const CORRUPT: u32 = 4;

/// A roster with the confirmations it got.
type Confirmed = (Arc<Roster>, Vec<(u32, Signature)>);

/// Both rosters of epoch 1, each shown to two of four honest sites.
fn forked() -> (Federation, [Confirmed; 2]) {
    let mut fed = Federation::of(5);
    fed.hear();
    let one: Vec<_> = (0..5).map(|index| advertisement(&fed, index, 1)).collect();
    let mut other = one.clone();
    let second_key = seed("second key", 0);
    other[CORRUPT as usize] = advertisement_from(&fed, CORRUPT as usize, 1, &second_key);
    let now = fed.now;
    let shown = [(one, [0, 1]), (other, [2, 3])].map(|(advertisements, sites)| {
        let mut signatures = Vec::new();
        for index in sites {
            let site = fed.site(index);
            let advertisements = advertisements.clone();
            site.submit(now, Event::Enrolled { advertisements })
                .unwrap();
            let Some(Output::Confirm(confirmed)) = site.take(Kind::Confirm) else {
                panic!("it confirms what it accepted")
            };
            signatures.push((index, confirmed.signature));
        }
        let roster = Arc::clone(fed.sites[sites[0] as usize].machine.roster().unwrap());
        let corrupt = roster.confirm(&fed.sites[CORRUPT as usize].identity);
        signatures.push((CORRUPT, corrupt.unwrap().signature));
        (roster, signatures)
    });
    (fed, shown)
}

fn certificate(roster: &Roster, signatures: &[(u32, Signature)]) -> Certificate {
    let (digest, signatures) = (roster.ctx(), signatures.to_vec());
    Certificate { digest, signatures }
}

/// T-10.
#[test]
fn t10_of_two_rosters_shown_to_half_of_the_sites_each_neither_is_certified_and_who_signed_both_is_convicted()
 {
    let (fed, [(one, by_one), (other, by_other)]) = forked();
    assert_eq!((one.epoch(), other.epoch()), (1, 1));
    assert_ne!(one.ctx(), other.ctx());
    let short = Rejection::Protocol(Error::BelowThreshold { have: 3, need: 4 });
    for (index, roster, signatures) in [(0, &one, &by_one), (2, &other, &by_other)] {
        let certified = Event::RosterCertified(certificate(roster, signatures));
        let refused = fed.sites[index].machine.admit(fed.now, &certified);
        assert_eq!(refused, Err(short.clone()));
    }
    let digest = Rejection::Protocol(Fault::Context("digest").by_coordinator());
    let elsewhere = Event::RosterCertified(certificate(&other, &by_other));
    let refused = fed.sites[0].machine.admit(fed.now, &elsewhere);
    assert_eq!(refused, Err(digest), "nor does the other one count here");
    let member = fed.sites[CORRUPT as usize].identity.public();
    let proof = TwoRosters {
        member,
        confirmed: [(one, by_one[2].1), (other, by_other[2].1)],
    };
    let conviction = Evidence::TwoRosters(proof).verify().unwrap();
    assert_eq!(conviction.culprit, CulpritKey::Member(member));
    assert_eq!((conviction.epoch, conviction.attempt), (1, None));
}

/// T-10: sites that take a second roster under one number as if it were an epoch of its own. Each gives one attempt 1 of epoch 1.
#[test]
fn t10_without_one_roster_for_each_number_two_sums_differ_by_the_victims_update() {
    let mut fork = [0, 1].map(|draws| {
        let mut fed = Federation::of(5);
        fed.site(CORRUPT).draws = draws; // so its channel key is another one
        fed.hear();
        fed.site(CORRUPT).draws = 0;
        fed
    });
    fork[1].site(VICTIM).silent.insert(Kind::Commit);
    let [whole, part] = &mut fork;
    whole.finish();
    part.finish();
    let roster = |fed: &Federation| {
        (
            fed.hub.epoch().number(),
            fed.hub.epoch().roster().unwrap().ctx(),
        )
    };
    assert_eq!(roster(whole).0, roster(part).0);
    assert_ne!(roster(whole).1, roster(part).1);
    let known = last_sum(whole).less(&last_sum(part));
    let model = Digest::of_bulk(&initial_model());
    assert_eq!(known, own(whole, VICTIM, &model));
}

/// T-55: of seven sites, two of them corrupt, three honest ones are left out. What a person approved is what the coordinator showed.
#[test]
fn t55_without_pins_honest_sites_are_left_out_until_the_victims_update_is_alone_in_the_sum() {
    let (honest, left_out, corrupt) = ([VICTIM, 1], [2, 3, 4], [5, 6]);
    let mut fed = Federation::with(Setup {
        min: 3,
        ..Setup::of(7)
    });
    for index in left_out {
        fed.site(index).online = false;
    }
    let members = || honest.into_iter().chain(corrupt);
    let id = |index: u32| fed.sites[index as usize].identity.public().id();
    let shown = members_hash(members().map(id));
    for index in members() {
        let site = fed.site(index);
        site.policy = policy(PeerTrust::Roster(shown));
        site.reboot();
    }
    fed.site(1).silent.insert(Kind::Upload); // and one more is said to have dropped out
    fed.settle();
    fed.wait();
    fed.finish();
    assert_eq!(fed.summed(), [VICTIM, 5, 6]);
    let model = Digest::of_bulk(&initial_model());
    let known = last_sum(&fed).less(&fed.plain(&model, corrupt));
    assert_eq!(known, own(&fed, VICTIM, &model));
}
