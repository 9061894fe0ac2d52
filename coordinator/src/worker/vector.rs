//! The long half of the final job: the sum without its masks and the model that follows from it, some chunks at a time.
//!
//! Chunks of the sum know nothing of each other and are shared out over threads; hash and model take them in order. Memory is two chunks
//! for each thread, however long the vector is.

use veilsum_common::blob::{BlobHasher, BlobRef};
use veilsum_common::model::Next;
use veilsum_common::run::RunSpec;
use veilsum_daemon::workers;
use veilsum_engine::rejection::Abort;
use veilsum_secagg::Digest;
use veilsum_secagg::checksum::Checksum;
use veilsum_secagg::mask::Masks;
use veilsum_secagg::ring::{Lane, centred};

use super::JobError;
use super::fold::Vectors;
use crate::store::blobs::BlobWriter;

/// What becomes of the sum.
pub(super) struct Publishing<'a> {
    pub(super) spec: &'a RunSpec,
    /// Σw of the survivors.
    pub(super) weight: u64,
    pub(super) next: Next<'a>,
    pub(super) model: BlobWriter,
    pub(super) sum_hash: BlobHasher,
    /// Of the masked sum, as far as it was taken.
    pub(super) checksum: Checksum,
}

impl Publishing<'_> {
    /// Takes the whole sum, chunk by chunk, and `masks` off it.
    pub(super) fn publish<L: Lane>(
        &mut self,
        sum: &Vectors<'_>,
        masks: &Masks,
    ) -> Result<(), JobError> {
        let threads = workers::all_cores();
        let all: Vec<u64> = (0..sum.params.chunks()).collect();
        for some in all.chunks(CHUNKS_PER_THREAD * threads.get()) {
            let made = workers::map(threads, some.iter(), |chunk| {
                let (mut lanes, checksum) = sum.chunk::<L>(*chunk)?;
                masks.add(*chunk, &mut lanes);
                Ok::<_, JobError>((lanes, checksum))
            });
            for (chunk, made) in some.iter().zip(made) {
                let (lanes, checksum) = made?;
                self.checksum += &checksum;
                self.take(*chunk, &lanes)?;
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

    /// The hash of the sum's lanes, and the next model, durable: if what was added up is what was accepted, all of it and once.
    pub(super) fn finish(mut self, accepted: &Checksum) -> Result<(Digest, BlobRef), JobError> {
        let ring_bits = self.spec.params().config().m;
        if !self.checksum.balances(accepted, ring_bits) {
            tracing::error!("the masked sum is not the sum of the accepted uploads");
            return Err(JobError::Over(Abort::Unbalanced));
        }
        let model = &mut self.model;
        self.next
            .finish(|bytes| Ok::<_, JobError>(model.write(bytes)?))?;
        Ok((self.sum_hash.finish().digest, self.model.finish()?))
    }
}

/// Enough for a thread to have work while the last chunk of the others is finished.
const CHUNKS_PER_THREAD: usize = 2;
