use std::sync::Arc;

use super::*;
use crate::machine::Machine;
use crate::participant::{Event, Participant, Setting};
use crate::rejection::Rejection;
use crate::tests::kit::{Federation, Kind, policy, seed};
use crate::vault::Vault;
use veilsum_secagg::keys::Identity;

fn pinned(fed: &Federation) -> BTreeSet<MemberId> {
    fed.sites
        .iter()
        .map(|site| site.identity.public().id())
        .collect()
}

fn stranger() -> MemberId {
    Identity::from_seed(&seed("stranger", 0)).public().id()
}

/// What the site says to the run of a federation of five, after one change of its policy.
fn run_refused(change: impl FnOnce(&mut Policy)) -> Option<Refusal> {
    let fed = Federation::of(5);
    let mut policy = policy(PeerTrust::Ids(pinned(&fed)));
    change(&mut policy);
    let refused = policy.accepts_run(&fed.hub.spec).err();
    let setting = Setting {
        spec: Arc::clone(&fed.hub.spec),
        identity: Arc::clone(&fed.sites[0].identity),
        policy,
    };
    let started = Participant::new(setting, Vault::default()).err();
    assert_eq!(
        started,
        refused.clone().map(Rejection::Policy),
        "there is no machine for a run that is refused"
    );
    refused
}

#[test]
fn a_run_is_taken_part_in_only_under_every_rule_of_the_site() {
    let fed = Federation::of(5);
    let digest = fed.hub.spec.study().digest();
    assert_eq!(run_refused(|_| {}), None);
    assert_eq!(
        run_refused(|policy| policy.peers = PeerTrust::None),
        Some(Refusal::NoPeers)
    );
    let other = Approval::Studies(BTreeSet::from([Digest([1; 32])]));
    assert_eq!(
        run_refused(|policy| policy.approve = other),
        Some(Refusal::Study { digest })
    );
    let this = Approval::Studies(BTreeSet::from([digest]));
    assert_eq!(run_refused(|policy| policy.approve = this), None);
    let cohort = Refusal::RunCohort { have: 3, need: 4 };
    assert_eq!(run_refused(|policy| policy.min_cohort = 4), Some(cohort));
    let bits = Refusal::Bits { have: 16, need: 17 };
    assert_eq!(run_refused(|policy| policy.bits_min = 17), Some(bits));
    assert_eq!(run_refused(|policy| policy.bits_min = 16), None);
    let update = Refusal::Update {
        have_bytes: 48,
        limit_bytes: 47,
    };
    assert_eq!(
        run_refused(|policy| policy.max_update_bytes = 47),
        Some(update)
    );
    assert_eq!(run_refused(|policy| policy.max_update_bytes = 48), None);
    let name = String::from("loss");
    let metric = Refusal::Metric { name: name.clone() };
    assert_eq!(
        run_refused(|policy| policy.metrics = Some(BTreeSet::new())),
        Some(metric)
    );
    assert_eq!(
        run_refused(|policy| policy.metrics = Some(BTreeSet::from([name]))),
        None
    );
}

/// What site 0 says to the honest roster, after one change of its policy.
fn roster_refused(change: impl FnOnce(&mut Policy)) -> Option<Refusal> {
    let mut fed = Federation::of(5);
    fed.hear();
    fed.act(Kind::Join);
    fed.tick();
    let roster = Arc::clone(fed.hub.epoch().roster().unwrap());
    change(&mut fed.site(0).policy);
    let refused = fed.sites[0].policy.accepts_roster(&roster).err();
    if fed.sites[0].policy.accepts_run(&fed.hub.spec).is_ok() {
        fed.restart(0);
        let advertisements = fed.hub.epoch().advertisements().cloned().collect();
        let enrolled = fed.sites[0]
            .machine
            .admit(fed.now, &Event::Enrolled { advertisements });
        assert_eq!(
            enrolled.err(),
            refused.clone().map(Rejection::Policy),
            "and nothing is signed"
        );
    }
    refused
}

/// T-11, as far as ids go.
#[test]
fn a_roster_is_confirmed_only_if_it_is_the_one_the_site_trusts() {
    let fed = Federation::of(5);
    let ids = pinned(&fed);
    let last = *ids.iter().next_back().unwrap();
    assert_eq!(roster_refused(|_| {}), None);
    assert_eq!(
        roster_refused(|policy| policy.peers = PeerTrust::None),
        Some(Refusal::NoPeers)
    );
    let mut without = ids.clone();
    without.remove(&last);
    let sybil = Some(Refusal::Peer { id: last });
    assert_eq!(
        roster_refused(|policy| policy.peers = PeerTrust::Ids(without)),
        sybil
    );
    let mut more = ids.clone();
    more.insert(stranger());
    let missing = Some(Refusal::Missing { id: stranger() });
    assert_eq!(
        roster_refused(|policy| policy.peers = PeerTrust::Ids(more)),
        missing
    );
    let have = members_hash(ids);
    let want = Digest([1; 32]);
    let other = Some(Refusal::Roster { have, want });
    assert_eq!(
        roster_refused(|policy| policy.peers = PeerTrust::Roster(want)),
        other
    );
    assert_eq!(
        roster_refused(|policy| policy.peers = PeerTrust::Roster(have)),
        None
    );
    let few = Some(Refusal::Cohort { have: 5, need: 6 });
    assert_eq!(roster_refused(|policy| policy.min_cohort = 6), few);
}

#[test]
fn one_id_is_pinned_or_not_only_where_ids_are_listed() {
    let fed = Federation::of(3);
    let ids = pinned(&fed);
    let own = fed.sites[0].identity.public().id();
    let hash = members_hash(ids.iter().copied());
    let listed = PeerTrust::Ids(ids);
    assert_eq!(
        (listed.pins(&own), listed.pins(&stranger())),
        (Some(true), Some(false))
    );
    for trust in [PeerTrust::Roster(hash), PeerTrust::None] {
        assert_eq!(trust.pins(&own), None);
    }
}

#[test]
fn a_cohort_is_contributed_to_from_the_sites_own_smallest_on() {
    let policy = policy(PeerTrust::None);
    let refused = Refusal::Cohort { have: 2, need: 3 };
    assert_eq!(policy.accepts_cohort(&Bitmap::of(5, 0..2)), Err(refused));
    assert_eq!(policy.accepts_cohort(&Bitmap::of(5, 0..3)), Ok(()));
}

#[test]
fn every_refusal_names_its_rule_and_where_to_change_it() {
    let (id, digest) = (stranger(), Digest::ZERO);
    let refusals = [
        (Refusal::Study { digest }, "STUDY", "approve.studies"),
        (Refusal::NoPeers, "NO_PEERS", "peers.ids"),
        (
            Refusal::RunCohort { have: 3, need: 5 },
            "MIN_COHORT",
            "policy.min_cohort",
        ),
        (
            Refusal::Cohort { have: 3, need: 5 },
            "MIN_COHORT",
            "policy.min_cohort",
        ),
        (
            Refusal::Bits { have: 3, need: 5 },
            "BITS_MIN",
            "policy.bits_min",
        ),
        (
            Refusal::Update {
                have_bytes: 3,
                limit_bytes: 5,
            },
            "MAX_UPDATE",
            "policy.max_update",
        ),
        (
            Refusal::Metric {
                name: String::from("loss"),
            },
            "METRICS",
            "policy.metrics",
        ),
        (Refusal::Peer { id }, "PEERS", "peers.ids"),
        (Refusal::Missing { id }, "PEERS", "peers.ids"),
        (
            Refusal::Roster {
                have: digest,
                want: digest,
            },
            "ROSTER",
            "peers.roster",
        ),
    ];
    for (refusal, code, key) in refusals {
        assert_eq!(refusal.code(), format!("SITE_POLICY_{code}"));
        assert!(refusal.to_string().contains(key), "{refusal}");
    }
}
