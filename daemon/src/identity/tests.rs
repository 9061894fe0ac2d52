use rcgen::{CertificateParams, KeyPair, SanType, SerialNumber, date_time_ymd};

use super::*;

fn federation() -> Federation {
    Federation::new("example.org", "cancer-study").unwrap()
}

fn leaf(names: Vec<SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.serial_number = Some(SerialNumber::from_slice(&[0x4a, 1, 2]));
    params
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap()
        .der()
        .to_vec()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn check(text: &str, expected: Result<(Role, &str), IdentityError>) {
    let found = PeerIdentity::from_leaf(&leaf(vec![uri(text)]), &federation());
    let found = found.map(|identity| (identity.role, identity.name));
    assert_eq!(
        found,
        expected.map(|(role, name)| (role, name.parse().unwrap())),
        "{text}"
    );
}

#[test]
fn each_role_is_read_from_the_uri_name() {
    check(
        "spiffe://example.org/veilsum/cancer-study/participant/hospital-a",
        Ok((Role::Participant, "hospital-a")),
    );
    check(
        "spiffe://example.org/veilsum/cancer-study/operator/eve",
        Ok((Role::Operator, "eve")),
    );
    check(
        "spiffe://example.org/veilsum/cancer-study/coordinator/main",
        Ok((Role::Coordinator, "main")),
    );
    check(
        "spiffe://example.org/veilsum/cancer-study/auditor/bob",
        Ok((Role::Auditor, "bob")),
    );
}

#[test]
fn other_kinds_of_names_and_the_serial_number_do_not_disturb() {
    let names = vec![
        SanType::DnsName("coord.example.org".try_into().unwrap()),
        uri("spiffe://example.org/veilsum/cancer-study/coordinator/main"),
    ];
    let identity = PeerIdentity::from_leaf(&leaf(names), &federation()).unwrap();
    assert_eq!(identity.serial.to_string(), "4a0102");
    assert_eq!(identity.serial.as_bytes(), [0x4a, 1, 2]);
}

#[test]
fn no_uri_name_and_several_are_refused() {
    let none = PeerIdentity::from_leaf(&leaf(vec![]), &federation());
    assert_eq!(none.unwrap_err(), IdentityError::NoName);
    let dns_only = leaf(vec![SanType::DnsName(
        "spiffe.example.org".try_into().unwrap(),
    )]);
    assert_eq!(
        PeerIdentity::from_leaf(&dns_only, &federation()).unwrap_err(),
        IdentityError::NoName
    );
    let good = uri("spiffe://example.org/veilsum/cancer-study/participant/hospital-a");
    let twice = leaf(vec![good.clone(), good.clone()]);
    assert_eq!(
        PeerIdentity::from_leaf(&twice, &federation()).unwrap_err(),
        IdentityError::SeveralNames { have: 2 }
    );
    let thrice = leaf(vec![good.clone(), uri("https://example.org"), good]);
    assert_eq!(
        PeerIdentity::from_leaf(&thrice, &federation()).unwrap_err(),
        IdentityError::SeveralNames { have: 3 }
    );
}

#[test]
fn a_uri_name_in_another_form_is_refused() {
    for text in [
        "https://example.org/veilsum/cancer-study/participant/hospital-a",
        "SPIFFE://example.org/veilsum/cancer-study/participant/hospital-a",
        "spiffe://Example.org/veilsum/cancer-study/participant/hospital-a",
        "spiffe:///veilsum/cancer-study/participant/hospital-a",
        "spiffe://example.org/other/cancer-study/participant/hospital-a",
        "spiffe://example.org/veilsum/cancer-study/participant",
        "spiffe://example.org/veilsum/cancer-study/participant/",
        "spiffe://example.org/veilsum/cancer-study/participant/hospital-a/",
        "spiffe://example.org/veilsum/cancer-study/participant/hospital-a?x=1",
        "spiffe://example.org/veilsum/cancer-study/participant/hospital%2da",
        "spiffe://example.org/veilsum//participant/hospital-a",
        "spiffe://example.org/veilsum/cancer-study/participant/Hospital-A",
    ] {
        check(
            text,
            Err(IdentityError::NotOurForm {
                found: text.to_owned(),
            }),
        );
    }
    check(
        "spiffe://example.org/veilsum/cancer-study/admin/eve",
        Err(IdentityError::UnknownRole),
    );
}

#[test]
fn a_member_of_another_federation_is_refused() {
    for (text, domain, name) in [
        (
            "spiffe://example.com/veilsum/cancer-study/participant/hospital-a",
            "example.com",
            "cancer-study",
        ),
        (
            "spiffe://example.org/veilsum/other-study/participant/hospital-a",
            "example.org",
            "other-study",
        ),
    ] {
        let found = Federation::new(domain, name).unwrap();
        check(
            text,
            Err(IdentityError::OtherFederation {
                found,
                expected: federation(),
            }),
        );
    }
}

#[test]
fn a_process_takes_its_federation_from_its_own_certificate() {
    let own = leaf(vec![uri(
        "spiffe://example.org/veilsum/cancer-study/coordinator/main",
    )]);
    assert_eq!(Federation::of_leaf(&own).unwrap(), federation());
}

#[test]
fn what_is_no_certificate_or_has_something_behind_it_is_refused() {
    assert_eq!(
        PeerIdentity::from_leaf(b"no", &federation()).unwrap_err(),
        IdentityError::Malformed
    );
    let mut longer = leaf(vec![uri(
        "spiffe://example.org/veilsum/cancer-study/auditor/bob",
    )]);
    longer.push(0);
    assert_eq!(
        PeerIdentity::from_leaf(&longer, &federation()).unwrap_err(),
        IdentityError::Malformed
    );
}

#[test]
fn names_of_a_federation_are_checked_and_make_the_uri() {
    let name = "hospital-a".parse().unwrap();
    let text = federation().uri(Role::Participant, &name);
    assert_eq!(
        text,
        "spiffe://example.org/veilsum/cancer-study/participant/hospital-a"
    );
    let long = "a".repeat(256);
    for domain in ["", "Example.org", "example.org/x", "exämple.org", &long] {
        assert_eq!(
            Federation::new(domain, "study").unwrap_err(),
            IdentityError::TrustDomain
        );
    }
    for study in ["", "-study", "my study", "my/study"] {
        assert_eq!(
            Federation::new("example.org", study).unwrap_err(),
            IdentityError::FederationName
        );
    }
}

#[test]
fn a_strange_name_is_shown_escaped_and_shortened() {
    let text = format!("spiffe://x\u{7f}{}", "y".repeat(500));
    let shown = shown(&text);
    assert!(shown.starts_with("spiffe://x\\u{7f}yyy"));
    assert!(shown.len() < 140);
}

#[test]
fn a_certificate_expires_when_its_last_second_is_over() {
    let mut params = CertificateParams::default();
    params.not_after = date_time_ymd(2020, 1, 1);
    let leaf = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    // 2020-01-01T00:00:00Z, and the second after it.
    assert_eq!(expiry(leaf.der()), Ok(Timestamp(1_577_836_801_000)));
    assert_eq!(expiry(b"no certificate"), Err(IdentityError::Malformed));
}
