//! Journal entries: every event of every machine, and what each machine is made from, as bytes and back.
//!
//! It stands between the drivers and their journals. An entry can be read alone: what it says about a roster comes with the
//! size of that roster. What it deliberately does not do: say which stream an entry belongs to, seal it, or check that it
//! follows from the entries before it; that is the store's and the machine's business.
//!
//! Reading promises what [`crate::convert`] promises, for any bytes at all. What was written is always read back as it was,
//! as long as the machine would admit it; a journal of an older version reads as long as fields are only ever added.

mod epoch;
mod opening;
mod participant;
mod reason;
mod round;
mod run;

use prost::Message;
use veilsum_common::blob::BlobRef;
use veilsum_common::ids::SiteName;
use veilsum_common::limits::{
    MAX_COHORT, MAX_MEMBERS, MAX_MESSAGE_BYTES, MAX_PROOFS, MAX_ROUND_CONFIG_BYTES,
};
use veilsum_engine::round::Decline;
use veilsum_secagg::{Bitmap, Certificate};

pub use opening::{EpochOpened, RoundOpened, RunCreated, SiteAccepted};

use super::{ConvertError, Problem, at_most, chosen, digest, set};
use crate::pb;

/// What a journal keeps.
pub trait Journalled: Sized {
    /// One word for what it is, unique within its stream; it stands beside the payload in the clear, in logs and in metrics.
    fn kind(&self) -> &'static str;

    /// The payload of its entry.
    fn encode(&self) -> Vec<u8>;

    /// Reads a payload.
    ///
    /// # Errors
    /// [`ConvertError`] for the first field that is wrong; [`Problem::Malformed`] of `entry` if there are no fields at all.
    fn decode(bytes: &[u8]) -> Result<Self, ConvertError>;
}

fn message<M: Message + Default>(bytes: &[u8]) -> Result<M, ConvertError> {
    at_most("entry", bytes.len(), MAX_MESSAGE_BYTES, "bytes")?;
    M::decode(bytes).map_err(|_| Problem::Malformed.of("entry"))
}

fn blob(field: &'static str, message: Option<pb::BlobRef>) -> Result<BlobRef, ConvertError> {
    let pb::BlobRef {
        digest: bytes,
        len_bytes,
    } = super::required(field, message)?;
    Ok(BlobRef {
        digest: digest(field, &bytes)?,
        len_bytes,
    })
}

fn blob_message(blob: &BlobRef) -> pb::BlobRef {
    let BlobRef { digest, len_bytes } = blob;
    pb::BlobRef {
        digest: digest.0.to_vec(),
        len_bytes: *len_bytes,
    }
}

/// The size of a roster, before a set over it is read.
fn roster_size(have: u32) -> Result<u32, ConvertError> {
    if have > MAX_COHORT {
        let (have, limit) = (have.into(), MAX_COHORT.into());
        Err(Problem::TooLarge { have, limit }.of("roster_size"))
    } else {
        Ok(have)
    }
}

fn members(field: &'static str, message: &pb::MemberSet) -> Result<Bitmap, ConvertError> {
    set(field, roster_size(message.roster_size)?, &message.bitmap)
}

fn member_set(members: &Bitmap) -> pb::MemberSet {
    pb::MemberSet {
        roster_size: members.size(),
        bitmap: members.as_bytes().to_vec(),
    }
}

fn indices(field: &'static str, list: Vec<u32>) -> Result<Vec<u32>, ConvertError> {
    at_most(field, list.len(), MAX_MEMBERS, "members")?;
    Ok(list)
}

fn member_list(indices: &[u32]) -> pb::MemberList {
    pb::MemberList {
        indices: indices.to_vec(),
    }
}

fn site(field: &'static str, name: &str) -> Result<SiteName, ConvertError> {
    name.parse()
        .map_err(|_| Problem::NotA("a site name").of(field))
}

/// Configuration of a round and the proofs it may stand, as both sides keep them.
pub(super) fn round_config(bytes: Vec<u8>) -> Result<Vec<u8>, ConvertError> {
    at_most("round_config", bytes.len(), MAX_ROUND_CONFIG_BYTES, "bytes")?;
    Ok(bytes)
}

pub(super) fn proofs(certificates: Vec<pb::AbortCert>) -> Result<Vec<Certificate>, ConvertError> {
    at_most(
        "abort_certs",
        certificates.len(),
        MAX_PROOFS,
        "certificates",
    )?;
    certificates
        .into_iter()
        .map(Certificate::try_from)
        .collect()
}

pub(super) fn proof_messages(certificates: &[Certificate]) -> Vec<pb::AbortCert> {
    certificates.iter().cloned().map(Into::into).collect()
}

fn decline(field: &'static str, have: i32) -> Result<Decline, ConvertError> {
    chosen::<pb::DeclineReason>(field, have)?.try_into()
}

fn decline_number(decline: Decline) -> i32 {
    pb::DeclineReason::from(decline).into()
}

#[cfg(test)]
mod tests;
