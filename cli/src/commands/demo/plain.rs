//! `--plain`: the same trainers, the same quantiser and the same sum of integers, without masks and without processes, to compare with.
//!
//! Everything is in this process and gone with it. No daemon contains this path.

use std::time::Instant;

use veilsum_common::RunSpec;
use veilsum_common::model::{Checkpoint, Delta, Flat, Next};
use veilsum_daemon::entropy;
use veilsum_secagg::keys::Seed;
use veilsum_secagg::prg::Keystream;
use veilsum_secagg::ring::packed_len;
use veilsum_trainers::{Dataset, FileKind, Model, hook};

use super::DemoError;
use super::plan::Plan;
use super::progress::{Progress, Show};
use super::report::{Resident, RoundTime, Trained};

/// Trains without masks.
pub(super) fn train(plan: &Plan, show: Show) -> Result<Trained, DemoError> {
    let progress = Progress::new(show, plan.rounds);
    let started = Instant::now();
    let spec = plan.spec()?;
    let sites: Vec<Dataset> = (0..plan.partition.site_count())
        .map(|site| plan.partition.site(site))
        .collect();
    let (mut model, mut times) = (plan.initial_model.clone(), Vec::new());
    for round in 1..=plan.rounds {
        let (next, time) = self::round(plan, &spec, &sites, &model, round)?;
        model = next;
        times.push(time);
        progress.at(round.into(), "no masks".to_owned());
    }
    progress.finish();
    Ok(Trained {
        model,
        seconds: started.elapsed().as_secs_f64(),
        times,
        bytes_up: Some(bytes_unmasked(&spec)),
        dropped: 0,
        masked: false,
        resident: Resident::default(),
    })
}

/// One round: everybody trains, integers are added, the server step gives the next model.
fn round(
    plan: &Plan,
    spec: &RunSpec,
    sites: &[Dataset],
    global: &[u8],
    round: u32,
) -> Result<(Vec<u8>, RoundTime), DemoError> {
    let (started, mut trainer_ms) = (Instant::now(), 0.0);
    let config = plan.recipe.config(plan.seed);
    let (mut sum, mut weights) = (vec![0_i64; vector_len(spec)], 0_u64);
    for data in sites {
        let training = Instant::now();
        let mut local = Model::from_safetensors(global)?;
        let result = hook::contribute(data, &mut local, &config, round)?;
        trainer_ms += milliseconds(training);
        let weight = spec
            .study()
            .secagg()
            .weight
            .weight(result.num_examples as u64);
        let lanes = quantise(spec, global, &local, weight)?;
        sum.iter_mut()
            .zip(lanes)
            .for_each(|(total, lane)| *total += lane);
        weights += weight;
    }
    let (layout, selection) = (spec.layout(), spec.selection());
    let last = Checkpoint::model(&global, layout)?;
    let values = Flat::new(&last, layout, selection)?.whole()?;
    let mut next = vec![0.0; values.len()];
    spec.study()
        .strategy()
        .step(&values, &sum, weights, spec.quantiser(), &mut next);
    let writer = Next::new(Flat::new(&last, layout, selection)?)?;
    let next = writer.whole(&next)?;
    Ok((
        next,
        RoundTime {
            round_ms: milliseconds(started),
            trainer_ms,
        },
    ))
}

/// What training changed, in integers; rounded by fresh randomness, as at a site.
fn quantise(
    spec: &RunSpec,
    global: &[u8],
    local: &Model,
    weight: u64,
) -> Result<Vec<i64>, DemoError> {
    let update = local.to_safetensors(FileKind::Update);
    let (layout, selection) = (spec.layout(), spec.selection());
    let (global, update) = (
        Checkpoint::model(&global, layout)?,
        Checkpoint::update(&update, layout)?,
    );
    let delta = Delta::new(&global, &update, layout, selection)?.whole()?;
    let rounding = Seed::from(entropy::bytes::<32>());
    let noise = |chunk, bytes: &mut [u8]| Keystream::new(&rounding, 0, chunk).fill(bytes);
    Ok(spec.quantiser().quantise(&delta, weight, &noise)?.lanes)
}

/// What a site would send if it sent these integers bare.
fn bytes_unmasked(spec: &RunSpec) -> u64 {
    let params = spec.params();
    let bits = params.config().m;
    let chunks = (0..params.chunks()).map(|chunk| packed_len(params.chunk_len(chunk), bits) as u64);
    chunks.sum::<u64>() + u64::from(params.config().meta_lanes) * 8
}

fn vector_len(spec: &RunSpec) -> usize {
    usize::try_from(spec.params().config().elements)
        .expect("a model in memory fits an address space")
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
