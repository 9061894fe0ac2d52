use super::*;
use crate::store::conformance::{entry, stream};

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for number in 0..3 {
        let previous = rows.last().map_or(GENESIS, |row| row.digest);
        rows.push(Row::link(
            stream(1),
            number,
            entry(&[1, 2, 3], Some("site-1")),
            &previous,
        ));
    }
    rows
}

/// The first entry that does not fit, if any.
fn misfit(head: u64, rows: &[Row]) -> Option<u64> {
    match verify(stream(1), 0, head, GENESIS, rows) {
        Ok(()) => None,
        Err(Error::Diverged { number, .. }) => Some(number),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn an_untouched_stream_verifies_from_any_entry_on() {
    let rows = rows();
    assert_eq!(misfit(3, &rows), None);
    assert!(verify(stream(1), 2, 3, rows[1].digest, &rows[2..]).is_ok());
    assert!(verify(stream(1), 3, 3, rows[2].digest, &[]).is_ok());
}

#[test]
fn a_stream_without_its_payloads_still_verifies() {
    let mut rows = rows();
    for row in &mut rows {
        row.payload = None;
    }
    assert_eq!(misfit(3, &rows), None);
}

#[test]
fn every_changed_field_is_noticed_where_it_is() {
    let check = |change: fn(&mut Row)| {
        let mut rows = rows();
        change(&mut rows[1]);
        assert_eq!(misfit(3, &rows), Some(1));
    };
    check(|row| row.number = 2);
    check(|row| row.at = Timestamp(0));
    check(|row| row.kind.push('x'));
    check(|row| row.sender = None);
    check(|row| row.sender = Some("site-2".to_owned()));
    check(|row| row.payload = Some(vec![1, 2]));
    check(|row| row.payload_digest = GENESIS);
    check(|row| row.digest = GENESIS);
}

#[test]
fn a_row_that_is_missing_or_too_many_is_noticed() {
    let rows = rows();
    assert_eq!(misfit(3, &rows[1..]), Some(0));
    assert_eq!(misfit(3, &rows[..2]), Some(2));
    assert_eq!(misfit(2, &rows), Some(2));
    assert_eq!(misfit(3, &[rows[0].clone(), rows[2].clone()]), Some(1));
}

#[test]
fn a_row_of_another_stream_is_noticed() {
    let error = verify(stream(2), 0, 3, GENESIS, &rows()).unwrap_err();
    assert!(
        matches!(error, Error::Diverged { number: 0, .. }),
        "{error:?}"
    );
}

#[test]
fn no_two_headers_are_the_same_bytes() {
    let at = Timestamp(1);
    let headers = [
        header(stream(1), 0, at, "ab", Some("c")),
        header(stream(1), 0, at, "a", Some("bc")),
        header(stream(1), 0, at, "abc", None),
        header(stream(1), 0, at, "abc", Some("")),
        header(stream(1), 1, at, "abc", None),
        header(stream(2), 0, at, "abc", None),
        header(stream(1), 0, Timestamp(2), "abc", None),
    ];
    for (n, one) in headers.iter().enumerate() {
        assert!(
            headers[n + 1..].iter().all(|other| other != one),
            "header {n} is there twice"
        );
    }
}
