//! Step E: from released scalars to the masks that come off the sum, with every scalar checked against its commitment.
//!
//! Pure arithmetic over what was accepted before: no state, no secret of its own. Source: protocol, sections 11.3 and 11.4.

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

/// Recovers one secret of every cohort member and derives the masks to take off.
///
/// Every scalar is compared with its dealer's commitment; wrong ones are left out and their holders named, so up to answers − t
/// liars are tolerated and none can put the blame on an honest dealer. Cost: one join per member; Lagrange coefficients once per
/// responding set.
///
/// # Errors
/// [`Error::BelowThreshold`] if a member has fewer than t good scalars; the dealer's fault, provable, if t good scalars do not give
/// what it committed to.
pub fn unmask(
    attempt: &Attempt,
    cohort: &Cohort,
    survivors: &Bitmap,
    commits: &Commits,
    lists: &BTreeMap<u32, UnmaskList>,
) -> Result<Unmasked, Error> {
    let ctx = cohort.ctx();
    let (mut masks, mut liars, mut lagrange) = (Vec::new(), BTreeSet::new(), None);
    for member in cohort.members.iter() {
        let commit = commits.get(&member).ok_or(Error::NotAMember("cohort"))?;
        let which = revealed(survivors, member);
        let shares = good_shares(attempt, member, survivors, commits, lists, &mut liars);
        let secret = join(attempt, member, commit, which, &shares, &mut lagrange)?;
        match which {
            Secret::SelfMask => {
                masks.push((Sign::Minus, self_seed(attempt, &ctx, member, &secret)?))
            }
            Secret::Rescue => masks.extend(dropout_masks(
                attempt, &ctx, member, survivors, commits, &secret,
            )?),
        }
    }
    Ok(Unmasked {
        masks: Masks::new(masks),
        liars,
    })
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
    lagrange: &mut Option<Lagrange>,
) -> Result<SecretScalar, Error> {
    let positions: Vec<u32> = shares.iter().map(|(position, _)| *position).collect();
    let reusable = lagrange
        .take()
        .filter(|known| known.positions() == positions);
    let coefficients = match reusable {
        Some(known) => known,
        None => Lagrange::new(&positions, attempt.threshold())?,
    };
    let secret = coefficients.combine(&shares.iter().map(|(_, share)| share).collect::<Vec<_>>());
    *lagrange = Some(coefficients);
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
    let joined = join(attempt, dealer, commit, which, shares, &mut None);
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
