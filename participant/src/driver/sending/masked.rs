//! One contribution on its way from the disk to the wire: read, quantise, mask, pack, hash, some chunks at a time.
//!
//! Memory is two chunks for each thread, whatever the size of the model. Masked bytes are not stored: they are made again, the same,
//! whenever they are sent again; only the hashes of the chunks are kept, which the trailer vouches for. Calls block.
//!
//! Source: protocol, sections 9 and 18.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use veilsum_common::RunSpec;
use veilsum_common::limits::{MASKING_THREADS, PIECE_BYTES};
use veilsum_common::model::{Checkpoint, Delta, ModelError};
use veilsum_common::parts::{Parts, part_digest};
use veilsum_common::quantise::{Measure, QuantiseError, Quantising};
use veilsum_daemon::files::Reading;
use veilsum_daemon::workers;
use veilsum_engine::participant::{Contribution, UploadParts};
use veilsum_proto::pb;
use veilsum_proto::pb::submit_masked_request::Part;
use veilsum_secagg::Digest;
use veilsum_secagg::keys::{Identity, Seed};
use veilsum_secagg::participant::Masking;
use veilsum_secagg::prg::Keystream;
use veilsum_secagg::ring::{Lane, LaneWidth};
use zeroize::Zeroizing;

use crate::update::{UpdateError, Updates};

/// The way to the call that sends, as long as somebody keeps the other end of `over`: a coordinator that has answered and reads no more
/// must not hold whoever makes pieces, and the masks with it.
pub(super) struct Messages {
    pub(super) sender: mpsc::Sender<pb::SubmitMaskedRequest>,
    pub(super) over: watch::Receiver<()>,
}

impl Messages {
    /// Waits for room; blocks.
    fn send(&self, message: pb::SubmitMaskedRequest) -> Result<(), Fault> {
        let mut over = self.over.clone();
        Handle::current().block_on(async {
            tokio::select! {
                biased;
                _ = over.changed() => Err(Fault::HungUp),
                sent = self.sender.send(message) => sent.map_err(|_| Fault::HungUp),
            }
        })
    }
}

/// The hash of an upload and what it is made of.
pub(super) type Sent = (Digest, UploadParts);

/// Why nothing more is sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The pinned update is gone, has changed, or cannot be read.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// What the update was masked against is not the round's model any more.
    #[error(
        "the model of the round was changed on this disk while the update was masked; only what writes to the data directory can do that, a disk that fails, or a trainer that writes into the model it is given"
    )]
    ModelChanged,
    /// The model cannot be read again.
    #[error("the model of the round cannot be read: {0}")]
    ModelUnread(#[source] std::io::Error),
    /// The pinned update does not fit the model any more.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// It cannot be quantised.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
    /// A chunk that was made before came out differently, and did not leave: two vectors under one mask tell their difference.
    #[error(
        "chunk {chunk} of the update is not what it was when it was masked first: the pinned update or the model of the round was changed on this disk"
    )]
    Differs {
        /// Which.
        chunk: u64,
    },
    /// The call is over.
    #[error("the call is over")]
    HungUp,
}

/// What is sent, and what of it is known.
pub(super) struct Masked {
    origin: Origin,
    model: Arc<Reading>,
    update: Arc<Reading>,
    parts: Parts,
    /// After the first pass.
    measured: Option<Quantising>,
    made: Hashes,
    clipped: u64,
    sent_bytes: u64,
}

/// Of the masked chunks, as far as they were made. There is one vector under one mask: each chunk has the hash that it had first.
struct Hashes(Vec<Option<Digest>>);

impl Hashes {
    fn has(&self, chunk: u64) -> bool {
        self.0[place(chunk)].is_some()
    }

    /// Notes what was made, before any of it leaves; whether that was for the first time.
    fn note(&mut self, chunk: u64, hash: Digest) -> Result<bool, Fault> {
        let known = &mut self.0[place(chunk)];
        if known.is_some_and(|known| known != hash) {
            return Err(Fault::Differs { chunk });
        }
        Ok(known.replace(hash).is_none())
    }

    /// All of them, once all were made.
    fn all(&self) -> Option<Vec<Digest>> {
        self.0.iter().copied().collect()
    }
}

/// What a contribution is made from.
pub(super) struct Origin {
    pub(super) spec: Arc<RunSpec>,
    pub(super) identity: Arc<Identity>,
    pub(super) updates: Arc<Updates>,
    pub(super) masking: Masking,
    pub(super) contribution: Contribution,
    pub(super) rounding: Seed,
}

/// One chunk, ready to leave.
struct Made {
    packed: Vec<u8>,
    hash: Digest,
    clipped: u64,
}

impl Masked {
    /// Opens the pinned update and checks that it is the one that was pinned.
    pub(super) fn open(origin: Origin, model: Arc<Reading>) -> Result<Self, Fault> {
        let update = origin.updates.pinned(&origin.contribution.update)?;
        let parts = Parts::of(origin.spec.params());
        let chunks = usize::try_from(parts.chunks()).expect("a run has 2^20 chunks at most");
        Ok(Self {
            origin,
            model,
            update: Arc::new(update),
            parts,
            measured: None,
            made: Hashes(vec![None; chunks]),
            clipped: 0,
            sent_bytes: 0,
        })
    }

    /// What was sent so far, in all calls.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Sends the parts that `have` lacks and then the trailer; gives what the receipt must name.
    ///
    /// The trailer vouches for the update that was pinned and for the model it is a change of: one that changed while it was read is noticed
    /// before, since both are read once more.
    pub(super) fn send(&mut self, have: &[u8], messages: &Messages) -> Result<Sent, Fault> {
        match self.origin.spec.params().lane() {
            LaneWidth::U16 => self.send_parts::<u16>(have, messages)?,
            LaneWidth::U32 => self.send_parts::<u32>(have, messages)?,
            LaneWidth::U64 => self.send_parts::<u64>(have, messages)?,
        }
        self.still()?;
        let hashes = self.made.all();
        let hashes = hashes.expect("every part was sent, or its chunks were made");
        let metadata = &self.origin.contribution.metadata;
        let (trailer, hash) = self
            .origin
            .masking
            .trailer(&self.origin.identity, &hashes, metadata);
        let sent = (hash, UploadParts::of(&trailer));
        self.say(messages, Part::Trailer(trailer.into()))?;
        Ok(sent)
    }

    /// Whether both files are what they were when they were opened; read side by side.
    fn still(&self) -> Result<(), Fault> {
        let Contribution {
            update, model_hash, ..
        } = &self.origin.contribution;
        std::thread::scope(|scope| {
            let model = scope.spawn(|| is_still(&self.model, *model_hash));
            self.origin.updates.still(update, &self.update)?;
            model.join().expect("reading a file does not panic")
        })
    }

    fn send_parts<L: Lane>(&mut self, have: &[u8], messages: &Messages) -> Result<(), Fault> {
        let (spec, model) = (Arc::clone(&self.origin.spec), Arc::clone(&self.model));
        let update = Arc::clone(&self.update);
        let (layout, selection) = (spec.layout(), spec.selection());
        let model = Checkpoint::model(&*model, layout)?;
        let update = Checkpoint::update(&*update, layout)?;
        let delta = Delta::new(&model, &update, layout, selection)?;
        let (rule, first_time) = self.measured(&delta)?;
        for part in 0..self.parts.count() {
            let wanted = !is_set(have, part);
            let made = self.parts.chunks_of(part).all(|chunk| self.made.has(chunk));
            if wanted || !made {
                self.send_part::<L>(part, &delta, &rule, wanted.then_some(messages))?;
            }
        }
        if first_time {
            let (clipped, factor) = (self.clipped, rule.factor());
            tracing::info!(clipped, factor, "update quantised");
        }
        Ok(())
    }

    /// The rule after the first pass, and whether that was now. Only an L2 clip needs the pass.
    fn measured(&mut self, delta: &Delta<'_>) -> Result<(Quantising, bool), Fault> {
        if let Some(rule) = self.measured {
            return Ok((rule, false));
        }
        let mut measure = Measure::new();
        if self.origin.spec.quantiser().needs_norm() {
            let mut values = Vec::new();
            for chunk in 0..self.parts.chunks() {
                values.resize(self.parts.chunk_len(chunk) as usize, 0.0);
                delta.values(self.first_of(chunk), &mut values)?;
                measure.add(&values)?;
            }
        }
        let weight = self.origin.contribution.weight;
        let rule = self.origin.spec.quantiser().begin(weight, measure)?;
        self.measured = Some(rule);
        Ok((rule, true))
    }

    /// Makes the chunks of one part and sends them, if anybody wants them.
    fn send_part<L: Lane>(
        &mut self,
        part: u64,
        delta: &Delta<'_>,
        rule: &Quantising,
        messages: Option<&Messages>,
    ) -> Result<(), Fault> {
        let threads = workers::all_cores().min(MASKING_THREADS);
        let chunks: Vec<u64> = self.parts.chunks_of(part).collect();
        let (mut offset, mut hashes) = (0, Vec::with_capacity(chunks.len()));
        for some in chunks.chunks(threads.get()) {
            let made = workers::map(threads, some.iter(), |chunk| {
                self.make::<L>(*chunk, delta, rule)
            });
            for (chunk, made) in some.iter().zip(made) {
                let Made {
                    packed,
                    hash,
                    clipped,
                } = made?;
                if self.made.note(*chunk, hash)? {
                    self.clipped += clipped;
                }
                hashes.push(hash);
                if let Some(messages) = messages {
                    let last = hashes.len() == chunks.len();
                    let digest = last.then(|| part_digest(&hashes));
                    let len_bytes = packed.len() as u64;
                    self.say_chunk(messages, (part, offset), packed, digest)?;
                    offset += len_bytes;
                }
            }
        }
        Ok(())
    }

    /// Reads, quantises, masks, packs and hashes one chunk.
    fn make<L: Lane>(
        &self,
        chunk: u64,
        delta: &Delta<'_>,
        rule: &Quantising,
    ) -> Result<Made, Fault> {
        let (first, len) = (self.first_of(chunk), self.parts.chunk_len(chunk) as usize);
        let mut values = Zeroizing::new(vec![0.0; len]);
        delta.values(first, &mut values)?;
        let mut lanes = Zeroizing::new(vec![L::default(); len]);
        let mut stream = Keystream::new(&self.origin.rounding, 0, chunk);
        let mut noise = |bytes: &mut [u8]| stream.fill(bytes);
        let clipped = rule.chunk(first, &values, &mut noise, &mut lanes)?;
        let mut packed = Vec::with_capacity(self.parts.chunk_bytes(chunk));
        self.origin
            .masking
            .pack_chunk(chunk, &mut lanes, &mut packed);
        Ok(Made {
            hash: Digest::of_bulk(&packed),
            packed,
            clipped,
        })
    }

    /// Sends a chunk in pieces, the first of them at `offset` of its part; the last one of the part carries its digest.
    fn say_chunk(
        &mut self,
        messages: &Messages,
        (part, offset): (u64, u64),
        packed: Vec<u8>,
        digest: Option<Digest>,
    ) -> Result<(), Fault> {
        let packed = Bytes::from(packed);
        for at in (0..packed.len()).step_by(PIECE_BYTES) {
            let end = packed.len().min(at + PIECE_BYTES);
            let digest = digest.filter(|_| end == packed.len());
            let piece = pb::UploadPiece {
                part,
                offset: offset + at as u64,
                data: packed.slice(at..end),
                digest: digest.map(|digest| digest.0.to_vec()).unwrap_or_default(),
            };
            self.say(messages, Part::Piece(piece))?;
        }
        Ok(())
    }

    fn say(&mut self, messages: &Messages, part: Part) -> Result<(), Fault> {
        let message = pb::SubmitMaskedRequest { part: Some(part) };
        self.sent_bytes += message.encoded_len() as u64;
        messages.send(message)
    }

    fn first_of(&self, chunk: u64) -> u64 {
        chunk * u64::from(self.origin.spec.params().config().chunk_elems)
    }
}

/// Reads all of a model once more.
fn is_still(model: &Reading, hash: Digest) -> Result<(), Fault> {
    let same = match model.blob() {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => false,
        read => read.map_err(Fault::ModelUnread)?.digest == hash,
    };
    same.then_some(()).ok_or(Fault::ModelChanged)
}

/// Bit (k mod 8) of byte ⌊k/8⌋; what is not there is not set.
fn is_set(have: &[u8], part: u64) -> bool {
    let byte = have.get(place(part / 8));
    byte.is_some_and(|byte| byte & (1 << (part % 8)) != 0)
}

/// A chunk or part as an index.
fn place(number: u64) -> usize {
    usize::try_from(number).expect("a run has 2^20 chunks at most")
}

#[cfg(test)]
mod tests;
