//! What happens in a run.

use std::collections::BTreeSet;

use prost::Message;
use veilsum_common::ids::SiteName;
use veilsum_common::limits::{MAX_MEMBERS, REQUEST_ID_BYTES};
use veilsum_common::time::Timestamp;
use veilsum_engine::round::{Loss, Outcome, Published};
use veilsum_engine::run::Event;

use super::{Journalled, blob, blob_message, indices, message, reason, site};
use crate::convert::round::{bare_result, result};
use crate::convert::{ConvertError, at_most, plain_text, required};
use crate::pb;
use crate::pb::run_event::Event as Told;

impl Journalled for Event {
    fn kind(&self) -> &'static str {
        match self {
            Self::EpochEnded { .. } => "epoch_ended",
            Self::RoundEnded { .. } => "round_ended",
            Self::Cancelled => "cancelled",
            Self::Resumed { .. } => "resumed",
        }
    }

    fn encode(&self) -> Vec<u8> {
        let event = match self {
            Self::EpochEnded { epoch, outcome } => Told::EpochEnded(pb::EpochEnded {
                epoch: *epoch,
                failure: outcome.as_ref().err().map(reason::write),
            }),
            Self::RoundEnded {
                round,
                seq,
                outcome,
            } => Told::RoundEnded(pb::RoundEnded {
                round: *round,
                seq: *seq,
                outcome: Some(write_outcome(outcome)),
            }),
            Self::Cancelled => Told::Cancelled(pb::Plainly {}),
            Self::Resumed { request_id } => Told::Resumed(pb::RunResumed {
                request_id: request_id.clone(),
            }),
        };
        pb::RunEvent { event: Some(event) }.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, ConvertError> {
        let entry: pb::RunEvent = message(bytes)?;
        Ok(match required("event", entry.event)? {
            Told::EpochEnded(pb::EpochEnded { epoch, failure }) => Self::EpochEnded {
                epoch,
                outcome: match failure {
                    Some(why) => Err(reason::read(why)?),
                    None => Ok(()),
                },
            },
            Told::RoundEnded(ended) => Self::RoundEnded {
                round: ended.round,
                seq: ended.seq,
                outcome: read_outcome(required("outcome", ended.outcome)?)?,
            },
            Told::Cancelled(pb::Plainly {}) => Self::Cancelled,
            Told::Resumed(pb::RunResumed { request_id }) => Self::Resumed {
                request_id: plain_text("request_id", request_id, REQUEST_ID_BYTES)?,
            },
        })
    }
}

fn write_outcome(outcome: &Outcome) -> pb::round_ended::Outcome {
    use pb::round_ended::Outcome as Told;
    match outcome {
        Outcome::Published(published) => Told::Published(write_published(published)),
        Outcome::Aborted {
            reason,
            certificate,
        } => Told::Aborted(pb::AbortedRound {
            reason: Some(reason::write(reason)),
            certificate: certificate.clone().map(Into::into),
        }),
        Outcome::Spent(loss) => Told::Spent(write_loss(loss)),
        Outcome::Lost(reason) => Told::Lost(reason::write(reason)),
    }
}

fn read_outcome(outcome: pb::round_ended::Outcome) -> Result<Outcome, ConvertError> {
    use pb::round_ended::Outcome as Told;
    Ok(match outcome {
        Told::Published(published) => Outcome::Published(Box::new(read_published(published)?)),
        Told::Aborted(aborted) => Outcome::Aborted {
            reason: reason::read(required("reason", aborted.reason)?)?,
            certificate: aborted.certificate.map(TryInto::try_into).transpose()?,
        },
        Told::Spent(spent) => Outcome::Spent(read_loss(spent)?),
        Told::Lost(why) => Outcome::Lost(reason::read(why)?),
    })
}

fn write_loss(loss: &Loss) -> pb::SpentRound {
    let Loss {
        reason,
        missing,
        culprit,
    } = loss;
    pb::SpentRound {
        reason: Some(reason::write(reason)),
        missing: missing.iter().map(ToString::to_string).collect(),
        culprit: culprit
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

fn read_loss(message: pb::SpentRound) -> Result<Loss, ConvertError> {
    let culprit = Some(&message.culprit).filter(|name| !name.is_empty());
    Ok(Loss {
        reason: reason::read(required("reason", message.reason)?)?,
        missing: sites("missing", &message.missing)?,
        culprit: culprit.map(|name| site("culprit", name)).transpose()?,
    })
}

fn sites(field: &'static str, names: &[String]) -> Result<Vec<SiteName>, ConvertError> {
    at_most(field, names.len(), MAX_MEMBERS, "members")?;
    names.iter().map(|name| site(field, name)).collect()
}

fn write_published(published: &Published) -> pb::PublishedRound {
    let Published {
        result,
        certificate,
        model,
        opened_at,
        cohort,
        dropped,
        liars,
    } = published;
    pb::PublishedRound {
        result: Some(pb::RoundResult {
            cert: Some(certificate.clone().into()),
            ..bare_result(result.clone())
        }),
        model: Some(blob_message(model)),
        opened_ms: opened_at.0,
        cohort: *cohort,
        dropped: dropped.iter().map(ToString::to_string).collect(),
        liars: liars.iter().copied().collect(),
    }
}

fn read_published(message: pb::PublishedRound) -> Result<Published, ConvertError> {
    let published = required("result", message.result)?;
    Ok(Published {
        result: result(&published)?,
        certificate: required("result.cert", published.cert)?.try_into()?,
        model: blob("model", message.model)?,
        opened_at: Timestamp(message.opened_ms),
        cohort: message.cohort,
        dropped: sites("dropped", &message.dropped)?,
        liars: BTreeSet::from_iter(indices("liars", message.liars)?),
    })
}
