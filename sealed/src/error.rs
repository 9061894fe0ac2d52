//! What can go wrong with a sealed file, by fault: the file's, the keys', the caller's, the machine's.
//!
//! Texts say what happened, whose fault it is and what to do. No key, passphrase or tensor is in any of them.

use std::io;

use veilsum_common::model::{HeaderError, Unread};

use crate::gate::{Action, Unrecorded};

/// Why a sealed file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // --- the file is not what it should be ---
    /// Something else.
    #[error(
        "it is not a sealed file: it does not begin as an age file does (armoured files are not read)"
    )]
    NotSealed,
    /// A format of the future.
    #[error("it is an age file of another version; only v1 is read here")]
    Version,
    /// Malformed.
    #[error("its age header is damaged: {0}; ask the sender for the file again")]
    AgeHeader(&'static str),
    /// Longer than we read.
    #[error("its age header is longer than {limit_bytes} bytes; it was not made for use here")]
    AgeHeaderTooLong {
        /// The most we read.
        limit_bytes: u64,
    },
    /// The MAC does not fit: stanzas were added, taken out or changed.
    #[error("its age header was changed since it was written; ask the sender for the file again")]
    AgeHeaderChanged,
    /// A recipient's part of the header is malformed.
    #[error("a recipient of kind {kind} in its age header is malformed: {what}")]
    Stanza {
        /// The kind.
        kind: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A passphrase that would take more memory than we give.
    #[error(
        "its passphrase was stretched with more work than 2^{limit}, the most that is done here"
    )]
    WorkFactor {
        /// Binary logarithm of the most.
        limit: u8,
    },
    /// The end is missing.
    #[error(
        "it is cut: {file_bytes} bytes are there and the end is not among them; fetch the file again"
    )]
    Truncated {
        /// Length of what is there.
        file_bytes: u64,
    },
    /// A chunk was changed, or stands at the wrong place.
    #[error("its chunk {index} was changed or moved since it was written; fetch the file again")]
    ChunkRejected {
        /// Number of the chunk, from 0.
        index: u64,
    },
    /// More than the caller wants in memory.
    #[error("it holds {len_bytes} bytes, at most {limit_bytes} are read here")]
    TooLong {
        /// Length of the plaintext.
        len_bytes: u64,
        /// The most that is read.
        limit_bytes: u64,
    },
    /// The header of the safetensors file is longer than we read.
    #[error(
        "the header of the safetensors file inside has {header_bytes} bytes, at most {limit_bytes} are read"
    )]
    HeaderTooLarge {
        /// What its length word says.
        header_bytes: u64,
        /// The most we read.
        limit_bytes: u64,
    },
    /// Two meanings of one name.
    #[error(
        "the safetensors file inside has the key `{key}` twice, so its readers may disagree; the sender must write it anew"
    )]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// Bytes that belong to no tensor, or to two.
    #[error(
        "the data of tensor `{tensor}` does not begin where the one before it ends; the sender must write the file anew"
    )]
    Hole {
        /// The tensor.
        tensor: String,
    },
    /// The header speaks of other bytes than there are.
    #[error(
        "the safetensors file inside has {have_bytes} bytes, its header speaks of {need_bytes}"
    )]
    LengthMismatch {
        /// Length of the plaintext.
        have_bytes: u64,
        /// Length that the header says.
        need_bytes: u64,
    },
    /// A type of the future.
    #[error("the type `{dtype}` of tensor `{tensor}` is not known; a newer program may read it")]
    DtypeUnknown {
        /// The tensor.
        tensor: String,
        /// The type.
        dtype: String,
    },
    /// Anything else about that header.
    #[error("what is inside is no valid safetensors file: {0}")]
    HeaderInvalid(HeaderError),

    // --- what it says of itself is not true, or not enough ---
    /// Nobody vouches for it.
    #[error(
        "it is not signed, so anybody who knew a recipient can have made it; have it signed, or say that this does not matter"
    )]
    ManifestMissing,
    /// A manifest of another form.
    #[error("its manifest is not valid: {0}; ask the sender for the file again")]
    ManifestInvalid(&'static str),
    /// Contents are not what was signed.
    #[error("`{what}` is not what the sender signed: somebody who could read the file changed it")]
    ManifestMismatch {
        /// A tensor, or the metadata.
        what: String,
    },
    /// Forged or damaged.
    #[error("a signature in it is not valid; do not use the file")]
    SignatureInvalid,
    /// A valid signature of somebody unknown.
    #[error(
        "the signature for `{sender}` is by a key that is not trusted for it; if it should be, add it to the list of signers"
    )]
    SignerUntrusted {
        /// The sender, or who gave a grant.
        sender: String,
    },
    /// Passed on without leave.
    #[error("the sender made it for others and no grant names reader {reader}; ask for a grant")]
    AudienceMismatch {
        /// Fingerprint of the identity that opened it.
        reader: String,
    },
    /// Made for something else.
    #[error("it is for the purpose `{found}`, not for the one that was asked for")]
    PurposeMismatch {
        /// What it is for.
        found: String,
    },
    /// A grant that is none.
    #[error("a grant in it is damaged; ask whoever gave it for the file again")]
    GrantInvalid,
    /// Leave that has run out.
    #[error(
        "the grant for this reader expired {expires_ms} ms after 1970 began; ask for a new one"
    )]
    GrantExpired {
        /// When.
        expires_ms: u64,
    },

    // --- keys and recipients ---
    /// No identity fits.
    #[error("none of these identities can open it; ask the sender to add yours as a recipient")]
    NotARecipient,
    /// The file's lock would be as weak as its weakest key.
    #[error(
        "a passphrase stands alone, and post-quantum recipients are not joined by others; use one kind"
    )]
    MixedRecipients,
    /// For nobody.
    #[error("there are no recipients; name at least one")]
    NoRecipients,
    /// No entry of that name, and no key either.
    #[error("there is no recipient `{name}` in the registry{}; add it to recipients.toml, or write out a key", meant(suggestion.as_deref()))]
    UnknownRecipient {
        /// What was asked for.
        name: String,
        /// The entry it looks like.
        suggestion: Option<String>,
    },
    /// Too many.
    #[error("there are more than {limit} recipients; make several files")]
    TooManyRecipients {
        /// The most.
        limit: usize,
    },
    /// A key that is none. The text never holds a part of it.
    #[error("{0}")]
    Key(&'static str),
    /// A private key under a passphrase of its own.
    #[error(
        "the private key has a passphrase of its own; decrypt a copy with `ssh-keygen -p`, or use an age identity"
    )]
    KeyEncrypted,
    /// A list of signers that we do not understand in full.
    #[error("line {line} of the list of signers: {what}")]
    Signers {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },

    // --- the caller ---
    /// A tensor as declared or given.
    #[error("tensor `{tensor}`: {what}")]
    Declared {
        /// Its name.
        tensor: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Too many.
    #[error("there are {have} tensors, at most {limit} are supported; make several files")]
    TooManyTensors {
        /// Tensors declared.
        have: usize,
        /// The most.
        limit: usize,
    },
    /// Not the declared number of bytes.
    #[error(
        "the data of tensor `{tensor}` does not have the {need_bytes} bytes that its shape says"
    )]
    DataLength {
        /// Its name.
        tensor: String,
        /// What its shape and type say.
        need_bytes: u64,
    },
    /// Names and metadata that take more than readers accept.
    #[error(
        "names, metadata and manifest take {header_bytes} bytes, readers accept {limit_bytes}; make several files"
    )]
    SealedHeaderTooLong {
        /// Length of the header.
        header_bytes: u64,
        /// The most.
        limit_bytes: u64,
    },
    /// A key of ours in the caller's metadata.
    #[error("the metadata key `{key}` is written by the sealing itself; take it out")]
    ReservedKey {
        /// The key.
        key: &'static str,
    },
    /// A sender or purpose that a list could not hold.
    #[error(
        "the {what} must have 1 to {limit_bytes} bytes, without control characters; a sender also without spaces and `,*?!\"#`"
    )]
    Name {
        /// Which.
        what: &'static str,
        /// The most bytes.
        limit_bytes: usize,
    },
    /// No tensor of that name.
    #[error("it has no tensor `{name}`; `veilsum tensor inspect` lists them")]
    NoTensor {
        /// The name.
        name: String,
    },
    /// Rows that are not there.
    #[error(
        "rows {start} to {end} were asked for, the tensor has {have}, or they are no whole bytes"
    )]
    Rows {
        /// First row.
        start: u64,
        /// Row behind the last.
        end: u64,
        /// Rows of the tensor.
        have: u64,
    },
    /// The gate said no.
    #[error("policy does not permit to {} this file with these identities", action.as_str())]
    Denied {
        /// What was asked.
        action: Action,
    },

    // --- the machine ---
    /// The access log failed: what cannot be recorded is not done.
    #[error("nothing was done, since it could not be recorded: {0}")]
    NotRecorded(Unrecorded),
    /// The sealed file cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(Unread),
    /// What is to be sealed cannot be read.
    #[error("the tensors' data cannot be read: {0}")]
    SourceUnread(io::Error),
    /// The sealed file cannot be written.
    #[error("the sealed file cannot be written: {0}")]
    Unwritten(io::Error),
}

impl From<HeaderError> for Error {
    /// A source that is a payload has its own error inside.
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Unreadable(unread) => match unread.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::Unreadable(other),
            },
            HeaderError::TooLong {
                header_bytes,
                limit_bytes,
            } => Self::HeaderTooLarge {
                header_bytes,
                limit_bytes,
            },
            HeaderError::DuplicateKey { key } => Self::DuplicateKey { key },
            HeaderError::Hole { tensor } => Self::Hole { tensor },
            HeaderError::Length {
                have_bytes,
                need_bytes,
            } => Self::LengthMismatch {
                have_bytes,
                need_bytes,
            },
            HeaderError::Dtype { tensor, dtype } => Self::DtypeUnknown { tensor, dtype },
            other @ (HeaderError::TooShort { .. }
            | HeaderError::BeyondEnd { .. }
            | HeaderError::Json(_)
            | HeaderError::TooManyTensors { .. }
            | HeaderError::Invalid(_)) => Self::HeaderInvalid(other),
        }
    }
}

fn meant(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}
