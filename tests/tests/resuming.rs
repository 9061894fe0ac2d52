//! Uploads that are cut between two messages, or whose site or coordinator is killed meanwhile: they go on with the parts that are
//! missing and the same bytes, and the sum is exact. And disks that are full on the way.
//!
//! A [`Proxy`] cuts after a number of messages, so that no test depends on how fast a machine is.

#![expect(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;

use prost::Message as _;
use veilsum_common::ids::RunId;
use veilsum_common::limits::PIECE_BYTES;
use veilsum_common::parts::{Parts, part_digest};
use veilsum_common::{RunSpec, Study as Parsed};
use veilsum_proto::pb;
use veilsum_proto::pb::submit_masked_request::Part;
use veilsum_proto::pb::submit_masked_response::Answer;
use veilsum_secagg::Digest;
use veilsum_tests::summands::{SMALL, below, counts, federation, is_the_mean_of};
use veilsum_tests::{Call, Federation, Moment, Proxy, Study, files, patiently};

const UPLOAD: Call = "SubmitMasked";

/// Three parts, the last one of two chunks.
const LARGE: usize = (2 * 32 + 1) * (1 << 18) + 1_000;

fn study(sites: u32) -> Study {
    let study = Study::of(sites, 1);
    Study { min: 3, ..study }
}

/// One in which somebody is given up.
fn impatient(sites: u32) -> Study {
    Study {
        report: "5s",
        ..study(sites)
    }
}

/// How the uploads of such a run are cut.
fn parts(study: Study, model: &[u8]) -> Parts {
    let study = Parsed::parse(&study.to_toml()).unwrap();
    let spec = RunSpec::from_study(&study, RunId::from_bytes([0; 16]), [1; 32], &model);
    Parts::of(spec.unwrap().params())
}

/// How many messages a part takes.
fn pieces(parts: Parts, part: u64) -> usize {
    let chunks = parts.chunks_of(part);
    chunks
        .map(|chunk| parts.chunk_bytes(chunk).div_ceil(PIECE_BYTES))
        .sum()
}

/// One call for an upload: what went out, and what came back.
struct Try {
    header: pb::UploadHeader,
    /// By part and offset.
    pieces: BTreeMap<(u64, u64), pb::UploadPiece>,
    trailer: Option<pb::UploadTrailer>,
    last: Part,
    have: Vec<u8>,
    kept: BTreeSet<u64>,
}

/// The uploads that a site tried, in order.
fn tries(proxy: &Proxy) -> Vec<Try> {
    let calls = proxy.sent();
    let uploads = calls.iter().filter(|call| call.call == UPLOAD);
    uploads
        .filter_map(|call| tried(&call.messages(), call.answers()))
        .collect()
}

fn tried(messages: &[bytes::Bytes], answers: Vec<Answer>) -> Option<Try> {
    let decoded = messages.iter().map(|message| {
        let message = pb::SubmitMaskedRequest::decode(&message[..]).unwrap();
        message.part.unwrap()
    });
    let mut parts = decoded.collect::<Vec<_>>().into_iter();
    let Some(Part::Header(header)) = parts.next() else {
        return None; // cut before its first message
    };
    let mut tried = Try {
        last: Part::Header(header.clone()),
        header,
        pieces: BTreeMap::new(),
        trailer: None,
        have: Vec::new(),
        kept: BTreeSet::new(),
    };
    for part in parts {
        tried.last = part.clone();
        match part {
            Part::Header(_) => panic!("a second header"),
            Part::Piece(piece) => {
                assert_eq!(tried.trailer, None, "a piece behind the trailer");
                let known = tried.pieces.insert((piece.part, piece.offset), piece);
                assert_eq!(known, None, "a piece twice in one call");
            }
            Part::Trailer(trailer) => tried.trailer = Some(trailer),
        }
    }
    for answer in answers {
        match answer {
            Answer::Status(status) => tried.have = status.have,
            Answer::Kept(kept) => drop(tried.kept.insert(kept.part)),
            Answer::Receipt(_) => {}
        }
    }
    Some(tried)
}

/// Whatever was said again was the same, and what was acknowledged was not said again.
fn said_the_same(tries: &[Try]) {
    let (mut known, mut durable) = (BTreeMap::new(), BTreeSet::<u64>::new());
    let trailers: Vec<_> = tries
        .iter()
        .filter_map(|tried| tried.trailer.clone())
        .collect();
    assert!(trailers.windows(2).all(|two| two[0] == two[1]));
    for tried in tries {
        assert_eq!(tried.header, tries[0].header);
        for (place, piece) in &tried.pieces {
            assert!(!durable.contains(&place.0), "part {} again", place.0);
            let first = known.entry(*place).or_insert_with(|| piece.clone());
            assert_eq!((&first.data, &first.digest), (&piece.data, &piece.digest));
        }
        durable.extend(&tried.kept);
    }
}

/// Waits until the coordinator has acknowledged a part in the last call.
async fn kept(proxy: &Proxy, part: u64) {
    patiently(&format!("part {part} is not acknowledged"), async {
        while !tries(proxy)
            .last()
            .is_some_and(|tried| tried.kept.contains(&part))
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t49_an_upload_that_is_cut_after_any_of_its_messages_goes_on_with_the_same_bytes() {
    let mut federation = federation(3, SMALL, "");
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold(UPLOAD, Moment::Sent(1));
    federation.start_all();
    let model = files::model(&vec![0.0; SMALL]);
    let run = federation.submit(&study(3).to_toml(), &model).await;
    let count = pieces(parts(study(3), &model), 0);
    for messages in 1..=count {
        proxy.reached().await;
        proxy.cut(Some((UPLOAD, Moment::Sent(messages + 1))));
    }
    proxy.reached().await; // the last piece has left
    kept(&proxy, 0).await;
    proxy.cut(Some((UPLOAD, Moment::Sent(2))));
    proxy.reached().await;
    let trailer = tries(&proxy).pop().unwrap().last;
    assert!(matches!(trailer, Part::Trailer(_)), "{trailer:?}");
    proxy.cut(None);
    let run = federation.completed(&run.run_id).await;
    let tries = tries(&proxy);
    assert!(tries.len() >= count + 2, "{}", tries.len());
    said_the_same(&tries);
    assert_eq!(counts(&run), [(3, 3)]);
    is_the_mean_of(
        &federation.model(&run.run_id, None).await,
        SMALL,
        &[0, 1, 2],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t49_of_an_upload_of_three_parts_no_acknowledged_one_is_sent_again_whoever_is_killed() {
    let mut federation = federation(3, LARGE, "");
    let proxy = Proxy::before(&federation, 0).await;
    let model = files::model(&vec![0.0; LARGE]);
    let cut = parts(study(3), &model);
    assert_eq!(cut.count(), 3);
    // the header, a whole part, and the first piece of the next one
    let amid = (UPLOAD, Moment::Sent(1 + pieces(cut, 0) + 1));
    proxy.hold(amid.0, amid.1);
    federation.start_all();
    let run = federation.submit(&study(3).to_toml(), &model).await;
    proxy.reached().await;
    kept(&proxy, 0).await;
    proxy.hold(amid.0, amid.1); // the next call as well
    federation.restart_coordinator();
    proxy.reached().await;
    kept(&proxy, 1).await;
    federation.kill_site(0);
    proxy.cut(None);
    federation.start_site(0);
    let run = federation.completed(&run.run_id).await;
    let tries = tries(&proxy);
    let have: Vec<_> = tries.iter().map(|tried| tried.have.clone()).collect();
    assert_eq!(have, [[0b000], [0b001], [0b011]]);
    said_the_same(&tries);
    assert_eq!(counts(&run), [(3, 3)]);
    is_the_mean_of(
        &federation.model(&run.run_id, None).await,
        LARGE,
        &[0, 1, 2],
    );
}

/// The uploads are being folded, or are folded already, each time that the coordinator dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_killed_while_it_folds_goes_on_where_it_was_and_loses_nobody() {
    let mut federation = federation(3, LARGE, "");
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold("AttestSurvivors", Moment::Before); // so that the round cannot end
    federation.start_all();
    let model = files::model(&vec![0.0; LARGE]);
    let run = federation.submit(&study(3).to_toml(), &model).await;
    proxy.reached().await;
    for _ in 0..3 {
        federation.restart_coordinator();
    }
    proxy.release();
    let run = federation.completed(&run.run_id).await;
    assert_eq!(counts(&run), [(3, 3)]);
    is_the_mean_of(
        &federation.model(&run.run_id, None).await,
        LARGE,
        &[0, 1, 2],
    );
}

/// T-49: the same cut, and a site that masks something else when it comes again: whole parts with their digests, under the same trailer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t49_without_the_same_bytes_after_a_cut_an_upload_does_not_count() {
    let mut federation = federation(4, SMALL, "");
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold(UPLOAD, Moment::Sent(2));
    federation.start_all();
    let model = files::model(&vec![0.0; SMALL]);
    let run = federation.submit(&impatient(4).to_toml(), &model).await;
    proxy.reached().await;
    let forged = Mutex::new(Forger::new(parts(impatient(4), &model)));
    proxy.forge(UPLOAD, move |message| forged.lock().unwrap().other(message));
    proxy.cut(None);
    let run = federation.completed(&run.run_id).await;
    federation
        .logged(
            "site-0",
            &["the upload was refused; this site is a dropout"],
        )
        .await;
    let tries = tries(&proxy);
    let place = (0, 0);
    assert_ne!(tries[0].pieces[&place].data, tries[1].pieces[&place].data);
    assert_eq!(tries[1].kept, BTreeSet::from([0]), "the part was whole");
    assert_eq!(counts(&run), [(4, 3)]);
    assert_eq!(run.history[0].dropped, ["site-0"]);
    is_the_mean_of(
        &federation.model(&run.run_id, None).await,
        SMALL,
        &[1, 2, 3],
    );
}

/// T-49: a resume that cannot send identical bytes is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t49_a_site_whose_pinned_update_changed_after_a_cut_says_no_more_and_is_a_dropout() {
    let mut federation = federation(4, SMALL, "");
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold(UPLOAD, Moment::Sent(2));
    federation.start_all();
    let model = files::model(&vec![0.0; SMALL]);
    let run = federation.submit(&impatient(4).to_toml(), &model).await;
    proxy.reached().await;
    let updates = federation.members[0].dir.join("data/updates");
    let [pinned] = &below(&updates.join(&run.run_id))[..] else {
        panic!("one update is pinned")
    };
    let mut bytes = fs::read(pinned).unwrap();
    let first = bytes.len() - 4 * SMALL;
    bytes[first + 3] ^= 1; // the element that has left already is four times itself
    fs::write(pinned, bytes).unwrap();
    proxy.cut(None);
    let run = federation.completed(&run.run_id).await;
    federation
        // Before its trailer, if the site has looked at the file by then, and else when it goes on after the cut.
        .logged("site-0", &["the pinned update cannot be masked any more"])
        .await;
    let tries = tries(&proxy);
    assert!(!tries[0].pieces.is_empty());
    for tried in &tries[1..] {
        assert!(matches!(tried.last, Part::Header(_)), "{:?}", tried.last);
    }
    assert_eq!(counts(&run), [(4, 3)]);
    is_the_mean_of(
        &federation.model(&run.run_id, None).await,
        SMALL,
        &[1, 2, 3],
    );
}

/// Far below a model and an upload of [`SMALL`], far above what a journal writes in one round.
const FULL_BYTES: u64 = 512 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_for_which_the_coordinator_has_no_room_is_put_off_and_nothing_else_is() {
    let mut federation = federation(3, SMALL, "");
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold(UPLOAD, Moment::Before);
    federation.start_all();
    let model = files::model(&vec![0.0; SMALL]);
    let run = federation.submit(&study(3).to_toml(), &model).await;
    let others = |run: &pb::Run| {
        let is = |site: &&pb::RoundParticipant| site.state() == pb::ParticipantState::Uploaded;
        run.participants.iter().filter(is).count() == 2
    };
    federation.wait(&run.run_id, others).await;
    let limit = |federation: &Federation, bytes| {
        federation.coordinator.as_ref().unwrap().limit_files(bytes);
    };
    limit(&federation, Some(FULL_BYTES));
    proxy.release();
    let full = "the coordinator's disk is full; its operator frees space, then send it again";
    federation.logged("site-0", &[full]).await;
    let waiting = federation.wait(&run.run_id, others).await;
    assert_eq!(waiting.state(), pb::RunState::Running);
    limit(&federation, None);
    let run = federation.completed(&run.run_id).await;
    said_the_same(&tries(&proxy));
    assert_eq!(counts(&run), [(3, 3)]);
    is_the_mean_of(
        &federation.model(&run.run_id, None).await,
        SMALL,
        &[0, 1, 2],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_without_room_for_the_model_sits_out_and_the_others_go_on() {
    let mut federation = federation(4, SMALL, "");
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold("FetchModel", Moment::Before);
    federation.start_all();
    let model = files::model(&vec![0.0; SMALL]);
    let run = federation.submit(&study(4).to_toml(), &model).await;
    proxy.reached().await;
    let site = federation.participants[0].as_ref().unwrap();
    site.limit_files(Some(FULL_BYTES));
    proxy.release();
    let says = ["the model cannot be used", "cannot write", "too large"];
    federation.logged("site-0", &says).await;
    let models = federation.members[0].dir.join("data/models");
    assert!(below(&models.join(&run.run_id)).is_empty());
    goes_on_without_the_first(&federation, &run).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_without_room_to_pin_its_update_sits_out_and_the_others_go_on() {
    let wait = "if [ -p go ]; then echo > started; read go < go; fi";
    let mut federation = federation(4, SMALL, wait);
    let dir = federation.members[0].dir.clone();
    let (started, go) = (
        files::pipe(&dir.join("started")),
        files::pipe(&dir.join("go")),
    );
    federation.start_all();
    let model = files::model(&vec![0.0; SMALL]);
    let run = federation.submit(&study(4).to_toml(), &model).await;
    started.read().await;
    let site = federation.participants[0].as_ref().unwrap();
    site.limit_files(Some(FULL_BYTES));
    // the trainer runs already: what it may write was settled when it began
    go.write().await;
    let says = ["the update is refused", "cannot write", "too large"];
    federation.logged("site-0", &says).await;
    let updates = dir.join("data/updates");
    assert!(below(&updates.join(&run.run_id)).is_empty());
    goes_on_without_the_first(&federation, &run).await;
}

async fn goes_on_without_the_first(federation: &Federation, run: &pb::Run) {
    let run = federation.completed(&run.run_id).await;
    assert_eq!(counts(&run), [(3, 3)]);
    let model = federation.model(&run.run_id, None).await;
    is_the_mean_of(&model, SMALL, &[1, 2, 3]);
}

/// Alters the first byte of an upload of one part, and makes its digest fit.
struct Forger {
    parts: Parts,
    bytes: Vec<u8>,
}

impl Forger {
    fn new(parts: Parts) -> Self {
        Self {
            parts,
            bytes: Vec::new(),
        }
    }

    fn other(&mut self, message: pb::SubmitMaskedRequest) -> pb::SubmitMaskedRequest {
        let part = message.part.map(|part| match part {
            Part::Piece(piece) => Part::Piece(self.piece(piece)),
            other => other,
        });
        pb::SubmitMaskedRequest { part }
    }

    fn piece(&mut self, mut piece: pb::UploadPiece) -> pb::UploadPiece {
        let mut data = piece.data.to_vec();
        if piece.offset == 0 {
            self.bytes.clear();
            data[0] ^= 1;
        }
        self.bytes.extend_from_slice(&data);
        piece.data = data.into();
        if !piece.digest.is_empty() {
            let mut rest = &self.bytes[..];
            let hashes: Vec<Digest> = (0..self.parts.chunks())
                .map(|chunk| {
                    let (chunk, later) = rest.split_at(self.parts.chunk_bytes(chunk));
                    rest = later;
                    Digest::of_bulk(chunk)
                })
                .collect();
            piece.digest = part_digest(&hashes).0.to_vec();
        }
        piece
    }
}
