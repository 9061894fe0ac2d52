//! The share channels: the same keys at both ends, one step per attempt, no way back.

use super::kit::{self, World};
use crate::channel::{Channels, MAX_SEQ_JUMP, PairKeys};
use crate::context::Attempt;
use crate::error::Error;

fn attempt(world: &World, seq: u64) -> std::sync::Arc<Attempt> {
    let mut announcement = world.announcement();
    announcement.seq = seq;
    world.open_with(announcement).attempt
}

#[test]
fn dealer_and_holder_have_one_key_for_each_direction() {
    let world = World::new(4);
    for seq in [1, 2, 9] {
        let attempt = attempt(&world, seq);
        let keys: Vec<_> = (0..4)
            .map(|i| world.site(i).channels.advance(&attempt, i).unwrap().1)
            .collect();
        for (i, c) in [(0, 1), (1, 0), (2, 3), (3, 0)] {
            let (sent, received) = (
                keys[i as usize].outbound.get(c).unwrap(),
                keys[c as usize].inbound.get(i).unwrap(),
            );
            assert_eq!(sent.expose(), received.expose(), "{i} to {c}");
            assert_ne!(
                sent.expose(),
                keys[i as usize].inbound.get(c).unwrap().expose(),
                "the other direction"
            );
        }
        assert!(keys[0].outbound.get(0).is_none() && keys[0].inbound.get(0).is_none());
    }
}

#[test]
fn a_site_that_is_no_holder_opens_nothing_and_gets_nothing() {
    let world = World::new(4);
    let round = world.open_with(world.announcement_to(0..3));
    let (holder, other) = (round.keys(0), round.keys(3));
    assert!(other.inbound.get(0).is_none() && other.outbound.get(0).is_some());
    assert!(holder.inbound.get(3).is_some() && holder.outbound.get(3).is_none());
}

#[test]
fn t56_a_step_back_a_repeat_or_a_far_jump_is_refused_and_changes_nothing() {
    let world = World::new(3);
    let site = &world.site(0).channels;
    let before = site.to_secret_bytes();
    let advance = |channels: &Channels, seq| {
        channels
            .advance(&attempt(&world, seq), 0)
            .map(|(next, _)| next)
    };
    assert_eq!(
        advance(site, 1025).err(),
        Some(Error::Sequence {
            seq: 1025,
            lowest: 0,
            highest: MAX_SEQ_JUMP
        })
    );
    assert_eq!(
        advance(site, u64::MAX).err(),
        Some(Error::Sequence {
            seq: u64::MAX,
            lowest: 0,
            highest: MAX_SEQ_JUMP
        })
    );
    assert_eq!(*site.to_secret_bytes(), *before);
    let third = advance(site, 3).unwrap();
    assert_eq!(third.seq(), 4);
    for seq in [1, 2, 3] {
        assert_eq!(
            advance(&third, seq).err(),
            Some(Error::Sequence {
                seq,
                lowest: 4,
                highest: 1027
            })
        );
    }
    assert_eq!(
        advance(&third, 1027).unwrap().seq(),
        1028,
        "a jump of 1,024"
    );
    assert_eq!(
        advance(&third, 1028).err(),
        Some(Error::Sequence {
            seq: 1028,
            lowest: 4,
            highest: 1027
        })
    );
}

/// What is kept after an attempt opens nothing of it, and skipped attempts give the same keys as attempts taken one by one.
#[test]
fn t52_the_chain_moves_on_with_each_attempt() {
    let world = World::new(3);
    let start = &world.site(0).channels;
    let (two, keys_of_two) = start.advance(&attempt(&world, 2), 0).unwrap();
    let (one, keys_of_one) = start.advance(&attempt(&world, 1), 0).unwrap();
    let (stepwise, same_keys) = one.advance(&attempt(&world, 2), 0).unwrap();
    assert_eq!(*two.to_secret_bytes(), *stepwise.to_secret_bytes());
    assert_eq!(
        *keys_of_two.inbound.to_secret_bytes(),
        *same_keys.inbound.to_secret_bytes()
    );
    assert_ne!(
        *keys_of_one.inbound.to_secret_bytes(),
        *same_keys.inbound.to_secret_bytes()
    );
    assert!(
        two.advance(&attempt(&world, 2), 0).is_err()
            && two.advance(&attempt(&world, 1), 0).is_err()
    );
}

#[test]
fn channels_and_keys_come_back_from_storage_as_they_were() {
    let world = World::new(4);
    let stored = world.site(2).channels.to_secret_bytes();
    let restored = Channels::from_secret_bytes(&stored).unwrap();
    assert_eq!(*restored.to_secret_bytes(), *stored);
    let keys = restored
        .advance(&attempt(&world, 1), 2)
        .unwrap()
        .1
        .inbound
        .to_secret_bytes();
    assert_eq!(
        *PairKeys::from_secret_bytes(&keys)
            .unwrap()
            .to_secret_bytes(),
        *keys
    );
    assert_eq!(
        PairKeys::from_secret_bytes(&keys[1..]).err(),
        Some(Error::Stored("pair key"))
    );
    assert_eq!(
        Channels::from_secret_bytes(&stored[..7]).err(),
        Some(Error::Stored("channel"))
    );
}

/// A pair that was told two rosters has no key in common.
#[test]
fn t10_another_roster_gives_other_channel_keys() {
    let (here, there) = (World::new(3), World::with(3, kit::config(3), 2));
    let key = |world: &World| {
        *world
            .site(0)
            .channels
            .advance(&attempt(world, 1), 0)
            .unwrap()
            .1
            .outbound
            .get(1)
            .unwrap()
            .expose()
    };
    assert_ne!(key(&here), key(&there));
}
