//! What happens in a run.

use std::collections::BTreeSet;

use prost::Message;
use veilsum_common::time::Timestamp;
use veilsum_engine::round::{Outcome, Published};
use veilsum_engine::run::Event;

use super::{Journalled, MAX_MEMBERS, blob, blob_message, indices, message, reason, site};
use crate::convert::round::{bare_result, result};
use crate::convert::{ConvertError, at_most, required};
use crate::pb;
use crate::pb::run_event::Event as Told;

impl Journalled for Event {
    fn kind(&self) -> &'static str {
        match self {
            Self::EpochEnded { .. } => "epoch_ended",
            Self::RoundEnded { .. } => "round_ended",
            Self::Cancelled => "cancelled",
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
        Told::Lost(why) => Outcome::Lost(reason::read(why)?),
    })
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
    at_most("dropped", message.dropped.len(), MAX_MEMBERS, "members")?;
    let names = message.dropped.iter().map(|name| site("dropped", name));
    Ok(Published {
        result: result(&published)?,
        certificate: required("result.cert", published.cert)?.try_into()?,
        model: blob("model", message.model)?,
        opened_at: Timestamp(message.opened_ms),
        cohort: message.cohort,
        dropped: names.collect::<Result<_, _>>()?,
        liars: BTreeSet::from_iter(indices("liars", message.liars)?),
    })
}
