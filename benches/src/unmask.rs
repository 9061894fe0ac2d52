//! P6: all of unmasking, from released shares to a plain sum, against the two things in it that no program can leave out.

use std::hint::black_box;

use veilsum_secagg::coordinator::unmask;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::cast::{Cast, Released};
use crate::figure::{Clock, Figure, ratio};
use crate::mask::{keystream, mask};

const SITES: u8 = 100;
const DROPS: u32 = 10;
const ELEMENTS: usize = 1_000_000;

/// From released shares to the plain sum: `sum` and `metadata` are those of the uploads. Gives how many streams there were.
pub fn unmask_sum(
    cast: &Cast,
    released: &Released,
    sum: &mut [u32],
    metadata: &mut [u64],
) -> usize {
    let (survivors, lists) = (&released.survivors, &released.lists);
    let unmasked =
        unmask(&cast.attempt, &cast.cohort, survivors, &cast.commits, lists).expect("honest sites");
    mask(&unmasked.masks, sum);
    unmasked.masks.add_to_metadata(metadata);
    unmasked.masks.streams()
}

pub fn whole() -> Vec<Figure> {
    let cast = Cast::new(SITES, ELEMENTS as u64);
    let released = cast.release(DROPS);
    let (mut sum, mut metadata, mut streams) = (vec![0u32; ELEMENTS], vec![0u64; 3], 0);
    let mut whole = || streams = unmask_sum(&cast, &released, black_box(&mut sum), &mut metadata);
    whole();
    let expected = usize::from(SITES) - DROPS as usize
        + DROPS as usize * (usize::from(SITES) - DROPS as usize);
    let secret = StaticSecret::from([5; 32]);
    let other = PublicKey::from(&StaticSecret::from([6; 32]));
    let mut least = || {
        keystream(4 * ELEMENTS * expected);
        for _ in 0..expected - usize::from(SITES) + DROPS as usize {
            black_box(secret.diffie_hellman(black_box(&other)));
        }
    };
    let (value, quartiles) = ratio(Clock::Thread, &mut whole, &mut least);
    assert_eq!(
        streams, expected,
        "one for each survivor, one for each pair with a dropout"
    );
    vec![Figure {
        id: "P6".into(),
        value,
        unit: "time / time",
        against: format!(
            "{expected} streams of AES-256-CTR keystream of aes + ctr and the X25519 agreements of {DROPS} dropouts with {} survivors",
            u32::from(SITES) - DROPS
        ),
        quartiles,
    }]
}
