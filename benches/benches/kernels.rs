//! Each kernel by itself, in time and bytes a second: to see what a change of one of them does. Compare runs on the same quiet machine
//! only; the figures that are kept are the ratios of `cargo xtask bench`. `cargo bench --package veilsum-benches`.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use veilsum_common::limits::CHUNK_ELEMS;
use veilsum_common::quantise::{Measure, Quantiser};
use veilsum_secagg::checksum::Projections;
use veilsum_secagg::keys::Seed;
use veilsum_secagg::mask::Masks;
use veilsum_secagg::prg::{Keystream, Prg, Sign};
use veilsum_secagg::ring::{Lane, pack, unpack_add};
use veilsum_secagg::shamir::Lagrange;

fn main() {
    divan::main();
}

const ELEMENTS: usize = CHUNK_ELEMS as usize;

/// One chunk through 32 streams; bytes are those of the streams.
#[divan::bench(types = [u16, u32, u64])]
fn mask_chunk<L: Lane>(bencher: Bencher<'_, '_>) {
    let masks = Masks::new(
        Prg::Aes256Ctr,
        (0..32).map(|k| (Sign::Plus, Seed::new([k; 32]))).collect(),
    );
    let mut lanes = vec![L::default(); ELEMENTS];
    bencher
        .counter(BytesCount::new(32 * ELEMENTS * L::BYTES))
        .bench_local(|| masks.add(0, black_box(&mut lanes)));
}

/// What a chunk adds to the books; bytes are those of the lanes.
#[divan::bench(types = [u16, u32, u64])]
fn checksum<L: Lane>(bencher: Bencher<'_, '_>) {
    let (projections, lanes) = (
        Projections::new(&Seed::new([7; 32])),
        vec![L::of(5); ELEMENTS],
    );
    bencher
        .counter(BytesCount::new(ELEMENTS * L::BYTES))
        .bench_local(|| projections.of_lanes(0, black_box(&lanes)));
}

#[divan::bench]
fn keystream(bencher: Bencher<'_, '_>) {
    let mut bytes = vec![0; 16 * 1024];
    let mut stream = Keystream::new(&Seed::new([7; 32]), 0, 0);
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| stream.fill(black_box(&mut bytes)));
}

/// First pass; bytes are those of the update.
#[divan::bench]
fn measure(bencher: Bencher<'_, '_>) {
    let values = vec![0.25f32; ELEMENTS];
    bencher
        .counter(BytesCount::new(4 * ELEMENTS))
        .bench_local(|| Measure::new().add(black_box(&values)));
}

/// Second pass with constant noise; bytes are those of the update.
#[divan::bench(types = [u16, u32, u64])]
fn quantise<L: Lane>(bencher: Bencher<'_, '_>) {
    let (values, mut lanes) = (vec![0.25f32; ELEMENTS], vec![L::default(); ELEMENTS]);
    let rule = Quantiser::new(1.0, None, 1, 12).expect("settings of a usual study");
    let begun = rule.begin(1, Measure::new()).expect("the weight is one");
    bencher
        .counter(BytesCount::new(4 * ELEMENTS))
        .bench_local(|| begun.chunk(0, black_box(&values), &mut |_| (), &mut lanes));
}

/// Bytes are those of the lanes.
#[divan::bench(args = [17, 19, 21, 23, 25, 32])]
fn pack_chunk(bencher: Bencher<'_, '_>, ring_bits: u8) {
    let (lanes, mut packed) = (vec![0x5555_5555u32; ELEMENTS], Vec::new());
    bencher
        .counter(BytesCount::new(4 * ELEMENTS))
        .bench_local(|| {
            packed.clear();
            pack(black_box(&lanes), ring_bits, &mut packed);
        });
}

/// Bytes are those of the lanes.
#[divan::bench(args = [17, 19, 21, 23, 25, 32])]
fn unpack_and_add(bencher: Bencher<'_, '_>, ring_bits: u8) {
    let (mut lanes, mut packed) = (vec![0x5555_5555u32; ELEMENTS], Vec::new());
    pack(&lanes, ring_bits, &mut packed);
    bencher
        .counter(BytesCount::new(4 * ELEMENTS))
        .bench_local(|| unpack_add(black_box(&packed), ring_bits, &mut lanes));
}

/// Coefficients for a responding set of so many holders.
#[divan::bench(args = [67, 128])]
fn lagrange(positions: u32) -> Lagrange {
    let positions: Vec<u32> = (1..=positions).collect();
    Lagrange::new(black_box(&positions), 2).expect("distinct positions")
}
