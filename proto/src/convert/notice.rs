//! What a participant is told: from the machines' notices to signed messages, and from messages to what a site acts upon.
//!
//! [`Voice`] is the coordinator's end, [`received`] the site's. A signature is put on here and only carried on there: whether it
//! fits is checked by the machine that takes the notice up. A notice never says for how many members its sets are; the site
//! knows the size of its roster.
//!
//! Source: protocol, section 7.

use veilsum_common::ids::RunId;
use veilsum_common::limits::{MAX_CODE_BYTES, MAX_REASON_BYTES};
use veilsum_common::time::Timestamp;
use veilsum_engine::notice::{Notice, Position};
use veilsum_engine::rejection::Abort;
use veilsum_secagg::keys::{Identity, Signature};
use veilsum_secagg::message::{Announcement, Cohort, SurvivorProposal};
use veilsum_secagg::{Certificate, Digest};

use super::journal::{proof_messages, proofs, round_config};
use super::round::Finished;
use super::run::ending;
use super::{
    ConvertError, OverRoster, Problem, Signed, array, chosen, digest, plain_text, required, run_id,
};
use crate::pb;
use crate::pb::notice::Notice as Told;

/// Bytes of a cursor: epoch, attempt, rank.
const CURSOR_BYTES: usize = 17;

/// The coordinator of one run, when it speaks.
#[derive(Clone, Copy)]
pub struct Voice<'a> {
    /// The run.
    pub run_id: RunId,
    /// Hash of its parameters.
    pub run_hash: Digest,
    /// Its key in this run.
    pub identity: &'a Identity,
    /// Why the current attempt is being given up, if it is; see `Round::aborting`.
    pub aborting: Option<&'a Abort>,
}

impl Voice<'_> {
    /// That there is this run, for a site that has not seen it yet.
    pub fn offer(&self) -> pb::Notice {
        self.told(Told::RunOffered(pb::RunOffered {
            run_hash: self.run_hash.0.to_vec(),
        }))
    }

    /// A notice of the run, signed where it carries a signature.
    pub fn say(&self, position: Position, notice: Notice) -> pb::Notice {
        self.told(match notice {
            Notice::EpochOpen { epoch, join_by } => Told::EpochOpen(pb::EpochOpen {
                run_hash: self.run_hash.0.to_vec(),
                epoch,
                join_by_ms: join_by.0,
            }),
            Notice::RosterReady {
                epoch,
                members,
                root,
            } => Told::RosterReady(pb::RosterReady {
                epoch,
                n: members,
                roster_root: root.0.to_vec(),
            }),
            Notice::RosterCertified(certificate) => Told::RosterCert(certificate.into()),
            Notice::RoundOpen {
                announcement,
                round_config,
                proofs,
            } => Told::RoundOpen(Box::new(pb::RoundOpen {
                announcement: Some(self.announced(*announcement)),
                round_config,
                abort_certs: proof_messages(&proofs),
            })),
            Notice::CohortReady(value) => {
                let signature = value.sign(self.identity);
                Told::CohortReady(Signed { value, signature }.into())
            }
            Notice::SurvivorProposal(value) => {
                let signature = value.sign(self.identity);
                Told::SurvivorProposal(Signed { value, signature }.into())
            }
            Notice::SurvivorsCertified(certificate) => Told::SurvivorCert(certificate.into()),
            Notice::AbortProposal(announcement) => {
                Told::AbortProposal(Box::new(pb::AbortProposal {
                    announcement: Some(self.announced(*announcement)),
                    reason: self.aborting.map(Into::into),
                }))
            }
            Notice::Result {
                round,
                result,
                certificate,
            } => {
                let signature = result.sign(self.identity);
                let (epoch, seq, value) = (position.epoch, position.seq, *result);
                let finished = Finished {
                    round,
                    epoch,
                    seq,
                    result: Signed { value, signature },
                    certificate,
                };
                Told::RoundResult(Box::new(finished.into()))
            }
            Notice::Ended(state) => {
                let (state, reason) = ending(&state);
                let state = state.into();
                Told::RunEnded(pb::RunEnded { state, reason })
            }
        })
    }

    fn told(&self, notice: Told) -> pb::Notice {
        pb::Notice {
            run_id: self.run_id.as_bytes().to_vec(),
            notice: Some(notice),
        }
    }

    fn announced(&self, value: Announcement) -> pb::Announcement {
        let signature = value.sign(self.identity);
        Signed { value, signature }.into()
    }
}

/// A notice as a site takes it up. Nothing of it is believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// There is a run that this site may take part in.
    RunOffered {
        /// The run.
        run_id: RunId,
        /// Hash of its parameters.
        run_hash: Digest,
    },
    /// An epoch is open for joining.
    EpochOpen {
        /// Its number.
        epoch: u64,
        /// Until when.
        join_by: Timestamp,
    },
    /// The roster is fixed.
    RosterReady {
        /// Epoch.
        epoch: u64,
        /// Members.
        members: u32,
        /// Its root.
        root: Digest,
    },
    /// The roster is certified.
    RosterCertified(Certificate),
    /// An attempt is open.
    RoundOpen {
        /// Its announcement.
        announcement: Box<Announcement>,
        /// The coordinator's signature.
        signature: Signature,
        /// Configuration for the trainer.
        round_config: Vec<u8>,
        /// Abort certificates of earlier attempts for the same model.
        proofs: Vec<Certificate>,
    },
    /// The cohort is fixed.
    CohortReady {
        /// The cohort.
        cohort: Cohort,
        /// The coordinator's signature.
        signature: Signature,
    },
    /// The survivors are fixed.
    SurvivorProposal {
        /// The proposal.
        proposal: SurvivorProposal,
        /// The coordinator's signature.
        signature: Signature,
    },
    /// The survivors are certified.
    SurvivorsCertified(Certificate),
    /// The attempt is being given up.
    AbortProposal {
        /// Its announcement.
        announcement: Box<Announcement>,
        /// The coordinator's signature.
        signature: Signature,
        /// Why, as a stable word; empty if no reason was given. For the site's log: nothing is decided by it.
        code: String,
        /// Why, in words.
        text: String,
    },
    /// A round has a result.
    Result(Box<Finished>),
    /// The run is over.
    Ended {
        /// How: completed, failed or cancelled.
        state: pb::RunState,
        /// Why, as a stable word; empty when it is completed.
        code: String,
        /// Why, in words.
        text: String,
    },
}

/// Reads a notice at a site whose roster has `roster_size` members; 0 when it has no roster yet.
///
/// # Errors
/// [`ConvertError`] for the first field that is wrong; [`Problem::NoRoster`] if it names members and there is no roster.
pub fn received(notice: pb::Notice, roster_size: u32) -> Result<Received, ConvertError> {
    let run_id = run_id(&notice.run_id)?;
    Ok(match required("notice", notice.notice)? {
        Told::RunOffered(offered) => Received::RunOffered {
            run_id,
            run_hash: digest("run_hash", &offered.run_hash)?,
        },
        Told::EpochOpen(open) => {
            digest("run_hash", &open.run_hash)?;
            Received::EpochOpen {
                epoch: open.epoch,
                join_by: Timestamp(open.join_by_ms),
            }
        }
        Told::RosterReady(ready) => Received::RosterReady {
            epoch: ready.epoch,
            members: ready.n,
            root: digest("roster_root", &ready.roster_root)?,
        },
        Told::RosterCert(certificate) => Received::RosterCertified(certificate.try_into()?),
        Told::RoundOpen(open) => round_open(*open, roster_size)?,
        Told::CohortReady(ready) => {
            let Signed { value, signature } = within("cohort_ready", ready, roster_size)?;
            Received::CohortReady {
                cohort: value,
                signature,
            }
        }
        Told::SurvivorProposal(proposal) => {
            let Signed { value, signature } = within("survivor_proposal", proposal, roster_size)?;
            Received::SurvivorProposal {
                proposal: value,
                signature,
            }
        }
        Told::SurvivorCert(certificate) => Received::SurvivorsCertified(certificate.try_into()?),
        Told::AbortProposal(proposal) => abort_proposal(*proposal, roster_size)?,
        // It comes with the attempt that needs it, never alone.
        Told::AbortCert(_) => {
            let (have, unit) = (1, "notice");
            return Err(Problem::NotInVersion1 { have, unit }.of("abort_cert"));
        }
        Told::RoundResult(message) => Received::Result(Box::new((*message).try_into()?)),
        Told::RunEnded(ended) => run_ended(ended)?,
    })
}

fn within<M: OverRoster>(
    field: &'static str,
    message: M,
    roster_size: u32,
) -> Result<M::Value, ConvertError> {
    if roster_size == 0 {
        Err(Problem::NoRoster.of(field))
    } else {
        message.over(roster_size)
    }
}

fn round_open(message: pb::RoundOpen, roster_size: u32) -> Result<Received, ConvertError> {
    let announcement = required("announcement", message.announcement)?;
    let Signed { value, signature } = within("announcement", announcement, roster_size)?;
    Ok(Received::RoundOpen {
        announcement: Box::new(value),
        signature,
        round_config: round_config(message.round_config)?,
        proofs: proofs(message.abort_certs)?,
    })
}

fn abort_proposal(message: pb::AbortProposal, roster_size: u32) -> Result<Received, ConvertError> {
    let announcement = required("announcement", message.announcement)?;
    let Signed { value, signature } = within("announcement", announcement, roster_size)?;
    let (code, text) = said(message.reason)?;
    Ok(Received::AbortProposal {
        announcement: Box::new(value),
        signature,
        code,
        text,
    })
}

fn run_ended(message: pb::RunEnded) -> Result<Received, ConvertError> {
    let have = message.state;
    match chosen("state", have)? {
        state @ (pb::RunState::Completed | pb::RunState::Failed | pb::RunState::Cancelled) => {
            let (code, text) = said(message.reason)?;
            Ok(Received::Ended { state, code, text })
        }
        pb::RunState::Unspecified
        | pb::RunState::Pending
        | pb::RunState::Running
        | pb::RunState::Paused => Err(Problem::Unknown { have }.of("state")),
    }
}

/// A reason in the coordinator's words: short, and fit to be shown.
fn said(reason: Option<pb::Reason>) -> Result<(String, String), ConvertError> {
    let pb::Reason { code, text } = reason.unwrap_or_default();
    Ok((
        plain_text("reason.code", code, MAX_CODE_BYTES)?,
        plain_text("reason.text", text, MAX_REASON_BYTES)?,
    ))
}

/// The cursor that asks for what comes after `position`.
pub fn cursor(position: Position) -> Vec<u8> {
    let Position { epoch, seq, rank } = position;
    [&epoch.to_be_bytes()[..], &seq.to_be_bytes(), &[rank]].concat()
}

/// The position that a cursor stands for; an empty one stands before everything.
///
/// # Errors
/// If it is neither empty nor one of [`cursor`]'s.
pub fn position(cursor: &[u8]) -> Result<Position, ConvertError> {
    if cursor.is_empty() {
        return Ok(Position::default());
    }
    let bytes: [u8; CURSOR_BYTES] = array("cursor", cursor)?;
    let (numbers, rank) = bytes.split_at(16);
    let (epoch, seq) = numbers.split_at(8);
    Ok(Position {
        epoch: u64::from_be_bytes(array("cursor", epoch)?),
        seq: u64::from_be_bytes(array("cursor", seq)?),
        rank: rank[0],
    })
}

#[cfg(test)]
mod tests;
