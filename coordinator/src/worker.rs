//! The final job of a round: fold the survivors' uploads, take the masks off, decode, make the next model.
//!
//! A pure function of staged blobs and journalled messages: any run of it gives the same bytes. Seeds exist only in its memory.
//! Source: protocol, sections 11.3, 11.4 and 18.

use veilsum_common::blob::{BlobHasher, BlobRef};
use veilsum_common::model::{Checkpoint, Flat, ModelError, Next};
use veilsum_common::parts::Parts;
use veilsum_common::run::RunSpec;
use veilsum_engine::rejection::Abort;
use veilsum_engine::round::{Computed, Round};
use veilsum_secagg::context::Attempt;
use veilsum_secagg::coordinator::{self, Unmasked};
use veilsum_secagg::mask::Masks;
use veilsum_secagg::params::Params;
use veilsum_secagg::ring::{centred, unpack};
use veilsum_secagg::{Culprit, Digest, Error as Protocol};

use crate::store::blobs::{BlobWriter, Blobs, Error as BlobError};
use crate::store::staging::{Slot, Staged, Staging};

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

    /// The survivors' uploads, each with the root that was accepted.
    fn staged(&self, spec: &RunSpec, staging: &Staging) -> Result<Vec<Staged>, BlobError> {
        let parts = Parts::of(spec.params());
        let opened = self.uploads.iter().map(|(index, blob, _)| {
            let slot = Slot::of(spec.run_id(), &self.attempt, *index);
            staging.staged(&slot, parts, &blob.digest)
        });
        opened.collect()
    }
}

/// Where the job reads and writes.
#[derive(Clone, Copy)]
pub struct Stores<'a> {
    /// Holds the model of the round, and takes the next one.
    pub models: &'a Blobs,
    /// Holds the staged uploads.
    pub uploads: &'a Staging,
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
    /// The model of the round cannot be read now; the job may run again.
    #[error("the model of the round cannot be read: {0}")]
    Disk(std::io::Error),
}

/// Runs the job; `model` is the model the round trained on.
///
/// Cost: O((survivors + masks) × elements) time; memory for some chunks, however long the vector is and however many sites there are.
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
    let means = spec
        .metadata()
        .decode(&metadata)
        .map_err(|_| JobError::Over(Abort::BadSum))?;
    let (layout, selection) = (spec.layout(), spec.selection());
    let source = stores.models.source(model)?;
    let old = Checkpoint::model(&source, layout)?;
    let mut last = Final {
        spec,
        masks: &unmasked.masks,
        uploads: inputs.staged(spec, stores.uploads)?,
        weight: means.weight,
        next: Next::new(Flat::new(&old, layout, selection)?)?,
        model: stores.models.stage(model.len_bytes)?,
        sum_hash: BlobHasher::default(),
        packed: Vec::new(),
    };
    for chunk in 0..params.chunks() {
        last.chunk(chunk)?;
    }
    let (sum_hash, next_model) = last.finish()?;
    Ok(Computed {
        sum_hash,
        metadata: metadata
            .iter()
            .flat_map(|lane| lane.to_le_bytes())
            .collect(),
        next_model,
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

/// Sum and next model, chunk by chunk: memory does not grow with either.
struct Final<'a> {
    spec: &'a RunSpec,
    masks: &'a Masks,
    uploads: Vec<Staged>,
    weight: u64,
    next: Next<'a>,
    model: BlobWriter,
    sum_hash: BlobHasher,
    packed: Vec<u8>,
}

impl Final<'_> {
    /// Folds one chunk, takes the masks off, decodes it and writes what the model becomes by it.
    fn chunk(&mut self, chunk: u64) -> Result<(), JobError> {
        let params = self.spec.params();
        let (ring_bits, len) = (params.config().m, params.chunk_len(chunk));
        let mut sum = vec![0u64; len as usize];
        for upload in &self.uploads {
            upload.chunk(chunk, &mut self.packed)?;
            unpack(&self.packed, ring_bits, len, |place, value| {
                sum[place] = sum[place].wrapping_add(value);
            })
            .map_err(|_| JobError::Over(Abort::Diverged("staged upload")))?;
        }
        self.masks.add_to_sum(params.lane(), chunk, &mut sum);
        let decoded = self.decode(&sum);
        let first = chunk * u64::from(params.config().chunk_elems);
        self.step(first, &decoded)
    }

    /// The sum modulo 2^m as signed numbers; its hash is over the lanes.
    fn decode(&mut self, sum: &[u64]) -> Vec<i64> {
        let params = self.spec.params();
        let (ring_bits, lane_bytes) = (params.config().m, params.lane().bytes());
        let reduced = |value: &u64| value & (u64::MAX >> (64 - u32::from(ring_bits)));
        let mut decoded = Vec::with_capacity(sum.len());
        for value in sum.iter().map(reduced) {
            self.sum_hash.update(&value.to_le_bytes()[..lane_bytes]);
            decoded.push(centred(value, ring_bits));
        }
        decoded
    }

    fn step(&mut self, first: u64, sum: &[i64]) -> Result<(), JobError> {
        let mut last = vec![0.0; sum.len()];
        self.next.old().values(first, &mut last)?;
        let mut next = vec![0.0; sum.len()];
        let (step, quantiser) = (self.spec.study().strategy(), self.spec.quantiser());
        step.step(&last, sum, self.weight, quantiser, &mut next);
        let model = &mut self.model;
        self.next
            .push(&next, |bytes| Ok::<_, JobError>(model.write(bytes)?))
    }

    fn finish(mut self) -> Result<(Digest, BlobRef), JobError> {
        let model = &mut self.model;
        self.next
            .finish(|bytes| Ok::<_, JobError>(model.write(bytes)?))?;
        Ok((self.sum_hash.finish().digest, self.model.finish()?))
    }
}

impl From<ModelError> for JobError {
    /// A next model that its tensors cannot hold ends the round; a disk that does not give the old one is waited for.
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Unreadable { source, .. } => Self::Disk(source),
            _ => Self::Over(Abort::NotFinite),
        }
    }
}
