//! The jobs of a round: folds, and the final job, which adds what is left to add, takes the masks off, decodes, makes the next model.
//!
//! Pure functions of staged vectors and journalled messages: any run of one gives the same bytes, and the first journalled result counts.
//! Seeds exist only in their memory. Source: protocol, sections 11.3, 11.4 and 18.

use fold::{Sources, Vectors};
use veilsum_common::blob::{BlobHasher, BlobRef};
use veilsum_common::model::{Checkpoint, Flat, ModelError, Next, Unread};
use veilsum_common::parts::Parts;
use veilsum_common::run::RunSpec;
use veilsum_daemon::workers;
use veilsum_engine::rejection::Abort;
use veilsum_engine::round::{Computed, Round};
use veilsum_secagg::checksum::Checksum;
use veilsum_secagg::context::Attempt;
use veilsum_secagg::coordinator::{self, Unmasked, Unmasking};
use veilsum_secagg::params::Params;
use veilsum_secagg::ring::LaneWidth;
use veilsum_secagg::{Culprit, Error as Protocol};

use crate::store::blobs::{Blobs, Error as BlobError};
use crate::store::staging::{Slot, Staging};
use vector::Publishing;

mod fold;
mod vector;

pub use fold::FoldJob;

/// What the final job reads, taken from the round while its machine stands still.
pub struct Inputs {
    attempt: std::sync::Arc<Attempt>,
    cohort: veilsum_secagg::message::Cohort,
    survivors: veilsum_secagg::Bitmap,
    commits: coordinator::Commits,
    lists: std::collections::BTreeMap<u32, veilsum_secagg::message::UnmaskList>,
    metadata: Vec<Vec<u8>>,
    /// Of everything that was accepted from the survivors.
    checksum: Checksum,
    sources: Sources,
}

impl Inputs {
    /// Of a round that waits for its final job; `None` for any other.
    pub fn of(spec: &RunSpec, round: &Round) -> Option<Self> {
        let survivors = round.proposal()?.survivors.clone();
        let (mut metadata, mut checksum) = (Vec::new(), Checksum::default());
        for index in survivors.iter() {
            let upload = round.uploads().get(&index)?;
            metadata.push(upload.metadata.clone());
            checksum += &upload.checksum;
        }
        Some(Self {
            attempt: std::sync::Arc::clone(round.attempt()),
            cohort: round.cohort()?.clone(),
            commits: round.commits().clone(),
            lists: round.lists().clone(),
            metadata,
            checksum,
            sources: Sources::of(spec, round)?,
            survivors,
        })
    }
}

/// Where the final job reads and writes.
#[derive(Clone, Copy)]
pub struct Stores<'a> {
    /// Holds the model of the round, and takes the next one.
    pub models: &'a Blobs,
    /// Holds the staged uploads.
    pub uploads: &'a Staging,
}

/// Why a job has no result.
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
    Disk(Unread),
}

/// Runs the final job; `model` is the model the round trained on.
///
/// Cost: O((vectors + masks) × elements) time; memory for some chunks, however long the vectors are and however many.
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
    let unmasked = unmask(inputs).map_err(|error| JobError::Over(verdict(&error)))?;
    let metadata = metadata_sum(params, inputs, &unmasked);
    let means = spec
        .metadata()
        .decode(&metadata)
        .map_err(|_| JobError::Over(Abort::BadSum))?;
    let (layout, selection) = (spec.layout(), spec.selection());
    let source = stores.models.source(model)?;
    let old = Checkpoint::model(&source, layout)?;
    let stream = Slot::of(spec.run_id(), &inputs.attempt, 0).stream;
    let vectors = Vectors {
        params,
        projections: stores.uploads.projections(stream),
        staged: inputs.sources.open(Parts::of(params), stores.uploads)?,
    };
    let mut publishing = Publishing {
        spec,
        weight: means.weight,
        next: Next::new(Flat::new(&old, layout, selection)?)?,
        model: stores.models.stage(model.len_bytes)?,
        sum_hash: BlobHasher::default(),
        checksum: Checksum::default(),
    };
    match params.lane() {
        LaneWidth::U16 => publishing.publish::<u16>(&vectors, &unmasked.masks)?,
        LaneWidth::U32 => publishing.publish::<u32>(&vectors, &unmasked.masks)?,
        LaneWidth::U64 => publishing.publish::<u64>(&vectors, &unmasked.masks)?,
    }
    let (sum_hash, next_model) = publishing.finish(&inputs.checksum)?;
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

/// The masks to take off; every member's secret is recovered by itself.
fn unmask(inputs: &Inputs) -> Result<Unmasked, Protocol> {
    let unmasking = Unmasking::new(
        &inputs.attempt,
        &inputs.cohort,
        &inputs.survivors,
        &inputs.commits,
        &inputs.lists,
    );
    let members: Vec<u32> = inputs.cohort.members.iter().collect();
    let recovered = workers::map(workers::all_cores(), members.into_iter(), |member| {
        unmasking.recover(member)
    });
    let recovered = recovered.into_iter().collect::<Result<_, _>>()?;
    Ok(unmasking.finish(recovered))
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
    for metadata in &inputs.metadata {
        for (total, lane) in sum.iter_mut().zip(metadata.chunks_exact(8)) {
            let lane = u64::from_le_bytes(lane.try_into().expect("chunks of eight bytes"));
            *total = total.wrapping_add(lane);
        }
    }
    unmasked.masks.add_to_metadata(&mut sum);
    sum
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
