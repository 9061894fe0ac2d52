//! Elements modulo 2^m: lane widths, packing to exactly m bits an element, and decoding as signed.
//!
//! Packing: element k of a chunk occupies bits k·m … k·m+m−1 of the chunk's bit string; bit j of the string is bit (j mod 8) of
//! byte ⌊j/8⌋. The last byte is padded with zero bits, which are checked. Source: protocol, sections 9 and 18.

use crate::error::Fault;

/// Integer type that carries a lane of the mask streams: 2^m divides its range, so wrapping sums reduce once, at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LaneWidth {
    /// m ≤ 16.
    U16,
    /// m ≤ 32.
    U32,
    /// m ≤ 64.
    U64,
}

impl LaneWidth {
    /// The narrowest lane for `ring_bits`.
    pub fn for_ring(ring_bits: u8) -> Self {
        match ring_bits {
            0..=16 => Self::U16,
            17..=32 => Self::U32,
            _ => Self::U64,
        }
    }

    /// Bytes of one lane.
    pub fn bytes(self) -> usize {
        match self {
            Self::U16 => 2,
            Self::U32 => 4,
            Self::U64 => 8,
        }
    }
}

/// A lane type: the arithmetic that masks need and nothing more.
pub(crate) trait Lane: Copy + Default {
    const BYTES: usize;
    fn read(bytes: &[u8]) -> Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn of(value: u64) -> Self;
    fn widen(self) -> u64;
}

macro_rules! lane {
    ($($int:ty),*) => { $(
        impl Lane for $int {
            const BYTES: usize = size_of::<$int>();
            fn read(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("callers cut lanes of BYTES bytes"))
            }
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            fn of(value: u64) -> Self {
                Self::from_le_bytes(*value.to_le_bytes().first_chunk().expect("eight bytes hold every lane"))
            }
            fn widen(self) -> u64 {
                u64::from(self)
            }
        }
    )* };
}
lane!(u16, u32, u64);

/// Bytes of `elements` packed elements of `ring_bits` each.
pub fn packed_len(elements: u32, ring_bits: u8) -> usize {
    (elements as usize * usize::from(ring_bits)).div_ceil(8)
}

/// 2^ring_bits − 1.
fn low_bits(ring_bits: u8) -> u64 {
    u64::MAX >> (64 - u32::from(ring_bits))
}

/// The value modulo 2^64.
fn low_word(value: u128) -> u64 {
    u64::from_le_bytes(
        *value
            .to_le_bytes()
            .first_chunk()
            .expect("sixteen bytes hold eight"),
    )
}

/// Packs values modulo 2^ring_bits; `ring_bits` is 1 to 64.
pub fn pack(values: impl IntoIterator<Item = u64>, ring_bits: u8, out: &mut Vec<u8>) {
    let (mut pending, mut bits) = (0u128, 0u32);
    for value in values {
        pending |= u128::from(value & low_bits(ring_bits)) << bits;
        bits += u32::from(ring_bits);
        while bits >= 8 {
            out.push((pending & 0xff) as u8);
            pending >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push((pending & 0xff) as u8);
    }
}

/// Unpacks exactly `count` values and hands each to `sink` with its place.
///
/// # Errors
/// [`Fault::Length`] if `bytes` is not `packed_len(count)` long, [`Fault::Padding`] if a padding bit is set. Values may have been
/// handed out by then: callers check with [`check_packed`] before they add.
pub fn unpack(
    bytes: &[u8],
    ring_bits: u8,
    count: u32,
    mut sink: impl FnMut(usize, u64),
) -> Result<(), Fault> {
    check_packed(bytes, ring_bits, count)?;
    let (mut pending, mut bits, mut source) = (0u128, 0u32, bytes.iter());
    for place in 0..count as usize {
        while bits < u32::from(ring_bits) {
            pending |= u128::from(*source.next().expect("the length was checked")) << bits;
            bits += 8;
        }
        sink(place, low_word(pending) & low_bits(ring_bits));
        pending >>= ring_bits;
        bits -= u32::from(ring_bits);
    }
    Ok(())
}

/// Checks length and padding of a packed chunk.
///
/// # Errors
/// As [`unpack`].
pub fn check_packed(bytes: &[u8], ring_bits: u8, count: u32) -> Result<(), Fault> {
    let need = packed_len(count, ring_bits);
    if bytes.len() != need {
        return Err(Fault::Length {
            what: "packed chunk",
            have: bytes.len(),
            need,
        });
    }
    let spare = need * 8 - count as usize * usize::from(ring_bits);
    let padded = spare > 0 && bytes.last().is_some_and(|last| last >> (8 - spare) != 0);
    if padded { Err(Fault::Padding) } else { Ok(()) }
}

/// The signed integer that `value` stands for modulo 2^ring_bits. Exact while sums stay within ±(2^(m−1) − 1).
pub fn centred(value: u64, ring_bits: u8) -> i64 {
    let shift = 64 - u32::from(ring_bits);
    (value << shift).cast_signed() >> shift
}
