use prost::Message;

use super::*;
use crate::convert::samples;

fn refused(change: impl FnOnce(&mut pb::Advertisement)) -> ConvertError {
    let mut message = pb::Advertisement::from(samples::advertisement());
    change(&mut message);
    Advertisement::try_from(message).unwrap_err()
}

#[test]
fn what_is_written_is_read_back() {
    let bytes = pb::RosterEntry::from((7, samples::advertisement())).encode_to_vec();
    let entry = pb::RosterEntry::decode(bytes.as_slice()).unwrap();
    assert_eq!(
        <(u32, Advertisement)>::try_from(entry).unwrap(),
        (7, samples::advertisement())
    );

    let confirmation = pb::RosterConfirmation::from(samples::confirmation());
    assert_eq!(
        RosterConfirmation::try_from(confirmation).unwrap(),
        samples::confirmation()
    );

    let cert = pb::RosterCert::from(samples::certificate());
    assert_eq!(Certificate::try_from(cert).unwrap(), samples::certificate());
}

#[test]
fn the_lines_of_a_roster_name_the_places_they_stand_at() {
    let lines = |places: &[u32]| {
        let line = |place: &u32| (*place, samples::advertisement());
        roster(places.iter().map(line).collect::<Vec<_>>())
    };
    let refused = |have, need| Problem::Place { have, need }.of("entry.index");
    assert_eq!(lines(&[0, 1, 2]).unwrap().len(), 3);
    assert_eq!(lines(&[1, 2]), Err(refused(1, 0)));
    assert_eq!(lines(&[0, 2]), Err(refused(2, 1)));
    assert_eq!(lines(&[0, 0]), Err(refused(0, 1)));
    assert_eq!(lines(&[0, 2, 1]), Err(refused(2, 1)));
}

#[test]
fn an_advertisement_is_refused_by_the_field_that_is_wrong() {
    let binding = |change: fn(&mut pb::Binding)| {
        move |message: &mut pb::Advertisement| change(message.binding.as_mut().unwrap())
    };
    let cases = [
        (
            refused(|m| m.run_hash.push(0)),
            "run_hash",
            Problem::Length { have: 33, need: 32 },
        ),
        (
            refused(|m| m.sig.clear()),
            "sig",
            Problem::Length { have: 0, need: 64 },
        ),
        (refused(|m| m.binding = None), "binding", Problem::Missing),
        (
            refused(|m| m.mlkem_ek = vec![0; 1184]),
            "mlkem_ek",
            Problem::NotInVersion1 {
                have: 1184,
                unit: "bytes",
            },
        ),
        (
            refused(|m| m.cert_chain = vec![vec![0]; 5]),
            "cert_chain",
            Problem::TooLong {
                have: 5,
                limit: 4,
                unit: "certificates",
            },
        ),
        (
            refused(|m| m.cert_chain[1] = vec![0; 8193]),
            "cert_chain",
            Problem::TooLong {
                have: 8193,
                limit: 8192,
                unit: "bytes in one certificate",
            },
        ),
        (
            refused(binding(|b| b.scheme = 65_536)),
            "binding.scheme",
            Problem::TooLarge {
                have: 65_536,
                limit: 65_535,
            },
        ),
        (
            refused(binding(|b| b.site = "s".repeat(256))),
            "binding.site",
            Problem::TooLong {
                have: 256,
                limit: 255,
                unit: "bytes",
            },
        ),
    ];
    for (error, field, problem) in cases {
        assert_eq!(error, ConvertError { field, problem });
    }
}

#[test]
fn a_certificate_has_no_more_signatures_than_there_can_be_members() {
    let one = pb::IndexedSig {
        index: 0,
        sig: vec![0; 64],
    };
    let cert = |count: usize| pb::RosterCert {
        epoch_ctx: vec![0; 32],
        sigs: vec![one.clone(); count],
        reveals: Vec::new(),
    };
    assert!(Certificate::try_from(cert(128)).is_ok());
    let problem = Problem::TooLong {
        have: 129,
        limit: 128,
        unit: "signatures",
    };
    assert_eq!(
        Certificate::try_from(cert(129)).unwrap_err(),
        ConvertError {
            field: "sigs",
            problem
        }
    );
}

#[test]
fn reveals_are_refused_since_only_the_fleet_profile_has_them() {
    let mut confirmation = pb::RosterConfirmation::from(samples::confirmation());
    confirmation.reveal = vec![0; 32];
    assert_eq!(
        RosterConfirmation::try_from(confirmation)
            .unwrap_err()
            .field,
        "reveal"
    );
    let mut cert = pb::RosterCert::from(samples::certificate());
    cert.reveals = vec![vec![0; 32]];
    assert_eq!(Certificate::try_from(cert).unwrap_err().field, "reveals");
}

/// They stand in logs and in answers to other peers, and a terminal must not take them for orders.
#[test]
fn the_names_in_a_binding_are_plain_text() {
    for name in ["a\u{1b}[2J", "a\nb", "a\u{7f}", "\u{9b}31m"] {
        for (field, org, site) in [
            ("binding.org", name, "north"),
            ("binding.site", "Clinic", name),
        ] {
            let mut message = pb::Advertisement::from(samples::advertisement());
            let binding = message.binding.as_mut().unwrap();
            (binding.org, binding.site) = (org.to_owned(), site.to_owned());
            let problem = Problem::NotA("plain text");
            assert_eq!(
                Advertisement::try_from(message).unwrap_err(),
                ConvertError { field, problem }
            );
        }
    }
}
