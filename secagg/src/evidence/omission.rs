//! An upload that the coordinator acknowledged in time and then did not count.
//!
//! No clock has to be trusted: the receipt's time and the report deadline are both the coordinator's own signed words. They prove that it
//! said so, not when the upload arrived. An honest coordinator acknowledges no upload once the survivors are fixed, and fixes them not
//! before the deadline unless everybody's is there, so what it acknowledged counts. An upload for which it never gave a receipt proves
//! nothing. Source: protocol, sections 9, 10 and 28.

use std::sync::Arc;

use super::{Signed, Unproved, check_cohort};
use crate::codec::Digest;
use crate::commitment;
use crate::context::Attempt;
use crate::message::{Cohort, Receipt, SurvivorProposal};

/// A receipt in time, and a survivor set without its owner.
pub struct OmittedSurvivor {
    /// The attempt.
    pub attempt: Arc<Attempt>,
    /// Index of the member whose upload it was.
    pub member: u32,
    /// The cohort it masked under.
    pub cohort: Cohort,
    /// Root over its masked chunks.
    pub chunk_root: Digest,
    /// BLAKE3 of its masked metadata.
    pub metadata_hash: Digest,
    /// What the coordinator signed when it had the upload.
    pub receipt: Signed<Receipt>,
    /// What it signed as the set of survivors.
    pub proposal: Signed<SurvivorProposal>,
}

impl OmittedSurvivor {
    pub(super) fn verify(&self) -> Result<(), Unproved> {
        let (attempt, ctx) = (&self.attempt, self.cohort.ctx());
        let (receipt, proposal) = (&self.receipt.value, &self.proposal.value);
        check_cohort(attempt.hash(), &self.cohort)?;
        if !self.cohort.members.contains(self.member) {
            return Err(Unproved::Absent("cohort"));
        }
        if proposal.ctx != ctx || proposal.survivors.size() != attempt.roster().len() {
            return Err(Unproved::Foreign("survivor set"));
        }
        let late_ms = receipt
            .time_ms
            .saturating_sub(attempt.announcement().submit_by_ms);
        if late_ms > 0 {
            return Err(Unproved::Late { late_ms });
        }
        // The receipt names no member, and anybody can sign another's hash: only what was hashed says whose upload it is.
        if receipt.ctx != ctx || receipt.upload_hash != self.upload_hash(&ctx)? {
            return Err(Unproved::Foreign("receipt"));
        }
        self.check_left_out()?;
        self.check_signatures()
    }

    fn upload_hash(&self, ctx: &Digest) -> Result<Digest, Unproved> {
        let attempt = &self.attempt;
        let member = attempt.roster().member(self.member);
        let id = &member.ok_or(Unproved::Absent("roster"))?.id;
        let parts = (&self.chunk_root, &self.metadata_hash);
        Ok(commitment::of_upload(
            attempt.params(),
            ctx,
            id,
            parts.0,
            parts.1,
        ))
    }

    fn check_left_out(&self) -> Result<(), Unproved> {
        let survivors = &self.proposal.value.survivors;
        if survivors.contains(self.member) {
            return Err(Unproved::Counted);
        }
        let graph = self.attempt.roster().graph();
        let alive = graph.alive(self.member, survivors);
        let degree = graph.degree(self.member);
        if self.attempt.params().degree_holds(alive, degree) {
            Ok(())
        } else {
            Err(Unproved::Degree)
        }
    }

    fn check_signatures(&self) -> Result<(), Unproved> {
        let key = self
            .attempt
            .params()
            .coordinator()
            .map_err(|_| Unproved::Absent("run configuration"))?;
        let (receipt, proposal) = (&self.receipt, &self.proposal);
        if !receipt.value.verifies(&key, &receipt.signature) {
            return Err(Unproved::Signature("receipt"));
        }
        if !proposal.value.verifies(&key, &proposal.signature) {
            return Err(Unproved::Signature("survivor set"));
        }
        Ok(())
    }
}
