//! Every way of computing a stream gives the bits of the portable one, wherever it begins and ends.

use proptest::collection::vec;
use proptest::prelude::*;

use super::kit;
use crate::keys::Seed;
use crate::prg::{Path, Schedule, Sign, nonce};
use crate::ring::Word;

/// Lanes that are not zero, so that what is added is told from what is written.
fn lanes<W: Word>(len: usize) -> Vec<W> {
    let bytes: Vec<u8> = (0..=250).cycle().step_by(37).take(len * W::BYTES).collect();
    bytes.chunks_exact(W::BYTES).map(W::read).collect()
}

/// What each path makes of `len` lanes; the portable one is the last.
fn by_every_path<W: Word>(
    seed: &Seed,
    place: (u32, u64, u32),
    sign: Sign,
    len: usize,
) -> Vec<Vec<W>> {
    let (part, chunk, first) = place;
    let by = |path| {
        let mut lanes = lanes::<W>(len);
        Schedule::on(path, seed).accumulate(&nonce(part, chunk), first, sign, &mut lanes);
        lanes
    };
    Path::available().map(by).collect()
}

fn all_agree<W: Word + PartialEq + std::fmt::Debug>(
    seed: &Seed,
    place: (u32, u64, u32),
    len: usize,
) {
    for sign in [Sign::Plus, Sign::Minus] {
        let made = by_every_path::<W>(seed, place, sign, len);
        let portable = made.last().unwrap();
        for (path, lanes) in Path::available().zip(&made) {
            assert_eq!(
                lanes,
                portable,
                "{path:?} {sign:?} {} bytes a lane",
                W::BYTES
            );
        }
        assert!(
            len < 16 || *portable != lanes::<W>(len),
            "something was added"
        );
    }
}

proptest! {
    #[test]
    fn every_path_gives_the_portable_bits(
        seed in any::<[u8; 32]>(),
        part in any::<u32>(),
        chunk in any::<u64>(),
        first in prop_oneof![Just(0), any::<u32>(), u32::MAX - 70..=u32::MAX],
        len in 0_usize..1400,
    ) {
        let (seed, place) = (Seed::new(seed), (part, chunk, first));
        all_agree::<u8>(&seed, place, len);
        all_agree::<u16>(&seed, place, len);
        all_agree::<u32>(&seed, place, len);
        all_agree::<u64>(&seed, place, len);
    }

    #[test]
    fn a_stream_can_be_entered_at_any_block(cut in 0_u32..90, rest in 0_usize..300) {
        let seed = kit::seed("cut", 0);
        for path in Path::available() {
            let schedule = Schedule::on(path, &seed);
            let mut whole = vec![0_u32; cut as usize * 4 + rest];
            let mut pieces = whole.clone();
            schedule.accumulate(&nonce(0, 7), 0, Sign::Plus, &mut whole);
            let (head, tail) = pieces.split_at_mut(cut as usize * 4);
            schedule.accumulate(&nonce(0, 7), cut, Sign::Plus, tail);
            schedule.accumulate(&nonce(0, 7), 0, Sign::Plus, head);
            prop_assert_eq!(&whole, &pieces);
        }
    }

    #[test]
    fn lanes_need_no_alignment(start in 0_usize..64, len in 0_usize..600) {
        let seed = kit::seed("unaligned", 0);
        for path in Path::available() {
            let mut bytes = vec![0_u8; start + len];
            let mut aligned = vec![0_u8; len];
            let schedule = Schedule::on(path, &seed);
            schedule.accumulate(&nonce(0, 0), 0, Sign::Plus, &mut bytes[start..]);
            schedule.accumulate(&nonce(0, 0), 0, Sign::Plus, &mut aligned);
            prop_assert_eq!(&bytes[start..], &aligned[..]);
            prop_assert!(bytes[..start].iter().all(|byte| *byte == 0), "nothing before the lanes is touched");
        }
    }

    #[test]
    fn adding_and_subtracting_a_stream_leaves_nothing(values in vec(any::<u64>(), 0..400)) {
        let seed = kit::seed("there and back", 0);
        for path in Path::available() {
            let (schedule, mut lanes) = (Schedule::on(path, &seed), values.clone());
            schedule.accumulate(&nonce(0, 1), 0, Sign::Plus, &mut lanes);
            schedule.accumulate(&nonce(0, 1), 0, Sign::Minus, &mut lanes);
            prop_assert_eq!(&lanes, &values);
        }
    }
}

/// NIST SP 800-38A, F.5.5: the counter block and first two keystream blocks of CTR-AES256, by every path.
#[test]
fn every_path_gives_the_standards_example() {
    let key = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
    let key: Vec<u8> = hex(key);
    let seed = Seed::restore(&key).unwrap();
    let nonce = hex("f0f1f2f3f4f5f6f7f8f9fafb").try_into().unwrap();
    let stream = hex("0bdf7df1591716335e9a8b15c860c5025a6e699d536119065433863c8f657b94");
    for path in Path::available() {
        let mut bytes = [0_u8; 32];
        Schedule::on(path, &seed).accumulate(&nonce, 0xfcfd_feff, Sign::Plus, &mut bytes);
        assert_eq!(bytes[..], stream, "{path:?}");
    }
}

pub(super) fn hex(text: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(pair).collect()
}

/// So that the comparisons above are of more than one path where the processor has one.
#[test]
fn the_widest_instructions_of_this_machine_are_among_the_paths() {
    #[cfg(target_arch = "x86_64")]
    {
        let aes = std::is_x86_feature_detected!("aes");
        let vaes = std::is_x86_feature_detected!("vaes");
        let wide = vaes && std::is_x86_feature_detected!("avx512bw");
        let expected = 1 + usize::from(aes) + usize::from(vaes) + usize::from(wide);
        assert_eq!(Path::available().count(), expected);
    }
    assert_eq!(Path::available().last(), Some(Path::Portable));
}
