use std::collections::{BTreeMap, BTreeSet};

use tonic_types::ErrorDetails;
use veilsum_engine::rejection::Abort;

use super::*;

fn refused(code: Code, reason: &str) -> Failure {
    let details =
        ErrorDetails::with_error_info(reason, "veilsum", std::collections::HashMap::new());
    Failure::from(&Error::from(Status::with_error_details(
        code, "no", details,
    )))
}

#[test]
fn a_reason_on_the_wire_decides_the_exit_code() {
    let check = |reason: &str, exit: Exit| {
        let failure = refused(Code::Unknown, reason);
        assert_eq!((failure.code.as_str(), failure.exit), (reason, exit));
    };
    check("RUN_NOT_FOUND", Exit::Invalid);
    check("REQUEST_ID_CONFLICT", Exit::Invalid);
    check("NOT_PERMITTED", Exit::NotPermitted);
    check("STOPPING", Exit::Unreachable);
    check("SITE_POLICY_MIN_COHORT", Exit::PolicyRefused);
    check("ROUND_QUORUM_LOST", Exit::QuorumLost);
    check("PROTOCOL_VIOLATION", Exit::VerificationFailed);
}

#[test]
fn a_reason_of_a_later_version_falls_back_to_the_grpc_code() {
    assert_eq!(
        refused(Code::PermissionDenied, "NEW_WORD").exit,
        Exit::NotPermitted
    );
    assert_eq!(
        refused(Code::Unavailable, "NEW_WORD").exit,
        Exit::Unreachable
    );
    assert_eq!(refused(Code::NotFound, "NEW_WORD").exit, Exit::Invalid);
}

#[test]
fn no_answer_at_all_is_an_unreachable_coordinator() {
    let failure = Failure::from(&Error::from(Status::unavailable("tcp connect error")));
    assert_eq!(
        (failure.code.as_str(), failure.exit),
        ("COORDINATOR_UNREACHABLE", Exit::Unreachable)
    );
}

#[test]
fn no_exit_code_is_99_or_above_125_and_every_word_has_a_fix() {
    let words: BTreeSet<&str> = KNOWN.iter().map(|known| known.code).collect();
    assert_eq!(words.len(), KNOWN.len(), "each word once");
    for known in KNOWN {
        assert!(known.exit.code() != 99 && known.exit.code() <= 125);
        assert!(!known.hint.is_empty());
    }
}

#[test]
fn every_code_word_has_its_heading_with_its_exit_code() {
    let handbook = include_str!("../../../docs/exit-codes.md");
    let headings: BTreeMap<&str, &str> = handbook
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.split_once("` (exit "))
        .collect();
    for Known { code, exit, .. } in KNOWN {
        let expected = format!("{})", exit.code());
        assert_eq!(
            headings.get(code),
            Some(&expected.as_str()),
            "docs/exit-codes.md: {code}"
        );
    }
    assert_eq!(
        headings.len(),
        KNOWN.len(),
        "no heading without a code word"
    );
}

#[test]
fn every_way_in_which_a_run_can_end_has_a_code_word() {
    let (have, need) = (1, 2);
    let aborts = [
        Abort::RosterTooSmall { have, need },
        Abort::RosterUnconfirmed { have, need },
        Abort::TooFewOnline { have, need },
        Abort::CohortTooSmall { have, need },
        Abort::SurvivorsTooFew { have, need },
        Abort::AttestationsTooFew { have, need },
        Abort::BadDealing { dealers: vec![1] },
        Abort::ReleaseLost { have, need },
        Abort::AbortUncertified { have, need },
        Abort::Dealer { dealer: 1 },
        Abort::BadSum,
        Abort::NotFinite,
        Abort::Unchanged { round: 1 },
        Abort::Diverged("set"),
        Abort::Cancelled,
    ];
    for abort in aborts {
        assert!(look_up(abort.code()).is_some(), "{}", abort.code());
    }
}

#[test]
fn a_bug_exits_with_70_and_names_its_report() {
    let failure = Failure::bug(Some(Path::new("/tmp/veilsum-report-1.txt")));
    assert_eq!(
        (failure.code.as_str(), failure.exit.code()),
        ("INTERNAL", 70)
    );
    assert!(failure.message.contains("/tmp/veilsum-report-1.txt"));
}
