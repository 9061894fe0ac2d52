//! P1 and P2: adding mask streams to a vector, against the rate of bare keystream, and on two threads against one.

use std::hint::black_box;
use std::num::NonZeroUsize;

use aes::Aes256;
use ctr::cipher::{InnerIvInit, KeyInit, StreamCipherCore, common::Block};
use ctr::{CtrCore, flavors::Ctr32BE};
use veilsum_common::limits::CHUNK_ELEMS;
use veilsum_daemon::workers;
use veilsum_secagg::keys::Seed;
use veilsum_secagg::mask::Masks;
use veilsum_secagg::prg::{Prg, Sign};

use crate::figure::{Clock, Figure, ratio};

/// Streams of a site with 31 neighbours: theirs and its own.
pub const STREAMS: u8 = 32;
/// 4 Mi.
const ELEMENTS: usize = 4 << 20;

pub fn masks() -> Masks {
    let seeds = (0..STREAMS).map(|k| {
        let sign = if k % 2 == 0 { Sign::Plus } else { Sign::Minus };
        (sign, Seed::new([k; 32]))
    });
    Masks::new(Prg::Aes256Ctr, seeds.collect())
}

/// Adds all streams to all chunks of a vector.
pub fn mask(masks: &Masks, lanes: &mut [u32]) {
    for (chunk, lanes) in (0..).zip(lanes.chunks_mut(CHUNK_ELEMS as usize)) {
        masks.add(chunk, lanes);
    }
}

/// `bytes` of AES-256-CTR keystream as the `aes` and `ctr` crates make it, into 16 KiB that stay in the cache. Nothing is xored.
pub fn keystream(bytes: usize) {
    type Core<'a> = CtrCore<&'a Aes256, Ctr32BE>;
    let cipher = Aes256::new(&[7; 32].into());
    let mut buffer = vec![Block::<Core<'_>>::default(); 1024];
    let mut stream = Core::inner_iv_init(&cipher, &[0; 16].into());
    for _ in 0..bytes.div_ceil(16 * buffer.len()) {
        stream.write_keystream_blocks(&mut buffer);
        black_box(&buffer);
    }
}

pub fn one_thread() -> Vec<Figure> {
    let (masks, mut lanes) = (masks(), vec![0u32; ELEMENTS]);
    let (value, [low, high]) = ratio(
        Clock::Thread,
        &mut || keystream(4 * ELEMENTS * usize::from(STREAMS)),
        &mut || mask(&masks, black_box(&mut lanes)),
    );
    vec![Figure {
        id: "P1".into(),
        value,
        unit: "throughput / throughput",
        against: "AES-256-CTR keystream of aes + ctr into 16 KiB, same bytes, one thread".into(),
        quartiles: [low, high],
    }]
}

/// And the same for threads that only count, which says whether the machine had two processors to give.
pub fn two_threads() -> Vec<Figure> {
    let (masks, mut one, mut two) = (masks(), vec![0u32; ELEMENTS], vec![0u32; ELEMENTS]);
    let threads = NonZeroUsize::new(2).expect("two is not zero");
    let mut alone = || mask(&masks, black_box(&mut one));
    let mut together = || {
        let chunks = (0..).zip(two.chunks_mut(CHUNK_ELEMS as usize));
        workers::share_out(threads, chunks, |(chunk, lanes)| masks.add(chunk, lanes));
    };
    let figure = |id: &str, (value, quartiles): (f64, [f64; 2]), against: &str| Figure {
        id: id.into(),
        value,
        unit: "throughput / throughput",
        against: against.into(),
        quartiles,
    };
    let wall = ratio(Clock::Wall, &mut alone, &mut together);
    let counting = ratio(Clock::Wall, &mut || count(0..8), &mut || {
        workers::share_out(threads, 0..8, |turn| count(turn..turn + 1));
    });
    vec![
        figure("P2", wall, "the same on one thread"),
        figure(
            "P2/counting",
            counting,
            "one thread; both only count: what this machine had to give in this run",
        ),
    ]
}

fn count(turns: std::ops::Range<u32>) {
    for _ in turns {
        black_box((0..8_000_000_u64).fold(1, |sum, k| black_box(sum + k)));
    }
}
