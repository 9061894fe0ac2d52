use std::io::{Error, ErrorKind};

use tonic::{Code, Status};

use super::is_passing;

/// A site that took a cut connection for a refusal became a dropout of a round that went on without it.
#[test]
fn a_connection_that_breaks_in_any_way_is_no_refusal() {
    let ways = [
        ErrorKind::BrokenPipe,
        ErrorKind::ConnectionAborted,
        ErrorKind::ConnectionReset,
        ErrorKind::NotFound,
        ErrorKind::Other,
        ErrorKind::TimedOut,
        ErrorKind::UnexpectedEof,
    ];
    for way in ways {
        let status = Status::from_error(Box::new(Error::from(way)));
        assert!(is_passing(&status), "{way:?} became {status:?}");
    }
    let reasons = [
        h2::Reason::NO_ERROR,
        h2::Reason::INTERNAL_ERROR,
        h2::Reason::REFUSED_STREAM,
        h2::Reason::CANCEL,
        h2::Reason::STREAM_CLOSED,
    ];
    for reason in reasons {
        let status = Status::from_error(Box::new(h2::Error::from(reason)));
        assert!(is_passing(&status), "{reason:?} became {status:?}");
    }
}

#[test]
fn what_the_coordinator_says_is_a_refusal_unless_it_asks_for_patience() {
    for code in (1..=16).map(Code::from_i32) {
        let patience = [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::ResourceExhausted,
        ];
        let status = Status::new(code, "no");
        assert_eq!(is_passing(&status), patience.contains(&code), "{code:?}");
    }
}
