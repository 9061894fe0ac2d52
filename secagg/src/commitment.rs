//! Commitments of a dealer: to its two secrets, to every single share, and to all of it together.
//!
//! Hashes of uniform 252-bit scalars hide and bind in the random-oracle model. Source: protocol, sections 5, 8 and 17.

use crate::codec::{Digest, hash, kdf, le32, le64};
use crate::context::Attempt;
use crate::error::Error;
use crate::keys::{ExchangeKey, MemberId, Seed};
use crate::labels;
use crate::merkle::Tree;
use crate::message::{Commit, PAIR_BYTES, ShareItem};
use crate::params::Params;
use crate::shamir::SecretScalar;

/// Which of a dealer's two secrets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Secret {
    /// b, of the self mask: revealed for survivors.
    SelfMask,
    /// K, which unlocks the mask key: revealed for dropouts.
    Rescue,
}

impl Secret {
    fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::SelfMask => (labels::COM_B, labels::SHARE_B),
            Self::Rescue => (labels::COM_K, labels::SHARE_K),
        }
    }

    /// The half of a committed pair that belongs to this secret.
    fn half(self, pair: &[u8; PAIR_BYTES]) -> &[u8] {
        match self {
            Self::SelfMask => &pair[..32],
            Self::Rescue => &pair[32..],
        }
    }
}

/// `com_b = H("com-b", ann_hash, id, b)`, and likewise for K.
pub(crate) fn of_secret(
    which: Secret,
    ann_hash: &Digest,
    id: &MemberId,
    value: &SecretScalar,
) -> Digest {
    hash(
        which.labels().0,
        &[&ann_hash.0, id.0.as_ref(), value.expose()],
    )
}

/// `H("share-b", ann_hash, id, LE32(x), f_b(x))`, and likewise for K.
fn of_share(which: Secret, ann_hash: &Digest, id: &MemberId, x: u32, share: &[u8; 32]) -> Digest {
    hash(
        which.labels().1,
        &[&ann_hash.0, id.0.as_ref(), &le32(x), share],
    )
}

/// `pair_x`.
pub(crate) fn of_pair(
    ann_hash: &Digest,
    id: &MemberId,
    x: u32,
    b: &SecretScalar,
    k: &SecretScalar,
) -> [u8; PAIR_BYTES] {
    let mut pair = [0; PAIR_BYTES];
    pair[..32].copy_from_slice(&of_share(Secret::SelfMask, ann_hash, id, x, b.expose()).0);
    pair[32..].copy_from_slice(&of_share(Secret::Rescue, ann_hash, id, x, k.expose()).0);
    pair
}

/// Whether `share` is the one committed at position `x` in `pair`.
pub(crate) fn matches(
    which: Secret,
    ann_hash: &Digest,
    id: &MemberId,
    x: u32,
    share: &[u8; 32],
    pair: &[u8; 64],
) -> bool {
    of_share(which, ann_hash, id, x, share).0 == which.half(pair)
}

/// Leaves of the tree "shares": `LE32(x) ‖ pair_x`.
fn leaves(share_list: &[[u8; PAIR_BYTES]]) -> Vec<Vec<u8>> {
    (1u32..)
        .zip(share_list)
        .map(|(x, pair)| leaf(x, pair))
        .collect()
}

fn leaf(x: u32, pair: &[u8; PAIR_BYTES]) -> Vec<u8> {
    [&le32(x)[..], pair].concat()
}

/// What a commit core binds besides the shares.
pub(crate) struct CoreParts<'a> {
    pub nonce: &'a [u8; 32],
    pub e_pk: &'a ExchangeKey,
    pub com_b: &'a Digest,
    pub com_k: &'a Digest,
    pub shares_root: Digest,
}

impl CoreParts<'_> {
    /// `commit_core = H("commit-core", ann_hash, id, nonce, E, com_b, com_K, shares_root)`.
    pub(crate) fn core(&self, ann_hash: &Digest, id: &MemberId) -> Digest {
        let parts: [&[u8]; 7] = [
            &ann_hash.0,
            id.0.as_ref(),
            self.nonce,
            self.e_pk.as_bytes(),
            &self.com_b.0,
            &self.com_k.0,
            &self.shares_root.0,
        ];
        hash(labels::COMMIT_CORE, &parts)
    }
}

/// Merkle root over a share list; at least one holder exists.
pub(crate) fn shares_root(share_list: &[[u8; PAIR_BYTES]]) -> Option<Digest> {
    Tree::Shares.root(&leaves(share_list))
}

/// Path of position `x` (from 1) to the shares root.
pub(crate) fn share_path(share_list: &[[u8; PAIR_BYTES]], x: u32) -> Option<Vec<Digest>> {
    Tree::Shares.path(&leaves(share_list), (x as usize).checked_sub(1)?)
}

/// The core that a whole Commit of member `index` has.
///
/// # Errors
/// [`Error::NotAMember`] for an index beyond the roster, or a Commit without shares.
pub(crate) fn core_of_commit(
    attempt: &Attempt,
    index: u32,
    commit: &Commit,
) -> Result<Digest, Error> {
    let shares_root = shares_root(&commit.share_list).ok_or(Error::NotAMember("holder list"))?;
    let (nonce, e_pk) = (&commit.nonce, &commit.e_pk);
    let parts = CoreParts {
        nonce,
        e_pk,
        com_b: &commit.com_b,
        com_k: &commit.com_k,
        shares_root,
    };
    Ok(parts.core(&attempt.hash(), &attempt.member(index)?.id))
}

/// The core a holder computes from its own leaf and path: it is the dealer's only if pair, position and path fit.
pub(crate) fn core_of_item(
    attempt: &Attempt,
    position: u32,
    item: &ShareItem,
) -> Result<Option<Digest>, Error> {
    let id = &attempt.member(item.index)?.id;
    let (at, size) = (position as usize - 1, attempt.holder_count() as usize);
    let Some(shares_root) =
        Tree::Shares.root_from_path(&leaf(position, &item.pair), at, size, &item.path)
    else {
        return Ok(None);
    };
    let (nonce, e_pk) = (&item.nonce, &item.e_pk);
    let parts = CoreParts {
        nonce,
        e_pk,
        com_b: &item.com_b,
        com_k: &item.com_k,
        shares_root,
    };
    Ok(Some(parts.core(&attempt.hash(), id)))
}

/// `k_rescue = KDF(ann_hash, K, "rescue", id)`.
pub(crate) fn rescue_key(ann_hash: &Digest, id: &MemberId, k: &SecretScalar) -> Seed {
    kdf(&ann_hash.0, k.expose(), labels::RESCUE, &[id.0.as_ref()]).into()
}

/// `upload_hash = H("upload-core", ctx, id, LE64(elements), LE32(m), LE32(chunk_elems), LE32(chunks), chunk_root, BLAKE3(masked metadata))`.
pub(crate) fn of_upload(
    params: &Params,
    ctx: &Digest,
    id: &MemberId,
    chunk_root: &Digest,
    metadata_hash: &Digest,
) -> Digest {
    let config = params.config();
    let chunks = u32::try_from(params.chunks()).expect("at most 2^20 chunks");
    let parts: [&[u8]; 8] = [
        &ctx.0,
        id.0.as_ref(),
        &le64(config.elements),
        &le32(u32::from(config.m)),
        &le32(config.chunk_elems),
        &le32(chunks),
        &chunk_root.0,
        &metadata_hash.0,
    ];
    hash(labels::UPLOAD_CORE, &parts)
}
