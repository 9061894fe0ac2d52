use std::collections::BTreeSet;

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
fn no_exit_code_is_99_or_above_125_and_every_word_has_a_cause_and_a_remedy() {
    let words: BTreeSet<&str> = known::all().map(|known| known.code).collect();
    assert_eq!(words.len(), known::all().count(), "each word once");
    for Known {
        code,
        exit,
        cause,
        remedy,
    } in known::all()
    {
        assert!(exit.code() != 99 && exit.code() <= 125);
        assert!(cause.ends_with('.'), "{code}: {cause}");
        assert!(
            !remedy.is_empty() && !remedy.ends_with('.'),
            "{code}: {remedy}"
        );
    }
}

/// `VEILSUM_BLESS=1` writes the page instead.
#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "a page of this repository, read and written where it lies"
)]
fn the_page_of_errors_is_what_the_table_gives() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
    if std::env::var_os("VEILSUM_BLESS").is_some() {
        std::fs::write(path, known::page()).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap();
    assert!(
        page == known::page(),
        "docs/errors.md is out of step; write it with VEILSUM_BLESS=1 cargo test -p veilsum-cli the_page_of_errors"
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
        Abort::Unbalanced,
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
