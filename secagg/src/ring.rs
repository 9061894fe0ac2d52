//! Elements modulo 2^m: lane widths, packing to exactly m bits an element, and decoding as signed.
//!
//! Packing: element k of a chunk occupies bits k·m … k·m+m−1 of the chunk's bit string; bit j of the string is bit (j mod 8) of
//! byte ⌊j/8⌋. The last byte is padded with zero bits, which are checked. Source: protocol, sections 9 and 18.

use zeroize::Zeroize;

use crate::error::Fault;

mod packing;
use packing::GROUP;

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

/// Integers whose bits are streams: the arithmetic that masks need and nothing more.
pub trait Word: sealed::Sealed + Copy + Default + Zeroize + Send + Sync + 'static {
    /// Bytes of one.
    const BYTES: usize;
    /// Little-endian; `bytes` are [`Self::BYTES`].
    fn read(bytes: &[u8]) -> Self;
    /// Wrapping sum.
    fn add(self, other: Self) -> Self;
    /// Wrapping difference.
    fn sub(self, other: Self) -> Self;
}

/// The integers that carry lanes: one type for each [`LaneWidth`].
pub trait Lane: Word {
    /// The width.
    const WIDTH: LaneWidth;
    /// Modulo the lane's range.
    fn of(value: u64) -> Self;
    /// Without change.
    fn widen(self) -> u64;
    /// Wrapping product.
    fn mul(self, other: Self) -> Self;
    /// Packs whole groups of eight lanes of `ring_bits`, as many as there are; says how many lanes that were.
    #[doc(hidden)]
    fn pack_groups(lanes: &[Self], ring_bits: u8, out: &mut [u8]) -> usize;
    /// Adds whole groups of eight packed lanes, as many as can be read; says how many lanes that were.
    #[doc(hidden)]
    fn add_groups(bytes: &[u8], ring_bits: u8, sum: &mut [Self]) -> usize;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! word {
    ($($int:ty),*) => { $(
        impl sealed::Sealed for $int {}
        impl Word for $int {
            const BYTES: usize = size_of::<$int>();
            #[inline(always)]
            fn read(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("callers cut words of BYTES bytes"))
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
        }
    )* };
}
word!(u8, u16, u32, u64);

/// A lane and the ring sizes it carries: for those, packing is straight-line code with constant shifts.
macro_rules! lane {
    ($int:ty, $width:ident, $($bits:literal)*) => {
        impl Lane for $int {
            const WIDTH: LaneWidth = LaneWidth::$width;
            #[inline(always)]
            fn of(value: u64) -> Self {
                Self::from_le_bytes(*value.to_le_bytes().first_chunk().expect("eight bytes hold every lane"))
            }
            #[inline(always)]
            fn widen(self) -> u64 {
                u64::from(self)
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            fn pack_groups(lanes: &[Self], ring_bits: u8, out: &mut [u8]) -> usize {
                match ring_bits {
                    $($bits => packing::pack::<Self, $bits>(lanes, out),)*
                    _ => 0,
                }
            }
            fn add_groups(bytes: &[u8], ring_bits: u8, sum: &mut [Self]) -> usize {
                match ring_bits {
                    $($bits => packing::add::<Self, $bits>(bytes, sum),)*
                    _ => 0,
                }
            }
        }
    };
}
lane!(u16, U16, 4 5 6 7 8 9 10 11 12 13 14 15 16);
lane!(u32, U32, 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
lane!(u64, U64, 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64);

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

/// Appends lanes modulo 2^ring_bits, packed; `ring_bits` is 1 to 64.
pub fn pack<L: Lane>(lanes: &[L], ring_bits: u8, out: &mut Vec<u8>) {
    let start = out.len();
    let bits = lanes.len() * usize::from(ring_bits);
    out.resize(start + bits.div_ceil(8), 0);
    let done = L::pack_groups(lanes, ring_bits, &mut out[start..]);
    let rest = &mut out[start + done / GROUP * usize::from(ring_bits)..];
    pack_rest(&lanes[done..], ring_bits, rest);
}

/// Byte by byte: what is left after the groups.
fn pack_rest<L: Lane>(lanes: &[L], ring_bits: u8, out: &mut [u8]) {
    let (mut pending, mut bits, mut places) = (0u128, 0u32, out.iter_mut());
    let mut put = |pending: u128| {
        *places.next().expect("the bytes were counted") = (pending & 0xff) as u8;
    };
    for lane in lanes {
        pending |= u128::from(lane.widen() & low_bits(ring_bits)) << bits;
        bits += u32::from(ring_bits);
        while bits >= 8 {
            put(pending);
            pending >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        put(pending);
    }
}

/// Adds a packed chunk to a sum, lane by lane, wrapping: unpacking without a place for what was unpacked.
///
/// # Errors
/// As [`check_packed`]; nothing is added then.
pub fn unpack_add<L: Lane>(bytes: &[u8], ring_bits: u8, sum: &mut [L]) -> Result<(), Fault> {
    check(bytes, ring_bits, sum.len())?;
    let done = L::add_groups(bytes, ring_bits, sum);
    let rest = &bytes[done / GROUP * usize::from(ring_bits)..];
    each_packed(rest, ring_bits, sum.len() - done, |place, value| {
        let lane = &mut sum[done + place];
        *lane = lane.add(L::of(value));
    });
    Ok(())
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
    each_packed(bytes, ring_bits, count as usize, &mut sink);
    Ok(())
}

/// Byte by byte, for bytes that were checked.
fn each_packed(bytes: &[u8], ring_bits: u8, count: usize, mut sink: impl FnMut(usize, u64)) {
    let (mut pending, mut bits, mut source) = (0u128, 0u32, bytes.iter());
    for place in 0..count {
        while bits < u32::from(ring_bits) {
            pending |= u128::from(*source.next().expect("the length was checked")) << bits;
            bits += 8;
        }
        sink(place, low_word(pending) & low_bits(ring_bits));
        pending >>= ring_bits;
        bits -= u32::from(ring_bits);
    }
}

/// Checks length and padding of a packed chunk.
///
/// # Errors
/// As [`unpack`].
pub fn check_packed(bytes: &[u8], ring_bits: u8, count: u32) -> Result<(), Fault> {
    check(bytes, ring_bits, count as usize)
}

fn check(bytes: &[u8], ring_bits: u8, count: usize) -> Result<(), Fault> {
    let need = (count * usize::from(ring_bits)).div_ceil(8);
    if bytes.len() != need {
        return Err(Fault::Length {
            what: "packed chunk",
            have: bytes.len(),
            need,
        });
    }
    let spare = need * 8 - count * usize::from(ring_bits);
    let padded = spare > 0 && bytes.last().is_some_and(|last| last >> (8 - spare) != 0);
    if padded { Err(Fault::Padding) } else { Ok(()) }
}

/// The signed integer that `value` stands for modulo 2^ring_bits. Exact while sums stay within ±(2^(m−1) − 1).
pub fn centred(value: u64, ring_bits: u8) -> i64 {
    let shift = 64 - u32::from(ring_bits);
    (value << shift).cast_signed() >> shift
}
