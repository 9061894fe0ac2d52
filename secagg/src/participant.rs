//! A participant's own part: typestates, consumed. `AwaitingRoster → Channels` once per epoch, `Committed → Masking` per attempt.
//!
//! Every secret of an attempt derives from one fresh 32-byte seed, so the same Commit and the same masked bytes can be made again
//! after a crash. What must be durable before a step, and that no step is done twice with other input, is the caller's to see to.
//! Source: protocol, sections 4, 6, 8 and 9.

mod dealing;

use std::collections::BTreeSet;
use std::sync::Arc;

use zeroize::Zeroizing;

pub(crate) use dealing::Dealing;
pub use dealing::OwnShares;
use dealing::{Commitments, build_commit};

use crate::channel::{Channels, PairKeys};
use crate::codec::{Digest, expand, hash, le32, le64};
use crate::commitment;
use crate::context::{Attempt, Roster};
use crate::error::{Error, Fault};
use crate::keys::{BindingClaim, ExchangeKey, ExchangeSecret, Identity, Seed, Signature};
use crate::labels;
use crate::mask::{End, Masks, pair_seed, pair_sign, self_seed};
use crate::merkle::Tree;
use crate::message::{
    Advertisement, Cohort, Commit, Neighbourhood, UploadHeader, UploadTrailer, advertisement_parts,
};
use crate::params::Params;
use crate::prg::Sign;
use crate::ring::Lane;

/// The organisation's signed word on this site's identity key, made outside this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// What is bound.
    pub claim: BindingClaim,
    /// TLS 1.3 number of the signature scheme.
    pub scheme: u16,
    /// Signature over [`crate::keys::binding_message`].
    pub signature: Vec<u8>,
    /// Certificate chain, DER, leaf first.
    pub chain: Vec<Vec<u8>>,
}

/// Has advertised its keys for one epoch and waits for the roster.
pub struct AwaitingRoster {
    secret: ExchangeSecret,
    advertisement: Advertisement,
}

impl AwaitingRoster {
    /// Derives the epoch's keys from `seed`; the same seed gives the same advertisement, byte for byte.
    pub fn new(
        params: &Params,
        epoch: u64,
        identity: &Identity,
        binding: &Binding,
        seed: &Seed,
    ) -> (Self, Advertisement) {
        let secret = ExchangeSecret::new(&expand(seed.expose(), labels::LOCAL_CHANNEL, &[]).into());
        let reveal = expand(seed.expose(), labels::LOCAL_REVEAL, &[]);
        let (run_hash, number, id_pk) = (params.run_hash(), le64(epoch), identity.public());
        let nonce_commit = hash(
            labels::NONCE_COMMIT,
            &[&run_hash.0, &number, id_pk.id().0.as_ref(), &reveal[..]],
        );
        let x_pk = secret.public();
        let bound = binding.claim.hash(&id_pk);
        let parts = advertisement_parts(&run_hash, &number, &x_pk, &nonce_commit);
        let signature = identity.sign(labels::SIG_ADVERTISEMENT, &parts.with(&bound));
        let advertisement = Advertisement {
            run_hash,
            epoch,
            id_pk,
            x_pk,
            binding: binding.claim.clone(),
            binding_scheme: binding.scheme,
            binding_signature: binding.signature.clone(),
            chain: binding.chain.clone(),
            nonce_commit,
            signature,
        };
        (
            Self {
                secret,
                advertisement: advertisement.clone(),
            },
            advertisement,
        )
    }

    /// Derives the channel keys with every member of the roster; the epoch secret is gone afterwards.
    ///
    /// # Errors
    /// The coordinator's fault if the roster holds another key under this site's id; [`Error::NotAMember`] if it leaves the site
    /// out; a member's fault for a key that agrees on nothing.
    pub fn accept(self, roster: &Roster) -> Result<Channels, Error> {
        let own = self.advertisement.id_pk.id();
        let me = roster.index_of(&own).ok_or(Error::NotAMember("roster"))?;
        let entry = roster.member(me).ok_or(Error::NotAMember("roster"))?;
        if entry.x_pk != self.advertisement.x_pk
            || entry.nonce_commit != self.advertisement.nonce_commit
        {
            return Err(Fault::Context("advertisement").by_coordinator());
        }
        Channels::derive(roster, me, &self.secret)
    }
}

/// Has committed to an attempt and waits for its cohort.
pub struct Committed {
    attempt: Arc<Attempt>,
    me: u32,
    pub(crate) dealing: Dealing,
    pub(crate) core: Digest,
}

impl Committed {
    /// Derives the attempt's secrets from `seed`: fresh randomness, drawn after the update was pinned. The same seed gives the
    /// same state again.
    ///
    /// # Errors
    /// [`Error::NotAMember`] if `me` is not in the roster.
    pub fn new(attempt: Arc<Attempt>, me: u32, seed: &Seed) -> Result<Self, Error> {
        let dealing = Dealing::derive(&attempt, seed);
        Self::of(attempt, me, dealing)
    }

    /// The state that belongs to known secrets; known answers come in here, all others by way of a seed.
    pub(crate) fn of(attempt: Arc<Attempt>, me: u32, dealing: Dealing) -> Result<Self, Error> {
        let core = Commitments::new(&attempt, me, &dealing)?.core;
        Ok(Self {
            attempt,
            me,
            dealing,
            core,
        })
    }

    /// This site's own pair of shares, if it is a holder of the attempt.
    pub fn own_shares(&self) -> Option<OwnShares> {
        self.attempt
            .position(self.me)
            .map(|x| self.dealing.own_shares(x))
    }

    /// The Commit, with one pair of shares sealed to each holder under its outbound round key.
    ///
    /// # Errors
    /// [`Error::Stored`] if a holder's round key is missing: the Commit was answered, and its keys are gone.
    pub fn commit(&self, identity: &Identity, outbound: &PairKeys) -> Result<Commit, Error> {
        build_commit(&self.attempt, self.me, identity, &self.dealing, outbound)
    }

    /// Checks the cohort and every neighbour's key, then derives the masks.
    ///
    /// # Errors
    /// The coordinator's fault; nothing is masked then. A neighbour is not blamed for a key that does not verify: an honest
    /// coordinator passes none on. That the coordinator signed the cohort, and that it is the only one ever accepted under this
    /// announcement, is the caller's to see to.
    pub fn accept(self, cohort: &Cohort, near: &Neighbourhood) -> Result<Masking, Error> {
        self.check_cohort(cohort, near)?;
        let (attempt, ctx) = (&self.attempt, cohort.ctx());
        let own = End {
            index: self.me,
            key: &self.dealing.mask_key.public(),
        };
        let mut masks = vec![(
            Sign::Plus,
            self_seed(attempt, &ctx, self.me, self.dealing.f_b.secret())?,
        )];
        let mut mask_keys = BTreeSet::from([*own.key]);
        for key in &near.keys {
            if !maskkey_verifies(attempt, key.index, &key.nonce, &key.e_pk, &key.sig_maskkey) {
                return Err(Fault::Signature("mask key").by_coordinator());
            }
            if !mask_keys.insert(key.e_pk) {
                return Err(Fault::Duplicate("mask key").by_coordinator());
            }
            let other = End {
                index: key.index,
                key: &key.e_pk,
            };
            let seed = pair_seed(attempt, &ctx, &self.dealing.mask_key, own, other)?;
            masks.push((pair_sign(self.me, key.index), seed));
        }
        Ok(Masking {
            masks: Masks::new(attempt.params().prg(), masks),
            attempt: self.attempt,
            me: self.me,
            ctx,
        })
    }

    /// Protocol, section 9, "before masking".
    fn check_cohort(&self, cohort: &Cohort, near: &Neighbourhood) -> Result<(), Error> {
        let (attempt, params) = (&self.attempt, self.attempt.params());
        let n = attempt.roster().len();
        if cohort.ann_hash != attempt.hash() || cohort.members.size() != n {
            return Err(Fault::Context("announcement").by_coordinator());
        }
        let (have, need) = (cohort.members.count(), params.cohort_floor(n));
        if have < need {
            return Err(Fault::TooFew {
                what: "members of the cohort",
                have,
                need,
            }
            .by_coordinator());
        }
        let rank = cohort
            .members
            .rank(self.me)
            .ok_or(Error::NotAMember("cohort"))? as usize;
        if Tree::Cohort.root_from_path(&self.core.0, rank, have as usize, &near.own_path)
            != Some(cohort.root)
        {
            return Err(Fault::Root("place of this site's Commit in the cohort").by_coordinator());
        }
        let graph = attempt.roster().graph();
        if !params.degree_holds(graph.alive(self.me, &cohort.members), graph.degree(self.me)) {
            return Err(Fault::Degree { member: self.me }.by_coordinator());
        }
        let expected = graph
            .neighbours(self.me)
            .filter(|&other| cohort.members.contains(other));
        if !expected.eq(near.keys.iter().map(|key| key.index)) {
            return Err(Fault::Order("neighbour keys").by_coordinator());
        }
        Ok(())
    }
}

/// Whether `Sig("maskkey", ann_hash, id, nonce, E)` is the member's.
pub(crate) fn maskkey_verifies(
    attempt: &Attempt,
    index: u32,
    nonce: &[u8; 32],
    e_pk: &ExchangeKey,
    signature: &Signature,
) -> bool {
    attempt.roster().member(index).is_some_and(|member| {
        let parts: [&[u8]; 4] = [
            &attempt.hash().0,
            member.id.0.as_ref(),
            nonce,
            e_pk.as_bytes(),
        ];
        member
            .id_pk
            .verifies(signature, labels::SIG_MASKKEY, &parts)
    })
}

/// Masks this site's one contribution to the attempt. Every call with the same input gives the same bytes.
pub struct Masking {
    attempt: Arc<Attempt>,
    me: u32,
    ctx: Digest,
    pub(crate) masks: Masks,
}

impl Masking {
    /// Context everything is bound to.
    pub fn ctx(&self) -> Digest {
        self.ctx
    }

    /// What the upload declares before its bytes.
    pub fn header(&self) -> UploadHeader {
        let config = self.attempt.params().config();
        UploadHeader {
            ctx: self.ctx,
            elements: config.elements,
            ring_bits: u32::from(config.m),
            chunk_elems: config.chunk_elems,
        }
    }

    /// Masks and packs the quantised lanes of chunk `chunk`.
    ///
    /// Shape: `chunk_len(chunk)` signed values in, `packed_len` bytes out.
    ///
    /// # Panics
    /// If the number of lanes is not that of the chunk: our own bug, since the update was flattened to the layout.
    pub fn chunk(&self, chunk: u64, lanes: &[i64]) -> Vec<u8> {
        let params = self.attempt.params();
        assert_eq!(
            lanes.len(),
            params.chunk_len(chunk) as usize,
            "lanes of chunk {chunk}"
        );
        self.masks
            .mask_chunk(params.lane(), params.config().m, chunk, lanes)
    }

    /// Masks the quantised lanes of chunk `chunk` in place and appends their packed bytes to `packed`: [`Self::chunk`] for lanes
    /// that are already what the ring takes, in buffers that are used again. After it `lanes` are masked, and no use to anybody.
    ///
    /// Shape: `chunk_len(chunk)` lanes in, `packed_len` bytes out. Same input, same bytes.
    ///
    /// # Panics
    /// If the lanes are not of the run's width, or not as many as the chunk has: our own bug.
    pub fn pack_chunk<L: Lane>(&self, chunk: u64, lanes: &mut [L], packed: &mut Vec<u8>) {
        let params = self.attempt.params();
        assert_eq!(L::WIDTH, params.lane(), "width of the lanes");
        assert_eq!(
            lanes.len(),
            params.chunk_len(chunk) as usize,
            "lanes of chunk {chunk}"
        );
        self.masks
            .add_and_pack(params.config().m, chunk, lanes, packed);
    }

    /// Masks the metadata lanes and signs the whole upload; `chunk_hashes` are the BLAKE3 hashes of the packed chunks in order.
    ///
    /// # Panics
    /// If there is not one hash per chunk and one lane per metadata field: our own bug.
    pub fn trailer(
        &self,
        identity: &Identity,
        chunk_hashes: &[Digest],
        metadata: &[u64],
    ) -> (UploadTrailer, Digest) {
        let params = self.attempt.params();
        assert_eq!(
            chunk_hashes.len() as u64,
            params.chunks(),
            "chunks of the upload"
        );
        assert_eq!(
            metadata.len(),
            params.config().meta_lanes as usize,
            "metadata lanes"
        );
        let mut lanes = Zeroizing::new(metadata.to_vec());
        self.masks.add_to_metadata(&mut lanes);
        let metadata: Vec<u8> = lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect();
        let chunk_root = chunk_root(chunk_hashes).expect("an upload has at least one chunk");
        let upload_hash = upload_hash(&self.attempt, &self.ctx, self.me, &chunk_root, &metadata)
            .expect("this site is in the roster: its Commit was built");
        let signature = identity.sign(labels::SIG_UPLOAD, &[&self.ctx.0, &upload_hash.0]);
        (
            UploadTrailer {
                metadata,
                chunk_root,
                signature,
            },
            upload_hash,
        )
    }
}

/// Merkle root over `LE32(k) ‖ BLAKE3(packed chunk k)`; `None` without chunks.
pub fn chunk_root(chunk_hashes: &[Digest]) -> Option<Digest> {
    let leaves: Vec<_> = (0u32..)
        .zip(chunk_hashes)
        .map(|(k, hash)| [&le32(k)[..], &hash.0].concat())
        .collect();
    Tree::Chunks.root(&leaves)
}

/// `upload_hash = H("upload-core", ctx, id, LE64(elements), LE32(m), LE32(chunk_elems), LE32(chunks), chunk_root, BLAKE3(metadata))`.
pub(crate) fn upload_hash(
    attempt: &Attempt,
    ctx: &Digest,
    index: u32,
    chunk_root: &Digest,
    metadata: &[u8],
) -> Result<Digest, Error> {
    let id = attempt.member(index)?.id;
    let metadata_hash = Digest::of_bulk(metadata);
    Ok(commitment::of_upload(
        attempt.params(),
        ctx,
        &id,
        chunk_root,
        &metadata_hash,
    ))
}
