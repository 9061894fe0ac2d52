//! What is said in one attempt at a round, in the order in which it is said.
//!
//! Source: protocol, sections 7 to 12.

use veilsum_secagg::message::{
    AbortAttestation, Announcement, Attestation, Cohort, Commit, NeighbourKey, Neighbourhood,
    Receipt, RoundResult, ShareItem, SurvivorItem, SurvivorProposal, UnmaskList, UploadHeader,
    UploadTrailer,
};
use veilsum_secagg::params::{MAX_META_LANES, MAX_SILO};
use veilsum_secagg::{Certificate, Digest};

use super::epoch::{certificate, parts};
use super::{
    ConvertError, OverRoster, Problem, Signed, array, at_most, digest, exchange_key, pieces,
    required, set, signature,
};
use crate::pb;

/// Most holders, and so most shares of a Commit: the largest cohort of the silo profile.
const MAX_HOLDERS: usize = MAX_SILO as usize;
/// Most hashes of a path: a tree over 2^32 leaves, more than an index can name.
const MAX_PATH: usize = 32;
/// Bytes of one metadata lane.
const LANE_BYTES: usize = 8;

impl OverRoster for pb::Announcement {
    type Value = Signed<Announcement>;

    fn over(self, roster_size: u32) -> Result<Self::Value, ConvertError> {
        let value = Announcement {
            epoch_ctx: digest("epoch_ctx", &self.epoch_ctx)?,
            round: self.round,
            seq: self.seq,
            retry_of: digest("retry_of", &self.retry_of)?,
            model_hash: digest("model_hash", &self.model_hash)?,
            prev_result_hash: digest("prev_result_hash", &self.prev_result_hash)?,
            roundcfg_hash: digest("roundcfg_hash", &self.roundcfg_hash)?,
            holders: set("holders_bitmap", roster_size, &self.holders_bitmap)?,
            threshold: self.t,
            commit_by_ms: self.commit_by_ms,
            submit_by_ms: self.submit_by_ms,
            expires_ms: self.expires_ms,
        };
        Ok(Signed {
            value,
            signature: signature("sig", &self.sig)?,
        })
    }
}

impl From<Signed<Announcement>> for pb::Announcement {
    fn from(Signed { value, signature }: Signed<Announcement>) -> Self {
        Self {
            epoch_ctx: value.epoch_ctx.0.to_vec(),
            round: value.round,
            seq: value.seq,
            retry_of: value.retry_of.0.to_vec(),
            model_hash: value.model_hash.0.to_vec(),
            prev_result_hash: value.prev_result_hash.0.to_vec(),
            roundcfg_hash: value.roundcfg_hash.0.to_vec(),
            holders_bitmap: value.holders.as_bytes().to_vec(),
            t: value.threshold,
            commit_by_ms: value.commit_by_ms,
            submit_by_ms: value.submit_by_ms,
            expires_ms: value.expires_ms,
            sig: signature.0.to_vec(),
        }
    }
}

impl TryFrom<pb::RoundCommit> for Commit {
    type Error = ConvertError;

    fn try_from(message: pb::RoundCommit) -> Result<Self, ConvertError> {
        at_most("ct", message.ct.len(), MAX_HOLDERS, "entries")?;
        Ok(Self {
            ann_hash: digest("ann_hash", &message.ann_hash)?,
            nonce: array("nonce", &message.nonce)?,
            e_pk: exchange_key("e_pk", &message.e_pk)?,
            com_b: digest("com_b", &message.com_b)?,
            com_k: digest("com_k", &message.com_k)?,
            share_list: pieces("share_list", &message.share_list, MAX_HOLDERS)?,
            blob: array("blob", &message.blob)?,
            ciphertexts: message
                .ct
                .iter()
                .map(|ct| or_own("ct", ct))
                .collect::<Result<_, _>>()?,
            sig_maskkey: signature("sig_maskkey", &message.sig_maskkey)?,
            sig_commit: signature("sig_commit", &message.sig_commit)?,
        })
    }
}

impl From<Commit> for pb::RoundCommit {
    fn from(value: Commit) -> Self {
        Self {
            ann_hash: value.ann_hash.0.to_vec(),
            nonce: value.nonce.to_vec(),
            e_pk: value.e_pk.as_bytes().to_vec(),
            com_b: value.com_b.0.to_vec(),
            com_k: value.com_k.0.to_vec(),
            share_list: value.share_list.concat(),
            blob: value.blob.to_vec(),
            ct: value
                .ciphertexts
                .iter()
                .map(|ct| ct.map_or_else(Vec::new, |ct| ct.to_vec()))
                .collect(),
            sig_maskkey: value.sig_maskkey.0.to_vec(),
            sig_commit: value.sig_commit.0.to_vec(),
        }
    }
}

impl OverRoster for pb::CohortReady {
    type Value = Signed<Cohort>;

    fn over(self, roster_size: u32) -> Result<Self::Value, ConvertError> {
        let value = Cohort {
            ann_hash: digest("ann_hash", &self.ann_hash)?,
            members: set("cohort_bitmap", roster_size, &self.cohort_bitmap)?,
            root: digest("cohort_root", &self.cohort_root)?,
        };
        Ok(Signed {
            value,
            signature: signature("sig", &self.sig)?,
        })
    }
}

impl From<Signed<Cohort>> for pb::CohortReady {
    fn from(Signed { value, signature }: Signed<Cohort>) -> Self {
        Self {
            ann_hash: value.ann_hash.0.to_vec(),
            cohort_bitmap: value.members.as_bytes().to_vec(),
            cohort_root: value.root.0.to_vec(),
            sig: signature.0.to_vec(),
        }
    }
}

impl TryFrom<pb::NeighbourKey> for NeighbourKey {
    type Error = ConvertError;

    fn try_from(message: pb::NeighbourKey) -> Result<Self, ConvertError> {
        Ok(Self {
            index: message.index,
            nonce: array("key.nonce", &message.nonce)?,
            e_pk: exchange_key("key.e_pk", &message.e_pk)?,
            sig_maskkey: signature("key.sig_maskkey", &message.sig_maskkey)?,
        })
    }
}

impl From<NeighbourKey> for pb::NeighbourKey {
    fn from(
        NeighbourKey {
            index,
            nonce,
            e_pk,
            sig_maskkey,
        }: NeighbourKey,
    ) -> Self {
        Self {
            index,
            nonce: nonce.to_vec(),
            e_pk: e_pk.as_bytes().to_vec(),
            sig_maskkey: sig_maskkey.0.to_vec(),
        }
    }
}

/// Reads the items of a whole stream: the own path first, then at most one key per member of the roster.
///
/// # Errors
/// [`Problem::Order`] if an item stands where it must not; else for the first field that is wrong.
pub fn neighbourhood(
    items: impl IntoIterator<Item = pb::NeighbourItem>,
) -> Result<Neighbourhood, ConvertError> {
    use pb::neighbour_item::Item;
    let mut items = items.into_iter();
    let own_path = match required("own", items.next().and_then(|first| first.item))? {
        Item::Own(own) => path("own", own)?,
        Item::Key(_) => return Err(Problem::Order.of("key")),
    };
    let mut keys = Vec::new();
    for item in items {
        at_most("key", keys.len() + 1, MAX_SILO as usize, "entries")?;
        match required("key", item.item)? {
            Item::Key(key) => keys.push(key.try_into()?),
            Item::Own(_) => return Err(Problem::Order.of("own")),
        }
    }
    Ok(Neighbourhood { own_path, keys })
}

/// The items of a stream, in the order in which they are sent.
pub fn neighbour_items(value: Neighbourhood) -> impl Iterator<Item = pb::NeighbourItem> {
    use pb::neighbour_item::Item;
    let own = Item::Own(merkle_path(&value.own_path));
    let keys = value.keys.into_iter().map(|key| Item::Key(key.into()));
    std::iter::once(own)
        .chain(keys)
        .map(|item| pb::NeighbourItem { item: Some(item) })
}

impl TryFrom<pb::ShareItem> for ShareItem {
    type Error = ConvertError;

    fn try_from(message: pb::ShareItem) -> Result<Self, ConvertError> {
        Ok(Self {
            index: message.index,
            nonce: array("nonce", &message.nonce)?,
            e_pk: exchange_key("e_pk", &message.e_pk)?,
            com_b: digest("com_b", &message.com_b)?,
            com_k: digest("com_k", &message.com_k)?,
            ciphertext: or_own("ct", &message.ct)?,
            pair: array("pair", &message.pair)?,
            path: path("path", required("path", message.path)?)?,
        })
    }
}

impl From<ShareItem> for pb::ShareItem {
    fn from(value: ShareItem) -> Self {
        Self {
            index: value.index,
            nonce: value.nonce.to_vec(),
            e_pk: value.e_pk.as_bytes().to_vec(),
            com_b: value.com_b.0.to_vec(),
            com_k: value.com_k.0.to_vec(),
            ct: value.ciphertext.map_or_else(Vec::new, |ct| ct.to_vec()),
            pair: value.pair.to_vec(),
            path: Some(merkle_path(&value.path)),
        }
    }
}

/// Reads what the protocol says of an upload; which run and attempt it is for stands beside it.
impl TryFrom<&pb::UploadHeader> for UploadHeader {
    type Error = ConvertError;

    fn try_from(message: &pb::UploadHeader) -> Result<Self, ConvertError> {
        let pb::UploadHeader {
            ctx,
            elements,
            m,
            chunk_elems,
            run_id: _,
            ann_hash: _,
        } = message;
        Ok(Self {
            ctx: digest("ctx", ctx)?,
            elements: *elements,
            ring_bits: *m,
            chunk_elems: *chunk_elems,
        })
    }
}

/// Writes what the protocol says of an upload; the sender fills in the run and the attempt.
impl From<UploadHeader> for pb::UploadHeader {
    fn from(
        UploadHeader {
            ctx,
            elements,
            ring_bits,
            chunk_elems,
        }: UploadHeader,
    ) -> Self {
        Self {
            ctx: ctx.0.to_vec(),
            elements,
            m: ring_bits,
            chunk_elems,
            run_id: Vec::new(),
            ann_hash: Vec::new(),
        }
    }
}

impl TryFrom<pb::UploadTrailer> for UploadTrailer {
    type Error = ConvertError;

    fn try_from(message: pb::UploadTrailer) -> Result<Self, ConvertError> {
        Ok(Self {
            metadata: lanes("meta_lanes", message.meta_lanes)?,
            chunk_root: digest("chunk_root", &message.chunk_root)?,
            signature: signature("sig", &message.sig)?,
        })
    }
}

impl From<UploadTrailer> for pb::UploadTrailer {
    fn from(
        UploadTrailer {
            metadata,
            chunk_root,
            signature,
        }: UploadTrailer,
    ) -> Self {
        Self {
            meta_lanes: metadata,
            chunk_root: chunk_root.0.to_vec(),
            sig: signature.0.to_vec(),
        }
    }
}

impl TryFrom<pb::UploadReceipt> for Signed<Receipt> {
    type Error = ConvertError;

    fn try_from(message: pb::UploadReceipt) -> Result<Self, ConvertError> {
        let value = Receipt {
            ctx: digest("ctx", &message.ctx)?,
            upload_hash: digest("upload_hash", &message.upload_hash)?,
            time_ms: message.time_ms,
        };
        Ok(Self {
            value,
            signature: signature("sig", &message.sig)?,
        })
    }
}

impl From<Signed<Receipt>> for pb::UploadReceipt {
    fn from(Signed { value, signature }: Signed<Receipt>) -> Self {
        let Receipt {
            ctx,
            upload_hash,
            time_ms,
        } = value;
        Self {
            ctx: ctx.0.to_vec(),
            upload_hash: upload_hash.0.to_vec(),
            time_ms,
            sig: signature.0.to_vec(),
        }
    }
}

impl OverRoster for pb::SurvivorProposal {
    type Value = Signed<SurvivorProposal>;

    fn over(self, roster_size: u32) -> Result<Self::Value, ConvertError> {
        let value = SurvivorProposal {
            ctx: digest("ctx", &self.ctx)?,
            survivors: set("survivors_bitmap", roster_size, &self.survivors_bitmap)?,
            upload_root: digest("upload_root", &self.upload_root)?,
        };
        Ok(Signed {
            value,
            signature: signature("sig", &self.sig)?,
        })
    }
}

impl From<Signed<SurvivorProposal>> for pb::SurvivorProposal {
    fn from(Signed { value, signature }: Signed<SurvivorProposal>) -> Self {
        Self {
            ctx: value.ctx.0.to_vec(),
            survivors_bitmap: value.survivors.as_bytes().to_vec(),
            upload_root: value.upload_root.0.to_vec(),
            sig: signature.0.to_vec(),
        }
    }
}

impl TryFrom<pb::SurvivorItem> for SurvivorItem {
    type Error = ConvertError;

    fn try_from(message: pb::SurvivorItem) -> Result<Self, ConvertError> {
        Ok(Self {
            index: message.index,
            upload_hash: digest("upload_hash", &message.upload_hash)?,
            signature: signature("sig_upload", &message.sig_upload)?,
        })
    }
}

impl From<SurvivorItem> for pb::SurvivorItem {
    fn from(
        SurvivorItem {
            index,
            upload_hash,
            signature,
        }: SurvivorItem,
    ) -> Self {
        Self {
            index,
            upload_hash: upload_hash.0.to_vec(),
            sig_upload: signature.0.to_vec(),
        }
    }
}

impl OverRoster for pb::Attestation {
    type Value = Attestation;

    fn over(self, roster_size: u32) -> Result<Attestation, ConvertError> {
        Ok(Attestation {
            digest: digest("digest", &self.digest)?,
            position: self.position,
            signature: signature("sig", &self.sig)?,
            complaints: set("bad_bitmap", roster_size, &self.bad_bitmap)?,
            sig_complaint: signature("sig_complaint", &self.sig_complaint)?,
        })
    }
}

impl From<Attestation> for pb::Attestation {
    fn from(value: Attestation) -> Self {
        Self {
            digest: value.digest.0.to_vec(),
            position: value.position,
            sig: value.signature.0.to_vec(),
            bad_bitmap: value.complaints.as_bytes().to_vec(),
            sig_complaint: value.sig_complaint.0.to_vec(),
        }
    }
}

impl TryFrom<pb::SurvivorCert> for Certificate {
    type Error = ConvertError;

    fn try_from(message: pb::SurvivorCert) -> Result<Self, ConvertError> {
        certificate("digest", &message.digest, &message.sigs)
    }
}

impl From<Certificate> for pb::SurvivorCert {
    fn from(value: Certificate) -> Self {
        let (digest, sigs) = parts(value);
        Self { digest, sigs }
    }
}

impl OverRoster for pb::UnmaskList {
    type Value = UnmaskList;

    fn over(self, roster_size: u32) -> Result<UnmaskList, ConvertError> {
        Ok(UnmaskList {
            digest: digest("digest", &self.digest)?,
            position: self.position,
            present: set("present_bitmap", roster_size, &self.present_bitmap)?,
            scalars: pieces("scalars", &self.scalars, roster_size as usize)?,
            signature: signature("sig", &self.sig)?,
        })
    }
}

impl From<UnmaskList> for pb::UnmaskList {
    fn from(value: UnmaskList) -> Self {
        Self {
            digest: value.digest.0.to_vec(),
            position: value.position,
            present_bitmap: value.present.as_bytes().to_vec(),
            scalars: value.scalars.concat(),
            sig: value.signature.0.to_vec(),
        }
    }
}

impl TryFrom<pb::AbortAttestation> for AbortAttestation {
    type Error = ConvertError;

    fn try_from(message: pb::AbortAttestation) -> Result<Self, ConvertError> {
        Ok(Self {
            ann_hash: digest("ann_hash", &message.ann_hash)?,
            position: message.position,
            signature: signature("sig", &message.sig)?,
        })
    }
}

impl From<AbortAttestation> for pb::AbortAttestation {
    fn from(
        AbortAttestation {
            ann_hash,
            position,
            signature,
        }: AbortAttestation,
    ) -> Self {
        Self {
            ann_hash: ann_hash.0.to_vec(),
            position,
            sig: signature.0.to_vec(),
        }
    }
}

impl TryFrom<pb::AbortCert> for Certificate {
    type Error = ConvertError;

    fn try_from(message: pb::AbortCert) -> Result<Self, ConvertError> {
        certificate("ann_hash", &message.ann_hash, &message.sigs)
    }
}

impl From<Certificate> for pb::AbortCert {
    fn from(value: Certificate) -> Self {
        let (ann_hash, sigs) = parts(value);
        Self { ann_hash, sigs }
    }
}

/// The result, and the proof of its survivors.
impl TryFrom<pb::RoundResult> for (Signed<RoundResult>, Certificate) {
    type Error = ConvertError;

    fn try_from(message: pb::RoundResult) -> Result<Self, ConvertError> {
        let value = RoundResult {
            ctx: digest("ctx", &message.ctx)?,
            digest: digest("digest", &message.digest)?,
            survivors: message.survivors,
            sum_hash: digest("sum_hash", &message.sum_hash)?,
            metadata: lanes("meta_sums", message.meta_sums)?,
            next_model_hash: digest("next_model_hash", &message.next_model_hash)?,
        };
        let cert = required("cert", message.cert)?;
        Ok((
            Signed {
                value,
                signature: signature("sig", &message.sig)?,
            },
            cert.try_into()?,
        ))
    }
}

impl From<(Signed<RoundResult>, Certificate)> for pb::RoundResult {
    fn from((Signed { value, signature }, cert): (Signed<RoundResult>, Certificate)) -> Self {
        Self {
            ctx: value.ctx.0.to_vec(),
            digest: value.digest.0.to_vec(),
            survivors: value.survivors,
            sum_hash: value.sum_hash.0.to_vec(),
            meta_sums: value.metadata,
            next_model_hash: value.next_model_hash.0.to_vec(),
            cert: Some(cert.into()),
            sig: signature.0.to_vec(),
        }
    }
}

/// Bytes of a fixed length, or nothing where the dealer is the holder itself.
fn or_own<const N: usize>(
    field: &'static str,
    bytes: &[u8],
) -> Result<Option<[u8; N]>, ConvertError> {
    if bytes.is_empty() {
        Ok(None)
    } else {
        array(field, bytes).map(Some)
    }
}

fn path(field: &'static str, message: pb::MerklePath) -> Result<Vec<Digest>, ConvertError> {
    at_most(field, message.hashes.len(), MAX_PATH, "hashes")?;
    message
        .hashes
        .iter()
        .map(|hash| digest(field, hash))
        .collect()
}

fn merkle_path(hashes: &[Digest]) -> pb::MerklePath {
    pb::MerklePath {
        hashes: hashes.iter().map(|hash| hash.0.to_vec()).collect(),
    }
}

fn lanes(field: &'static str, bytes: Vec<u8>) -> Result<Vec<u8>, ConvertError> {
    if !bytes.len().is_multiple_of(LANE_BYTES) {
        return Err(Problem::Pieces {
            have: bytes.len(),
            unit: LANE_BYTES,
        }
        .of(field));
    }
    at_most(
        field,
        bytes.len() / LANE_BYTES,
        MAX_META_LANES as usize,
        "lanes",
    )?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
