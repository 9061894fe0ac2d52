use proptest::prelude::*;
use safetensors::tensor::{Dtype as Kind, TensorView};

use super::*;
use crate::limits::MAX_COHORT;

const SAMPLE: &str = include_str!("../../../docs/config/study.toml");

fn model(tensors: &[(&str, Kind, &[usize], Vec<u8>)]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, kind, shape, data)| {
        (*name, TensorView::new(*kind, shape.to_vec(), data).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

fn mlp() -> Vec<u8> {
    model(&[
        ("w", Kind::F32, &[3, 2], vec![0; 24]),
        ("b", Kind::F32, &[2], vec![0; 8]),
        ("bn.num_batches_tracked", Kind::I64, &[], vec![0; 8]),
    ])
}

fn spec_of(text: &str) -> Result<RunSpec, RunError> {
    RunSpec::from_study(
        &Study::parse(text).unwrap(),
        RunId::from_bytes([7; 16]),
        [9; 32],
        &mlp(),
    )
}

fn sample() -> RunSpec {
    spec_of(SAMPLE).unwrap()
}

/// Sites compare only hashes that hang on the run's: a coordinator that shows two sites two studies must not find one hash for both.
#[test]
fn no_two_studies_share_a_run_hash() {
    let changes = [
        ("local_epochs = 2", "local_epochs = 3"),
        ("count = 60", "count = 61"),
        ("range = [0.0, 10.0]", "range = [0.0, 11.0]"),
        ("aggregate = [\"*\"]", "aggregate = [\"w\", \"b\"]"),
        ("join_timeout = \"10m\"", "join_timeout = \"11m\""),
        ("prg = \"aes-256-ctr\"", "prg = \"chacha20\""),
    ];
    let mut hashes = vec![sample().params().run_hash()];
    for (from, to) in changes {
        assert!(SAMPLE.contains(from), "the sample has no {from}");
        hashes.push(
            spec_of(&SAMPLE.replacen(from, to, 1))
                .unwrap()
                .params()
                .run_hash(),
        );
    }
    let all = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), all);
}

#[test]
fn the_protocols_parameters_follow_from_study_and_model() {
    let spec = sample();
    let config = spec.params().config();
    assert_eq!((config.run_id, config.coordinator_pk), ([7; 16], [9; 32]));
    assert_eq!(
        (config.elements, config.meta_lanes, config.chunk_elems),
        (8, 4, 1 << 18)
    );
    assert_eq!((config.v, config.m, config.n_max), (20, 23, 5));
    assert_eq!(
        (config.clamp, config.l2_clip, config.weight_max),
        (1.0, 1.0, 2000)
    );
    assert_eq!((config.min_cohort, config.min_honest), (5, 3));
    assert_eq!(
        (config.rho_num, config.rho_den, config.optimiser.as_slice()),
        (1, 3, &b"fedavg"[..])
    );
    assert_eq!(config.layout_digest, spec.layout().digest().0);
    assert_eq!(
        spec.quantiser(),
        &Quantiser::new(1.0, Some(1.0), 2000, 20).unwrap()
    );
    assert_eq!(spec.run_id(), RunId::from_bytes([7; 16]));
}

#[test]
fn the_cipher_of_the_masks_is_the_studys_and_survives_the_wire() {
    assert_eq!(sample().params().config().prg, 0);
    let spec = spec_of(&SAMPLE.replace("prg = \"aes-256-ctr\"", "prg = \"chacha20\"")).unwrap();
    assert_eq!(spec.params().config().prg, 1);
    assert_eq!(RunSpec::from_bytes(&spec.to_bytes()).unwrap(), spec);
}

#[test]
fn a_clip_by_element_has_no_l2_bound() {
    let spec = spec_of(&SAMPLE.replace(
        "kind = \"l2\", value = 1.0",
        "kind = \"element\", value = 0.25",
    ))
    .unwrap();
    let config = spec.params().config();
    assert_eq!((config.clamp, config.l2_clip), (0.25, 0.0));
    assert_eq!(
        spec.quantiser(),
        &Quantiser::new(0.25, None, 2000, 20).unwrap()
    );
}

#[test]
fn every_cohort_a_study_allows_is_accepted_by_the_protocol() {
    for min in 3..=MAX_COHORT {
        for target in [min, (2 * min).min(MAX_COHORT), MAX_COHORT] {
            let spec = spec_of(&SAMPLE.replace(
                "min = 5, target = 5",
                &format!("min = {min}, target = {target}"),
            ));
            let params = spec.unwrap().params().clone();
            assert!(
                params.min_survivors(min) <= min,
                "a full cohort of {min} can finish"
            );
        }
    }
}

#[test]
fn small_cohorts_tolerate_one_dropout_less_honest_input() {
    for (min, honest) in [(3, 2), (4, 2), (5, 3), (128, 3)] {
        assert_eq!(min_honest(min), honest);
    }
    let four = spec_of(&SAMPLE.replace("min = 5, target = 5", "min = 3, target = 4")).unwrap();
    assert_eq!(four.params().min_survivors(4), 3);
}

#[test]
fn every_extreme_a_study_allows_is_accepted_by_the_protocol() {
    for (from, to) in [
        ("value = 1.0", "value = 1e-9"),
        ("value = 1.0", "value = 1e9"),
        ("max = 2000", "max = 1"),
        ("max = 2000", "max = 1099511627776"),
        ("bits = 20", "bits = 4"),
        ("bits = 20", "bits = 32"),
        ("by = \"examples\", max = 2000", "by = \"uniform\""),
        ("range = [0.0, 10.0]", "range = [-1e12, 1e12]"),
    ] {
        spec_of(&SAMPLE.replace(from, to)).unwrap();
    }
}

#[test]
fn the_bytes_of_a_run_read_back_to_the_same_run() {
    let spec = sample();
    let bytes = spec.to_bytes();
    assert_eq!(RunSpec::from_bytes(&bytes).unwrap(), spec);
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.starts_with("{\"schema\":\"veilsum.run/v1\",\"run_id\":\"run_a4dq"),
        "{text}"
    );
    assert!(
        text.contains("{\"name\":\"w\",\"dtype\":\"F32\",\"shape\":[3,2]}"),
        "{text}"
    );
}

#[test]
fn foreign_bytes_are_checked_like_a_file() {
    let text = String::from_utf8(sample().to_bytes()).unwrap();
    let read = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} in {text}");
        RunSpec::from_bytes(text.replacen(from, to, 1).as_bytes()).unwrap_err()
    };
    assert!(matches!(
        read("veilsum.run/v1", "veilsum.run/v2"),
        RunError::Schema { .. }
    ));
    assert!(matches!(
        read("\"run_id\"", "\"extra\":1,\"run_id\""),
        RunError::Malformed(_)
    ));
    assert!(matches!(
        read("\"bits\":20", "\"bits\":20,\"bitz\":1"),
        RunError::Malformed(_)
    ));
    assert!(matches!(
        read("\"bits\":20", "\"bits\":99"),
        RunError::Study(StudyError::Whole { .. })
    ));
    assert!(matches!(
        read("\"min\":5", "\"min\":2"),
        RunError::Study(StudyError::CohortTooSmall { min: 2 })
    ));
    assert!(matches!(
        read("fedavg", "krum"),
        RunError::Study(StudyError::Strategy { .. })
    ));
    assert!(matches!(
        read("\"shape\":[3,2]", "\"shape\":[3,0]"),
        RunError::Model(ModelError::NoElements { .. })
    ));
    assert!(matches!(
        read("\"name\":\"w\"", "\"name\":\"b\""),
        RunError::Model(ModelError::Twice { .. })
    ));
    assert!(matches!(
        read(
            "\"keep_global\":[\"*.num_batches_tracked\"]",
            "\"keep_global\":[]"
        ),
        RunError::Model(ModelError::Integer { .. })
    ));
    assert!(matches!(
        read("\"10m\"", "\"600s\""),
        RunError::NotCanonical
    ));
    assert!(matches!(
        read("{\"schema\"", " {\"schema\""),
        RunError::NotCanonical
    ));
    assert!(matches!(
        read("\"bits\":20", "\"bits\":20,\"prg\":\"aes-256-ctr\""),
        RunError::NotCanonical
    ));
    assert!(matches!(
        read(
            "\"local_epochs\":2",
            "\"local_epochs\":1,\"local_epochs\":2"
        ),
        RunError::Malformed(_) | RunError::NotCanonical
    ));
    assert!(matches!(
        read("\"local_epochs\":2", "\"local_epochs\":null"),
        RunError::Malformed(_)
    ));
    let long = RunSpec::from_bytes(&vec![b' '; MAX_RUN_BYTES + 1]).unwrap_err();
    assert!(matches!(long, RunError::TooLong { .. }));
    assert!(matches!(
        RunSpec::from_bytes(b""),
        Err(RunError::Malformed(_))
    ));
}

#[test]
fn an_initial_model_that_cannot_be_trained_is_refused() {
    let study = Study::parse(SAMPLE).unwrap();
    let refused = |model: &[u8]| {
        RunSpec::from_study(&study, RunId::from_bytes([0; 16]), [0; 32], &model).unwrap_err()
    };
    assert!(matches!(
        refused(b"junk"),
        RunError::Model(ModelError::Format { .. })
    ));
    let nan = model(&[("w", Kind::F32, &[1], f32::NAN.to_le_bytes().to_vec())]);
    assert!(matches!(
        refused(&nan),
        RunError::Model(ModelError::NotFinite { .. })
    ));
    let integers = model(&[("counts", Kind::I32, &[1], vec![0; 4])]);
    assert!(matches!(
        refused(&integers),
        RunError::Model(ModelError::Integer { .. })
    ));
}

#[test]
fn a_model_whose_description_fits_no_message_is_refused() {
    let names: Vec<_> = (0..9000).map(|k| format!("{k:0>500}")).collect();
    let tensors: Vec<_> = names
        .iter()
        .map(|n| (n.as_str(), Kind::F32, &[1][..], vec![0; 4]))
        .collect();
    let study = Study::parse(SAMPLE).unwrap();
    let error = RunSpec::from_study(
        &study,
        RunId::from_bytes([0; 16]),
        [0; 32],
        &model(&tensors),
    )
    .unwrap_err();
    assert!(matches!(error, RunError::TooLong { .. }), "{error}");
}

#[test]
fn trainers_are_told_the_round_in_canonical_json() {
    let bytes = sample().round_config_bytes(3);
    let expected =
        r#"{"config":{"local_epochs":2},"metrics":["accuracy","loss"],"round":3,"rounds":60}"#;
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

proptest! {
    #[test]
    fn numbers_of_a_run_survive_the_wire_bit_for_bit(
        clip in 1e-9_f64..1e9,
        lr in any::<f64>().prop_filter("finite", |x| x.is_finite()),
        lo in -1e9_f64..1e9,
        key in "[a-zA-Z0-9_é\\. \\$]{1,12}",
        whole: i64,
    ) {
        let text = SAMPLE
            .replace("value = 1.0", &format!("value = {clip:e}"))
            .replace("range = [0.0, 10.0]", &format!("range = [{lo:e}, 2e9]"))
            .replace("local_epochs = 2", &format!("lr = {lr:e}\n\"{key}x\" = {whole}"));
        let spec = spec_of(&text).unwrap();
        let back = RunSpec::from_bytes(&spec.to_bytes()).unwrap();
        prop_assert_eq!(back.params().run_hash(), spec.params().run_hash());
        prop_assert_eq!(back.study().digest(), spec.study().digest());
        prop_assert_eq!(back.round_config_bytes(1), spec.round_config_bytes(1));
        prop_assert_eq!(back, spec);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(at in 0_usize..1000, to: u8) {
        let mut bytes = sample().to_bytes();
        let at = at % bytes.len();
        bytes[at] = to;
        let _ = RunSpec::from_bytes(&bytes);
    }
}
