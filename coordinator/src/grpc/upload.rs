//! A masked update on its way in: its header, the parts that are missing, its trailer; then an event, a receipt.
//!
//! The call may be cut at any time and made again: what is durable is said in the first answer, and an upload that was accepted is complete.
//! It counts only when its trailer's signature fits what arrived; bytes that nobody vouches for go at once, or with their attempt. One
//! upload at a time for each site of a round; one that stalls, is overtaken by a newer one, or whose round moves on, ends. Few transfer at
//! once: the first answer waits until it is this one's turn, and so do its file and the room for it.
//!
//! Source: protocol, section 9; commit point 4.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, block_in_place};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use veilsum_common::blob::BlobRef;
use veilsum_common::parts::Parts;
use veilsum_daemon::clock;
use veilsum_engine::rejection::Rejection;
use veilsum_engine::round::{self, Round, Upload};
use veilsum_proto::convert::{Signed, required};
use veilsum_proto::pb;
use veilsum_proto::pb::submit_masked_request::Part;
use veilsum_proto::pb::submit_masked_response::Answer;
use veilsum_secagg::context::Attempt;
use veilsum_secagg::message::{Cohort, Receipt, SurvivorItem, UploadTrailer};
use veilsum_secagg::{Digest, coordinator};

use super::round_service::Rounds;
use super::{Caller, Context, status};
use crate::driver::Handle;
use crate::live::LiveRun;
use crate::store::Journal;
use crate::store::blobs::Error as BlobError;
use crate::store::staging::{Slot, Staging};
use crate::transfer::{FullPart, Intake, NoTurn, Transfer, Turn};

/// What the site is told, in order.
pub(super) type Answers = ReceiverStream<Result<pb::SubmitMaskedResponse, Status>>;

/// Takes one upload, or goes on with one, or answers one that was accepted before with the first receipt.
pub(super) async fn receive<J: Journal>(
    rounds: &Rounds<J>,
    caller: &Caller,
    stream: Streaming<pb::SubmitMaskedRequest>,
) -> Result<Answers, Status> {
    let context = Arc::clone(&rounds.0);
    let mut messages = Messages { stream, context };
    let header = messages.header().await?;
    let run = rounds.run(&header.run_id)?;
    let (round, index) = rounds.round(&run, caller, &header.ann_hash)?;
    let slot = Slot::of(run.spec().run_id(), round.read().attempt(), index);
    let turn = messages.context.turns.take(slot).await;
    let turn = turn.map_err(|error| status::no_turn(&error))?;
    let place = Place::of(&round, index)?;
    let header = (&header).try_into().map_err(status::convert)?;
    coordinator::check_header(&place.attempt, &place.cohort, index, &header).map_err(violation)?;
    let taking = Taking {
        run,
        round,
        place,
        slot,
        sender: caller.name.to_string(),
    };
    let (answers, told) = mpsc::channel(ANSWERS_AHEAD);
    let work = async move {
        // A site that hung up hears nothing more; what it sent is there when it comes again.
        let ended = taking.take(&mut messages, &turn, &answers).await;
        drop(turn); // what is still to be said keeps no other upload waiting
        drop(
            messages
                .context
                .heard(answers.send(ended.map(answer)))
                .await,
        );
    };
    // A task of its own: a caller that hangs up now must not leave an upload durable and its entry unwritten.
    tokio::spawn(work);
    Ok(ReceiverStream::new(told))
}

fn answer(answer: Answer) -> pb::SubmitMaskedResponse {
    pb::SubmitMaskedResponse {
        answer: Some(answer),
    }
}

fn refused(rejection: Rejection) -> Status {
    status::rejection(&rejection)
}

fn violation(error: veilsum_secagg::Error) -> Status {
    refused(Rejection::Protocol(error))
}

/// Returns once the round takes no upload of this member any more.
async fn closed<J: Journal>(run: &LiveRun<J>, round: &Handle<Round>, index: u32) -> Status {
    let mut changes = run.changes();
    loop {
        if let Err(rejection) = round.read().expects_upload(index) {
            return refused(rejection);
        }
        if changes.changed().await.is_err() {
            return status::stopping();
        }
    }
}

/// What an upload of one member must belong to.
struct Place {
    attempt: Arc<Attempt>,
    cohort: Cohort,
    index: u32,
}

impl Place {
    fn of(round: &Handle<Round>, index: u32) -> Result<Self, Status> {
        let round = round.read();
        let cohort = match round.cohort() {
            Some(cohort) => cohort,
            None => round.expects_upload(index).map_err(refused)?,
        };
        Ok(Self {
            attempt: Arc::clone(round.attempt()),
            cohort: cohort.clone(),
            index,
        })
    }

    fn check(&self, chunk_root: &Digest, trailer: &UploadTrailer) -> Result<Digest, Status> {
        coordinator::check_trailer(&self.attempt, &self.cohort, self.index, chunk_root, trailer)
            .map_err(violation)
    }

    fn parts(&self) -> Parts {
        Parts::of(self.attempt.params())
    }
}

/// One upload while its call lasts.
struct Taking<J> {
    run: Arc<LiveRun<J>>,
    round: Handle<Round>,
    place: Place,
    slot: Slot,
    sender: String,
}

impl<J: Journal> Taking<J> {
    /// Everything after the header; gives the receipt.
    async fn take(
        &self,
        messages: &mut Messages<J>,
        turn: &Turn,
        answers: &mpsc::Sender<Result<pb::SubmitMaskedResponse, Status>>,
    ) -> Result<Answer, Status> {
        let known = self.round.read().uploads().get(&self.slot.index).cloned();
        if let Some(known) = known {
            return self.repeated(messages, answers, &known).await;
        }
        self.expected()?;
        let mut hung_up = pin!(answers.closed());
        let mut ended = pin!(self.ended(turn));
        let transfer = tokio::select! {
            transfer = turn.transfer() => transfer,
            ended = &mut ended => return Err(ended),
            () = &mut hung_up => return Err(status::stopping()), // heard by nobody
        };
        let staging = &messages.context.shared.uploads;
        let staged = block_in_place(|| staging.upload(self.slot, self.place.parts()));
        let staged = staged.map_err(|error| status::blob(&error))?;
        // The round may have ended and let go of its files meanwhile: this one it has not seen.
        self.expected().inspect_err(|_| self.let_go(staging))?;
        let projections = staging.projections(self.slot.stream);
        let mut intake = Intake::new(Arc::clone(&staged), projections);
        let mut keeping = Keeping::default();
        let trailer = tokio::select! {
            trailer = pieces(messages, &mut intake, answers, transfer, &mut keeping) => trailer,
            ended = ended => Err(ended),
        };
        // Whatever came of it: nobody writes to a part again while it is on its way to the disk.
        keeping.finish().await?;
        let trailer = trailer?;
        self.accept(messages, &intake, trailer).await
    }

    /// Returns once this upload must end, whatever its site does.
    async fn ended(&self, turn: &Turn) -> Status {
        tokio::select! {
            () = turn.replaced() => status::no_turn(&NoTurn::Replaced),
            closed = closed(&self.run, &self.round, self.slot.index) => closed,
        }
    }

    /// Sent again: the same upload hash stands for the same bytes. Another one under the same name changes nothing.
    async fn repeated(
        &self,
        messages: &mut Messages<J>,
        answers: &mpsc::Sender<Result<pb::SubmitMaskedResponse, Status>>,
        known: &Upload,
    ) -> Result<Answer, Status> {
        let whole = having(all(self.place.parts().count()));
        messages.tell(answers, whole).await?;
        let trailer = match messages.piece().await? {
            Err(trailer) => trailer,
            Ok(_) => return Err(refused(Rejection::Conflict("upload"))),
        };
        if self.place.check(&trailer.chunk_root, &trailer)? == known.item.upload_hash {
            Ok(self.receipt(known))
        } else {
            Err(refused(Rejection::Conflict("upload")))
        }
    }

    /// All parts are durable: whoever sent them vouches for them, and they count.
    async fn accept(
        &self,
        messages: &Messages<J>,
        intake: &Intake,
        trailer: UploadTrailer,
    ) -> Result<Answer, Status> {
        let whole = intake.whole().map_err(|error| status::upload(&error))?;
        let (root, checksum) = whole;
        let checked = self.place.check(&root, &trailer);
        let staging = &messages.context.shared.uploads;
        let upload_hash = checked.inspect_err(|_| self.let_go(staging))?;
        let upload = Upload {
            item: SurvivorItem {
                index: self.slot.index,
                upload_hash,
                signature: trailer.signature,
            },
            metadata: trailer.metadata,
            blob: BlobRef {
                digest: root,
                len_bytes: self.place.parts().total_bytes(),
            },
            checksum,
            at: clock::now(),
        };
        let event = round::Event::Uploaded(Box::new(upload.clone()));
        let submitted = self.round.submit(event, Some(self.sender.clone())).await;
        if let Err(refused) = &submitted {
            tracing::warn!(site = self.sender, stream = %self.slot.stream, %refused, "an upload was not taken");
        }
        status::answer(submitted)?;
        staging.accepted(&self.slot);
        Ok(self.receipt(&upload))
    }

    fn expected(&self) -> Result<(), Status> {
        let expected = self.round.read().expects_upload(self.slot.index).map(drop);
        expected.map_err(refused)
    }

    /// Removes bytes that nobody vouches for.
    fn let_go(&self, staging: &Staging) {
        if let Err(error) = block_in_place(|| staging.remove(&self.slot)) {
            tracing::warn!(%error, "the bytes of a refused upload are left; they go with their attempt");
        }
    }

    fn receipt(&self, upload: &Upload) -> Answer {
        let value = Receipt {
            ctx: self.place.cohort.ctx(),
            upload_hash: upload.item.upload_hash,
            time_ms: upload.at.0,
        };
        let signature = value.sign(self.run.coordinator());
        Answer::Receipt(Signed { value, signature }.into())
    }
}

/// Says what is there, takes in what is missing, and gives the trailer; the others have to wait no longer then.
async fn pieces<J: Journal>(
    messages: &mut Messages<J>,
    intake: &mut Intake,
    answers: &mpsc::Sender<Result<pb::SubmitMaskedResponse, Status>>,
    mut transfer: Transfer,
    keeping: &mut Keeping,
) -> Result<UploadTrailer, Status> {
    messages.tell(answers, having(intake.have())).await?;
    loop {
        let message = tokio::select! {
            biased;
            kept = keeping.finish(), if keeping.is_busy() => {
                messages.tell_kept(answers, kept?).await?;
                continue;
            }
            message = transfer.next(messages.piece()) => message.map_err(status::put_off)??,
        };
        let piece = match message {
            Ok(piece) => piece,
            Err(trailer) => {
                let kept = keeping.finish().await?;
                messages.tell_kept(answers, kept).await?;
                return Ok(trailer);
            }
        };
        transfer.moved(piece.data.len());
        let taken = block_in_place(|| intake.piece(&piece));
        if let Some(part) = taken.map_err(|error| status::upload(&error))? {
            let before = keeping.finish().await?;
            messages.tell_kept(answers, before).await?;
            keeping.begin(part);
            if let Err(over) = transfer.goes_on() {
                let kept = keeping.finish().await?;
                messages.tell_kept(answers, kept).await?;
                return Err(status::put_off(over));
            }
        }
    }
}

/// A part on its way to the disk, while the next one comes.
#[derive(Default)]
struct Keeping(Option<JoinHandle<Result<u64, BlobError>>>);

impl Keeping {
    fn begin(&mut self, part: FullPart) {
        self.0 = Some(tokio::task::spawn_blocking(move || part.keep()));
    }

    fn is_busy(&self) -> bool {
        self.0.is_some()
    }

    /// Which part is durable now, if one was on its way. Asked again after it was not waited for, it waits for the same part.
    async fn finish(&mut self) -> Result<Option<u64>, Status> {
        let Some(keeping) = &mut self.0 else {
            return Ok(None);
        };
        let kept = keeping.await;
        self.0 = None;
        match kept {
            Ok(Ok(part)) => Ok(Some(part)),
            Ok(Err(error)) => Err(status::blob(&error)),
            // Its panic was told; what is not known to be durable does not count.
            Err(_) => Err(status::stopping()),
        }
    }
}

fn having(have: Vec<u8>) -> Answer {
    Answer::Status(pb::UploadStatus { have })
}

/// A bit for each of `count` parts.
fn all(count: u64) -> Vec<u8> {
    let bits = |byte: u64| (0..8).filter(move |bit| byte * 8 + bit < count);
    let bytes = 0..count.div_ceil(8);
    bytes
        .map(|byte| bits(byte).fold(0, |bits, bit| bits | 1 << bit))
        .collect()
}

/// The messages of one upload.
struct Messages<J> {
    stream: Streaming<pb::SubmitMaskedRequest>,
    context: Arc<Context<J>>,
}

impl<J: Journal> Messages<J> {
    /// The next message, which must come soon and must be one of the three.
    async fn next(&mut self) -> Result<Part, Status> {
        let message = self.context.in_time(self.stream.message()).await?;
        let message =
            message.ok_or_else(|| status::invalid(&"the upload ended without its trailer"))?;
        required("part", message.part).map_err(status::convert)
    }

    /// Says something on the way to the receipt. A site that does not listen is silent like one that does not speak.
    async fn tell(
        &self,
        answers: &mpsc::Sender<Result<pb::SubmitMaskedResponse, Status>>,
        what: Answer,
    ) -> Result<(), Status> {
        let told = self.context.heard(answers.send(Ok(answer(what)))).await?;
        // Heard by nobody: the site hung up.
        told.map_err(|_| status::stopping())
    }

    async fn tell_kept(
        &self,
        answers: &mpsc::Sender<Result<pb::SubmitMaskedResponse, Status>>,
        kept: Option<u64>,
    ) -> Result<(), Status> {
        match kept {
            Some(part) => {
                self.tell(answers, Answer::Kept(pb::PartKept { part }))
                    .await
            }
            None => Ok(()),
        }
    }

    async fn header(&mut self) -> Result<pb::UploadHeader, Status> {
        match self.next().await? {
            Part::Header(header) => Ok(header),
            Part::Piece(_) | Part::Trailer(_) => {
                Err(status::invalid(&"an upload begins with its header"))
            }
        }
    }

    /// The next piece, or the trailer that ends them.
    async fn piece(&mut self) -> Result<Result<pb::UploadPiece, UploadTrailer>, Status> {
        match self.next().await? {
            Part::Piece(piece) => Ok(Ok(piece)),
            Part::Trailer(trailer) => Ok(Err(trailer.try_into().map_err(status::convert)?)),
            Part::Header(_) => Err(status::invalid(&"an upload has one header")),
        }
    }
}

/// Answers that wait for a site which does not read them: then nothing more is read from it either.
const ANSWERS_AHEAD: usize = 1;
