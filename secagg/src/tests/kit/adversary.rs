//! What somebody computes from secrets that came out, and steps that leave a rule away: how a control shows its harm.

use std::collections::BTreeMap;

use super::World;
use super::round::{Round, Upload, certificate_of, certify};
use crate::channel::{self, Envelope};
use crate::holder::{Attested, Verdict, upload_leaf};
use crate::keys::{ExchangeKey, ExchangeSecret, Seed};
use crate::labels;
use crate::mask::{End, Masks, pair_seed, pair_sign, self_seed};
use crate::merkle::Tree;
use crate::message::{Cohort, SurvivorItem, SurvivorProposal, UnmaskList, UploadTrailer};
use crate::participant::{chunk_root, upload_hash};
use crate::prg::{Prg, Sign};
use crate::shamir::{Lagrange, SecretScalar};
use crate::{Bitmap, Digest, commitment};

/// Model and metadata of one site or of a sum.
pub type Values = (Vec<i64>, Vec<u64>);
/// Mask keys that the adversary has, by their owners.
pub type MaskKeys = BTreeMap<u32, ExchangeSecret>;

/// Joins shares, as many as there are.
pub fn join(shares: &[(u32, SecretScalar)]) -> SecretScalar {
    let positions: Vec<u32> = shares.iter().map(|(x, _)| *x).collect();
    let scalars: Vec<_> = shares.iter().map(|(_, share)| share).collect();
    Lagrange::new(&positions, 1).unwrap().combine(&scalars)
}

/// Joins what `lists` hold for `member`.
pub fn joined<'a>(lists: impl IntoIterator<Item = &'a UnmaskList>, member: u32) -> SecretScalar {
    let share = |list: &UnmaskList| {
        let scalar = list.scalar(member)?;
        Some((list.position, SecretScalar::parse(scalar).unwrap()))
    };
    join(&lists.into_iter().filter_map(share).collect::<Vec<_>>())
}

/// Joins pairs of shares by position: b and K.
pub fn joined_pairs(
    pairs: impl IntoIterator<Item = (u32, [SecretScalar; 2])>,
) -> [SecretScalar; 2] {
    let (b, k): (Vec<_>, Vec<_>) = pairs
        .into_iter()
        .map(|(x, [b, k])| ((x, b), (x, k)))
        .unzip();
    [join(&b), join(&k)]
}

impl World {
    /// An attempt that differs from the first one in what `change` does.
    pub fn open_changed(
        &self,
        change: impl FnOnce(&mut crate::message::Announcement),
    ) -> Round<'_> {
        let mut announcement = self.announcement();
        change(&mut announcement);
        self.open_with(announcement)
    }
}

/// Steps of the protocol, some of them without the rule that stands before them.
impl Round<'_> {
    /// Signed upload hashes of `sites`.
    pub fn items(
        &self,
        cohort: &Cohort,
        sites: impl IntoIterator<Item = u32>,
    ) -> Vec<SurvivorItem> {
        let uploads = self.uploads(cohort, sites);
        uploads.into_values().map(|upload| upload.item).collect()
    }

    /// The cohort of those who committed, however few they are.
    pub fn any_cohort(&self) -> Cohort {
        let core = |(&i, commit)| commitment::core_of_commit(&self.attempt, i, commit).unwrap();
        let cores: Vec<_> = self.commits.iter().map(core).collect();
        Cohort {
            ann_hash: self.attempt.hash(),
            members: Bitmap::of(self.world.roster.len(), self.commits.keys().copied()),
            root: Tree::Cohort.root(&cores).unwrap(),
        }
    }

    /// The survivor set that `items` make, whatever rules it breaks.
    pub fn any_proposal(&self, cohort: &Cohort, items: &[SurvivorItem]) -> SurvivorProposal {
        let leaves: Vec<_> = items
            .iter()
            .map(|item| upload_leaf(item.index, &item.upload_hash))
            .collect();
        SurvivorProposal {
            ctx: cohort.ctx(),
            survivors: Bitmap::of(cohort.members.size(), items.iter().map(|item| item.index)),
            upload_root: Tree::Uploads.root(&leaves).unwrap(),
        }
    }

    /// A holder that signs a set without judging it.
    pub fn blind(&self, h: u32, cohort: &Cohort, proposal: &SurvivorProposal) -> Attested {
        let complaints = self.opened(h, cohort).unwrap().complaints().clone();
        self.idle(h).attest(Verdict {
            proposal: proposal.clone(),
            cohort: cohort.members.clone(),
            complaints,
        })
    }

    /// What a holder releases for a set once it believes in a certificate of it.
    pub fn freed(&self, h: u32, cohort: &Cohort, proposal: &SurvivorProposal) -> UnmaskList {
        let sign = |(_, holder)| {
            self.blind(holder, cohort, proposal)
                .attestation(self.identity(holder))
        };
        let signed: Vec<_> = self.attempt.holders().map(sign).collect();
        let attested = self.blind(h, cohort, proposal);
        let released = self.release(attested, &certificate_of(&signed)).unwrap();
        self.list(h, &released, cohort)
    }

    /// D and E as they should be: every holder judges and attests the set, and releases against its certificate.
    pub fn lists(
        &self,
        cohort: &Cohort,
        items: &[SurvivorItem],
    ) -> (SurvivorProposal, BTreeMap<u32, UnmaskList>) {
        self.lists_by(cohort, items, self.attempt.holders().map(|(_, h)| h))
    }

    /// The same with these holders alone.
    pub fn lists_by(
        &self,
        cohort: &Cohort,
        items: &[SurvivorItem],
        holders: impl IntoIterator<Item = u32>,
    ) -> (SurvivorProposal, BTreeMap<u32, UnmaskList>) {
        let proposal = self.propose(cohort, items).unwrap();
        let attest = |h| (h, self.attest(h, cohort, &proposal, items));
        let attested: BTreeMap<_, _> = holders.into_iter().map(attest).collect();
        let certificate = certify(self, cohort, &attested).unwrap();
        let list = |(h, attested)| {
            let released = self.release(attested, &certificate).unwrap();
            (h, self.list(h, &released, cohort))
        };
        (proposal, attested.into_iter().map(list).collect())
    }

    /// Masks of a site that checks nothing of what it is told.
    pub fn unchecked_masks(&self, ctx: &Digest, me: u32) -> Masks {
        let others = self.commits.iter().filter(|(other, _)| **other != me);
        let keys: Vec<_> = others
            .map(|(&other, commit)| (other, commit.e_pk))
            .collect();
        self.masks_with(ctx, me, &keys)
    }

    /// Masks of a site that takes `keys` for those of its neighbours.
    pub fn masks_with(&self, ctx: &Digest, me: u32, keys: &[(u32, ExchangeKey)]) -> Masks {
        let (attempt, dealing) = (&self.attempt, self.dealing(me));
        let own = self_seed(attempt, ctx, me, dealing.f_b.secret()).unwrap();
        let mut masks = vec![(Sign::Plus, own)];
        let end = End {
            index: me,
            key: &dealing.mask_key.public(),
        };
        for (other, key) in keys {
            let other_end = End { index: *other, key };
            let seed = pair_seed(attempt, ctx, &dealing.mask_key, end, other_end).unwrap();
            masks.push((pair_sign(me, *other), seed));
        }
        Masks::new(Prg::Aes256Ctr, masks)
    }

    /// The signed upload that these masks make.
    pub fn upload_masked_by(&self, i: u32, ctx: &Digest, masks: &Masks) -> Upload {
        let (params, place) = (self.world.params(), i as usize);
        let (size, bits) = (params.config().chunk_elems as usize, params.config().m);
        let chunks: Vec<_> = (0..)
            .zip(self.updates[place].chunks(size))
            .map(|(chunk, lanes)| masks.mask_chunk(params.lane(), bits, chunk, lanes))
            .collect();
        let mut lanes = self.metadata[place].clone();
        masks.add_to_metadata(&mut lanes);
        let metadata: Vec<u8> = lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect();
        let hashes: Vec<_> = chunks.iter().map(|chunk| Digest::of_bulk(chunk)).collect();
        let chunk_root = chunk_root(&hashes).unwrap();
        let upload_hash = upload_hash(&self.attempt, ctx, i, &chunk_root, &metadata).unwrap();
        let parts: [&[u8]; 2] = [&ctx.0, &upload_hash.0];
        let signature = self.identity(i).sign(labels::SIG_UPLOAD, &parts);
        Upload {
            chunks,
            trailer: UploadTrailer {
                metadata,
                chunk_root,
                signature,
            },
            item: SurvivorItem {
                index: i,
                upload_hash,
                signature,
            },
        }
    }
}

/// What comes out.
impl Round<'_> {
    /// What the site of an upload wanted to hide.
    pub fn hidden(&self, i: u32) -> Values {
        self.plain(&Bitmap::of(self.world.roster.len(), [i]))
    }

    /// The pair that `dealer` sealed for `holder`, if `key` is the round key between them.
    pub fn try_open(&self, dealer: u32, holder: u32, key: &Seed) -> Option<[SecretScalar; 2]> {
        let commit = &self.commits[&dealer];
        let place = self.attempt.position(holder)? as usize - 1;
        let envelope = Envelope {
            attempt: &self.attempt,
            dealer,
            holder,
            nonce: &commit.nonce,
            core: &commitment::core_of_commit(&self.attempt, dealer, commit).unwrap(),
        };
        let plain = envelope
            .open(key, commit.ciphertexts[place].as_ref()?)
            .unwrap()?;
        Some(pair(&plain))
    }

    /// The mask key that K of `member` unlocks.
    pub fn rescued(&self, member: u32, k: &SecretScalar) -> ExchangeSecret {
        let commit = &self.commits[&member];
        let core = commitment::core_of_commit(&self.attempt, member, commit).unwrap();
        let id = self.attempt.member(member).unwrap().id;
        let key = commitment::rescue_key(&self.attempt.hash(), &id, k);
        let bytes = channel::open(&key, &core.0, &commit.blob).unwrap();
        ExchangeSecret::new(&Seed::restore(&bytes).unwrap())
    }

    /// Takes off an upload of `victim` what `b` and the mask keys of its neighbours explain.
    pub fn without_masks(
        &self,
        victim: u32,
        (ctx, upload): (&Digest, Upload),
        b: &SecretScalar,
        neighbours: &MaskKeys,
    ) -> Values {
        let attempt = &self.attempt;
        let mut off = vec![(Sign::Minus, self_seed(attempt, ctx, victim, b).unwrap())];
        for (&index, secret) in neighbours {
            let own = End {
                index,
                key: &secret.public(),
            };
            let other = End {
                index: victim,
                key: &self.commits[&victim].e_pk,
            };
            let seed = pair_seed(attempt, ctx, secret, own, other).unwrap();
            off.push((pair_sign(victim, index).flipped(), seed));
        }
        let alone = Bitmap::of(attempt.roster().len(), [victim]);
        self.sum(
            &BTreeMap::from([(victim, upload)]),
            &alone,
            &Masks::new(Prg::Aes256Ctr, off),
        )
    }

    /// What both secrets of a site expose: its upload, whoever else did what.
    pub fn exposed(&self, victim: u32, cohort: &Cohort, [b, k]: &[SecretScalar; 2]) -> Values {
        let (attempt, ctx) = (&self.attempt, cohort.ctx());
        let mask_key = self.rescued(victim, k);
        let own = End {
            index: victim,
            key: &mask_key.public(),
        };
        let mut off = vec![(Sign::Minus, self_seed(attempt, &ctx, victim, b).unwrap())];
        for index in cohort.members.iter().filter(|other| *other != victim) {
            let other = End {
                index,
                key: &self.commits[&index].e_pk,
            };
            let seed = pair_seed(attempt, &ctx, &mask_key, own, other).unwrap();
            off.push((pair_sign(victim, index).flipped(), seed));
        }
        let uploads = self.uploads(cohort, [victim]);
        let alone = Bitmap::of(attempt.roster().len(), [victim]);
        self.sum(&uploads, &alone, &Masks::new(Prg::Aes256Ctr, off))
    }

    /// What a release exposes of a survivor's upload, its neighbours being `corrupt` or dropped: b of its own, K of the dropped.
    pub fn exposed_by_lists(
        &self,
        victim: u32,
        cohort: &Cohort,
        lists: &BTreeMap<u32, UnmaskList>,
        corrupt: &[u32],
    ) -> Values {
        let key = |i: u32| {
            if corrupt.contains(&i) {
                self.dealing(i).mask_key
            } else {
                self.rescued(i, &joined(lists.values(), i))
            }
        };
        let others = cohort.members.iter().filter(|i| *i != victim);
        let neighbours = others.map(|i| (i, key(i))).collect();
        let b = joined(lists.values(), victim);
        let upload = self.upload(victim, cohort);
        self.without_masks(victim, (&cohort.ctx(), upload), &b, &neighbours)
    }
}

/// Two scalars side by side.
pub fn pair(plain: &[u8]) -> [SecretScalar; 2] {
    let half = |bytes: &[u8]| SecretScalar::parse(bytes.try_into().unwrap()).unwrap();
    [half(&plain[..32]), half(&plain[32..])]
}
