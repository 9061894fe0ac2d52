//! The inner loops of packing: eight lanes are exactly as many bytes as a lane has bits, so that every shift is a constant.
//!
//! Only whole groups are done here; what is left over [`super`] does byte by byte, with the same result.

use super::Lane;
use crate::wide::{self, Job};

/// Lanes of a group.
pub(super) const GROUP: usize = 8;

/// Writes every whole group of `lanes`; `out` has the bytes of all lanes, and zeros where nothing was written yet.
pub(super) fn pack<L: Lane, const BITS: usize>(lanes: &[L], out: &mut [u8]) -> usize {
    let (groups, _) = lanes.as_chunks::<GROUP>();
    for (group, bytes) in groups.iter().zip(out.chunks_exact_mut(BITS)) {
        // the group as a number of 8·BITS bits, in 64-bit words
        let mut words = [0u64; GROUP];
        for (k, lane) in group.iter().enumerate() {
            let value = lane.widen() & (u64::MAX >> (64 - BITS));
            let (word, shift) = (k * BITS / 64, k * BITS % 64);
            words[word] |= value << shift;
            if shift + BITS > 64 {
                words[word + 1] = value >> (64 - shift);
            }
        }
        for (word, bytes) in words.iter().zip(bytes.chunks_mut(8)) {
            bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
        }
    }
    groups.len() * GROUP
}

/// Adds every group that ends at least eight bytes before `bytes` do, so that a whole word can be read at each lane's first byte.
pub(super) fn add<L: Lane, const BITS: usize>(bytes: &[u8], sum: &mut [L]) -> usize {
    if BITS == 8 * L::BYTES {
        return wide::run(AddWhole { bytes, sum });
    }
    let (groups, _) = sum.as_chunks_mut::<GROUP>();
    let mut done = 0;
    for (group, start) in groups.iter_mut().zip((0..).step_by(BITS)) {
        let Some(window) = bytes.get(start..start + BITS + 8) else {
            break;
        };
        for (k, lane) in group.iter_mut().enumerate() {
            let (first, shift) = (k * BITS / 8, k * BITS % 8);
            let word = window[first..first + 8].try_into().expect("eight bytes");
            let mut value = u64::from_le_bytes(word) >> shift;
            if shift + BITS > 64 {
                value |= u64::from(window[first + 8]) << (64 - shift);
            }
            *lane = lane.add(L::of(value & (u64::MAX >> (64 - BITS))));
        }
        done += GROUP;
    }
    done
}

/// Lanes that fill their type need no shifts.
struct AddWhole<'a, L> {
    bytes: &'a [u8],
    sum: &'a mut [L],
}

impl<L: Lane> Job for AddWhole<'_, L> {
    type Output = usize;

    #[inline(always)]
    fn run(self) -> usize {
        let whole = self.sum.len() / GROUP * GROUP;
        for (lane, word) in self.sum[..whole]
            .iter_mut()
            .zip(self.bytes.chunks_exact(L::BYTES))
        {
            *lane = lane.add(L::read(word));
        }
        whole
    }
}
