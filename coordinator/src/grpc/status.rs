//! The one map from errors to gRPC status. No status is built anywhere else.
//!
//! | error | code | reason |
//! |---|---|---|
//! | no certificate, unusable identity | UNAUTHENTICATED | NOT_AUTHENTICATED |
//! | another role than the call needs | PERMISSION_DENIED | NOT_PERMITTED |
//! | a message that is not what the protocol says | INVALID_ARGUMENT | INVALID_MESSAGE |
//! | another message under the same name | ALREADY_EXISTS | CONFLICT |
//! | too late, too early, stale | FAILED_PRECONDITION | OUT_OF_PHASE |
//! | unknown run, attempt, model | NOT_FOUND | NOT_FOUND |
//! | a protocol check failed | INVALID_ARGUMENT | PROTOCOL_VIOLATION |
//! | the store cannot write now | UNAVAILABLE | STORE_UNAVAILABLE |
//! | a run that is being brought back, or a coordinator that stops | UNAVAILABLE | STARTING, STOPPING |
//!
//! The reason travels in `google.rpc.ErrorInfo`.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use veilsum_common::ids::RunId;
use veilsum_daemon::identity::{IdentityError, PeerIdentity, Role};
use veilsum_engine::rejection::Rejection;
use veilsum_proto::convert::ConvertError;

use crate::driver::Refused;
use crate::store::Error as StoreError;
use crate::transfer::UploadError;

/// Domain of the reasons in `ErrorInfo`.
pub const DOMAIN: &str = "veilsum";

fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

pub(super) fn no_certificate() -> Status {
    let message = "no client certificate; present the one that `veilsum ca issue` made";
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

pub(super) fn convert(error: ConvertError) -> Status {
    invalid(&error)
}

pub(super) fn upload(error: &UploadError) -> Status {
    match error {
        UploadError::Store(error) => {
            status(Code::Unavailable, "STORE_UNAVAILABLE", error.to_string())
        }
        UploadError::Offset { .. }
        | UploadError::TooLong { .. }
        | UploadError::TooShort { .. }
        | UploadError::Damaged { .. }
        | UploadError::Piece { .. }
        | UploadError::Packing(_) => {
            status(Code::InvalidArgument, "UPLOAD_INVALID", error.to_string())
        }
    }
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
