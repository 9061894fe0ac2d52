use proptest::prelude::*;

use super::*;

#[test]
fn known_binary16_values() {
    for (bits, value) in [
        (0x0000, 0.0),
        (0x8000, -0.0),
        (0x3c00, 1.0),
        (0xc000, -2.0),
        (0x7bff, 65504.0),
        (0x0400, 6.103_515_6e-5),
        (0x03ff, 6.097_555e-5),
        (0x0001, 5.960_464_5e-8),
        (0x3555, 0.333_251_95),
    ] {
        assert_eq!(f16_to_f32(bits).to_bits(), f32::to_bits(value), "{bits:#x}");
        assert_eq!(f32_to_f16(value), Some(bits), "{value}");
    }
    assert_eq!(f16_to_f32(0x7c00), f32::INFINITY);
    assert_eq!(f16_to_f32(0xfc00), f32::NEG_INFINITY);
    assert!(f16_to_f32(0x7e00).is_nan());
}

#[test]
fn every_finite_half_survives_f32() {
    for bits in 0..=u16::MAX {
        let wide = f16_to_f32(bits);
        assert_eq!(
            f32_to_f16(wide),
            wide.is_finite().then_some(bits),
            "f16 {bits:#x}"
        );
        let wide = bf16_to_f32(bits);
        assert_eq!(
            f32_to_bf16(wide),
            wide.is_finite().then_some(bits),
            "bf16 {bits:#x}"
        );
    }
}

#[test]
fn ties_go_to_the_even_neighbour() {
    for low in 0..0x7bfe_u16 {
        let (a, b) = (f64::from(f16_to_f32(low)), f64::from(f16_to_f32(low + 1)));
        let even = if low % 2 == 0 { low } else { low + 1 };
        assert_eq!(
            f32_to_f16(f64_to_f32(f64::midpoint(a, b))),
            Some(even),
            "{low:#x}"
        );
    }
    assert_eq!(f32_to_bf16(f32::from_bits(0x3f80_8000)), Some(0x3f80));
    assert_eq!(f32_to_bf16(f32::from_bits(0x3f81_8000)), Some(0x3f82));
}

#[test]
fn what_does_not_fit_is_none() {
    for value in [
        65520.0,
        1e6,
        -65520.0,
        f32::MAX,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ] {
        assert_eq!(f32_to_f16(value), None, "{value}");
    }
    assert_eq!(f32_to_f16(65519.996), Some(0x7bff));
    for value in [f32::MAX, -f32::MAX, f32::INFINITY, f32::NAN, -f32::NAN] {
        assert_eq!(f32_to_bf16(value), None, "{value}");
    }
}

proptest! {
    #[test]
    fn narrowing_finds_the_nearest(value in -65519.0_f32..65519.0) {
        let half = f32_to_f16(value).unwrap();
        let error = |bits: u16| (f64::from(f16_to_f32(bits)) - f64::from(value)).abs();
        for other in [half.wrapping_sub(1), half.wrapping_add(1)] {
            prop_assert!(!f16_to_f32(other).is_finite() || error(half) <= error(other));
        }
    }
}
