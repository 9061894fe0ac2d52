//! Who asks before a file is opened, passed on or sealed anew, and who writes down that it was asked.
//!
//! Where it sits: every such call of this crate goes through a [`Gate`] first. A decision is on record before it has an effect: what
//! cannot be recorded is not done. [`local`] has implementations for one machine; a coordinator's policy and its log implement the same
//! two traits.
//!
//! What it deliberately does not do: bind whoever has the key. With the identity in hand the file opens with any age, unasked.

pub mod local;

use veilsum_common::time::Timestamp;

use crate::error::Error;
use crate::recipient::Fingerprint;

/// What is to be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Decrypt it.
    Open,
    /// Write a header for other readers.
    Grant,
    /// Encrypt it anew, under a new key, for the readers that remain.
    Reseal,
}

impl Action {
    /// As it stands in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Grant => "grant",
            Self::Reseal => "reseal",
        }
    }
}

/// One question.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is to be done.
    pub action: Action,
    /// Which file: its payload's nonce in hexadecimal, which a new header keeps.
    pub payload: String,
    /// With which identities: those that are tried.
    pub identities: Vec<Fingerprint>,
    /// For which readers, where there are new ones.
    pub readers: Vec<Fingerprint>,
    /// What for, if it was said.
    pub purpose: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be done.
    Permit,
    /// It may not.
    Deny,
}

impl Decision {
    /// As it stands in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
        }
    }
}

/// Why something could not be recorded, in the words of whoever records.
pub type Unrecorded = Box<dyn std::error::Error + Send + Sync>;

/// Decides.
pub trait Decide {
    /// The answer to one question.
    fn decide(&self, request: &Request) -> Decision;
}

/// Keeps a record of decisions, also of denials.
pub trait Record {
    /// Writes one down; it is durable on return.
    ///
    /// # Errors
    /// Whatever kept it from being durable.
    fn record(&mut self, request: &Request, decision: Decision) -> Result<(), Unrecorded>;
}

/// Both, and the time of asking.
pub struct Gate<'a> {
    /// Who decides.
    pub decide: &'a dyn Decide,
    /// Who writes it down.
    pub record: &'a mut dyn Record,
    /// Now.
    pub at: Timestamp,
}

impl Gate<'_> {
    /// Asks, has the answer recorded, and lets only a permit through.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::NotRecorded`].
    pub(crate) fn pass(&mut self, request: &Request) -> Result<(), Error> {
        let decision = self.decide.decide(request);
        let recorded = self.record.record(request, decision);
        recorded.map_err(Error::NotRecorded)?;
        match decision {
            Decision::Permit => Ok(()),
            Decision::Deny => Err(Error::Denied {
                action: request.action,
            }),
        }
    }
}
