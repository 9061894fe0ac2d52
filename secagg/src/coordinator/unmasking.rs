//! Step E: from released scalars to the masks that come off the sum, with every scalar checked against its commitment.
//!
//! Pure arithmetic over what was accepted before: no state, no secret of its own. Source: protocol, sections 11.3 and 11.4.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::Commits;
use crate::bitmap::Bitmap;
use crate::channel;
use crate::codec::Digest;
use crate::commitment::{self, Secret};
use crate::context::Attempt;
use crate::error::{Error, Fault};
use crate::holder::revealed;
use crate::keys::{ExchangeSecret, Seed};
use crate::mask::{End, Masks, pair_seed, pair_sign, self_seed};
use crate::message::{Cohort, Commit, UnmaskList};
use crate::prg::Sign;
use crate::shamir::{Lagrange, SecretScalar};

/// What unmasking gave: the masks to take off the sum, and who lied on the way.
pub struct Unmasked {
    /// Masks that, added to the sum of the survivors' uploads, leave the plain sum.
    pub masks: Masks,
    /// Roster indices of holders that released a scalar which is not the committed one.
    pub liars: BTreeSet<u32>,
}

/// Recovers one secret of every cohort member and derives the masks to take off, one member after the other.
///
/// [`Unmasking`] does the same with the members shared out over threads.
///
/// # Errors
/// As [`Unmasking::recover`], of the first member for which it fails.
pub fn unmask(
    attempt: &Attempt,
    cohort: &Cohort,
    survivors: &Bitmap,
    commits: &Commits,
    lists: &BTreeMap<u32, UnmaskList>,
) -> Result<Unmasked, Error> {
    let unmasking = Unmasking::new(attempt, cohort, survivors, commits, lists);
    let recovered = cohort
        .members
        .iter()
        .map(|member| unmasking.recover(member));
    let recovered = recovered.collect::<Result<_, _>>()?;
    Ok(unmasking.finish(recovered))
}

/// The released scalars of an attempt, compared with their commitments and ready to be joined, member by member and in any order.
///
/// Wrong scalars are left out and their holders named, so up to answers − t liars are tolerated and none can put the blame on an
/// honest dealer. Lagrange coefficients are made once for each set of holders that answered for somebody.
pub struct Unmasking<'a> {
    attempt: &'a Attempt,
    ctx: Digest,
    survivors: &'a Bitmap,
    commits: &'a Commits,
    shares: BTreeMap<u32, Vec<(u32, SecretScalar)>>,
    lagrange: BTreeMap<Vec<u32>, Lagrange>,
    liars: BTreeSet<u32>,
}

/// The masks to take off that follow from one member's secret.
pub struct Recovered {
    member: u32,
    masks: Vec<(Sign, Seed)>,
}

impl<'a> Unmasking<'a> {
    /// Compares every scalar with its dealer's commitment. Cost: one hash for each member and holder.
    pub fn new(
        attempt: &'a Attempt,
        cohort: &Cohort,
        survivors: &'a Bitmap,
        commits: &'a Commits,
        lists: &BTreeMap<u32, UnmaskList>,
    ) -> Self {
        let (mut shares, mut lagrange, mut liars) =
            (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        for member in cohort.members.iter() {
            let good = good_shares(attempt, member, survivors, commits, lists, &mut liars);
            if let Entry::Vacant(set) = lagrange.entry(positions(&good))
                && let Ok(coefficients) = Lagrange::new(set.key(), attempt.threshold())
            {
                set.insert(coefficients);
            } // with too few positions the member's own step fails
            shares.insert(member, good);
        }
        Self {
            attempt,
            ctx: cohort.ctx(),
            survivors,
            commits,
            shares,
            lagrange,
            liars,
        }
    }

    /// Joins the shares of one member. Cost: one join, and for a dropout an agreement for each survivor next to it.
    ///
    /// # Errors
    /// [`Error::BelowThreshold`] if the member has fewer than t good scalars; the dealer's fault, provable, if t good scalars do not
    /// give what it committed to.
    pub fn recover(&self, member: u32) -> Result<Recovered, Error> {
        let (attempt, ctx) = (self.attempt, &self.ctx);
        let missing = Error::NotAMember("cohort");
        let commit = self.commits.get(&member).ok_or(missing)?;
        let shares = self.shares.get(&member).ok_or(missing)?;
        let which = revealed(self.survivors, member);
        let secret = match self.lagrange.get(&positions(shares)) {
            Some(coefficients) => joined(attempt, member, commit, which, shares, coefficients)?,
            None => join(attempt, member, commit, which, shares)?,
        };
        let masks = match which {
            Secret::SelfMask => vec![(Sign::Minus, self_seed(attempt, ctx, member, &secret)?)],
            Secret::Rescue => {
                dropout_masks(attempt, ctx, member, self.survivors, self.commits, &secret)?
            }
        };
        Ok(Recovered { member, masks })
    }

    /// All masks together.
    ///
    /// # Panics
    /// If not every member of the cohort was recovered, once: our own bug.
    pub fn finish(self, mut recovered: Vec<Recovered>) -> Unmasked {
        recovered.sort_by_key(|recovered| recovered.member);
        let members = recovered.iter().map(|recovered| &recovered.member);
        assert!(members.eq(self.shares.keys()), "every member, once");
        let masks = recovered.into_iter().flat_map(|recovered| recovered.masks);
        Unmasked {
            masks: Masks::new(self.attempt.params().prg(), masks.collect()),
            liars: self.liars,
        }
    }
}

fn positions(shares: &[(u32, SecretScalar)]) -> Vec<u32> {
    shares.iter().map(|(position, _)| *position).collect()
}

/// Scalars for `member` that match its commitments, by holder position; the senders of others are liars.
fn good_shares(
    attempt: &Attempt,
    member: u32,
    survivors: &Bitmap,
    commits: &Commits,
    lists: &BTreeMap<u32, UnmaskList>,
    liars: &mut BTreeSet<u32>,
) -> Vec<(u32, SecretScalar)> {
    let mut good = Vec::with_capacity(lists.len());
    for (&holder, list) in lists
        .iter()
        .filter(|(_, list)| list.present.contains(member))
    {
        match committed_share(attempt, survivors, commits, member, list) {
            Some(share) => good.push((list.position, share)),
            None => drop(liars.insert(holder)),
        }
    }
    good.truncate(attempt.threshold() as usize);
    good
}

/// The scalar of `list` for `member`, if it is canonical and the one committed to for this holder.
fn committed_share(
    attempt: &Attempt,
    survivors: &Bitmap,
    commits: &Commits,
    member: u32,
    list: &UnmaskList,
) -> Option<SecretScalar> {
    let (commit, dealer) = (commits.get(&member)?, attempt.roster().member(member)?);
    let pair = commit
        .share_list
        .get((list.position as usize).checked_sub(1)?)?;
    let (which, scalar) = (revealed(survivors, member), list.scalar(member)?);
    let fits = commitment::matches(
        which,
        &attempt.hash(),
        &dealer.id,
        list.position,
        scalar,
        pair,
    );
    SecretScalar::parse(scalar).ok().filter(|_| fits)
}

/// Members for whom `list` holds a usable scalar, by the same test as [`unmask`]: what counts toward t.
pub fn matching(
    attempt: &Attempt,
    survivors: &Bitmap,
    commits: &Commits,
    list: &UnmaskList,
) -> Vec<u32> {
    let usable =
        |member: &u32| committed_share(attempt, survivors, commits, *member, list).is_some();
    list.present.iter().filter(usable).collect()
}

/// Joins t good shares and compares the result with the dealer's commitment.
fn join(
    attempt: &Attempt,
    member: u32,
    commit: &Commit,
    which: Secret,
    shares: &[(u32, SecretScalar)],
) -> Result<SecretScalar, Error> {
    let coefficients = Lagrange::new(&positions(shares), attempt.threshold())?;
    joined(attempt, member, commit, which, shares, &coefficients)
}

/// The same with the coefficients of these positions.
fn joined(
    attempt: &Attempt,
    member: u32,
    commit: &Commit,
    which: Secret,
    shares: &[(u32, SecretScalar)],
    coefficients: &Lagrange,
) -> Result<SecretScalar, Error> {
    let secret = coefficients.combine(&shares.iter().map(|(_, share)| share).collect::<Vec<_>>());
    let committed = match which {
        Secret::SelfMask => commit.com_b,
        Secret::Rescue => commit.com_k,
    };
    let value = commitment::of_secret(which, &attempt.hash(), &attempt.member(member)?.id, &secret);
    if value == committed {
        Ok(secret)
    } else {
        Err(Fault::Dealing.by(member))
    }
}

/// Whether t shares that match their leaves give what their dealer committed to, and open its rescue blob if they should.
pub(crate) fn leads_to_commitments(
    attempt: &Attempt,
    dealer: u32,
    commit: &Commit,
    which: Secret,
    shares: &[(u32, SecretScalar)],
) -> bool {
    let joined = join(attempt, dealer, commit, which, shares);
    joined.is_ok_and(|secret| match which {
        Secret::SelfMask => true,
        Secret::Rescue => rescue(attempt, dealer, commit, &secret).is_ok(),
    })
}

/// The pair masks that the survivors added for a lost partner, with the sign that takes them off.
fn dropout_masks(
    attempt: &Attempt,
    ctx: &Digest,
    dropout: u32,
    survivors: &Bitmap,
    commits: &Commits,
    k: &SecretScalar,
) -> Result<Vec<(Sign, Seed)>, Error> {
    let commit = commits.get(&dropout).ok_or(Error::NotAMember("cohort"))?;
    let mask_key = rescue(attempt, dropout, commit, k)?;
    let own = End {
        index: dropout,
        key: &commit.e_pk,
    };
    let lost_with = |survivor: u32| {
        let key = &commits
            .get(&survivor)
            .ok_or(Error::NotAMember("cohort"))?
            .e_pk;
        let seed = pair_seed(
            attempt,
            ctx,
            &mask_key,
            own,
            End {
                index: survivor,
                key,
            },
        )?;
        Ok((pair_sign(survivor, dropout).flipped(), seed))
    };
    attempt
        .roster()
        .graph()
        .neighbours(dropout)
        .filter(|&u| survivors.contains(u))
        .map(lost_with)
        .collect()
}

/// K opens the blob, and the key in it must be the one that was advertised.
fn rescue(
    attempt: &Attempt,
    dropout: u32,
    commit: &Commit,
    k: &SecretScalar,
) -> Result<ExchangeSecret, Error> {
    let wrong = Fault::Dealing.by(dropout);
    let core = commitment::core_of_commit(attempt, dropout, commit)?;
    let key = commitment::rescue_key(&attempt.hash(), &attempt.member(dropout)?.id, k);
    let bytes = channel::open(&key, &core.0, &commit.blob).ok_or(wrong)?;
    let secret = ExchangeSecret::new(&Seed::restore(&bytes).ok_or(wrong)?);
    if secret.public() == commit.e_pk {
        Ok(secret)
    } else {
        Err(wrong)
    }
}
