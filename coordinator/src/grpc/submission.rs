//! A study and its initial model on their way in: a header, then pieces of the model, which go to the disk as they come.

use std::sync::Arc;

use tokio::task::block_in_place;
use tonic::{Status, Streaming};
use veilsum_common::limits::{MAX_INITIAL_BYTES, PIECE_BYTES};
use veilsum_proto::convert::required;
use veilsum_proto::pb;
use veilsum_proto::pb::create_run_request::Part;

use super::{Context, status};
use crate::store::Journal;
use crate::store::blobs::BlobWriter;

/// A whole submission. Its model is not kept unless the run is made: dropped, it leaves nothing behind.
pub(super) struct Submission {
    pub(super) header: pb::CreateRunHeader,
    pub(super) model: BlobWriter,
}

impl Submission {
    /// Reads a submission to its end.
    pub(super) async fn receive<J: Journal>(
        context: &Arc<Context<J>>,
        mut stream: Streaming<pb::CreateRunRequest>,
    ) -> Result<Self, Status> {
        let mut next = async || -> Result<Option<Part>, Status> {
            let Some(message) = context.in_time(stream.message()).await? else {
                return Ok(None);
            };
            let part = required("part", message.part).map_err(status::convert)?;
            Ok(Some(part))
        };
        let Some(Part::Header(header)) = next().await? else {
            return Err(status::invalid(&FORM));
        };
        let mut model = None;
        while let Some(part) = next().await? {
            let Part::Piece(piece) = part else {
                return Err(status::invalid(&FORM));
            };
            block_in_place(|| {
                let mut writer = match model.take() {
                    Some(writer) => writer,
                    None => begin(context, piece.total_bytes)?,
                };
                append(&mut writer, &piece)?;
                model = Some(writer);
                Ok::<(), Status>(())
            })?;
        }
        // Without a piece the model is empty, and what is wrong with that is said as of any other model.
        let model = model.map_or_else(|| begin(context, 0), Ok)?;
        Ok(Self { header, model })
    }
}

fn begin<J: Journal>(context: &Context<J>, len_bytes: u64) -> Result<BlobWriter, Status> {
    if len_bytes > MAX_INITIAL_BYTES {
        let (have, limit) = (len_bytes, MAX_INITIAL_BYTES);
        return Err(status::invalid(&format!(
            "the initial model has {have} bytes, at most {limit} are taken"
        )));
    }
    let staged = context.shared.blobs.stage(len_bytes);
    staged.map_err(|error| status::blob(&error))
}

fn append(model: &mut BlobWriter, piece: &pb::BlobChunk) -> Result<(), Status> {
    let refused = |what: &str| Err(status::invalid(&what));
    if piece.offset != model.written_bytes() {
        return refused("the pieces of the model do not follow each other");
    }
    if piece.data.is_empty() || piece.data.len() > PIECE_BYTES {
        return refused("a piece of the model is empty, or longer than 256 KiB");
    }
    if piece.offset + piece.data.len() as u64 > piece.total_bytes {
        return refused("the model is longer than its first piece said");
    }
    if blake3::hash(&piece.data).as_bytes()[..] != piece.blake3[..] {
        return refused("a piece of the model was damaged on the way; submit it again");
    }
    let written = model.write(&piece.data);
    written.map_err(|error| status::blob(&error))
}

const FORM: &str = "a submission is one header, then pieces of the model";
