//! The one map from errors to exit codes. `docs/exit-codes.md` has a heading for each code word below, which a test checks.
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

/// A code word, what it makes the process exit with, and what to do.
pub(crate) struct Known {
    pub code: &'static str,
    pub exit: Exit,
    pub hint: &'static str,
}

/// Every code word. Those of runs come from `engine`, those of calls from the coordinator's `grpc/status.rs`, the rest from here.
pub(crate) const KNOWN: &[Known] = &[
    known(
        "USAGE",
        Exit::Usage,
        "add --help to the command to see what it takes",
    ),
    known(
        "WAIT_TIMED_OUT",
        Exit::WaitTimedOut,
        "wait again, or look with `veilsum run show`",
    ),
    known(
        "FILE_INVALID",
        Exit::Invalid,
        "correct the file or its path and repeat the command",
    ),
    known(
        "FAULT_FILE_INVALID",
        Exit::Invalid,
        "fetch the file again from the site that keeps it, with a release that is not older than that site's",
    ),
    known(
        "CONFIG_INVALID",
        Exit::Invalid,
        "correct the configuration and start again; docs/config has a sample of each file",
    ),
    known(
        "STUDY_INVALID",
        Exit::Invalid,
        "correct the study; docs/config/study.toml explains every key",
    ),
    known(
        "CERTIFICATE_NOT_ISSUED",
        Exit::Invalid,
        "correct what the message names and repeat the command",
    ),
    known(
        "URL_INVALID",
        Exit::Invalid,
        "give --at the coordinator's address, https://HOST:PORT",
    ),
    known(
        "INVALID_MESSAGE",
        Exit::Invalid,
        "use the same release of veilsum here and at the coordinator",
    ),
    known(
        "UPLOAD_INVALID",
        Exit::Invalid,
        "use the same release of veilsum here and at the coordinator",
    ),
    known(
        "UPLOAD_REPLACED",
        Exit::Invalid,
        "see that only one daemon runs with this site's certificate",
    ),
    known(
        "UPLOAD_STALLED",
        Exit::Unreachable,
        "look at the network between the site and the coordinator; the site sends again by itself",
    ),
    known(
        "MESSAGE_TOO_LARGE",
        Exit::Invalid,
        "use the same release of veilsum here and at the coordinator",
    ),
    known(
        "UNIMPLEMENTED",
        Exit::Invalid,
        "use the same release of veilsum here and at the coordinator",
    ),
    known(
        "OUT_OF_PHASE",
        Exit::Invalid,
        "look where the run stands with `veilsum run show`",
    ),
    known(
        "CONFLICT",
        Exit::Invalid,
        "look where the run stands with `veilsum run show`",
    ),
    known(
        "REQUEST_ID_CONFLICT",
        Exit::Invalid,
        "use a new --request-id for a new run, or submit the first study again",
    ),
    known(
        "RUN_NOT_FOUND",
        Exit::Invalid,
        "`veilsum run list` shows the runs of this coordinator",
    ),
    known(
        "NOT_FOUND",
        Exit::Invalid,
        "`veilsum run show` and `veilsum model list` show what there is",
    ),
    known(
        "SITE_RUNNING",
        Exit::Invalid,
        "stop veilsum-participant at this site, repeat the command, and start it again",
    ),
    known(
        "NOTHING_SPENT",
        Exit::Invalid,
        "start the site again; it takes part in the run without a consent",
    ),
    known("DEMO_SITES", Exit::Invalid, "run the demo with --sites 5"),
    known("DEMO_DROP", Exit::Invalid, "lower --drop, or raise --sites"),
    known(
        "DEMO_DIRECTORY",
        Exit::Invalid,
        "choose another directory with --out",
    ),
    known(
        "DEMO_INTERRUPTED",
        Exit::Failed,
        "run `veilsum demo` again; all processes it had started are gone",
    ),
    known(
        "DEMO_PROCESS_ENDED",
        Exit::Failed,
        "read the end of that process's log",
    ),
    known(
        "COORDINATOR_UNREACHABLE",
        Exit::Unreachable,
        "check --at, that the coordinator runs, and the network between; then repeat",
    ),
    known(
        "STARTING",
        Exit::Unreachable,
        "repeat the command in a moment",
    ),
    known(
        "STOPPING",
        Exit::Unreachable,
        "repeat the command when the coordinator is back",
    ),
    known(
        "STORE_UNAVAILABLE",
        Exit::Unreachable,
        "the coordinator's operator looks at its disk; then repeat",
    ),
    known(
        "STORE_FULL",
        Exit::Unreachable,
        "the coordinator's operator frees space on its disk; then repeat",
    ),
    known(
        "TOO_MANY_CALLS",
        Exit::Unreachable,
        "repeat in a moment; let fewer commands with one certificate run at once",
    ),
    known(
        "NOT_AUTHENTICATED",
        Exit::NotPermitted,
        "present a certificate of this federation with --cert and --key, and its authority with --ca",
    ),
    known(
        "NOT_PERMITTED",
        Exit::NotPermitted,
        "use a certificate that was issued with --role operator",
    ),
    known(
        "BINDING_REFUSED",
        Exit::NotPermitted,
        "issue the site's certificate anew and let it join again",
    ),
    known(
        "NOT_A_MEMBER",
        Exit::NotPermitted,
        "the site joins with the next epoch",
    ),
    known(
        "EPOCH_ROSTER_TOO_SMALL",
        Exit::QuorumLost,
        "start the missing sites, then create the run again",
    ),
    known(
        "EPOCH_ROSTER_UNCONFIRMED",
        Exit::QuorumLost,
        "read at the missing sites which rule refused the roster, then create the run again",
    ),
    known(
        "ROUND_TOO_FEW_ONLINE",
        Exit::QuorumLost,
        "start the missing sites; the run goes on by itself while it is not over",
    ),
    known(
        "ROUND_QUORUM_LOST",
        Exit::QuorumLost,
        "see with `veilsum run show` which sites were missing, help them, create the run again",
    ),
    known("ROUND_RELEASE_LOST", Exit::QuorumLost, PAUSED),
    known("ROUND_ABORT_UNCERTIFIED", Exit::QuorumLost, PAUSED),
    known(
        "DIGEST_MISMATCH",
        Exit::VerificationFailed,
        "do not use the file; tell the coordinator's operator and every site",
    ),
    known(
        "PROTOCOL_VIOLATION",
        Exit::VerificationFailed,
        "do not retry; tell the operators of the coordinator and of the named site",
    ),
    known(
        "FAULT_NOT_PROVED",
        Exit::VerificationFailed,
        "hold it against nobody; ask for the file where it was made, and compare the two",
    ),
    known(
        "FAULT_OTHER_PARTY",
        Exit::VerificationFailed,
        "check what you compare with; anybody can make a run or a key of its own and convict that",
    ),
    known(
        "ROUND_BAD_DEALING",
        Exit::VerificationFailed,
        "the named sites check their release and machine before the next run",
    ),
    known(
        "ROUND_DEALER_CONVICTED",
        Exit::VerificationFailed,
        "find out why the named site sent shares that do not fit; let sites consent and resume the run without it",
    ),
    known(
        "ROUND_BAD_SUM",
        Exit::VerificationFailed,
        "compare the releases of all sites; one of them sent numbers that no honest site sends",
    ),
    known(
        "JOURNAL_DIVERGED",
        Exit::VerificationFailed,
        "the coordinator's operator restores the journal from a backup",
    ),
    known(
        "RUN_CANCELLED",
        Exit::Failed,
        "create the run again if it was cancelled by mistake",
    ),
    known(
        "ROUND_MODEL_NOT_FINITE",
        Exit::Failed,
        "lower the learning rate or secagg.clip and create the run again",
    ),
    known(
        "ROUND_MODEL_UNCHANGED",
        Exit::Failed,
        "use the run's last model; if it has not converged, look at what the trainers write",
    ),
    known("RUN_FAILED", Exit::Failed, "`veilsum run show` says more"),
    known(
        "DAEMON_FAILED",
        Exit::Failed,
        "correct what the message names and start again",
    ),
    known(
        "SYSTEM",
        Exit::Failed,
        "correct what the message names and repeat the command",
    ),
    known(
        POLICY,
        Exit::PolicyRefused,
        "ask that site's operator; only its own site.toml decides",
    ),
    known(
        "CONSENT_WITHHELD",
        Exit::PolicyRefused,
        "start the site again; without a consent it sits out until the next model",
    ),
    known(
        "TRAINER_FAILED",
        Exit::TrainerFailed,
        "read the trainer's message at that site",
    ),
    known(
        "INTERNAL",
        Exit::Internal,
        "this is a bug; report it with the command and the log",
    ),
];

/// What to do about a lost attempt.
const PAUSED: &str = "`veilsum run show` names the missing holders; each site that agrees runs `veilsum participant consent`, \
                      then `veilsum run resume`, or `veilsum run cancel`";

/// What the codes of a site's policy rules begin with.
const POLICY: &str = "SITE_POLICY";

const fn known(code: &'static str, exit: Exit, hint: &'static str) -> Known {
    Known { code, exit, hint }
}

fn look_up(code: &str) -> Option<&'static Known> {
    let code = if code.starts_with(POLICY) {
        POLICY
    } else {
        code
    };
    KNOWN.iter().find(|known| known.code == code)
}

impl Failure {
    /// A failure under one of the [`KNOWN`] code words; under any other, `otherwise` decides.
    fn new(code: &str, otherwise: Exit, message: String) -> Self {
        let known = look_up(code);
        Self {
            code: code.to_owned(),
            exit: known.map_or(otherwise, |known| known.exit),
            message,
            hint: known
                .map_or(
                    "`veilsum --version` here and at the coordinator may differ",
                    |known| known.hint,
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
        | DemoError::Tensors(_) => "INTERNAL",
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
