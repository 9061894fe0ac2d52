//! Masked uploads: late, twice, or altered on the way.

use crate::coordinator;
use crate::error::Fault;
use crate::keys::Signature;
use crate::message::{Cohort, UploadTrailer};
use crate::params::RunConfig;
use crate::participant::{chunk_root, upload_hash};
use crate::ring;
use crate::tests::kit::adversary::{Values, joined};
use crate::tests::kit::{self, Round, Upload, World};
use crate::tests::masks::{chi_square, correlation};
use crate::{Bitmap, Digest, labels};

/// A round of five with 2^16 elements in which site 3 is declared dropped; its upload comes afterwards.
fn late() -> World {
    let config = RunConfig {
        elements: 1 << 16,
        chunk_elems: 1 << 16,
        ..kit::config(5)
    };
    World::with(5, config, 1)
}

const LATE: u32 = 3;

/// The late upload without every mask that the released e of its sender explains, and, if it came out, its b.
fn combined(round: &Round<'_>, cohort: &Cohort, b: Option<crate::shamir::SecretScalar>) -> Values {
    let items = round.items(cohort, [0, 1, 2, 4]);
    let (_, lists) = round.lists(cohort, &items);
    let k = joined(lists.values(), LATE);
    assert!(k == *round.dealing(LATE).f_k.secret(), "e is revealed");
    let zero = crate::shamir::SecretScalar::parse(&[0; 32]).unwrap();
    round.exposed(LATE, cohort, &[b.unwrap_or(zero), k])
}

#[test]
fn t18_a_dropouts_late_upload_is_uniform_although_its_mask_key_is_revealed() {
    let world = late();
    let mut round = world.open();
    let cohort = round.commit_all();
    let (lanes, _) = combined(&round, &cohort, None);
    let update = &round.updates[LATE as usize];
    assert!(chi_square(&lanes, world.params().config().m) < 400.0);
    assert!(
        chi_square(update, world.params().config().m) > 10_000.0,
        "the control"
    );
    assert!(correlation(&lanes, update).abs() < 5.0 / 256.0);
}

/// The holders release b as well, for a second set in which the late site counts.
#[test]
fn t18_without_holding_b_back_the_late_upload_is_exposed() {
    let world = late();
    let mut round = world.open();
    let cohort = round.commit_all();
    let items = round.items(&cohort, 0..5);
    let (_, lists) = round.lists(&cohort, &items);
    let b = joined(lists.values(), LATE);
    assert_eq!(combined(&round, &cohort, Some(b)), round.hidden(LATE));
}

/// Checks an upload as the coordinator does: every chunk's length and padding, then the trailer over what arrived.
fn accepted(round: &Round<'_>, cohort: &Cohort, i: u32, upload: &Upload) -> Result<Digest, Fault> {
    let params = round.world.params();
    for (chunk, bytes) in (0..).zip(&upload.chunks) {
        ring::check_packed(bytes, params.config().m, params.chunk_len(chunk))?;
    }
    let hashes: Vec<_> = upload.chunks.iter().map(|c| Digest::of_bulk(c)).collect();
    let root = chunk_root(&hashes).ok_or(Fault::Root("uploaded chunks"))?;
    let checked = coordinator::check_trailer(&round.attempt, cohort, i, &root, &upload.trailer);
    checked.map_err(|error| match error {
        crate::Error::PeerMisbehaved { culprit, fault } => {
            assert_eq!(culprit, crate::Culprit::Member(i));
            fault
        }
        other => panic!("{other}"),
    })
}

#[test]
fn t32_wrong_extra_or_overlapping_chunks_make_their_sender_a_dropout() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let refused = |change: &dyn Fn(&mut Upload)| {
        let mut upload = round.upload(2, &cohort);
        change(&mut upload);
        accepted(&round, &cohort, 2, &upload).unwrap_err()
    };
    let root = Fault::Root("uploaded chunks");
    let length = |have, need| Fault::Length {
        what: "packed chunk",
        have,
        need,
    };
    // 32 elements of 19 bits, three times, and four more: 76 bytes and 10.
    assert_eq!(refused(&|u| u.chunks[0].truncate(75)), length(75, 76));
    assert_eq!(refused(&|u| u.chunks[3].push(0)), length(11, 10));
    assert_eq!(
        refused(&|u| u.chunks.push(u.chunks[3].clone())),
        length(10, 0)
    );
    assert_eq!(
        refused(&|u| u.chunks.push(Vec::new())),
        root,
        "an empty one more"
    );
    assert_eq!(
        refused(&|u| u.chunks[1] = u.chunks[0].clone()),
        root,
        "one twice"
    );
    assert_eq!(refused(&|u| u.chunks.swap(0, 1)), root);
    assert_eq!(refused(&|u| u.chunks[1][0] ^= 1), root, "one bit");
    assert_eq!(refused(&|u| drop(u.chunks.pop())), root);
    assert_eq!(refused(&|u| u.chunks.clear()), root);
    let overlapping = |u: &mut Upload| {
        // the last 8 elements of the first chunk again at the beginning of the second
        let (before, again) = (u.chunks[0][57..].to_vec(), u.chunks[1][..57].to_vec());
        u.chunks[1] = [before, again].concat();
    };
    assert_eq!(refused(&overlapping), root);
    assert_eq!(refused(&|u| u.chunks[3][9] |= 0x80), Fault::Padding);
    assert_eq!(refused(&|u| u.trailer.chunk_root.0[0] ^= 1), root);
    let unsigned = Fault::Signature("upload");
    assert_eq!(
        refused(&|u| u.trailer.signature = Signature([0; 64])),
        unsigned
    );
    let other = round.upload(3, &cohort).trailer.signature;
    assert_eq!(refused(&|u| u.trailer.signature = other), unsigned);

    assert!(
        accepted(&round, &cohort, 2, &round.upload(2, &cohort)).is_ok(),
        "the control"
    );
    let plan = kit::Plan {
        dropped: [2].into(),
        ..kit::Plan::default()
    };
    let outcome = kit::run(&mut world.open(), &plan).unwrap();
    assert_eq!(outcome.sum, round.plain(&Bitmap::of(5, [0, 1, 3, 4])));
}

/// Everybody's upload is unmasked as it should be, and one of them is replaced by what `alter` makes of it.
fn sum_with(round: &Round<'_>, cohort: &Cohort, alter: impl FnOnce(&mut Upload)) -> Values {
    let mut uploads = round.uploads(cohort, 0..5);
    let items: Vec<_> = uploads.values().map(|upload| upload.item).collect();
    let (proposal, lists) = round.lists(cohort, &items);
    alter(uploads.get_mut(&2).unwrap());
    let survivors = &proposal.survivors;
    let unmasked =
        coordinator::unmask(&round.attempt, cohort, survivors, &round.commits, &lists).unwrap();
    round.sum(&uploads, survivors, &unmasked.masks)
}

#[test]
fn t32_without_the_trailers_root_somebody_on_the_way_adds_what_it_likes() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let (mut plain, metadata) = round.plain(&Bitmap::full(5));
    let sum = sum_with(&round, &cohort, |upload| upload.chunks[0][0] ^= 1);
    assert_eq!(
        plain[0].abs_diff(sum.0[0]),
        1,
        "one unit, in the site's name"
    );
    plain[0] = sum.0[0];
    assert_eq!(sum, (plain, metadata));
}

#[test]
fn t33_a_second_upload_of_a_site_stands_in_no_survivor_set_that_is_signed() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let first = round.items(&cohort, 0..5);
    round.updates[2][0] += 1;
    let second = round.items(&cohort, [2])[0];
    assert_ne!(first[2].upload_hash, second.upload_hash);

    let both = [&first[..3], &[second], &first[3..]].concat();
    let proposal = round.propose(&cohort, &first).unwrap();
    let judged = round.judge(1, &cohort, &proposal, &both).map(drop);
    assert_eq!(judged, Err(Fault::Order("survivor items").by_coordinator()));
    let mut exchanged = first.clone();
    exchanged[2] = second;
    let judged = round.judge(1, &cohort, &proposal, &exchanged).map(drop);
    assert_eq!(judged, Err(Fault::Root("survivor items").by_coordinator()));
    let proposal = round.propose(&cohort, &exchanged).unwrap();
    let opened = round.opened(2, &cohort).unwrap();
    let own = Some((2, first[2].upload_hash));
    let judged = round
        .idle(2)
        .judge(&cohort, &opened, &proposal, &exchanged, own);
    assert_eq!(
        judged.map(drop),
        Err(Fault::Context("upload of this site").by_coordinator()),
        "the site itself signs only the set with the upload on its record"
    );
}

/// One Masking that is asked for two vectors: the masks are the same, and their difference is plain.
#[test]
fn t33_without_the_pin_two_uploads_differ_by_the_plain_difference() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let masking = round.masking(2, &cohort).unwrap();
    let (bits, update) = (world.params().config().m, &round.updates[2][..32]);
    let lanes = |vector: &[i64]| {
        let mut lanes = vec![0; 32];
        let bytes = masking.chunk(0, vector);
        ring::unpack(&bytes, bits, 32, |k, value| lanes[k] = value).unwrap();
        lanes
    };
    let (masked, masks) = (lanes(update), lanes(&[0; 32]));
    let differ = |(a, b): (&u64, &u64)| ring::centred(a.wrapping_sub(*b), bits);
    assert!(
        masked
            .iter()
            .zip(&masks)
            .map(differ)
            .eq(update.iter().copied())
    );
}

#[test]
fn t65_metadata_that_is_not_what_the_trailer_signed_is_refused() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let upload = round.upload(2, &cohort);
    let mut trailer = upload.trailer.clone();
    let check = |trailer: &UploadTrailer| {
        let root = upload.trailer.chunk_root;
        coordinator::check_trailer(&round.attempt, &cohort, 2, &root, trailer)
    };
    assert_eq!(check(&trailer), Ok(upload.item.upload_hash), "the control");
    for byte in 0..trailer.metadata.len() {
        trailer.metadata[byte] ^= 1;
        assert_eq!(
            check(&trailer),
            Err(Fault::Signature("upload").by(2)),
            "byte {byte}"
        );
        let root = trailer.chunk_root;
        let hash = upload_hash(&round.attempt, &cohort.ctx(), 2, &root, &trailer.metadata);
        assert_ne!(hash.unwrap(), upload.item.upload_hash);
        trailer.metadata[byte] ^= 1;
    }
    trailer.metadata = round.upload(3, &cohort).trailer.metadata;
    assert_eq!(
        check(&trailer),
        Err(Fault::Signature("upload").by(2)),
        "another's"
    );
}

/// A trailer that signs the chunks alone: whoever carries it adds a thousand examples to the site's weight.
#[test]
fn t65_without_metadata_under_the_signature_weights_are_forged() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let chunks_alone = |upload: &Upload| {
        let parts: [&[u8]; 2] = [&cohort.ctx().0, &upload.trailer.chunk_root.0];
        let signature = round.identity(2).sign(labels::SIG_UPLOAD, &parts);
        round
            .identity(2)
            .public()
            .verifies(&signature, labels::SIG_UPLOAD, &parts)
    };
    let sum = sum_with(&round, &cohort, |upload| {
        let lane = upload.trailer.metadata.first_chunk_mut::<8>().unwrap();
        *lane = u64::from_le_bytes(*lane).wrapping_add(1000).to_le_bytes();
        assert!(chunks_alone(upload), "such a signature still verifies");
    });
    let (model, mut metadata) = round.plain(&Bitmap::full(5));
    metadata[0] += 1000;
    assert_eq!(sum, (model, metadata));
}
