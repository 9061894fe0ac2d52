//! Who is around a victim: cohorts and survivor sets in which it is alone among sites that collude or do not exist.

use std::collections::BTreeMap;

use crate::Digest;
use crate::error::{Error, Fault};
use crate::keys::{ExchangeSecret, Signature};
use crate::message::{Cohort, SurvivorItem};
use crate::params::RunConfig;
use crate::tests::dealer::Dealer;
use crate::tests::kit::adversary::{MaskKeys, joined};
use crate::tests::kit::{self, Round, Upload, World};

/// Seven sites in a run whose degree rule allows `share` of a site's neighbours to be gone.
fn with_degree_rule((rho_num, rho_den): (u32, u32)) -> World {
    let config = RunConfig {
        rho_num,
        rho_den,
        ..kit::config(7)
    };
    World::with(7, config, 1)
}

/// So wide that it never bites.
const ANY_DEGREE: (u32, u32) = (999, 1000);
/// All but a seventh of its neighbours.
const ALMOST_ALL: (u32, u32) = (1, 7);

#[test]
fn t05_a_cohort_or_survivor_set_below_the_floor_is_refused() {
    let world = with_degree_rule(ANY_DEGREE);
    let mut small = world.open();
    small.commit([0, 5, 6]);
    let have_of_five = |what, have| {
        Err(Fault::TooFew {
            what,
            have,
            need: 5,
        }
        .by_coordinator())
    };
    assert_eq!(
        small.masking(0, &small.any_cohort()).map(drop),
        have_of_five("members of the cohort", 3)
    );
    let mut round = world.open();
    let cohort = round.commit_all();
    for survivors in [&[0, 5, 6][..], &[0, 1, 5, 6]] {
        let items = round.items(&cohort, survivors.iter().copied());
        let proposal = round.any_proposal(&cohort, &items);
        let have = proposal.survivors.count();
        assert_eq!(
            round.judge(1, &cohort, &proposal, &items).map(drop),
            have_of_five("survivors", have)
        );
    }
}

/// One honest survivor among corrupt ones: the sum, less what the corrupt ones put in, is its update.
#[test]
fn t05_without_the_floor_the_only_honest_survivor_is_exposed() {
    let world = with_degree_rule(ANY_DEGREE);
    let mut round = world.open();
    let cohort = round.commit_all();
    let items = round.items(&cohort, [0, 5, 6]);
    let proposal = round.any_proposal(&cohort, &items);
    let lists = (1..6)
        .map(|h| (h, round.freed(h, &cohort, &proposal)))
        .collect();
    assert_eq!(
        round.exposed_by_lists(0, &cohort, &lists, &[5, 6]),
        round.hidden(0)
    );
}

/// Sites 1 and 2 are the honest neighbours of site 0; 3 to 6 work with the coordinator.
const COLLUDING: [u32; 4] = [3, 4, 5, 6];

#[test]
fn t16_a_victim_without_its_honest_neighbours_is_neither_masked_for_nor_signed_for() {
    let world = with_degree_rule(ALMOST_ALL);
    let around = [0].into_iter().chain(COLLUDING);
    let refused = Err(Fault::Degree { member: 0 }.by_coordinator());

    let mut left_out = world.open();
    left_out.commit(around.clone());
    let masked = left_out.masking(0, &left_out.cohort());
    assert_eq!(masked.map(drop), refused, "the victim does not submit");

    let mut dropped = world.open();
    let cohort = dropped.commit_all();
    let items = dropped.items(&cohort, around);
    assert_eq!(
        dropped.propose(&cohort, &items),
        Err(Error::BelowThreshold { have: 0, need: 5 }),
        "an honest coordinator moves them all to the dropped side"
    );
    let proposal = dropped.any_proposal(&cohort, &items);
    for h in [1, 2] {
        let judged = dropped.judge(h, &cohort, &proposal, &items);
        assert_eq!(judged.map(drop), refused, "holder {h} does not sign");
    }
}

/// The same two ways in a run whose rule never bites: everything else is honest, and the victim lies open.
#[test]
fn t16_without_the_degree_rule_a_victim_among_colluders_is_exposed() {
    let world = with_degree_rule(ANY_DEGREE);
    let around = [0].into_iter().chain(COLLUDING);

    let mut left_out = world.open();
    left_out.commit(around.clone());
    let cohort = left_out.cohort();
    let items = left_out.items(&cohort, around.clone());
    let (_, lists) = left_out.lists(&cohort, &items);
    assert_eq!(
        left_out.exposed_by_lists(0, &cohort, &lists, &COLLUDING),
        left_out.hidden(0),
        "left out of the cohort"
    );

    let mut dropped = world.open();
    let cohort = dropped.commit_all();
    let items = dropped.items(&cohort, around);
    let (_, lists) = dropped.lists(&cohort, &items);
    assert_eq!(
        dropped.exposed_by_lists(0, &cohort, &lists, &COLLUDING),
        dropped.hidden(0),
        "declared dropped"
    );
}

#[test]
fn t38_without_an_honest_neighbour_nothing_hides_a_site() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let items = round.items(&cohort, 0..7);
    let (_, lists) = round.lists(&cohort, &items);
    let exposed = |corrupt: &[u32]| round.exposed_by_lists(0, &cohort, &lists, corrupt);
    assert_eq!(exposed(&[1, 2, 3, 4, 5, 6]), round.hidden(0));
}

/// Sites 1 and 2 are away. The coordinator makes up their Commits, under mask keys of its own, and their uploads.
fn invented(world: &World) -> (Round<'_>, Cohort, MaskKeys) {
    let mut round = world.open();
    round.commit([0, 3, 4, 5, 6]);
    let mut keys = MaskKeys::new();
    for i in [1, 2] {
        let mut parts = Dealer::honest(&round, i);
        let own = kit::seed("the coordinator's mask key", i.into());
        parts.dealing.mask_key = ExchangeSecret::new(&own);
        let mut commit = parts.commit(&round);
        (commit.sig_maskkey, commit.sig_commit) = (Signature([1; 64]), Signature([1; 64]));
        round.commits.insert(i, commit);
        keys.insert(i, parts.dealing.mask_key);
    }
    let cohort = round.cohort();
    (round, cohort, keys)
}

/// Upload of site 0, and the set of it, two invented members and two corrupt ones.
fn surrounded(round: &Round<'_>, cohort: &Cohort) -> (Upload, Vec<SurvivorItem>) {
    let ctx = cohort.ctx();
    let upload = |i| round.upload_masked_by(i, &ctx, &round.unchecked_masks(&ctx, i));
    let made_up = |index| SurvivorItem {
        index,
        upload_hash: Digest([1; 32]),
        signature: Signature([1; 64]),
    };
    let items = vec![
        upload(0).item,
        made_up(1),
        made_up(2),
        upload(5).item,
        upload(6).item,
    ];
    (upload(0), items)
}

#[test]
fn t69_invented_members_are_masked_with_by_nobody_and_signed_for_by_nobody() {
    let world = World::new(7);
    let (round, cohort, _) = invented(&world);
    for i in [0, 3, 4] {
        let masked = round.masking(i, &cohort).map(drop);
        assert_eq!(
            masked,
            Err(Fault::Signature("mask key").by_coordinator()),
            "site {i}"
        );
    }
    let (_, items) = surrounded(&round, &cohort);
    let proposal = round.propose(&cohort, &items).unwrap();
    for h in [3, 4] {
        let judged = round.judge(h, &cohort, &proposal, &items).map(drop);
        assert_eq!(
            judged,
            Err(Fault::Signature("upload").by_coordinator()),
            "holder {h}"
        );
    }
}

/// Nobody asks for a member's own signature: the victim counts as one of five, and is the only one there.
#[test]
fn t69_without_members_own_signatures_invented_ones_surround_and_expose_a_victim() {
    let world = World::new(7);
    let (round, cohort, mut keys) = invented(&world);
    let (upload, items) = surrounded(&round, &cohort);
    let proposal = round.propose(&cohort, &items).unwrap();
    assert_eq!(
        proposal.survivors.count(),
        5,
        "the size and degree rules hold"
    );
    let lists: BTreeMap<_, _> = (3..7)
        .chain([0])
        .map(|h| (h, round.freed(h, &cohort, &proposal)))
        .collect();
    for dropped in [3, 4] {
        let k = joined(lists.values(), dropped);
        keys.insert(dropped, round.rescued(dropped, &k));
    }
    keys.extend([5, 6].map(|corrupt| (corrupt, round.dealing(corrupt).mask_key)));
    let b = joined(lists.values(), 0);
    assert_eq!(
        round.without_masks(0, (&cohort.ctx(), upload), &b, &keys),
        round.hidden(0)
    );
}
