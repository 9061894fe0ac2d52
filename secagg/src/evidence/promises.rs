//! What a member may sign only once: a roster per epoch, a survivor set per attempt, a cohort to upload under per attempt.
//!
//! An honest site stores each of these before its signature leaves, and a site whose store went back in time counts as corrupt. Source:
//! protocol, sections 6.1, 9, 10, 13 and 28.

use std::sync::Arc;

use super::{Unproved, check_cohort, different};
use crate::codec::Digest;
use crate::context::{Attempt, Roster};
use crate::holder::upload_verifies;
use crate::keys::{Signature, VerifyKey};
use crate::labels;
use crate::message::{Cohort, SurvivorItem, SurvivorProposal};

/// One member's confirmations of two rosters under one epoch number.
pub struct TwoRosters {
    /// The member's identity key.
    pub member: VerifyKey,
    /// Each roster, with its signature.
    pub confirmed: [(Arc<Roster>, Signature); 2],
}

impl TwoRosters {
    pub(super) fn verify(&self) -> Result<(), Unproved> {
        let [(first, _), (second, _)] = &self.confirmed;
        if first.params().run_hash() != second.params().run_hash()
            || first.epoch() != second.epoch()
        {
            return Err(Unproved::Unrelated("rosters"));
        }
        different("rosters", &first.ctx(), &second.ctx())?;
        for (roster, signature) in &self.confirmed {
            if roster.index_of(&self.member.id()).is_none() {
                return Err(Unproved::Absent("roster"));
            }
            let ctx = roster.ctx();
            if !self
                .member
                .verifies(signature, labels::SIG_ROSTER, &[&ctx.0])
            {
                return Err(Unproved::Signature("roster"));
            }
        }
        Ok(())
    }
}

/// One holder's attestations of two survivor sets of one attempt.
pub struct TwoAttestations {
    /// The attempt.
    pub attempt: Arc<Attempt>,
    /// The holder's position, from 1.
    pub position: u32,
    /// Each set, with the cohort it is about and the holder's signature.
    pub attested: [(Cohort, SurvivorProposal, Signature); 2],
}

impl TwoAttestations {
    pub(super) fn verify(&self) -> Result<(), Unproved> {
        let key = self
            .attempt
            .holder_key(self.position)
            .ok_or(Unproved::Absent("holder list"))?;
        let [(_, first, _), (_, second, _)] = &self.attested;
        different("survivor sets", &first.digest(), &second.digest())?;
        for (cohort, proposal, signature) in &self.attested {
            check_cohort(self.attempt.hash(), cohort)?;
            if proposal.ctx != cohort.ctx() {
                return Err(Unproved::Foreign("survivor set"));
            }
            let digest = proposal.digest();
            if !key.verifies(signature, labels::SIG_SURVIVORS, &[&digest.0]) {
                return Err(Unproved::Signature("survivor set"));
            }
        }
        Ok(())
    }
}

/// One member's uploads under two cohorts of one attempt.
pub struct TwoContexts {
    /// The attempt.
    pub attempt: Arc<Attempt>,
    /// Index of the member.
    pub member: u32,
    /// Each cohort, with the hash of the upload under it and the member's signature.
    pub uploaded: [(Cohort, Digest, Signature); 2],
}

impl TwoContexts {
    pub(super) fn verify(&self) -> Result<(), Unproved> {
        if self.attempt.roster().member(self.member).is_none() {
            return Err(Unproved::Absent("roster"));
        }
        let [(first, ..), (second, ..)] = &self.uploaded;
        different("cohorts", &first.ctx(), &second.ctx())?;
        for (cohort, upload_hash, signature) in &self.uploaded {
            check_cohort(self.attempt.hash(), cohort)?;
            let item = SurvivorItem {
                index: self.member,
                upload_hash: *upload_hash,
                signature: *signature,
            };
            if !upload_verifies(&self.attempt, &cohort.ctx(), &item) {
                return Err(Unproved::Signature("upload"));
            }
        }
        Ok(())
    }
}
