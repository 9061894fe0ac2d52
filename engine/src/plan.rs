//! Which staged vectors are folded together, and in which stretches: a function of the survivors and of how their uploads are cut.
//!
//! The survivors are a one-way decision, so that no fold is ever taken back. A batch is folded part by part; what comes of it is a vector
//! like those it is made of, the batch's partial, and the final job adds the partials instead of the uploads. A small round needs none.
//! What a fold computes, and where its bytes are, is the coordinator's business.

use veilsum_common::limits::BATCH_VECTORS;
use veilsum_common::parts::Parts;
use veilsum_secagg::Bitmap;

/// One fold: the stretch `part` of the vectors of batch `batch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fold {
    /// Which batch.
    pub batch: u32,
    /// Which part of its vectors.
    pub part: u64,
}

/// The folds of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    batches: Vec<Vec<u32>>,
    parts: u64,
}

impl Plan {
    /// For these survivors, in the order of the roster.
    pub fn of(survivors: &Bitmap, parts: Parts) -> Self {
        let members: Vec<u32> = survivors.iter().collect();
        Self {
            batches: members.chunks(BATCH_VECTORS).map(<[u32]>::to_vec).collect(),
            parts: parts.count(),
        }
    }

    /// Whether the final job takes the uploads as they are: there is one batch, and one part.
    pub fn is_small(&self) -> bool {
        self.batches.len() <= 1 && self.parts <= 1
    }

    /// Roster indices, batch by batch.
    pub fn batches(&self) -> &[Vec<u32>] {
        &self.batches
    }

    /// Parts of every vector.
    pub fn parts(&self) -> u64 {
        self.parts
    }

    /// All folds, in the order in which they let go of most bytes soonest: every batch of a part before the next part.
    pub fn folds(&self) -> impl Iterator<Item = Fold> {
        let parts = if self.is_small() { 0 } else { self.parts };
        let batches = u32::try_from(self.batches.len()).expect("a roster has at most 128 members");
        (0..parts).flat_map(move |part| (0..batches).map(move |batch| Fold { batch, part }))
    }
}

#[cfg(test)]
mod tests;
