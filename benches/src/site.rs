//! P3 and P7: what a site does to an update before it is sent, and how many bytes come of it.

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use prost::Message as _;
use veilsum_common::limits::{CHUNK_ELEMS, PIECE_BYTES};
use veilsum_common::quantise::{Measure, Quantiser, ring_bits};
use veilsum_proto::pb;
use veilsum_proto::pb::submit_masked_request::Part;
use veilsum_secagg::keys::Seed;
use veilsum_secagg::mask::Masks;
use veilsum_secagg::prg::Keystream;
use veilsum_secagg::ring::packed_len;

use crate::cast::Cast;
use crate::figure::{Clock, Figure, ratio};
use crate::mask::{STREAMS, mask, masks};

/// 10 Mi.
const ELEMENTS: usize = 10 << 20;
/// Elements read at a time; a chunk is a multiple.
const SLICE: usize = 1 << 14;
/// Bits of a value: the default.
const BITS: u8 = 16;

/// One buffer of each kind, whatever the length of the update.
struct Pipeline {
    file: File,
    bytes: Vec<u8>,
    values: Vec<f32>,
    lanes: Vec<u32>,
    packed: Vec<u8>,
}

impl Pipeline {
    fn new() -> Self {
        let mut file = tempfile::tempfile().expect("a temporary file can be made");
        let mut word = 1u32;
        let update: Vec<u8> = (0..ELEMENTS)
            .flat_map(|_| {
                word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((word >> 8) as f32 / (1 << 24) as f32 - 0.5).to_le_bytes()
            })
            .collect();
        file.write_all(&update).expect("40 MiB fit on the disk");
        let chunk = CHUNK_ELEMS as usize;
        Self {
            file,
            bytes: vec![0; 4 * SLICE],
            values: vec![0.0; SLICE],
            lanes: vec![0; chunk],
            packed: Vec::new(),
        }
    }

    fn read(&mut self, start: usize) {
        let offset = u64::try_from(4 * start).expect("40 MiB fit in 64 bits");
        self.file
            .read_exact_at(&mut self.bytes, offset)
            .expect("the file has these bytes");
        let (words, _) = self.bytes.as_chunks();
        for (value, word) in self.values.iter_mut().zip(words) {
            *value = f32::from_le_bytes(*word);
        }
    }

    /// Both passes; gives the hashes of the packed chunks.
    fn run(&mut self, quantiser: &Quantiser, masks: &Masks, rounding: &Seed) -> Vec<blake3::Hash> {
        let mut measure = Measure::new();
        for start in (0..ELEMENTS).step_by(SLICE) {
            self.read(start);
            measure.add(&self.values).expect("all are finite");
        }
        let second = quantiser.begin(1, measure).expect("the weight is one");
        let mut hashes = Vec::new();
        for (chunk, start) in (0..).zip((0..ELEMENTS).step_by(CHUNK_ELEMS as usize)) {
            let mut stream = Keystream::new(rounding, 0, chunk);
            let mut noise = |bytes: &mut [u8]| stream.fill(bytes);
            for at in (0..CHUNK_ELEMS as usize).step_by(SLICE) {
                self.read(start + at);
                let lanes = &mut self.lanes[at..at + SLICE];
                second
                    .chunk(0, &self.values, &mut noise, lanes)
                    .expect("all are in range");
            }
            let bits = ring_bits(BITS, STREAMS.into());
            self.packed.clear();
            masks.add_and_pack(bits, chunk, &mut self.lanes, &mut self.packed);
            hashes.push(blake3::hash(&self.packed));
        }
        assert!(second.factor() < 1.0, "the update is longer than the clip");
        hashes
    }
}

pub fn step() -> Vec<Figure> {
    let (masks, rounding) = (masks(), Seed::new([9; 32]));
    let quantiser = Quantiser::new(1.0, Some(1.0), 1, BITS).expect("settings of a usual study");
    let (mut pipeline, mut lanes) = (Pipeline::new(), vec![0u32; ELEMENTS]);
    let (value, quartiles) = ratio(
        Clock::Thread,
        &mut || drop(black_box(pipeline.run(&quantiser, &masks, &rounding))),
        &mut || mask(&masks, black_box(&mut lanes)),
    );
    vec![Figure {
        id: "P3".into(),
        value,
        unit: "time / time",
        against: "P1's kernel alone: 32 streams added to 10 Mi lanes".into(),
        quartiles,
    }]
}

/// Everything a site sends in a round, as messages on the wire: its Commit, and the upload with header, pieces and trailer.
pub fn bytes_up() -> Vec<Figure> {
    [32, 100]
        .into_iter()
        .map(|sites| uploaded(sites, 1_000_000))
        .collect()
}

fn uploaded(sites: u8, elements: u32) -> Figure {
    let cast = Cast::new(sites, elements.into());
    let params = cast.attempt.params();
    let bits = params.config().m;
    let packed = (0..params.chunks()).map(|chunk| packed_len(params.chunk_len(chunk), bits));
    let packed: usize = packed.sum();
    let commit = pb::RoundCommit::from(cast.commits[&0].clone()).encoded_len();
    let mut header = pb::UploadHeader::from(cast.masking[0].header());
    (header.run_id, header.ann_hash) = (vec![1; 16], vec![1; 32]);
    // At the largest every piece carries a digest; of those sent one in a hundred does.
    let piece = |offset: usize| pb::UploadPiece {
        part: 1,
        offset: offset as u64,
        digest: vec![1; 32],
        data: vec![0; PIECE_BYTES.min(packed - offset)].into(),
    };
    let pieces = (0..packed)
        .step_by(PIECE_BYTES)
        .map(|offset| Part::Piece(piece(offset)));
    let parts = [
        Part::Header(header),
        Part::Trailer(cast.trailer(0).0.into()),
    ]
    .into_iter()
    .chain(pieces);
    let messages =
        parts.map(|part| pb::SubmitMaskedRequest { part: Some(part) }.encoded_len() + FRAME_BYTES);
    let value = (commit + FRAME_BYTES + messages.sum::<usize>()) as f64
        / (f64::from(elements) * f64::from(bits) / 8.0);
    Figure {
        id: if sites == 100 {
            "P7".into()
        } else {
            format!("P7/n={sites}")
        },
        value,
        unit: "bytes / bytes",
        against: format!("m·d/8 with m = {bits}, d = {elements}"),
        quartiles: [value, value],
    }
}

/// gRPC's own bytes before each message.
const FRAME_BYTES: usize = 5;
