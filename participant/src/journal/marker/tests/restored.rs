//! T-72: a store and its marker, when only one of them went back in time.

use veilsum_engine::ledger::Duty;
use veilsum_engine::machine::Machine as _;
use veilsum_engine::participant::{Event, Step};
use veilsum_secagg::Bitmap;
use veilsum_secagg::holder::Verdict;
use veilsum_secagg::message::SurvivorProposal;

use super::super::{MarkerFile, Promise};
use crate::driver::RunError;
use crate::replay::Replayed;
use crate::test_support::story;

/// Epoch and attempt of the story.
const PLACE: (u64, u64) = (1, 1);

/// What the site did, with every promise it gives before it is asked to release: masked bytes, a survivor set, an abort.
fn promised() -> Vec<(Event, Option<Promise>)> {
    let mut all: Vec<_> = story::masked()
        .into_iter()
        .map(|event| (event, None))
        .collect();
    let mut named = None;
    let mut shown = None;
    for (event, promise) in &mut all {
        match event {
            Event::Opened {
                announcement,
                signature,
                ..
            } => named = Some((announcement.clone(), *signature)),
            Event::Attempt { step, .. } => match &**step {
                Step::CohortSeen { cohort, .. } => shown = Some(cohort.clone()),
                Step::Submitting => *promise = Some(Promise::Masked),
                _ => {}
            },
            _ => {}
        }
    }
    let ((announcement, signature), cohort) = (named.unwrap(), shown.unwrap());
    let verdict = Verdict {
        proposal: SurvivorProposal {
            ctx: cohort.ctx(),
            survivors: Bitmap::full(5),
            upload_root: cohort.root,
        },
        cohort: cohort.members,
        complaints: Bitmap::empty(5),
    };
    let attested = Event::Attempt {
        ann_hash: announcement.hash(),
        step: Box::new(Step::Attested(verdict)),
    };
    let aborted = Event::AbortProposed {
        announcement,
        signature,
    };
    all.push((attested, Some(Promise::Attested)));
    all.push((aborted, Some(Promise::Aborted)));
    all
}

/// The store with the first `entries` events, the marker with the promises of the first `marked` ones.
fn brought_back(entries: usize, marked: usize) -> Result<Replayed, RunError> {
    let (events, dir) = (promised(), tempfile::tempdir().unwrap());
    let mut marker = MarkerFile::open(dir.path(), &story::run_id()).unwrap();
    for promise in events[..marked].iter().filter_map(|(_, promise)| *promise) {
        marker.raise(promise, PLACE).unwrap();
    }
    let events: Vec<_> = events.into_iter().map(|(event, _)| event).collect();
    story::replayed(&events[..entries], dir.path())
}

#[test]
fn t72_killed_between_store_and_marker_a_site_raises_no_alarm() {
    for entries in 1..=promised().len() {
        assert!(
            brought_back(entries, entries - 1).is_ok(),
            "{entries} entries"
        );
        assert!(brought_back(entries, entries).is_ok(), "{entries} entries");
    }
}

#[test]
fn t72_a_store_from_before_a_promise_is_not_brought_back_so_neither_share_nor_signature_leaves() {
    let events = promised();
    for (number, _) in (0..)
        .zip(&events)
        .filter(|(_, (_, promise))| promise.is_some())
    {
        for entries in 4..=number {
            let refused = brought_back(entries, number + 1).err().unwrap();
            assert!(matches!(refused, RunError::RolledBack { .. }), "{refused}");
            assert!(
                refused
                    .to_string()
                    .contains("takes no part in the run any more")
            );
        }
    }
}

/// The abort signature has left; the store from before it knows of none, and signs a survivor set of the same attempt.
#[test]
fn t72_without_a_marker_a_restored_holder_goes_on_in_an_attempt_that_it_signed_away() {
    let events = promised();
    let before = events.len() - 2;
    let machine = brought_back(before, 0).unwrap().machine;
    assert_eq!(machine.duty(), Duty::Idle);
    let (attested, _) = &events[before];
    assert_eq!(machine.admit(story::OPENED, attested), Ok(()));
}
