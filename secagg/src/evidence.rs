//! Proofs that convince a third party offline: who dealt a wrong share, who released a wrong scalar, whose shares fit no secret.
//!
//! Each answers one question from signed bytes alone and can convict no honest site. A complaint is no proof and is not here: a
//! ciphertext that does not open is word against word. What is done about a conviction is the engine's affair. Source: protocol,
//! sections 11.3 and 28.

use std::collections::BTreeSet;

use crate::channel::{self, Envelope, PairKeys};
use crate::codec::Digest;
use crate::commitment::{self, Secret};
use crate::context::Attempt;
use crate::coordinator::{self, check_commit};
use crate::error::{Error, Fault};
use crate::holder::{committed_pair, revealed};
use crate::keys::Seed;
use crate::merkle::Tree;
use crate::message::{Cohort, Commit, SurvivorProposal, UnmaskList};
use crate::shamir::SecretScalar;

/// The key of one ciphertext, which the holder at `position` gives away to show what it was dealt.
pub struct WrongShare {
    /// Position of the holder, from 1.
    pub position: u32,
    /// `k_share(i→c)`: it serves this ciphertext only.
    pub k_share: Seed,
}

impl WrongShare {
    /// What holder `me` reveals about its share of `dealer`, after it complained: `commit` is what the coordinator then said the dealer
    /// sent.
    ///
    /// # Errors
    /// [`Error::NotAMember`] if `me` is no holder, [`Error::Stored`] if its inbound key is gone. The coordinator's fault if the dealer
    /// did not sign this Commit, or if the share in it is the committed one: then what this holder complained about was another
    /// ciphertext. The dealer's, which nobody else can be shown, if the share in it does not open.
    ///
    /// # Security
    /// Ciphertexts are not under the cohort's root, so a complaint may be about bytes that the dealer never sent, and the key of an
    /// honest one would give away both of its shares. The key therefore leaves this function only in a proof that convicts.
    pub fn reveal(
        attempt: &Attempt,
        me: u32,
        inbound: &PairKeys,
        dealer: u32,
        commit: &Commit,
    ) -> Result<Self, Error> {
        let position = attempt
            .position(me)
            .ok_or(Error::NotAMember("holder list"))?;
        let altered = Fault::Signature("commit record").by_coordinator();
        let core = check_commit(attempt, dealer, commit).map_err(|_| altered)?;
        let envelope = Envelope {
            attempt,
            dealer,
            holder: me,
            nonce: &commit.nonce,
            core: &core,
        };
        let round_key = inbound
            .get(dealer)
            .ok_or(Error::Stored("inbound round key"))?;
        let proof = Self {
            position,
            k_share: envelope.key(round_key)?,
        };
        match proof.opened(attempt, dealer, commit) {
            Some(false) => Ok(proof),
            Some(true) => Err(Fault::Root("share item").by_coordinator()),
            None => Err(Fault::Context("share key").by(dealer)),
        }
    }

    /// Whether `dealer` signed a Commit whose ciphertext for this holder opens to something else than it committed to.
    ///
    /// No second key opens an honest ciphertext except with 2^-128 per trial.
    pub fn convicts(&self, attempt: &Attempt, dealer: u32, commit: &Commit) -> bool {
        self.opened(attempt, dealer, commit)
            .is_some_and(|fits| !fits)
    }

    /// Whether the opened pair is the committed one; `None` if nothing is proved either way.
    fn opened(&self, attempt: &Attempt, dealer: u32, commit: &Commit) -> Option<bool> {
        let core = check_commit(attempt, dealer, commit).ok()?;
        let (place, holder) = (
            self.position.checked_sub(1)? as usize,
            attempt.holder(self.position)?,
        );
        let (ciphertext, pair) = (
            commit.ciphertexts.get(place)?.as_ref()?,
            commit.share_list.get(place)?,
        );
        let envelope = Envelope {
            attempt,
            dealer,
            holder,
            nonce: &commit.nonce,
            core: &core,
        };
        let plain = channel::open(&self.k_share, &envelope.aad().ok()?.0, ciphertext)?;
        Some(committed_pair(attempt, self.position, dealer, pair, &plain).is_some())
    }
}

/// A holder's own signed list, and the committed leaf that one of its scalars does not fit.
pub struct WrongScalar<'a> {
    /// Index of the dealer.
    pub dealer: u32,
    /// The dealer's Commit.
    pub commit: &'a Commit,
    /// Path of its core to the cohort root.
    pub core_path: &'a [Digest],
    /// The cohort the holder attested about.
    pub cohort: &'a Cohort,
    /// The survivor set it attested.
    pub proposal: &'a SurvivorProposal,
    /// The list it signed.
    pub list: &'a UnmaskList,
}

impl WrongScalar<'_> {
    /// Whether the holder of the list released a scalar for the dealer that is not the committed one.
    pub fn convicts(&self, attempt: &Attempt) -> bool {
        self.released(attempt).is_some_and(|fits| !fits)
    }

    /// Whether the released scalar is the committed one; `None` if nothing is proved either way.
    fn released(&self, attempt: &Attempt) -> Option<bool> {
        let Self {
            dealer,
            commit,
            core_path,
            cohort,
            proposal,
            list,
        } = self;
        let holder = attempt.holder(list.position)?;
        let about_this = cohort.ann_hash == attempt.hash() && proposal.ctx == cohort.ctx();
        if !about_this
            || coordinator::check_unmask(attempt, cohort, &proposal.digest(), holder, list).is_err()
        {
            return None;
        }
        let core = commitment::core_of_commit(attempt, *dealer, commit).ok()?;
        let (rank, size) = (
            cohort.members.rank(*dealer)? as usize,
            cohort.members.count() as usize,
        );
        if Tree::Cohort.root_from_path(&core.0, rank, size, core_path) != Some(cohort.root) {
            return None;
        }
        let (id, pair) = (
            attempt.roster().member(*dealer)?.id,
            commit.share_list.get(list.position as usize - 1)?,
        );
        let (which, scalar) = (
            revealed(&proposal.survivors, *dealer),
            list.scalar(*dealer)?,
        );
        let matches = commitment::matches(which, &attempt.hash(), &id, list.position, scalar, pair);
        // A dealer may commit to a scalar that is none; an honest holder complains about it and never releases it.
        Some(matches && SecretScalar::parse(scalar).is_ok())
    }
}

/// t scalars that match a dealer's leaves and yet do not give what it committed to.
pub struct InconsistentDealing<'a> {
    /// Which of the two secrets they are shares of.
    pub which: Secret,
    /// Position and scalar of each.
    pub scalars: &'a [(u32, [u8; 32])],
}

impl InconsistentDealing<'_> {
    /// Whether `dealer` signed a Commit whose own shares, t of them, do not lead to its committed secret, or its rescue blob does not
    /// hold the mask key.
    pub fn convicts(&self, attempt: &Attempt, dealer: u32, commit: &Commit) -> bool {
        self.consistent(attempt, dealer, commit)
            .is_some_and(|fits| !fits)
    }

    fn consistent(&self, attempt: &Attempt, dealer: u32, commit: &Commit) -> Option<bool> {
        check_commit(attempt, dealer, commit).ok()?;
        let (ann_hash, id) = (attempt.hash(), attempt.roster().member(dealer)?.id);
        let positions: BTreeSet<u32> = self.scalars.iter().map(|(position, _)| *position).collect();
        if positions.len() != self.scalars.len()
            || self.scalars.len() != attempt.threshold() as usize
        {
            return None;
        }
        let share = |(x, scalar): &(u32, [u8; 32])| {
            let pair = commit.share_list.get((*x as usize).checked_sub(1)?)?;
            let matches = commitment::matches(self.which, &ann_hash, &id, *x, scalar, pair);
            Some((*x, SecretScalar::parse(scalar).ok().filter(|_| matches)?))
        };
        let shares = self.scalars.iter().map(share).collect::<Option<Vec<_>>>()?;
        Some(coordinator::leads_to_commitments(
            attempt, dealer, commit, self.which, &shares,
        ))
    }
}
