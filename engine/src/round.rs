//! Round: one attempt from announcement to result, as the coordinator sees it.
//!
//! A phase changes only here, by a `*Closed` decision that names the set; a phase file decides and checks, it never moves on by
//! itself. Vectors never come in here: an upload is the name of staged bytes, and the sum is a job that the world is asked to do.
//! Source: protocol, sections 7 to 12; commit points, section 14.

mod aborting;
mod attesting;
mod committing;
mod finishing;
mod folding;
mod submitting;
mod unmasking;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use veilsum_common::blob::BlobRef;
use veilsum_common::ids::SiteName;
use veilsum_common::time::Timestamp;
use veilsum_secagg::checksum::Checksum;
use veilsum_secagg::context::Attempt;
use veilsum_secagg::coordinator::Commits;
use veilsum_secagg::message::{
    AbortAttestation, Attestation, Cohort, Commit, RoundResult, SurvivorItem, SurvivorProposal,
    UnmaskList,
};
use veilsum_secagg::{Bitmap, Certificate, Digest};

use crate::machine::Machine;
use crate::plan::Fold;
use crate::rejection::{Abort, Rejection};
use crate::terms::Terms;

/// Why a member sits an attempt out. Only the class leaves the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decline {
    /// Its trainer said: not this round.
    NotNow,
    /// Its trainer failed or overran its deadline.
    TrainerFailed,
    /// What its trainer wrote was refused.
    UpdateRefused,
    /// Its policy refused.
    Policy,
    /// Its one update for this model was given, and its operator has not consented to another sum over it (R4).
    Spent,
}

/// An upload whose bytes are durable: what the machine keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its signed hash.
    pub item: SurvivorItem,
    /// Masked metadata lanes.
    pub metadata: Vec<u8>,
    /// The packed chunks, one after the other.
    pub blob: BlobRef,
    /// What the vector adds to the books, taken as its bytes came.
    pub checksum: Checksum,
    /// When it was accepted; stands in the receipt.
    pub at: Timestamp,
}

/// What the final job computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computed {
    /// BLAKE3 of the sum's lanes.
    pub sum_hash: Digest,
    /// Plain sums of the metadata lanes, u64 little-endian.
    pub metadata: Vec<u8>,
    /// The next model.
    pub next_model: BlobRef,
    /// Holders that released a scalar which is not the committed one.
    pub liars: BTreeSet<u32>,
}

/// What an attempt is opened with, besides its announcement.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Opening {
    /// Configuration bytes for the trainers.
    pub round_config: Vec<u8>,
    /// Abort certificates of earlier attempts for the same model.
    pub abort_certificates: Vec<Certificate>,
    /// Members whose dealing failed in an earlier attempt of this round: their Commits are refused.
    pub excluded: Vec<u32>,
}

/// What happens in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member committed.
    Committed {
        /// Its roster index.
        index: u32,
        /// Its Commit.
        commit: Box<Commit>,
    },
    /// A member sits this attempt out.
    Declined {
        /// Its roster index.
        index: u32,
        /// Class of the reason.
        why: Decline,
    },
    /// Decision: the cohort (CP3).
    CohortClosed {
        /// Its members.
        members: Bitmap,
    },
    /// A member's upload is durable (CP4).
    Uploaded(Box<Upload>),
    /// Decision: the survivors (CP5). One-way.
    SurvivorsClosed {
        /// U.
        survivors: Bitmap,
    },
    /// A holder attested.
    Attested {
        /// Its roster index.
        index: u32,
        /// What it signed.
        attestation: Box<Attestation>,
    },
    /// Decision: the survivors are certified (CP6). Excludes an abort.
    Certified {
        /// Roster indices of the holders whose signatures are in the certificate.
        holders: Vec<u32>,
    },
    /// A holder released its shares (CP7).
    Unmasked {
        /// Its roster index.
        index: u32,
        /// The list.
        list: Box<UnmaskList>,
    },
    /// Decision: these lists are joined.
    SharesClosed {
        /// Roster indices of the holders.
        holders: Vec<u32>,
    },
    /// A stretch of a batch is folded, and its partial durable.
    Folded {
        /// Which.
        fold: Fold,
        /// Of the part of the partial.
        digest: Digest,
    },
    /// The final job is done (J).
    JobDone(Box<Computed>),
    /// Decision: the attempt is given up. Excludes a survivor certificate.
    AbortDecided(Abort),
    /// A holder will never release anything of this attempt.
    AbortAttested {
        /// Its roster index.
        index: u32,
        /// What it signed.
        attestation: AbortAttestation,
    },
    /// Decision: the abort is certified.
    AbortCertified {
        /// Roster indices of the holders.
        holders: Vec<u32>,
    },
    /// Decision: the attempt is lost for good.
    Lost(Abort),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a result.
    Published(Box<Published>),
    /// Without one; a new attempt may follow.
    Aborted {
        /// Why.
        reason: Abort,
        /// Proof that nothing of it can be released, needed when masked bytes may have been sent.
        certificate: Option<Certificate>,
    },
    /// Without one, and what the sites sent is spent: their own operators alone may let them contribute to the same model again (R4).
    Spent(Loss),
    /// Without one, and no further attempt can help.
    Lost(Abort),
}

/// An attempt in which masked bytes were sent, and of which neither a result nor a certified abort can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub reason: Abort,
    /// Holders that were waited for in vain.
    pub missing: Vec<SiteName>,
    /// The dealer whose shares did not fit.
    pub culprit: Option<SiteName>,
}

/// A completed round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What the coordinator signs.
    pub result: RoundResult,
    /// The survivor certificate.
    pub certificate: Certificate,
    /// The next model.
    pub model: BlobRef,
    /// When the attempt was opened.
    pub opened_at: Timestamp,
    /// Members of the cohort.
    pub cohort: u32,
    /// Members of the cohort that are not in the sum.
    pub dropped: Vec<SiteName>,
    /// Holders that lied and were filtered out.
    pub liars: BTreeSet<u32>,
}

/// What a round asks of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Fold what is not folded yet.
    Fold,
    /// Compute the final job: add what is left to add, take the masks off, make the next model.
    Compute,
    /// These staged uploads are not needed any more.
    Discard(Vec<BlobRef>),
    /// The attempt is over.
    End(Outcome),
}

/// Where the attempt stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Committing,
    Submitting { until: Timestamp },
    Attesting { until: Timestamp },
    Unmasking,
    Finishing,
    Aborting(Abort),
    Ended(Outcome),
}

/// The machine of one attempt.
#[derive(Debug)]
pub struct Round {
    terms: Terms,
    attempt: Arc<Attempt>,
    sites: Vec<SiteName>,
    opening: Opening,
    opened_at: Timestamp,
    phase: Phase,
    commits: Commits,
    declined: BTreeMap<u32, Decline>,
    cohort: Option<Cohort>,
    uploads: BTreeMap<u32, Upload>,
    proposal: Option<SurvivorProposal>,
    attestations: BTreeMap<u32, Attestation>,
    certificate: Option<Certificate>,
    lists: BTreeMap<u32, UnmaskList>,
    usable: BTreeMap<u32, u32>,
    folded: BTreeMap<Fold, Digest>,
    aborts: BTreeMap<u32, AbortAttestation>,
    outputs: VecDeque<Output>,
}

impl Round {
    /// Opens the attempt (CP1); `sites` are the names of the roster's members, in its order.
    pub fn open(
        terms: Terms,
        attempt: Arc<Attempt>,
        sites: Vec<SiteName>,
        opening: Opening,
        at: Timestamp,
    ) -> Self {
        Self {
            terms,
            attempt,
            sites,
            opening,
            opened_at: at,
            phase: Phase::Committing,
            commits: BTreeMap::new(),
            declined: BTreeMap::new(),
            cohort: None,
            uploads: BTreeMap::new(),
            proposal: None,
            attestations: BTreeMap::new(),
            certificate: None,
            lists: BTreeMap::new(),
            usable: BTreeMap::new(),
            folded: BTreeMap::new(),
            aborts: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// The attempt.
    pub fn attempt(&self) -> &Arc<Attempt> {
        &self.attempt
    }

    /// Configuration bytes for the trainers.
    pub fn round_config(&self) -> &[u8] {
        &self.opening.round_config
    }

    /// Abort certificates of earlier attempts for the same model.
    pub fn abort_certificates(&self) -> &[Certificate] {
        &self.opening.abort_certificates
    }

    /// Name of roster member `index`.
    pub fn site(&self, index: u32) -> Option<&SiteName> {
        self.sites.get(index as usize)
    }

    /// Roster index of a site, in the roster of this attempt.
    pub fn index_of(&self, site: &SiteName) -> Option<u32> {
        let place = self.sites.iter().position(|name| name == site)?;
        u32::try_from(place).ok()
    }

    /// When it was opened.
    pub fn opened_at(&self) -> Timestamp {
        self.opened_at
    }

    /// Accepted Commits.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }

    /// What `dealer` signed, for a holder that cannot use its share: nobody else needs what is sealed for others.
    ///
    /// # Errors
    /// [`Rejection::NotAMember`] if member `index` is no holder; [`Rejection::Elsewhere`] if the dealer is in no cohort.
    pub fn commit_record(&self, index: u32, dealer: u32) -> Result<&Commit, Rejection> {
        let position = self.attempt.position(index);
        position.ok_or(Rejection::NotAMember("holder list"))?;
        let committed = self.cohort.as_ref().and(self.commits.get(&dealer));
        committed.ok_or(Rejection::Elsewhere("cohort"))
    }

    /// Members that sit this attempt out, and why.
    pub fn declined(&self) -> &BTreeMap<u32, Decline> {
        &self.declined
    }

    /// The cohort, once it is fixed.
    pub fn cohort(&self) -> Option<&Cohort> {
        self.cohort.as_ref()
    }

    /// Accepted uploads, by member.
    pub fn uploads(&self) -> &BTreeMap<u32, Upload> {
        &self.uploads
    }

    /// The survivors, once they are fixed.
    pub fn proposal(&self) -> Option<&SurvivorProposal> {
        self.proposal.as_ref()
    }

    /// Holders that attested.
    pub fn attestations(&self) -> &BTreeMap<u32, Attestation> {
        &self.attestations
    }

    /// The survivor certificate, once it may leave.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Released lists, by holder.
    pub fn lists(&self) -> &BTreeMap<u32, UnmaskList> {
        &self.lists
    }

    /// Why the attempt is being given up, while holders are asked to confirm it.
    pub fn aborting(&self) -> Option<&Abort> {
        match &self.phase {
            Phase::Aborting(reason) => Some(reason),
            _ => None,
        }
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether an upload of member `index` would be taken now; asked before its bytes are.
    ///
    /// # Errors
    /// As [`Machine::admit`] of the upload; [`Rejection::Repeated`] if there is one, whatever the bytes.
    pub fn expects_upload(&self, index: u32) -> Result<&Cohort, Rejection> {
        submitting::expected(self, index)
    }

    /// One word for where it stands.
    pub fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Committing => "waiting for commits",
            Phase::Submitting { .. } => "waiting for uploads",
            Phase::Attesting { .. } => "waiting for attestations",
            Phase::Unmasking => "waiting for unmask shares",
            Phase::Finishing => "computing the sum",
            Phase::Aborting(_) => "being aborted",
            Phase::Ended(_) => "over",
        }
    }

    fn out_of_phase(&self, what: &'static str) -> Rejection {
        Rejection::OutOfPhase {
            what,
            phase: self.phase(),
        }
    }

    /// What the order of events can change; everything else was checked before the event was journalled.
    fn order(&self, event: &Event) -> Result<(), Rejection> {
        let decision = |wanted: bool| {
            if wanted {
                Ok(())
            } else {
                Err(self.out_of_phase("a decision"))
            }
        };
        match event {
            Event::Committed { index, commit } => committing::order(self, *index, commit),
            Event::Declined { index, .. } => committing::order_decline(self, *index),
            Event::CohortClosed { .. } => decision(self.phase == Phase::Committing),
            Event::Uploaded(upload) => submitting::order(self, upload),
            Event::SurvivorsClosed { .. } => {
                decision(matches!(self.phase, Phase::Submitting { .. }))
            }
            Event::Attested { index, attestation } => attesting::order(self, *index, attestation),
            Event::Certified { .. } => decision(matches!(self.phase, Phase::Attesting { .. })),
            Event::Unmasked { index, list } => unmasking::order(self, *index, list),
            Event::SharesClosed { .. } => decision(self.phase == Phase::Unmasking),
            Event::Folded { fold, digest } => folding::order(self, *fold, digest),
            Event::JobDone(computed) => finishing::order(self, computed),
            Event::AbortDecided(_) => decision(aborting::possible(self)),
            Event::AbortAttested { index, attestation } => {
                aborting::order(self, *index, attestation)
            }
            Event::AbortCertified { .. } => decision(matches!(self.phase, Phase::Aborting(_))),
            Event::Lost(_) => decision(!matches!(self.phase, Phase::Ended(_))),
        }
    }

    /// Signatures and hashes: what does not depend on the order.
    fn check(&self, event: &Event) -> Result<(), Rejection> {
        match event {
            Event::Committed { index, commit } => committing::check(self, *index, commit),
            Event::Attested { index, attestation } => attesting::check(self, *index, attestation),
            Event::Unmasked { index, list } => unmasking::check(self, *index, list),
            Event::AbortAttested { index, attestation } => {
                aborting::check(self, *index, attestation)
            }
            // An upload was checked by `coordinator::check_trailer` with its bytes; decisions and job results are our own.
            Event::Declined { .. }
            | Event::CohortClosed { .. }
            | Event::Uploaded(_)
            | Event::SurvivorsClosed { .. }
            | Event::Certified { .. }
            | Event::SharesClosed { .. }
            | Event::Folded { .. }
            | Event::JobDone(_)
            | Event::AbortDecided(_)
            | Event::AbortCertified { .. }
            | Event::Lost(_) => Ok(()),
        }
    }

    /// The only place where the phase changes.
    fn apply(&mut self, at: Timestamp, event: Event) -> Result<Option<Phase>, Abort> {
        Ok(match event {
            Event::Committed { index, commit } => {
                self.commits.insert(index, *commit);
                None
            }
            Event::Declined { index, why } => {
                self.declined.insert(index, why);
                None
            }
            Event::CohortClosed { members } => Some(committing::close(self, at, &members)?),
            Event::Uploaded(upload) => {
                self.uploads.insert(upload.item.index, *upload);
                None
            }
            Event::SurvivorsClosed { survivors } => Some(submitting::close(self, at, &survivors)?),
            Event::Attested { index, attestation } => {
                self.attestations.insert(index, *attestation);
                None
            }
            Event::Certified { holders } => Some(attesting::close(self, &holders)?),
            Event::Unmasked { index, list } => {
                unmasking::insert(self, index, *list);
                None
            }
            Event::SharesClosed { holders } => Some(unmasking::close(self, &holders)?),
            Event::Folded { fold, digest } => {
                folding::insert(self, fold, digest)?;
                None
            }
            Event::JobDone(computed) => Some(finishing::close(self, *computed)?),
            Event::AbortDecided(reason) => Some(aborting::start(self, reason)),
            Event::AbortAttested { index, attestation } => {
                self.aborts.insert(index, attestation);
                None
            }
            Event::AbortCertified { holders } => Some(aborting::close(self, &holders)?),
            Event::Lost(reason) => Some(Phase::Ended(self.lost(reason))),
        })
    }

    /// Without t holders an attempt that was masked can neither be finished nor proved dead, and a convicted dealer is found only after
    /// the release: in both cases silence and blame prove nothing to a site that would contribute again. Source: protocol, section 12.
    fn lost(&self, reason: Abort) -> Outcome {
        let (missing, culprit) = match &reason {
            Abort::ReleaseLost { .. } => (self.silent(&self.lists), None),
            Abort::AbortUncertified { .. } => (self.silent(&self.aborts), None),
            Abort::Dealer { dealer } => (Vec::new(), self.site(*dealer).cloned()),
            Abort::RosterTooSmall { .. }
            | Abort::RosterUnconfirmed { .. }
            | Abort::TooFewOnline { .. }
            | Abort::CohortTooSmall { .. }
            | Abort::SurvivorsTooFew { .. }
            | Abort::AttestationsTooFew { .. }
            | Abort::BadDealing { .. }
            | Abort::BadSum
            | Abort::NotFinite
            | Abort::Unchanged { .. }
            | Abort::Diverged(_)
            | Abort::Unbalanced
            | Abort::Cancelled => return Outcome::Lost(reason),
        };
        Outcome::Spent(Loss {
            reason,
            missing,
            culprit,
        })
    }

    /// Holders of this attempt that are not among `answers`.
    fn silent<T>(&self, answers: &BTreeMap<u32, T>) -> Vec<SiteName> {
        let holders = self.attempt.announcement().holders.iter();
        let silent = holders.filter(|index| !answers.contains_key(index));
        silent
            .filter_map(|index| self.site(index).cloned())
            .collect()
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        match &self.phase {
            Phase::Attesting { .. } => self.ask_fold(),
            Phase::Finishing => self.ask_compute(),
            Phase::Ended(outcome) => {
                let outcome = outcome.clone();
                let staged = self.uploads.values().map(|upload| upload.blob).collect();
                self.outputs
                    .extend([Output::End(outcome), Output::Discard(staged)]);
            }
            Phase::Committing
            | Phase::Submitting { .. }
            | Phase::Unmasking
            | Phase::Aborting(_) => {}
        }
    }

    /// Whoever folds goes on until nothing is left to fold, whatever the phase.
    fn ask_fold(&mut self) {
        if self.next_fold().is_some() {
            self.outputs.push_back(Output::Fold);
        }
    }

    /// The last fold asks again.
    fn ask_compute(&mut self) {
        if self.phase == Phase::Finishing && self.next_fold().is_none() {
            self.outputs.push_back(Output::Compute);
        }
    }

    /// Until when sites are waited for that were asked for something at `at`; nothing of an attempt is waited for after its expiry.
    fn report_deadline(&self, at: Timestamp) -> Timestamp {
        (at + self.terms.report).min(self.expires())
    }

    fn expires(&self) -> Timestamp {
        Timestamp(self.attempt.announcement().expires_ms)
    }
}

impl Machine for Round {
    type Event = Event;
    type Output = Output;

    fn admit(&self, _at: Timestamp, event: &Event) -> Result<(), Rejection> {
        self.order(event)?;
        self.check(event)
    }

    fn handle(&mut self, at: Timestamp, event: Event) -> Result<(), Rejection> {
        self.order(&event)?;
        match self.apply(at, event) {
            Ok(Some(phase)) => self.enter(phase),
            Ok(None) => {}
            Err(reason) => self.enter(Phase::Ended(Outcome::Lost(reason))),
        }
        Ok(())
    }

    fn due(&self, at: Timestamp) -> Option<Event> {
        match &self.phase {
            Phase::Committing => committing::due(self, at),
            Phase::Submitting { until } => submitting::due(self, at >= *until),
            Phase::Attesting { until } => attesting::due(self, at >= *until),
            Phase::Unmasking => unmasking::due(self, at >= self.expires()),
            Phase::Aborting(_) => aborting::due(self, at >= self.expires()),
            Phase::Finishing | Phase::Ended(_) => None,
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Committing => Some(Timestamp(self.attempt.announcement().commit_by_ms)),
            Phase::Submitting { until } | Phase::Attesting { until } => Some(*until),
            Phase::Unmasking | Phase::Aborting(_) => Some(self.expires()),
            Phase::Finishing | Phase::Ended(_) => None,
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn resume(&mut self) {
        self.outputs.clear();
        self.ask_fold();
        match &self.phase {
            Phase::Finishing | Phase::Ended(_) => self.enter(self.phase.clone()),
            Phase::Committing
            | Phase::Submitting { .. }
            | Phase::Attesting { .. }
            | Phase::Unmasking
            | Phase::Aborting(_) => {}
        }
    }
}

/// Whether a message of `index` is new, the same again, or another one under the same name.
fn first<T: PartialEq>(
    known: Option<&T>,
    message: &T,
    what: &'static str,
) -> Result<(), Rejection> {
    match known {
        None => Ok(()),
        Some(known) if known == message => Err(Rejection::Repeated),
        Some(_) => Err(Rejection::Conflict(what)),
    }
}

fn count<T>(map: &BTreeMap<u32, T>) -> u32 {
    u32::try_from(map.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
