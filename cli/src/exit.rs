//! The one map from errors to code words, and from code words to exit codes. [`known`] explains each word.
//!
//! | exit | meaning | retry |
//! |---|---|---|
//! | 0 | done, or the awaited condition holds | |
//! | 1 | the run reached a terminal failure; a daemon could not start or had to stop | no |
//! | 2 | usage | no |
//! | 3 | wait timed out, the run goes on | yes |
//! | 4 | not found, invalid input, request-id conflict | no |
//! | 5 | coordinator unreachable | yes |
//! | 6 | not authenticated or not permitted | no |
//! | 7 | quorum or threshold lost, round aborted safely | yes |
//! | 8 | verification failed: digest, transcript, signature | no, alert |
//! | 9 | refused by a site's policy | no |
//! | 10 | trainer failed | no |
//! | 70 | internal error (a bug) | no |
//!
//! A code word is the same everywhere: `google.rpc.ErrorInfo.reason` on the wire, a run's `reason.code`, `error.code` in JSON.

pub(crate) mod known;
mod sealed;

use std::path::Path;

use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use veilsum_daemon::files::FileError;
use veilsum_daemon::tls::TlsError;
use veilsum_participant::consent::ConsentError;
use veilsum_participant::link::{self, LinkError};

use crate::commands::demo::DemoError;
use crate::error::Error;
use known::Known;

/// What a process exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    WaitTimedOut = 3,
    Invalid = 4,
    Unreachable = 5,
    NotPermitted = 6,
    QuorumLost = 7,
    VerificationFailed = 8,
    PolicyRefused = 9,
    TrainerFailed = 10,
    Internal = 70,
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// Whether the same command may succeed later.
    pub(crate) fn retryable(self) -> bool {
        match self {
            Self::WaitTimedOut | Self::Unreachable | Self::QuorumLost => true,
            Self::Failed
            | Self::Usage
            | Self::Invalid
            | Self::NotPermitted
            | Self::VerificationFailed
            | Self::PolicyRefused
            | Self::TrainerFailed
            | Self::Internal => false,
        }
    }
}

/// An error as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Stable word.
    pub code: String,
    /// What the process exits with.
    pub exit: Exit,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub hint: String,
    /// Numbers and names for programs.
    pub details: Map<String, Value>,
}

/// What the codes of a site's policy rules begin with.
const POLICY: &str = "SITE_POLICY";

/// A rule of a newer site's policy that is not known here is explained as a rule of its policy.
fn look_up(code: &str) -> Option<&'static Known> {
    let find = |word: &str| known::all().find(|known| known.code == word);
    find(code).or_else(|| find(POLICY).filter(|_| code.starts_with(POLICY)))
}

impl Failure {
    /// A failure under one of the [`known`] code words; under any other, `otherwise` decides.
    fn new(code: &str, otherwise: Exit, message: String) -> Self {
        let known = look_up(code);
        Self {
            code: code.to_owned(),
            exit: known.map_or(otherwise, |known| known.exit),
            message,
            hint: known
                .map_or(
                    "`veilsum --version` here and at the coordinator may differ",
                    |known| known.remedy,
                )
                .to_owned(),
            details: Map::new(),
        }
    }

    fn known(code: &'static str, error: &Error) -> Self {
        Self::new(code, Exit::Internal, error.to_string())
    }

    /// What clap found wrong; its own text has been printed.
    pub(crate) fn usage(message: String) -> Self {
        Self::new("USAGE", Exit::Usage, message)
    }

    /// A bug of ours; `report` is what is needed to find it.
    pub(crate) fn bug(report: Option<&Path>) -> Self {
        let message = match report {
            Some(report) => format!("internal error; a report is in {}", report.display()),
            None => "internal error".to_owned(),
        };
        Self::new("INTERNAL", Exit::Internal, message)
    }

    fn with(mut self, details: Value) -> Self {
        if let Value::Object(details) = details {
            self.details = details;
        }
        self
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        match error {
            Error::File(_) | Error::Tls(_) | Error::NotText { .. } | Error::Keystore(_) => Self::known("FILE_INVALID", error),
            Error::Sealed { source, .. } => Self::known(sealed::code(source), error).with(sealed::details(source)),
            Error::Recipients { .. } | Error::NoHome => Self::known("SEALED_INPUT_INVALID", error),
            Error::AccessLog { .. } => Self::known("ACCESS_NOT_RECORDED", error),
            Error::TwoOutputs => Self::known("USAGE", error),
            Error::NoFault { .. } => Self::known("NOT_FOUND", error),
            Error::FaultFile { .. } => Self::known("FAULT_FILE_INVALID", error),
            Error::FaultNotProved { kind, .. } => Self::known("FAULT_NOT_PROVED", error).with(json!({"kind": kind})),
            Error::FaultOtherParty { found, .. } => {
                Self::known("FAULT_OTHER_PARTY", error).with(json!({"found": found.to_string()}))
            }
            Error::Consent(consent) => Self::known(consent_code(consent), error),
            Error::Withheld { .. } => Self::known("CONSENT_WITHHELD", error),
            Error::Ca(_) | Error::Enrol(_) => Self::known("CERTIFICATE_NOT_ISSUED", error),
            Error::Study { .. } | Error::Override { .. } => Self::known("STUDY_INVALID", error),
            Error::Link(LinkError::Url { .. }) => Self::known("URL_INVALID", error),
            Error::Link(_) | Error::Incomplete { .. } => Self::known("INVALID_MESSAGE", error),
            Error::Call(status) => called(status),
            Error::NoAnswer { .. } => Self::known("COORDINATOR_UNREACHABLE", error),
            Error::RunOver { run, state, rounds_done, reason, .. } => {
                let code = reason.as_ref().map_or("RUN_FAILED", |reason| &reason.code);
                Self::new(code, Exit::Failed, error.to_string())
                    .with(json!({"run_id": run.to_string(), "state": state, "rounds_done": rounds_done}))
            }
            Error::WaitTimedOut { run, state, rounds_done, .. } => Self::known("WAIT_TIMED_OUT", error)
                .with(json!({"run_id": run.to_string(), "state": state, "rounds_done": rounds_done})),
            Error::NoVersion { newest, .. } => Self::known("NOT_FOUND", error).with(json!({"newest_round": newest})),
            Error::NoSuchCode { .. } => Self::known("NOT_FOUND", error),
            Error::NoMetric { known, .. } => Self::known("NOT_FOUND", error).with(json!({"metrics": known})),
            Error::Digest { round, expected, found, .. } => Self::known("DIGEST_MISMATCH", error)
                .with(json!({"round": round, "expected": expected.to_string(), "found": found.to_string()})),
            Error::Piece { .. } => Self::known("DIGEST_MISMATCH", error),
            Error::Daemon(source) => Self::known(daemon_code(source), error),
            Error::Demo(demo) => Self::known(demo_code(demo), error).with(demo_details(demo)),
            Error::System { .. } => Self::known("SYSTEM", error),
        }
    }
}

/// A refused certificate, a reason of the coordinator's, or no answer at all.
fn called(status: &Status) -> Failure {
    if let Some(refusal) = link::refusal(status) {
        return Failure::new("NOT_AUTHENTICATED", Exit::NotPermitted, refusal.to_string());
    }
    if let Some(info) = status.get_details_error_info() {
        return Failure::new(
            &info.reason,
            exit_of(status.code()),
            status.message().to_owned(),
        );
    }
    if link::is_passing(status) {
        return Failure::new(
            "COORDINATOR_UNREACHABLE",
            Exit::Unreachable,
            link::explain(status),
        );
    }
    let code = match exit_of(status.code()) {
        Exit::NotPermitted => "NOT_PERMITTED",
        Exit::Invalid => "INVALID_MESSAGE",
        _ => "INTERNAL",
    };
    Failure::new(code, exit_of(status.code()), link::explain(status))
}

/// For an answer without a reason that we know: a newer coordinator, or something in between.
fn exit_of(code: Code) -> Exit {
    match code {
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled => {
            Exit::Unreachable
        }
        Code::Unauthenticated | Code::PermissionDenied => Exit::NotPermitted,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Aborted => Exit::Invalid,
        Code::DataLoss => Exit::VerificationFailed,
        Code::Ok | Code::Unknown | Code::Internal => Exit::Internal,
    }
}

/// A daemon's one error: what a file says wrongly is told apart from what the machine refuses.
fn daemon_code(error: &anyhow::Error) -> &'static str {
    let about_a_file = error.chain().any(|cause| {
        cause.is::<veilsum_daemon::config::ConfigError>()
            || cause.is::<veilsum_participant::config::ConfigError>()
            || cause.is::<TlsError>()
            || cause.is::<FileError>()
    });
    if about_a_file {
        "CONFIG_INVALID"
    } else {
        "DAEMON_FAILED"
    }
}

fn consent_code(error: &ConsentError) -> &'static str {
    match error {
        ConsentError::Running { .. } => "SITE_RUNNING",
        ConsentError::UnknownRun { .. } => "RUN_NOT_FOUND",
        ConsentError::Over { .. } | ConsentError::NothingSpent { .. } => "NOTHING_SPENT",
        ConsentError::Keystore(_) => "FILE_INVALID",
        ConsentError::Journal(_) | ConsentError::Run(_) => "DAEMON_FAILED",
    }
}

fn demo_code(error: &DemoError) -> &'static str {
    match error {
        DemoError::TwoSites { .. } | DemoError::Sites { .. } | DemoError::Split(_) => "DEMO_SITES",
        DemoError::DropRate { .. } | DemoError::DropTooMany { .. } => "DEMO_DROP",
        DemoError::Directory { .. } | DemoError::Io { .. } => "DEMO_DIRECTORY",
        DemoError::Interrupted => "DEMO_INTERRUPTED",
        DemoError::Start { .. } | DemoError::Ended { .. } | DemoError::NotReady { .. } => {
            "DEMO_PROCESS_ENDED"
        }
        DemoError::Train(_) => "TRAINER_FAILED",
        DemoError::Model(_)
        | DemoError::Run(_)
        | DemoError::Quantise(_)
        | DemoError::Tensors(_)
        | DemoError::Inexact { .. } => "INTERNAL",
    }
}

fn demo_details(error: &DemoError) -> Value {
    match error {
        DemoError::DropTooMany {
            dropped,
            limit,
            sites,
        } => json!({"dropped": dropped, "limit": limit, "sites": sites}),
        DemoError::TwoSites { sites } | DemoError::Sites { sites, .. } => json!({"sites": sites}),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests;
