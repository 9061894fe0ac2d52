//! Half-precision numbers: exact widening, and narrowing to the nearest value with ties to even.
//!
//! Written out, since the standard library has no stable 16-bit floats and the four functions are all we need.

/// An IEEE 754 binary16 as f32; exact.
pub(super) fn f16_to_f32(half: u16) -> f32 {
    let half = u32::from(half);
    let (sign, exponent, mantissa) = ((half & 0x8000) << 16, (half >> 10) & 0x1f, half & 0x3ff);
    let magnitude = match exponent {
        // subnormal: mantissa · 2^−24
        0 => (f32::from(u16::try_from(mantissa).expect("ten bits")) / 16_777_216.0).to_bits(),
        // infinity or NaN
        31 => 0x7f80_0000 | mantissa << 13,
        // another bias: 127 − 15
        _ => (exponent + 112) << 23 | mantissa << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// The nearest binary16; `None` if that is an infinity or NaN.
pub(super) fn f32_to_f16(value: f32) -> Option<u16> {
    let (sign, magnitude) = (
        value.to_bits() >> 16 & 0x8000,
        value.to_bits() & 0x7fff_ffff,
    );
    let half = if f32::from_bits(magnitude) < F16_SMALLEST_NORMAL {
        // the last bit of 0.5 is worth 2^−24, as that of a subnormal binary16: the addition rounds
        (f32::from_bits(magnitude) + 0.5).to_bits() - 0.5_f32.to_bits()
    } else {
        let tie_to_even = magnitude >> 13 & 1;
        ((magnitude + 0xfff + tie_to_even) >> 13).saturating_sub(112 << 10)
    };
    (half < 0x7c00).then(|| u16::try_from(sign | half).expect("sixteen bits"))
}

/// A bfloat16 as f32; exact.
pub(super) fn bf16_to_f32(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

/// The nearest bfloat16; `None` if that is an infinity or NaN.
pub(super) fn f32_to_bf16(value: f32) -> Option<u16> {
    let (sign, magnitude) = (
        value.to_bits() >> 16 & 0x8000,
        value.to_bits() & 0x7fff_ffff,
    );
    let tie_to_even = magnitude >> 16 & 1;
    let half = (magnitude + 0x7fff + tie_to_even) >> 16;
    (half < 0x7f80).then(|| u16::try_from(sign | half).expect("sixteen bits"))
}

/// The nearest f32, an infinity if there is none.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounds to the nearest f32, as IEEE 754 says"
)]
pub(super) fn f64_to_f32(value: f64) -> f32 {
    value as f32
}

/// 2^−14.
const F16_SMALLEST_NORMAL: f32 = 1.0 / 16_384.0;

#[cfg(test)]
mod tests;
