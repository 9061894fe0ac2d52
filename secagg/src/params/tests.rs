use super::*;
use crate::tests::kit;

type Change = fn(&mut RunConfig);

fn with(change: Change) -> Result<Params, ParamsError> {
    let mut config = kit::config(5);
    change(&mut config);
    Params::new(config)
}

/// One change per field, in the order of the protocol's table.
const FIELDS: [Change; 39] = [
    |c| c.protocol_version += 1,
    |c| c.run_id[0] += 1,
    |c| c.coordinator_pk[0] ^= 1,
    |c| c.profile += 1,
    |c| c.masking += 1,
    |c| c.prg += 1,
    |c| c.arch_digest[0] += 1,
    |c| c.layout_digest[0] += 1,
    |c| c.code_digest[0] += 1,
    |c| c.elements += 1,
    |c| c.meta_lanes += 1,
    |c| c.chunk_elems += 1,
    |c| c.v += 1,
    |c| c.m += 1,
    |c| c.n_max += 1,
    |c| c.clamp += 1.0,
    |c| c.l2_clip += 1.0,
    |c| c.weight_max += 1,
    |c| c.quantiser += 1,
    |c| c.mean_degree += 1,
    |c| c.committee += 1,
    |c| c.committee_size += 1,
    |c| c.committee_threshold += 1,
    |c| c.designated.push(1),
    |c| c.rho_num += 1,
    |c| c.rho_den += 1,
    |c| c.delta_max_permille += 1,
    |c| c.cohort_min_permille += 1,
    |c| c.corrupt_rule += 1,
    |c| c.gamma_permille += 1,
    |c| c.min_cohort += 1,
    |c| c.min_honest += 1,
    |c| c.commit_reveal += 1,
    |c| c.epoch_rounds += 1,
    |c| c.epoch_seconds += 1,
    |c| c.batch_size += 1,
    |c| c.audit += 1,
    |c| c.dp_spec.push(1),
    |c| c.optimiser.push(1),
];

#[test]
fn the_canonical_bytes_of_a_configuration_read_back_and_nothing_else_does() {
    for change in FIELDS {
        let mut config = kit::config(5);
        change(&mut config);
        let bytes = config.to_bytes();
        assert_eq!(RunConfig::from_bytes(&bytes), Some(config));
        for end in 0..bytes.len() {
            assert_eq!(RunConfig::from_bytes(&bytes[..end]), None, "{end} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(RunConfig::from_bytes(&longer), None);
    }
    let mut long = kit::config(5).to_bytes();
    long[..8].fill(0xff);
    assert_eq!(
        RunConfig::from_bytes(&long),
        None,
        "a length beyond the end"
    );
}

#[test]
fn t44_each_of_the_39_fields_changes_the_run_hash() {
    let hashes = FIELDS.map(|change| {
        let mut config = kit::config(5);
        change(&mut config);
        config.hash()
    });
    let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
    assert_eq!(distinct.len(), 39);
    assert!(!distinct.contains(&kit::config(5).hash()));
}

/// Every field with a value of its own, as in `order_vectors` of the reference: two that changed places would give another hash.
#[test]
fn the_fields_stand_in_the_order_of_the_reference() {
    let bytes = |k: u8| vec![k; k.into()];
    let (u32_of, u64_of) = (|k: u32| k << 16, |k: u64| k << 40);
    let config = RunConfig {
        protocol_version: u32_of(1),
        run_id: [2; 16],
        coordinator_pk: [3; 32],
        profile: 4,
        masking: 5,
        prg: 6,
        arch_digest: [7; 32],
        layout_digest: [8; 32],
        code_digest: [9; 32],
        elements: u64_of(10),
        meta_lanes: u32_of(11),
        chunk_elems: u32_of(12),
        v: 13,
        m: 14,
        n_max: u32_of(15),
        clamp: 16.5,
        l2_clip: 17.5,
        weight_max: u64_of(18),
        quantiser: u32_of(19),
        mean_degree: u32_of(20),
        committee: 21,
        committee_size: u32_of(22),
        committee_threshold: u32_of(23),
        designated: bytes(24),
        rho_num: u32_of(25),
        rho_den: u32_of(26),
        delta_max_permille: u32_of(27),
        cohort_min_permille: u32_of(28),
        corrupt_rule: 29,
        gamma_permille: u32_of(30),
        min_cohort: u32_of(31),
        min_honest: u32_of(32),
        commit_reveal: 33,
        epoch_rounds: u32_of(34),
        epoch_seconds: u64_of(35),
        batch_size: u32_of(36),
        audit: 37,
        dp_spec: bytes(38),
        optimiser: bytes(39),
    };
    let orders = include_str!("../../tests/vectors/silo_orders.json");
    let expected: serde_json::Value = serde_json::from_str(orders).unwrap();
    assert_eq!(
        config.hash().to_string(),
        expected["run_hash"].as_str().unwrap()
    );
}

#[test]
fn every_field_out_of_its_bounds_is_named() {
    let refused: [(&str, Change); 43] = [
        ("protocol_version", |c| c.protocol_version = 2),
        ("protocol_version", |c| c.protocol_version = 0),
        ("profile", |c| c.profile = 1),
        ("masking", |c| c.masking = 1),
        ("prg", |c| c.prg = 2),
        ("elements", |c| c.elements = 0),
        ("elements", |c| c.elements = MAX_ELEMENTS + 1),
        ("meta_lanes", |c| c.meta_lanes = 0),
        ("meta_lanes", |c| c.meta_lanes = MAX_META_LANES + 1),
        ("chunk_elems", |c| c.chunk_elems = 0),
        ("chunk_elems", |c| c.chunk_elems = 12),
        ("chunk_elems", |c| {
            (c.elements, c.chunk_elems) = (8 * MAX_CHUNKS + 1, 8)
        }),
        ("chunk_elems", |c| c.chunk_elems = (1 << 18) + 8),
        ("v", |c| c.v = 3),
        ("v", |c| c.v = 33),
        ("m", |c| c.m = 18),
        ("m", |c| c.m = 65),
        ("n_max", |c| c.n_max = 2),
        ("m", |c| c.n_max = u32::MAX),
        ("n_max", |c| (c.n_max, c.m) = (MAX_SILO + 1, 24)),
        ("clamp", |c| c.clamp = 0.0),
        ("clamp", |c| c.clamp = f64::NAN),
        ("clamp", |c| c.clamp = f64::INFINITY),
        ("l2_clip", |c| c.l2_clip = -0.0),
        ("l2_clip", |c| c.l2_clip = f64::NAN),
        ("weight_max", |c| c.weight_max = 0),
        ("quantiser", |c| c.quantiser = 2),
        ("committee", |c| c.committee = 1),
        ("committee_threshold", |c| c.committee_threshold = 4),
        ("designated", |c| c.designated = vec![0; 32]),
        ("rho_num", |c| c.rho_num = 3),
        ("rho_den", |c| c.rho_den = 0),
        ("delta_max_permille", |c| c.delta_max_permille = 500),
        ("cohort_min_permille", |c| c.cohort_min_permille = 699),
        ("cohort_min_permille", |c| c.cohort_min_permille = 1001),
        ("corrupt_rule", |c| c.corrupt_rule = 1),
        ("corrupt_rule", |c| c.corrupt_rule = 2),
        ("gamma_permille", |c| c.gamma_permille = 1),
        ("min_cohort", |c| c.min_cohort = 2),
        ("min_honest", |c| c.min_honest = 1),
        ("commit_reveal", |c| c.commit_reveal = 1),
        ("dp_spec", |c| c.dp_spec = vec![1]),
        ("optimiser", |c| c.optimiser = vec![0; MAX_BYTES + 1]),
    ];
    assert!(with(|_| ()).is_ok());
    for (field, change) in refused {
        assert_eq!(with(change).unwrap_err().field, field);
    }
}

#[test]
fn chunks_cover_the_vector_and_no_more() {
    let params = with(|c| (c.elements, c.chunk_elems) = (100, 32)).unwrap();
    assert_eq!(params.chunks(), 4);
    assert_eq!(
        [0, 1, 2, 3, 4, u64::MAX].map(|chunk| params.chunk_len(chunk)),
        [32, 32, 32, 4, 0, 0]
    );
    let whole = with(|c| (c.elements, c.chunk_elems) = (64, 32)).unwrap();
    assert_eq!(
        (whole.chunks(), whole.chunk_len(1), whole.chunk_len(2)),
        (2, 32, 0)
    );
}

#[test]
fn fewer_than_a_third_of_a_roster_may_be_corrupt() {
    let params = with(|_| ()).unwrap();
    assert_eq!(
        [3, 4, 5, 7, 10, 100, 128].map(|n| params.corrupt_bound(n)),
        [0, 1, 1, 2, 3, 33, 42]
    );
}

#[test]
fn the_degree_rule_is_kept_in_integers() {
    let third = with(|_| ()).unwrap();
    for (alive, degree, holds) in [
        (4, 6, true),
        (3, 6, false),
        (7, 10, true),
        (6, 10, false),
        (0, 0, true),
    ] {
        assert_eq!(
            third.degree_holds(alive, degree),
            holds,
            "{alive} of {degree}"
        );
    }
}

#[test]
fn the_smallest_sets_are_the_larger_of_their_rules() {
    let honest = |min_honest| {
        let mut config = kit::config(128);
        config.min_honest = min_honest;
        Params::new(config).unwrap()
    };
    for (n, h_min, survivors) in [
        (3, 2, 3),
        (4, 2, 3),
        (4, 3, 4),
        (5, 3, 4),
        (7, 3, 5),
        (7, 4, 6),
        (10, 3, 7),
    ] {
        assert_eq!(
            honest(h_min).min_survivors(n),
            survivors,
            "n = {n}, h_min = {h_min}"
        );
    }
    let params = honest(2);
    for (n, cohort, quorum) in [
        (3, 3, 3),
        (4, 3, 3),
        (5, 4, 4),
        (7, 5, 5),
        (10, 7, 7),
        (100, 70, 67),
    ] {
        assert_eq!(
            (params.cohort_floor(n), params.roster_quorum(n)),
            (cohort, quorum),
            "n = {n}"
        );
    }
}
