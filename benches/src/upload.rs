//! P8: how fast a coordinator takes an upload in.
//!
//! Both sides of the ratio get the same bytes over loopback under the same TLS configuration, and write them to the same disk. One is a
//! coordinator as it runs, up to the answer that the last part is durable, every part synced before it is answered. The other is a thread
//! that copies what it reads to a file and syncs that once. The bytes are made beforehand and are not masked: no trailer is sent, which
//! would be refused. Connections are made beforehand as well.

mod open;
mod plain;

use std::time::Instant;

use bytes::Bytes;
use tokio_stream::StreamExt as _;
use veilsum_common::limits::PIECE_BYTES;
use veilsum_common::parts::{Parts, part_digest};
use veilsum_proto::pb;
use veilsum_proto::pb::submit_masked_request::Part;
use veilsum_proto::pb::submit_masked_response::Answer;
use veilsum_secagg::Digest;

use crate::figure::{Figure, middle};
use open::Open;
use plain::Plain;

/// 128 Mi: at the 18 bits of three sites 288 MiB, 16 parts of 18 MiB.
const ELEMENTS: u64 = 128 << 20;
/// Fewer than of other figures: each turn moves half a gigabyte.
const TURNS: usize = 11;

pub fn throughput() -> Vec<Figure> {
    let sites = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let mut open = sites.block_on(Open::new(ELEMENTS));
    let upload = Upload::new(open.parts());
    let mut plain = Plain::new(open.dir(), open.server_tls(), open.client_tls());
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for turn in 0..=TURNS {
        // whoever goes first finds the disk as the other has left it
        let first = (turn % 2 == 0).then(|| plain.seconds(&upload.bytes));
        let ours = sites.block_on(upload.seconds(&mut open));
        let theirs = first.unwrap_or_else(|| plain.seconds(&upload.bytes));
        // the first turn makes buffers and windows grow
        if turn > 0 {
            rates.push(upload.megabytes() / ours);
            ratios.push(theirs / ours);
        }
    }
    let (value, quartiles) = middle(&mut ratios);
    let (rate, _) = middle(&mut rates);
    vec![Figure {
        id: "P8".into(),
        value,
        unit: "MB/s / MB/s",
        against: format!(
            "a thread that reads the same {:.0} MB from a TLS stream into a file and syncs it once; ours {rate:.0} MB/s, up to the last part's acknowledgement",
            upload.megabytes(),
        ),
        quartiles,
    }]
}

/// What is sent, made beforehand.
struct Upload {
    bytes: Bytes,
    messages: Vec<pb::SubmitMaskedRequest>,
}

impl Upload {
    fn new(parts: Parts) -> Self {
        let len = usize::try_from(parts.total_bytes()).expect("288 MiB can be named");
        let mut noise = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let bytes = Bytes::from(noise);
        let messages = (0..parts.count())
            .flat_map(|part| pieces(&bytes, parts, part))
            .collect();
        Self { bytes, messages }
    }

    fn megabytes(&self) -> f64 {
        let kilobytes = u32::try_from(self.bytes.len() / 1000).expect("288 MiB are fewer");
        f64::from(kilobytes) / 1e3
    }

    /// From the call to the answer that the last part is durable.
    async fn seconds(&self, open: &mut Open) -> f64 {
        open.forget();
        let header = pb::SubmitMaskedRequest {
            part: Some(Part::Header(open.header())),
        };
        let messages = std::iter::once(header).chain(self.messages.iter().cloned());
        let messages: Vec<_> = messages.collect();
        let last = open.parts().count() - 1;
        let start = Instant::now();
        // Without an end, so that the call lasts until its answers have been heard.
        let stream = tokio_stream::iter(messages).chain(tokio_stream::pending());
        let answers = open.calls.submit_masked(stream).await;
        let mut answers = answers.expect("the upload is expected").into_inner();
        loop {
            let answer = answers.message().await.expect("the parts are whole");
            match answer.and_then(|answer| answer.answer) {
                Some(Answer::Kept(kept)) if kept.part == last => break,
                Some(Answer::Kept(_) | Answer::Status(_)) => {}
                Some(Answer::Receipt(_)) | None => panic!("nobody sent a trailer"),
            }
        }
        start.elapsed().as_secs_f64()
    }
}

/// The messages of one part.
fn pieces(bytes: &Bytes, parts: Parts, part: u64) -> Vec<pb::SubmitMaskedRequest> {
    let at = |chunk| usize::try_from(parts.chunk_at(chunk)).expect("288 MiB can be named");
    let chunks = parts.chunks_of(part);
    let hashes: Vec<Digest> = chunks
        .clone()
        .map(|chunk| Digest::of_bulk(&bytes[at(chunk)..][..parts.chunk_bytes(chunk)]))
        .collect();
    let end = at(chunks.start) + usize::try_from(parts.part_bytes(part)).expect("as above");
    let whole = bytes.slice(at(chunks.start)..end);
    let mut pieces: Vec<_> = (0..whole.len())
        .step_by(PIECE_BYTES)
        .map(|offset| pb::UploadPiece {
            part,
            offset: offset as u64,
            data: whole.slice(offset..whole.len().min(offset + PIECE_BYTES)),
            digest: Vec::new(),
        })
        .collect();
    if let Some(last) = pieces.last_mut() {
        last.digest = part_digest(&hashes).0.to_vec();
    }
    let message = |piece| pb::SubmitMaskedRequest {
        part: Some(Part::Piece(piece)),
    };
    pieces.into_iter().map(message).collect()
}
