//! The long half of the final job: the sum of the survivors' uploads and the model that follows from it, some chunks at a time.
//!
//! Chunks of the sum know nothing of each other and are shared out over threads; hash and model take them in order. Memory is two chunks
//! for each thread, however long the vector is and however many sites there are.

use veilsum_common::blob::{BlobHasher, BlobRef};
use veilsum_common::model::Next;
use veilsum_common::run::RunSpec;
use veilsum_daemon::workers;
use veilsum_engine::rejection::Abort;
use veilsum_secagg::Digest;
use veilsum_secagg::mask::Masks;
use veilsum_secagg::params::Params;
use veilsum_secagg::ring::{Lane, centred, unpack_add};

use super::JobError;
use crate::store::blobs::BlobWriter;
use crate::store::staging::Staged;

/// What the sum is made from.
pub(super) struct Sum<'a> {
    pub(super) params: &'a Params,
    pub(super) masks: &'a Masks,
    pub(super) uploads: Vec<Staged>,
}

impl Sum<'_> {
    /// Folds one chunk and takes the masks off.
    fn chunk<L: Lane>(&self, chunk: u64) -> Result<Vec<L>, JobError> {
        let (ring_bits, len) = (self.params.config().m, self.params.chunk_len(chunk));
        let (mut sum, mut packed) = (vec![L::default(); len as usize], Vec::new());
        for upload in &self.uploads {
            upload.chunk(chunk, &mut packed)?;
            unpack_add(&packed, ring_bits, &mut sum)
                .map_err(|_| JobError::Over(Abort::Diverged("staged upload")))?;
        }
        self.masks.add(chunk, &mut sum);
        Ok(sum)
    }
}

/// What becomes of the sum.
pub(super) struct Publishing<'a> {
    pub(super) spec: &'a RunSpec,
    /// Σw of the survivors.
    pub(super) weight: u64,
    pub(super) next: Next<'a>,
    pub(super) model: BlobWriter,
    pub(super) sum_hash: BlobHasher,
}

impl Publishing<'_> {
    /// Takes the whole sum, chunk by chunk.
    pub(super) fn publish<L: Lane>(&mut self, sum: &Sum<'_>) -> Result<(), JobError> {
        let threads = workers::all_cores();
        let all: Vec<u64> = (0..sum.params.chunks()).collect();
        for some in all.chunks(CHUNKS_PER_THREAD * threads.get()) {
            let made = workers::map(threads, some.iter(), |chunk| sum.chunk::<L>(*chunk));
            for (chunk, lanes) in some.iter().zip(made) {
                self.take(*chunk, &lanes?)?;
            }
        }
        Ok(())
    }

    /// Writes what the model becomes by one chunk of the sum.
    fn take<L: Lane>(&mut self, chunk: u64, lanes: &[L]) -> Result<(), JobError> {
        let sum = self.decode(lanes);
        let first = chunk * u64::from(self.spec.params().config().chunk_elems);
        let mut last = vec![0.0; sum.len()];
        self.next.old().values(first, &mut last)?;
        let mut next = vec![0.0; sum.len()];
        let (step, quantiser) = (self.spec.study().strategy(), self.spec.quantiser());
        step.step(&last, &sum, self.weight, quantiser, &mut next);
        let model = &mut self.model;
        self.next
            .push(&next, |bytes| Ok::<_, JobError>(model.write(bytes)?))
    }

    /// The sum modulo 2^m as signed numbers; its hash is over the lanes.
    fn decode<L: Lane>(&mut self, lanes: &[L]) -> Vec<i64> {
        let ring_bits = self.spec.params().config().m;
        let low_bits = u64::MAX >> (64 - u32::from(ring_bits));
        let mut bytes = Vec::with_capacity(lanes.len() * L::BYTES);
        let mut decoded = Vec::with_capacity(lanes.len());
        for value in lanes.iter().map(|lane| lane.widen() & low_bits) {
            bytes.extend_from_slice(&value.to_le_bytes()[..L::BYTES]);
            decoded.push(centred(value, ring_bits));
        }
        self.sum_hash.update(&bytes);
        decoded
    }

    /// The hash of the sum's lanes, and the next model, durable.
    pub(super) fn finish(mut self) -> Result<(Digest, BlobRef), JobError> {
        let model = &mut self.model;
        self.next
            .finish(|bytes| Ok::<_, JobError>(model.write(bytes)?))?;
        Ok((self.sum_hash.finish().digest, self.model.finish()?))
    }
}

/// Enough for a thread to have work while the last chunk of the others is finished.
const CHUNKS_PER_THREAD: usize = 2;
