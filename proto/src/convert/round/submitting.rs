//! Uploads, and the survivors they make.
//!
//! Source: protocol, sections 9 and 10.

use veilsum_secagg::message::{
    Receipt, SurvivorItem, SurvivorProposal, UploadHeader, UploadTrailer,
};

use super::lanes;
use crate::convert::{ConvertError, OverRoster, Signed, digest, set, signature};
use crate::pb;

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
        Ok(Signed {
            value: proposal(&self, roster_size)?,
            signature: signature("sig", &self.sig)?,
        })
    }
}

/// What is signed of a proposal; whether a signature stands beside it is not looked at.
pub(in crate::convert) fn proposal(
    message: &pb::SurvivorProposal,
    roster_size: u32,
) -> Result<SurvivorProposal, ConvertError> {
    Ok(SurvivorProposal {
        ctx: digest("ctx", &message.ctx)?,
        survivors: set("survivors_bitmap", roster_size, &message.survivors_bitmap)?,
        upload_root: digest("upload_root", &message.upload_root)?,
    })
}

impl From<Signed<SurvivorProposal>> for pb::SurvivorProposal {
    fn from(Signed { value, signature }: Signed<SurvivorProposal>) -> Self {
        Self {
            sig: signature.0.to_vec(),
            ..bare_proposal(&value)
        }
    }
}

/// A proposal without its signature.
pub(in crate::convert) fn bare_proposal(value: &SurvivorProposal) -> pb::SurvivorProposal {
    pb::SurvivorProposal {
        ctx: value.ctx.0.to_vec(),
        survivors_bitmap: value.survivors.as_bytes().to_vec(),
        upload_root: value.upload_root.0.to_vec(),
        sig: Vec::new(),
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
