//! Step B: the secrets of one attempt, what a Commit says of them, and the Commit itself.
//!
//! Order: com_b, com_K, share list → shares_root → commit_core → blob and ciphertexts (both have the core in their associated data)
//! → signatures. Nothing here is kept: all of it derives from the attempt's seed, under its announcement. Source: protocol,
//! sections 4, 5 and 8.

use zeroize::{Zeroize as _, Zeroizing};

use crate::channel::{self, Envelope, PairKeys};
use crate::codec::{Digest, expand, hash, kdf};
use crate::commitment::{self, CoreParts, Secret};
use crate::context::Attempt;
use crate::error::Error;
use crate::keys::{ExchangeKey, ExchangeSecret, Identity, Seed};
use crate::labels;
use crate::message::{BLOB_BYTES, CIPHERTEXT_BYTES, Commit, PAIR_BYTES};
use crate::prg::Keystream;
use crate::shamir::{Polynomial, SecretScalar};

/// This site's own pair of shares when it is a holder itself; durable apart from the seed, which goes first. On the heap, so that moving
/// it leaves no copy behind.
pub struct OwnShares(Box<[u8; 64]>);

impl OwnShares {
    /// The two scalars, for sealed storage.
    pub fn expose(&self) -> &[u8; 64] {
        &self.0
    }

    /// Reads stored bytes back.
    ///
    /// # Errors
    /// [`Error::Stored`] if there are not 64.
    pub fn restore(bytes: &[u8]) -> Result<Self, Error> {
        bytes
            .try_into()
            .map(Self::copy)
            .map_err(|_| Error::Stored("pair of own shares"))
    }

    fn copy(pair: &[u8; 64]) -> Self {
        let mut own = Self(Box::new([0; 64]));
        own.0.copy_from_slice(pair);
        own
    }
}

impl Drop for OwnShares {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// All secrets of one attempt, derived from its seed under the announcement, so that it can never serve two announcements.
pub(crate) struct Dealing {
    pub(crate) mask_key: ExchangeSecret,
    pub(crate) nonce: [u8; 32],
    pub(crate) f_b: Polynomial,
    pub(crate) f_k: Polynomial,
}

impl Dealing {
    pub(crate) fn derive(attempt: &Attempt, seed: &Seed) -> Self {
        let base = kdf(&attempt.hash().0, seed.expose(), labels::LOCAL_ATTEMPT, &[]);
        let mut scalars = Keystream::new(&expand(&base, labels::LOCAL_SCALARS, &[]).into(), 0, 0);
        let mut polynomial = || {
            let mut wide = Zeroizing::new([0; 64]);
            let coefficient = |_| {
                scalars.fill(&mut wide[..]);
                SecretScalar::from_wide(&wide)
            };
            Polynomial::new((0..attempt.threshold()).map(coefficient).collect())
        };
        let (f_b, f_k) = (polynomial(), polynomial());
        Self {
            mask_key: ExchangeSecret::new(&expand(&base, labels::LOCAL_MASK_KEY, &[]).into()),
            nonce: *expand(&base, labels::LOCAL_NONCE, &[]),
            f_b,
            f_k,
        }
    }

    /// What this site keeps when it is itself the holder at position `x`.
    pub(super) fn own_shares(&self, x: u32) -> OwnShares {
        OwnShares::copy(&self.pair(x))
    }

    fn pair(&self, x: u32) -> Zeroizing<[u8; 64]> {
        let mut pair = Zeroizing::new([0; 64]);
        pair[..32].copy_from_slice(self.f_b.share(x).expose());
        pair[32..].copy_from_slice(self.f_k.share(x).expose());
        pair
    }
}

/// Everything of a Commit but the ciphertexts and signatures.
pub(crate) struct Commitments {
    pub(crate) e_pk: ExchangeKey,
    pub(crate) com_b: Digest,
    pub(crate) com_k: Digest,
    pub(crate) share_list: Vec<[u8; PAIR_BYTES]>,
    pub(crate) core: Digest,
}

impl Commitments {
    /// Order: com_b, com_K, share list → shares_root → commit_core.
    pub(crate) fn new(attempt: &Attempt, me: u32, dealing: &Dealing) -> Result<Self, Error> {
        let (ann_hash, id) = (attempt.hash(), attempt.member(me)?.id);
        let com_b = commitment::of_secret(Secret::SelfMask, &ann_hash, &id, dealing.f_b.secret());
        let com_k = commitment::of_secret(Secret::Rescue, &ann_hash, &id, dealing.f_k.secret());
        let committed = |x| {
            commitment::of_pair(
                &ann_hash,
                &id,
                x,
                &dealing.f_b.share(x),
                &dealing.f_k.share(x),
            )
        };
        let share_list: Vec<_> = attempt.holders().map(|(x, _)| committed(x)).collect();
        let shares_root =
            commitment::shares_root(&share_list).ok_or(Error::NotAMember("holder list"))?;
        let e_pk = dealing.mask_key.public();
        let parts = CoreParts {
            nonce: &dealing.nonce,
            e_pk: &e_pk,
            com_b: &com_b,
            com_k: &com_k,
            shares_root,
        };
        let core = parts.core(&ann_hash, &id);
        Ok(Self {
            e_pk,
            com_b,
            com_k,
            share_list,
            core,
        })
    }
}

/// The Commit that belongs to `dealing`: the same secrets give the same bytes.
pub(super) fn build_commit(
    attempt: &Attempt,
    me: u32,
    identity: &Identity,
    dealing: &Dealing,
    outbound: &PairKeys,
) -> Result<Commit, Error> {
    let Commitments {
        e_pk,
        com_b,
        com_k,
        share_list,
        core,
    } = Commitments::new(attempt, me, dealing)?;
    let (ann_hash, id) = (attempt.hash(), attempt.member(me)?.id);
    let k_rescue = commitment::rescue_key(&ann_hash, &id, dealing.f_k.secret());
    let sealed = channel::seal(&k_rescue, &core.0, dealing.mask_key.expose());
    let blob: [u8; BLOB_BYTES] = sealed.try_into().expect("32 bytes and a tag of 16");
    let ciphertexts = attempt
        .holders()
        .map(|(x, holder)| {
            seal_for(
                attempt,
                me,
                holder,
                &dealing.nonce,
                &core,
                outbound,
                &dealing.pair(x),
            )
        })
        .collect::<Result<Vec<_>, _>>()?;
    let cts = Commit::ciphertexts_hash(&ciphertexts);
    let maskkey: [&[u8]; 4] = [&ann_hash.0, id.0.as_ref(), &dealing.nonce, e_pk.as_bytes()];
    let sig_maskkey = identity.sign(labels::SIG_MASKKEY, &maskkey);
    let sig_commit = identity.sign(
        labels::SIG_COMMIT,
        &[&core.0, &hash(labels::BLOB, &[&blob]).0, &cts.0],
    );
    let nonce = dealing.nonce;
    Ok(Commit {
        ann_hash,
        nonce,
        e_pk,
        com_b,
        com_k,
        share_list,
        blob,
        ciphertexts,
        sig_maskkey,
        sig_commit,
    })
}

fn seal_for(
    attempt: &Attempt,
    dealer: u32,
    holder: u32,
    nonce: &[u8; 32],
    core: &Digest,
    outbound: &PairKeys,
    pair: &[u8; 64],
) -> Result<Option<[u8; CIPHERTEXT_BYTES]>, Error> {
    if holder == dealer {
        return Ok(None);
    }
    let round_key = outbound
        .get(holder)
        .ok_or(Error::Stored("outbound round key"))?;
    Envelope {
        attempt,
        dealer,
        holder,
        nonce,
        core,
    }
    .seal(round_key, pair)
    .map(Some)
}
