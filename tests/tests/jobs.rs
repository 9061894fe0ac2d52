//! The jobs of a round, on what real sites sent: batches are folded, their bytes let go, the books balance; whoever computes twice gets the
//! same, and what does not add up is never published.
//!
//! In one thread and without sockets; that the daemons run these jobs through kills is told by `resuming.rs`.

#![expect(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;

use veilsum_common::blob::BlobHasher;
use veilsum_common::limits::{BATCH_VECTORS, CHUNK_ELEMS, PART_CHUNKS};
use veilsum_common::parts::Parts;
use veilsum_coordinator::store::staging::Slot;
use veilsum_coordinator::worker::{FoldJob, JobError};
use veilsum_engine::machine::Machine as _;
use veilsum_engine::plan::Fold;
use veilsum_engine::rejection::{Abort, Rejection};
use veilsum_engine::round::{Event, Outcome, Output, Round};
use veilsum_secagg::Digest;
use veilsum_secagg::checksum::Checksum;
use veilsum_secagg::ring::unpack;
use veilsum_tests::simulation::{Received, Simulation, Trained, seed, submit};
use veilsum_tests::{Study, files};

/// A round can do without one of the sites.
fn simulation(sites: u32, elements: u32) -> Simulation {
    let study = Study {
        min: sites - 1,
        ..Study::of(sites, 1)
    };
    let model = files::model(&vec![0.0; elements as usize]);
    Simulation::new(&study.to_toml(), &model, sites.into())
}

fn trained(site: usize, round: u64, elements: u32) -> Trained {
    #[expect(clippy::cast_possible_truncation, reason = "values between -1 and 1")]
    let value = |element: u32| (f64::from(element) * 0.01 + site as f64).sin() as f32;
    Trained {
        update: (0..elements).map(value).collect(),
        examples: 1,
        loss: 1.0,
        rounding: seed(&format!("rounding of {site}"), round),
    }
}

/// A round of two batches, its shares released.
fn two_batches() -> (Simulation, Round, Vec<Option<Received>>) {
    let mut simulation = simulation(u32::try_from(BATCH_VECTORS).unwrap() + 2, 100);
    let (round, _, received) = simulation.released(|site, round| trained(site, round, 100), &[5]);
    (simulation, round, received)
}

fn slot(simulation: &Simulation, round: &Round, site: u32) -> Slot {
    Slot::of(simulation.spec.run_id(), round.attempt(), site)
}

/// The file of one site's upload.
fn staged(simulation: &Simulation, round: &Round, site: u32) -> PathBuf {
    let stream = slot(simulation, round, site).stream;
    let dir = simulation.uploads_dir.join(stream.to_string());
    dir.join(site.to_string())
}

/// What the final job must find, added up one by one.
fn masked_sum(simulation: &Simulation, received: &[Option<Received>]) -> Vec<u64> {
    let (ring_bits, count) = (simulation.spec.params().config().m, 100);
    let mut sum = vec![0u64; 100];
    for Received { packed, .. } in received.iter().flatten() {
        unpack(packed, ring_bits, count, |k, value| {
            sum[k] = (sum[k] + value) % (1 << ring_bits);
        })
        .unwrap();
    }
    sum
}

#[test]
fn partials_add_up_to_what_all_sites_sent_and_a_second_run_of_any_job_gives_the_same() {
    let (simulation, mut round, received) = two_batches();
    assert!(
        round
            .plan()
            .unwrap()
            .folds()
            .eq([0, 1].map(|batch| Fold { batch, part: 0 })),
        "64 and one survivors"
    );
    let mut digests = Vec::new();
    while let Some(job) = FoldJob::next(&simulation.spec, &round) {
        let digest = job.run(&simulation.staging).unwrap();
        assert_eq!(job.run(&simulation.staging).unwrap(), digest);
        let fold = job.fold();
        submit(&mut round, Event::Folded { fold, digest });
        let again = Event::Folded { fold, digest };
        assert_eq!(
            round.handle(round.opened_at(), again),
            Err(Rejection::Repeated)
        );
        digests.push(digest);
        job.let_go(&simulation.staging).unwrap();
    }
    let params = simulation.spec.params();
    let (ring_bits, parts) = (params.config().m, Parts::of(params));
    let mut sum = vec![0u64; 100];
    for (batch, digest) in (0..).zip(&digests) {
        let stream = slot(&simulation, &round, 0).stream;
        let partial = simulation.staging.folded(stream, batch, parts, &[*digest]);
        let partial = partial.unwrap();
        let mut packed = Vec::new();
        partial.chunk(0, &mut packed).unwrap();
        unpack(&packed, ring_bits, 100, |k, value| {
            sum[k] = (sum[k] + value) % (1 << ring_bits)
        })
        .unwrap();
    }
    assert_eq!(sum, masked_sum(&simulation, &received));
    let computed = simulation.compute(&round).unwrap();
    assert_eq!(simulation.compute(&round).unwrap(), computed);
    submit(&mut round, Event::JobDone(Box::new(computed)));
    assert!(matches!(round.outcome(), Some(Outcome::Published(_))));
}

#[test]
fn the_final_job_waits_for_the_last_fold_and_is_asked_for_then() {
    let (simulation, mut round, _) = two_batches();
    let asked = |round: &mut Round| {
        let mut asked = Vec::new();
        while let Some(output) = round.poll_output() {
            asked.push(output);
        }
        asked
    };
    assert_eq!(asked(&mut round), [Output::Fold]);
    round.resume();
    assert_eq!(
        asked(&mut round),
        [Output::Fold],
        "and again after a restart"
    );
    simulation.fold(&mut round);
    assert_eq!(asked(&mut round), [Output::Compute]);
    round.resume();
    assert_eq!(asked(&mut round), [Output::Compute]);
}

#[test]
fn two_results_of_one_fold_end_the_round() {
    let (simulation, mut round, _) = two_batches();
    let job = FoldJob::next(&simulation.spec, &round).unwrap();
    let (fold, digest) = (job.fold(), job.run(&simulation.staging).unwrap());
    submit(&mut round, Event::Folded { fold, digest });
    let digest = Digest::ZERO;
    submit(&mut round, Event::Folded { fold, digest });
    let lost = Some(Outcome::Lost(Abort::Unbalanced));
    assert_eq!(round.outcome(), lost.as_ref());
}

#[test]
fn a_fold_that_nobody_planned_is_refused() {
    let (_simulation, round, _) = two_batches();
    for fold in [Fold { batch: 2, part: 0 }, Fold { batch: 0, part: 1 }] {
        let digest = Digest::ZERO;
        let refused = round.admit(round.opened_at(), &Event::Folded { fold, digest });
        assert_eq!(refused, Err(Rejection::Elsewhere("plan")));
    }
}

#[test]
fn a_fold_is_taken_only_between_the_survivors_and_the_result() {
    let (simulation, mut round, _) = two_batches();
    let late = Event::Folded {
        fold: Fold { batch: 0, part: 0 },
        digest: Digest::ZERO,
    };
    simulation.fold(&mut round);
    let computed = simulation.compute(&round).unwrap();
    submit(&mut round, Event::JobDone(Box::new(computed)));
    let refused = round.admit(round.opened_at(), &late);
    assert!(matches!(refused, Err(Rejection::OutOfPhase { .. })));
    assert_eq!(round.next_fold(), None);
    let (_, mut lost, _) = two_batches();
    submit(&mut lost, Event::Lost(Abort::Unbalanced));
    let refused = lost.handle(lost.opened_at(), late);
    assert!(matches!(refused, Err(Rejection::OutOfPhase { .. })));
    assert_eq!(
        lost.next_fold(),
        None,
        "nobody folds for a round that is over"
    );
}

#[test]
fn a_partial_that_is_damaged_or_gone_gives_no_result() {
    let (simulation, mut round, _) = two_batches();
    simulation.fold(&mut round);
    let dir = simulation
        .uploads_dir
        .join(slot(&simulation, &round, 0).stream.to_string());
    let partial = fs::OpenOptions::new()
        .write(true)
        .open(dir.join("batch-1"))
        .unwrap();
    partial.write_all_at(&[0x5a], 7).unwrap();
    let damaged = simulation.compute(&round);
    assert!(matches!(damaged, Err(JobError::Store(_))), "{damaged:?}");
    fs::remove_file(dir.join("batch-1")).unwrap();
    assert!(matches!(
        simulation.compute(&round),
        Err(JobError::Store(_))
    ));
}

#[test]
fn what_a_fold_adds_up_wrongly_is_no_partial() {
    let (simulation, round, _) = two_batches();
    let params = simulation.spec.params();
    let parts = Parts::of(params);
    // as if one upload had been another one when its books were made: all its hashes are right
    let staged = staged(&simulation, &round, 3);
    let file = fs::OpenOptions::new().write(true).open(staged).unwrap();
    file.write_all_at(&[0xa5], parts.total_bytes() + 32)
        .unwrap();
    let job = FoldJob::next(&simulation.spec, &round).unwrap();
    let wrong = job.run(&simulation.staging);
    assert!(matches!(wrong, Err(JobError::Over(Abort::Unbalanced))));
}

#[test]
fn a_sum_that_is_not_the_sum_of_what_was_accepted_is_not_published() {
    for sites in [5, 66] {
        let computed = |misbooked| {
            let mut simulation = simulation(sites, 100);
            simulation.misbooked = misbooked;
            let train = |site, round| trained(site, round, 100);
            let (mut round, _, _) = simulation.released(train, &[]);
            simulation.fold(&mut round);
            simulation.compute(&round)
        };
        computed(Checksum::default()).unwrap();
        let wrong = computed(Checksum::from_bytes(&[1; Checksum::BYTES]));
        assert!(matches!(wrong, Err(JobError::Over(Abort::Unbalanced))));
    }
}

#[test]
fn a_vector_of_two_parts_is_folded_part_by_part_and_gives_its_bytes_back() {
    let elements = CHUNK_ELEMS * u32::try_from(PART_CHUNKS).unwrap() + 1000;
    let mut simulation = simulation(4, elements);
    let (mut round, clear, _) =
        simulation.released(|site, round| trained(site, round, elements), &[]);
    let staged = staged(&simulation, &round, 0);
    let before = fs::metadata(&staged).unwrap().blocks();
    simulation.fold(&mut round);
    assert!(fs::metadata(&staged).unwrap().blocks() < before / 100);
    let computed = simulation.compute(&round).unwrap();
    let lane = simulation.spec.params().lane().bytes();
    let mut hasher = BlobHasher::default();
    let low = u64::MAX >> (64 - u32::from(simulation.spec.params().config().m));
    for element in 0..elements as usize {
        let sum: i64 = clear.iter().map(|clear| clear.lanes[element]).sum();
        hasher.update(&(sum.cast_unsigned() & low).to_le_bytes()[..lane]);
    }
    assert_eq!(computed.sum_hash, hasher.finish().digest);
}
