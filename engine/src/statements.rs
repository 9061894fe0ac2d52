//! What the coordinator and its rosters have signed, as this site heard it: the first statement of each kind stays, and a second one that
//! contradicts it is fault evidence.
//!
//! It stands beside the site's machine and is fed with every event before the machine judges it, since what contradicts is refused and
//! never journalled. It decides nothing and keeps nothing durable: the first statements are heard again from the journal and from the
//! notices that a restarted site asks for anew. What becomes of evidence is the edge's affair. Statements are kept for a bounded number of
//! attempts. Source: protocol, sections 6.1, 13 and 28.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use veilsum_common::limits::{MAX_HEARD_ATTEMPTS, MAX_HEARD_EPOCHS};
use veilsum_secagg::context::{Attempt, Roster, epoch_ctx};
use veilsum_secagg::evidence::equivocation::{
    Outcome, TwoAnnouncements, TwoCohorts, TwoResults, TwoSurvivorSets,
};
use veilsum_secagg::evidence::omission::OmittedSurvivor;
use veilsum_secagg::evidence::promises::TwoRosters;
use veilsum_secagg::evidence::{Evidence, NamedAttempt, Signed};
use veilsum_secagg::keys::{MemberId, Signature, VerifyKey};
use veilsum_secagg::message::{
    Announcement, Cohort, Receipt, RosterConfirmation, RoundResult, SurvivorProposal,
};
use veilsum_secagg::params::Params;
use veilsum_secagg::{Certificate, Digest, Error};

use crate::participant::{Event, Step, UploadParts};

#[cfg(test)]
mod tests;

/// What a site heard in one run.
pub struct Statements {
    params: Arc<Params>,
    /// This site.
    me: MemberId,
    coordinator: VerifyKey,
    /// By epoch number: the rosters it was said to have, of which there must be one.
    rosters: BTreeMap<u64, Vec<NamedRoster>>,
    /// By epoch and attempt number.
    attempts: BTreeMap<(u64, u64), Heard>,
}

/// A roster as the coordinator names it, and as far as this site saw it.
struct NamedRoster {
    ctx: Digest,
    members: u32,
    root: Digest,
    seen: Option<Arc<Roster>>,
    /// A certificate of it that came before its entries, by which alone signatures can be checked.
    unread: Option<Certificate>,
    /// Who confirmed it, by roster index.
    confirmed: BTreeMap<u32, Signature>,
}

/// The first that was said in one attempt.
struct Heard {
    attempt: NamedAttempt,
    signature: Signature,
    cohort: Option<Signed<Cohort>>,
    /// The acknowledgement of this site's own upload.
    receipt: Option<(Signed<Receipt>, UploadParts)>,
    proposal: Option<Signed<SurvivorProposal>>,
    result: Option<Signed<RoundResult>>,
}

/// Whether a roster is the one that its epoch is known to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Naming {
    /// It is, or none was known.
    Only,
    /// The epoch has another one: the coordinator forked it.
    Second,
}

impl Statements {
    /// Nothing heard yet.
    ///
    /// # Errors
    /// [`Error::Params`] if the run's coordinator key is none.
    pub fn new(params: Arc<Params>, me: MemberId) -> Result<Self, Error> {
        Ok(Self {
            coordinator: params.coordinator()?,
            params,
            me,
            rosters: BTreeMap::new(),
            attempts: BTreeMap::new(),
        })
    }

    /// Takes in what an event says, whether or not it will be admitted. Gives evidence for whatever contradicts what was said before.
    pub fn hear(&mut self, event: &Event) -> Vec<Evidence> {
        let one = |evidence: Option<Evidence>| evidence.into_iter().collect();
        match event {
            Event::Enrolled { advertisements } => {
                let epoch = advertisements.first().map_or(0, |first| first.epoch);
                match Roster::new(Arc::clone(&self.params), epoch, advertisements) {
                    Ok(roster) => self.roster_seen(Arc::new(roster)),
                    Err(_) => Vec::new(),
                }
            }
            Event::RosterCertified(certificate) => self.confirmed(certificate),
            Event::Opened {
                announcement,
                signature,
                ..
            }
            | Event::AbortProposed {
                announcement,
                signature,
            } => one(self.announced(announcement, signature)),
            Event::Attempt { ann_hash, step } => match &**step {
                Step::CohortSeen { cohort, signature } => one(self.closed(cohort, signature)),
                Step::Received {
                    receipt,
                    signature,
                    parts: Some(parts),
                } => one(self.acknowledged(*ann_hash, receipt, signature, parts)),
                _ => Vec::new(),
            },
            Event::Finished {
                result, signature, ..
            } => self.finished(result, signature),
            Event::Joined { .. } | Event::Trained(_) | Event::Consented { .. } => Vec::new(),
        }
    }

    /// The coordinator says which roster an epoch has. That is not signed: it proves nothing by itself, but tells which signatures do.
    pub fn roster_named(&mut self, epoch: u64, members: u32, root: Digest) -> Naming {
        let ctx = epoch_ctx(&self.params, epoch, members, &root);
        let rosters = self.rosters.entry(epoch).or_default();
        let known = rosters.iter().any(|roster| roster.ctx == ctx);
        if !known && rosters.len() < 2 {
            rosters.push(NamedRoster {
                ctx,
                members,
                root,
                seen: None,
                unread: None,
                confirmed: BTreeMap::new(),
            });
        }
        let naming = match rosters.first() {
            Some(first) if first.ctx != ctx => Naming::Second,
            _ => Naming::Only,
        };
        while self.rosters.len() > MAX_HEARD_EPOCHS {
            self.rosters.pop_first();
        }
        naming
    }

    /// How many members the rosters have that an epoch was said to have besides the first: sets of theirs are as long.
    pub fn other_sizes(&self) -> BTreeSet<u32> {
        let others = self
            .rosters
            .values()
            .flat_map(|rosters| rosters.iter().skip(1));
        others.map(|roster| roster.members).collect()
    }

    /// Whether the entries of this roster are known as well.
    pub fn has_seen(&self, epoch: u64, members: u32, root: Digest) -> bool {
        let ctx = epoch_ctx(&self.params, epoch, members, &root);
        let rosters = self.rosters.get(&epoch).into_iter().flatten();
        rosters
            .filter(|named| named.ctx == ctx)
            .any(|named| named.seen.is_some())
    }

    /// A whole roster, every advertisement of which was verified; with a certificate of it that came before, it may convict members.
    pub fn roster_seen(&mut self, roster: Arc<Roster>) -> Vec<Evidence> {
        let (epoch, ctx) = (roster.epoch(), roster.ctx());
        self.roster_named(epoch, roster.len(), roster.root());
        let mut rosters = self.rosters.get_mut(&epoch).into_iter().flatten();
        let Some(named) = rosters.find(|named| named.ctx == ctx) else {
            return Vec::new();
        };
        named.seen = Some(roster);
        match named.unread.take() {
            Some(certificate) => self.confirmed(&certificate),
            None => Vec::new(),
        }
    }

    /// Members who confirmed a roster; those who confirmed both of one epoch are convicted.
    fn confirmed(&mut self, certificate: &Certificate) -> Vec<Evidence> {
        let mut rosters = self.rosters.values_mut();
        let Some(rosters) = rosters.find(|all| all.iter().any(|r| r.ctx == certificate.digest))
        else {
            return Vec::new();
        };
        for named in rosters.iter_mut().filter(|r| r.ctx == certificate.digest) {
            named.take(certificate);
        }
        match rosters.as_slice() {
            [first, second] => first.confirmed_too(second),
            _ => Vec::new(),
        }
    }

    fn announced(
        &mut self,
        announcement: &Announcement,
        signature: &Signature,
    ) -> Option<Evidence> {
        if !announcement.verifies(&self.coordinator, signature) {
            return None;
        }
        let said = self.named(announcement)?;
        let epoch = said.epoch;
        let of_the_epoch = self.attempts.range((epoch, 0)..=(epoch, u64::MAX));
        let contradicts = |heard: &&Heard| {
            let known = &heard.attempt.announcement;
            known != announcement
                && (known.seq == announcement.seq || known.epoch_ctx != announcement.epoch_ctx)
        };
        if let Some(heard) = of_the_epoch.map(|(_, heard)| heard).find(contradicts) {
            let first = (heard.attempt.clone(), heard.signature);
            return Some(Evidence::TwoAnnouncements(TwoAnnouncements {
                announced: [first, (said, *signature)],
            }));
        }
        let place = (epoch, announcement.seq);
        self.attempts.entry(place).or_insert(Heard {
            attempt: said,
            signature: *signature,
            cohort: None,
            receipt: None,
            proposal: None,
            result: None,
        });
        while self.attempts.len() > MAX_HEARD_ATTEMPTS {
            self.attempts.pop_first();
        }
        None
    }

    /// The attempt by its names; `None` if its epoch is not known.
    fn named(&self, announcement: &Announcement) -> Option<NamedAttempt> {
        let of_epoch = |(epoch, rosters): (&u64, &Vec<NamedRoster>)| {
            let named = rosters.iter().find(|r| r.ctx == announcement.epoch_ctx)?;
            Some(NamedAttempt {
                params: Arc::clone(&self.params),
                epoch: *epoch,
                members: named.members,
                roster_root: named.root,
                announcement: announcement.clone(),
            })
        };
        self.rosters.iter().find_map(of_epoch)
    }

    fn closed(&mut self, cohort: &Cohort, signature: &Signature) -> Option<Evidence> {
        if !cohort.verifies(&self.coordinator, signature) {
            return None;
        }
        let said = Signed {
            value: cohort.clone(),
            signature: *signature,
        };
        let hash = cohort.ann_hash;
        let heard = self.attempts.values_mut();
        let heard = heard
            .into_iter()
            .find(|h| h.attempt.announcement.hash() == hash)?;
        let first = heard.cohort.get_or_insert_with(|| said.clone());
        (first.value.ctx() != cohort.ctx()).then(|| {
            Evidence::TwoCohorts(TwoCohorts {
                attempt: heard.attempt.clone(),
                cohorts: [first.clone(), said],
            })
        })
    }

    /// The coordinator has this site's upload. The survivors may be known already: an answer can be slower than a notice.
    fn acknowledged(
        &mut self,
        ann_hash: Digest,
        receipt: &Receipt,
        signature: &Signature,
        parts: &UploadParts,
    ) -> Option<Evidence> {
        if !receipt.verifies(&self.coordinator, signature) {
            return None;
        }
        let said = Signed {
            value: *receipt,
            signature: *signature,
        };
        let heard = self.attempts.values_mut();
        let heard = heard
            .into_iter()
            .find(|h| h.attempt.announcement.hash() == ann_hash)?;
        heard.receipt.get_or_insert((said, *parts));
        let proposal = heard.proposal.clone()?;
        self.left_out(proposal)
    }

    /// A survivor set that the coordinator proposes.
    pub fn proposed(
        &mut self,
        proposal: &SurvivorProposal,
        signature: &Signature,
    ) -> Vec<Evidence> {
        if !proposal.verifies(&self.coordinator, signature) {
            return Vec::new();
        }
        let said = Signed {
            value: proposal.clone(),
            signature: *signature,
        };
        let Some(heard) = self.in_context(proposal.ctx) else {
            return Vec::new();
        };
        let first = heard.proposal.get_or_insert_with(|| said.clone()).clone();
        let second = Outcome::Proposal(said.clone());
        let against_result = heard.result.clone().map(Outcome::Result);
        let against = [Some(Outcome::Proposal(first)), against_result];
        let two_sets = against
            .into_iter()
            .flatten()
            .find_map(|first| heard.two_sets(first, &second));
        two_sets.into_iter().chain(self.left_out(said)).collect()
    }

    /// The proof that `proposal` leaves this site out, although its upload was acknowledged in time; `None` if it is none.
    fn left_out(&self, proposal: Signed<SurvivorProposal>) -> Option<Evidence> {
        let in_context = |heard: &&Heard| {
            let cohort = heard.cohort.as_ref();
            cohort.is_some_and(|cohort| cohort.value.ctx() == proposal.value.ctx)
        };
        let heard = self.attempts.values().find(in_context)?;
        let (cohort, (receipt, parts)) = (heard.cohort.as_ref()?, heard.receipt.as_ref()?);
        let NamedAttempt {
            epoch,
            announcement,
            ..
        } = &heard.attempt;
        let mut rosters = self.rosters.get(epoch)?.iter();
        let roster = rosters.find(|roster| roster.ctx == announcement.epoch_ctx)?;
        let roster = roster.seen.as_ref()?;
        let evidence = Evidence::OmittedSurvivor(OmittedSurvivor {
            member: roster.index_of(&self.me)?,
            attempt: Arc::new(Attempt::new(Arc::clone(roster), announcement.clone()).ok()?),
            cohort: cohort.value.clone(),
            chunk_root: parts.chunk_root,
            metadata_hash: parts.metadata_hash,
            receipt: *receipt,
            proposal,
        });
        evidence.verify().is_ok().then_some(evidence) // else it is in the set, came late, or may be dropped
    }

    fn finished(&mut self, result: &RoundResult, signature: &Signature) -> Vec<Evidence> {
        if !result.verifies(&self.coordinator, signature) {
            return Vec::new();
        }
        let said = Signed {
            value: result.clone(),
            signature: *signature,
        };
        let Some(heard) = self.in_context(result.ctx) else {
            return Vec::new();
        };
        let first = heard.result.get_or_insert_with(|| said.clone()).clone();
        let other_set = heard.proposal.clone().and_then(|proposal| {
            heard.two_sets(Outcome::Proposal(proposal), &Outcome::Result(said.clone()))
        });
        let other_result = (first.value.hash() != result.hash())
            .then(|| heard.two_results(first, said))
            .flatten();
        other_set.into_iter().chain(other_result).collect()
    }

    fn in_context(&mut self, ctx: Digest) -> Option<&mut Heard> {
        self.attempts.values_mut().find(|heard| {
            let cohort = heard.cohort.as_ref();
            cohort.is_some_and(|cohort| cohort.value.ctx() == ctx)
        })
    }
}

impl NamedRoster {
    /// Takes the signatures of `certificate` that verify.
    fn take(&mut self, certificate: &Certificate) {
        let Some(roster) = &self.seen else {
            self.unread.get_or_insert_with(|| certificate.clone());
            return;
        };
        for (index, signature) in &certificate.signatures {
            let confirmation = RosterConfirmation {
                epoch_ctx: self.ctx,
                index: *index,
                signature: *signature,
            };
            if roster.check_confirmation(&confirmation).is_ok() {
                self.confirmed.entry(*index).or_insert(*signature);
            }
        }
    }

    /// Members who confirmed `self` and `other`.
    fn confirmed_too(&self, other: &Self) -> Vec<Evidence> {
        let (Some(here), Some(there)) = (&self.seen, &other.seen) else {
            return Vec::new();
        };
        let both = |(index, signature): (&u32, &Signature)| {
            let member = here.member(*index)?;
            let again = other.confirmed.get(&there.index_of(&member.id)?)?;
            Some(Evidence::TwoRosters(TwoRosters {
                member: member.id_pk,
                confirmed: [(Arc::clone(here), *signature), (Arc::clone(there), *again)],
            }))
        };
        self.confirmed.iter().filter_map(both).collect()
    }
}

impl Heard {
    fn two_sets(&self, first: Outcome, second: &Outcome) -> Option<Evidence> {
        let digest = |outcome: &Outcome| match outcome {
            Outcome::Proposal(proposal) => proposal.value.digest(),
            Outcome::Result(result) => result.value.digest,
        };
        let cohort = &self.cohort.as_ref()?.value;
        (digest(&first) != digest(second)).then(|| {
            Evidence::TwoSurvivorSets(TwoSurvivorSets {
                attempt: self.attempt.clone(),
                said: [(cohort.clone(), first), (cohort.clone(), second.clone())],
            })
        })
    }

    fn two_results(
        &self,
        first: Signed<RoundResult>,
        second: Signed<RoundResult>,
    ) -> Option<Evidence> {
        let cohort = &self.cohort.as_ref()?.value;
        Some(Evidence::TwoResults(TwoResults {
            attempt: self.attempt.clone(),
            results: [(cohort.clone(), first), (cohort.clone(), second)],
        }))
    }
}
