//! What happens in one attempt, as the coordinator keeps it.

use std::collections::BTreeSet;

use prost::Message;
use veilsum_common::time::Timestamp;
use veilsum_engine::plan::Fold;
use veilsum_engine::round::{Computed, Event, Upload};
use veilsum_secagg::checksum::Checksum;

use super::{
    Journalled, blob, blob_message, decline, decline_number, indices, member_list, member_set,
    members, message, reason, roster_size,
};
use crate::convert::round::lanes;
use crate::convert::{ConvertError, OverRoster, array, digest, required};
use crate::pb;
use crate::pb::round_event::Event as Told;

impl Journalled for Event {
    fn kind(&self) -> &'static str {
        match self {
            Self::Committed { .. } => "committed",
            Self::Declined { .. } => "declined",
            Self::CohortClosed { .. } => "cohort_closed",
            Self::Uploaded(_) => "uploaded",
            Self::SurvivorsClosed { .. } => "survivors_closed",
            Self::Attested { .. } => "attested",
            Self::Certified { .. } => "certified",
            Self::Unmasked { .. } => "unmasked",
            Self::SharesClosed { .. } => "shares_closed",
            Self::Folded { .. } => "folded",
            Self::JobDone(_) => "job_done",
            Self::AbortDecided(_) => "abort_decided",
            Self::AbortAttested { .. } => "abort_attested",
            Self::AbortCertified { .. } => "abort_certified",
            Self::Lost(_) => "lost",
        }
    }

    fn encode(&self) -> Vec<u8> {
        let event = Some(write(self));
        pb::RoundEvent { event }.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, ConvertError> {
        let entry: pb::RoundEvent = message(bytes)?;
        read(required("event", entry.event)?)
    }
}

fn write(event: &Event) -> Told {
    match event {
        Event::Committed { index, commit } => Told::Committed(pb::MemberCommitted {
            index: *index,
            commit: Some((**commit).clone().into()),
        }),
        Event::Declined { index, why } => Told::Declined(pb::MemberDeclined {
            index: *index,
            reason: decline_number(*why),
        }),
        Event::CohortClosed { members } => Told::CohortClosed(member_set(members)),
        Event::Uploaded(upload) => Told::Uploaded(write_upload(upload)),
        Event::SurvivorsClosed { survivors } => Told::SurvivorsClosed(member_set(survivors)),
        Event::Attested { index, attestation } => Told::Attested(pb::HolderAttested {
            index: *index,
            roster_size: attestation.complaints.size(),
            attestation: Some((**attestation).clone().into()),
        }),
        Event::Certified { holders } => Told::Certified(member_list(holders)),
        Event::Unmasked { index, list } => Told::Unmasked(pb::HolderUnmasked {
            index: *index,
            roster_size: list.present.size(),
            list: Some((**list).clone().into()),
        }),
        Event::SharesClosed { holders } => Told::SharesClosed(member_list(holders)),
        Event::Folded { fold, digest } => Told::Folded(pb::BatchFolded {
            batch: fold.batch,
            part: fold.part,
            digest: digest.0.to_vec(),
        }),
        Event::JobDone(computed) => Told::JobDone(write_computed(computed)),
        Event::AbortDecided(why) => Told::AbortDecided(reason::write(why)),
        Event::AbortAttested { index, attestation } => Told::AbortAttested(pb::HolderAborted {
            index: *index,
            attestation: Some((*attestation).into()),
        }),
        Event::AbortCertified { holders } => Told::AbortCertified(member_list(holders)),
        Event::Lost(why) => Told::Lost(reason::write(why)),
    }
}

fn read(event: Told) -> Result<Event, ConvertError> {
    Ok(match event {
        Told::Committed(pb::MemberCommitted { index, commit }) => Event::Committed {
            index,
            commit: Box::new(required("commit", commit)?.try_into()?),
        },
        Told::Declined(pb::MemberDeclined { index, reason }) => Event::Declined {
            index,
            why: decline("reason", reason)?,
        },
        Told::CohortClosed(set) => Event::CohortClosed {
            members: members("cohort_closed", &set)?,
        },
        Told::Uploaded(upload) => Event::Uploaded(Box::new(read_upload(upload)?)),
        Told::SurvivorsClosed(set) => Event::SurvivorsClosed {
            survivors: members("survivors_closed", &set)?,
        },
        Told::Attested(attested) => read_attested(attested)?,
        Told::Certified(list) => Event::Certified {
            holders: indices("certified", list.indices)?,
        },
        Told::Unmasked(unmasked) => read_unmasked(unmasked)?,
        Told::SharesClosed(list) => Event::SharesClosed {
            holders: indices("shares_closed", list.indices)?,
        },
        Told::Folded(pb::BatchFolded {
            batch,
            part,
            digest: hash,
        }) => Event::Folded {
            fold: Fold { batch, part },
            digest: digest("digest", &hash)?,
        },
        Told::JobDone(computed) => Event::JobDone(Box::new(read_computed(computed)?)),
        Told::AbortDecided(why) => Event::AbortDecided(reason::read(why)?),
        Told::AbortAttested(pb::HolderAborted { index, attestation }) => Event::AbortAttested {
            index,
            attestation: required("attestation", attestation)?.try_into()?,
        },
        Told::AbortCertified(list) => Event::AbortCertified {
            holders: indices("abort_certified", list.indices)?,
        },
        Told::Lost(why) => Event::Lost(reason::read(why)?),
    })
}

fn read_attested(message: pb::HolderAttested) -> Result<Event, ConvertError> {
    let size = roster_size(message.roster_size)?;
    let attestation = required("attestation", message.attestation)?;
    Ok(Event::Attested {
        index: message.index,
        attestation: Box::new(attestation.over(size)?),
    })
}

fn read_unmasked(message: pb::HolderUnmasked) -> Result<Event, ConvertError> {
    let size = roster_size(message.roster_size)?;
    let list = required("list", message.list)?;
    Ok(Event::Unmasked {
        index: message.index,
        list: Box::new(list.over(size)?),
    })
}

fn write_upload(upload: &Upload) -> pb::UploadStaged {
    let Upload {
        item,
        metadata,
        blob,
        checksum,
        at,
    } = upload;
    pb::UploadStaged {
        item: Some((*item).into()),
        meta_lanes: metadata.clone(),
        blob: Some(blob_message(blob)),
        time_ms: at.0,
        checksum: write_checksum(checksum),
    }
}

fn read_upload(message: pb::UploadStaged) -> Result<Upload, ConvertError> {
    Ok(Upload {
        item: required("item", message.item)?.try_into()?,
        metadata: lanes("meta_lanes", message.meta_lanes)?,
        blob: blob("blob", message.blob)?,
        checksum: read_checksum(&message.checksum)?,
        at: Timestamp(message.time_ms),
    })
}

/// Zero is not written, as it was not before there were checksums.
fn write_checksum(checksum: &Checksum) -> Vec<u8> {
    if *checksum == Checksum::default() {
        return Vec::new();
    }
    checksum.to_bytes().to_vec()
}

fn read_checksum(bytes: &[u8]) -> Result<Checksum, ConvertError> {
    if bytes.is_empty() {
        return Ok(Checksum::default());
    }
    Ok(Checksum::from_bytes(&array("checksum", bytes)?))
}

fn write_computed(computed: &Computed) -> pb::SumComputed {
    let Computed {
        sum_hash,
        metadata,
        next_model,
        liars,
    } = computed;
    pb::SumComputed {
        sum_hash: sum_hash.0.to_vec(),
        meta_sums: metadata.clone(),
        next_model: Some(blob_message(next_model)),
        liars: liars.iter().copied().collect(),
    }
}

fn read_computed(message: pb::SumComputed) -> Result<Computed, ConvertError> {
    Ok(Computed {
        sum_hash: digest("sum_hash", &message.sum_hash)?,
        metadata: lanes("meta_sums", message.meta_sums)?,
        next_model: blob("next_model", message.next_model)?,
        liars: BTreeSet::from_iter(indices("liars", message.liars)?),
    })
}
