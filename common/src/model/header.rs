//! The header of a safetensors file: names, types, shapes and places of its tensors, and its metadata. Nothing of the data is read.
//!
//! Where it sits: [`Checkpoint`](super::Checkpoint) reads models and updates through it, crate `sealed` what is inside a sealed file.
//! The `safetensors` crate checks that the data has no holes and agrees with the shapes. What it leaves open is closed here: a name
//! that stands twice (the crate would silently keep the last one), the header's length before it is read, the file's length.
//!
//! What it deliberately does not do: judge what a model may hold. All types of elements of the format are known here, tensors may be
//! empty, and a file may have none.

use std::collections::BTreeMap;
use std::ops::Range;

use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as NoSuchWord, StrDeserializer};

use super::source::{Source, Unread};
use crate::ids::shown;
use json::{Entry, Object, Pairs};

mod json;

/// What stands before the data of a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The tensors, in the order of their data.
    pub tensors: Vec<Placed>,
    /// The map `__metadata__`; empty if there is none.
    pub metadata: BTreeMap<String, String>,
    /// Where the data begins.
    pub data_start: u64,
}

/// One tensor and where its bytes lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions; empty for a scalar.
    pub shape: Vec<u64>,
    /// Its bytes in the file.
    pub place: Range<u64>,
}

/// Most of what a header may have, since all of it is held in memory.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Length of the header.
    pub header_bytes: u64,
    /// Number of tensors.
    pub tensors: usize,
}

/// Why a header cannot be used: whoever wrote the file is at fault, or whoever changed it since.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// Not even the header's length is there.
    #[error("it has {len_bytes} bytes, too few for a safetensors file")]
    TooShort {
        /// Length of the file.
        len_bytes: u64,
    },
    /// Longer than we parse.
    #[error("its header has {header_bytes} bytes, at most {limit_bytes} are read")]
    TooLong {
        /// What the length word says.
        header_bytes: u64,
        /// The most we read.
        limit_bytes: u64,
    },
    /// The header would end behind the file.
    #[error("its header of {header_bytes} bytes does not fit a file of {len_bytes} bytes")]
    BeyondEnd {
        /// What the length word says.
        header_bytes: u64,
        /// Length of the file.
        len_bytes: u64,
    },
    /// The bytes cannot be had.
    #[error("its header cannot be read: {0}")]
    Unreadable(Unread),
    /// Not the JSON of a header.
    #[error("its header is not valid: {0}")]
    Json(serde_json::Error),
    /// One name, two meanings: which one counts would depend on the reader.
    #[error("its header has the key `{key}` twice")]
    DuplicateKey {
        /// The key, shortened.
        key: String,
    },
    /// More tensors than we keep track of.
    #[error("it has {have} tensors, at most {limit} are read")]
    TooManyTensors {
        /// Tensors found.
        have: usize,
        /// The most we read.
        limit: usize,
    },
    /// A type of elements that the format does not have.
    #[error("the type `{dtype}` of tensor `{tensor}` is not known")]
    Dtype {
        /// The tensor.
        tensor: String,
        /// Its type, shortened.
        dtype: String,
    },
    /// Bytes between two tensors that belong to none, or to both.
    #[error("the data of tensor `{tensor}` does not begin where the one before it ends")]
    Hole {
        /// The tensor behind the hole.
        tensor: String,
    },
    /// Shapes, types and places contradict each other.
    #[error("its tensors do not agree with their places: {0}")]
    Invalid(SafeTensorError),
    /// Bytes are missing, or stand behind the last tensor.
    #[error("it has {have_bytes} bytes, its header speaks of {need_bytes}")]
    Length {
        /// Length of the file.
        have_bytes: u64,
        /// Length that the header says.
        need_bytes: u64,
    },
}

impl Header {
    /// Reads the header of `source`.
    ///
    /// # Errors
    /// [`HeaderError`]. Nothing is allocated for a length that was not compared with `bounds` and with the file's length first.
    pub fn read(source: &dyn Source, bounds: Bounds) -> Result<Self, HeaderError> {
        let len_bytes = source.len_bytes();
        if len_bytes < LENGTH_BYTES {
            return Err(HeaderError::TooShort { len_bytes });
        }
        let mut length = [0; 8];
        let read = source.read_exact_at(&mut length, 0);
        read.map_err(HeaderError::Unreadable)?;
        let header_bytes = bounded(u64::from_le_bytes(length), bounds, len_bytes)?;
        let mut json = vec![0; header_bytes];
        let read = source.read_exact_at(&mut json, LENGTH_BYTES);
        read.map_err(HeaderError::Unreadable)?;
        let (header, need_bytes) = Self::parse(&json, bounds)?;
        if need_bytes != len_bytes {
            return Err(HeaderError::Length {
                have_bytes: len_bytes,
                need_bytes,
            });
        }
        Ok(header)
    }

    /// The header from its JSON, and how long the whole file must be: for one that comes as a stream.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn parse(text: &[u8], bounds: Bounds) -> Result<(Self, u64), HeaderError> {
        let Object {
            mut metadata,
            tensors,
        } = serde_json::from_slice(text).map_err(HeaderError::Json)?;
        if metadata.len() > 1 {
            let key = json::METADATA.to_owned();
            return Err(HeaderError::DuplicateKey { key });
        }
        if tensors.0.len() > bounds.tensors {
            return Err(HeaderError::TooManyTensors {
                have: tensors.0.len(),
                limit: bounds.tensors,
            });
        }
        let data_start = LENGTH_BYTES + text.len() as u64;
        let (tensors, data_bytes) = placed(distinct(tensors)?, data_start)?;
        let header = Self {
            tensors,
            metadata: metadata.pop().map_or(Ok(BTreeMap::new()), distinct)?,
            data_start,
        };
        Ok((header, data_start.saturating_add(data_bytes)))
    }
}

/// A length that fits the file and may be allocated.
fn bounded(header_bytes: u64, bounds: Bounds, len_bytes: u64) -> Result<usize, HeaderError> {
    let limit_bytes = bounds.header_bytes;
    if header_bytes > limit_bytes {
        return Err(HeaderError::TooLong {
            header_bytes,
            limit_bytes,
        });
    }
    if header_bytes > len_bytes - LENGTH_BYTES {
        return Err(HeaderError::BeyondEnd {
            header_bytes,
            len_bytes,
        });
    }
    Ok(usize::try_from(header_bytes).expect("the bound of a header fits an address space"))
}

/// A map in which no key stood twice.
fn distinct<T>(pairs: Pairs<T>) -> Result<BTreeMap<String, T>, HeaderError> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs.0 {
        if map.contains_key(&key) {
            return Err(HeaderError::DuplicateKey { key: shown(&key) });
        }
        map.insert(key, value);
    }
    Ok(map)
}

/// The tensors in the order of their data, and how many bytes all of them have.
fn placed(
    entries: BTreeMap<String, Entry>,
    data_start: u64,
) -> Result<(Vec<Placed>, u64), HeaderError> {
    let infos = entries.into_iter().map(|(name, entry)| {
        let info = info(&name, entry)?;
        Ok((name, info))
    });
    let mut infos = infos.collect::<Result<Vec<_>, _>>()?;
    infos.sort_by_key(|(_, info)| info.data_offsets);
    let metadata = Metadata::new(None, infos.clone()).map_err(|error| match error {
        SafeTensorError::InvalidOffset(tensor) => HeaderError::Hole {
            tensor: shown(&tensor),
        },
        other => HeaderError::Invalid(other),
    })?;
    let tensors = infos.into_iter().map(|(name, info)| {
        let (start, end) = info.data_offsets;
        Placed {
            name,
            dtype: info.dtype,
            shape: info.shape.iter().map(|n| *n as u64).collect(),
            place: data_start.saturating_add(start as u64)..data_start.saturating_add(end as u64),
        }
    });
    Ok((tensors.collect(), metadata.data_len() as u64))
}

fn info(name: &str, entry: Entry) -> Result<TensorInfo, HeaderError> {
    let Entry {
        dtype,
        shape,
        data_offsets,
    } = entry;
    let word: StrDeserializer<'_, NoSuchWord> = dtype.as_str().into_deserializer();
    let known = Dtype::deserialize(word).map_err(|_| HeaderError::Dtype {
        tensor: shown(name),
        dtype: shown(&dtype),
    })?;
    Ok(TensorInfo {
        dtype: known,
        shape,
        data_offsets,
    })
}

/// Bytes of the header's length at the start of a file.
const LENGTH_BYTES: u64 = 8;

#[cfg(test)]
mod tests;
