//! What is said in one attempt at a round: the announcement here, the rest by the step it belongs to.
//!
//! Source: protocol, section 7.

mod committing;
mod finishing;
mod submitting;
mod unmasking;

use veilsum_secagg::message::Announcement;
use veilsum_secagg::params::MAX_META_LANES;

pub(super) use committing::{bare_cohort, cohort, merkle_path, path};
pub use committing::{neighbour_items, neighbourhood};
pub use finishing::{Finished, decline};
pub(super) use finishing::{bare_result, result};
pub(super) use submitting::{bare_proposal, proposal};

use super::{ConvertError, OverRoster, Problem, Signed, at_most, digest, set, signature};
use crate::pb;

/// Bytes of one metadata lane.
const LANE_BYTES: usize = 8;

impl OverRoster for pb::Announcement {
    type Value = Signed<Announcement>;

    fn over(self, roster_size: u32) -> Result<Self::Value, ConvertError> {
        Ok(Signed {
            value: announcement(&self, roster_size)?,
            signature: signature("sig", &self.sig)?,
        })
    }
}

/// What is signed of an announcement; whether a signature stands beside it is not looked at.
pub(super) fn announcement(
    message: &pb::Announcement,
    roster_size: u32,
) -> Result<Announcement, ConvertError> {
    Ok(Announcement {
        epoch_ctx: digest("epoch_ctx", &message.epoch_ctx)?,
        round: message.round,
        seq: message.seq,
        retry_of: digest("retry_of", &message.retry_of)?,
        model_hash: digest("model_hash", &message.model_hash)?,
        prev_result_hash: digest("prev_result_hash", &message.prev_result_hash)?,
        roundcfg_hash: digest("roundcfg_hash", &message.roundcfg_hash)?,
        holders: set("holders_bitmap", roster_size, &message.holders_bitmap)?,
        threshold: message.t,
        commit_by_ms: message.commit_by_ms,
        submit_by_ms: message.submit_by_ms,
        expires_ms: message.expires_ms,
    })
}

impl From<Signed<Announcement>> for pb::Announcement {
    fn from(Signed { value, signature }: Signed<Announcement>) -> Self {
        Self {
            sig: signature.0.to_vec(),
            ..unsigned(value)
        }
    }
}

/// An announcement without its signature.
pub(super) fn unsigned(value: Announcement) -> pb::Announcement {
    pb::Announcement {
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
        sig: Vec::new(),
    }
}

/// Whole lanes of 64 bits, no more than a run can have.
pub(super) fn lanes(field: &'static str, bytes: Vec<u8>) -> Result<Vec<u8>, ConvertError> {
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
