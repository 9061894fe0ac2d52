//! Uploads that are spoilt on the way, stand still, or are made from files that change meanwhile: over real processes each ends with a site
//! that is a dropout and a sum that is exact without it.

#![expect(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use veilsum_common::limits::PIECE_BYTES;
use veilsum_proto::pb;
use veilsum_proto::pb::submit_masked_request::Part;
use veilsum_tests::summands::{
    SMALL, below, counts, federation, is_the_mean_of, is_the_sum_of_means,
};
use veilsum_tests::{Call, Federation, Moment, Proxy, Study, files};

const UPLOAD: Call = "SubmitMasked";

/// One in which a site is given up soon, but not one that is slow.
fn study(rounds: u64) -> Study {
    Study {
        min: 3,
        report: "4s",
        ..Study::of(4, rounds)
    }
}

/// What somebody on the way does to the piece with this number, of four, or to the trailer.
type Spoil = fn(usize, &mut Part, &pb::UploadPiece);

fn piece(part: &mut Part) -> Option<&mut pb::UploadPiece> {
    match part {
        Part::Piece(piece) => Some(piece),
        _ => None,
    }
}

fn bytes(part: &mut Part, change: impl FnOnce(&mut Vec<u8>)) {
    if let Some(piece) = piece(part) {
        let mut data = piece.data.to_vec();
        change(&mut data);
        piece.data = data.into();
    }
}

/// What is done, what the site is told, and how. The third argument is the piece before.
const SPOILT: [(&str, &str, Spoil); 9] = [
    ("truncated", "the piece begins at", |k, part, _| {
        if k == 1 {
            bytes(part, |data| data.truncate(data.len() - 1));
        }
    }),
    ("out of order", "the piece begins at", |k, part, _| {
        if let (1, Some(piece)) = (k, piece(part)) {
            piece.offset += piece.data.len() as u64;
        }
    }),
    ("repeated", "the piece begins at", |k, part, before| {
        if let (1, Some(piece)) = (k, piece(part)) {
            *piece = before.clone();
        }
    }),
    ("oversized", "at most 262144", |k, part, _| {
        if k == 1 {
            bytes(part, |data| data.resize(PIECE_BYTES + 1, 0));
        }
    }),
    ("longer than its part", "and more came", |k, part, _| {
        if k == 3 {
            bytes(part, |data| data.push(0));
        }
    }),
    ("corrupted", "does not have the digest", |k, part, _| {
        if k == 2 {
            bytes(part, |data| data[7] ^= 1);
        }
    }),
    ("another trailer", "upload", |_, part, _| {
        if let Part::Trailer(trailer) = part {
            trailer.chunk_root[0] ^= 1;
        }
    }),
    ("other metadata", "upload", |_, part, _| {
        if let Part::Trailer(trailer) = part {
            trailer.meta_lanes[0] ^= 1;
        }
    }),
    ("another signature", "upload", |_, part, _| {
        if let Part::Trailer(trailer) = part {
            trailer.sig[0] ^= 1;
        }
    }),
];

/// Spoils the uploads of one attempt after the other, each in its way, and then none any more.
#[derive(Default)]
struct Spoiler {
    attempts: Vec<Vec<u8>>,
    pieces: usize,
    before: pb::UploadPiece,
}

impl Spoiler {
    fn spoil(&mut self, message: pb::SubmitMaskedRequest) -> pb::SubmitMaskedRequest {
        let mut part = message.part.unwrap();
        if let Part::Header(header) = &part {
            self.pieces = 0;
            if !self.attempts.contains(&header.ann_hash) {
                self.attempts.push(header.ann_hash.clone());
            }
        }
        let before = self.before.clone();
        if let Part::Piece(piece) = &part {
            self.before = piece.clone();
        }
        if let Some((_, _, spoil)) = SPOILT.get(self.attempts.len() - 1) {
            spoil(self.pieces, &mut part, &before);
        }
        self.pieces += usize::from(matches!(part, Part::Piece(_)));
        pb::SubmitMaskedRequest { part: Some(part) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t32_an_upload_that_is_spoilt_on_the_way_is_in_no_sum_and_its_site_is_in_the_next() {
    let mut federation = federation(4, SMALL, "");
    let proxy = Proxy::before(&federation, 0).await;
    let spoiler = Mutex::new(Spoiler::default());
    proxy.forge(UPLOAD, move |message| {
        spoiler.lock().unwrap().spoil(message)
    });
    federation.start_all();
    let model = files::model(&vec![0.0; SMALL]);
    let rounds = SPOILT.len() + 1;
    let study = study(rounds as u64).to_toml();
    let run = federation.submit(&study, &model).await;
    let run = federation.completed(&run.run_id).await;
    let (mut expected, mut present) = (vec![(4, 3); rounds - 1], vec![&[1, 2, 3][..]; rounds - 1]);
    expected.push((4, 4));
    present.push(&[0, 1, 2, 3]);
    assert_eq!(counts(&run), expected);
    let model = federation.model(&run.run_id, None).await;
    is_the_sum_of_means(&model, SMALL, &present);
    let log = federation.log("site-0");
    for (what, says, _) in SPOILT {
        assert!(log.contains(says), "{what}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_stands_still_in_its_middle_costs_its_site_one_round() {
    let mut federation = federation(4, SMALL, "");
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold(UPLOAD, Moment::Sent(3));
    federation.start_all();
    let model = files::model(&vec![0.0; SMALL]);
    let run = federation.submit(&study(2).to_toml(), &model).await;
    proxy.reached().await;
    federation
        .wait(&run.run_id, |run| run.rounds_done == 1)
        .await;
    proxy.release();
    let run = federation.completed(&run.run_id).await;
    assert_eq!(counts(&run), [(4, 3), (4, 4)]);
    assert_eq!(run.history[0].dropped, ["site-0"]);
    let model = federation.model(&run.run_id, None).await;
    is_the_sum_of_means(&model, SMALL, &[&[1, 2, 3], &[0, 1, 2, 3]]);
}

/// One part, too much to be on its way at once.
const LONG: usize = 32 * (1 << 18);

/// A run of one round, whose site 0 has sent its first piece when `spoil` is done to a file of its own, and goes on as `go_on` says.
async fn spoilt_amid_upload(kind: &str, spoil: fn(&File), go_on: fn(&Proxy), says: &str) {
    let mut federation = federation(4, LONG, "");
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold(UPLOAD, Moment::Sent(2));
    federation.start_all();
    let model = files::model(&vec![0.0; LONG]);
    let run = federation.submit(&study(1).to_toml(), &model).await;
    proxy.reached().await;
    let file = only(&federation, kind, &run.run_id);
    spoil(&File::options().write(true).open(file).unwrap());
    go_on(&proxy);
    let run = federation.completed(&run.run_id).await;
    let lines = [says, "this site is a dropout of the attempt"];
    federation.logged("site-0", &lines).await;
    assert_eq!(counts(&run), [(4, 3)]);
    let model = federation.model(&run.run_id, None).await;
    is_the_mean_of(&model, LONG, &[1, 2, 3]);
}

/// The one file that site 0 keeps of this kind for the run.
fn only(federation: &Federation, kind: &str, run: &str) -> PathBuf {
    let data: &Path = &federation.members[0].dir.join("data");
    let [file] = &below(&data.join(kind).join(run))[..] else {
        panic!("one file is kept")
    };
    file.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_shrinks_while_it_is_sent_makes_its_site_a_dropout() {
    let shrink = |update: &File| update.set_len(100_000).unwrap();
    let says = "the pinned update cannot be masked any more";
    spoilt_amid_upload("updates", shrink, |proxy| proxy.cut(None), says).await;
}

/// No later try shows the difference: what is read again before the trailer does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_changes_while_its_update_is_sent_makes_its_site_a_dropout() {
    let change = |model: &File| {
        let last = model.metadata().unwrap().len() - 1;
        model.write_all_at(&[0x3f], last).unwrap();
    };
    let says = "the model of the round was changed on this disk";
    spoilt_amid_upload("models", change, Proxy::release, says).await;
}
