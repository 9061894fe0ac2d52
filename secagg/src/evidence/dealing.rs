//! Shares that are not the committed ones: dealt, released, or committed so that they fit no secret.
//!
//! The commitments are under the dealer's signature, the released list under the holder's, and no honest dealer or holder makes any of
//! them. What a proof gives away is said at each. Source: protocol, sections 11.3 and 28.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Unproved, check_cohort};
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

/// The key of one ciphertext, which a holder gives away to show what it was dealt: a pair of shares that are wrong.
pub struct WrongShare {
    /// The attempt.
    pub attempt: Arc<Attempt>,
    /// Index of the dealer.
    pub dealer: u32,
    /// What it signed.
    pub commit: Commit,
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
        attempt: &Arc<Attempt>,
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
            attempt: Arc::clone(attempt),
            dealer,
            commit: commit.clone(),
            position,
            k_share: envelope.key(round_key)?,
        };
        match proof.verify() {
            Ok(()) => Ok(proof),
            Err(Unproved::Unopened) => Err(Fault::Context("share key").by(dealer)),
            Err(_) => Err(Fault::Root("share item").by_coordinator()),
        }
    }

    /// No second key opens an honest ciphertext except with 2^-128 per trial.
    pub(super) fn verify(&self) -> Result<(), Unproved> {
        let (attempt, commit) = (&self.attempt, &self.commit);
        let core = check_commit(attempt, self.dealer, commit)
            .map_err(|_| Unproved::Signature("Commit"))?;
        let (Some(holder), Some(place)) = (
            attempt.holder(self.position),
            (self.position as usize).checked_sub(1),
        ) else {
            return Err(Unproved::Absent("holder list"));
        };
        let (Some(Some(ciphertext)), Some(pair)) =
            (commit.ciphertexts.get(place), commit.share_list.get(place))
        else {
            return Err(Unproved::Foreign("position"));
        };
        let envelope = Envelope {
            attempt,
            dealer: self.dealer,
            holder,
            nonce: &commit.nonce,
            core: &core,
        };
        let aad = envelope.aad().map_err(|_| Unproved::Absent("roster"))?;
        let plain = channel::open(&self.k_share, &aad.0, ciphertext).ok_or(Unproved::Unopened)?;
        match committed_pair(attempt, self.position, self.dealer, pair, &plain) {
            Some(_) => Err(Unproved::Committed("share")),
            None => Ok(()),
        }
    }
}

/// A holder's own signed list, and the committed leaf that one of its scalars does not fit.
///
/// # Security
/// The signature is over the whole list, so the proof shows one share, of one kind, of every member in it. The coordinator has them
/// anyway, and nothing follows from fewer than t such lists of one attempt; with at most n_C < t lying holders there are never t.
pub struct WrongScalar {
    /// The attempt.
    pub attempt: Arc<Attempt>,
    /// Index of the dealer.
    pub dealer: u32,
    /// The dealer's Commit.
    pub commit: Commit,
    /// Path of its core to the cohort root.
    pub core_path: Vec<Digest>,
    /// The cohort the holder attested about.
    pub cohort: Cohort,
    /// The survivor set it attested.
    pub proposal: SurvivorProposal,
    /// The list it signed.
    pub list: UnmaskList,
}

impl WrongScalar {
    pub(super) fn verify(&self) -> Result<(), Unproved> {
        let (attempt, list) = (&self.attempt, &self.list);
        let holder = attempt
            .holder(list.position)
            .ok_or(Unproved::Absent("holder list"))?;
        check_cohort(attempt.hash(), &self.cohort)?;
        if self.proposal.ctx != self.cohort.ctx() {
            return Err(Unproved::Foreign("survivor set"));
        }
        coordinator::check_unmask(attempt, &self.cohort, &self.proposal.digest(), holder, list)
            .map_err(|_| Unproved::Signature("unmask list"))?;
        self.check_core()?;
        let absent = Unproved::Absent("unmask list");
        let scalar = list.scalar(self.dealer).ok_or(absent)?;
        let place = list.position as usize - 1;
        let pair = self.commit.share_list.get(place).ok_or(absent)?;
        let id = attempt.roster().member(self.dealer).ok_or(absent)?.id;
        let which = revealed(&self.proposal.survivors, self.dealer);
        let ann_hash = attempt.hash();
        let fits = commitment::matches(which, &ann_hash, &id, list.position, scalar, pair);
        // A dealer may commit to a scalar that is none; an honest holder complains about it and never releases it.
        if fits && SecretScalar::parse(scalar).is_ok() {
            Err(Unproved::Committed("scalar"))
        } else {
            Ok(())
        }
    }

    /// The dealer's own signature is not needed: the core is under the root that the holder signed for.
    fn check_core(&self) -> Result<(), Unproved> {
        let (members, foreign) = (&self.cohort.members, Unproved::Foreign("Commit"));
        let core = commitment::core_of_commit(&self.attempt, self.dealer, &self.commit)
            .map_err(|_| foreign)?;
        let rank = members
            .rank(self.dealer)
            .ok_or(Unproved::Absent("cohort"))?;
        let (rank, size) = (rank as usize, members.count() as usize);
        if Tree::Cohort.root_from_path(&core.0, rank, size, &self.core_path)
            == Some(self.cohort.root)
        {
            Ok(())
        } else {
            Err(foreign)
        }
    }
}

/// t scalars that match a dealer's leaves and yet do not give what it committed to. They are shares of nothing it masked with.
pub struct InconsistentDealing {
    /// The attempt.
    pub attempt: Arc<Attempt>,
    /// Index of the dealer.
    pub dealer: u32,
    /// What it signed.
    pub commit: Commit,
    /// Which of the two secrets they are shares of.
    pub which: Secret,
    /// Position and scalar of each.
    pub scalars: Vec<(u32, [u8; 32])>,
}

impl InconsistentDealing {
    pub(super) fn verify(&self) -> Result<(), Unproved> {
        let (attempt, commit) = (&self.attempt, &self.commit);
        check_commit(attempt, self.dealer, commit).map_err(|_| Unproved::Signature("Commit"))?;
        let (have, need) = (self.shares()?, attempt.threshold() as usize);
        if have.len() != need || self.scalars.len() != need {
            let have = have.len();
            return Err(Unproved::Shares { have, need });
        }
        if coordinator::leads_to_commitments(attempt, self.dealer, commit, self.which, &have) {
            Err(Unproved::Committed("secret"))
        } else {
            Ok(())
        }
    }

    /// One scalar per position, in ascending order, each of them the committed one.
    fn shares(&self) -> Result<Vec<(u32, SecretScalar)>, Unproved> {
        let id = self
            .attempt
            .roster()
            .member(self.dealer)
            .ok_or(Unproved::Absent("roster"))?
            .id;
        let share = |(x, scalar): &(u32, [u8; 32])| {
            let pair = self.commit.share_list.get((*x as usize).checked_sub(1)?)?;
            let ann_hash = self.attempt.hash();
            let matches = commitment::matches(self.which, &ann_hash, &id, *x, scalar, pair);
            Some((*x, SecretScalar::parse(scalar).ok().filter(|_| matches)?))
        };
        let distinct: BTreeSet<_> = self.scalars.iter().collect();
        let mut shares: Vec<_> = distinct
            .into_iter()
            .map(share)
            .collect::<Option<_>>()
            .ok_or(Unproved::Foreign("scalar"))?;
        shares.dedup_by_key(|(x, _)| *x);
        Ok(shares)
    }
}
