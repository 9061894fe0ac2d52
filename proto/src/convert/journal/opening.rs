//! Entry 0 of each stream: what its machine is made from.

use prost::Message;
use veilsum_common::blob::BlobRef;
use veilsum_common::limits::{MAX_RUN_BYTES, REQUEST_ID_BYTES};
use veilsum_secagg::Certificate;
use veilsum_secagg::keys::Signature;
use veilsum_secagg::message::Announcement;

use super::{
    Journalled, blob, blob_message, indices, message, proof_messages, proofs, roster_size,
    round_config,
};
use crate::convert::round::{announcement, unsigned};
use crate::convert::{ConvertError, at_most, plain_text, required, signature};
use crate::pb;

/// Entry 0 of a run: what an operator submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunCreated {
    /// The frozen parameters in their canonical form; `RunSpec::from_bytes` reads them.
    pub spec: BlobRef,
    /// The model that round 1 trains on.
    pub model: BlobRef,
    /// Under which the operator may ask for it again, as [`crate::convert::run::request_id`] gives it.
    pub request_id: String,
}

/// Entry 0 of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochOpened {
    /// Its number, from 1.
    pub epoch: u64,
}

/// Entry 0 of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundOpened {
    /// What sites are told; its signature follows from the coordinator's key.
    pub announcement: Announcement,
    /// Configuration for the trainers.
    pub round_config: Vec<u8>,
    /// Abort certificates of earlier attempts for the same model.
    pub abort_certificates: Vec<Certificate>,
    /// Members whose dealing failed in an earlier attempt of this round.
    pub excluded: Vec<u32>,
}

/// Entry 0 of a run at a site: its policy let the run in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteAccepted {
    /// The frozen parameters as they were offered; `RunSpec::from_bytes` reads them.
    pub run_spec: Vec<u8>,
    /// The coordinator's signature on them.
    pub signature: Signature,
}

fn run_spec(bytes: Vec<u8>) -> Result<Vec<u8>, ConvertError> {
    at_most("run_spec", bytes.len(), MAX_RUN_BYTES, "bytes")?;
    Ok(bytes)
}

impl Journalled for RunCreated {
    fn kind(&self) -> &'static str {
        "created"
    }

    fn encode(&self) -> Vec<u8> {
        let Self {
            spec,
            model,
            request_id,
        } = self;
        pb::RunCreated {
            run_spec: Some(blob_message(spec)),
            initial_model: Some(blob_message(model)),
            request_id: request_id.clone(),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, ConvertError> {
        let entry: pb::RunCreated = message(bytes)?;
        Ok(Self {
            spec: blob("run_spec", entry.run_spec)?,
            model: blob("initial_model", entry.initial_model)?,
            request_id: plain_text("request_id", entry.request_id, REQUEST_ID_BYTES)?,
        })
    }
}

impl Journalled for EpochOpened {
    fn kind(&self) -> &'static str {
        "opened"
    }

    fn encode(&self) -> Vec<u8> {
        let Self { epoch } = *self;
        pb::EpochOpened { epoch }.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, ConvertError> {
        let pb::EpochOpened { epoch } = message(bytes)?;
        Ok(Self { epoch })
    }
}

impl Journalled for RoundOpened {
    fn kind(&self) -> &'static str {
        "opened"
    }

    fn encode(&self) -> Vec<u8> {
        let Self {
            announcement,
            round_config,
            abort_certificates,
            excluded,
        } = self;
        pb::RoundOpened {
            roster_size: announcement.holders.size(),
            announcement: Some(unsigned(announcement.clone())),
            round_config: round_config.clone(),
            abort_certs: proof_messages(abort_certificates),
            excluded: excluded.clone(),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, ConvertError> {
        let entry: pb::RoundOpened = message(bytes)?;
        let opened = required("announcement", entry.announcement)?;
        Ok(Self {
            announcement: announcement(&opened, roster_size(entry.roster_size)?)?,
            round_config: round_config(entry.round_config)?,
            abort_certificates: proofs(entry.abort_certs)?,
            excluded: indices("excluded", entry.excluded)?,
        })
    }
}

impl Journalled for SiteAccepted {
    fn kind(&self) -> &'static str {
        "accepted"
    }

    fn encode(&self) -> Vec<u8> {
        let Self {
            run_spec,
            signature,
        } = self;
        pb::SiteAccepted {
            run_spec: run_spec.clone(),
            sig: signature.0.to_vec(),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, ConvertError> {
        let entry: pb::SiteAccepted = message(bytes)?;
        Ok(Self {
            run_spec: run_spec(entry.run_spec)?,
            signature: signature("sig", &entry.sig)?,
        })
    }
}
