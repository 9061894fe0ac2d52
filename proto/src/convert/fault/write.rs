//! From evidence to its message. Cannot fail, and leaves out every signature that the proof does not rest on.

use veilsum_secagg::context::{Attempt, Roster};
use veilsum_secagg::evidence::dealing::{InconsistentDealing, WrongScalar, WrongShare};
use veilsum_secagg::evidence::equivocation::{
    Outcome, TwoAnnouncements, TwoCohorts, TwoResults, TwoSurvivorSets,
};
use veilsum_secagg::evidence::omission::OmittedSurvivor;
use veilsum_secagg::evidence::promises::{TwoAttestations, TwoContexts, TwoRosters};
use veilsum_secagg::evidence::{Evidence, NamedAttempt, Signed};
use veilsum_secagg::keys::Signature;
use veilsum_secagg::message::{Cohort, SurvivorProposal};
use veilsum_secagg::params::Params;
use veilsum_secagg::{Digest, Secret};

use crate::convert::round::{bare_cohort, bare_proposal, bare_result, merkle_path, unsigned};
use crate::pb;
use crate::pb::fault_evidence::Proof;
use crate::pb::named_survivors::Said;

pub(super) fn evidence(evidence: &Evidence) -> pb::FaultEvidence {
    let proof = match evidence {
        Evidence::TwoAnnouncements(proof) => Proof::TwoAnnouncements(two_announcements(proof)),
        Evidence::TwoCohorts(proof) => Proof::TwoCohorts(two_cohorts(proof)),
        Evidence::TwoSurvivorSets(proof) => Proof::TwoSurvivorSets(two_survivor_sets(proof)),
        Evidence::TwoResults(proof) => Proof::TwoResults(two_results(proof)),
        Evidence::OmittedSurvivor(proof) => Proof::OmittedSurvivor(omitted_survivor(proof)),
        Evidence::TwoRosters(proof) => Proof::TwoRosters(two_rosters(proof)),
        Evidence::TwoAttestations(proof) => Proof::TwoAttestations(two_attestations(proof)),
        Evidence::TwoContexts(proof) => Proof::TwoContexts(two_contexts(proof)),
        Evidence::WrongShare(proof) => Proof::WrongShare(wrong_share(proof)),
        Evidence::WrongScalar(proof) => Proof::WrongScalar(wrong_scalar(proof)),
        Evidence::InconsistentDealing(proof) => {
            Proof::InconsistentDealing(inconsistent_dealing(proof))
        }
    };
    pb::FaultEvidence { proof: Some(proof) }
}

fn two_announcements(proof: &TwoAnnouncements) -> pb::TwoAnnouncements {
    let [first, second] = proof.announced.each_ref().map(|(attempt, signature)| {
        let mut named = named_attempt(attempt);
        if let Some(announcement) = &mut named.announcement {
            announcement.sig = signature.0.to_vec();
        }
        Some(named)
    });
    pb::TwoAnnouncements { first, second }
}

fn two_cohorts(proof: &TwoCohorts) -> pb::TwoCohorts {
    let [first, second] = proof
        .cohorts
        .each_ref()
        .map(|said| Some(said.clone().into()));
    pb::TwoCohorts {
        attempt: Some(named_attempt(&proof.attempt)),
        first,
        second,
    }
}

fn two_survivor_sets(proof: &TwoSurvivorSets) -> pb::TwoSurvivorSets {
    let [first, second] = proof
        .said
        .each_ref()
        .map(|(cohort, outcome)| Some(named_survivors(cohort, outcome)));
    pb::TwoSurvivorSets {
        attempt: Some(named_attempt(&proof.attempt)),
        first,
        second,
    }
}

fn two_results(proof: &TwoResults) -> pb::TwoResults {
    let [first, second] = proof.results.each_ref().map(|(cohort, result)| {
        let outcome = Outcome::Result(result.clone());
        Some(named_survivors(cohort, &outcome))
    });
    pb::TwoResults {
        attempt: Some(named_attempt(&proof.attempt)),
        first,
        second,
    }
}

fn named_survivors(cohort: &Cohort, outcome: &Outcome) -> pb::NamedSurvivors {
    let said = match outcome {
        Outcome::Proposal(proposal) => Said::Proposal(proposal.clone().into()),
        Outcome::Result(Signed { value, signature }) => Said::Result(pb::RoundResult {
            sig: signature.0.to_vec(),
            ..bare_result(value.clone())
        }),
    };
    pb::NamedSurvivors {
        cohort: Some(bare_cohort(cohort)),
        said: Some(said),
    }
}

fn omitted_survivor(proof: &OmittedSurvivor) -> pb::OmittedSurvivor {
    pb::OmittedSurvivor {
        attempt: Some(stated_attempt(&proof.attempt)),
        member: proof.member,
        cohort: Some(bare_cohort(&proof.cohort)),
        chunk_root: proof.chunk_root.0.to_vec(),
        metadata_blake3: proof.metadata_hash.0.to_vec(),
        receipt: Some(proof.receipt.into()),
        proposal: Some(proof.proposal.clone().into()),
    }
}

fn two_rosters(proof: &TwoRosters) -> pb::TwoRosters {
    let [(first, first_sig), (second, second_sig)] = &proof.confirmed;
    pb::TwoRosters {
        id_pk: proof.member.as_bytes().to_vec(),
        first: Some(stated_roster(first)),
        first_sig: first_sig.0.to_vec(),
        second: Some(stated_roster(second)),
        second_sig: second_sig.0.to_vec(),
    }
}

fn two_attestations(proof: &TwoAttestations) -> pb::TwoAttestations {
    let set = |(cohort, proposal, signature): &(Cohort, SurvivorProposal, Signature)| {
        Some(pb::AttestedSet {
            cohort: Some(bare_cohort(cohort)),
            proposal: Some(bare_proposal(proposal)),
            sig: signature.0.to_vec(),
        })
    };
    let [first, second] = proof.attested.each_ref().map(set);
    pb::TwoAttestations {
        attempt: Some(stated_attempt(&proof.attempt)),
        position: proof.position,
        first,
        second,
    }
}

fn two_contexts(proof: &TwoContexts) -> pb::TwoContexts {
    let upload = |(cohort, upload_hash, signature): &(Cohort, Digest, Signature)| {
        Some(pb::SignedUpload {
            cohort: Some(bare_cohort(cohort)),
            upload_hash: upload_hash.0.to_vec(),
            sig: signature.0.to_vec(),
        })
    };
    let [first, second] = proof.uploaded.each_ref().map(upload);
    pb::TwoContexts {
        attempt: Some(stated_attempt(&proof.attempt)),
        member: proof.member,
        first,
        second,
    }
}

fn wrong_share(proof: &WrongShare) -> pb::WrongShare {
    pb::WrongShare {
        attempt: Some(stated_attempt(&proof.attempt)),
        dealer: proof.dealer,
        commit: Some(proof.commit.clone().into()),
        position: proof.position,
        k_share: proof.k_share.expose().to_vec(),
    }
}

fn wrong_scalar(proof: &WrongScalar) -> pb::WrongScalar {
    pb::WrongScalar {
        attempt: Some(stated_attempt(&proof.attempt)),
        dealer: proof.dealer,
        commit: Some(proof.commit.clone().into()),
        core_path: Some(merkle_path(&proof.core_path)),
        cohort: Some(bare_cohort(&proof.cohort)),
        proposal: Some(bare_proposal(&proof.proposal)),
        list: Some(proof.list.clone().into()),
    }
}

fn inconsistent_dealing(proof: &InconsistentDealing) -> pb::InconsistentDealing {
    let secret = match proof.which {
        Secret::SelfMask => pb::FaultSecret::SelfMask,
        Secret::Rescue => pb::FaultSecret::Rescue,
    };
    let scalar = |(position, scalar): &(u32, [u8; 32])| pb::IndexedScalar {
        position: *position,
        scalar: scalar.to_vec(),
    };
    pb::InconsistentDealing {
        attempt: Some(stated_attempt(&proof.attempt)),
        dealer: proof.dealer,
        commit: Some(proof.commit.clone().into()),
        secret: secret.into(),
        scalars: proof.scalars.iter().map(scalar).collect(),
    }
}

fn named_attempt(attempt: &NamedAttempt) -> pb::NamedAttempt {
    pb::NamedAttempt {
        run_config: run_config(&attempt.params),
        epoch: attempt.epoch,
        members: attempt.members,
        roster_root: attempt.roster_root.0.to_vec(),
        announcement: Some(unsigned(attempt.announcement.clone())),
    }
}

fn stated_attempt(attempt: &Attempt) -> pb::StatedAttempt {
    pb::StatedAttempt {
        roster: Some(stated_roster(attempt.roster())),
        announcement: Some(unsigned(attempt.announcement().clone())),
    }
}

fn stated_roster(roster: &Roster) -> pb::StatedRoster {
    let members = roster.members().iter().map(|member| pb::StatedMember {
        id_pk: member.id_pk.as_bytes().to_vec(),
        x25519_pk: member.x_pk.as_bytes().to_vec(),
        binding_hash: member.binding.0.to_vec(),
        nonce_commit: member.nonce_commit.0.to_vec(),
    });
    pb::StatedRoster {
        run_config: run_config(roster.params()),
        epoch: roster.epoch(),
        members: members.collect(),
    }
}

fn run_config(params: &Params) -> Vec<u8> {
    params.config().to_bytes()
}
