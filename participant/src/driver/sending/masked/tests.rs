use std::fs;
use std::path::PathBuf;

use safetensors::tensor::Dtype;
use tempfile::TempDir;
use veilsum_common::{RunId, Study};
use veilsum_secagg::Bitmap;
use veilsum_secagg::context::{Attempt, Roster};
use veilsum_secagg::coordinator::{self, Commits};
use veilsum_secagg::keys::BindingClaim;
use veilsum_secagg::message::Announcement;
use veilsum_secagg::params::round_config_hash;
use veilsum_secagg::participant::{AwaitingRoster, Binding, Committed};
use veilsum_secagg::ring::{centred, unpack};

use tokio::task::spawn_blocking;

use super::*;
use crate::test_support::{f32s, file};
use crate::trainer::WorkDir;
use crate::update::Expected;

const STUDY: &str = r#"
schema = "veilsum.study/v1"
name = "long"
[rounds]
count = 1
cohort = { min = 3, target = 3 }
join_timeout = "1m"
report_timeout = "1m"
[secagg]
clip = { kind = "l2", value = 100.0 }
weight = { by = "uniform", max = 1 }
[model]
initial = "init.safetensors"
"#;

/// A part is full, and the next one has a chunk that is not.
const TWO_PARTS: usize = 32 * (1 << 18) + 1_000;
/// Two chunks.
const ONE_PART: usize = (1 << 18) + 1_000;

/// A site that has pinned an update.
struct Pinned {
    dir: TempDir,
    spec: Arc<RunSpec>,
    model: PathBuf,
    contribution: Contribution,
}

impl Pinned {
    fn new(elements: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = file(
            &[("w", Dtype::F32, &[elements], vec![0; 4 * elements])],
            None,
        );
        let study = Study::parse(STUDY).unwrap();
        let run_id = RunId::from_bytes([7; 16]);
        let coordinator = *identity(99).public().as_bytes();
        let spec = RunSpec::from_study(&study, run_id, coordinator, &model).unwrap();
        let path = dir.path().join("model");
        fs::write(&path, &model).unwrap();

        let work = dir.path().join("work");
        fs::create_dir(&work).unwrap();
        let workdir = WorkDir::at(work);
        let steps: Vec<f32> = (0..251).map(|k: u8| f32::from(k) / 1_000.0).collect();
        let update: Vec<f32> = steps.into_iter().cycle().take(elements).collect();
        let update = file(&[("w", Dtype::F32, &[elements], f32s(&update))], None);
        fs::write(workdir.update(), update).unwrap();
        fs::write(workdir.result(), r#"{"num_examples": 1}"#).unwrap();
        let updates = Updates::open(dir.path(), &run_id).unwrap();
        let expected = Expected {
            run: &spec,
            global: &model,
            max_update_bytes: 1 << 30,
        };
        let pinned = updates.pin(&workdir, expected).unwrap();
        Self {
            contribution: Contribution {
                round: 1,
                model_hash: Digest::of_bulk(&model),
                roundcfg_hash: round_config_hash(&spec.round_config_bytes(1)),
                update: pinned.blob,
                weight: pinned.weight,
                metadata: pinned.metadata,
            },
            spec: Arc::new(spec),
            model: path,
            dir,
        }
    }

    /// What a daemon has that comes to upload: the same each time it is started.
    fn masked(&self) -> Masked {
        let origin = Origin {
            spec: Arc::clone(&self.spec),
            identity: Arc::new(identity(1)),
            updates: Arc::new(Updates::open(self.dir.path(), &self.spec.run_id()).unwrap()),
            masking: masking(&self.spec, self.contribution.model_hash),
            contribution: self.contribution.clone(),
            rounding: Seed::new([8; 32]),
        };
        let model = Arc::new(Reading::open(&self.model).unwrap());
        Masked::open(origin, model).ok().unwrap()
    }

    fn parts(&self) -> Parts {
        Parts::of(self.spec.params())
    }

    /// The file that was pinned.
    fn update(&self) -> fs::File {
        let path = self
            .dir
            .path()
            .join("updates")
            .join(self.spec.run_id().to_string())
            .join(format!("{}.safetensors", self.contribution.update.digest));
        fs::File::options().write(true).open(path).unwrap()
    }
}

fn identity(number: u8) -> Identity {
    Identity::from_seed(&Seed::new([number; 32]))
}

/// What the first of three sites masks with, all of whom committed.
fn masking(spec: &RunSpec, model_hash: Digest) -> Masking {
    let params = Arc::new(spec.params().clone());
    let mut identities: Vec<_> = (1..=3).map(identity).collect();
    identities.sort_by_key(|identity| identity.public().id());
    let joined = identities.iter().map(|who| {
        let claim = BindingClaim {
            organisation: "org".into(),
            site: "site".into(),
            not_before: 0,
            not_after: 1 << 40,
        };
        let binding = Binding {
            claim,
            scheme: 0x0807,
            signature: Vec::new(),
            chain: Vec::new(),
        };
        let seed = Seed::new(*who.public().as_bytes());
        AwaitingRoster::new(&params, 1, who, &binding, &seed)
    });
    let (waiting, advertisements): (Vec<_>, Vec<_>) = joined.unzip();
    let roster = Arc::new(Roster::new(Arc::clone(&params), 1, &advertisements).unwrap());
    let announcement = Announcement {
        epoch_ctx: roster.ctx(),
        round: 1,
        seq: 1,
        retry_of: Digest::ZERO,
        model_hash,
        prev_result_hash: Digest::ZERO,
        roundcfg_hash: round_config_hash(&spec.round_config_bytes(1)),
        holders: Bitmap::full(3),
        threshold: params.threshold(3, 3),
        commit_by_ms: 1,
        submit_by_ms: 2,
        expires_ms: 3,
    };
    let attempt = Arc::new(Attempt::new(roster, announcement).unwrap());
    let (mut states, mut commits) = (Vec::new(), Commits::new());
    for ((me, waiting), who) in (0..).zip(waiting).zip(&identities) {
        let channels = waiting.accept(attempt.roster()).unwrap();
        let keys = channels.advance(&attempt, me).unwrap().1;
        let seed = Seed::new(Digest::of_bulk(who.public().as_bytes()).0);
        let state = Committed::new(Arc::clone(&attempt), me, &seed).unwrap();
        commits.insert(me, state.commit(who, &keys.outbound).unwrap());
        states.push(state);
    }
    let cohort = coordinator::close_cohort(&attempt, &commits).unwrap();
    let mine = identities
        .iter()
        .position(|who| who.public() == identity(1).public());
    let me = u32::try_from(mine.unwrap()).unwrap();
    let near = coordinator::neighbourhood(&attempt, &commits, me).unwrap();
    states
        .swap_remove(mine.unwrap())
        .accept(&cohort, &near)
        .unwrap()
}

/// Sends what `have` lacks, with room for one message on the way; `hears` may end the call by `false`.
fn send(
    masked: &mut Masked,
    have: &[u8],
    mut hears: impl FnMut(&Part) -> bool,
) -> (Result<Sent, Fault>, Vec<Part>) {
    let (sender, mut outgoing) = mpsc::channel(1);
    let (_call, over) = watch::channel(());
    let messages = Messages { sender, over };
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    std::thread::scope(|scope| {
        let inside = runtime.handle().clone();
        let sending = scope.spawn(move || {
            let _inside = inside.enter();
            masked.send(have, &messages)
        });
        let mut heard = Vec::new();
        while let Some(message) = outgoing.blocking_recv() {
            let part = message.part.unwrap();
            let goes_on = hears(&part);
            heard.push(part);
            if !goes_on {
                break;
            }
        }
        drop(outgoing);
        (sending.join().unwrap(), heard)
    })
}

/// A part as it was heard: its number, its bytes, its digest.
type Heard = (u64, Vec<u8>, Digest);

/// Sends all of it to somebody who hears all of it: the parts, and the trailer with the hash it signs.
fn sent(masked: &mut Masked, have: &[u8]) -> (Vec<Heard>, (pb::UploadTrailer, Digest)) {
    let (sent, mut heard) = send(masked, have, |_| true);
    let (hash, _) = sent.unwrap();
    let Some(Part::Trailer(trailer)) = heard.pop() else {
        panic!("the trailer is the last message")
    };
    let mut parts: Vec<Heard> = Vec::new();
    for piece in heard {
        let Part::Piece(piece) = piece else {
            panic!("only pieces come before it")
        };
        if piece.offset == 0 {
            parts.push((piece.part, Vec::new(), Digest::ZERO));
        }
        let (part, bytes, digest) = parts.last_mut().unwrap();
        assert_eq!((piece.part, piece.offset), (*part, bytes.len() as u64));
        assert!(piece.data.len() <= PIECE_BYTES);
        assert_eq!(*digest, Digest::ZERO, "only the last piece has the digest");
        bytes.extend_from_slice(&piece.data);
        if !piece.digest.is_empty() {
            *digest = Digest(piece.digest.try_into().unwrap());
        }
    }
    (parts, (trailer, hash))
}

#[test]
fn t49_whatever_is_missing_the_bytes_of_a_part_and_the_trailer_are_the_same() {
    let pinned = Pinned::new(TWO_PARTS);
    let cut = pinned.parts();
    let (all, trailer) = sent(&mut pinned.masked(), &[0b00]);
    let bytes: Vec<u64> = all.iter().map(|(_, bytes, _)| bytes.len() as u64).collect();
    assert_eq!(bytes, [cut.part_bytes(0), cut.part_bytes(1)]);
    for (part, bytes, digest) in &all {
        let mut rest = &bytes[..];
        let hashes = cut.chunks_of(*part).map(|chunk| {
            let (chunk, later) = rest.split_at(cut.chunk_bytes(chunk));
            rest = later;
            Digest::of_bulk(chunk)
        });
        assert_eq!(part_digest(&hashes.collect::<Vec<_>>()), *digest);
    }
    let mut same = pinned.masked();
    for (have, missing) in [(0b10, 0..1), (0b01, 1..2), (0b11, 2..2)] {
        // a daemon that goes on, and one that was started again
        let mut other = pinned.masked();
        for masked in [&mut same, &mut other] {
            let (parts, again) = sent(masked, &[have]);
            assert!(parts == all[missing.clone()], "{have:b}");
            assert_eq!(again, trailer);
        }
    }
}

#[test]
fn a_bitmap_of_another_length_says_nothing_of_parts_that_are_not_in_it() {
    let pinned = Pinned::new(ONE_PART);
    let mut masked = pinned.masked();
    let numbers =
        |parts: Vec<Heard>| -> Vec<u64> { parts.into_iter().map(|(part, ..)| part).collect() };
    assert_eq!(numbers(sent(&mut masked, &[]).0), [0]);
    assert!(sent(&mut masked, &[0xff; 1000]).0.is_empty());
    assert_eq!(numbers(sent(&mut masked, &[0xfe; 1000]).0), [0]);
}

#[test]
fn t49_an_update_that_changes_or_shrinks_while_it_is_sent_gives_no_trailer() {
    use std::os::unix::fs::FileExt as _;
    let spoil: [fn(&fs::File); 3] = [
        |update| update.write_all_at(&[1], 4 * ONE_PART as u64).unwrap(),
        |update| update.set_len(4 * ONE_PART as u64).unwrap(),
        |update| update.set_len(0).unwrap(),
    ];
    for spoil in spoil {
        let pinned = Pinned::new(ONE_PART);
        let (result, heard) = send(&mut pinned.masked(), &[], |_| {
            spoil(&pinned.update());
            true
        });
        let fault = result.unwrap_err();
        let changed = matches!(fault, Fault::Update(UpdateError::Changed { .. }));
        assert!(changed || matches!(fault, Fault::Model(_)), "{fault}");
        assert!(!heard.iter().any(|part| matches!(part, Part::Trailer(_))));
    }
}

/// What was read of another model is another vector than the site trained: nobody may vouch for it, although no byte of it was sent before.
#[test]
fn a_model_that_changes_or_shrinks_while_an_update_is_masked_against_it_gives_no_trailer() {
    use std::os::unix::fs::FileExt as _;
    let spoil: [fn(&fs::File); 3] = [
        |model| model.write_all_at(&[1], 4 * ONE_PART as u64).unwrap(),
        |model| model.set_len(4 * ONE_PART as u64).unwrap(),
        |model| model.set_len(0).unwrap(),
    ];
    for spoil in spoil {
        let pinned = Pinned::new(ONE_PART);
        let mut masked = pinned.masked(); // which has found both files to be what they were
        spoil(&fs::File::options().write(true).open(&pinned.model).unwrap());
        let (result, heard) = send(&mut masked, &[], |_| true);
        let fault = result.unwrap_err();
        let noticed = matches!(fault, Fault::ModelChanged | Fault::Model(_));
        assert!(noticed, "{fault}");
        assert!(!heard.iter().any(|part| matches!(part, Part::Trailer(_))));
    }
}

/// The bytes of the first try are out: those of another update under the same mask would show how the two differ.
#[test]
fn t49_what_would_be_other_bytes_than_in_the_try_before_does_not_leave() {
    use std::os::unix::fs::FileExt as _;
    let pinned = Pinned::new(ONE_PART);
    let mut masked = pinned.masked();
    let (cut, _) = send(&mut masked, &[], |_| false);
    assert!(matches!(cut, Err(Fault::HungUp)));
    pinned.update().write_all_at(&[0; 64], 1_000).unwrap();
    let (result, heard) = send(&mut masked, &[], |_| true);
    let differs = matches!(result, Err(Fault::Differs { .. }));
    assert!(differs && heard.is_empty(), "{} messages", heard.len());
}

/// The difference of two tries is the difference of the updates, with nothing to hide it.
#[test]
fn t49_without_the_same_bytes_the_second_try_shows_how_two_updates_differ() {
    let pinned = Pinned::new(ONE_PART);
    let masked = pinned.masked();
    let bits = pinned.spec.params().config().m;
    let len = pinned.parts().chunk_len(1);
    let updates: [Vec<i64>; 2] = [3, 5].map(|step| (0..i64::from(len)).map(|k| k % step).collect());
    let lanes = updates.each_ref().map(|update| {
        let packed = masked.origin.masking.chunk(1, update);
        let mut lanes = Vec::new();
        unpack(&packed, bits, len, |_, lane| lanes.push(lane)).unwrap();
        lanes
    });
    let ring = 1_u64 << bits;
    let shown = lanes[0].iter().zip(&lanes[1]);
    let shown = shown.map(|(one, other)| centred(one.wrapping_sub(*other) % ring, bits));
    let hidden = updates[0].iter().zip(&updates[1]);
    assert!(shown.eq(hidden.map(|(one, other)| one - other)));
}

#[test]
fn no_more_is_read_than_the_network_takes() {
    let pinned = Pinned::new(TWO_PARTS);
    let half = 4 * TWO_PARTS as u64 / 2;
    let mut masked = pinned.masked();
    let mut first = true;
    let (result, heard) = send(&mut masked, &[], |_| {
        if std::mem::take(&mut first) {
            pinned.update().set_len(half).unwrap();
        }
        true
    });
    // What lies behind the half was not in memory when the first piece left.
    assert!(matches!(result, Err(Fault::Model(_))), "{:?}", result.err());
    let bytes: u64 = heard
        .iter()
        .map(|part| match part {
            Part::Piece(piece) => piece.data.len() as u64,
            _ => 0,
        })
        .sum();
    assert!(bytes < pinned.parts().total_bytes() * 5 / 8, "{bytes}");
}

#[test]
fn a_chunk_that_comes_out_differently_does_not_leave() {
    let (first, other) = (Digest([1; 32]), Digest([2; 32]));
    let mut made = Hashes(vec![None; 2]);
    assert!(made.note(0, first).unwrap(), "for the first time");
    assert!(!made.note(0, first).unwrap(), "the same again");
    let differs = made.note(0, other);
    assert!(matches!(differs, Err(Fault::Differs { chunk: 0 })));
    let differs = made.note(0, other);
    assert!(
        matches!(differs, Err(Fault::Differs { chunk: 0 })),
        "the first one counts, however often another one comes"
    );
    assert!(made.has(0) && !made.has(1));
    assert_eq!(made.all(), None);
    assert!(made.note(1, other).unwrap());
    assert_eq!(made.all(), Some(vec![first, other]));
}

#[tokio::test]
async fn whoever_makes_pieces_ends_with_the_call_although_nobody_reads_them() {
    let (sender, unread) = mpsc::channel(1);
    let (call, over) = watch::channel(());
    let messages = Messages { sender, over };
    let (begun, began) = tokio::sync::oneshot::channel();
    let making = spawn_blocking(move || {
        let message = pb::SubmitMaskedRequest { part: None };
        messages.send(message.clone()).unwrap();
        begun.send(()).unwrap();
        messages.send(message)
    });
    began.await.unwrap();
    drop(call);
    let limit = std::time::Duration::from_secs(20);
    let ended = tokio::time::timeout(limit, making).await;
    let ended = ended.expect("the call is over").unwrap();
    assert!(matches!(ended, Err(Fault::HungUp)));
    drop(unread);
}
