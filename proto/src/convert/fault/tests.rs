use proptest::prelude::*;
use proptest::sample::Index;
use veilsum_secagg::evidence::{Conviction, CulpritKey, Unproved};

use super::*;
use world::World;

mod world;

/// Convicts, as each kind does before it was written.
fn verdicts(all: &[Evidence]) -> Vec<Result<Conviction, Unproved>> {
    all.iter().map(Evidence::verify).collect()
}

fn problem(bytes: &[u8]) -> (&'static str, Problem) {
    let ConvertError { field, problem } = evidence(bytes).map(drop).unwrap_err();
    (field, problem)
}

#[test]
fn what_is_written_is_read_back_and_convicts_as_before() {
    let world = World::new();
    let all = world.all();
    let files: Vec<_> = all.iter().map(FaultFile::new).collect();
    let read: Vec<_> = files
        .iter()
        .map(|file| evidence(&file.bytes).unwrap())
        .collect();
    assert_eq!(verdicts(&read), verdicts(&all));
    let again: Vec<_> = read.iter().map(FaultFile::new).collect();
    assert_eq!(again, files, "nothing was lost on the way");
    let coordinator = CulpritKey::Coordinator(world::coordinator_key().public());
    let member = |index: usize| CulpritKey::Member(world.identities[index].public());
    let culprits: Vec<_> = verdicts(&read)
        .into_iter()
        .map_while(|verdict| Some(verdict.ok()?.culprit))
        .collect();
    let expected = [
        [coordinator; 5].as_slice(),
        &[member(1), member(2), member(1)],
    ]
    .concat();
    assert_eq!(culprits, expected);
    let unproved: Vec<_> = verdicts(&read)
        .into_iter()
        .filter_map(Result::err)
        .collect();
    assert_eq!(
        unproved,
        [
            Unproved::Unopened,
            Unproved::Signature("unmask list"),
            Unproved::Foreign("scalar")
        ]
    );
}

/// A file as the version that introduced its kind wrote it, and whether it convicts.
macro_rules! golden {
    ($($name:literal => $convicts:literal,)*) => {
        [$(($name, include_bytes!(concat!("tests/files/", $name)).as_slice(), $convicts)),*]
    };
}

/// The form is for good: a file of today is read by every later version, and shows what it showed.
#[test]
fn every_kind_of_file_that_was_ever_written_is_read_and_written_as_it_was() {
    let files = golden! {
        "fault-two-announcements-488ad0960d02ed36.veilsum-fault" => true,
        "fault-two-cohorts-0fd9c476a04f86f6.veilsum-fault" => true,
        "fault-two-survivor-sets-7276c81b0e745d57.veilsum-fault" => true,
        "fault-two-results-71764f7de6e3ab5f.veilsum-fault" => true,
        "fault-omitted-survivor-690ce13ae78f7f80.veilsum-fault" => true,
        "fault-two-rosters-f0f2d567e64dbeac.veilsum-fault" => true,
        "fault-two-attestations-70a52008e65fdeba.veilsum-fault" => true,
        "fault-two-contexts-9b9b16e8480337c3.veilsum-fault" => true,
        "fault-wrong-share-de906d53e18f5e2e.veilsum-fault" => false,
        "fault-wrong-scalar-3ef9823b5cf2aad9.veilsum-fault" => false,
        "fault-inconsistent-dealing-43b0c4ba1c447346.veilsum-fault" => false,
    };
    assert_eq!(files.len(), World::new().all().len(), "one of each kind");
    for (name, bytes, convicts) in files {
        let read = evidence(bytes).unwrap();
        assert_eq!(read.verify().is_ok(), convicts, "{name}");
        let again = FaultFile::new(&read);
        assert_eq!((again.name.as_str(), again.bytes.as_slice()), (name, bytes));
    }
}

#[test]
fn the_largest_file_is_within_the_limit() {
    let too_long = vec![0; MAX_FAULT_BYTES + 1];
    let expected = Problem::TooLong {
        have: MAX_FAULT_BYTES + 1,
        limit: MAX_FAULT_BYTES,
        unit: "bytes",
    };
    assert_eq!(problem(&too_long), ("fault_file", expected));
    // two rosters of 128 entries of 4 × 32 bytes with 12 bytes around each, and three free-form fields of 4,096 bytes in each configuration
    let rosters = 2 * (128 * (4 * 34 + 4) + 3 * 4096 + 1024);
    assert!(rosters * 2 < MAX_FAULT_BYTES);
}

#[test]
fn damage_another_version_and_what_is_no_fault_file_are_told_apart() {
    let file = FaultFile::new(&World::new().all()[0]).bytes;
    assert_eq!(problem(b"#!/bin/sh"), ("fault_file", Problem::Malformed));
    assert_eq!(problem(b""), ("version", Problem::Unknown { have: 0 }));
    let mut newer = file.clone();
    assert_eq!(newer[..2], [0x08, 1]);
    newer[1] = 2;
    assert_eq!(problem(&newer), ("version", Problem::Unknown { have: 2 }));
    let mut damaged = file.clone();
    damaged[100] ^= 1;
    assert_eq!(problem(&damaged), ("evidence", Problem::Malformed));
    assert!(evidence(&file[..file.len() - 1]).is_err(), "cut short");
}

/// Sealed again after a change, as a forger would.
fn resealed(inner: Vec<u8>) -> Vec<u8> {
    let blake3 = Digest::of_bulk(&inner).0.to_vec();
    let file = pb::FaultFile {
        version: VERSION,
        evidence: inner,
        blake3,
    };
    file.encode_to_vec()
}

#[test]
fn what_must_be_there_is_there_and_a_roster_follows_the_rules_of_its_run() {
    let none = resealed(pb::FaultEvidence { proof: None }.encode_to_vec());
    assert_eq!(problem(&none), ("proof", Problem::Missing));
    let all = World::new().all();
    let bent = |at: usize, bend: &dyn Fn(&mut pb::FaultEvidence)| {
        let mut message = write::evidence(&all[at]);
        bend(&mut message);
        problem(&resealed(message.encode_to_vec()))
    };
    let rosters = |bend: &dyn Fn(&mut pb::StatedRoster)| {
        bent(5, &|message| match &mut message.proof {
            Some(pb::fault_evidence::Proof::TwoRosters(proof)) => {
                bend(proof.first.as_mut().unwrap());
            }
            _ => unreachable!(),
        })
    };
    let rules = Problem::NotA("a roster by the rules of its run");
    assert_eq!(rosters(&|r| r.members.swap(0, 1)), ("members", rules));
    assert_eq!(rosters(&|r| r.members.truncate(2)), ("members", rules));
    let many = |roster: &mut pb::StatedRoster| {
        roster.members = vec![roster.members[0].clone(); 129];
    };
    let too_long = Problem::TooLong {
        have: 129,
        limit: 128,
        unit: "members",
    };
    assert_eq!(rosters(&many), ("members", too_long));
    let config = Problem::NotA("the configuration of a run that this version can run");
    let cut = |roster: &mut pb::StatedRoster| roster.run_config.truncate(300);
    assert_eq!(rosters(&cut), ("run_config", config));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A changed file is refused, proves nothing, or still proves the same thing of the same party.
    #[test]
    fn no_change_of_a_file_convicts_anybody_else(
        changes in proptest::collection::vec((any::<Index>(), any::<Index>(), 1u8..), 1..40),
    ) {
        let all = World::new().all();
        for (which, place, flip) in changes {
            let genuine = which.get(&all);
            let mut inner = write::evidence(genuine).encode_to_vec();
            let at = place.index(inner.len());
            inner[at] ^= flip;
            let Ok(read) = evidence(&resealed(inner)) else { continue };
            if let Ok(conviction) = read.verify() {
                prop_assert_eq!(Ok(conviction), genuine.verify());
            }
        }
    }

    #[test]
    fn random_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(evidence(&bytes).is_err());
        prop_assert!(evidence(&resealed(bytes)).is_err());
    }
}
