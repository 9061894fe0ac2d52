//! Run → epoch → announcement: the chain of hashes every secret is derived under. Each link is a checked value.
//!
//! What can be checked without memory is checked here. That one roster is signed per epoch, one announcement accepted per attempt, and
//! that models follow results, is the ledger's; which members a site trusts is its policy's.
//! Source: protocol, sections 5 and 6.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::codec::{Digest, fields, hash, kdf, le32, le64};
use crate::error::{Error, Fault};
use crate::graph::MaskGraph;
use crate::keys::{ExchangeKey, Identity, MemberId, Seed, Signature, VerifyKey};
use crate::labels;
use crate::merkle::Tree;
use crate::message::{Advertisement, Announcement, RosterConfirmation};
use crate::params::Params;

/// A member as the roster binds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `H("id", id_pk)`.
    pub id: MemberId,
    /// Protocol identity key.
    pub id_pk: VerifyKey,
    /// Channel key of the epoch.
    pub x_pk: ExchangeKey,
    /// Hash of the organisation's binding.
    pub binding: Digest,
    /// Commitment to the nonce of the graph seed.
    pub nonce_commit: Digest,
}

/// The members of one epoch, ascending by id, every advertisement verified. Two parties with the same [`Roster::ctx`] saw the same
/// members and keys.
#[derive(Debug)]
pub struct Roster {
    params: Arc<Params>,
    epoch: u64,
    members: Vec<Member>,
    ctx: Digest,
}

impl Roster {
    /// Builds the roster from advertisements in ascending order of id.
    ///
    /// # Errors
    /// The coordinator's fault, since it lists the members: a size outside `min_cohort` to `n_max`, a wrong order, a repeated key,
    /// a foreign run or epoch, an advertisement whose signature does not verify.
    pub fn new(
        params: Arc<Params>,
        epoch: u64,
        advertisements: &[Advertisement],
    ) -> Result<Self, Error> {
        check_size(&params, advertisements.len())?;
        let members = advertisements
            .iter()
            .map(|advertisement| admit(&params, epoch, advertisement))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Fault::by_coordinator)?;
        Self::stated(params, epoch, members)
    }

    /// The roster that has these entries, whoever says so: no advertisement is verified.
    ///
    /// # Errors
    /// As [`Self::new`], without signatures.
    ///
    /// # Security
    /// For [`crate::evidence`] alone, where the accused's own signature is over a hash of it. To take part in such a roster would be to
    /// agree on keys with whoever made it up.
    pub(crate) fn stated(
        params: Arc<Params>,
        epoch: u64,
        members: Vec<Member>,
    ) -> Result<Self, Error> {
        let have = check_size(&params, members.len())?;
        if !members.is_sorted_by(|before, after| before.id < after.id) {
            return Err(Fault::Order("members of the roster").by_coordinator());
        }
        let channel_keys: BTreeSet<_> = members.iter().map(|member| member.x_pk).collect();
        if channel_keys.len() != members.len() {
            return Err(Fault::Duplicate("channel key").by_coordinator());
        }
        let ctx = epoch_ctx(&params, epoch, have, &root_of(&members));
        Ok(Self {
            params,
            epoch,
            members,
            ctx,
        })
    }

    /// Parameters of the run.
    pub fn params(&self) -> &Arc<Params> {
        &self.params
    }

    /// Number of the epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// n.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a roster has at least three members"
    )]
    pub fn len(&self) -> u32 {
        u32::try_from(self.members.len()).expect("bounded by n_max, a u32")
    }

    /// All members in order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Member `index`.
    pub fn member(&self, index: u32) -> Option<&Member> {
        self.members.get(index as usize)
    }

    /// Index of the member with this id.
    pub fn index_of(&self, id: &MemberId) -> Option<u32> {
        self.members
            .binary_search_by(|member| member.id.cmp(id))
            .ok()
            .and_then(|index| u32::try_from(index).ok())
    }

    /// Merkle root over the entries.
    pub fn root(&self) -> Digest {
        root_of(&self.members)
    }

    /// `epoch_ctx`.
    pub fn ctx(&self) -> Digest {
        self.ctx
    }

    /// `epoch_seed = KDF(epoch_ctx, roster_root, "epoch-seed")`: public randomness of the epoch.
    pub fn seed(&self) -> Seed {
        kdf(&self.ctx.0, &self.root().0, labels::EPOCH_SEED, &[]).into()
    }

    /// Who masks with whom.
    pub fn graph(&self) -> MaskGraph {
        MaskGraph::Complete {
            members: self.len(),
        }
    }

    /// A member's signature on this roster. It signs one epoch context per (run, epoch), ever: the caller's ledger sees to that.
    pub fn confirm(&self, identity: &Identity) -> Result<RosterConfirmation, Error> {
        let index = self
            .index_of(&identity.public().id())
            .ok_or(Error::NotAMember("roster"))?;
        Ok(RosterConfirmation {
            epoch_ctx: self.ctx,
            index,
            signature: identity.sign(labels::SIG_ROSTER, &[&self.ctx.0]),
        })
    }

    /// Checks a member's signature on this roster.
    ///
    /// # Errors
    /// The member's fault, by index.
    pub fn check_confirmation(&self, confirmation: &RosterConfirmation) -> Result<(), Error> {
        let index = confirmation.index;
        let member = self.member(index).ok_or(Error::NotAMember("roster"))?;
        if confirmation.epoch_ctx != self.ctx {
            return Err(Fault::Context("epoch").by(index));
        }
        let valid =
            member
                .id_pk
                .verifies(&confirmation.signature, labels::SIG_ROSTER, &[&self.ctx.0]);
        if valid {
            Ok(())
        } else {
            Err(Fault::Signature("roster").by(index))
        }
    }
}

/// `epoch_ctx = H("epoch", run_hash, LE64(epoch), LE32(n), roster_root)`.
pub fn epoch_ctx(params: &Params, epoch: u64, members: u32, root: &Digest) -> Digest {
    let run_hash = params.run_hash();
    let parts: [&[u8]; 4] = [&run_hash.0, &le64(epoch), &le32(members), &root.0];
    hash(labels::EPOCH, &parts)
}

fn check_size(params: &Params, members: usize) -> Result<u32, Error> {
    let have = u32::try_from(members).unwrap_or(u32::MAX);
    let (need, limit) = (params.config().min_cohort, params.config().n_max);
    if have < need {
        return Err(Fault::TooFew {
            what: "members of the roster",
            have,
            need,
        }
        .by_coordinator());
    }
    if have > limit {
        let (have, limit) = (u64::from(have), u64::from(limit));
        return Err(Fault::TooMany {
            what: "number of members",
            have,
            limit,
        }
        .by_coordinator());
    }
    Ok(have)
}

/// Checks one advertisement on its own: run, epoch, signature.
fn admit(params: &Params, epoch: u64, advertisement: &Advertisement) -> Result<Member, Fault> {
    if advertisement.run_hash != params.run_hash() {
        return Err(Fault::Context("run"));
    }
    if advertisement.epoch != epoch {
        return Err(Fault::Context("epoch"));
    }
    if !advertisement.verifies() {
        return Err(Fault::Signature("advertisement"));
    }
    Ok(Member {
        id: advertisement.id_pk.id(),
        id_pk: advertisement.id_pk,
        x_pk: advertisement.x_pk,
        binding: advertisement.binding.hash(&advertisement.id_pk),
        nonce_commit: advertisement.nonce_commit,
    })
}

fn root_of(members: &[Member]) -> Digest {
    let entry = |m: &Member| {
        fields(&[
            m.id.0.as_ref(),
            m.id_pk.as_bytes(),
            m.x_pk.as_bytes(),
            &[],
            m.binding.as_ref(),
            m.nonce_commit.as_ref(),
        ])
    };
    let entries: Vec<_> = members.iter().map(entry).collect();
    Tree::Roster
        .root(&entries)
        .expect("a roster has at least three members")
}

/// One attempt of one round: an announcement that follows the rules, over a roster.
#[derive(Debug)]
pub struct Attempt {
    roster: Arc<Roster>,
    announcement: Announcement,
    hash: Digest,
    holders: Vec<u32>,
}

impl Attempt {
    /// Checks what can be checked without state: epoch, holders, threshold, deadlines.
    ///
    /// # Errors
    /// The coordinator's fault, with the rule that was broken (protocol, sections 15 and 16.1).
    pub fn new(roster: Arc<Roster>, announcement: Announcement) -> Result<Self, Error> {
        let n = roster.len();
        let params = roster.params();
        if announcement.epoch_ctx != roster.ctx() || announcement.holders.size() != n {
            return Err(Fault::Context("epoch").by_coordinator());
        }
        let have = announcement.holders.count();
        let need = params.holders_floor(n);
        if have < need {
            return Err(Fault::TooFew {
                what: "holders",
                have,
                need,
            }
            .by_coordinator());
        }
        let threshold = params.threshold(have, n);
        if announcement.threshold != threshold {
            let (have, need) = (u64::from(announcement.threshold), u64::from(threshold));
            return Err(Fault::Rule {
                what: "threshold",
                have,
                need,
            }
            .by_coordinator());
        }
        if threshold > have {
            return Err(Fault::TooFew {
                what: "holders",
                have,
                need: threshold,
            }
            .by_coordinator());
        }
        let deadlines = [
            announcement.commit_by_ms,
            announcement.submit_by_ms,
            announcement.expires_ms,
        ];
        if announcement.round == 0 || announcement.seq == 0 || !deadlines.is_sorted() {
            return Err(Fault::Order("round, attempt and deadlines").by_coordinator());
        }
        let holders = announcement.holders.iter().collect();
        Ok(Self {
            hash: announcement.hash(),
            roster,
            announcement,
            holders,
        })
    }

    /// The epoch's roster.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Parameters of the run.
    pub fn params(&self) -> &Params {
        self.roster.params()
    }

    /// The announcement.
    pub fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    /// `ann_hash`.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// t.
    pub fn threshold(&self) -> u32 {
        self.announcement.threshold
    }

    /// L.
    pub fn holder_count(&self) -> u32 {
        u32::try_from(self.holders.len()).expect("not more than the roster")
    }

    /// Roster index of the holder at `position` (from 1).
    pub fn holder(&self, position: u32) -> Option<u32> {
        self.holders
            .get((position as usize).checked_sub(1)?)
            .copied()
    }

    /// All holders by position: (position, roster index).
    pub fn holders(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        (1..).zip(self.holders.iter().copied())
    }

    /// Position (from 1) of member `index` among the holders.
    pub fn position(&self, index: u32) -> Option<u32> {
        self.holders
            .binary_search(&index)
            .ok()
            .and_then(|place| u32::try_from(place + 1).ok())
    }

    /// Identity key of the holder at `position`.
    pub fn holder_key(&self, position: u32) -> Option<VerifyKey> {
        Some(self.roster.member(self.holder(position)?)?.id_pk)
    }

    /// Id and key of member `index`.
    ///
    /// # Errors
    /// [`Error::NotAMember`].
    pub(crate) fn member(&self, index: u32) -> Result<&Member, Error> {
        self.roster.member(index).ok_or(Error::NotAMember("roster"))
    }

    /// Whether `signature` is the coordinator's under this announcement.
    pub fn announced(&self, signature: &Signature) -> bool {
        self.params()
            .coordinator()
            .is_ok_and(|key| self.announcement.verifies(&key, signature))
    }
}
