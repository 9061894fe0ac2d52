//! What can go wrong, sorted by whose fault it is.
//!
//! A message that does not verify is blamed on whoever handed it over: a site blames the coordinator, the coordinator the sender. Only
//! what somebody provably signed is held against its signer ([`Fault::Dealing`], a liar among the unmask lists). What convinces a third
//! party is [`crate::evidence`]. Source: protocol, sections 11.3 and 28.

use crate::bitmap::BitmapError;
use crate::params::ParamsError;

/// Who sent what cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Culprit {
    /// The coordinator, or somebody on the way to it.
    Coordinator,
    /// The roster member with this index.
    Member(u32),
}

impl core::fmt::Display for Culprit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Coordinator => f.write_str("the coordinator"),
            Self::Member(index) => write!(f, "member {index}"),
        }
    }
}

/// What exactly is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A signature does not verify.
    #[error("its signature over the {0} does not verify")]
    Signature(&'static str),
    /// A length is not the required one.
    #[error("{what} has {have} entries, required are {need}")]
    Length {
        /// Which part.
        what: &'static str,
        /// Found.
        have: usize,
        /// Required.
        need: usize,
    },
    /// A public key is not canonical or of small order.
    #[error("its {0} is not a canonical point of large order")]
    Point(&'static str),
    /// A key agreement gave the all-zero result.
    #[error("the key agreement with it gives the all-zero secret")]
    AllZero,
    /// A scalar is not below the group order.
    #[error("a scalar is not canonical")]
    Scalar,
    /// A set does not parse.
    #[error("{0}")]
    Bitmap(#[from] BitmapError),
    /// A key or id appears twice.
    #[error("its {0} appears twice")]
    Duplicate(&'static str),
    /// Entries are not in ascending order.
    #[error("{0} are not in ascending order")]
    Order(&'static str),
    /// It speaks of another context (run, epoch, announcement, cohort) than this one.
    #[error("it is bound to another {0}")]
    Context(&'static str),
    /// A Merkle path or root does not fit.
    #[error("the {0} does not match the committed root")]
    Root(&'static str),
    /// A set is smaller than the rules allow.
    #[error("{what}: {have}, required are {need}")]
    TooFew {
        /// Which set.
        what: &'static str,
        /// Found.
        have: u32,
        /// Required.
        need: u32,
    },
    /// A number is outside its bounds.
    #[error("{what} is {have}, allowed is at most {limit}")]
    TooMany {
        /// Which number.
        what: &'static str,
        /// Found.
        have: u64,
        /// Allowed.
        limit: u64,
    },
    /// A value that follows from rules has another value.
    #[error("{what} is {have}, by the rules it must be {need}")]
    Rule {
        /// Which value.
        what: &'static str,
        /// Found.
        have: u64,
        /// Required.
        need: u64,
    },
    /// An index or position is not in the set it must be in.
    #[error("{what} {index} is not in the set")]
    Absent {
        /// Which kind of index.
        what: &'static str,
        /// The index.
        index: u32,
    },
    /// A survivor has too few neighbours left.
    #[error("survivor {member} keeps too few of its neighbours")]
    Degree {
        /// The survivor.
        member: u32,
    },
    /// Shares that match their commitments do not belong to the committed secret, or the rescue blob does not give the mask key.
    #[error("its shares do not give the secret it committed to")]
    Dealing,
    /// A padding bit of a packed chunk is set.
    #[error("a padding bit of a packed chunk is set")]
    Padding,
    /// A message that was already accepted came again with other content.
    #[error("it sent two different messages for one {0}")]
    Equivocation(&'static str),
}

/// Error of this crate.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The run's configuration is out of bounds.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// A peer sent what no honest peer sends.
    #[error("message of {culprit} refused: {fault}")]
    PeerMisbehaved {
        /// Who.
        culprit: Culprit,
        /// What.
        fault: Fault,
    },
    /// Fewer answers than the threshold; nobody's fault, and waiting may help.
    #[error("{have} answers, {need} are needed")]
    BelowThreshold {
        /// Answers that count.
        have: u32,
        /// Threshold.
        need: u32,
    },
    /// A position of shares that comes twice, or is 0: our own fault, since every list is checked before it counts.
    #[error("a position of the shares comes twice, or is 0")]
    Positions,
    /// This site is not a member of the roster, cohort or holder list in question.
    #[error("this site is not in the {0}")]
    NotAMember(&'static str),
    /// A sequence number steps back or too far ahead.
    #[error("attempt number {seq}: the next one may be {lowest} to {highest}")]
    Sequence {
        /// Number asked for.
        seq: u64,
        /// Lowest allowed.
        lowest: u64,
        /// Highest allowed.
        highest: u64,
    },
    /// A stored secret does not have the form this version wrote.
    #[error("a stored {0} cannot be read; it was written by another version or is damaged")]
    Stored(&'static str),
}

impl Error {
    /// Who is to blame, if anybody is.
    pub fn culprits(&self) -> Option<Culprit> {
        // No `_` arm: a new kind of error must decide whether it accuses somebody.
        match self {
            Self::PeerMisbehaved { culprit, .. } => Some(*culprit),
            Self::Params(_)
            | Self::BelowThreshold { .. }
            | Self::Positions
            | Self::NotAMember(_)
            | Self::Sequence { .. }
            | Self::Stored(_) => None,
        }
    }
}

impl Fault {
    /// The error that blames the coordinator for this fault.
    pub fn by_coordinator(self) -> Error {
        Error::PeerMisbehaved {
            culprit: Culprit::Coordinator,
            fault: self,
        }
    }

    /// The error that blames roster member `index` for this fault.
    pub fn by(self, index: u32) -> Error {
        Error::PeerMisbehaved {
            culprit: Culprit::Member(index),
            fault: self,
        }
    }
}
