//! A masked update on its way in: its header, its pieces, its trailer; then a durable blob, an event, a receipt.
//!
//! Nothing is kept of an upload before its sender has vouched for every byte of it: the trailer's signature is checked against what
//! arrived, then the bytes are made durable, then the event is handed in, and a refused event takes its bytes with it. One upload at a
//! time for each site of a round; one that stalls, is overtaken by a newer one, or whose round moves on, ends.
//!
//! Source: protocol, section 9; commit point 4.

use std::sync::Arc;

use tonic::{Status, Streaming};
use veilsum_common::blob::BlobRef;
use veilsum_daemon::clock;
use veilsum_engine::rejection::Rejection;
use veilsum_engine::round::{self, Round, Upload};
use veilsum_proto::convert::{Signed, required};
use veilsum_proto::pb;
use veilsum_proto::pb::submit_masked_request::Part;
use veilsum_secagg::context::Attempt;
use veilsum_secagg::message::{Cohort, Receipt, SurvivorItem, UploadTrailer};
use veilsum_secagg::{Digest, coordinator};

use super::round_service::Rounds;
use super::{Caller, Context, status};
use crate::driver::{Handle, Refused};
use crate::live::LiveRun;
use crate::store::blobs::{Blobs, Slot};
use crate::store::{Error as StoreError, Journal};
use crate::transfer::{Arrived, Intake, NoTurn, Skipping, Turn};

/// Takes one upload, or answers one that came before with the first receipt.
pub(super) async fn receive<J: Journal>(
    rounds: &Rounds<J>,
    caller: &Caller,
    stream: Streaming<pb::SubmitMaskedRequest>,
) -> Result<pb::UploadReceipt, Status> {
    let context = &rounds.0;
    let mut parts = Parts { stream, context };
    let header = parts.header().await?;
    let run = rounds.run(&header.run_id)?;
    let (round, index) = rounds.round(&run, caller, &header.ann_hash)?;
    let slot = Slot::of(run.spec().run_id(), round.read().attempt(), index);
    let turn = context.turns.take(slot).await;
    let turn = turn.map_err(|error| status::no_turn(&error))?;
    let place = Place::of(&round, index)?;
    let header = (&header).try_into().map_err(status::convert)?;
    coordinator::check_header(&place.attempt, &place.cohort, index, &header).map_err(violation)?;
    let known = round.read().uploads().get(&index).cloned();
    if let Some(known) = known {
        let trailer = parts.skip(&place).await?;
        place.same(&known, &trailer)?;
        return Ok(place.receipt(&run, &known));
    }
    round.read().expects_upload(index).map_err(refused)?;
    let (intake, trailer) = tokio::select! {
        arrived = parts.take(&place, &context.shared.uploads) => arrived?,
        () = turn.replaced() => return Err(status::no_turn(&NoTurn::Replaced)),
        closed = closed(&run, &round, index) => return Err(closed),
    };
    let arrived = intake.complete().map_err(|error| status::upload(&error))?;
    let upload_hash = place.check(&arrived.chunk_root, &trailer)?;
    let keeping = Keeping {
        blobs: context.shared.uploads.clone(),
        round,
        slot,
        sender: caller.name.to_string(),
        _turn: turn,
    };
    // A task of its own: a caller that hangs up now must not leave bytes without an entry.
    let kept = tokio::spawn(keeping.keep(arrived, upload_hash, trailer)).await;
    let upload = kept.map_err(|_| status::stopping())??;
    Ok(place.receipt(&run, &upload))
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

    /// Sent again: the same upload hash stands for the same bytes. Another one under the same name changes nothing.
    fn same(&self, known: &Upload, trailer: &UploadTrailer) -> Result<(), Status> {
        if self.check(&trailer.chunk_root, trailer)? == known.item.upload_hash {
            Ok(())
        } else {
            Err(refused(Rejection::Conflict("upload")))
        }
    }

    fn receipt<J: Journal>(&self, run: &LiveRun<J>, upload: &Upload) -> pb::UploadReceipt {
        let value = Receipt {
            ctx: self.cohort.ctx(),
            upload_hash: upload.item.upload_hash,
            time_ms: upload.at.0,
        };
        let signature = value.sign(run.coordinator());
        Signed { value, signature }.into()
    }
}

/// An upload that is whole and vouched for, while it becomes durable.
struct Keeping {
    blobs: Blobs,
    round: Handle<Round>,
    slot: Slot,
    sender: String,
    /// Until all is done, no other upload of this site touches its files.
    _turn: Turn,
}

impl Keeping {
    async fn keep(
        self,
        arrived: Arrived,
        upload_hash: Digest,
        trailer: UploadTrailer,
    ) -> Result<Upload, Status> {
        let staged = tokio::task::block_in_place(|| arrived.stage(&self.slot));
        let blob = staged.map_err(|error| status::blob(&error))?;
        let upload = Upload {
            item: SurvivorItem {
                index: self.slot.index,
                upload_hash,
                signature: trailer.signature,
            },
            metadata: trailer.metadata,
            blob,
            at: clock::now(),
        };
        let event = round::Event::Uploaded(Box::new(upload.clone()));
        let submitted = self.round.submit(event, Some(self.sender.clone())).await;
        if let Err(refused) = &submitted {
            self.let_go(refused, &blob);
        }
        status::answer(submitted)?;
        Ok(upload)
    }

    /// A refused upload takes its bytes with it; where nobody can know whether it was refused, the next start finds out.
    fn let_go(&self, refused: &Refused, blob: &BlobRef) {
        tracing::warn!(site = self.sender, stream = %self.slot.stream, %refused, "an upload was not taken");
        match refused {
            Refused::Stopping | Refused::Store(StoreError::Failed(_)) => {}
            Refused::Rejected(_) | Refused::Store(_) => {
                if let Err(error) = self.blobs.remove_upload(&self.slot, &blob.digest) {
                    tracing::warn!(%error, "the bytes of a refused upload are left; the next start removes them");
                }
            }
        }
    }
}

/// The messages of one upload.
struct Parts<'a, J> {
    stream: Streaming<pb::SubmitMaskedRequest>,
    context: &'a Context<J>,
}

impl<J: Journal> Parts<'_, J> {
    /// The next message, which must come soon and must be one of the three.
    async fn next(&mut self) -> Result<Part, Status> {
        let message = self.context.in_time(self.stream.message()).await?;
        let message =
            message.ok_or_else(|| status::invalid(&"the upload ended without its trailer"))?;
        required("part", message.part).map_err(status::convert)
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

    async fn take(
        &mut self,
        place: &Place,
        blobs: &Blobs,
    ) -> Result<(Intake, UploadTrailer), Status> {
        let begin = || Intake::begin(place.attempt.params(), blobs);
        let mut intake =
            tokio::task::block_in_place(begin).map_err(|error| status::upload(&error))?;
        loop {
            match self.piece().await? {
                Ok(piece) => tokio::task::block_in_place(|| intake.piece(&piece))
                    .map_err(|error| status::upload(&error))?,
                Err(trailer) => return Ok((intake, trailer)),
            }
        }
    }

    async fn skip(&mut self, place: &Place) -> Result<UploadTrailer, Status> {
        let mut skipping = Skipping::new(place.attempt.params());
        loop {
            match self.piece().await? {
                Ok(piece) => skipping
                    .piece(&piece)
                    .map_err(|error| status::upload(&error))?,
                Err(trailer) => return Ok(trailer),
            }
        }
    }
}
