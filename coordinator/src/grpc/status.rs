//! The one map from errors to gRPC status. No status is built anywhere else.
//!
//! | error | code | reason |
//! |---|---|---|
//! | no certificate, an expired one, unusable identity | UNAUTHENTICATED | NOT_AUTHENTICATED |
//! | another role than the call needs | PERMISSION_DENIED | NOT_PERMITTED |
//! | a message that is not what the protocol says | INVALID_ARGUMENT | INVALID_MESSAGE |
//! | another message under the same name | ALREADY_EXISTS | CONFLICT |
//! | too late, too early, stale | FAILED_PRECONDITION | OUT_OF_PHASE |
//! | unknown run, attempt, model | NOT_FOUND | NOT_FOUND |
//! | a protocol check failed | INVALID_ARGUMENT | PROTOCOL_VIOLATION |
//! | the store cannot write now | UNAVAILABLE | STORE_UNAVAILABLE |
//! | a run that is being brought back, or a coordinator that stops | UNAVAILABLE | STARTING, STOPPING |
//! | more than there is room for now, a full disk | RESOURCE_EXHAUSTED | TOO_MANY_CALLS, STORE_FULL |
//! | as many runs as there may be | RESOURCE_EXHAUSTED | TOO_MANY_RUNS |
//! | a run that is damaged | UNAVAILABLE | RUN_DAMAGED |
//! | an upload or download makes room for those that wait | RESOURCE_EXHAUSTED | TRANSFER_PUT_OFF |
//! | a newer upload took the place of this one; it was silent too long | ABORTED, DEADLINE_EXCEEDED | UPLOAD_REPLACED, UPLOAD_STALLED |
//! | a message over its method's limit | OUT_OF_RANGE | MESSAGE_TOO_LARGE |
//! | no such method, or a compression | UNIMPLEMENTED | UNIMPLEMENTED |
//!
//! The reason travels in `google.rpc.ErrorInfo`, the name of a field that is wrong in `BadRequest`, and when to ask again in `RetryInfo`.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use veilsum_common::ids::RunId;
use veilsum_common::limits::RETRY_AFTER_MS;
use veilsum_daemon::identity::{IdentityError, PeerIdentity, Role};
use veilsum_engine::rejection::Rejection;
use veilsum_proto::convert::ConvertError;

use crate::driver::Refused;
use crate::store::Error as StoreError;
use crate::store::blobs::Error as BlobError;
use crate::transfer::{NoTurn, PutOff, UploadError};

/// Domain of the reasons in `ErrorInfo`.
pub const DOMAIN: &str = "veilsum";

fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

/// A status that says when to ask again.
fn later(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    details.set_retry_info(Some(Duration::from_millis(RETRY_AFTER_MS)));
    Status::with_error_details(code, message, details)
}

/// What tonic says of a request that does not come in whole, with the reason that it leaves out.
pub(super) fn broken(bare: Status) -> Status {
    let message = bare.message();
    match bare.code() {
        Code::OutOfRange => status(Code::OutOfRange, "MESSAGE_TOO_LARGE", message),
        Code::Unimplemented => status(Code::Unimplemented, "UNIMPLEMENTED", message),
        Code::NotFound => status(Code::NotFound, "NOT_FOUND", message),
        _ => status(Code::InvalidArgument, "INVALID_MESSAGE", message),
    }
}

pub(super) fn no_certificate() -> Status {
    let message = "no client certificate; present the one that `veilsum ca issue` made";
    status(Code::Unauthenticated, "NOT_AUTHENTICATED", message)
}

pub(super) fn expired() -> Status {
    let message = "the certificate of this connection has expired; connect again with a new one, which `veilsum ca issue` makes";
    status(Code::Unauthenticated, "NOT_AUTHENTICATED", message)
}

pub(super) fn bad_identity(error: &IdentityError) -> Status {
    status(
        Code::Unauthenticated,
        "NOT_AUTHENTICATED",
        error.to_string(),
    )
}

pub(super) fn wrong_role(identity: &PeerIdentity, needed: Role) -> Status {
    let (name, role) = (&identity.name, identity.role.as_str());
    let message = format!(
        "the certificate of {name} has the role {role}, this call needs {}; issue one with --role {}",
        needed.as_str(),
        needed.as_str()
    );
    status(Code::PermissionDenied, "NOT_PERMITTED", message)
}

pub(super) fn binding(error: &impl std::fmt::Display) -> Status {
    let message = format!("the advertisement's binding is refused: {error}");
    status(Code::PermissionDenied, "BINDING_REFUSED", message)
}

pub(super) fn no_such_run(id: RunId) -> Status {
    status(
        Code::NotFound,
        "RUN_NOT_FOUND",
        format!("there is no run {id}; `veilsum run list` shows all"),
    )
}

pub(super) fn not_paused(id: RunId) -> Status {
    let message =
        format!("run {id} is not paused, so there is nothing to resume; `veilsum run show {id}`");
    status(Code::FailedPrecondition, "OUT_OF_PHASE", message)
}

pub(super) fn not_found(what: &'static str) -> Status {
    status(
        Code::NotFound,
        "NOT_FOUND",
        format!("there is no such {what}"),
    )
}

pub(super) fn invalid(error: &impl std::fmt::Display) -> Status {
    status(Code::InvalidArgument, "INVALID_MESSAGE", error.to_string())
}

pub(super) fn invalid_study(error: &impl std::fmt::Display) -> Status {
    status(Code::InvalidArgument, "STUDY_INVALID", error.to_string())
}

pub(super) fn request_id_conflict() -> Status {
    let message =
        "this request id was used for another study or model; choose a new one for a new run";
    status(Code::AlreadyExists, "REQUEST_ID_CONFLICT", message)
}

pub(super) fn starting() -> Status {
    status(
        Code::Unavailable,
        "STARTING",
        "the coordinator is bringing the run back; ask again",
    )
}

pub(super) fn stopping() -> Status {
    status(
        Code::Unavailable,
        "STOPPING",
        "the coordinator is stopping; ask again",
    )
}

pub(super) fn internal(what: &'static str) -> Status {
    status(Code::Internal, "INTERNAL", what)
}

pub(super) fn store(error: &StoreError) -> Status {
    status(Code::Unavailable, "STORE_UNAVAILABLE", error.to_string())
}

/// Names the field for programs, too.
pub(super) fn convert(error: ConvertError) -> Status {
    let mut details = ErrorDetails::with_error_info("INVALID_MESSAGE", DOMAIN, HashMap::new());
    details.add_bad_request_violation(error.field, error.problem.to_string());
    Status::with_error_details(Code::InvalidArgument, error.to_string(), details)
}

/// Why stored bytes cannot be written or read. What the operating system said is for the coordinator's own log.
pub(super) fn blob(error: &BlobError) -> Status {
    tracing::error!(%error, "a blob could not be written or read");
    if error.is_full() {
        let message =
            "the coordinator's disk is full; its operator frees space, then send it again";
        return later(Code::ResourceExhausted, "STORE_FULL", message);
    }
    let message = "the coordinator cannot write or read its disk now; its log says more";
    status(Code::Unavailable, "STORE_UNAVAILABLE", message)
}

pub(super) fn upload(error: &UploadError) -> Status {
    match error {
        UploadError::Store(error) => blob(error),
        UploadError::NoPart { .. }
        | UploadError::Known { .. }
        | UploadError::Offset { .. }
        | UploadError::TooLong { .. }
        | UploadError::Damaged { .. }
        | UploadError::Piece { .. }
        | UploadError::Empty { .. }
        | UploadError::Missing { .. }
        | UploadError::Packing(_) => {
            status(Code::InvalidArgument, "UPLOAD_INVALID", error.to_string())
        }
    }
}

pub(super) fn no_turn(error: &NoTurn) -> Status {
    match error {
        NoTurn::Replaced => status(Code::Aborted, "UPLOAD_REPLACED", error.to_string()),
        NoTurn::Full { .. } => later(Code::ResourceExhausted, "TOO_MANY_CALLS", error.to_string()),
    }
}

pub(super) fn put_off(error: PutOff) -> Status {
    later(
        Code::ResourceExhausted,
        "TRANSFER_PUT_OFF",
        error.to_string(),
    )
}

pub(super) fn too_many_calls(limit: usize) -> Status {
    let message = format!(
        "{limit} calls with this certificate are under way, and no more are taken at once; ask again in a moment"
    );
    later(Code::ResourceExhausted, "TOO_MANY_CALLS", message)
}

pub(super) fn too_many_submissions() -> Status {
    let message = "other studies are being submitted just now; submit this one in a moment";
    later(Code::ResourceExhausted, "TOO_MANY_CALLS", message)
}

pub(super) fn too_many_runs(limit: usize) -> Status {
    let message = format!("{limit} runs are going on, the most one coordinator has at once");
    later(Code::ResourceExhausted, "TOO_MANY_RUNS", message)
}

/// The word for a run whose files do not fit.
pub(super) const RUN_DAMAGED: &str = "RUN_DAMAGED";

/// What is wrong with it, and what helps.
pub(super) fn damage(what: &str) -> String {
    format!("{what}; restore the data directory from a backup, then start the coordinator again")
}

pub(super) fn run_damaged(id: RunId, what: &str) -> Status {
    let message = format!("run {id} cannot be brought back: {}", damage(what));
    status(Code::Unavailable, RUN_DAMAGED, message)
}

pub(super) fn stalled(limit: Duration) -> Status {
    let message = format!(
        "nothing more came for {} s; send it again",
        limit.as_secs_f32()
    );
    status(Code::DeadlineExceeded, "UPLOAD_STALLED", message)
}

/// A refused event; a repeated one is not an error and must have been answered before.
pub(super) fn rejection(rejection: &Rejection) -> Status {
    let message = rejection.to_string();
    match rejection {
        Rejection::Repeated | Rejection::Conflict(_) => {
            status(Code::AlreadyExists, "CONFLICT", message)
        }
        Rejection::OutOfPhase { .. }
        | Rejection::Stale { .. }
        | Rejection::RetryUnproven { .. }
        | Rejection::RoundLost { .. }
        | Rejection::Spent { .. }
        | Rejection::Unchanged { .. }
        | Rejection::NothingSpent
        | Rejection::Deadline { .. } => status(Code::FailedPrecondition, "OUT_OF_PHASE", message),
        Rejection::Elsewhere(_) => status(Code::NotFound, "NOT_FOUND", message),
        Rejection::NotAMember(_) => status(Code::PermissionDenied, "NOT_A_MEMBER", message),
        Rejection::Policy(refusal) => status(Code::FailedPrecondition, refusal.code(), message),
        Rejection::Protocol(_) => status(Code::InvalidArgument, "PROTOCOL_VIOLATION", message),
    }
}

/// The answer to an event that was handed in: what was accepted before is accepted again.
pub(super) fn answer(result: Result<(), Refused>) -> Result<(), Status> {
    match result {
        Ok(()) | Err(Refused::Rejected(Rejection::Repeated)) => Ok(()),
        Err(Refused::Rejected(rejected)) => Err(rejection(&rejected)),
        Err(Refused::Store(error)) => Err(store(&error)),
        Err(Refused::Stopping) => Err(stopping()),
    }
}
