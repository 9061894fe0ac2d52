//! The two ways of saying no, never mixed: a [`Rejection`] refuses one event and changes nothing, an [`Abort`] ends a round.
//!
//! Which status of the wire or exit code follows is the borders' business. Source: protocol, section 12 (which event ends what).

use veilsum_common::time::Timestamp;
use veilsum_secagg::Error as Protocol;

use crate::policy::Refusal;

/// One event refused; the machine is unchanged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// The same message was accepted before: the sender gets the first answer again.
    #[error("this message was accepted before")]
    Repeated,
    /// Another message was accepted under the same name; the first one stays.
    #[error("another {0} of this sender was accepted before; the first one stays")]
    Conflict(&'static str),
    /// It comes too late or too early.
    #[error("{what} is not expected now: the round is {phase}")]
    OutOfPhase {
        /// What came.
        what: &'static str,
        /// Where the machine stands.
        phase: &'static str,
    },
    /// It speaks of an epoch, attempt or model this machine is not in.
    #[error("it speaks of another {0} than the current one")]
    Elsewhere(&'static str),
    /// The sender is not in the set that may send this.
    #[error("the sender is not in the {0}")]
    NotAMember(&'static str),
    /// The announcement is older than one that was accepted.
    #[error("announcement of round {round}, attempt {seq}: a newer one was accepted before")]
    Stale {
        /// Its round.
        round: u64,
        /// Its attempt.
        seq: u64,
    },
    /// A retry would let the coordinator subtract two sums: it needs proof that the earlier attempt is dead.
    #[error(
        "attempt {seq} for the same model sent masked bytes; a further one needs its abort certificate"
    )]
    RetryUnproven {
        /// The earlier attempt.
        seq: u64,
    },
    /// The round was lost at this site; whoever released in it refuses every further attempt of it.
    #[error(
        "attempt {seq} of round {round} was released, or its loss was consented to: a further attempt needs a new round number"
    )]
    RoundLost {
        /// The round.
        round: u64,
        /// The attempt.
        seq: u64,
    },
    /// The update may be in a sum that the coordinator has, and nothing proves otherwise (R4).
    #[error(
        "this site's update for this model may be in the sum of round {round}, attempt {seq}, which neither ended nor was proven \
         dead: it is spent, and only this site's operator can consent to one more sum over it"
    )]
    Spent {
        /// The round.
        round: u64,
        /// The attempt.
        seq: u64,
    },
    /// The model is one to which this site has given its one update.
    #[error(
        "the model did not change in round {round}, to which this site contributed; nothing new to train: a site adds one update to \
         one model once"
    )]
    Unchanged {
        /// The round.
        round: u64,
    },
    /// A consent where none is needed.
    #[error(
        "nothing is spent: this site's update for the current model is in no sum that was lost"
    )]
    NothingSpent,
    /// A deadline of the announcement is further away than this site accepts.
    #[error("the attempt would expire at {} ms, at most {} ms is accepted", expires.0, latest.0)]
    Deadline {
        /// Its expiry.
        expires: Timestamp,
        /// Latest accepted.
        latest: Timestamp,
    },
    /// The site's own policy refuses.
    #[error(transparent)]
    Policy(#[from] Refusal),
    /// A protocol check failed; the error says whose fault it is.
    #[error(transparent)]
    Protocol(#[from] Protocol),
}

/// Why a round is over without a result. Every site is told in these words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Abort {
    /// Too few sites joined the epoch before its deadline.
    #[error("{have} sites joined, {need} are needed; start the missing sites or lower cohort.min")]
    RosterTooSmall {
        /// Sites that joined.
        have: u32,
        /// Smallest cohort.
        need: u32,
    },
    /// Too few members confirmed the roster.
    #[error(
        "{have} sites confirmed the roster, {need} must; look at the missing sites' logs for the rule that refused it"
    )]
    RosterUnconfirmed {
        /// Confirmations.
        have: u32,
        /// Quorum.
        need: u32,
    },
    /// Too few sites are online to hold shares.
    #[error("{have} sites are online, {need} are needed to hold shares")]
    TooFewOnline {
        /// Sites online.
        have: u32,
        /// Smallest number of holders.
        need: u32,
    },
    /// Too few sites committed before the join deadline.
    #[error(
        "{have} sites were ready in time, {need} are needed; raise join_timeout if training takes longer"
    )]
    CohortTooSmall {
        /// Sites that committed.
        have: u32,
        /// Smallest cohort.
        need: u32,
    },
    /// Too few uploads arrived before the report deadline.
    #[error(
        "{have} uploads arrived in time, {need} are needed; raise report_timeout if uploads take longer"
    )]
    SurvivorsTooFew {
        /// Uploads.
        have: u32,
        /// Smallest survivor set.
        need: u32,
    },
    /// Too few holders attested the survivors, or attested and can use the shares of every member.
    #[error(
        "{have} holders attested the survivors and can use everybody's shares, {need} are needed; look at the logs of the \
         holders that did not"
    )]
    AttestationsTooFew {
        /// Holders that attested and do not complain, for the member with the fewest.
        have: u32,
        /// Threshold.
        need: u32,
    },
    /// More holders complain about these dealers than can be corrupt: they are left out of the next attempt.
    #[error(
        "the shares dealt by members {dealers:?} cannot be used; they are left out of the next attempt"
    )]
    BadDealing {
        /// Roster indices.
        dealers: Vec<u32>,
    },
    /// The release was lost: fewer than t usable answers before the attempt expired.
    #[error(
        "{have} holders released their shares, {need} are needed; the round is lost and its contributions are spent"
    )]
    ReleaseLost {
        /// Usable answers.
        have: u32,
        /// Threshold.
        need: u32,
    },
    /// Too few holders confirmed the abort, so a new attempt could not be told from an attack.
    #[error("{have} holders confirmed the abort, {need} are needed before a new attempt may start")]
    AbortUncertified {
        /// Holders.
        have: u32,
        /// Threshold.
        need: u32,
    },
    /// A dealer's shares do not give what it committed to; provable.
    #[error(
        "member {dealer} dealt shares that do not give what it committed to; the round is lost"
    )]
    Dealer {
        /// Roster index.
        dealer: u32,
    },
    /// The sum of the weights is zero or does not decode: a site sent metadata that no honest site sends.
    #[error(
        "the sums of weights and metrics are out of their declared ranges; a site sent what no honest site sends"
    )]
    BadSum,
    /// The new model would hold a value that is not finite.
    #[error("the new model would hold a value that is not finite")]
    NotFinite,
    /// The round gave the model it began with, so no site has anything left to add to the next one.
    #[error(
        "round {round} left the model as it was, bit for bit, and a site adds one update to one model once: the run ends with this \
         model. If it has not converged, look whether the trainers change anything at all"
    )]
    Unchanged {
        /// The round.
        round: u64,
    },
    /// What the journal recorded does not follow from what came before it.
    #[error(
        "the journal records a {0} that does not follow from its entries; it was damaged or altered"
    )]
    Diverged(&'static str),
    /// What was folded does not add up to what arrived or is not what arrived, or two runs of one job gave two results.
    #[error(
        "what the coordinator folded is not the sum of what the sites sent; nothing was published. Its memory, its disk or its program \
         is at fault"
    )]
    Unbalanced,
    /// An operator cancelled the run.
    #[error("the run was cancelled by an operator")]
    Cancelled,
}

impl Abort {
    /// The stable reason code, the same on the wire, in JSON and in the handbook.
    pub fn code(&self) -> &'static str {
        match self {
            Self::RosterTooSmall { .. } => "EPOCH_ROSTER_TOO_SMALL",
            Self::RosterUnconfirmed { .. } => "EPOCH_ROSTER_UNCONFIRMED",
            Self::TooFewOnline { .. } => "ROUND_TOO_FEW_ONLINE",
            Self::CohortTooSmall { .. }
            | Self::SurvivorsTooFew { .. }
            | Self::AttestationsTooFew { .. } => "ROUND_QUORUM_LOST",
            Self::BadDealing { .. } => "ROUND_BAD_DEALING",
            Self::ReleaseLost { .. } => "ROUND_RELEASE_LOST",
            Self::AbortUncertified { .. } => "ROUND_ABORT_UNCERTIFIED",
            Self::Dealer { .. } => "ROUND_DEALER_CONVICTED",
            Self::BadSum => "ROUND_BAD_SUM",
            Self::NotFinite => "ROUND_MODEL_NOT_FINITE",
            Self::Unchanged { .. } => "ROUND_MODEL_UNCHANGED",
            Self::Diverged(_) => "JOURNAL_DIVERGED",
            Self::Unbalanced => "ROUND_UNBALANCED",
            Self::Cancelled => "RUN_CANCELLED",
        }
    }

    /// Whether another try, of the round or of the epoch's set-up, may succeed where this one did not.
    pub fn retryable(&self) -> bool {
        match self {
            Self::RosterTooSmall { .. }
            | Self::RosterUnconfirmed { .. }
            | Self::TooFewOnline { .. }
            | Self::CohortTooSmall { .. }
            | Self::SurvivorsTooFew { .. }
            | Self::AttestationsTooFew { .. }
            | Self::BadDealing { .. }
            | Self::Unbalanced => true,
            Self::ReleaseLost { .. }
            | Self::AbortUncertified { .. }
            | Self::Dealer { .. }
            | Self::BadSum
            | Self::NotFinite
            | Self::Unchanged { .. }
            | Self::Diverged(_)
            | Self::Cancelled => false,
        }
    }
}
