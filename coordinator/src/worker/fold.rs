//! Sums of staged vectors, chunk by chunk: uploads into partials, and whichever of the two into the sum of a round.
//!
//! Every chunk read is checked against its hash, and every chunk added against the books: the projections of the sum must be the sum of the
//! projections that were taken when the bytes came. Memory is two chunks for each thread, however long the vectors are and however many.
//! Source: durability, sections 1 (rule 6) and 5.

use veilsum_common::parts::{Parts, part_digest};
use veilsum_common::run::RunSpec;
use veilsum_daemon::workers;
use veilsum_engine::plan::Fold;
use veilsum_engine::rejection::Abort;
use veilsum_engine::round::Round;
use veilsum_secagg::Digest;
use veilsum_secagg::checksum::{Checksum, Projections};
use veilsum_secagg::params::Params;
use veilsum_secagg::ring::{Lane, LaneWidth, pack, unpack_add};

use super::JobError;
use crate::store::StreamId;
use crate::store::blobs::Error as BlobError;
use crate::store::staging::{Row, Slot, Staged, Staging, Upload};

/// One accepted upload: where it is staged, and the root its site signed.
pub(super) type Accepted = (Slot, Digest);

/// What a round adds up.
pub(super) enum Sources {
    /// The survivors' uploads, of a round so small that nothing is folded before.
    Uploads(Vec<Accepted>),
    /// The partials of all batches, each by the digests of its parts.
    Partials(StreamId, Vec<Vec<Digest>>),
}

impl Sources {
    /// Of a round whose folds are done; `None` for any other.
    pub(super) fn of(spec: &RunSpec, round: &Round) -> Option<Self> {
        let plan = round.plan()?;
        if plan.is_small() {
            let members = plan.batches().concat();
            return Some(Self::Uploads(accepted(spec, round, &members)?));
        }
        let digests = (0u32..).zip(plan.batches()).map(|(batch, _)| {
            let folds = (0..plan.parts()).map(|part| Fold { batch, part });
            folds.map(|fold| round.folded(fold).copied()).collect()
        });
        let stream = Slot::of(spec.run_id(), round.attempt(), 0).stream;
        Some(Self::Partials(stream, digests.collect::<Option<_>>()?))
    }

    pub(super) fn open(&self, parts: Parts, staging: &Staging) -> Result<Vec<Staged>, BlobError> {
        match self {
            Self::Uploads(uploads) => opened(uploads, parts, staging),
            Self::Partials(stream, batches) => {
                let batches = (0u32..).zip(batches);
                let open = |(batch, digests): (u32, &Vec<Digest>)| {
                    staging.folded(*stream, batch, parts, digests)
                };
                batches.map(open).collect()
            }
        }
    }
}

fn accepted(spec: &RunSpec, round: &Round, members: &[u32]) -> Option<Vec<Accepted>> {
    let one = |index: &u32| {
        let slot = Slot::of(spec.run_id(), round.attempt(), *index);
        Some((slot, round.uploads().get(index)?.blob.digest))
    };
    members.iter().map(one).collect()
}

fn opened(uploads: &[Accepted], parts: Parts, staging: &Staging) -> Result<Vec<Staged>, BlobError> {
    let open = |(slot, root): &Accepted| staging.staged(slot, parts, root);
    uploads.iter().map(open).collect()
}

/// One fold and what it reads, taken from the round while its machine stands still.
pub struct FoldJob {
    fold: Fold,
    stream: StreamId,
    params: Params,
    uploads: Vec<Accepted>,
}

impl FoldJob {
    /// The next fold of a round; `None` if there is none.
    pub fn next(spec: &RunSpec, round: &Round) -> Option<Self> {
        let fold = round.next_fold()?;
        let plan = round.plan()?;
        let members = plan.batches().get(usize::try_from(fold.batch).ok()?)?;
        Some(Self {
            fold,
            stream: Slot::of(spec.run_id(), round.attempt(), 0).stream,
            params: spec.params().clone(),
            uploads: accepted(spec, round, members)?,
        })
    }

    /// Which.
    pub fn fold(&self) -> Fold {
        self.fold
    }

    /// Makes one part of a batch's partial durable, and gives its digest.
    ///
    /// Cost: O(uploads × elements of a part) time; memory for two chunks a thread. Any run of it writes the same bytes.
    ///
    /// # Errors
    /// [`JobError`]; the part does not count then.
    pub fn run(&self, staging: &Staging) -> Result<Digest, JobError> {
        let (parts, part) = (Parts::of(&self.params), self.fold.part);
        let vectors = Vectors {
            params: &self.params,
            projections: staging.projections(self.stream),
            staged: opened(&self.uploads, parts, staging)?,
        };
        let into = staging.partial(self.stream, self.fold.batch, parts, part)?;
        let chunks: Vec<u64> = parts.chunks_of(part).collect();
        let rows = workers::map(workers::all_cores(), chunks.into_iter(), |chunk| match self
            .params
            .lane()
        {
            LaneWidth::U16 => vectors.fold::<u16>(chunk, &into),
            LaneWidth::U32 => vectors.fold::<u32>(chunk, &into),
            LaneWidth::U64 => vectors.fold::<u64>(chunk, &into),
        });
        let rows: Vec<Row> = rows.into_iter().collect::<Result<_, _>>()?;
        into.keep(part, &rows)?;
        let hashes: Vec<Digest> = rows.iter().map(|row| row.hash).collect();
        Ok(part_digest(&hashes))
    }

    /// Gives what was folded back to the disk, once the fold's result is journalled.
    ///
    /// # Errors
    /// [`BlobError`]; what is left goes with the attempt.
    pub fn let_go(&self, staging: &Staging) -> Result<(), BlobError> {
        let (parts, part) = (Parts::of(&self.params), self.fold.part);
        let mut slots = self.uploads.iter().map(|(slot, _)| slot);
        slots.try_for_each(|slot| staging.let_go(slot, parts, part))
    }
}

/// Vectors to be added up.
pub(super) struct Vectors<'a> {
    pub(super) params: &'a Params,
    pub(super) projections: Projections,
    pub(super) staged: Vec<Staged>,
}

impl Vectors<'_> {
    /// One chunk of the sum, whose books balance, and what it adds to them.
    pub(super) fn chunk<L: Lane>(&self, chunk: u64) -> Result<(Vec<L>, Checksum), JobError> {
        let (sum, expected) = self.added(chunk)?;
        let found = self.projections.of_lanes(chunk, &sum);
        self.balance(chunk, &found, &expected)?;
        Ok((sum, found))
    }

    /// Writes one chunk of the sum, not durable yet. The books are held against what is written.
    fn fold<L: Lane>(&self, chunk: u64, into: &Upload) -> Result<Row, JobError> {
        let (sum, expected) = self.added::<L>(chunk)?;
        let (ring_bits, len) = (self.params.config().m, self.params.chunk_len(chunk));
        let mut packed = Vec::new();
        pack(&sum, ring_bits, &mut packed);
        let checksum = self.projections.of_packed(chunk, ring_bits, len, &packed);
        let checksum = checksum.expect("it was packed here");
        self.balance(chunk, &checksum, &expected)?;
        into.write(chunk, &packed)?;
        let hash = Digest::of_bulk(&packed);
        Ok(Row { hash, checksum })
    }

    /// One chunk of the sum, and what it must add to the books.
    fn added<L: Lane>(&self, chunk: u64) -> Result<(Vec<L>, Checksum), JobError> {
        let (ring_bits, len) = (self.params.config().m, self.params.chunk_len(chunk));
        let (mut sum, mut packed) = (vec![L::default(); len as usize], Vec::new());
        let mut expected = Checksum::default();
        for vector in &self.staged {
            expected += vector.chunk(chunk, &mut packed)?;
            unpack_add(&packed, ring_bits, &mut sum)
                .map_err(|_| JobError::Over(Abort::Diverged("staged upload")))?;
        }
        Ok((sum, expected))
    }

    fn balance(&self, chunk: u64, found: &Checksum, expected: &Checksum) -> Result<(), JobError> {
        if found.balances(expected, self.params.config().m) {
            return Ok(());
        }
        tracing::error!(chunk, "what was added up is not the sum of what arrived");
        Err(JobError::Over(Abort::Unbalanced))
    }
}
