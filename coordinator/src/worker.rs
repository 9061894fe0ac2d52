//! The final job of a round: fold the survivors' uploads, take the masks off, decode, make the next model.
//!
//! A pure function of staged blobs and journalled messages: any run of it gives the same bytes. Seeds exist only in its memory.
//! Source: protocol, sections 11.3, 11.4 and 18.

use veilsum_common::blob::BlobRef;
use veilsum_common::model;
use veilsum_common::run::RunSpec;
use veilsum_engine::rejection::Abort;
use veilsum_engine::round::{Computed, Round};
use veilsum_secagg::context::Attempt;
use veilsum_secagg::coordinator::{self, Unmasked};
use veilsum_secagg::params::Params;
use veilsum_secagg::ring::{LaneWidth, centred, packed_len, unpack};
use veilsum_secagg::{Culprit, Digest, Error as Protocol};

use crate::store::blobs::{Blobs, Error as BlobError, Slot};

/// What the job reads, taken from the round while its machine stands still.
pub struct Inputs {
    attempt: std::sync::Arc<Attempt>,
    cohort: veilsum_secagg::message::Cohort,
    survivors: veilsum_secagg::Bitmap,
    commits: coordinator::Commits,
    lists: std::collections::BTreeMap<u32, veilsum_secagg::message::UnmaskList>,
    uploads: Vec<(u32, BlobRef, Vec<u8>)>,
}

impl Inputs {
    /// Of a round that waits for its final job; `None` for any other.
    pub fn of(round: &Round) -> Option<Self> {
        let survivors = round.proposal()?.survivors.clone();
        let kept = round
            .uploads()
            .values()
            .filter(|upload| survivors.contains(upload.item.index));
        Some(Self {
            attempt: std::sync::Arc::clone(round.attempt()),
            cohort: round.cohort()?.clone(),
            commits: round.commits().clone(),
            lists: round.lists().clone(),
            uploads: kept
                .map(|upload| (upload.item.index, upload.blob, upload.metadata.clone()))
                .collect(),
            survivors,
        })
    }
}

/// Where the job reads and writes.
#[derive(Clone, Copy)]
pub struct Stores<'a> {
    /// Holds the model of the round, and takes the next one.
    pub models: &'a Blobs,
    /// Holds the staged uploads.
    pub uploads: &'a Blobs,
}

/// Why the job has no result.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The round is over.
    #[error(transparent)]
    Over(Abort),
    /// The store failed; the job may run again.
    #[error(transparent)]
    Store(#[from] BlobError),
}

/// Runs the job; `model` is the model the round trained on.
///
/// Cost: O((survivors + masks) × elements) time; O(elements) memory, since uploads are folded one after the other.
///
/// # Errors
/// [`JobError`]; nothing is published then.
pub fn run(
    spec: &RunSpec,
    stores: Stores<'_>,
    model: &BlobRef,
    inputs: &Inputs,
) -> Result<Computed, JobError> {
    let params = spec.params();
    let unmasked = coordinator::unmask(
        &inputs.attempt,
        &inputs.cohort,
        &inputs.survivors,
        &inputs.commits,
        &inputs.lists,
    )
    .map_err(|error| JobError::Over(verdict(&error)))?;
    let metadata = metadata_sum(params, inputs, &unmasked);
    let (sum, sum_hash) = vector_sum(spec, stores.uploads, inputs, &unmasked)?;
    let means = spec
        .metadata()
        .decode(&metadata)
        .map_err(|_| JobError::Over(Abort::BadSum))?;
    let next = next_model(spec, &stores.models.read(model)?, &sum, means.weight)?;
    Ok(Computed {
        sum_hash,
        metadata: metadata
            .iter()
            .flat_map(|lane| lane.to_le_bytes())
            .collect(),
        next_model: stores.models.put(&next)?,
        liars: unmasked.liars,
    })
}

fn verdict(error: &Protocol) -> Abort {
    match (error.culprits(), error) {
        (Some(Culprit::Member(dealer)), _) => Abort::Dealer { dealer },
        (_, Protocol::BelowThreshold { have, need }) => Abort::ReleaseLost {
            have: *have,
            need: *need,
        },
        _ => Abort::Diverged("unmask share"),
    }
}

fn metadata_sum(params: &Params, inputs: &Inputs, unmasked: &Unmasked) -> Vec<u64> {
    let mut sum = vec![0u64; params.config().meta_lanes as usize];
    for (_, _, metadata) in &inputs.uploads {
        for (total, lane) in sum.iter_mut().zip(metadata.chunks_exact(8)) {
            let lane = u64::from_le_bytes(lane.try_into().expect("chunks of eight bytes"));
            *total = total.wrapping_add(lane);
        }
    }
    unmasked.masks.add_to_metadata(&mut sum);
    sum
}

/// The sum modulo 2^m, decoded as signed, and the hash of its lanes.
fn vector_sum(
    spec: &RunSpec,
    uploads: &Blobs,
    inputs: &Inputs,
    unmasked: &Unmasked,
) -> Result<(Vec<i64>, Digest), JobError> {
    let params = spec.params();
    let (ring_bits, width) = (params.config().m, params.lane());
    let mut sums: Vec<Vec<u64>> = (0..params.chunks())
        .map(|chunk| vec![0; params.chunk_len(chunk) as usize])
        .collect();
    for &(index, blob, _) in &inputs.uploads {
        let slot = Slot::of(spec.run_id(), &inputs.attempt, index);
        let packed = uploads.read_upload(&slot, &blob)?;
        fold(params, &packed, &mut sums)?;
    }
    let (mut decoded, mut hasher) = (Vec::new(), blake3::Hasher::new());
    for (chunk, mut sum) in (0..).zip(sums) {
        unmasked.masks.add_to_sum(width, chunk, &mut sum);
        for value in &sum {
            let reduced = value & (u64::MAX >> (64 - u32::from(ring_bits)));
            hasher.update(&reduced.to_le_bytes()[..LaneWidth::bytes(width)]);
            decoded.push(centred(reduced, ring_bits));
        }
    }
    Ok((decoded, Digest(*hasher.finalize().as_bytes())))
}

/// Adds one packed upload, chunk by chunk.
fn fold(params: &Params, packed: &[u8], sums: &mut [Vec<u64>]) -> Result<(), JobError> {
    let (ring_bits, mut start) = (params.config().m, 0);
    for (chunk, sum) in (0..).zip(sums) {
        let len = params.chunk_len(chunk);
        let end = start + packed_len(len, ring_bits);
        let packed = packed.get(start..end).unwrap_or_default();
        unpack(packed, ring_bits, len, |place, value| {
            sum[place] = sum[place].wrapping_add(value);
        })
        .map_err(|_| JobError::Over(Abort::Diverged("staged upload")))?;
        start = end;
    }
    Ok(())
}

fn next_model(spec: &RunSpec, model: &[u8], sum: &[i64], weight: u64) -> Result<Vec<u8>, JobError> {
    let not_finite = |_| JobError::Over(Abort::NotFinite);
    let (layout, selection) = (spec.layout(), spec.selection());
    let global = model::flatten(layout, selection, model).map_err(not_finite)?;
    let mut next = vec![0f32; global.len()];
    spec.study()
        .strategy()
        .step(&global, sum, weight, spec.quantiser(), &mut next);
    model::apply(layout, selection, model, &next).map_err(not_finite)
}
