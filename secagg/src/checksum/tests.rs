use proptest::prelude::*;

use super::*;
use crate::prg::Keystream;
use crate::ring::pack;

fn projections() -> Projections {
    Projections::new(&Seed::new([7; 32]))
}

/// The definition, word by word.
fn defined<L: Lane>(chunk: u64, lanes: &[L]) -> Checksum {
    let mut bytes = vec![0; (lanes.len() + PROJECTIONS) * L::BYTES];
    Keystream::new(&Seed::new([7; 32]), 0, chunk).fill(&mut bytes);
    let words: Vec<L> = bytes.chunks_exact(L::BYTES).map(L::read).collect();
    Checksum(core::array::from_fn(|k| {
        let products = lanes.iter().zip(&words[k..]);
        let sum = products.fold(L::default(), |sum, (x, s)| sum.add(x.mul(*s)));
        sum.widen()
    }))
}

fn lanes<L: Lane>(count: usize, ring_bits: u8, seed: u8) -> Vec<L> {
    let mut bytes = vec![0; count * 8];
    Keystream::new(&Seed::new([seed; 32]), 1, 0).fill(&mut bytes);
    let (words, _) = bytes.as_chunks::<8>();
    let low = u64::MAX >> (64 - u32::from(ring_bits));
    words
        .iter()
        .map(|word| L::of(u64::from_le_bytes(*word) & low))
        .collect()
}

fn is_as_defined<L: Lane>(ring_bits: u8) {
    for count in [
        1,
        7,
        BLOCK_LEN - 1,
        BLOCK_LEN,
        BLOCK_LEN + 1,
        3 * BLOCK_LEN + 5,
    ] {
        let (lanes, mut packed) = (lanes::<L>(count, ring_bits, 1), Vec::new());
        pack(&lanes, ring_bits, &mut packed);
        let (count, expected) = (u32::try_from(count).unwrap(), defined(9, &lanes));
        assert_eq!(projections().of_lanes(9, &lanes), expected);
        let found = projections().of_packed(9, ring_bits, count, &packed);
        assert_eq!(found.unwrap(), expected);
        assert_ne!(projections().of_lanes(8, &lanes), expected);
    }
}

#[test]
fn lanes_and_their_packed_form_have_the_projections_of_the_definition() {
    is_as_defined::<u16>(10);
    is_as_defined::<u32>(17);
    is_as_defined::<u32>(32);
    is_as_defined::<u64>(40);
}

#[test]
fn a_packed_chunk_of_another_length_or_with_padding_is_refused() {
    let (lanes, mut packed) = (lanes::<u32>(5, 21, 1), Vec::new());
    pack(&lanes, 21, &mut packed);
    assert!(projections().of_packed(0, 21, 6, &packed).is_err());
    *packed.last_mut().unwrap() |= 0x80;
    assert!(projections().of_packed(0, 21, 5, &packed).is_err());
}

#[test]
fn a_checksum_is_its_bytes() {
    let sum = projections().of_lanes(0, &lanes::<u64>(9, 64, 1));
    assert_eq!(Checksum::from_bytes(&sum.to_bytes()), sum);
    let Checksum(words) = sum;
    assert_eq!(sum.to_bytes()[8..16], words[1].to_le_bytes());
}

#[test]
fn a_flipped_highest_bit_is_missed_by_few_streams_and_a_lowest_one_by_none() {
    let missed = |bit: u8| {
        let (mut right, wrong) = (vec![0u32; 40], 1u32 << bit);
        (0..=255u8)
            .filter(|seed| {
                let stream = Projections::new(&Seed::new([*seed; 32]));
                right[17] = 0;
                let before = stream.of_lanes(0, &right);
                right[17] = wrong;
                before.balances(&stream.of_lanes(0, &right), 30)
            })
            .count()
    };
    assert_eq!(missed(0), 0);
    // one of 256 is expected
    assert!(missed(29) <= 8, "{}", missed(29));
    // beyond the ring there is nothing to miss
    assert_eq!(missed(30), 256);
}

proptest! {
    /// Sums wrap in their lanes; the books are kept modulo 2^m.
    #[test]
    fn the_projections_of_a_sum_are_the_sum_of_the_projections(
        vectors in proptest::collection::vec(proptest::collection::vec(any::<u32>(), 50), 1..9),
        ring_bits in 17u8..=32,
    ) {
        let (mut sum, mut books) = (vec![0u32; 50], Checksum::default());
        for vector in &vectors {
            let mut packed = Vec::new();
            pack(vector, ring_bits, &mut packed);
            books += &projections().of_packed(3, ring_bits, 50, &packed).unwrap();
            unpack_add(&packed, ring_bits, &mut sum).unwrap();
        }
        prop_assert!(books.balances(&projections().of_lanes(3, &sum), ring_bits));
        sum[21] = sum[21].wrapping_add(1);
        prop_assert!(!books.balances(&projections().of_lanes(3, &sum), ring_bits));
    }
}
