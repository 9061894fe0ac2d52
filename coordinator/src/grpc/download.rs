//! A model on its way out: when its turn has come, piece by piece, as fast as the peer takes them.
//!
//! Few transfer at once; who waits has neither a file nor a piece. A peer that hangs up leaves nothing behind. What a piece is,
//! `transfer/download.rs` knows.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::block_in_place;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};
use veilsum_common::blob::BlobRef;
use veilsum_proto::pb;

use super::round_service::Answers;
use super::{Context, status};
use crate::store::Journal;
use crate::transfer::Download;

/// The pieces of a blob from `offset` on as a stream of responses.
pub(super) fn answers<J: Journal, T: Send + 'static>(
    context: &Arc<Context<J>>,
    blob: BlobRef,
    offset: u64,
    wrap: impl Fn(pb::BlobChunk) -> T + Send + 'static,
) -> Response<Answers<T>> {
    let (pieces, taken) = mpsc::channel(PIECES_AHEAD);
    let context = Arc::clone(context);
    tokio::spawn(async move {
        if let Err(ended) = send(&context, blob, offset, &pieces).await {
            drop(pieces.send(Err(ended)).await);
        }
    });
    let answers = ReceiverStream::new(taken).map(move |piece| piece.map(&wrap));
    Response::new(Box::pin(answers))
}

/// Reads a piece when there is room for it: one who stalls has one in memory, and one on the way.
async fn send<J: Journal>(
    context: &Context<J>,
    blob: BlobRef,
    offset: u64,
    pieces: &mpsc::Sender<Result<pb::BlobChunk, Status>>,
) -> Result<(), Status> {
    let mut transfer = tokio::select! {
        transfer = context.downloads.wait() => transfer,
        () = pieces.closed() => return Ok(()),
    };
    let open = || Download::open(&context.shared.blobs, blob, offset);
    let mut download = block_in_place(open).map_err(|error| status::blob(&error))?;
    loop {
        let room = transfer.next(pieces.reserve()).await;
        let Ok(room) = room.map_err(status::put_off)? else {
            return Ok(()); // the peer hung up
        };
        let Some(piece) = download.next().await else {
            return Ok(());
        };
        let piece = piece.map_err(|error| status::blob(&error))?;
        transfer.moved(piece.data.len());
        room.send(Ok(piece));
        transfer.goes_on().map_err(status::put_off)?;
    }
}

/// Pieces that wait for the peer.
const PIECES_AHEAD: usize = 1;
