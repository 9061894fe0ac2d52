//! A coordinator that keeps all it receives finds no site's update in it; a control shows that it would. And masking changes nothing:
//! the model is, bit for bit, the one that a plain sum gives.
//!
//! Most of it in one thread with entropy that can be repeated; at the end real sites, through a proxy that keeps all they send.

#![expect(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use prost::Message as _;
use veilsum_common::RunSpec;
use veilsum_common::blob::BlobRef;
use veilsum_common::model::{Checkpoint, Flat, Next};
use veilsum_engine::round::{Computed, Round};
use veilsum_proto::pb;
use veilsum_secagg::ring::{centred, pack, unpack};
use veilsum_secagg::{Digest, keys::Seed};
use veilsum_tests::simulation::{Clear, Received, Seen, Simulation, Trained, seed};
use veilsum_tests::statistics::{CHI_SQUARE_LIMIT, chi_square, correlation};
use veilsum_tests::{Federation, Proxy, Sent, Study, files};

/// Elements of the vector that correlations are taken over.
const D: u32 = 100_000;

fn rounding(site: usize, round: u64) -> Seed {
    seed(&format!("rounding of site {site}"), round)
}

/// An update as training makes them: the same direction for all, much of its own for each, of the size of the clip.
fn update(site: usize, round: u64, elements: u32) -> Vec<f32> {
    let wave = |element: u32| {
        let (x, site) = (f64::from(element), site as f64);
        (x * 0.37).sin() * 0.4 + (x * (0.11 + 0.05 * site) + round as f64).cos() * 0.6
    };
    #[expect(clippy::cast_possible_truncation, reason = "values between -1 and 1")]
    (0..elements).map(|element| wave(element) as f32).collect()
}

fn trained(site: usize, round: u64, elements: u32) -> Trained {
    Trained {
        update: update(site, round, elements),
        examples: 10 * (site as u64 + 1),
        loss: 1.0 + site as f64 / 2.0,
        rounding: rounding(site, round),
    }
}

fn study(sites: u32, rounds: u64) -> String {
    let study = Study {
        weight: r#"{ by = "examples", max = 100 }"#,
        ..Study::of(sites, rounds)
    };
    study.to_toml()
}

fn zeros(elements: u32) -> Vec<u8> {
    files::model(&vec![0.0; elements as usize])
}

/// The lanes in a packed vector, read as signed numbers.
fn lanes(spec: &RunSpec, packed: &[u8]) -> Vec<i64> {
    let ring_bits = spec.params().config().m;
    let count = u32::try_from(spec.params().config().elements).unwrap();
    let mut lanes = vec![0; count as usize];
    unpack(packed, ring_bits, count, |place, value| {
        lanes[place] = centred(value, ring_bits)
    })
    .unwrap();
    lanes
}

fn floats(lanes: &[i64]) -> Vec<f64> {
    lanes.iter().map(|lane| *lane as f64).collect()
}

/// The difference of two vectors in the ring, read as signed numbers: what is left when masks are used twice.
fn difference(spec: &RunSpec, one: &[i64], other: &[i64]) -> Vec<f64> {
    let ring_bits = spec.params().config().m;
    let minus = |(a, b): (&i64, &i64)| {
        let ring = a.wrapping_sub(*b).cast_unsigned() & (u64::MAX >> (64 - u32::from(ring_bits)));
        centred(ring, ring_bits) as f64
    };
    one.iter().zip(other).map(minus).collect()
}

/// A site that does everything right but for its masks.
fn unmasked(spec: &RunSpec, clear: &Clear) -> Received {
    let ring_bits = spec.params().config().m;
    let reduced = |lane: &i64| lane.cast_unsigned() & (u64::MAX >> (64 - u32::from(ring_bits)));
    let mut packed = Vec::new();
    let lanes: Vec<u64> = clear.lanes.iter().map(reduced).collect();
    pack(&lanes, ring_bits, &mut packed);
    Received {
        packed,
        metadata: clear.metadata.clone(),
    }
}

#[test]
fn no_upload_correlates_with_any_update_and_an_unmasked_one_is_found() {
    let mut simulation = Simulation::new(&study(5, 2), &zeros(D), 5);
    let rounds: Vec<Seen> = (0..2)
        .map(|_| simulation.round(|site, round| trained(site, round, D), &[]))
        .collect();
    let spec = &simulation.spec;
    let limit = 5.0 / f64::from(D).sqrt();
    let meant = |round: usize, site: usize| &rounds[round].clear[site].lanes;
    let received = |round: usize, site: usize| {
        lanes(spec, &rounds[round].received[site].as_ref().unwrap().packed)
    };
    for (round, uploader) in (0..2).flat_map(|round| (0..5).map(move |site| (round, site))) {
        let uploaded = floats(&received(round, uploader));
        for site in 0..5 {
            let found = correlation(&uploaded, &floats(meant(round, site)));
            assert!(
                found.abs() < limit,
                "{uploader}'s upload and {site}'s update: {found}"
            );
        }
    }
    for site in 0..5 {
        // were a mask used in both rounds, it would cancel here
        let uploaded = difference(spec, &received(1, site), &received(0, site));
        let updates = difference(spec, meant(1, site), meant(0, site));
        let found = correlation(&uploaded, &updates);
        assert!(found.abs() < limit, "{site}'s two uploads: {found}");
        // the control: the same eyes on a site without masks
        let naked = unmasked(spec, &rounds[0].clear[site]);
        let found = correlation(
            &floats(&lanes(spec, &naked.packed)),
            &floats(meant(0, site)),
        );
        assert!(found > 0.99, "{found}");
    }
}

/// A result that the sites can go on from; nobody looks at its model.
fn made_up(_: &Simulation, round: &Round, _: &[Option<Received>]) -> Computed {
    let number = round.attempt().announcement().round.to_le_bytes();
    Computed {
        sum_hash: Digest::of_bulk(&number),
        metadata: Vec::new(),
        next_model: BlobRef::of(&number),
        liars: Default::default(),
    }
}

#[test]
fn metadata_lanes_are_uniform_over_a_thousand_rounds_and_unmasked_ones_are_not() {
    let (rounds, elements) = (1000, 4);
    let mut simulation = Simulation::new(&study(3, rounds), &zeros(elements), 3);
    let (mut masked, mut clear) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let train = |site, round| trained(site, round, elements);
        let seen = simulation.round_ended_by(train, &[], made_up);
        masked.extend(
            seen.received
                .into_iter()
                .map(|received| received.unwrap().metadata),
        );
        clear.extend(seen.clear.into_iter().map(|clear| clear.metadata));
    }
    // weight, examples and loss, byte by byte: the low bytes would show a count, the high ones a sign
    let byte = |lanes: &[Vec<u64>], lane: usize, place: usize| {
        chi_square(lanes.iter().map(|lanes| lanes[lane].to_le_bytes()[place]))
    };
    for (lane, place) in (0..3).flat_map(|lane| (0..8).map(move |place| (lane, place))) {
        let found = byte(&masked, lane, place);
        assert!(
            found < CHI_SQUARE_LIMIT,
            "lane {lane}, byte {place}: {found}"
        );
        let control = byte(&clear, lane, place);
        assert!(
            control > 10.0 * CHI_SQUARE_LIMIT,
            "lane {lane}, byte {place}: {control}"
        );
    }
}

/// The next model from a sum that nobody masked.
fn plain_step(spec: &RunSpec, global: &[u8], contributions: &[Clear]) -> Vec<u8> {
    let mut sum = vec![0i64; contributions[0].lanes.len()];
    let mut metadata = vec![0u64; contributions[0].metadata.len()];
    for clear in contributions {
        sum.iter_mut()
            .zip(&clear.lanes)
            .for_each(|(sum, lane)| *sum += lane);
        let lanes = metadata.iter_mut().zip(&clear.metadata);
        lanes.for_each(|(sum, lane)| *sum = sum.wrapping_add(*lane));
    }
    let weight = spec.metadata().decode(&metadata).unwrap().weight;
    let (layout, selection) = (spec.layout(), spec.selection());
    let checkpoint = Checkpoint::model(&global, layout).unwrap();
    let flat = || Flat::new(&checkpoint, layout, selection).unwrap();
    let last = flat().whole().unwrap();
    let mut next = vec![0.0; last.len()];
    spec.study()
        .strategy()
        .step(&last, &sum, weight, spec.quantiser(), &mut next);
    Next::new(flat()).unwrap().whole(&next).unwrap()
}

#[test]
fn the_masked_runs_model_is_the_plain_runs_bit_for_bit_under_either_cipher() {
    for prg in ["aes-256-ctr", "chacha20"] {
        is_the_plain_runs(&format!("[secagg]\nprg = \"{prg}\""));
    }
}

fn is_the_plain_runs(secagg: &str) {
    // more than one chunk, so that no boundary between chunks is special
    let (elements, rounds, sites) = (300_000, 4, 5);
    let study = Study {
        min: 4,
        weight: r#"{ by = "examples", max = 100 }"#,
        ..Study::of(5, rounds)
    };
    let initial = files::model(&update(9, 9, elements));
    let study = study.to_toml().replace("[secagg]", secagg);
    let mut masked = Simulation::new(&study, &initial, sites);
    let spec = masked.spec.clone();
    assert!(spec.params().chunks() > 1);
    // what training gives depends on the model, so that a difference anywhere would grow
    let train = |model: &[u8], site: usize, round: u64| {
        let global = files::values(model, elements as usize);
        let mut trained = trained(site, round, elements);
        trained
            .update
            .iter_mut()
            .zip(global)
            .for_each(|(delta, now)| *delta -= now / 2.0);
        trained
    };
    let mut plain = initial.clone();
    for round in 1..=rounds {
        // one site is lost between its Commit and its upload, another one each round
        let lost = usize::try_from(round).unwrap();
        let model = masked.blobs.read(&masked.model).unwrap();
        masked.round(|site, round| train(&model, site, round), &[lost]);

        let present = (0..5).filter(|site| *site != lost);
        let contributions: Vec<Clear> = present
            .map(|site| Clear::of(&spec, &train(&plain, site, round)))
            .collect();
        plain = plain_step(&spec, &plain, &contributions);
        let model = masked.blobs.read(&masked.model).unwrap();
        assert!(model == plain, "round {round}");
    }
    assert_ne!(plain, initial);
}

/// The packed vector of an upload that a proxy kept.
fn packed(sent: &Sent) -> Vec<u8> {
    let mut packed = Vec::new();
    for message in sent.messages() {
        let message = pb::SubmitMaskedRequest::decode(&message[..]).unwrap();
        if let Some(pb::submit_masked_request::Part::Piece(piece)) = message.part {
            packed.extend_from_slice(&piece.data);
        }
    }
    packed
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_real_site_sends_holds_its_update_or_its_numbers() {
    let examples = |site: usize| 70_000_001 + 1_000_003 * site as u64;
    let mut federation = Federation::new(3, 3, |site, dir| {
        let command = files::trainer(site, dir, "");
        let result = format!(
            r#"{{"num_examples": {}, "metrics": {{"loss": 1.5}}}}"#,
            examples(site)
        );
        std::fs::write(dir.join("result.json"), result).unwrap();
        std::fs::write(
            dir.join("update.safetensors"),
            files::delta(&update(site, 1, D)),
        )
        .unwrap();
        command
    });
    let mut proxies = Vec::new();
    for site in 0..3 {
        proxies.push(Proxy::before(&federation, site).await);
    }
    federation.start_all();
    let study = Study {
        weight: r#"{ by = "examples", max = 100000000 }"#,
        ..Study::of(3, 1)
    };
    let run = federation.submit(&study.to_toml(), &zeros(D)).await;
    federation.completed(&run.run_id).await;

    let study = veilsum_common::study::Study::parse(&study.to_toml()).unwrap();
    let id = run.run_id.parse().unwrap();
    let key = *veilsum_secagg::keys::Identity::from_seed(&seed("any", 0))
        .public()
        .as_bytes();
    let spec = RunSpec::from_study(&study, id, key, &zeros(D)).unwrap();
    let limit = 5.0 / f64::from(D).sqrt();
    for (uploader, proxy) in proxies.iter().enumerate() {
        let sent = proxy.sent();
        let uploads = sent.iter().filter(|sent| sent.call == "SubmitMasked");
        let uploaded: Vec<_> = uploads.map(|sent| packed(sent)).collect();
        assert_eq!(uploaded.len(), 1);
        let uploaded = floats(&lanes(&spec, &uploaded[0]));
        for site in 0..3 {
            let update: Vec<f64> = update(site, 1, D).into_iter().map(f64::from).collect();
            let found = correlation(&uploaded, &update);
            assert!(
                found.abs() < limit,
                "{uploader}'s upload and {site}'s update: {found}"
            );
        }
        // its numbers, as its lanes hold them and as a message would, and a piece of its update
        let own = Trained {
            update: update(uploader, 1, D),
            examples: examples(uploader),
            loss: 1.5,
            rounding: rounding(uploader, 1),
        };
        let clear = Clear::of(&spec, &own);
        let mut secrets: Vec<Vec<u8>> = clear
            .metadata
            .iter()
            .map(|lane| lane.to_le_bytes().to_vec())
            .collect();
        let mut number = Vec::new();
        prost::encoding::encode_varint(examples(uploader), &mut number);
        secrets.push(number);
        secrets.push(
            own.update[..4]
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect(),
        );
        for message in sent.iter().flat_map(|sent| sent.messages()) {
            for secret in &secrets {
                assert!(
                    !contains(&message, secret),
                    "{secret:?} in a message of {uploader}"
                );
            }
        }
    }
}
