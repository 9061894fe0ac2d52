//! Why a command did not do what it was asked, by what was at fault. What it exits with is `exit`'s business.

use std::io;
use std::path::PathBuf;

use tonic::Status;
use veilsum_common::ids::RunId;
use veilsum_common::study::StudyError;
use veilsum_common::time::Span;
use veilsum_coordinator::ca::CaError;
use veilsum_daemon::files::FileError;
use veilsum_daemon::tls::TlsError;
use veilsum_participant::consent::ConsentError;
use veilsum_participant::enrol::EnrolError;
use veilsum_participant::keystore::KeystoreError;
use veilsum_participant::link::{self, LinkError};
use veilsum_proto::convert::ConvertError;
use veilsum_proto::pb;
use veilsum_sealed::gate::local::LogError;
use veilsum_sealed::registry::RegistryError;
use veilsum_secagg::Digest;
use veilsum_secagg::evidence::Unproved;

use crate::commands::demo::DemoError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file of this machine cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// What a file holds does not serve for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The authority.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// No key or signing request was made.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// The protocol key.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// No consent can be given.
    #[error(transparent)]
    Consent(#[from] ConsentError),
    /// A person was asked and did not consent, or there was nobody to ask.
    #[error(
        "no consent was given for run {run}, and nothing was changed; it takes a `yes` at a terminal, or --yes"
    )]
    Withheld {
        /// The run.
        run: RunId,
    },
    /// The site keeps no such fault file.
    #[error(
        "this site keeps no fault file with the id {id}; `veilsum participant faults` lists those that it keeps"
    )]
    NoFault {
        /// What was asked for.
        id: String,
    },
    /// A fault file is damaged, or none.
    #[error("{} is no fault file, or a damaged one: {source}", path.display())]
    FaultFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ConvertError,
    },
    /// A fault file is whole and convicts nobody.
    #[error("{} convicts nobody of {kind}: {unproved}", path.display())]
    FaultNotProved {
        /// The file.
        path: PathBuf,
        /// What it is meant to prove.
        kind: &'static str,
        /// Why it does not.
        unproved: Unproved,
    },
    /// A fault file convicts somebody whom the reader does not know.
    #[error("the proof holds, but for the {what} {found}, which is not one you said you know")]
    FaultOtherParty {
        /// What was compared.
        what: &'static str,
        /// What the file says.
        found: Digest,
    },
    /// A sealed file, a key or a list for sealed files.
    #[error("{}: {source}", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<veilsum_sealed::Error>,
    },
    /// The recipients by name.
    #[error("{}: {source}", path.display())]
    Recipients {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: RegistryError,
    },
    /// The log of who opened what.
    #[error("{}: {source}", path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: LogError,
    },
    /// Nobody said where keys are, and the environment does not either.
    #[error(
        "there is no home directory here; name a directory for keys with --home or VEILSUM_SEALED_HOME"
    )]
    NoHome,
    /// Data and the envelope would both go to standard output.
    #[error("with --json standard output holds one JSON object; name a file with --output")]
    TwoOutputs,
    /// A file that should be text is not.
    #[error("{} is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The study, or what the command line made of it.
    #[error("{}: {source}", path.display())]
    Study {
        /// The study file.
        path: PathBuf,
        /// What is wrong with it.
        source: StudyError,
    },
    /// An override addresses something that is not a table.
    #[error(
        "-c {key}: `{through}` is a value in the study's [config], not a table with keys below it"
    )]
    Override {
        /// What was typed.
        key: String,
        /// The part that is a value.
        through: String,
    },
    /// The coordinator's address.
    #[error(transparent)]
    Link(LinkError),
    /// The coordinator refused, or could not be reached.
    #[error("{}", link::explain(.0))]
    Call(Box<Status>),
    /// The coordinator took the call and never answered.
    #[error("the coordinator did not answer within {limit}")]
    NoAnswer {
        /// How long it was waited for.
        limit: Span,
    },
    /// An answer lacks what every answer of this version has.
    #[error("the coordinator's answer lacks {what}; it is of another version")]
    Incomplete {
        /// What.
        what: &'static str,
    },
    /// The awaited state can no longer come, or not before a person decides.
    #[error("run {run} is {state} after {rounds_done} of {rounds} rounds{}", because(reason.as_ref()))]
    RunOver {
        /// The run.
        run: RunId,
        /// How it ended.
        state: &'static str,
        /// Rounds published.
        rounds_done: u64,
        /// Rounds asked for.
        rounds: u64,
        /// Why.
        reason: Option<pb::Reason>,
    },
    /// The time to wait is over; the run is not.
    #[error(
        "run {run} is {state} after {rounds_done} of {rounds} rounds; stopped waiting after {waited}, the run goes on"
    )]
    WaitTimedOut {
        /// The run.
        run: RunId,
        /// Its state.
        state: &'static str,
        /// Rounds published.
        rounds_done: u64,
        /// Rounds asked for.
        rounds: u64,
        /// How long was waited.
        waited: Span,
    },
    /// There is no such model version.
    #[error("run {run} has no model of round {round}; the newest is of round {newest}")]
    NoVersion {
        /// The run.
        run: RunId,
        /// What was asked for.
        round: u64,
        /// The newest there is.
        newest: u64,
    },
    /// There is no such code word.
    #[error("there is no error code `{code}`; `veilsum explain` lists all")]
    NoSuchCode {
        /// What was asked for.
        code: String,
    },
    /// No model version has this metric.
    #[error(
        "no model of run {run} has a metric `{metric}`; there {}",
        known_metrics(known)
    )]
    NoMetric {
        /// The run.
        run: RunId,
        /// What was asked for.
        metric: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A model is not what its digest says.
    #[error(
        "the model of round {round} has the digest {found} {place}, but {expected} was published"
    )]
    Digest {
        /// The round that made it.
        round: u64,
        /// Where the wrong digest was seen.
        place: &'static str,
        /// What was published.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// A piece of a model is not what its own hash says.
    #[error("a piece of the model was damaged on the way, at byte {offset}")]
    Piece {
        /// Where it begins.
        offset: u64,
    },
    /// A daemon did not start, or had to stop. Its crate hands out one error for its `main`.
    #[error("{0:#}")]
    Daemon(anyhow::Error),
    /// The demo.
    #[error(transparent)]
    Demo(#[from] Box<DemoError>),
    /// The operating system refused something that is not about a file.
    #[error("cannot {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Call(Box::new(status))
    }
}

impl From<LinkError> for Error {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Status(status) => status.into(),
            LinkError::Url { .. }
            | LinkError::Answer(_)
            | LinkError::TooMany { .. }
            | LinkError::News { .. }
            | LinkError::TooLong { .. }
            | LinkError::Piece
            | LinkError::NoReceipt
            | LinkError::Model { .. } => Self::Link(error),
        }
    }
}

impl From<DemoError> for Error {
    fn from(error: DemoError) -> Self {
        Self::Demo(Box::new(error))
    }
}

fn because(reason: Option<&pb::Reason>) -> String {
    reason
        .map(|reason| format!(": {}", reason.text))
        .unwrap_or_default()
}

fn known_metrics(known: &[String]) -> String {
    match known {
        [] => "is none at all".to_owned(),
        [one] => format!("is `{one}`"),
        several => format!("are {}", several.join(", ")),
    }
}
