//! Mask keys of the others: whose they are, and what is no key at all.

use super::dealer::Dealer;
use super::kit::World;
use crate::coordinator;
use crate::error::Fault;
use crate::keys::ExchangeKey;

#[test]
fn t13_a_substituted_mask_key_is_refused() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let near = || coordinator::neighbourhood(&round.attempt, &round.commits, 1).unwrap();
    let accept = |near| round.committed(1).accept(&cohort, &near).map(drop);
    assert_eq!(accept(near()), Ok(()));
    let mut substituted = near();
    substituted.keys[0].e_pk = round.dealing(4).mask_key.public();
    assert_eq!(
        accept(substituted),
        Err(Fault::Signature("mask key").by_coordinator())
    );
    let mut swapped = near();
    swapped.keys.swap(0, 1);
    assert_eq!(
        accept(swapped),
        Err(Fault::Order("neighbour keys").by_coordinator())
    );
    let mut missing = near();
    missing.keys.pop();
    assert_eq!(
        accept(missing),
        Err(Fault::Order("neighbour keys").by_coordinator())
    );
}

#[test]
fn t13_points_of_low_order_and_second_forms_of_a_point_do_not_parse() {
    let p = |add: u8| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (0xed + add, 0x7f);
        bytes
    };
    let small = |x: u8| {
        let mut bytes = [0; 32];
        bytes[0] = x;
        bytes
    };
    for bytes in [small(0), small(1)] {
        assert_eq!(ExchangeKey::parse(bytes, "E"), Err(Fault::Point("E")));
    }
    for add in 0..=0x12 {
        assert_eq!(
            ExchangeKey::parse(p(add), "E"),
            Err(Fault::Point("E")),
            "p + {add}"
        );
    }
    for x in 2..=0xff {
        let mut high = small(x);
        assert!(ExchangeKey::parse(high, "E").is_ok());
        high[31] = 0x80;
        assert_eq!(
            ExchangeKey::parse(high, "E"),
            Err(Fault::Point("E")),
            "{x} with the unused bit"
        );
    }
}

/// A corrupt member signs its neighbour's mask key as its own: alone it looks right, so whoever sees both must notice.
#[test]
fn t13_a_copied_mask_key_is_refused_by_the_neighbours() {
    let world = World::new(5);
    let mut round = world.open();
    round.commit(0..4);
    let mut copier = Dealer::honest(&round, 4);
    copier.dealing.mask_key = round.dealing(0).mask_key;
    let copied = copier.commit(&round);
    assert_eq!(copied.e_pk, round.commits[&0].e_pk);
    assert!(
        coordinator::check_commit(&round.attempt, 4, &copied).is_ok(),
        "alone nothing is wrong with it"
    );
    round.commits.insert(4, copied);
    let cohort = round.cohort();
    for i in 0..4 {
        let refused = round.masking(i, &cohort).map(drop);
        assert_eq!(
            refused,
            Err(Fault::Duplicate("mask key").by_coordinator()),
            "site {i}"
        );
    }
}
