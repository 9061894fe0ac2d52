use proptest::prelude::*;

use super::*;

#[test]
fn a_run_id_has_one_spelling() {
    let zero = RunId::from_bytes([0; 16]);
    assert_eq!(zero.to_string(), "run_aaaaaaaaaaaaaaaaaaaaaaaaaa");
    for wrong in [
        "",
        "run_",
        "RUN_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "run_AAAAAAAAAAAAAAAAAAAAAAAAAA",
        "run_aaaaaaaaaaaaaaaaaaaaaaaaab",
        "run_aaaaaaaaaaaaaaaaaaaaaaaaa",
        "run_aaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "run_aaaaaaaaaaaaaaaaaaaaaaaa1a",
        "run_aaaaaaaaaaaaaaaaaaaaaaaaé",
        " run_aaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        let error = wrong.parse::<RunId>().unwrap_err();
        assert!(matches!(error, IdError::Run { .. }), "{wrong}: {error}");
    }
}

proptest! {
    #[test]
    fn a_run_id_survives_its_text(bytes: [u8; 16]) {
        let id = RunId::from_bytes(bytes);
        prop_assert_eq!(id.to_string().parse::<RunId>().unwrap(), id);
        prop_assert_eq!(id.as_bytes(), &bytes);
        let json = serde_json::to_string(&id).unwrap();
        prop_assert_eq!(serde_json::from_str::<RunId>(&json).unwrap(), id);
    }
}

#[test]
fn a_site_name_is_a_dns_label() {
    for right in ["a", "0", "hospital-a", "site-", &"x".repeat(63)] {
        assert_eq!(right.parse::<SiteName>().unwrap().as_str(), right);
    }
    for wrong in ["", "-a", "A", "a b", "a.b", "a/..", "é", &"x".repeat(64)] {
        let error = wrong.parse::<SiteName>().unwrap_err();
        assert!(matches!(error, IdError::Site { .. }), "{wrong}: {error}");
    }
}

#[test]
fn a_wrong_name_is_checked_in_json_too() {
    assert!(serde_json::from_str::<SiteName>("\"hospital-a\"").is_ok());
    assert!(serde_json::from_str::<SiteName>("\"Hospital A\"").is_err());
}

#[test]
fn what_is_shown_is_short_and_printable() {
    assert_eq!(shown("a\u{1b}[31m\n"), "a?[31m?");
    assert_eq!(shown(&"x".repeat(1000)).len(), 80);
}
