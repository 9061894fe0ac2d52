//! Holder: a site's duty to others in the current attempt. Attest once, then release or abort, once.
//!
//! The typestates of [`veilsum_secagg::holder`] do the promising; this says when, and writes the ledger. Source: protocol, section 13
//! (normative).

use std::sync::Arc;

use veilsum_secagg::channel::{MAX_SEQ_JUMP, PairKeys};
use veilsum_secagg::context::Attempt;
use veilsum_secagg::evidence::Evidence;
use veilsum_secagg::evidence::dealing::WrongShare;
use veilsum_secagg::holder::{Aborted, Attested, Idle, OpenedShares, Released, Verdict};
use veilsum_secagg::keys::Signature;
use veilsum_secagg::message::{Announcement, Commit, ShareItem, SurvivorItem, SurvivorProposal};
use veilsum_secagg::participant::OwnShares;
use veilsum_secagg::{Certificate, Digest, Error, Fault};

use super::{Current, Output, Participant, SessionPhase, Step};
use crate::ledger::{Duty, Line, MemberSet, Sent};
use crate::rejection::Rejection;
use crate::vault::{Name, Place};

/// How far the duty in the current attempt went.
pub(crate) enum HolderPhase {
    /// The site is not a holder of it.
    None,
    Idle(Idle),
    Attested(Attested),
    Released(Released),
    /// The coordinator has the list; the keys that made it are gone. Counts as released in every rule.
    Done,
    Aborted,
}

impl HolderPhase {
    pub(super) fn open(attempt: &Arc<Attempt>, me: u32) -> Self {
        Idle::new(Arc::clone(attempt), me).map_or(Self::None, Self::Idle)
    }

    pub(super) fn duty(&self) -> Duty {
        match self {
            Self::None => Duty::None,
            Self::Idle(_) => Duty::Idle,
            Self::Attested(_) => Duty::Attested,
            Self::Released(_) | Self::Done => Duty::Released,
            Self::Aborted => Duty::Aborted,
        }
    }
}

impl Participant {
    /// How far the duty in the current attempt went.
    pub fn duty(&self) -> Duty {
        self.current
            .as_ref()
            .map_or(Duty::None, |current| current.holder.duty())
    }

    /// Opens the shares of every cohort member and keeps them in memory; then asks for what was waiting for them.
    ///
    /// # Errors
    /// The coordinator's fault if the items are not the cohort's; nothing is kept then.
    pub fn open_shares(&mut self, ann_hash: Digest, items: &[ShareItem]) -> Result<(), Rejection> {
        let current = self.current(ann_hash)?;
        let cohort = current.cohort.as_ref().ok_or(Rejection::OutOfPhase {
            what: "shares",
            phase: "without a cohort",
        })?;
        let place = current.place();
        let inbound = self.inbound(place)?;
        let own = self
            .vault
            .get(Name::OwnShares(place))
            .map(OwnShares::restore)
            .transpose()?;
        let me = self.me(current.attempt.roster())?;
        self.opened = Some(OpenedShares::open(
            &current.attempt,
            me,
            &inbound,
            own.as_ref(),
            cohort,
            items,
        )?);
        self.accuse(me);
        self.ask_with_shares();
        Ok(())
    }

    /// Asks for what the dealers signed whose shares cannot be used. Whether anybody can be shown that, only their Commits say.
    fn accuse(&mut self, me: u32) {
        let (Some(current), Some(opened)) = (&self.current, &self.opened) else {
            return;
        };
        let dealers = opened.complaints().iter().filter(|dealer| *dealer != me);
        let dealers: Vec<u32> = dealers.collect();
        if !dealers.is_empty() {
            let attempt = Arc::clone(&current.attempt);
            self.outputs.push_back(Output::Accuse(attempt, dealers));
        }
    }

    /// The proof that `dealer`, whom this holder complains about, dealt it a wrong share: `commit` is what the coordinator says the dealer
    /// signed.
    ///
    /// # Errors
    /// [`Rejection::OutOfPhase`] if there is no complaint about the dealer; else as [`WrongShare::reveal`].
    ///
    /// # Security
    /// The key of the one ciphertext leaves only in a proof that convicts, so an honest dealer's pair stays hidden whatever the coordinator
    /// made this holder complain about. Nothing is decided or sent by it.
    pub fn wrong_share(
        &self,
        ann_hash: Digest,
        dealer: u32,
        commit: &Commit,
    ) -> Result<Evidence, Rejection> {
        let current = self.current(ann_hash)?;
        let complaints = self.opened.as_ref().map(OpenedShares::complaints);
        if complaints.is_none_or(|bad| !bad.contains(dealer)) {
            return Err(Rejection::OutOfPhase {
                what: "a commit record",
                phase: "without a complaint about its dealer",
            });
        }
        let inbound = self.inbound(current.place())?;
        let me = self.me(current.attempt.roster())?;
        let proof = WrongShare::reveal(&current.attempt, me, &inbound, dealer, commit)?;
        Ok(Evidence::WrongShare(proof))
    }

    fn inbound(&self, place: Place) -> Result<PairKeys, Error> {
        let stored = self.vault.get(Name::Inbound(place));
        PairKeys::from_secret_bytes(stored.ok_or(Error::Stored("inbound round key"))?)
    }

    /// Takes a survivor proposal up for judgement.
    ///
    /// # Errors
    /// The coordinator's fault for a wrong signature or context; [`Rejection::Repeated`] for one that is already under judgement.
    pub fn propose(
        &mut self,
        proposal: SurvivorProposal,
        signature: &Signature,
    ) -> Result<(), Rejection> {
        if self.proposal.as_ref() == Some(&proposal) {
            return Err(Rejection::Repeated);
        }
        if !proposal.verifies(&self.coordinator, signature) {
            return Err(Fault::Signature("survivor proposal")
                .by_coordinator()
                .into());
        }
        let current = self
            .current
            .as_ref()
            .ok_or(Rejection::Elsewhere("attempt"))?;
        if current.cohort.as_ref().map(|cohort| cohort.ctx()) != Some(proposal.ctx) {
            return Err(Rejection::Elsewhere("cohort"));
        }
        if self.proposal.is_some() {
            return Err(Fault::Equivocation("survivor set").by_coordinator().into());
        }
        self.proposal = Some(proposal);
        self.ask_with_shares();
        Ok(())
    }

    /// Judges the proposal by the rules of section 10.
    ///
    /// # Errors
    /// The rule that was broken; nothing is signed.
    pub fn judge(
        &self,
        proposal: &SurvivorProposal,
        items: &[SurvivorItem],
    ) -> Result<Verdict, Rejection> {
        let current = self
            .current
            .as_ref()
            .ok_or(Rejection::Elsewhere("attempt"))?;
        let (Some(cohort), Some(opened)) = (&current.cohort, &self.opened) else {
            return Err(Rejection::OutOfPhase {
                what: "a survivor proposal",
                phase: "without opened shares",
            });
        };
        if cohort.ctx() != proposal.ctx {
            return Err(Rejection::Elsewhere("cohort")); // of an attempt that is over; what it was judged by came late
        }
        let HolderPhase::Idle(idle) = &current.holder else {
            return Err(Rejection::OutOfPhase {
                what: "a survivor proposal",
                phase: "past judging",
            });
        };
        let me = self.me(current.attempt.roster())?;
        let own = match current.session {
            SessionPhase::Received { upload_hash } => Some((me, upload_hash)),
            _ => None,
        };
        Ok(idle.judge(cohort, opened, proposal, items, own)?)
    }

    pub(super) fn admit_duty(&self, current: &Current, step: &Step) -> Result<(), Rejection> {
        let past = || Rejection::OutOfPhase {
            what: "this step",
            phase: "past it",
        };
        match step {
            Step::CohortSeen { cohort, signature } => self.admit_cohort(current, cohort, signature),
            Step::Attested(verdict) => admit_verdict(current, verdict),
            Step::Released(certificate) => admit_release(current, certificate),
            Step::Delivered => match current.holder {
                HolderPhase::Released(_) => Ok(()),
                HolderPhase::Done => Err(Rejection::Repeated),
                _ => Err(past()),
            },
            Step::Expired if current.session != SessionPhase::Over => Ok(()),
            _ => Err(past()),
        }
    }

    fn admit_cohort(
        &self,
        current: &Current,
        cohort: &veilsum_secagg::message::Cohort,
        signature: &Signature,
    ) -> Result<(), Rejection> {
        if cohort.ann_hash != current.attempt.hash()
            || cohort.members.size() != current.attempt.roster().len()
        {
            return Err(Rejection::Elsewhere("attempt"));
        }
        if !cohort.verifies(&self.coordinator, signature) {
            return Err(Fault::Signature("cohort").by_coordinator().into());
        }
        match &current.cohort {
            Some(known) if known == cohort => Err(Rejection::Repeated),
            Some(_) => Err(Fault::Equivocation("cohort").by_coordinator().into()),
            None if current.session == SessionPhase::Over
                || current.holder.duty() == Duty::Aborted =>
            {
                Err(Rejection::OutOfPhase {
                    what: "a cohort",
                    phase: "over",
                })
            }
            None => Ok(()),
        }
    }

    pub(super) fn accept_duty(&mut self, place: Place, step: Step) {
        let Some(current) = &mut self.current else {
            return;
        };
        if step == Step::Expired {
            (current.session, self.opened) = (SessionPhase::Over, None);
        }
        if let (Step::Attested(verdict), Some(line)) = (&step, self.ledger.attempts.get_mut(&place))
        {
            line.survivors = Some(MemberSet {
                digest: verdict.proposal.digest(),
                count: verdict.proposal.survivors.count(),
            });
        }
        let before = std::mem::replace(&mut current.holder, HolderPhase::None);
        current.holder = match (before, step) {
            (HolderPhase::Idle(idle), Step::Attested(verdict)) => {
                HolderPhase::Attested(idle.attest(verdict))
            }
            (HolderPhase::Attested(attested), Step::Released(certificate)) => {
                release(&current.attempt, attested, &certificate)
            }
            (HolderPhase::Released(_), Step::Delivered) => HolderPhase::Done,
            (HolderPhase::Idle(_) | HolderPhase::Attested(_), Step::Expired) => {
                HolderPhase::Aborted
            }
            (unchanged, _) => unchanged,
        };
        if let Some(line) = self.ledger.attempts.get_mut(&place) {
            line.duty = current.holder.duty();
        }
        if matches!(current.holder, HolderPhase::Done | HolderPhase::Aborted) {
            self.opened = None;
        }
        self.ask_holder();
    }

    pub(super) fn admit_abort(
        &self,
        announcement: &Announcement,
        signature: &Signature,
    ) -> Result<(), Rejection> {
        let roster = self.certified_roster()?;
        if announcement.epoch_ctx != roster.ctx() {
            return Err(Rejection::Elsewhere("epoch"));
        }
        if !announcement.verifies(&self.coordinator, signature) {
            return Err(Fault::Signature("announcement").by_coordinator().into());
        }
        let attempt = Attempt::new(Arc::clone(roster), announcement.clone())?;
        attempt
            .position(self.me(roster)?)
            .ok_or(Rejection::NotAMember("holder list"))?;
        if self
            .abort
            .is_some_and(|known| known.ann_hash == attempt.hash())
        {
            return Err(Rejection::Repeated);
        }
        match self
            .ledger
            .attempts
            .get(&(roster.epoch(), announcement.seq))
        {
            None => self.admit_tombstone(roster.epoch(), announcement.seq),
            Some(line) if line.ann_hash != attempt.hash() => {
                Err(Rejection::Conflict("announcement"))
            }
            Some(line) if line.duty == Duty::Released => Err(Rejection::OutOfPhase {
                what: "an abort",
                phase: "released",
            }),
            Some(_) => Ok(()), // given up before, without anybody asking
        }
    }

    /// An attempt that was never taken up can be aborted, and is then never taken up later. Numbers near those on record only, and not
    /// without end: each is a line that stays to the end of the run.
    fn admit_tombstone(&self, epoch: u64, seq: u64) -> Result<(), Rejection> {
        let lines = self.ledger.attempts.range((epoch, 0)..=(epoch, u64::MAX));
        let (mut have, mut newest) = (1, 0);
        for ((_, known), _) in lines {
            (have, newest) = (have + 1, *known);
        }
        let limit = newest.saturating_add(MAX_SEQ_JUMP);
        if seq > limit {
            let what = "an attempt number";
            let have = seq;
            return Err(Fault::TooMany { what, have, limit }.by_coordinator().into());
        }
        // An epoch serves so many attempts, and a few more if the last is tried again.
        let limit = 2 * u64::from(self.params.config().epoch_rounds);
        if have > limit {
            let what = "the number of attempts of an epoch";
            return Err(Fault::TooMany { what, have, limit }.by_coordinator().into());
        }
        Ok(())
    }

    pub(super) fn accept_abort(&mut self, announcement: Announcement) -> Result<(), Rejection> {
        let roster = Arc::clone(self.certified_roster()?);
        let place = (roster.epoch(), announcement.seq);
        let (round, model_hash) = (announcement.round, announcement.model_hash);
        let me = self.me(&roster)?;
        let attempt = Arc::new(Attempt::new(roster, announcement)?);
        let tombstone = Aborted::tombstone(&attempt, me)?;
        let ann_hash = attempt.hash();
        let line = self.ledger.attempts.entry(place).or_insert_with(|| Line {
            round,
            attempt: Some(attempt),
            ann_hash,
            model_hash,
            duty: Duty::Aborted,
            sent: Sent::Nothing,
            cohort: None,
            survivors: None,
        });
        line.duty = Duty::Aborted;
        if let Some(current) = self
            .current
            .as_mut()
            .filter(|current| current.attempt.hash() == ann_hash)
        {
            (current.holder, current.session) = (HolderPhase::Aborted, SessionPhase::Over);
            self.opened = None;
        }
        let attestation = tombstone.attestation(&self.setting.identity);
        self.abort = Some(attestation);
        self.outputs.push_back(Output::Abort(attestation));
        Ok(())
    }

    /// What the duty needs next of the world.
    pub(super) fn ask_holder(&mut self) {
        let Some(current) = &self.current else { return };
        let holds = self.vault.get(Name::Inbound(current.place())).is_some();
        match &current.holder {
            HolderPhase::Attested(attested) => {
                let attestation = Box::new(attested.attestation(&self.setting.identity));
                let ann_hash = current.attempt.hash();
                self.outputs
                    .push_back(Output::Attest(ann_hash, attestation));
            }
            HolderPhase::None
            | HolderPhase::Idle(_)
            | HolderPhase::Released(_)
            | HolderPhase::Done
            | HolderPhase::Aborted => {}
        }
        let waits = matches!(
            current.holder,
            HolderPhase::Idle(_) | HolderPhase::Attested(_) | HolderPhase::Released(_)
        );
        if self.opened.is_some() {
            self.ask_with_shares();
        } else if waits && holds && current.cohort.is_some() {
            self.outputs
                .push_back(Output::OpenShares(Arc::clone(&current.attempt)));
        }
    }

    /// What was waiting for opened shares.
    fn ask_with_shares(&mut self) {
        let (Some(current), Some(opened)) = (&self.current, &self.opened) else {
            return;
        };
        match (&current.holder, &self.proposal) {
            (HolderPhase::Idle(_), Some(proposal)) => {
                self.outputs.push_back(Output::Judge(
                    Arc::clone(&current.attempt),
                    proposal.clone(),
                ));
            }
            (HolderPhase::Released(released), _) => {
                if let Ok(list) = released.unmask(&self.setting.identity, opened) {
                    self.outputs
                        .push_back(Output::Unmask(current.attempt.hash(), Box::new(list)));
                }
            }
            _ => {}
        }
    }
}

fn admit_verdict(current: &Current, verdict: &Verdict) -> Result<(), Rejection> {
    let same_cohort = current
        .cohort
        .as_ref()
        .is_some_and(|cohort| cohort.ctx() == verdict.proposal.ctx);
    match &current.holder {
        HolderPhase::Idle(_) if same_cohort => Ok(()),
        HolderPhase::Attested(attested) if attested.verdict() == verdict => {
            Err(Rejection::Repeated)
        }
        HolderPhase::Attested(_) => Err(Rejection::Conflict("attestation")),
        _ => Err(Rejection::OutOfPhase {
            what: "an attestation",
            phase: "past it",
        }),
    }
}

fn admit_release(current: &Current, certificate: &Certificate) -> Result<(), Rejection> {
    match &current.holder {
        HolderPhase::Attested(attested) => {
            certificate
                .certify_survivors(&current.attempt, attested.verdict().proposal.digest())?;
            Ok(())
        }
        HolderPhase::Released(_) | HolderPhase::Done => Err(Rejection::Repeated),
        HolderPhase::None | HolderPhase::Idle(_) | HolderPhase::Aborted => {
            Err(Rejection::OutOfPhase {
                what: "a survivor certificate",
                phase: "not attested",
            })
        }
    }
}

fn release(attempt: &Attempt, attested: Attested, certificate: &Certificate) -> HolderPhase {
    let digest = attested.verdict().proposal.digest();
    match certificate.certify_survivors(attempt, digest) {
        Ok(certified) => attested
            .release(certified)
            .map_or_else(HolderPhase::Attested, HolderPhase::Released),
        Err(_) => HolderPhase::Attested(attested),
    }
}
