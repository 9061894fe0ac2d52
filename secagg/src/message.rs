//! What the parties send: parsed values, not yet believed. Each is bounded and canonical by its types; whether signatures and
//! hashes fit is checked where a message is used.
//!
//! Source: protocol, sections 5 to 12.

use core::fmt;

use crate::bitmap::Bitmap;
use crate::codec::{Digest, hash, le32, le64};
use crate::keys::{BindingClaim, ExchangeKey, Identity, Signature, VerifyKey};
use crate::labels;

/// Bytes of a sealed pair of shares: two scalars and the tag.
pub const CIPHERTEXT_BYTES: usize = 80;
/// Bytes of a rescue blob: a mask key and the tag.
pub const BLOB_BYTES: usize = 48;
/// Bytes of the two commitments to one holder's shares.
pub const PAIR_BYTES: usize = 64;

/// A member's signed keys for one epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advertisement {
    /// Run it is for.
    pub run_hash: Digest,
    /// Epoch it is for.
    pub epoch: u64,
    /// Protocol identity key.
    pub id_pk: VerifyKey,
    /// Channel key of this epoch.
    pub x_pk: ExchangeKey,
    /// What the organisation says of the identity key.
    pub binding: BindingClaim,
    /// The organisation's signature scheme (TLS 1.3 number) and signature; checked against its certificate outside this crate.
    pub binding_scheme: u16,
    /// See `binding_scheme`.
    pub binding_signature: Vec<u8>,
    /// The organisation's certificate, DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// Commitment to a nonce that only the fleet profile reveals.
    pub nonce_commit: Digest,
    /// Signature over all of it.
    pub signature: Signature,
}

impl Advertisement {
    /// Whether its own signature fits.
    pub fn verifies(&self) -> bool {
        let epoch = le64(self.epoch);
        let parts = advertisement_parts(&self.run_hash, &epoch, &self.x_pk, &self.nonce_commit);
        let binding = self.binding.hash(&self.id_pk);
        self.id_pk.verifies(
            &self.signature,
            labels::SIG_ADVERTISEMENT,
            &parts.with(&binding),
        )
    }
}

/// The signed parts of an advertisement; the binding hash stands between the keys and the nonce commitment.
pub(crate) struct AdvertisementParts<'a>([&'a [u8]; 3], &'a [u8]);

pub(crate) fn advertisement_parts<'a>(
    run_hash: &'a Digest,
    epoch: &'a [u8; 8],
    x_pk: &'a ExchangeKey,
    nonce_commit: &'a Digest,
) -> AdvertisementParts<'a> {
    AdvertisementParts([&run_hash.0, epoch, x_pk.as_bytes()], &nonce_commit.0)
}

impl<'a> AdvertisementParts<'a> {
    pub(crate) fn with(&self, binding: &'a Digest) -> [&'a [u8]; 6] {
        let [run_hash, epoch, x_pk] = self.0;
        [run_hash, epoch, x_pk, &[], &binding.0, self.1]
    }
}

/// A member's signature on the roster it saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RosterConfirmation {
    /// The epoch's context.
    pub epoch_ctx: Digest,
    /// Index of the member.
    pub index: u32,
    /// Its signature.
    pub signature: Signature,
}

/// What the coordinator proposes for one attempt of one round.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// Epoch it belongs to.
    pub epoch_ctx: Digest,
    /// Round of the run, from 1.
    pub round: u64,
    /// Attempt within the epoch, from 1.
    pub seq: u64,
    /// Announcement of the lost attempt this one repeats exactly; zero otherwise.
    pub retry_of: Digest,
    /// BLAKE3 of the model to train on.
    pub model_hash: Digest,
    /// Result of the last completed round; zero at first.
    pub prev_result_hash: Digest,
    /// Hash of the configuration handed to the trainers.
    pub roundcfg_hash: Digest,
    /// Who holds shares.
    pub holders: Bitmap,
    /// Threshold t.
    pub threshold: u32,
    /// Join deadline, Unix milliseconds.
    pub commit_by_ms: u64,
    /// Report deadline.
    pub submit_by_ms: u64,
    /// When every site gives the attempt up.
    pub expires_ms: u64,
}

impl Announcement {
    /// `ann_hash = H("announce", …)`.
    pub fn hash(&self) -> Digest {
        hash(
            labels::ANNOUNCE,
            &[
                &self.epoch_ctx.0,
                &le64(self.round),
                &le64(self.seq),
                &self.retry_of.0,
                &self.model_hash.0,
                &self.prev_result_hash.0,
                &self.roundcfg_hash.0,
                self.holders.as_bytes(),
                &le32(self.threshold),
                &le64(self.commit_by_ms),
                &le64(self.submit_by_ms),
                &le64(self.expires_ms),
            ],
        )
    }

    /// The coordinator's signature.
    pub fn sign(&self, coordinator: &Identity) -> Signature {
        coordinator.sign(labels::SIG_ANNOUNCE, &[&self.hash().0])
    }

    /// Whether `signature` is the coordinator's.
    pub fn verifies(&self, coordinator: &VerifyKey, signature: &Signature) -> bool {
        coordinator.verifies(signature, labels::SIG_ANNOUNCE, &[&self.hash().0])
    }
}

/// A member's mask key, commitments and sealed shares for one attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Announcement it answers.
    pub ann_hash: Digest,
    /// Fresh nonce; keeps every share key single-use.
    pub nonce: [u8; 32],
    /// Mask key E.
    pub e_pk: ExchangeKey,
    /// Commitment to the self-mask scalar b.
    pub com_b: Digest,
    /// Commitment to the rescue scalar K.
    pub com_k: Digest,
    /// `pair_1 ‖ … ‖ pair_L`.
    pub share_list: Vec<[u8; PAIR_BYTES]>,
    /// The mask key sealed under K.
    pub blob: [u8; BLOB_BYTES],
    /// One sealed pair per holder, by position; none for the dealer itself.
    pub ciphertexts: Vec<Option<[u8; CIPHERTEXT_BYTES]>>,
    /// Signature over the mask key, for neighbours.
    pub sig_maskkey: Signature,
    /// Signature over everything.
    pub sig_commit: Signature,
}

impl Commit {
    /// `H("cts", ct_1, …, ct_L)`, the empty string at the dealer's own position.
    pub(crate) fn ciphertexts_hash(ciphertexts: &[Option<[u8; CIPHERTEXT_BYTES]>]) -> Digest {
        let parts: Vec<&[u8]> = ciphertexts
            .iter()
            .map(|ct| ct.as_ref().map_or(&[][..], |ct| &ct[..]))
            .collect();
        hash(labels::CTS, &parts)
    }
}

/// Who is in, decided once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cohort {
    /// Announcement it closes.
    pub ann_hash: Digest,
    /// Members whose Commit counts.
    pub members: Bitmap,
    /// Merkle root over their commit cores, ascending index.
    pub root: Digest,
}

impl Cohort {
    /// `ctx = H("round-ctx", ann_hash, cohort_bitmap, cohort_root)`.
    pub fn ctx(&self) -> Digest {
        hash(
            labels::ROUND_CTX,
            &[&self.ann_hash.0, self.members.as_bytes(), &self.root.0],
        )
    }

    /// The coordinator's signature.
    pub fn sign(&self, coordinator: &Identity) -> Signature {
        coordinator.sign(labels::SIG_COHORT, &[&self.ctx().0])
    }

    /// Whether `signature` is the coordinator's.
    pub fn verifies(&self, coordinator: &VerifyKey, signature: &Signature) -> bool {
        coordinator.verifies(signature, labels::SIG_COHORT, &[&self.ctx().0])
    }
}

/// A neighbour's mask key, as its owner signed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighbourKey {
    /// Index of the neighbour.
    pub index: u32,
    /// Its nonce.
    pub nonce: [u8; 32],
    /// Its mask key.
    pub e_pk: ExchangeKey,
    /// Its signature over both.
    pub sig_maskkey: Signature,
}

/// What a site needs to mask: its own place in the cohort, and its neighbours' keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Neighbourhood {
    /// Merkle path of the site's own commit core.
    pub own_path: Vec<Digest>,
    /// Keys of its neighbours in the cohort.
    pub keys: Vec<NeighbourKey>,
}

/// One cohort member's part for one holder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShareItem {
    /// Index of the dealer.
    pub index: u32,
    /// Its nonce.
    pub nonce: [u8; 32],
    /// Its mask key.
    pub e_pk: ExchangeKey,
    /// Its commitment to b.
    pub com_b: Digest,
    /// Its commitment to K.
    pub com_k: Digest,
    /// The sealed pair; none when the holder is the dealer.
    pub ciphertext: Option<[u8; CIPHERTEXT_BYTES]>,
    /// The committed pair of this holder's position.
    pub pair: [u8; PAIR_BYTES],
    /// Path of that pair to the dealer's shares root.
    pub path: Vec<Digest>,
}

/// What the masked vector is, before its bytes come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UploadHeader {
    /// Context it was masked under.
    pub ctx: Digest,
    /// Elements.
    pub elements: u64,
    /// Bits of an element.
    pub ring_bits: u32,
    /// Elements of a chunk.
    pub chunk_elems: u32,
}

/// What ends an upload: the masked metadata and the signature that covers everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadTrailer {
    /// Masked metadata lanes, u64 little-endian.
    pub metadata: Vec<u8>,
    /// Merkle root over the BLAKE3 hashes of the packed chunks.
    pub chunk_root: Digest,
    /// The participant's signature over the upload hash.
    pub signature: Signature,
}

/// The coordinator's word that an upload is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Context of the upload.
    pub ctx: Digest,
    /// Its hash.
    pub upload_hash: Digest,
    /// When it was accepted, Unix milliseconds.
    pub time_ms: u64,
}

impl Receipt {
    /// The coordinator's signature.
    pub fn sign(&self, coordinator: &Identity) -> Signature {
        coordinator.sign(
            labels::SIG_RECEIPT,
            &[&self.ctx.0, &self.upload_hash.0, &le64(self.time_ms)],
        )
    }

    /// Whether `signature` is the coordinator's.
    pub fn verifies(&self, coordinator: &VerifyKey, signature: &Signature) -> bool {
        let time = le64(self.time_ms);
        coordinator.verifies(
            signature,
            labels::SIG_RECEIPT,
            &[&self.ctx.0, &self.upload_hash.0, &time],
        )
    }
}

/// Whose uploads count, decided once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SurvivorProposal {
    /// Context of the attempt.
    pub ctx: Digest,
    /// The survivors U.
    pub survivors: Bitmap,
    /// Merkle root over their upload hashes.
    pub upload_root: Digest,
}

impl SurvivorProposal {
    /// `digest = H("survivors", ctx, U_bitmap, upload_root)`.
    pub fn digest(&self) -> Digest {
        hash(
            labels::SURVIVORS,
            &[&self.ctx.0, self.survivors.as_bytes(), &self.upload_root.0],
        )
    }

    /// The coordinator's signature.
    pub fn sign(&self, coordinator: &Identity) -> Signature {
        coordinator.sign(labels::SIG_PROPOSAL, &[&self.digest().0])
    }

    /// Whether `signature` is the coordinator's.
    pub fn verifies(&self, coordinator: &VerifyKey, signature: &Signature) -> bool {
        coordinator.verifies(signature, labels::SIG_PROPOSAL, &[&self.digest().0])
    }
}

/// One survivor's signed upload hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SurvivorItem {
    /// Index of the survivor.
    pub index: u32,
    /// Hash of its upload.
    pub upload_hash: Digest,
    /// Its signature over that hash.
    pub signature: Signature,
}

/// A holder's signature on one survivor set, and its complaints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attestation {
    /// Survivor digest.
    pub digest: Digest,
    /// Position of the holder, from 1.
    pub position: u32,
    /// Its signature over the digest.
    pub signature: Signature,
    /// Dealers whose shares it cannot use.
    pub complaints: Bitmap,
    /// Its signature over the complaints.
    pub sig_complaint: Signature,
}

/// One scalar per cohort member without complaint: a share of b for survivors, of K for dropouts. There is no type flag.
#[derive(Clone, PartialEq, Eq)]
pub struct UnmaskList {
    /// Survivor digest.
    pub digest: Digest,
    /// Position of the holder, from 1.
    pub position: u32,
    /// Members for whom a scalar follows.
    pub present: Bitmap,
    /// The scalars, in ascending order of index.
    pub scalars: Vec<[u8; 32]>,
    /// The holder's signature over the list.
    pub signature: Signature,
}

/// Without the scalars: t lists unmask every upload, so none may end up in a log.
impl fmt::Debug for UnmaskList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnmaskList")
            .field("digest", &self.digest)
            .field("position", &self.position)
            .field("scalars", &self.scalars.len())
            .finish_non_exhaustive()
    }
}

impl UnmaskList {
    /// `H("unmask-list", LE32(position), present_bitmap, scalars)`.
    pub(crate) fn hash(position: u32, present: &Bitmap, scalars: &[[u8; 32]]) -> Digest {
        hash(
            labels::UNMASK_LIST,
            &[&le32(position), present.as_bytes(), scalars.as_flattened()],
        )
    }

    /// Share released for `member`, if there is one.
    pub fn scalar(&self, member: u32) -> Option<&[u8; 32]> {
        self.scalars.get(self.present.rank(member)? as usize)
    }
}

/// A holder's word that it will never release anything of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortAttestation {
    /// The announcement given up.
    pub ann_hash: Digest,
    /// Position of the holder, from 1.
    pub position: u32,
    /// Its signature.
    pub signature: Signature,
}

/// What a completed round gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoundResult {
    /// Context of the attempt.
    pub ctx: Digest,
    /// Survivor digest.
    pub digest: Digest,
    /// Number of survivors.
    pub survivors: u64,
    /// BLAKE3 of the sum's lanes, little-endian.
    pub sum_hash: Digest,
    /// Sums of the metadata lanes, u64 little-endian.
    pub metadata: Vec<u8>,
    /// BLAKE3 of the next model.
    pub next_model_hash: Digest,
}

impl RoundResult {
    /// `result_hash`.
    pub fn hash(&self) -> Digest {
        let survivors = le64(self.survivors);
        hash(
            labels::RESULT,
            &[
                &self.ctx.0,
                &self.digest.0,
                &survivors,
                &self.sum_hash.0,
                &self.metadata,
                &self.next_model_hash.0,
            ],
        )
    }

    /// The coordinator's signature.
    pub fn sign(&self, coordinator: &Identity) -> Signature {
        coordinator.sign(labels::SIG_RESULT, &[&self.hash().0])
    }

    /// Whether `signature` is the coordinator's.
    pub fn verifies(&self, coordinator: &VerifyKey, signature: &Signature) -> bool {
        coordinator.verifies(signature, labels::SIG_RESULT, &[&self.hash().0])
    }
}
