//! What the coordinator takes from a site: each message wrong in one thing, and its sender named.

use std::collections::BTreeMap;

use super::certificates::{attestation, released};
use super::kit::{Round, Upload, World, certificate_of};
use crate::coordinator;
use crate::error::{Error, Fault};
use crate::message::{Attestation, Cohort, UploadHeader};
use crate::participant::chunk_root;
use crate::{Bitmap, Digest, labels};

fn by<T>(member: u32, fault: Fault) -> Result<T, Error> {
    Err(fault.by(member))
}

/// Six of seven sites in the cohort, everybody uploaded.
fn six_of_seven(world: &World) -> (Round<'_>, Cohort, BTreeMap<u32, Upload>) {
    let mut round = world.open();
    round.commit(0..6);
    let cohort = round.cohort();
    let uploads = round.uploads(&cohort, 0..6);
    (round, cohort, uploads)
}

#[test]
fn an_upload_has_the_cohorts_context_and_the_runs_shape() {
    let world = World::new(7);
    let (round, cohort, _) = six_of_seven(&world);
    let good = round.masking(2, &cohort).unwrap().header();
    let check = |member, header: UploadHeader| {
        coordinator::check_header(&round.attempt, &cohort, member, &header)
    };
    assert_eq!(check(2, good), Ok(()));
    let other = UploadHeader {
        ctx: Digest::ZERO,
        ..good
    };
    assert_eq!(check(2, other), by(2, Fault::Context("cohort")));
    let outside = Fault::Absent {
        what: "sender",
        index: 6,
    };
    assert_eq!(check(6, good), by(6, outside));
    let rule = |what, have, need| by(2, Fault::Rule { what, have, need });
    let other = UploadHeader {
        elements: 101,
        ..good
    };
    assert_eq!(check(2, other), rule("elements of the upload", 101, 100));
    let other = UploadHeader {
        ring_bits: 18,
        ..good
    };
    assert_eq!(check(2, other), rule("bits of an element", 18, 19));
    let other = UploadHeader {
        chunk_elems: 64,
        ..good
    };
    assert_eq!(check(2, other), rule("elements of a chunk", 64, 32));
}

#[test]
fn t32_a_trailer_covers_the_bytes_that_arrived() {
    let world = World::new(7);
    let (round, cohort, uploads) = six_of_seven(&world);
    let trailer = &uploads[&2].trailer;
    let check = |member, root: &Digest| {
        coordinator::check_trailer(&round.attempt, &cohort, member, root, trailer).map(drop)
    };
    assert_eq!(check(2, &trailer.chunk_root), Ok(()));
    assert_eq!(
        check(3, &trailer.chunk_root),
        by(3, Fault::Signature("upload")),
        "another's"
    );
    let outside = Fault::Absent {
        what: "sender",
        index: 6,
    };
    assert_eq!(check(6, &trailer.chunk_root), by(6, outside));
    let mut hashes: Vec<_> = uploads[&2]
        .chunks
        .iter()
        .map(|chunk| Digest::of_bulk(chunk))
        .collect();
    hashes.swap(0, 1);
    let swapped = chunk_root(&hashes).unwrap();
    assert_eq!(check(2, &swapped), by(2, Fault::Root("uploaded chunks")));
    hashes.pop();
    assert_eq!(
        check(2, &chunk_root(&hashes).unwrap()),
        by(2, Fault::Root("uploaded chunks"))
    );
    assert_eq!(chunk_root(&[]), None);
}

#[test]
fn survivors_are_sorted_whatever_the_order_of_arrival() {
    let world = World::new(7);
    let (round, cohort, uploads) = six_of_seven(&world);
    let mut items: Vec<_> = uploads.values().map(|upload| upload.item).collect();
    let proposal = round.propose(&cohort, &items).unwrap();
    items.reverse();
    assert_eq!(round.propose(&cohort, &items).unwrap(), proposal);
    items.truncate(4);
    assert_eq!(
        round
            .propose(&cohort, &items)
            .err()
            .map(|error| error.culprits()),
        Some(None),
        "nobody's fault"
    );
}

#[test]
fn an_attestation_is_the_holders_own_and_about_this_set() {
    let world = World::new(7);
    let (round, cohort, uploads) = six_of_seven(&world);
    let items: Vec<_> = uploads.values().map(|upload| upload.item).collect();
    let proposal = round.propose(&cohort, &items).unwrap();
    let good = attestation(&round, 2, &cohort, &proposal);
    let check = |holder, attestation: &Attestation| {
        coordinator::check_attestation(&round.attempt, &proposal.digest(), holder, attestation)
    };
    assert_eq!(check(2, &good), Ok(()));
    assert_eq!(
        check(3, &good),
        by(
            3,
            Fault::Absent {
                what: "holder position",
                index: 3
            }
        )
    );
    let other = Attestation {
        digest: Digest::ZERO,
        ..good.clone()
    };
    assert_eq!(check(2, &other), by(2, Fault::Context("survivor set")));
    let other = Attestation {
        signature: good.sig_complaint,
        ..good.clone()
    };
    assert_eq!(check(2, &other), by(2, Fault::Signature("survivor set")));
    let other = Attestation {
        complaints: Bitmap::of(7, [4]),
        ..good.clone()
    };
    assert_eq!(
        check(2, &other),
        by(2, Fault::Signature("complaint")),
        "a complaint it did not sign"
    );
    let complaints = Bitmap::empty(15);
    let parts: [&[u8]; 2] = [&proposal.digest().0, complaints.as_bytes()];
    let sig_complaint = round.identity(2).sign(labels::SIG_COMPLAINT, &parts);
    let other = Attestation {
        complaints,
        sig_complaint,
        ..good
    };
    assert_eq!(
        check(2, &other),
        by(2, Fault::Context("roster")),
        "a set over another roster"
    );
}

#[test]
fn an_unmask_list_is_about_this_set_and_this_cohort() {
    let world = World::new(7);
    let (round, cohort, uploads) = six_of_seven(&world);
    let items: Vec<_> = uploads.values().map(|upload| upload.item).collect();
    let proposal = round.propose(&cohort, &items).unwrap();
    let signed: Vec<_> = (0..5)
        .map(|h| attestation(&round, h, &cohort, &proposal))
        .collect();
    let certificate = certificate_of(&signed);
    let good = round.list(
        2,
        &released(&round, 2, &cohort, &proposal, &certificate),
        &cohort,
    );
    let check = |list: &crate::message::UnmaskList| {
        coordinator::check_unmask(&round.attempt, &cohort, &proposal.digest(), 2, list)
    };
    assert_eq!(check(&good), Ok(()));
    let mut other = good.clone();
    other.digest = Digest::ZERO;
    assert_eq!(check(&other), by(2, Fault::Context("survivor set")));
    other = good.clone();
    other.present.insert(6);
    other.scalars.push([0; 32]);
    round.resign(2, &mut other);
    assert_eq!(
        check(&other),
        by(2, Fault::Order("members of the unmask list")),
        "6 is not in the cohort"
    );
    other = good;
    other.present.remove(5);
    assert_eq!(
        check(&other),
        by(
            2,
            Fault::Length {
                what: "unmask list",
                have: 6,
                need: 5
            }
        )
    );
}

#[test]
fn an_abort_is_for_this_announcement() {
    let world = World::new(7);
    let round = world.open();
    let good = round.idle(2).abort().attestation(round.identity(2));
    let check = |abort| coordinator::check_abort(&round.attempt, 2, &abort);
    assert_eq!(check(good), Ok(()));
    let mut other = good;
    other.ann_hash = Digest::ZERO;
    other.signature = round
        .identity(2)
        .sign(labels::SIG_ABORT, &[&Digest::ZERO.0]);
    assert_eq!(check(other), by(2, Fault::Context("announcement")));
    other = good;
    other.signature = round
        .identity(3)
        .sign(labels::SIG_ABORT, &[&good.ann_hash.0]);
    assert_eq!(check(other), by(2, Fault::Signature("abort")));
}
