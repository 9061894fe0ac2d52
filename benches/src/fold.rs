//! P9: folding packed uploads into a sum, against adding a stream of u32 to it.

use std::hint::black_box;

use veilsum_common::limits::CHUNK_ELEMS;
use veilsum_secagg::ring::{Lane as _, pack, packed_len, unpack_add};
use veilsum_secagg::wide::{self, Job};

use crate::figure::{Clock, Figure, ratio};

/// 16 Mi: 64 MiB of sum and as much to add, beyond any cache.
const ELEMENTS: usize = 16 << 20;

/// The machine's limit: one u32 read and added to another in memory.
struct AddStream<'a> {
    sum: &'a mut [u32],
    other: &'a [u32],
}

impl Job for AddStream<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (lane, other) in self.sum.iter_mut().zip(self.other) {
            *lane = lane.wrapping_add(*other);
        }
    }
}

pub fn figures() -> Vec<Figure> {
    [32, 19, 20, 21, 22, 23, 24, 25]
        .into_iter()
        .map(fold)
        .collect()
}

/// Throughput in elements: a fold of narrower ones reads less.
fn fold(ring_bits: u8) -> Figure {
    let values: Vec<u32> = (0..ELEMENTS as u64)
        .map(|k| u32::of(k.wrapping_mul(0x9e37_79b9)))
        .collect();
    let mut packed = Vec::new();
    for chunk in values.chunks(CHUNK_ELEMS as usize) {
        pack(chunk, ring_bits, &mut packed);
    }
    let (mut folded, mut added) = (vec![0u32; ELEMENTS], vec![0u32; ELEMENTS]);
    let chunk_bytes = packed_len(CHUNK_ELEMS, ring_bits);
    let (value, quartiles) = ratio(
        Clock::Thread,
        &mut || {
            wide::run(AddStream {
                sum: black_box(&mut added),
                other: &values,
            })
        },
        &mut || {
            let chunks = folded.chunks_mut(CHUNK_ELEMS as usize);
            for (sum, bytes) in chunks.zip(packed.chunks(chunk_bytes)) {
                unpack_add(bytes, ring_bits, sum).expect("these bytes were packed here");
            }
        },
    );
    Figure {
        id: if ring_bits == 32 {
            "P9".into()
        } else {
            format!("P9/m={ring_bits}")
        },
        value,
        unit: "elements a second / elements a second",
        against: "a stream of u32 added to a vector, 64 MiB each".into(),
        quartiles,
    }
}
