//! Holders that sign twice, say nothing, lose what they must keep, or cannot use what they were dealt.

use std::collections::BTreeMap;

use veilsum_secagg::evidence::promises::TwoAttestations;
use veilsum_secagg::evidence::{CulpritKey, Evidence};
use veilsum_secagg::message::{Attestation, SurvivorProposal};
use veilsum_secagg::{Bitmap, Certificate, coordinator};

use super::super::kit::{
    Federation, Kind, Site, Sum, announcement_of, opened, stripped, survivors,
};
use super::{VICTIM, finish, further, own, tell, uploaded};
use crate::machine::Machine;
use crate::participant::{Output, Step};
use crate::rejection::{Abort, Rejection};
use crate::round;

/// The survivor set without the victim, to which the same uploads lead.
fn without_the_victim(fed: &Federation) -> SurvivorProposal {
    let round = fed.round();
    let items: Vec<_> = round.uploads().values().map(|upload| upload.item).collect();
    let kept = items.into_iter().filter(|item| item.index != VICTIM);
    let kept: Vec<_> = kept.collect();
    coordinator::close_survivors(round.attempt(), round.cohort().unwrap(), &kept).unwrap()
}

/// What a copy of a holder, which does not know what it has signed, signs.
fn attests(fed: &Federation, copy: &mut Site, proposal: &SurvivorProposal) -> Attestation {
    let (now, round) = (fed.now, fed.round());
    let items = coordinator::share_items(round.attempt(), round.commits(), copy.index).unwrap();
    copy.machine
        .open_shares(round.attempt().hash(), &items)
        .unwrap();
    let signature = proposal.sign(&fed.hub.identity);
    copy.machine.propose(proposal.clone(), &signature).unwrap();
    let verdict = copy
        .machine
        .judge(proposal, &survivors(&fed.hub, proposal))
        .unwrap();
    copy.step(now, Step::Attested(verdict)).unwrap();
    match copy.take(Kind::Attest) {
        Some(Output::Attest(_, attestation)) => *attestation,
        other => panic!("{other:?}"),
    }
}

/// T-35: a holder that was restored from a copy signs a second set.
#[test]
fn t35_a_second_attestation_is_refused_and_both_together_convict_their_holder() {
    let mut fed = uploaded(5);
    let mut copy = fed.sites[3].twin();
    let other = without_the_victim(&fed);
    fed.hear();
    fed.act(Kind::Judge);
    fed.act_at(3, Kind::Attest);
    let first = fed.round().attestations()[&3].clone();
    let second = attests(&fed, &mut copy, &other);
    let (now, ann_hash) = (fed.now, fed.round().attempt().hash());
    let again = Box::new(second.clone());
    let told = fed.hub.tell(now, ann_hash, &copy.name, |index| {
        let attestation = again;
        round::Event::Attested { index, attestation }
    });
    assert_eq!(told, Err(Rejection::Conflict("attestation")));
    let round = fed.round();
    let cohort = || round.cohort().unwrap().clone();
    let proof = TwoAttestations {
        attempt: round.attempt().clone(),
        position: second.position,
        attested: [
            (cohort(), round.proposal().unwrap().clone(), first.signature),
            (cohort(), other, second.signature),
        ],
    };
    let conviction = Evidence::TwoAttestations(proof).verify().unwrap();
    let key = fed.sites[3].identity.public();
    assert_eq!(conviction.culprit, CulpritKey::Member(key));
    assert_eq!(conviction.attempt, Some((1, 1)));
}

/// T-35: all holders sign two sets over the same uploads, so both get their certificate, and of the victim both secrets are released.
#[test]
fn t35_without_signing_only_once_two_sums_differ_by_the_victims_update() {
    let mut fed = uploaded(5);
    let copies: Vec<_> = fed.sites.iter().map(|site| site.twin()).collect();
    let other = without_the_victim(&fed);
    let uploads: Vec<_> = (fed.round().uploads().values())
        .filter(|upload| upload.item.index != VICTIM)
        .map(|upload| {
            (
                fed.hub.blobs[&upload.blob.digest].clone(),
                upload.metadata.clone(),
            )
        })
        .collect();
    let lists = released(&fed, copies, &other);
    let round = fed.round();
    let masks = coordinator::unmask(
        round.attempt(),
        round.cohort().unwrap(),
        &other.survivors,
        round.commits(),
        &lists,
    );
    let uploads: Vec<_> = uploads
        .iter()
        .map(|(bytes, metadata)| (&bytes[..], &metadata[..]))
        .collect();
    let part: Sum = stripped(&fed.hub.spec, &uploads, &masks.unwrap().masks);
    let whole = finish(&mut fed);
    let model = announcement_of(&fed).model_hash;
    assert_eq!(whole.less(&part), own(&fed, VICTIM, &model));
}

/// The lists of holders that sign this set and see its certificate.
fn released(
    fed: &Federation,
    mut holders: Vec<Site>,
    proposal: &SurvivorProposal,
) -> BTreeMap<u32, veilsum_secagg::message::UnmaskList> {
    let signed = holders
        .iter_mut()
        .map(|holder| attests(fed, holder, proposal));
    let signatures = signed
        .map(|signed| (signed.position, signed.signature))
        .collect();
    let digest = proposal.digest();
    let certificate = Certificate { digest, signatures };
    let list = |holder: &mut Site| {
        let release = Step::Released(certificate.clone());
        holder.step(fed.now, release).unwrap();
        match holder.take(Kind::Unmask) {
            Some(Output::Unmask(_, list)) => (holder.index, *list),
            other => panic!("{other:?}"),
        }
    };
    holders.iter_mut().map(list).collect()
}

/// T-36: of three sites all are needed, so L − t is zero.
#[test]
fn t36_without_room_between_threshold_and_holders_one_silent_holder_stops_the_run() {
    for (silent, have) in [(Kind::Attest, None), (Kind::Unmask, Some(2))] {
        let mut fed = Federation::of(3);
        fed.site(2).silent.extend([silent, Kind::Abort]);
        fed.settle();
        fed.wait();
        if have.is_none() {
            fed.wait();
        }
        let lost = match have {
            Some(have) => Abort::ReleaseLost { have, need: 3 },
            None => Abort::AbortUncertified { have: 2, need: 3 },
        };
        assert_eq!(fed.hub.lost(), Some(&lost));
        assert!(fed.hub.sums.is_empty());
    }
}

/// T-59: a pair that lay with the seed, and went with it at the receipt.
#[test]
fn t59_without_a_pair_of_its_own_that_outlives_the_seed_a_restart_loses_the_release() {
    let mut fed = uploaded(3);
    fed.hear();
    fed.act(Kind::Judge);
    fed.act(Kind::Attest);
    assert!(fed.round().certificate().is_some());
    fed.site(0).lose("attempt/1/1/own");
    fed.settle();
    assert!(fed.hub.sums.is_empty(), "two lists, and three are needed");
    fed.wait();
    let lost = Abort::ReleaseLost { have: 2, need: 3 };
    assert_eq!(fed.hub.lost(), Some(&lost));
}

/// T-60: holders that attest and do not say whose shares they cannot use. The certificate leaves, and what it frees is not enough.
#[test]
fn t60_without_complaints_one_dealer_makes_everybody_spend_the_round() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.act(Kind::Train);
    fed.site(1).damage("attempt/1/1/outbound"); // so nothing it seals can be opened
    fed.act(Kind::Commit);
    fed.hear();
    fed.act(Kind::Upload);
    fed.act(Kind::OpenShares);
    tell(&mut fed);
    let (now, hub) = (fed.now, &fed.hub);
    for site in &mut fed.sites {
        let Some(Output::Judge(_, proposal)) = site.take(Kind::Judge) else {
            panic!("there is a set to judge")
        };
        let judged = site.machine.judge(&proposal, &survivors(hub, &proposal));
        let mut verdict = judged.unwrap();
        assert_eq!(verdict.complaints.contains(1), site.index != 1);
        verdict.complaints = Bitmap::empty(5);
        site.step(now, Step::Attested(verdict)).unwrap();
    }
    fed.act(Kind::Attest);
    assert!(fed.round().certificate().is_some());
    fed.settle();
    assert!(fed.hub.sums.is_empty());
    let again = opened(&fed, further(&fed, 2, 2), Vec::new());
    let spent = Err(Rejection::Spent { round: 1, seq: 1 });
    for site in &fed.sites {
        assert_eq!(site.machine.admit(fed.now, &again), spent);
    }
    fed.wait();
    let lost = Abort::ReleaseLost { have: 1, need: 4 };
    assert_eq!(fed.hub.lost(), Some(&lost));
}
