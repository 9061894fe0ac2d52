//! A whole round over the services, in which one holder releases what was not committed: what the coordinator keeps of it.

use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};
use veilsum_daemon::faults::kept;
use veilsum_proto::convert::fault;
use veilsum_proto::pb;
use veilsum_secagg::coordinator;
use veilsum_secagg::evidence::{CulpritKey, Evidence};
use veilsum_secagg::holder::{Attested, Idle, OpenedShares};
use veilsum_secagg::keys::{BindingClaim, Signature};
use veilsum_secagg::message::UnmaskList;
use veilsum_secagg::participant::{AwaitingRoster, Binding, Committed};

use super::kit::{Open, World, identity, seed, until};

/// What site `number` holds of the others, opened.
fn opened(open: &Open, number: usize) -> OpenedShares {
    let (attempt, who) = (&open.attempt, identity(number));
    let (roster, me) = (attempt.roster(), open.members[number].index);
    let binding = Binding {
        claim: BindingClaim {
            organisation: String::new(),
            site: String::new(),
            not_before: 0,
            not_after: 0,
        },
        scheme: 0,
        signature: Vec::new(),
        chain: Vec::new(),
    };
    let params = attempt.params();
    let waiting = AwaitingRoster::new(params, 1, &who, &binding, &seed("epoch", number)).0;
    let channels = waiting.accept(roster).unwrap();
    let inbound = channels.advance(attempt, me).unwrap().1.inbound;
    let dealt = Committed::new(Arc::clone(attempt), me, &seed("attempt", number)).unwrap();
    let round = open.run.round().unwrap();
    let round = round.read();
    let items = coordinator::share_items(attempt, round.commits(), me).unwrap();
    let (own, cohort) = (dealt.own_shares(), round.cohort().unwrap());
    OpenedShares::open(attempt, me, &inbound, own.as_ref(), cohort, &items).unwrap()
}

/// The site's word on the proposed survivors.
fn attested(open: &Open, number: usize, opened: &OpenedShares) -> Attested {
    let round = open.run.round().unwrap();
    let round = round.read();
    let items: Vec<_> = round.uploads().values().map(|upload| upload.item).collect();
    let (cohort, proposal) = (round.cohort().unwrap(), round.proposal().unwrap());
    let idle = Idle::new(Arc::clone(&open.attempt), open.members[number].index).unwrap();
    let verdict = idle.judge(cohort, opened, proposal, &items, None);
    idle.attest(verdict.unwrap())
}

/// Another first scalar, signed again: after the protocol, sections 3 and 5, since `secagg` signs no lies.
fn lie(number: usize, list: &mut UnmaskList) {
    let hash = |label: &str, parts: &[&[u8]]| -> [u8; 32] {
        let mut bytes = [b"veilsum/v1/", label.as_bytes(), &[0]].concat();
        for part in parts {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(*part);
        }
        Sha256::digest(bytes).into()
    };
    list.scalars[0][0] ^= 1;
    let position = list.position.to_le_bytes();
    let scalars = list.scalars.concat();
    let parts: [&[u8]; 3] = [&position, list.present.as_bytes(), &scalars];
    let signed = hash(
        "sig/unmask",
        &[&list.digest.0, &hash("unmask-list", &parts)],
    );
    let key = SigningKey::from_bytes(seed("identity", number).expose());
    list.signature = Signature(key.sign(&signed).to_bytes());
}

/// Everybody uploads, attests and releases; site 2 first, and wrongly.
async fn round_with_a_liar(open: &Open) {
    for member in &open.members {
        member.send(&member.upload(open, 1)).await.unwrap();
    }
    let round = open.run.round().unwrap();
    until(&open.run, |_| round.read().proposal().is_some()).await;
    let mut holders = Vec::new();
    for (number, member) in open.members.iter().enumerate() {
        let shares = opened(open, number);
        let signed = attested(open, number, &shares);
        let request = pb::AttestSurvivorsRequest {
            run_id: member.run_id.clone(),
            ann_hash: member.ann_hash.0.to_vec(),
            attestation: Some(signed.attestation(&identity(number)).into()),
        };
        let mut calls = member.calls.clone();
        calls.attest_survivors(request).await.unwrap();
        holders.push((number, shares, signed));
    }
    until(&open.run, |_| round.read().certificate().is_some()).await;
    let certificate = round.read().certificate().cloned().unwrap();
    holders.sort_by_key(|(number, ..)| *number != 2);
    for (number, shares, signed) in holders {
        let digest = certificate.digest;
        let certified = certificate.certify_survivors(&open.attempt, digest);
        let released = signed.release(certified.unwrap()).ok().unwrap();
        let mut list = released.unmask(&identity(number), &shares).unwrap();
        if number == 2 {
            lie(number, &mut list);
        }
        let member = &open.members[number];
        let request = pb::UnmaskRequest {
            run_id: member.run_id.clone(),
            ann_hash: member.ann_hash.0.to_vec(),
            list: Some(list.into()),
        };
        member.calls.clone().unmask(request).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_lies_in_a_release_leaves_one_fault_file_and_the_round_is_published() {
    let world = World::new(5);
    let open = world.commit(&world.submit(1).await).await;
    round_with_a_liar(&open).await;
    until(&open.run, |run| !run.run().read().history().is_empty()).await;
    assert_eq!(open.run.run().read().history().len(), 1);
    let files = kept(world.dir.path()).unwrap();
    let [file] = &files[..] else {
        panic!("{} files", files.len());
    };
    assert_eq!(file.run, open.run.spec().run_id().to_string());
    let evidence = fault::evidence(&file.bytes).unwrap();
    assert!(matches!(evidence, Evidence::WrongScalar(_)));
    let liar = CulpritKey::Member(identity(2).public());
    assert_eq!(evidence.verify().unwrap().culprit, liar);
}
