//! What the messages of a release prove: looked for by the coordinator, which alone sees all lists and erases them with the round.
//!
//! It only looks: every proof given here holds, and none is needed for anything else. A holder whose scalar is not the committed one is
//! left out of the sum and named by [`crate::coordinator::unmask`], which also names a dealer that committed to nothing. Source: protocol,
//! sections 11.3 and 28.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Evidence;
use super::dealing::{InconsistentDealing, WrongScalar};
use crate::context::Attempt;
use crate::coordinator::{self, Commits};
use crate::holder::revealed;
use crate::message::{Cohort, SurvivorProposal, UnmaskList};

/// What was accepted in an attempt whose survivors were certified.
#[derive(Clone)]
pub struct Release {
    /// The attempt.
    pub attempt: Arc<Attempt>,
    /// Its cohort, and the members' Commits.
    pub cohort: Cohort,
    /// See `cohort`.
    pub commits: Commits,
    /// The set that was certified.
    pub proposal: SurvivorProposal,
    /// The holders' lists, by roster index.
    pub lists: BTreeMap<u32, UnmaskList>,
}

impl Release {
    /// Proofs against holders that released what was not committed, one each, and against dealers that committed to no secret.
    ///
    /// Cost: a hash per scalar, a join per member; a signature per proof. At most t − 1 lists are shown.
    ///
    /// # Security
    /// A wrong-scalar proof holds one share of each member. With t of them the secrets of all would be on record for good, so of one
    /// attempt there are fewer; up to n_C < t holders lie while the protocol's assumption holds.
    pub fn faults(&self) -> Vec<Evidence> {
        let few = self.attempt.threshold().saturating_sub(1) as usize;
        let survivors = &self.proposal.survivors;
        let right = |list| coordinator::matching(&self.attempt, survivors, &self.commits, list);
        let lists = self.lists.values();
        let judged: Vec<(&UnmaskList, Vec<u32>)> = lists.map(|list| (list, right(list))).collect();
        let liars = judged.iter().filter_map(|judged| self.wrong_scalar(judged));
        let dealers = self.cohort.members.iter();
        let dealers = dealers.filter_map(|dealer| self.dealing(dealer, &judged));
        liars
            .map(Evidence::WrongScalar)
            .take(few)
            .chain(dealers.map(Evidence::InconsistentDealing))
            .filter(|evidence| evidence.verify().is_ok())
            .collect()
    }

    /// The first lie of a list, of which these scalars are right.
    fn wrong_scalar(&self, (list, right): &(&UnmaskList, Vec<u32>)) -> Option<WrongScalar> {
        let mut wrong = list.present.iter().filter(|dealer| !right.contains(dealer));
        let dealer = wrong.next()?;
        let near = coordinator::neighbourhood(&self.attempt, &self.commits, dealer).ok()?;
        Some(WrongScalar {
            attempt: Arc::clone(&self.attempt),
            dealer,
            commit: self.commits.get(&dealer)?.clone(),
            core_path: near.own_path,
            cohort: self.cohort.clone(),
            proposal: self.proposal.clone(),
            list: (*list).clone(),
        })
    }

    /// The first t scalars that are the committed ones: a proof only if they do not give the committed secret.
    fn dealing(
        &self,
        dealer: u32,
        judged: &[(&UnmaskList, Vec<u32>)],
    ) -> Option<InconsistentDealing> {
        let right = judged.iter().filter(|(_, right)| right.contains(&dealer));
        let scalars = right.filter_map(|(list, _)| Some((list.position, *list.scalar(dealer)?)));
        Some(InconsistentDealing {
            attempt: Arc::clone(&self.attempt),
            dealer,
            commit: self.commits.get(&dealer)?.clone(),
            which: revealed(&self.proposal.survivors, dealer),
            scalars: scalars.take(self.attempt.threshold() as usize).collect(),
        })
    }
}
