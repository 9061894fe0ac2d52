//! Why something is over, with its numbers: the same value comes back that a machine gave.

use veilsum_common::limits::MAX_CODE_BYTES;
use veilsum_engine::rejection::Abort;

use super::{indices, member_list};
use crate::convert::{ConvertError, at_most, required};
use crate::pb;
use crate::pb::abort_reason::Reason;

/// What the machines and the coordinator's hands call the parts of a journal that do not follow from its entries.
pub(super) const PARTS: [&str; 10] = [
    "abort certificate",
    "cohort",
    "result",
    "roster",
    "roster certificate",
    "set of unmask lists",
    "staged upload",
    "survivor certificate",
    "survivor set",
    "unmask share",
];
/// A part of a version that called it something else: a changed word must not make a journal unreadable.
const SOME_PART: &str = "fact";

pub(super) fn read(message: pb::AbortReason) -> Result<Abort, ConvertError> {
    Ok(match required("reason", message.reason)? {
        Reason::RosterTooSmall(pb::Shortfall { have, need }) => {
            Abort::RosterTooSmall { have, need }
        }
        Reason::RosterUnconfirmed(pb::Shortfall { have, need }) => {
            Abort::RosterUnconfirmed { have, need }
        }
        Reason::TooFewOnline(pb::Shortfall { have, need }) => Abort::TooFewOnline { have, need },
        Reason::CohortTooSmall(pb::Shortfall { have, need }) => {
            Abort::CohortTooSmall { have, need }
        }
        Reason::SurvivorsTooFew(pb::Shortfall { have, need }) => {
            Abort::SurvivorsTooFew { have, need }
        }
        Reason::AttestationsTooFew(pb::Shortfall { have, need }) => {
            Abort::AttestationsTooFew { have, need }
        }
        Reason::BadDealing(list) => Abort::BadDealing {
            dealers: indices("bad_dealing", list.indices)?,
        },
        Reason::ReleaseLost(pb::Shortfall { have, need }) => Abort::ReleaseLost { have, need },
        Reason::AbortUncertified(pb::Shortfall { have, need }) => {
            Abort::AbortUncertified { have, need }
        }
        Reason::Dealer(dealer) => Abort::Dealer { dealer },
        Reason::BadSum(pb::Plainly {}) => Abort::BadSum,
        Reason::NotFinite(pb::Plainly {}) => Abort::NotFinite,
        Reason::UnchangedIn(round) => Abort::Unchanged { round },
        Reason::Diverged(word) => Abort::Diverged(part(&word)?),
        Reason::Unbalanced(pb::Plainly {}) => Abort::Unbalanced,
        Reason::Cancelled(pb::Plainly {}) => Abort::Cancelled,
    })
}

pub(super) fn write(abort: &Abort) -> pb::AbortReason {
    let short = |have: &u32, need: &u32| pb::Shortfall {
        have: *have,
        need: *need,
    };
    let reason = match abort {
        Abort::RosterTooSmall { have, need } => Reason::RosterTooSmall(short(have, need)),
        Abort::RosterUnconfirmed { have, need } => Reason::RosterUnconfirmed(short(have, need)),
        Abort::TooFewOnline { have, need } => Reason::TooFewOnline(short(have, need)),
        Abort::CohortTooSmall { have, need } => Reason::CohortTooSmall(short(have, need)),
        Abort::SurvivorsTooFew { have, need } => Reason::SurvivorsTooFew(short(have, need)),
        Abort::AttestationsTooFew { have, need } => Reason::AttestationsTooFew(short(have, need)),
        Abort::BadDealing { dealers } => Reason::BadDealing(member_list(dealers)),
        Abort::ReleaseLost { have, need } => Reason::ReleaseLost(short(have, need)),
        Abort::AbortUncertified { have, need } => Reason::AbortUncertified(short(have, need)),
        Abort::Dealer { dealer } => Reason::Dealer(*dealer),
        Abort::BadSum => Reason::BadSum(pb::Plainly {}),
        Abort::NotFinite => Reason::NotFinite(pb::Plainly {}),
        Abort::Unchanged { round } => Reason::UnchangedIn(*round),
        Abort::Diverged(part) => Reason::Diverged((*part).to_owned()),
        Abort::Unbalanced => Reason::Unbalanced(pb::Plainly {}),
        Abort::Cancelled => Reason::Cancelled(pb::Plainly {}),
    };
    pb::AbortReason {
        reason: Some(reason),
    }
}

fn part(word: &str) -> Result<&'static str, ConvertError> {
    at_most("diverged", word.len(), MAX_CODE_BYTES, "bytes")?;
    let known = PARTS.into_iter().find(|part| *part == word);
    Ok(known.unwrap_or(SOME_PART))
}

#[cfg(test)]
mod tests;
