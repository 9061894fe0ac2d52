use std::fmt::Debug;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use veilsum_engine::{epoch, participant, round, run};
use veilsum_secagg::Digest;

use super::*;
use crate::convert::samples;

mod any;

/// One entry of each kind, as the version that introduced the kind wrote it: type, kind, payload in hexadecimal.
const GOLDEN: &str = include_str!("tests/golden.txt");

fn runner() -> TestRunner {
    TestRunner::new(Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    })
}

/// Every value of every kind comes back as it was, and these are all the kinds.
fn come_back<T: Journalled + PartialEq + Debug>(kinds: any::Kinds<T>, names: &[&str]) {
    let found = kinds.iter().map(|kind| first(kind).kind());
    assert_eq!(found.collect::<Vec<_>>(), names);
    for kind in kinds {
        runner()
            .run(&kind, |value| {
                prop_assert_eq!(T::decode(&value.encode()), Ok(value));
                Ok(())
            })
            .unwrap();
    }
}

fn first<T: Debug>(kind: &BoxedStrategy<T>) -> T {
    kind.new_tree(&mut TestRunner::deterministic())
        .unwrap()
        .current()
}

/// Of a dozen values the one that says most.
fn ample<T: Journalled + Debug>(kind: &BoxedStrategy<T>) -> T {
    let mut runner = TestRunner::deterministic();
    let values = (0..12).map(|_| kind.new_tree(&mut runner).unwrap().current());
    values.max_by_key(|value| value.encode().len()).unwrap()
}

#[test]
fn every_opening_comes_back_as_it_was() {
    come_back(vec![any::run_created().boxed()], &["created"]);
    come_back(vec![any::epoch_opened().boxed()], &["opened"]);
    come_back(vec![any::round_opened().boxed()], &["opened"]);
    come_back(vec![any::site_accepted().boxed()], &["accepted"]);
}

#[test]
fn every_event_of_a_run_comes_back_as_it_was() {
    come_back(
        any::run_events(),
        &["epoch_ended", "round_ended", "cancelled", "resumed"],
    );
}

#[test]
fn every_event_of_an_epoch_comes_back_as_it_was() {
    let names = [
        "advertised",
        "roster_closed",
        "confirmed",
        "certified",
        "failed",
    ];
    come_back(any::epoch_events(), &names);
}

#[test]
fn every_event_of_a_round_comes_back_as_it_was() {
    let names = [
        "committed",
        "declined",
        "cohort_closed",
        "uploaded",
        "survivors_closed",
        "attested",
        "certified",
        "unmasked",
        "shares_closed",
        "folded",
        "job_done",
        "abort_decided",
        "abort_attested",
        "abort_certified",
        "lost",
    ];
    come_back(any::round_events(), &names);
}

#[test]
fn every_event_of_a_site_comes_back_as_it_was() {
    let names = [
        "joined",
        "enrolled",
        "roster_certified",
        "opened",
        "trained",
        "abort_proposed",
        "consented",
        "finished",
        "sat_out",
        "committed",
        "answered",
        "cohort_seen",
        "submitting",
        "received",
        "attested",
        "released",
        "delivered",
        "expired",
    ];
    come_back(any::site_events(), &names);
}

/// Reads bytes as an entry of every type; what comes out does not matter, only that something does.
fn read_as_everything(bytes: &[u8]) {
    let _ = RunCreated::decode(bytes);
    let _ = EpochOpened::decode(bytes);
    let _ = RoundOpened::decode(bytes);
    let _ = SiteAccepted::decode(bytes);
    let _ = run::Event::decode(bytes);
    let _ = epoch::Event::decode(bytes);
    let _ = round::Event::decode(bytes);
    let _ = participant::Event::decode(bytes);
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_bytes_at_all_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        read_as_everything(&bytes);
    }
}

/// Entries with a few bytes changed, cut or doubled: these reach the inner fields that random bytes never do.
#[test]
fn damaged_entries_are_read_without_panic() {
    for (_, _, payload) in golden() {
        let damage = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
        runner()
            .run(&(damage, any::<prop::sample::Index>()), |(damage, end)| {
                let mut bytes = payload.clone();
                for (at, byte) in damage {
                    if !bytes.is_empty() {
                        let at = at.index(bytes.len());
                        bytes[at] = byte;
                    }
                }
                read_as_everything(&bytes);
                bytes.truncate(end.index(bytes.len() + 1));
                read_as_everything(&bytes);
                Ok(())
            })
            .unwrap();
    }
}

fn golden() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let line = |line: &'static str| {
        let mut words = line.split(' ');
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        (name, kind, bytes(words.next().unwrap()))
    };
    GOLDEN.lines().map(line).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else {
        panic!("an odd number of digits");
    };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.iter().map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Recorded entries of type `name` read as their kind and are written again in the same bytes. Gives the lines of kinds that
/// were not recorded.
fn stay_readable<T: Journalled + Debug>(name: &str, kinds: any::Kinds<T>) -> Vec<String> {
    let recorded: Vec<_> = golden().into_iter().filter(|line| line.0 == name).collect();
    for (_, kind, payload) in &recorded {
        let value = T::decode(payload).unwrap();
        assert_eq!(value.kind(), *kind);
        assert_eq!(hex(&value.encode()), hex(payload), "{name} {kind}");
    }
    let missing = |value: &T| recorded.iter().all(|line| line.1 != value.kind());
    let lines = kinds.iter().map(ample).filter(missing);
    lines
        .map(|value| format!("{name} {} {}", value.kind(), hex(&value.encode())))
        .collect()
}

#[test]
fn what_an_older_version_wrote_stays_readable() {
    let missing = [
        stay_readable("RunCreated", vec![any::run_created().boxed()]),
        stay_readable("EpochOpened", vec![any::epoch_opened().boxed()]),
        stay_readable("RoundOpened", vec![any::round_opened().boxed()]),
        stay_readable("SiteAccepted", vec![any::site_accepted().boxed()]),
        stay_readable("run::Event", any::run_events()),
        stay_readable("epoch::Event", any::epoch_events()),
        stay_readable("round::Event", any::round_events()),
        stay_readable("participant::Event", any::site_events()),
    ]
    .concat();
    assert!(
        missing.is_empty(),
        "golden.txt lacks:\n{}",
        missing.join("\n")
    );
}

fn refused<T: Debug>(result: Result<T, ConvertError>) -> (&'static str, Problem) {
    let ConvertError { field, problem } = result.unwrap_err();
    (field, problem)
}

fn too_long(have: usize, limit: usize, unit: &'static str) -> Problem {
    Problem::TooLong { have, limit, unit }
}

#[test]
fn an_entry_without_content_is_refused() {
    let missing = |field| (field, Problem::Missing);
    assert_eq!(refused(run::Event::decode(&[])), missing("event"));
    assert_eq!(refused(epoch::Event::decode(&[])), missing("event"));
    assert_eq!(refused(round::Event::decode(&[])), missing("event"));
    assert_eq!(refused(participant::Event::decode(&[])), missing("event"));
    assert_eq!(refused(RunCreated::decode(&[])), missing("run_spec"));
    assert_eq!(refused(RoundOpened::decode(&[])), missing("announcement"));
    assert_eq!(
        refused(SiteAccepted::decode(&[])),
        ("sig", Problem::Length { have: 0, need: 64 })
    );
    assert_eq!(
        refused(run::Event::decode(&[0xff])),
        ("entry", Problem::Malformed)
    );
}

fn round_opened() -> RoundOpened {
    RoundOpened {
        announcement: samples::announcement().value,
        round_config: vec![1, 2, 3],
        abort_certificates: vec![samples::certificate()],
        excluded: vec![4],
    }
}

#[test]
fn one_over_a_limit_is_refused() {
    let opened = |change: fn(&mut RoundOpened)| {
        let mut opened = round_opened();
        change(&mut opened);
        refused(RoundOpened::decode(&opened.encode()))
    };
    let longest = 64 * 1024 + 4096;
    assert_eq!(
        opened(|o| o.round_config = vec![0; 64 * 1024 + 4097]),
        ("round_config", too_long(longest + 1, longest, "bytes"))
    );
    assert_eq!(
        opened(|o| o.abort_certificates = vec![samples::certificate(); 4]),
        ("abort_certs", too_long(4, 3, "certificates"))
    );
    assert_eq!(
        opened(|o| o.excluded = vec![0; 129]),
        ("excluded", too_long(129, 128, "members"))
    );
    assert_eq!(
        opened(|o| o.announcement.holders = Bitmap::full(129)),
        (
            "roster_size",
            Problem::TooLarge {
                have: 129,
                limit: 128
            }
        )
    );
}

#[test]
fn one_over_a_limit_of_an_event_is_refused() {
    let enrolled = participant::Event::Enrolled {
        advertisements: vec![samples::advertisement(); 129],
    };
    assert_eq!(
        refused(participant::Event::decode(&enrolled.encode())),
        ("advertisements", too_long(129, 128, "members"))
    );
    let closed = epoch::Event::RosterClosed {
        members: vec![veilsum_secagg::keys::MemberId(Digest::ZERO); 129],
    };
    assert_eq!(
        refused(epoch::Event::decode(&closed.encode())),
        ("members", too_long(129, 128, "members"))
    );
    let certified = round::Event::Certified {
        holders: vec![0; 129],
    };
    assert_eq!(
        refused(round::Event::decode(&certified.encode())),
        ("certified", too_long(129, 128, "members"))
    );
    let trained = participant::Event::Trained(Box::new(participant::Contribution {
        round: 1,
        model_hash: Digest::ZERO,
        roundcfg_hash: Digest::ZERO,
        update: BlobRef::of(b""),
        weight: 1,
        metadata: vec![0; 1025],
    }));
    assert_eq!(
        refused(participant::Event::decode(&trained.encode())),
        ("meta_lanes", too_long(1025, 1024, "lanes"))
    );
}

#[test]
fn an_entry_longer_than_any_message_is_not_even_looked_at() {
    let bytes = vec![0; MAX_MESSAGE_BYTES + 1];
    assert_eq!(
        refused(run::Event::decode(&bytes)),
        (
            "entry",
            too_long(MAX_MESSAGE_BYTES + 1, MAX_MESSAGE_BYTES, "bytes")
        )
    );
}

#[test]
fn a_class_this_version_does_not_know_is_refused() {
    let entry = pb::RoundEvent {
        event: Some(pb::round_event::Event::Declined(pb::MemberDeclined {
            index: 1,
            reason: 9,
        })),
    };
    assert_eq!(
        refused(round::Event::decode(&entry.encode_to_vec())),
        ("reason", Problem::Unknown { have: 9 })
    );
}

/// The part after which the largest cohort's entries are judged: what a store takes as one entry.
#[test]
fn the_largest_commit_and_the_largest_roster_fit_an_entry() {
    let limit = veilsum_common::limits::MAX_ENTRY_BYTES;
    let commit = veilsum_secagg::message::Commit {
        share_list: vec![[1; 64]; MAX_MEMBERS],
        ciphertexts: vec![Some([1; 80]); MAX_MEMBERS],
        ..samples::commit()
    };
    let committed = round::Event::Committed {
        index: 1,
        commit: Box::new(commit),
    };
    assert!(committed.encode().len() <= limit);
    // certificates were checked and dropped
    let member = veilsum_secagg::message::Advertisement {
        chain: Vec::new(),
        ..samples::advertisement()
    };
    let enrolled = participant::Event::Enrolled {
        advertisements: vec![member; MAX_MEMBERS],
    };
    assert!(enrolled.encode().len() <= limit);
}
