//! Code words of sealed files: whose fault an error is decides. Exhaustive, so that a new error must find its word.

use serde_json::{Value, json};
use veilsum_sealed::Error;

pub(super) fn code(error: &Error) -> &'static str {
    match error {
        Error::NotSealed
        | Error::Version
        | Error::AgeHeader(_)
        | Error::AgeHeaderTooLong { .. }
        | Error::Stanza { .. }
        | Error::WorkFactor { .. }
        | Error::TooLong { .. }
        | Error::HeaderTooLarge { .. }
        | Error::DuplicateKey { .. }
        | Error::Hole { .. }
        | Error::LengthMismatch { .. }
        | Error::DtypeUnknown { .. }
        | Error::HeaderInvalid(_) => "SEALED_FILE_INVALID",
        Error::AgeHeaderChanged
        | Error::Truncated { .. }
        | Error::ChunkRejected { .. }
        | Error::ManifestInvalid(_)
        | Error::ManifestMismatch { .. }
        | Error::SignatureInvalid
        | Error::GrantInvalid => "SEALED_FILE_CHANGED",
        Error::ManifestMissing
        | Error::SignerUntrusted { .. }
        | Error::AudienceMismatch { .. }
        | Error::PurposeMismatch { .. }
        | Error::GrantExpired { .. } => "SENDER_NOT_PROVED",
        Error::NotARecipient => "NOT_A_RECIPIENT",
        Error::Denied { .. } => "ACCESS_DENIED",
        Error::NotRecorded(_) => "ACCESS_NOT_RECORDED",
        Error::MixedRecipients
        | Error::NoRecipients
        | Error::UnknownRecipient { .. }
        | Error::TooManyRecipients { .. }
        | Error::Key(_)
        | Error::KeyEncrypted
        | Error::Signers { .. }
        | Error::Declared { .. }
        | Error::TooManyTensors { .. }
        | Error::DataLength { .. }
        | Error::SealedHeaderTooLong { .. }
        | Error::ReservedKey { .. }
        | Error::Name { .. }
        | Error::NoTensor { .. }
        | Error::Rows { .. } => "SEALED_INPUT_INVALID",
        Error::Unreadable(_) | Error::SourceUnread(_) | Error::Unwritten(_) => "FILE_INVALID",
    }
}

/// What a program may want to know of it.
pub(super) fn details(error: &Error) -> Value {
    match error {
        Error::ChunkRejected { index } => json!({"chunk": index}),
        Error::ManifestMismatch { what } => json!({"what": what}),
        Error::DuplicateKey { key } => json!({"key": key}),
        Error::SignerUntrusted { sender } => json!({"sender": sender}),
        Error::AudienceMismatch { reader } => json!({"reader": reader}),
        Error::PurposeMismatch { found } => json!({"purpose": found}),
        _ => Value::Null,
    }
}
