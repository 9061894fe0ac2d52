//! Commits, the cohort they make, and what each member and holder is then told about the others.
//!
//! Source: protocol, sections 8 to 10.

use veilsum_common::limits::{MAX_MEMBERS, MAX_PATH_HASHES};
use veilsum_secagg::Digest;
use veilsum_secagg::message::{Cohort, Commit, NeighbourKey, Neighbourhood, ShareItem};

use crate::convert::{
    ConvertError, OverRoster, Problem, Signed, array, at_most, digest, exchange_key, pieces,
    required, set, signature,
};
use crate::pb;

impl TryFrom<pb::RoundCommit> for Commit {
    type Error = ConvertError;

    fn try_from(message: pb::RoundCommit) -> Result<Self, ConvertError> {
        at_most("ct", message.ct.len(), MAX_MEMBERS, "entries")?;
        Ok(Self {
            ann_hash: digest("ann_hash", &message.ann_hash)?,
            nonce: array("nonce", &message.nonce)?,
            e_pk: exchange_key("e_pk", &message.e_pk)?,
            com_b: digest("com_b", &message.com_b)?,
            com_k: digest("com_k", &message.com_k)?,
            share_list: pieces("share_list", &message.share_list, MAX_MEMBERS)?,
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
        Ok(Signed {
            value: cohort(&self, roster_size)?,
            signature: signature("sig", &self.sig)?,
        })
    }
}

/// What is signed of a cohort; whether a signature stands beside it is not looked at.
pub(in crate::convert) fn cohort(
    message: &pb::CohortReady,
    roster_size: u32,
) -> Result<Cohort, ConvertError> {
    Ok(Cohort {
        ann_hash: digest("ann_hash", &message.ann_hash)?,
        members: set("cohort_bitmap", roster_size, &message.cohort_bitmap)?,
        root: digest("cohort_root", &message.cohort_root)?,
    })
}

impl From<Signed<Cohort>> for pb::CohortReady {
    fn from(Signed { value, signature }: Signed<Cohort>) -> Self {
        Self {
            sig: signature.0.to_vec(),
            ..bare_cohort(&value)
        }
    }
}

/// A cohort without its signature.
pub(in crate::convert) fn bare_cohort(value: &Cohort) -> pb::CohortReady {
    pb::CohortReady {
        ann_hash: value.ann_hash.0.to_vec(),
        cohort_bitmap: value.members.as_bytes().to_vec(),
        cohort_root: value.root.0.to_vec(),
        sig: Vec::new(),
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
        at_most("key", keys.len() + 1, MAX_MEMBERS, "entries")?;
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

pub(in crate::convert) fn path(
    field: &'static str,
    message: pb::MerklePath,
) -> Result<Vec<Digest>, ConvertError> {
    at_most(field, message.hashes.len(), MAX_PATH_HASHES, "hashes")?;
    message
        .hashes
        .iter()
        .map(|hash| digest(field, hash))
        .collect()
}

pub(in crate::convert) fn merkle_path(hashes: &[Digest]) -> pb::MerklePath {
    pb::MerklePath {
        hashes: hashes.iter().map(|hash| hash.0.to_vec()).collect(),
    }
}
