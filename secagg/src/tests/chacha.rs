//! Mask streams of ChaCha20: the standard's bits, wherever a stream is entered and whatever a lane is.

use proptest::prelude::*;

use super::kit;
use super::paths::hex;
use crate::keys::Seed;
use crate::mask::Masks;
use crate::prg::{Prg, Sign, Streams, nonce};
use crate::ring::Word;

/// `len` lanes that held zero, from byte `first` on.
fn lanes<W: Word>(seed: &Seed, place: (u32, u64, u32), sign: Sign, len: usize) -> Vec<W> {
    let (part, chunk, first) = place;
    let mut lanes = vec![W::read(&[0; 8][..W::BYTES]); len];
    let streams = Streams::new(Prg::ChaCha20, seed);
    streams.accumulate(&nonce(part, chunk), first, sign, &mut lanes);
    lanes
}

fn read_from<W: Word + PartialEq + std::fmt::Debug>(
    seed: &Seed,
    place: (u32, u64, u32),
    bytes: &[u8],
) {
    let whole = bytes.len() / W::BYTES;
    let words: Vec<W> = bytes.chunks_exact(W::BYTES).map(W::read).collect();
    assert_eq!(lanes::<W>(seed, place, Sign::Plus, whole), words);
    let mut gone = words;
    let streams = Streams::new(Prg::ChaCha20, seed);
    streams.accumulate(&nonce(place.0, place.1), place.2, Sign::Minus, &mut gone);
    assert_eq!(gone, vec![W::read(&[0; 8][..W::BYTES]); whole]);
}

proptest! {
    #[test]
    fn lanes_of_every_width_read_the_same_bytes(
        seed in any::<[u8; 32]>(),
        part in any::<u32>(),
        chunk in any::<u64>(),
        block in prop_oneof![Just(0), 0..u32::MAX / 64],
        len in 0_usize..2000,
    ) {
        let (seed, place) = (Seed::new(seed), (part, chunk, block * 64));
        let bytes = lanes::<u8>(&seed, place, Sign::Plus, len);
        read_from::<u16>(&seed, place, &bytes);
        read_from::<u32>(&seed, place, &bytes);
        read_from::<u64>(&seed, place, &bytes);
    }

    #[test]
    fn a_stream_can_be_entered_at_any_block(cut in 0_u32..70, rest in 0_usize..700) {
        let seed = kit::seed("cut", 1);
        let whole = lanes::<u8>(&seed, (0, 7, 0), Sign::Plus, 64 * cut as usize + rest);
        let tail = lanes::<u8>(&seed, (0, 7, 64 * cut), Sign::Plus, rest);
        prop_assert_eq!(&whole[64 * cut as usize..], &tail[..]);
    }

    /// One block of lanes after the other, as masks are added.
    #[test]
    fn a_chunk_is_masked_with_one_stream_from_its_beginning(chunk in any::<u64>(), len in 0_usize..20_000) {
        let seed = kit::seed("chunk", 1);
        let mut masked = vec![0_u16; len];
        let masks = Masks::new(Prg::ChaCha20, vec![(Sign::Plus, seed.duplicate())]);
        masks.add(chunk, &mut masked);
        prop_assert_eq!(masked, lanes::<u16>(&seed, (0, chunk, 0), Sign::Plus, len));
    }
}

/// RFC 8439, A.1 (test vectors 1 and 2: counters 0 and 1) and 2.4.2, whose nonce ends part and begins chunk.
#[test]
fn the_examples_of_the_standard_come_out() {
    let zero = Seed::new([0; 32]);
    let counted = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let counted = Seed::restore(&counted).unwrap();
    let examples = [
        (
            &zero,
            (0, 0, 0),
            "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586",
        ),
        (
            &zero,
            (0, 0, 64),
            "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
        ),
        (
            &counted,
            (0, 0x4a00_0000, 64),
            "224f51f3401bd9e12fde276fb8631ded8c131f823d2c06e27e4fcaec9ef3cf788a3b0aa372600a92b57974cded2b9334794cba40c63e34cdea212c4cf07d41b769a6749f3f630f4122cafe28ec4dc47e26d4346d70b98c73f3e9c53ac40c5945398b6eda1a832c89c167eacd901d7e2bf363",
        ),
    ];
    for (seed, place, stream) in examples {
        let stream = hex(stream);
        let made = lanes::<u8>(seed, place, Sign::Plus, stream.len());
        assert_eq!(made, stream, "{place:?}");
    }
}

#[test]
fn the_two_ciphers_have_the_numbers_of_the_protocol_and_no_stream_in_common() {
    assert_eq!(Prg::of(0), Some(Prg::Aes256Ctr));
    assert_eq!(Prg::of(1), Some(Prg::ChaCha20));
    assert_eq!(Prg::of(2), None);
    assert_eq!(Prg::default().number(), 0);
    let seed = kit::seed("both", 0);
    let by = |prg| {
        let mut lanes = [0_u64; 8];
        Masks::new(prg, vec![(Sign::Plus, seed.duplicate())]).add(0, &mut lanes);
        lanes
    };
    assert_ne!(by(Prg::Aes256Ctr), by(Prg::ChaCha20));
}
