//! What the coordinator may say only once: an attempt, its cohort, its survivors, its result.
//!
//! An honest coordinator decides each of them once, durably, before anybody is told, and repeats only what it decided. So two of its
//! signatures on different ones are a lie, or a store that went back in time, which is no better. No member is named here and no
//! roster is needed: its hash is enough. Source: protocol, sections 7, 9, 10 and 28.

use super::{NamedAttempt, Signed, Unproved, check_cohort, different};
use crate::codec::Digest;
use crate::keys::{Signature, VerifyKey};
use crate::message::{Cohort, RoundResult, SurvivorProposal};

/// Two announcements that cannot both be: of one attempt number in one epoch, or for two rosters under one epoch number.
pub struct TwoAnnouncements {
    /// Each with the coordinator's signature.
    pub announced: [(NamedAttempt, Signature); 2],
}

impl TwoAnnouncements {
    pub(super) fn verify(&self) -> Result<(), Unproved> {
        let [(first, _), (second, _)] = &self.announced;
        let unrelated = Err(Unproved::Unrelated("announcements"));
        if first.params.run_hash() != second.params.run_hash() || first.epoch != second.epoch {
            return unrelated;
        }
        let hashes = [first.ann_hash()?, second.ann_hash()?];
        different("announcements", &hashes[0], &hashes[1])?;
        let (said, again) = (&first.announcement, &second.announcement);
        if said.seq != again.seq && said.epoch_ctx == again.epoch_ctx {
            return unrelated;
        }
        for (attempt, signature) in &self.announced {
            if !attempt
                .announcement
                .verifies(&attempt.coordinator()?, signature)
            {
                return Err(Unproved::Signature("announcement"));
            }
        }
        Ok(())
    }

    /// With two rosters it is about the epoch, whatever the attempts are called.
    pub(super) fn about(&self) -> super::About<'_> {
        let [(first, _), (second, _)] = &self.announced;
        let (params, epoch, announcement) = first.about();
        let one = first.announcement.seq == second.announcement.seq
            && first.announcement.round == second.announcement.round;
        (params, epoch, announcement.filter(|_| one))
    }
}

/// Two cohorts of one attempt.
pub struct TwoCohorts {
    /// The attempt.
    pub attempt: NamedAttempt,
    /// Both, signed by the coordinator.
    pub cohorts: [Signed<Cohort>; 2],
}

impl TwoCohorts {
    pub(super) fn verify(&self) -> Result<(), Unproved> {
        let (ann_hash, key) = (self.attempt.ann_hash()?, self.attempt.coordinator()?);
        let [first, second] = &self.cohorts;
        different("cohorts", &first.value.ctx(), &second.value.ctx())?;
        for cohort in &self.cohorts {
            check_cohort(ann_hash, &cohort.value)?;
            if !cohort.value.verifies(&key, &cohort.signature) {
                return Err(Unproved::Signature("cohort"));
            }
        }
        Ok(())
    }
}

/// Where the coordinator names the survivors of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// For the holders to attest.
    Proposal(Signed<SurvivorProposal>),
    /// As the set that the sum is over.
    Result(Signed<RoundResult>),
}

impl Outcome {
    fn ctx(&self) -> Digest {
        match self {
            Self::Proposal(proposal) => proposal.value.ctx,
            Self::Result(result) => result.value.ctx,
        }
    }

    fn digest(&self) -> Digest {
        match self {
            Self::Proposal(proposal) => proposal.value.digest(),
            Self::Result(result) => result.value.digest,
        }
    }

    fn check(&self, key: &VerifyKey) -> Result<(), Unproved> {
        let (valid, what) = match self {
            Self::Proposal(said) => (said.value.verifies(key, &said.signature), "survivor set"),
            Self::Result(said) => (said.value.verifies(key, &said.signature), "result"),
        };
        if valid {
            Ok(())
        } else {
            Err(Unproved::Signature(what))
        }
    }
}

/// Two survivor sets of one attempt.
pub struct TwoSurvivorSets {
    /// The attempt.
    pub attempt: NamedAttempt,
    /// Both, each with the cohort it is about, signed by the coordinator.
    pub said: [(Cohort, Outcome); 2],
}

impl TwoSurvivorSets {
    pub(super) fn verify(&self) -> Result<(), Unproved> {
        let [(_, first), (_, second)] = &self.said;
        different("survivor sets", &first.digest(), &second.digest())?;
        check_outcomes(&self.attempt, &self.said)
    }
}

/// Two results of one attempt: two sums, or two models made of one.
pub struct TwoResults {
    /// The attempt.
    pub attempt: NamedAttempt,
    /// Both, each with the cohort it is about, signed by the coordinator.
    pub results: [(Cohort, Signed<RoundResult>); 2],
}

impl TwoResults {
    pub(super) fn verify(&self) -> Result<(), Unproved> {
        let [(_, first), (_, second)] = &self.results;
        different("results", &first.value.hash(), &second.value.hash())?;
        let said = self
            .results
            .each_ref()
            .map(|(cohort, result)| (cohort.clone(), Outcome::Result(result.clone())));
        check_outcomes(&self.attempt, &said)
    }
}

fn check_outcomes(attempt: &NamedAttempt, said: &[(Cohort, Outcome); 2]) -> Result<(), Unproved> {
    let (ann_hash, key) = (attempt.ann_hash()?, attempt.coordinator()?);
    for (cohort, outcome) in said {
        check_cohort(ann_hash, cohort)?;
        if outcome.ctx() != cohort.ctx() {
            return Err(Unproved::Foreign("survivor set"));
        }
        outcome.check(&key)?;
    }
    Ok(())
}
