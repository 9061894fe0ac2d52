mod restored;

use veilsum_engine::ledger::{Line, Sent};
use veilsum_secagg::Digest;

use super::*;

fn run() -> RunId {
    RunId::from_bytes([7; 16])
}

#[test]
fn a_missing_marker_marks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = MarkerFile::open(&dir.path().join("new"), &run()).unwrap();
    assert_eq!(*file.marker(), Marker::default());
}

#[test]
fn what_was_raised_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = MarkerFile::open(dir.path(), &run()).unwrap();
    file.raise(Promise::Masked, (1, 9)).unwrap();
    file.raise(Promise::Released, (1, 8)).unwrap();
    let again = MarkerFile::open(dir.path(), &run()).unwrap();
    assert_eq!(again.marker(), file.marker());
    assert_eq!(again.marker().highest(Promise::Masked), Some((1, 9)));
    assert_eq!(again.marker().highest(Promise::Released), Some((1, 8)));
    assert_eq!(again.marker().highest(Promise::Aborted), None);
}

#[test]
fn a_marker_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = MarkerFile::open(dir.path(), &run()).unwrap();
    file.raise(Promise::Attested, (2, 1)).unwrap();
    file.raise(Promise::Attested, (1, 99)).unwrap();
    let again = MarkerFile::open(dir.path(), &run()).unwrap();
    assert_eq!(again.marker().highest(Promise::Attested), Some((2, 1)));
}

#[test]
fn each_promise_alone_can_show_that_the_journal_was_rolled_back() {
    for promise in PROMISES {
        let mut store = Marker::default();
        store.raise(promise, (3, 4));
        for (marked, ahead) in [
            ((3, 5), true),
            ((4, 0), true),
            ((3, 4), false),
            ((2, 7), false),
        ] {
            let mut marker = Marker::default();
            marker.raise(promise, marked);
            assert_eq!(marker.ahead_of(&store), ahead, "{promise:?} {marked:?}");
        }
        assert!(store.ahead_of(&Marker::default()));
    }
}

#[test]
fn runs_have_markers_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = MarkerFile::open(dir.path(), &run()).unwrap();
    file.raise(Promise::Masked, (1, 1)).unwrap();
    let other = MarkerFile::open(dir.path(), &RunId::from_bytes([8; 16])).unwrap();
    assert_eq!(*other.marker(), Marker::default());
}

#[test]
fn what_is_no_marker_is_refused_instead_of_marking_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("{}.marker", run()));
    for text in [
        "",
        "{}",
        "null",
        r#"{"schema":"veilsum.marker/v2","marker":{}}"#,
        &" ".repeat(2000),
    ] {
        std::fs::write(&path, text).unwrap();
        assert!(MarkerFile::open(dir.path(), &run()).is_err(), "{text:?}");
    }
}

#[test]
fn a_replayed_ledger_is_never_behind_the_marker_of_what_it_did() {
    let line = |duty, sent| Line {
        cohort: None,
        survivors: None,
        round: 1,
        attempt: None,
        ann_hash: Digest::ZERO,
        model_hash: Digest::ZERO,
        duty,
        sent,
    };
    for (duty, given) in [
        (Duty::None, &[][..]),
        (Duty::Idle, &[]),
        (Duty::Attested, &[Promise::Attested]),
        (Duty::Released, &[Promise::Attested, Promise::Released]),
        (Duty::Aborted, &[Promise::Attested, Promise::Aborted]),
        (Duty::Aborted, &[Promise::Aborted]),
    ] {
        for sent in [Sent::Nothing, Sent::Masked, Sent::Dead, Sent::Consented] {
            let mut ledger = Ledger::default();
            ledger
                .attempts
                .insert((1, 4), line(Duty::Idle, Sent::Nothing));
            ledger.attempts.insert((2, 5), line(duty, sent));
            let mut marker = Marker::default();
            given
                .iter()
                .for_each(|promise| marker.raise(*promise, (2, 5)));
            if sent != Sent::Nothing {
                marker.raise(Promise::Masked, (2, 5));
            }
            assert!(!marker.ahead_of(&Marker::of(&ledger)), "{duty:?}");
            // The copy from before that attempt is behind.
            ledger.attempts.remove(&(2, 5));
            assert_eq!(
                marker.ahead_of(&Marker::of(&ledger)),
                marker != Marker::default()
            );
        }
    }
}
