use std::sync::Arc;

use veilsum_common::ids::RunId;
use veilsum_common::limits::PART_CHUNKS;
use veilsum_common::parts::Parts;
use veilsum_secagg::keys::Seed;
use veilsum_secagg::participant::chunk_root;

use super::*;
use crate::store::StreamId;
use crate::store::staging::{Slot, Staging, Upload};

/// Two parts, the second with one chunk of three elements, 19 bits each: 57 bits and seven of padding.
fn parts() -> Parts {
    Parts::new(8 * PART_CHUNKS + 3, 8, 19)
}

fn packed(chunk: u64) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(chunk).unwrap() + 1; parts().chunk_bytes(chunk)];
    if chunk == PART_CHUNKS {
        *bytes.last_mut().unwrap() = 1;
    }
    bytes
}

fn hashes(part: u64) -> Vec<Digest> {
    let chunks = parts().chunks_of(part);
    chunks
        .map(|chunk| Digest::of_bulk(&packed(chunk)))
        .collect()
}

/// The pieces of one part, `len` bytes each.
fn pieces(part: u64, len: usize) -> Vec<pb::UploadPiece> {
    let bytes: Vec<u8> = parts().chunks_of(part).flat_map(packed).collect();
    let piece = |(k, data): (usize, &[u8])| pb::UploadPiece {
        part,
        offset: (k * len) as u64,
        data: data.to_vec().into(),
        digest: Vec::new(),
    };
    let mut pieces: Vec<_> = bytes.chunks(len).enumerate().map(piece).collect();
    pieces.last_mut().unwrap().digest = part_digest(&hashes(part)).0.to_vec();
    pieces
}

fn upload() -> (TempDir, Staging, Arc<Upload>) {
    let dir = TempDir::new().unwrap();
    let staging = Staging::new(dir.path(), Seed::new([3; 32])).unwrap();
    let stream = StreamId::round(RunId::from_bytes([7; 16]), 1, 1);
    let upload = staging.upload(Slot { stream, index: 0 }, parts()).unwrap();
    (dir, staging, upload)
}

fn intake_of(upload: &Arc<Upload>) -> Intake {
    Intake::new(Arc::clone(upload), books())
}

/// The secret stream of these tests.
fn books() -> Projections {
    Projections::new(&Seed::new([3; 32]))
}

fn take(intake: &mut Intake, pieces: &[pb::UploadPiece]) -> Result<Vec<u64>, UploadError> {
    let mut kept = Vec::new();
    for piece in pieces {
        if let Some(part) = intake.piece(piece)? {
            kept.push(part.keep()?);
        }
    }
    Ok(kept)
}

#[test]
fn pieces_of_any_length_give_the_same_upload() {
    for len in [1, 7, 19, 100, PIECE_BYTES] {
        let (_dir, _staging, upload) = upload();
        let mut intake = intake_of(&upload);
        for part in [1, 0] {
            assert_eq!(take(&mut intake, &pieces(part, len)).unwrap(), [part]);
        }
        let all: Vec<Digest> = (0..2).flat_map(hashes).collect();
        let mut checksum = Checksum::default();
        for chunk in 0..=PART_CHUNKS {
            let count = parts().chunk_len(chunk);
            checksum += &books().of_packed(chunk, 19, count, &packed(chunk)).unwrap();
        }
        let expected = (chunk_root(&all).unwrap(), checksum);
        assert_eq!(intake.whole().unwrap(), expected);
    }
}

/// Otherwise its bytes could change under the hashes that are about to be kept.
#[test]
fn a_part_that_is_on_its_way_to_the_disk_is_not_taken_again() {
    let (_dir, _staging, upload) = upload();
    let mut intake = intake_of(&upload);
    let (last, rest) = pieces(0, 100)
        .split_last()
        .map(|(l, r)| (l.clone(), r.to_vec()))
        .unwrap();
    take(&mut intake, &rest).unwrap();
    let part = intake.piece(&last).unwrap().unwrap();
    let again = intake.piece(&rest[0]);
    assert!(matches!(again, Err(UploadError::Known { part: 0 })));
    assert_eq!(part.keep().unwrap(), 0);
}

#[test]
fn a_cut_in_a_part_costs_that_part_and_no_other() {
    let (_dir, _staging, upload) = upload();
    for cut in 1..pieces(0, 7).len() {
        let mut intake = intake_of(&upload);
        take(&mut intake, &pieces(0, 7)[..cut]).unwrap();
        assert!(!upload.has(0));
    }
    let mut intake = intake_of(&upload);
    take(&mut intake, &pieces(0, 7)).unwrap();
    let mut again = intake_of(&upload);
    let known = again.piece(&pieces(0, 7)[0]);
    assert!(matches!(known, Err(UploadError::Known { part: 0 })));
    assert!(matches!(
        again.whole(),
        Err(UploadError::Missing {
            missing: 1,
            count: 2
        })
    ));
    take(&mut again, &pieces(1, 7)).unwrap();
    again.whole().unwrap();
}

#[test]
fn t32_pieces_that_do_not_make_a_part_are_refused_and_none_of_it_counts() {
    let check = |pieces: &[pb::UploadPiece], says: &str| {
        let (_dir, _staging, upload) = upload();
        let refused = take(&mut intake_of(&upload), pieces);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
        assert_eq!(upload.have(), [0], "{says}");
    };
    let altered = |k: usize, change: &dyn Fn(&mut pb::UploadPiece)| {
        let mut pieces = pieces(0, 100);
        change(&mut pieces[k]);
        pieces
    };
    let mut swapped = pieces(0, 100);
    swapped.swap(1, 2);
    check(
        &swapped,
        "next byte of part 0 is 100, the piece begins at 200",
    );
    let mut repeated = pieces(0, 100);
    repeated.insert(1, repeated[0].clone());
    check(
        &repeated,
        "next byte of part 0 is 100, the piece begins at 0",
    );
    check(&altered(1, &|piece| piece.part = 1), "of part 1");
    check(
        &altered(0, &|piece| piece.part = 2),
        "the upload has 2 parts",
    );
    check(&altered(0, &|piece| piece.part = u64::MAX), "2 parts");
    check(&altered(2, &|piece| piece.data.clear()), "has no bytes");
    let long = vec![0; PIECE_BYTES + 1];
    check(
        &altered(0, &|piece| piece.data = long.clone().into()),
        "at most 262144",
    );
    let flipped = altered(3, &|piece| {
        let mut bytes = piece.data.to_vec();
        bytes[9] ^= 1;
        piece.data = bytes.into();
    });
    check(&flipped, "does not have the digest it came with");
    let last = pieces(0, 100).len() - 1;
    check(&altered(last, &|piece| piece.digest.clear()), "digest");
    let longer = altered(last, &|piece| {
        piece.data = [&piece.data[..], &[0]].concat().into();
    });
    check(&longer, "has 608 bytes, and more came");
}

#[test]
fn t32_padding_that_is_not_zero_is_refused() {
    let (_dir, _staging, upload) = upload();
    let mut piece = pieces(1, 100).remove(0);
    let mut bytes = piece.data.to_vec();
    *bytes.last_mut().unwrap() |= 0x80;
    piece.data = bytes.into();
    let refused = intake_of(&upload).piece(&piece);
    assert!(matches!(refused, Err(UploadError::Packing(_))));
}
