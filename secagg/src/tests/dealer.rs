//! A dealer that cheats: an honest Commit taken apart, bent in one place by the test, and signed again.

use super::kit::Round;
use crate::channel::{self, Envelope};
use crate::codec::{hash, le32};
use crate::commitment::{self, CoreParts, Secret};
use crate::keys::{Seed, Signature};
use crate::message::{BLOB_BYTES, Commit, PAIR_BYTES};
use crate::participant::Dealing;
use crate::{Digest, labels};

/// The parts of a Commit before they are sealed.
pub struct Dealer {
    pub me: u32,
    pub dealing: Dealing,
    pub com_b: Digest,
    pub com_k: Digest,
    /// What each holder is sent, by position: f_b(x) ‖ f_K(x).
    pub dealt: Vec<[u8; PAIR_BYTES]>,
    /// What the share list commits to.
    pub committed: Vec<[u8; PAIR_BYTES]>,
    /// What the rescue blob holds.
    pub rescued: Seed,
}

impl Dealer {
    pub fn honest(round: &Round<'_>, me: u32) -> Self {
        let (dealing, attempt) = (round.dealing(me), &round.attempt);
        let (ann_hash, id) = (attempt.hash(), attempt.member(me).unwrap().id);
        let pair = |(x, _)| {
            let mut pair = [0; PAIR_BYTES];
            pair[..32].copy_from_slice(dealing.f_b.share(x).expose());
            pair[32..].copy_from_slice(dealing.f_k.share(x).expose());
            pair
        };
        let dealt: Vec<_> = attempt.holders().map(pair).collect();
        Self {
            me,
            com_b: commitment::of_secret(Secret::SelfMask, &ann_hash, &id, dealing.f_b.secret()),
            com_k: commitment::of_secret(Secret::Rescue, &ann_hash, &id, dealing.f_k.secret()),
            committed: dealt.clone(),
            dealt,
            rescued: Seed::new(*dealing.mask_key.expose()),
            dealing,
        }
    }

    /// The signed Commit that these parts make.
    pub fn commit(&self, round: &Round<'_>) -> Commit {
        let (attempt, me) = (&round.attempt, self.me);
        let (ann_hash, id) = (attempt.hash(), attempt.member(me).unwrap().id);
        let share_list: Vec<_> = (1..)
            .zip(&self.committed)
            .map(|(x, pair)| commit_pair(&ann_hash, &id.0, x, pair))
            .collect();
        let (nonce, e_pk) = (self.dealing.nonce, self.dealing.mask_key.public());
        let (com_b, com_k, shares_root) = (
            self.com_b,
            self.com_k,
            commitment::shares_root(&share_list).unwrap(),
        );
        let core = CoreParts {
            nonce: &nonce,
            e_pk: &e_pk,
            com_b: &com_b,
            com_k: &com_k,
            shares_root,
        }
        .core(&ann_hash, &id);
        let k_rescue = commitment::rescue_key(&ann_hash, &id, self.dealing.f_k.secret());
        let blob: [u8; BLOB_BYTES] = channel::seal(&k_rescue, &core.0, self.rescued.expose())
            .try_into()
            .unwrap();
        let keys = round.keys(me).outbound;
        let seal = |((_, holder), pair): ((u32, u32), &[u8; PAIR_BYTES])| {
            let envelope = Envelope {
                attempt,
                dealer: me,
                holder,
                nonce: &nonce,
                core: &core,
            };
            keys.get(holder)
                .map(|key| envelope.seal(key, pair).unwrap())
        };
        let ciphertexts: Vec<_> = attempt.holders().zip(&self.dealt).map(seal).collect();
        let mut commit = Commit {
            ann_hash,
            nonce,
            e_pk,
            com_b,
            com_k,
            share_list,
            blob,
            ciphertexts,
            sig_maskkey: Signature([0; 64]),
            sig_commit: Signature([0; 64]),
        };
        sign_again(round, me, &mut commit);
        commit
    }
}

/// Signs a Commit in the name of `me`, whatever is in it.
pub fn sign_again(round: &Round<'_>, me: u32, commit: &mut Commit) {
    let (attempt, identity) = (&round.attempt, round.identity(me));
    let (ann_hash, id) = (attempt.hash(), attempt.member(me).unwrap().id);
    let core = commitment::core_of_commit(attempt, me, commit).unwrap();
    let (nonce, e_pk) = (&commit.nonce, commit.e_pk.as_bytes());
    let maskkey: [&[u8]; 4] = [&ann_hash.0, &id.0.0, nonce, e_pk];
    commit.sig_maskkey = identity.sign(labels::SIG_MASKKEY, &maskkey);
    let cts = Commit::ciphertexts_hash(&commit.ciphertexts);
    let parts = [core.0, hash(labels::BLOB, &[&commit.blob]).0, cts.0];
    commit.sig_commit = identity.sign(labels::SIG_COMMIT, &parts.each_ref().map(|part| &part[..]));
}

fn commit_pair(
    ann_hash: &Digest,
    id: &Digest,
    x: u32,
    pair: &[u8; PAIR_BYTES],
) -> [u8; PAIR_BYTES] {
    let half = |label, share: &[u8]| hash(label, &[&ann_hash.0, &id.0, &le32(x), share]).0;
    [
        half(labels::SHARE_B, &pair[..32]),
        half(labels::SHARE_K, &pair[32..]),
    ]
    .concat()
    .try_into()
    .unwrap()
}

#[test]
fn an_honest_dealer_taken_apart_makes_the_same_commit() {
    let world = super::kit::World::new(5);
    let round = world.open();
    assert_eq!(Dealer::honest(&round, 2).commit(&round), round.commit_of(2));
}
