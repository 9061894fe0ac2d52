use proptest::prelude::*;

use super::*;

#[test]
fn lengths_of_time_are_read_exactly() {
    for (text, ms) in [
        ("500ms", 500),
        ("0s", 0),
        ("30s", 30_000),
        ("1.5s", 1500),
        ("0.001s", 1),
        ("10m", 600_000),
        ("1.5h", 5_400_000),
        ("7d", 604_800_000),
        ("1.50h", 5_400_000),
    ] {
        assert_eq!(text.parse::<Span>().unwrap(), Span(ms), "{text}");
    }
}

#[test]
fn anything_else_is_refused_with_the_way_to_write_it() {
    for text in [
        "", "10", "m", "10 m", "-1s", "+1s", "1,5h", ".5s", "5.s", "1.2.3s", "1e3s", "10M",
        "1h30m", "١s",
    ] {
        let error = text.parse::<Span>().unwrap_err();
        assert!(matches!(error, SpanError::Form { .. }), "{text}: {error}");
        assert!(error.to_string().contains("1.5h"));
    }
    assert!(matches!(
        "0.5ms".parse::<Span>(),
        Err(SpanError::TooFine { .. })
    ));
    assert!(matches!(
        "1.00000000000000000001s".parse::<Span>(),
        Err(SpanError::TooLong { .. } | SpanError::TooFine { .. })
    ));
    assert!(matches!(
        "99999999999999999999s".parse::<Span>(),
        Err(SpanError::TooLong { .. })
    ));
    assert!(matches!(
        "18446744073709551615d".parse::<Span>(),
        Err(SpanError::TooLong { .. })
    ));
}

#[test]
fn the_largest_unit_without_rest_is_written() {
    for (ms, text) in [
        (0, "0s"),
        (1, "1ms"),
        (1000, "1s"),
        (90_000, "90s"),
        (600_000, "10m"),
        (604_800_000, "7d"),
    ] {
        assert_eq!(Span(ms).to_string(), text);
    }
}

#[test]
fn sums_saturate_instead_of_wrapping_into_the_past() {
    assert_eq!(Timestamp(u64::MAX) + Span(1), Timestamp(u64::MAX));
    assert_eq!(Span(u64::MAX) + Span(1), Span(u64::MAX));
    assert_eq!(Timestamp(5).since(Timestamp(7)), Span(0));
    assert_eq!(Timestamp(7).since(Timestamp(5)), Span(2));
    assert_eq!(Span::from_secs(u64::MAX), Span(u64::MAX));
}

proptest! {
    #[test]
    fn a_length_of_time_survives_its_text(ms: u64) {
        prop_assert_eq!(Span(ms).to_string().parse::<Span>().unwrap(), Span(ms));
        let json = serde_json::to_string(&Span(ms)).unwrap();
        prop_assert_eq!(serde_json::from_str::<Span>(&json).unwrap(), Span(ms));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,40}") {
        let _ = text.parse::<Span>();
    }
}
