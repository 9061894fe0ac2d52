//! How an attempt ends: with a result, without one, or for one site before it began.
//!
//! Source: protocol, sections 11 and 12.

use veilsum_engine::round::Decline;
use veilsum_secagg::Certificate;
use veilsum_secagg::message::{AbortAttestation, RoundResult};

use super::lanes;
use crate::convert::epoch::{certificate, parts};
use crate::convert::{ConvertError, Problem, Signed, chosen, digest, required, signature};
use crate::pb;

/// A published round, as sites are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Which round it was.
    pub round: u64,
    /// The epoch and the attempt that ended it.
    pub epoch: u64,
    /// See `epoch`.
    pub seq: u64,
    /// What it gave.
    pub result: Signed<RoundResult>,
    /// Proof of its survivors.
    pub certificate: Certificate,
}

impl TryFrom<pb::RoundResult> for Finished {
    type Error = ConvertError;

    fn try_from(message: pb::RoundResult) -> Result<Self, ConvertError> {
        Ok(Self {
            round: message.round,
            epoch: message.epoch,
            seq: message.seq,
            result: Signed {
                value: result(&message)?,
                signature: signature("sig", &message.sig)?,
            },
            certificate: required("cert", message.cert)?.try_into()?,
        })
    }
}

/// What is signed of a result; what stands beside it is not looked at.
pub(in crate::convert) fn result(message: &pb::RoundResult) -> Result<RoundResult, ConvertError> {
    Ok(RoundResult {
        ctx: digest("ctx", &message.ctx)?,
        digest: digest("digest", &message.digest)?,
        survivors: message.survivors,
        sum_hash: digest("sum_hash", &message.sum_hash)?,
        metadata: lanes("meta_sums", message.meta_sums.clone())?,
        next_model_hash: digest("next_model_hash", &message.next_model_hash)?,
    })
}

/// A result with nothing beside it.
pub(in crate::convert) fn bare_result(value: RoundResult) -> pb::RoundResult {
    pb::RoundResult {
        ctx: value.ctx.0.to_vec(),
        digest: value.digest.0.to_vec(),
        survivors: value.survivors,
        sum_hash: value.sum_hash.0.to_vec(),
        meta_sums: value.metadata,
        next_model_hash: value.next_model_hash.0.to_vec(),
        ..pb::RoundResult::default()
    }
}

impl From<Finished> for pb::RoundResult {
    fn from(value: Finished) -> Self {
        let Finished {
            round,
            epoch,
            seq,
            result,
            certificate,
        } = value;
        let Signed { value, signature } = result;
        Self {
            cert: Some(certificate.into()),
            sig: signature.0.to_vec(),
            round,
            epoch,
            seq,
            ..bare_result(value)
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

/// The class of a decline as it came in; one that this version does not know is not taken for a missing one.
///
/// # Errors
/// [`Problem::Missing`], [`Problem::Unknown`].
pub fn decline(reason: i32) -> Result<Decline, ConvertError> {
    chosen::<pb::DeclineReason>("reason", reason)?.try_into()
}

impl TryFrom<pb::DeclineReason> for Decline {
    type Error = ConvertError;

    fn try_from(reason: pb::DeclineReason) -> Result<Self, ConvertError> {
        match reason {
            pb::DeclineReason::Unspecified => Err(Problem::Missing.of("reason")),
            pb::DeclineReason::Policy => Ok(Self::Policy),
            pb::DeclineReason::SitsOut => Ok(Self::NotNow),
            pb::DeclineReason::TrainerFailed => Ok(Self::TrainerFailed),
            pb::DeclineReason::UpdateRefused => Ok(Self::UpdateRefused),
            pb::DeclineReason::Spent => Ok(Self::Spent),
        }
    }
}

impl From<Decline> for pb::DeclineReason {
    fn from(decline: Decline) -> Self {
        match decline {
            Decline::Policy => Self::Policy,
            Decline::NotNow => Self::SitsOut,
            Decline::TrainerFailed => Self::TrainerFailed,
            Decline::UpdateRefused => Self::UpdateRefused,
            Decline::Spent => Self::Spent,
        }
    }
}
