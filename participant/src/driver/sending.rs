//! One upload: says which it is, sends what the coordinator does not have, waits for the receipt; after a cut, goes on where it was.
//!
//! It begins after P2 is durable. What is sent is made in `masked`, on a thread of its own, while the network takes what was made before.

mod masked;

use std::sync::Arc;

use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use veilsum_common::{RunId, RunSpec};
use veilsum_daemon::backoff::Backoff;
use veilsum_engine::participant::Contribution;
use veilsum_proto::pb;
use veilsum_proto::pb::submit_masked_request::Part;
use veilsum_proto::pb::submit_masked_response::Answer;
use veilsum_secagg::Digest;
use veilsum_secagg::keys::Seed;
use veilsum_secagg::participant::Masking;

use super::Input;
use super::tasks::refused;
use crate::link::{self, Link, LinkError, pause};
use crate::site::Site;
use crate::update::Updates;
use masked::{Fault, Masked, Messages, Origin, Sent};

/// An upload that is to be made.
pub(super) struct Sending {
    pub(super) site: Arc<Site>,
    pub(super) spec: Arc<RunSpec>,
    pub(super) updates: Arc<Updates>,
    pub(super) run: RunId,
    pub(super) ann_hash: Digest,
    pub(super) masking: Masking,
    pub(super) contribution: Contribution,
    pub(super) rounding: Seed,
}

impl Sending {
    pub(super) async fn run(self) -> Option<Input> {
        let (run, ann_hash) = (self.run, self.ann_hash);
        let model = self.site.models(run);
        let model = model.get(self.contribution.model_hash).await;
        let model = match model {
            Ok(model) => model.bytes,
            Err(error) => {
                // What passes was waited out; without the model nothing can be masked.
                tracing::error!(%run, %error, "the model cannot be had any more; this site is a dropout of the attempt");
                return Some(Input::DropOut(ann_hash));
            }
        };
        let mut header = pb::UploadHeader::from(self.masking.header());
        (header.run_id, header.ann_hash) = (run.as_bytes().to_vec(), ann_hash.0.to_vec());
        let link = self.site.link.clone();
        let origin = Origin {
            spec: self.spec,
            identity: Arc::clone(&self.site.identity),
            updates: self.updates,
            masking: self.masking,
            contribution: self.contribution,
            rounding: self.rounding,
        };
        let opened = spawn_blocking(move || Masked::open(origin, model));
        let masked = match opened.await.ok()? {
            Ok(masked) => masked,
            Err(fault) => return Some(unusable(run, ann_hash, &fault)),
        };
        let call = Call { run, link, header };
        match call.until_received(masked).await? {
            End::Received(sent, receipt) => Some(Input::Received(ann_hash, sent, receipt)),
            End::Refused => Some(Input::DropOut(ann_hash)),
            End::Unusable(fault) => Some(unusable(run, ann_hash, &fault)),
        }
    }
}

fn unusable(run: RunId, ann_hash: Digest, fault: &Fault) -> Input {
    tracing::error!(%run, error = %fault, "the pinned update cannot be masked any more; nothing counts of what was sent, and this site is a dropout of the attempt");
    Input::DropOut(ann_hash)
}

/// How an upload ends.
enum End {
    Received(Sent, Box<pb::UploadReceipt>),
    Refused,
    Unusable(Fault),
}

/// The call, which is made again as long as its fault is a passing one.
struct Call {
    run: RunId,
    link: Link,
    header: pb::UploadHeader,
}

/// One call that came to an end.
struct Ended {
    masked: Masked,
    /// What the receipt must name, if all of it was made.
    sent: Result<Sent, Fault>,
    answer: Result<pb::UploadReceipt, LinkError>,
    /// Whether the coordinator has more than before it.
    further: bool,
}

impl Call {
    /// `None` when the daemon stops.
    async fn until_received(&self, masked: Masked) -> Option<End> {
        let (run, mut masked) = (self.run, masked);
        let (mut passing, mut slower) = (link::backoff(), refused());
        loop {
            let error = match self.once(masked).await? {
                Ok(ended) => {
                    masked = ended.masked;
                    if ended.further {
                        passing.reset();
                    }
                    match (ended.answer, ended.sent) {
                        (Ok(receipt), Ok(sent)) => {
                            let bytes = masked.sent_bytes() + self.header.encoded_len() as u64;
                            tracing::info!(%run, bytes, "update sent");
                            return Some(End::Received(sent, Box::new(receipt)));
                        }
                        (Ok(_), Err(Fault::HungUp)) => LinkError::NoReceipt,
                        (Err(error), Ok(_) | Err(Fault::HungUp)) => error,
                        (_, Err(fault)) => return Some(End::Unusable(fault)),
                    }
                }
                Err((unsent, error)) => {
                    masked = unsent;
                    error
                }
            };
            if error.is_final() {
                tracing::warn!(%run, %error, "the upload was refused; this site is a dropout of the attempt");
                return Some(End::Refused);
            }
            wait(run, error, &mut passing, &mut slower).await;
        }
    }

    /// Makes the call once. What is masked comes back in any case.
    async fn once(&self, masked: Masked) -> Option<Result<Ended, (Masked, LinkError)>> {
        let (sender, outgoing) = mpsc::channel(PIECES_AHEAD);
        let header = Part::Header(self.header.clone());
        let begin = pb::SubmitMaskedRequest { part: Some(header) };
        // There is room for one message in an empty channel.
        drop(sender.try_send(begin));
        let mut answers = match self.link.upload(ReceiverStream::new(outgoing)).await {
            Ok(answers) => answers,
            Err(error) => return Some(Err((masked, error))),
        };
        let have = match answers.next().await {
            Ok(Answer::Status(status)) => status.have,
            Ok(_) => return Some(Err((masked, LinkError::NoReceipt))),
            Err(error) => return Some(Err((masked, error))),
        };
        let mut masked = masked;
        let (lasting, over) = watch::channel(());
        let messages = Messages { sender, over };
        let making = spawn_blocking(move || {
            let sent = masked.send(&have, &messages);
            (masked, sent)
        });
        let mut further = false;
        let answer = loop {
            match answers.next().await {
                Ok(Answer::Kept(_)) => further = true,
                Ok(Answer::Receipt(receipt)) => break Ok(receipt),
                Ok(Answer::Status(_)) => break Err(LinkError::NoReceipt),
                Err(error) => break Err(error),
            }
        };
        drop((answers, lasting)); // ends the call, and with it whoever still makes pieces for it
        let (masked, sent) = making.await.ok()?;
        Some(Ok(Ended {
            masked,
            sent,
            answer,
            further,
        }))
    }
}

/// A passing fault is waited out, and said when it is the first since something got through; any other that is not final is said each
/// time, and waited for longer.
async fn wait(run: RunId, error: LinkError, passing: &mut Backoff, slower: &mut Backoff) {
    if passing.failures() == 0
        && matches!(&error, LinkError::Status(status) if link::is_passing(status))
    {
        tracing::warn!(%run, %error, "the upload came to a halt; it goes on where it was as soon as it can");
    }
    if let Err(error) = link::wait_out(error, passing).await {
        tracing::warn!(%run, %error, "the upload failed; going on with it");
        pause(slower).await;
    }
}

/// Pieces that wait for the network: 2 MiB, so that masking never waits for a round trip.
const PIECES_AHEAD: usize = 8;
