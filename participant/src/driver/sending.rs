//! One upload: quantise the pinned update, mask it chunk by chunk, send it, wait for the receipt.
//!
//! It begins after P2 is durable. Masked bytes are not stored: they are made again, the same, whenever they are sent again.

use std::sync::Arc;

use veilsum_common::limits::PIECE_BYTES;
use veilsum_common::model::{Checkpoint, Delta};
use veilsum_common::{RunId, RunSpec};
use veilsum_daemon::files::Reading;
use veilsum_engine::participant::Contribution;
use veilsum_proto::pb;
use veilsum_secagg::Digest;
use veilsum_secagg::keys::Seed;
use veilsum_secagg::participant::Masking;
use veilsum_secagg::prg::Keystream;

use super::Input;
use super::tasks::{logged, refused};
use crate::link::{Link, pause};
use crate::site::Site;
use crate::update::{UpdateError, Updates};

/// One upload: quantise the pinned update, mask chunk by chunk, send, wait for the receipt.
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
        let (run, ann_hash, link) = (self.run, self.ann_hash, self.site.link.clone());
        let model = self.site.models(run);
        let model = model.get(self.contribution.model_hash).await;
        let global = logged(run, "model", model)?.bytes;
        let made = tokio::task::spawn_blocking(move || self.messages(&global))
            .await
            .ok()?;
        let (messages, sent) = match made {
            Ok(made) => made,
            Err(why) => {
                tracing::error!(%run, why, "the pinned update cannot be masked again; nothing was sent");
                return Some(Input::DropOut(ann_hash));
            }
        };
        send(link, run, (ann_hash, sent), messages).await
    }

    fn delta(&self, global: &Reading) -> Result<Vec<f32>, UpdateError> {
        let (layout, selection) = (self.spec.layout(), self.spec.selection());
        let update = self.updates.pinned(&self.contribution.update)?;
        let update = Checkpoint::update(&update, layout)?;
        let global = Checkpoint::model(global, layout)?;
        Ok(Delta::new(&global, &update, layout, selection)?.whole()?)
    }

    /// Header, pieces, trailer: the same bytes every time; and the hash of the upload, which its receipt must name.
    fn messages(&self, global: &Reading) -> Result<(Vec<pb::SubmitMaskedRequest>, Digest), String> {
        let delta = self.delta(global).map_err(|error| error.to_string())?;
        let noise =
            |chunk: u64, bytes: &mut [u8]| Keystream::new(&self.rounding, 0, chunk).fill(bytes);
        let quantised = self
            .spec
            .quantiser()
            .quantise(&delta, self.contribution.weight, &noise);
        let quantised = quantised.map_err(|error| error.to_string())?;
        tracing::info!(
            clipped = quantised.clipped,
            factor = quantised.factor,
            "update quantised"
        );
        let mut lanes = &quantised.lanes[..];
        let (mut packed, mut hashes) = (Vec::new(), Vec::new());
        for chunk in 0..self.spec.params().chunks() {
            let (now, rest) = lanes.split_at(self.spec.params().chunk_len(chunk) as usize);
            let bytes = self.masking.chunk(chunk, now);
            hashes.push(Digest::of_bulk(&bytes));
            packed.extend_from_slice(&bytes);
            lanes = rest;
        }
        let (trailer, upload_hash) =
            self.masking
                .trailer(&self.site.identity, &hashes, &self.contribution.metadata);
        let mut header = pb::UploadHeader::from(self.masking.header());
        (header.run_id, header.ann_hash) = (self.run.as_bytes().to_vec(), self.ann_hash.0.to_vec());
        let mut messages = vec![message(pb::submit_masked_request::Part::Header(header))];
        messages.extend(
            pieces(&packed).map(|piece| message(pb::submit_masked_request::Part::Piece(piece))),
        );
        messages.push(message(pb::submit_masked_request::Part::Trailer(
            trailer.into(),
        )));
        Ok((messages, upload_hash))
    }
}

async fn send(
    link: Link,
    run: RunId,
    (ann_hash, sent): (Digest, Digest),
    messages: Vec<pb::SubmitMaskedRequest>,
) -> Option<Input> {
    let bytes: usize = messages.iter().map(prost::Message::encoded_len).sum();
    let mut backoff = refused();
    loop {
        match link.upload(messages.clone()).await {
            Ok(receipt) => {
                tracing::info!(%run, bytes, "update sent");
                return Some(Input::Received(ann_hash, sent, Box::new(receipt)));
            }
            Err(error) if error.is_final() => {
                tracing::warn!(%run, %error, "the upload was refused; this site is a dropout of the attempt");
                return Some(Input::DropOut(ann_hash));
            }
            Err(error) => tracing::warn!(%run, %error, "the upload failed; sending it again"),
        }
        pause(&mut backoff).await;
    }
}

fn message(part: pb::submit_masked_request::Part) -> pb::SubmitMaskedRequest {
    pb::SubmitMaskedRequest { part: Some(part) }
}

fn pieces(packed: &[u8]) -> impl Iterator<Item = pb::UploadPiece> + '_ {
    packed
        .chunks(PIECE_BYTES)
        .enumerate()
        .map(|(place, data)| pb::UploadPiece {
            offset: (place * PIECE_BYTES) as u64,
            blake3: blake3::hash(data).as_bytes().to_vec(),
            data: data.to_vec().into(),
        })
}
