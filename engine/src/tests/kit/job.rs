//! The final job as one pure function, and the plain sum it is compared with.

use std::collections::BTreeMap;

use veilsum_common::blob::BlobRef;
use veilsum_common::ids::SiteName;
use veilsum_common::model::{Checkpoint, Flat, Next};
use veilsum_common::run::RunSpec;
use veilsum_secagg::mask::Masks;
use veilsum_secagg::ring::{centred, unpack};
use veilsum_secagg::{Culprit, Digest, Error, coordinator};

use super::site::Contributed;
use crate::rejection::Abort;
use crate::round::{Computed, Round};

/// What one attempt added up to.
pub struct Summed {
    /// Model its contributions were for.
    pub model: Digest,
    /// Whose.
    pub survivors: Vec<SiteName>,
    pub sum: Sum,
}

/// What a round adds up to: elements and metadata lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    pub elements: Vec<i64>,
    pub lanes: Vec<u64>,
}

impl Sum {
    /// The sum of what some sites would send in clear.
    pub fn of<'a>(spec: &RunSpec, contributed: impl Iterator<Item = &'a Contributed>) -> Self {
        let config = spec.params().config();
        let mut elements = vec![0; usize::try_from(config.elements).unwrap()];
        let mut lanes = vec![0u64; config.meta_lanes as usize];
        for part in contributed {
            elements
                .iter_mut()
                .zip(&part.elements)
                .for_each(|(sum, q)| *sum += q);
            lanes
                .iter_mut()
                .zip(&part.lanes)
                .for_each(|(sum, lane)| *sum = sum.wrapping_add(*lane));
        }
        Self { elements, lanes }
    }

    /// What this sum has and `part` has not.
    pub fn less(&self, part: &Self) -> Contributed {
        let elements = self.elements.iter().zip(&part.elements);
        let lanes = self.lanes.iter().zip(&part.lanes);
        Contributed {
            elements: elements.map(|(whole, part)| whole - part).collect(),
            lanes: lanes
                .map(|(whole, part)| whole.wrapping_sub(*part))
                .collect(),
        }
    }

    fn hash(&self) -> Digest {
        let bytes: Vec<u8> = self.elements.iter().flat_map(|q| q.to_le_bytes()).collect();
        Digest::of_bulk(&bytes)
    }
}

/// Folds the survivors' uploads, takes the masks off, decodes, makes the next model.
pub fn run(
    spec: &RunSpec,
    model: &[u8],
    round: &Round,
    blobs: &BTreeMap<Digest, Vec<u8>>,
) -> Result<(Computed, Sum, Vec<u8>), Abort> {
    let (cohort, proposal) = (round.cohort().unwrap(), round.proposal().unwrap());
    let kept = round.uploads().values();
    let kept = kept.filter(|upload| proposal.survivors.contains(upload.item.index));
    let uploads: Vec<_> = kept
        .map(|upload| (&blobs[&upload.blob.digest][..], &upload.metadata[..]))
        .collect();
    let unmasked = coordinator::unmask(
        round.attempt(),
        cohort,
        &proposal.survivors,
        round.commits(),
        round.lists(),
    );
    let unmasked = unmasked.map_err(verdict)?;
    let sum = stripped(spec, &uploads, &unmasked.masks);
    let next = next_model(spec, model, &sum)?;
    let computed = Computed {
        sum_hash: sum.hash(),
        metadata: sum
            .lanes
            .iter()
            .flat_map(|lane| lane.to_le_bytes())
            .collect(),
        next_model: BlobRef::of(&next),
        liars: unmasked.liars,
    };
    Ok((computed, sum, next))
}

/// What masked vectors with their metadata add up to once these masks are taken off.
pub fn stripped(spec: &RunSpec, uploads: &[(&[u8], &[u8])], masks: &Masks) -> Sum {
    let params = spec.params();
    let (m, len) = (params.config().m, params.chunk_len(0));
    let (mut folded, mut lanes) = (
        vec![0u64; len as usize],
        vec![0u64; params.config().meta_lanes as usize],
    );
    for (packed, metadata) in uploads {
        unpack(packed, m, len, |k, value| {
            folded[k] = folded[k].wrapping_add(value)
        })
        .unwrap();
        for (sum, lane) in lanes.iter_mut().zip(metadata.chunks_exact(8)) {
            *sum = sum.wrapping_add(u64::from_le_bytes(lane.try_into().unwrap()));
        }
    }
    masks.add_to_sum(params.lane(), 0, &mut folded);
    masks.add_to_metadata(&mut lanes);
    let elements = folded.iter().map(|value| centred(*value, m)).collect();
    Sum { elements, lanes }
}

fn next_model(spec: &RunSpec, model: &[u8], sum: &Sum) -> Result<Vec<u8>, Abort> {
    let means = spec
        .metadata()
        .decode(&sum.lanes)
        .map_err(|_| Abort::BadSum)?;
    let (layout, selection) = (spec.layout(), spec.selection());
    let global = flat(spec, model);
    let mut next = vec![0.0; global.len()];
    let step = spec.study().strategy();
    step.step(
        &global,
        &sum.elements,
        means.weight,
        spec.quantiser(),
        &mut next,
    );
    let old = Checkpoint::model(&model, layout).unwrap();
    let writer = Next::new(Flat::new(&old, layout, selection).unwrap()).unwrap();
    writer.whole(&next).map_err(|_| Abort::NotFinite)
}

/// The averaged values of a model.
pub fn flat(spec: &RunSpec, model: &[u8]) -> Vec<f32> {
    let checkpoint = Checkpoint::model(&model, spec.layout()).unwrap();
    let flat = Flat::new(&checkpoint, spec.layout(), spec.selection());
    flat.unwrap().whole().unwrap()
}

fn verdict(error: Error) -> Abort {
    match error.culprits() {
        Some(Culprit::Member(dealer)) => Abort::Dealer { dealer },
        _ => Abort::Diverged("unmask share"),
    }
}
