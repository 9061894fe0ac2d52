use super::*;

fn plan(survivors: u32, parts: u64) -> Plan {
    let elements = parts * veilsum_common::limits::PART_CHUNKS * 8;
    Plan::of(
        &Bitmap::of(128, (0..128).filter(|index| *index < survivors)),
        Parts::new(elements, 8, 20),
    )
}

#[test]
fn a_round_of_one_batch_and_one_part_has_no_folds() {
    assert!(plan(64, 1).is_small());
    assert_eq!(plan(64, 1).folds().count(), 0);
    assert!(!plan(64, 2).is_small());
    assert!(!plan(65, 1).is_small());
}

#[test]
fn every_part_of_every_batch_is_folded_once() {
    for (survivors, parts, batches) in [(65, 1, 2), (5, 3, 1), (128, 4, 2)] {
        let plan = plan(survivors, parts);
        let folds: std::collections::BTreeSet<Fold> = plan.folds().collect();
        assert_eq!(folds.len(), plan.folds().count());
        assert_eq!(folds.len() as u64, parts * batches);
        assert!(folds.iter().all(|fold| fold.part < parts));
        let members: Vec<u32> = plan.batches().concat();
        assert_eq!(members, (0..survivors).collect::<Vec<_>>());
        assert_eq!(plan.batches().len() as u64, batches);
    }
}
