//! What happens at a site in one run.

use prost::Message;
use veilsum_engine::participant::{Contribution, Event, Step, UploadParts};
use veilsum_secagg::holder::Verdict;
use veilsum_secagg::message::{Advertisement, SurvivorProposal};
use veilsum_secagg::params::MAX_META_LANES;
use veilsum_secagg::participant::Binding;

use super::{
    Journalled, MAX_MEMBERS, blob, blob_message, decline, decline_number, member_set, members,
    message, proof_messages, proofs, roster_size, round_config,
};
use crate::convert::epoch::{binding, binding_message};
use crate::convert::round::{bare_result, result};
use crate::convert::{ConvertError, OverRoster, Signed, at_most, digest, required, signature};
use crate::pb;
use crate::pb::attempt_step::Step as StepTold;
use crate::pb::site_event::Event as Told;

impl Journalled for Event {
    /// Of a step of an attempt, the step's: there are no two of one name.
    fn kind(&self) -> &'static str {
        match self {
            Self::Joined { .. } => "joined",
            Self::Enrolled { .. } => "enrolled",
            Self::RosterCertified(_) => "roster_certified",
            Self::Opened { .. } => "opened",
            Self::Trained(_) => "trained",
            Self::Attempt { step, .. } => step_kind(step),
            Self::AbortProposed { .. } => "abort_proposed",
            Self::Consented { .. } => "consented",
            Self::Finished { .. } => "finished",
        }
    }

    fn encode(&self) -> Vec<u8> {
        let event = Some(write(self));
        pb::SiteEvent { event }.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, ConvertError> {
        let entry: pb::SiteEvent = message(bytes)?;
        read(required("event", entry.event)?)
    }
}

fn step_kind(step: &Step) -> &'static str {
    match step {
        Step::SatOut(_) => "sat_out",
        Step::Committed => "committed",
        Step::Answered => "answered",
        Step::CohortSeen { .. } => "cohort_seen",
        Step::Submitting => "submitting",
        Step::Received { .. } => "received",
        Step::Attested(_) => "attested",
        Step::Released(_) => "released",
        Step::Delivered => "delivered",
        Step::Expired => "expired",
    }
}

fn write(event: &Event) -> Told {
    match event {
        Event::Joined { epoch, binding } => Told::Joined(write_joined(*epoch, binding)),
        Event::Enrolled { advertisements } => Told::Enrolled(pb::SiteEnrolled {
            advertisements: advertisements.iter().cloned().map(Into::into).collect(),
        }),
        Event::RosterCertified(certificate) => Told::RosterCertified(certificate.clone().into()),
        Event::Opened {
            announcement,
            signature,
            round_config,
            proofs,
        } => Told::Opened(pb::AttemptOpened {
            roster_size: announcement.holders.size(),
            open: Some(pb::RoundOpen {
                announcement: Some(signed(&**announcement, signature).into()),
                round_config: round_config.clone(),
                abort_certs: proof_messages(proofs),
            }),
        }),
        Event::Trained(contribution) => Told::Trained(write_contribution(contribution)),
        Event::Attempt { ann_hash, step } => Told::Attempt(pb::AttemptStep {
            ann_hash: ann_hash.0.to_vec(),
            step: Some(write_step(step)),
            upload: write_parts(step),
        }),
        Event::AbortProposed {
            announcement,
            signature,
        } => Told::AbortProposed(pb::AbortProposed {
            roster_size: announcement.holders.size(),
            announcement: Some(signed(&**announcement, signature).into()),
        }),
        Event::Consented { model_hash } => Told::Consented(pb::OperatorConsented {
            model_hash: model_hash.0.to_vec(),
        }),
        Event::Finished {
            place: (epoch, seq),
            result,
            certificate,
            signature,
        } => Told::Finished(pb::ResultSeen {
            epoch: *epoch,
            seq: *seq,
            result: Some(pb::RoundResult {
                cert: Some(certificate.clone().into()),
                sig: signature.0.to_vec(),
                ..bare_result((**result).clone())
            }),
        }),
    }
}

fn read(event: Told) -> Result<Event, ConvertError> {
    Ok(match event {
        Told::Joined(joined) => Event::Joined {
            epoch: joined.epoch,
            binding: Box::new(binding(
                required("binding", joined.binding)?,
                joined.cert_chain,
            )?),
        },
        Told::Enrolled(enrolled) => Event::Enrolled {
            advertisements: advertisements(enrolled.advertisements)?,
        },
        Told::RosterCertified(certificate) => Event::RosterCertified(certificate.try_into()?),
        Told::Opened(opened) => read_opened(opened)?,
        Told::Trained(pinned) => Event::Trained(Box::new(read_contribution(pinned)?)),
        Told::Attempt(pb::AttemptStep {
            ann_hash,
            step,
            upload,
        }) => Event::Attempt {
            ann_hash: digest("ann_hash", &ann_hash)?,
            step: Box::new(read_step(required("step", step)?, upload)?),
        },
        Told::AbortProposed(proposed) => {
            let announcement = required("announcement", proposed.announcement)?;
            let Signed { value, signature } =
                announcement.over(roster_size(proposed.roster_size)?)?;
            Event::AbortProposed {
                announcement: Box::new(value),
                signature,
            }
        }
        Told::Consented(pb::OperatorConsented { model_hash }) => Event::Consented {
            model_hash: digest("model_hash", &model_hash)?,
        },
        Told::Finished(seen) => {
            let message = required("result", seen.result)?;
            Event::Finished {
                place: (seen.epoch, seen.seq),
                result: Box::new(result(&message)?),
                signature: signature("result.sig", &message.sig)?,
                certificate: required("result.cert", message.cert)?.try_into()?,
            }
        }
    })
}

fn write_step(step: &Step) -> StepTold {
    match step {
        Step::SatOut(why) => StepTold::SatOut(decline_number(*why)),
        Step::Committed => StepTold::Committed(pb::Plainly {}),
        Step::Answered => StepTold::Answered(pb::Plainly {}),
        Step::CohortSeen { cohort, signature } => StepTold::CohortSeen(pb::CohortSeen {
            roster_size: cohort.members.size(),
            cohort: Some(signed(cohort, signature).into()),
        }),
        Step::Submitting => StepTold::Submitting(pb::Plainly {}),
        Step::Received {
            receipt, signature, ..
        } => StepTold::Received(signed(receipt, signature).into()),
        Step::Attested(verdict) => StepTold::Attested(write_verdict(verdict)),
        Step::Released(certificate) => StepTold::Released(certificate.clone().into()),
        Step::Delivered => StepTold::Delivered(pb::Plainly {}),
        Step::Expired => StepTold::Expired(pb::Plainly {}),
    }
}

/// What a step has outside the choice of steps.
fn write_parts(step: &Step) -> Option<pb::UploadParts> {
    let Step::Received { parts, .. } = step else {
        return None;
    };
    parts.map(|parts| pb::UploadParts {
        chunk_root: parts.chunk_root.0.to_vec(),
        metadata_blake3: parts.metadata_hash.0.to_vec(),
    })
}

fn read_parts(parts: pb::UploadParts) -> Result<UploadParts, ConvertError> {
    Ok(UploadParts {
        chunk_root: digest("chunk_root", &parts.chunk_root)?,
        metadata_hash: digest("metadata_blake3", &parts.metadata_blake3)?,
    })
}

fn read_step(step: StepTold, upload: Option<pb::UploadParts>) -> Result<Step, ConvertError> {
    Ok(match step {
        StepTold::SatOut(why) => Step::SatOut(decline("sat_out", why)?),
        StepTold::Committed(pb::Plainly {}) => Step::Committed,
        StepTold::Answered(pb::Plainly {}) => Step::Answered,
        StepTold::CohortSeen(seen) => {
            let cohort = required("cohort", seen.cohort)?;
            let Signed { value, signature } = cohort.over(roster_size(seen.roster_size)?)?;
            Step::CohortSeen {
                cohort: value,
                signature,
            }
        }
        StepTold::Submitting(pb::Plainly {}) => Step::Submitting,
        StepTold::Received(receipt) => {
            let Signed { value, signature } = receipt.try_into()?;
            Step::Received {
                receipt: value,
                signature,
                parts: upload.map(read_parts).transpose()?,
            }
        }
        StepTold::Attested(judged) => Step::Attested(read_verdict(judged)?),
        StepTold::Released(certificate) => Step::Released(certificate.try_into()?),
        StepTold::Delivered(pb::Plainly {}) => Step::Delivered,
        StepTold::Expired(pb::Plainly {}) => Step::Expired,
    })
}

fn signed<T: Clone>(value: &T, signature: &veilsum_secagg::keys::Signature) -> Signed<T> {
    Signed {
        value: value.clone(),
        signature: *signature,
    }
}

fn write_joined(epoch: u64, binding: &Binding) -> pb::SiteJoined {
    let Binding {
        claim,
        scheme,
        signature,
        chain,
    } = binding.clone();
    pb::SiteJoined {
        epoch,
        binding: Some(binding_message(claim, scheme, signature)),
        cert_chain: chain,
    }
}

fn advertisements(list: Vec<pb::Advertisement>) -> Result<Vec<Advertisement>, ConvertError> {
    at_most("advertisements", list.len(), MAX_MEMBERS, "members")?;
    list.into_iter().map(Advertisement::try_from).collect()
}

fn read_opened(message: pb::AttemptOpened) -> Result<Event, ConvertError> {
    let open = required("open", message.open)?;
    let announcement = required("announcement", open.announcement)?;
    let Signed { value, signature } = announcement.over(roster_size(message.roster_size)?)?;
    Ok(Event::Opened {
        announcement: Box::new(value),
        signature,
        round_config: round_config(open.round_config)?,
        proofs: proofs(open.abort_certs)?,
    })
}

fn write_contribution(contribution: &Contribution) -> pb::UpdatePinned {
    let Contribution {
        round,
        model_hash,
        roundcfg_hash,
        update,
        weight,
        metadata,
    } = contribution;
    pb::UpdatePinned {
        round: *round,
        model_hash: model_hash.0.to_vec(),
        roundcfg_hash: roundcfg_hash.0.to_vec(),
        update: Some(blob_message(update)),
        weight: *weight,
        meta_lanes: metadata.clone(),
    }
}

fn read_contribution(message: pb::UpdatePinned) -> Result<Contribution, ConvertError> {
    let limit = MAX_META_LANES as usize;
    at_most("meta_lanes", message.meta_lanes.len(), limit, "lanes")?;
    Ok(Contribution {
        round: message.round,
        model_hash: digest("model_hash", &message.model_hash)?,
        roundcfg_hash: digest("roundcfg_hash", &message.roundcfg_hash)?,
        update: blob("update", message.update)?,
        weight: message.weight,
        metadata: message.meta_lanes,
    })
}

fn write_verdict(verdict: &Verdict) -> pb::SurvivorsJudged {
    let Verdict {
        proposal,
        cohort,
        complaints,
    } = verdict;
    pb::SurvivorsJudged {
        ctx: proposal.ctx.0.to_vec(),
        survivors: Some(member_set(&proposal.survivors)),
        upload_root: proposal.upload_root.0.to_vec(),
        cohort: Some(member_set(cohort)),
        complaints: Some(member_set(complaints)),
    }
}

fn read_verdict(message: pb::SurvivorsJudged) -> Result<Verdict, ConvertError> {
    let set = |field, set| members(field, &required(field, set)?);
    Ok(Verdict {
        proposal: SurvivorProposal {
            ctx: digest("ctx", &message.ctx)?,
            survivors: set("survivors", message.survivors)?,
            upload_root: digest("upload_root", &message.upload_root)?,
        },
        cohort: set("cohort", message.cohort)?,
        complaints: set("complaints", message.complaints)?,
    })
}
