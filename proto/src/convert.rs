//! From wire messages to the types that mean something, and back.
//!
//! What reading promises: every length is exact, every key is a canonical point, every set is in its one form, every list is
//! bounded, and everything that must be there is there. What it does not promise: that a signature or a hash fits; that is
//! checked by `secagg` where a message is used. Writing cannot fail.
//!
//! A message with a set over the roster does not say how large the roster is; it is read with that number at hand, see
//! [`OverRoster`].

pub mod epoch;
pub mod fault;
pub mod journal;
pub mod notice;
pub mod round;
pub mod run;

use veilsum_common::ids::RunId;
pub use veilsum_secagg::evidence::Signed;
use veilsum_secagg::keys::{ExchangeKey, Signature, VerifyKey};
use veilsum_secagg::{Bitmap, BitmapError, Digest, Fault};

/// A message that is not what the protocol says, named by the field that is wrong. Always the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("field {field} {problem}")]
pub struct ConvertError {
    /// Its name in the `.proto` file.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It has another length than the one it must have.
    #[error("has {have} bytes, must have {need}")]
    Length {
        /// Bytes found.
        have: usize,
        /// Bytes required.
        need: usize,
    },
    /// It is made of pieces of one size, and its length is no multiple of that.
    #[error("has {have} bytes, must have a multiple of {unit}")]
    Pieces {
        /// Bytes found.
        have: usize,
        /// Bytes of one piece.
        unit: usize,
    },
    /// It has more entries, or bytes, than are ever needed.
    #[error("has {have} {unit}, may have at most {limit}")]
    TooLong {
        /// Found.
        have: usize,
        /// Allowed.
        limit: usize,
        /// What was counted.
        unit: &'static str,
    },
    /// A number is larger than its type.
    #[error("is {have}, may be at most {limit}")]
    TooLarge {
        /// Found.
        have: u64,
        /// Allowed.
        limit: u64,
    },
    /// A set is not one over this roster.
    #[error("is not a set of roster members: {0}")]
    Set(BitmapError),
    /// A key is not a canonical point of large order.
    #[error("is not a key: {0}")]
    Key(Fault),
    /// It belongs to a part of the protocol that this version does not have.
    #[error("must be empty in protocol version 1, has {have} {unit}")]
    NotInVersion1 {
        /// Found.
        have: usize,
        /// What was counted.
        unit: &'static str,
    },
    /// The items of a stream come in another order than the one required.
    #[error("does not stand where it must: one own path first, then keys only")]
    Order,
    /// An entry of a list stands at another place than the one it names.
    #[error("is {have}, must be {need}: entries come in ascending order, without a gap")]
    Place {
        /// The place it names.
        have: u32,
        /// The place it stands at.
        need: usize,
    },
    /// A text is not what it must be.
    #[error("is not {0}")]
    NotA(&'static str),
    /// A number stands for nothing that this version knows.
    #[error(
        "has the value {have}, which this version does not know; do both ends run the same version?"
    )]
    Unknown {
        /// Found.
        have: i32,
    },
    /// It names members of a roster that the reader does not have.
    #[error("names roster members, and no roster is known yet")]
    NoRoster,
    /// The bytes are no message of the kind they must be.
    #[error("cannot be read; it was damaged, or written by another version")]
    Malformed,
}

impl Problem {
    pub(crate) fn of(self, field: &'static str) -> ConvertError {
        ConvertError {
            field,
            problem: self,
        }
    }
}

/// A message that holds a set over the roster.
pub trait OverRoster {
    /// What it means.
    type Value;

    /// Reads it, over a roster of `roster_size` members.
    ///
    /// # Errors
    /// [`ConvertError`] for the first field that is wrong.
    fn over(self, roster_size: u32) -> Result<Self::Value, ConvertError>;
}

/// A run's id, as requests name it.
///
/// # Errors
/// If there are not 16 bytes.
pub fn run_id(bytes: &[u8]) -> Result<RunId, ConvertError> {
    Ok(RunId::from_bytes(array("run_id", bytes)?))
}

/// A hash; `field` names it in the error.
///
/// # Errors
/// If there are not 32 bytes.
pub fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, ConvertError> {
    Ok(Digest(array(field, bytes)?))
}

/// A signature; `field` names it in the error.
///
/// # Errors
/// If there are not 64 bytes.
pub fn signature(field: &'static str, bytes: &[u8]) -> Result<Signature, ConvertError> {
    Ok(Signature(array(field, bytes)?))
}

/// A part of a message that must be there.
///
/// # Errors
/// [`Problem::Missing`] if it is not.
pub fn required<T>(field: &'static str, part: Option<T>) -> Result<T, ConvertError> {
    part.ok_or(Problem::Missing.of(field))
}

fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], ConvertError> {
    bytes.try_into().map_err(|_| {
        Problem::Length {
            have: bytes.len(),
            need: N,
        }
        .of(field)
    })
}

/// A list written as one string of pieces of `N` bytes.
fn pieces<const N: usize>(
    field: &'static str,
    bytes: &[u8],
    limit: usize,
) -> Result<Vec<[u8; N]>, ConvertError> {
    let (pieces, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(Problem::Pieces {
            have: bytes.len(),
            unit: N,
        }
        .of(field));
    }
    at_most(field, pieces.len(), limit, "entries")?;
    Ok(pieces.to_vec())
}

fn at_most(
    field: &'static str,
    have: usize,
    limit: usize,
    unit: &'static str,
) -> Result<(), ConvertError> {
    if have > limit {
        Err(Problem::TooLong { have, limit, unit }.of(field))
    } else {
        Ok(())
    }
}

fn not_in_version_1(
    field: &'static str,
    have: usize,
    unit: &'static str,
) -> Result<(), ConvertError> {
    if have > 0 {
        Err(Problem::NotInVersion1 { have, unit }.of(field))
    } else {
        Ok(())
    }
}

/// A text that a person is shown: bounded, and without what could move a terminal's cursor.
fn plain_text(field: &'static str, text: String, limit: usize) -> Result<String, ConvertError> {
    at_most(field, text.len(), limit, "bytes")?;
    if text.chars().any(char::is_control) {
        Err(Problem::NotA("plain text").of(field))
    } else {
        Ok(text)
    }
}

/// One of the values of an enumeration.
fn chosen<E: TryFrom<i32>>(field: &'static str, have: i32) -> Result<E, ConvertError> {
    E::try_from(have).map_err(|_| Problem::Unknown { have }.of(field))
}

fn verify_key(field: &'static str, bytes: &[u8]) -> Result<VerifyKey, ConvertError> {
    VerifyKey::parse(array(field, bytes)?).map_err(|fault| Problem::Key(fault).of(field))
}

fn exchange_key(field: &'static str, bytes: &[u8]) -> Result<ExchangeKey, ConvertError> {
    ExchangeKey::parse(array(field, bytes)?, field).map_err(|fault| Problem::Key(fault).of(field))
}

fn set(field: &'static str, roster_size: u32, bytes: &[u8]) -> Result<Bitmap, ConvertError> {
    Bitmap::parse(roster_size, bytes).map_err(|error| Problem::Set(error).of(field))
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
