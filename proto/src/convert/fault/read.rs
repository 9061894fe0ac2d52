//! From the message to evidence: bounded, canonical, and everything there. A roster or an announcement that no honest party would have
//! signed is refused here already.

use std::sync::Arc;

use veilsum_secagg::Secret;
use veilsum_secagg::context::{Attempt, Member, Roster};
use veilsum_secagg::evidence::dealing::{InconsistentDealing, WrongScalar, WrongShare};
use veilsum_secagg::evidence::equivocation::{
    Outcome, TwoAnnouncements, TwoCohorts, TwoResults, TwoSurvivorSets,
};
use veilsum_secagg::evidence::omission::OmittedSurvivor;
use veilsum_secagg::evidence::promises::{TwoAttestations, TwoContexts, TwoRosters};
use veilsum_secagg::evidence::{self, Evidence, NamedAttempt, Signed};
use veilsum_secagg::keys::{Seed, Signature};
use veilsum_secagg::message::{Cohort, RoundResult, SurvivorProposal};
use veilsum_secagg::params::{MAX_SILO, Params, RunConfig};

use crate::convert::round::{announcement, cohort, path, proposal, result};
use crate::convert::{
    ConvertError, OverRoster, Problem, array, at_most, chosen, digest, exchange_key, required,
    signature, verify_key,
};
use crate::pb;
use crate::pb::fault_evidence::Proof;
use crate::pb::named_survivors::Said;

pub(super) fn evidence(message: pb::FaultEvidence) -> Result<Evidence, ConvertError> {
    Ok(match required("proof", message.proof)? {
        Proof::TwoAnnouncements(proof) => Evidence::TwoAnnouncements(two_announcements(proof)?),
        Proof::TwoCohorts(proof) => Evidence::TwoCohorts(two_cohorts(proof)?),
        Proof::TwoSurvivorSets(proof) => Evidence::TwoSurvivorSets(two_survivor_sets(proof)?),
        Proof::TwoResults(proof) => Evidence::TwoResults(two_results(proof)?),
        Proof::OmittedSurvivor(proof) => Evidence::OmittedSurvivor(omitted_survivor(proof)?),
        Proof::TwoRosters(proof) => Evidence::TwoRosters(two_rosters(proof)?),
        Proof::TwoAttestations(proof) => Evidence::TwoAttestations(two_attestations(proof)?),
        Proof::TwoContexts(proof) => Evidence::TwoContexts(two_contexts(proof)?),
        Proof::WrongShare(proof) => Evidence::WrongShare(wrong_share(proof)?),
        Proof::WrongScalar(proof) => Evidence::WrongScalar(wrong_scalar(proof)?),
        Proof::InconsistentDealing(proof) => {
            Evidence::InconsistentDealing(inconsistent_dealing(proof)?)
        }
    })
}

fn two_announcements(message: pb::TwoAnnouncements) -> Result<TwoAnnouncements, ConvertError> {
    let announced = |field, message: Option<pb::NamedAttempt>| {
        let message = required(field, message)?;
        let said = message.announcement.as_ref();
        let signature = signature("announcement.sig", said.map_or(&[], |said| &said.sig))?;
        Ok((named_attempt(message)?, signature))
    };
    Ok(TwoAnnouncements {
        announced: [
            announced("first", message.first)?,
            announced("second", message.second)?,
        ],
    })
}

fn two_cohorts(message: pb::TwoCohorts) -> Result<TwoCohorts, ConvertError> {
    let attempt = named_attempt(required("attempt", message.attempt)?)?;
    let first = required("first", message.first)?.over(attempt.members)?;
    let second = required("second", message.second)?.over(attempt.members)?;
    Ok(TwoCohorts {
        attempt,
        cohorts: [first, second],
    })
}

fn two_survivor_sets(message: pb::TwoSurvivorSets) -> Result<TwoSurvivorSets, ConvertError> {
    let attempt = named_attempt(required("attempt", message.attempt)?)?;
    let outcome = |field, message: Option<pb::NamedSurvivors>| {
        let pb::NamedSurvivors { cohort, said } = required(field, message)?;
        let outcome = match required("said", said)? {
            Said::Proposal(proposal) => Outcome::Proposal(proposal.over(attempt.members)?),
            Said::Result(result) => Outcome::Result(signed_result(&result)?),
        };
        Ok((bare(cohort, attempt.members)?, outcome))
    };
    let said = [
        outcome("first", message.first)?,
        outcome("second", message.second)?,
    ];
    Ok(TwoSurvivorSets { attempt, said })
}

fn two_results(message: pb::TwoResults) -> Result<TwoResults, ConvertError> {
    let attempt = named_attempt(required("attempt", message.attempt)?)?;
    let published = |field, message: Option<pb::NamedSurvivors>| {
        let pb::NamedSurvivors { cohort, said } = required(field, message)?;
        let Some(Said::Result(result)) = said else {
            return Err(Problem::Missing.of("result"));
        };
        Ok((bare(cohort, attempt.members)?, signed_result(&result)?))
    };
    let results = [
        published("first", message.first)?,
        published("second", message.second)?,
    ];
    Ok(TwoResults { attempt, results })
}

fn omitted_survivor(message: pb::OmittedSurvivor) -> Result<OmittedSurvivor, ConvertError> {
    let attempt = stated_attempt(message.attempt)?;
    let members = attempt.roster().len();
    Ok(OmittedSurvivor {
        member: message.member,
        cohort: bare(message.cohort, members)?,
        chunk_root: digest("chunk_root", &message.chunk_root)?,
        metadata_hash: digest("metadata_blake3", &message.metadata_blake3)?,
        receipt: required("receipt", message.receipt)?.try_into()?,
        proposal: required("proposal", message.proposal)?.over(members)?,
        attempt,
    })
}

fn two_rosters(message: pb::TwoRosters) -> Result<TwoRosters, ConvertError> {
    let first = stated_roster(required("first", message.first)?)?;
    let second = stated_roster(required("second", message.second)?)?;
    Ok(TwoRosters {
        member: verify_key("id_pk", &message.id_pk)?,
        confirmed: [
            (first, signature("first_sig", &message.first_sig)?),
            (second, signature("second_sig", &message.second_sig)?),
        ],
    })
}

fn two_attestations(message: pb::TwoAttestations) -> Result<TwoAttestations, ConvertError> {
    let attempt = stated_attempt(message.attempt)?;
    let members = attempt.roster().len();
    let set = |field, set: Option<pb::AttestedSet>| -> Result<_, ConvertError> {
        let set = required(field, set)?;
        let survivors: SurvivorProposal = proposal(&required("proposal", set.proposal)?, members)?;
        let signature = signature("attested.sig", &set.sig)?;
        Ok((bare(set.cohort, members)?, survivors, signature))
    };
    let attested = [set("first", message.first)?, set("second", message.second)?];
    Ok(TwoAttestations {
        attempt,
        position: message.position,
        attested,
    })
}

fn two_contexts(message: pb::TwoContexts) -> Result<TwoContexts, ConvertError> {
    let attempt = stated_attempt(message.attempt)?;
    let members = attempt.roster().len();
    let upload = |field, upload: Option<pb::SignedUpload>| -> Result<_, ConvertError> {
        let upload = required(field, upload)?;
        let hash = digest("upload_hash", &upload.upload_hash)?;
        let signature: Signature = signature("upload.sig", &upload.sig)?;
        Ok((bare(upload.cohort, members)?, hash, signature))
    };
    let uploaded = [
        upload("first", message.first)?,
        upload("second", message.second)?,
    ];
    Ok(TwoContexts {
        attempt,
        member: message.member,
        uploaded,
    })
}

fn wrong_share(message: pb::WrongShare) -> Result<WrongShare, ConvertError> {
    Ok(WrongShare {
        attempt: stated_attempt(message.attempt)?,
        dealer: message.dealer,
        commit: required("commit", message.commit)?.try_into()?,
        position: message.position,
        k_share: Seed::new(array("k_share", &message.k_share)?),
    })
}

fn wrong_scalar(message: pb::WrongScalar) -> Result<WrongScalar, ConvertError> {
    let attempt = stated_attempt(message.attempt)?;
    let members = attempt.roster().len();
    Ok(WrongScalar {
        dealer: message.dealer,
        commit: required("commit", message.commit)?.try_into()?,
        core_path: path("core_path", required("core_path", message.core_path)?)?,
        cohort: bare(message.cohort, members)?,
        proposal: proposal(&required("proposal", message.proposal)?, members)?,
        list: required("list", message.list)?.over(members)?,
        attempt,
    })
}

fn inconsistent_dealing(
    message: pb::InconsistentDealing,
) -> Result<InconsistentDealing, ConvertError> {
    let limit = MAX_SILO as usize;
    at_most("scalars", message.scalars.len(), limit, "scalars")?;
    let which = match chosen("secret", message.secret)? {
        pb::FaultSecret::Unspecified => return Err(Problem::Missing.of("secret")),
        pb::FaultSecret::SelfMask => Secret::SelfMask,
        pb::FaultSecret::Rescue => Secret::Rescue,
    };
    let scalar = |said: &pb::IndexedScalar| Ok((said.position, array("scalar", &said.scalar)?));
    Ok(InconsistentDealing {
        attempt: stated_attempt(message.attempt)?,
        dealer: message.dealer,
        commit: required("commit", message.commit)?.try_into()?,
        which,
        scalars: message
            .scalars
            .iter()
            .map(scalar)
            .collect::<Result<_, _>>()?,
    })
}

fn named_attempt(message: pb::NamedAttempt) -> Result<NamedAttempt, ConvertError> {
    let limit = u64::from(MAX_SILO);
    let have = u64::from(message.members);
    if have > limit {
        return Err(Problem::TooLarge { have, limit }.of("members"));
    }
    let said = required("announcement", message.announcement)?;
    Ok(NamedAttempt {
        params: params(&message.run_config)?,
        epoch: message.epoch,
        members: message.members,
        roster_root: digest("roster_root", &message.roster_root)?,
        announcement: announcement(&said, message.members)?,
    })
}

fn stated_attempt(message: Option<pb::StatedAttempt>) -> Result<Arc<Attempt>, ConvertError> {
    let message = required("attempt", message)?;
    let roster = stated_roster(required("roster", message.roster)?)?;
    let said = required("announcement", message.announcement)?;
    let said = announcement(&said, roster.len())?;
    let by_the_rules = "an announcement by the rules of its run, for this roster";
    Attempt::new(roster, said)
        .map(Arc::new)
        .map_err(|_| Problem::NotA(by_the_rules).of("announcement"))
}

fn stated_roster(message: pb::StatedRoster) -> Result<Arc<Roster>, ConvertError> {
    let limit = MAX_SILO as usize;
    at_most("members", message.members.len(), limit, "members")?;
    let params = params(&message.run_config)?;
    let members = message
        .members
        .iter()
        .map(stated_member)
        .collect::<Result<_, _>>()?;
    evidence::stated_roster(params, message.epoch, members)
        .map(Arc::new)
        .map_err(|_| Problem::NotA("a roster by the rules of its run").of("members"))
}

fn stated_member(message: &pb::StatedMember) -> Result<Member, ConvertError> {
    let id_pk = verify_key("id_pk", &message.id_pk)?;
    Ok(Member {
        id: id_pk.id(),
        id_pk,
        x_pk: exchange_key("x25519_pk", &message.x25519_pk)?,
        binding: digest("binding_hash", &message.binding_hash)?,
        nonce_commit: digest("nonce_commit", &message.nonce_commit)?,
    })
}

fn params(bytes: &[u8]) -> Result<Arc<Params>, ConvertError> {
    let problem = Problem::NotA("the configuration of a run that this version can run");
    let config = RunConfig::from_bytes(bytes).ok_or(problem.of("run_config"))?;
    Params::new(config)
        .map(Arc::new)
        .map_err(|_| problem.of("run_config"))
}

fn bare(message: Option<pb::CohortReady>, members: u32) -> Result<Cohort, ConvertError> {
    cohort(&required("cohort", message)?, members)
}

fn signed_result(message: &pb::RoundResult) -> Result<Signed<RoundResult>, ConvertError> {
    Ok(Signed {
        value: result(message)?,
        signature: signature("sig", &message.sig)?,
    })
}
