//! Models as tensors with names, shapes and an order; and the flat vector that is averaged.
//!
//! Where it sits: a site turns what its trainer wrote into a flat update here, before quantising; the coordinator turns
//! the next flat vector into the next checkpoint. A checkpoint is a safetensors file; values are read from it range by range, so that
//! neither the file nor the vector need fit in memory.
//!
//! The order of tensors, and so of the flat vector, is that of the data in the *initial* model's file. safetensors does
//! not keep insertion order, and an update's file may have any: tensors are always found by name.
//!
//! What it deliberately does not do: open files (a [`Source`] is given), average, clip.

use serde::{Deserialize, Serialize};
use veilsum_secagg::Digest;

mod checkpoint;
mod error;
mod flat;
mod float;
mod header;
mod next;
mod selection;
mod source;

pub use checkpoint::{Checkpoint, UpdateKind};
pub use error::{File, ModelError};
pub use flat::{Delta, Flat};
pub use header::{Bounds, Header, HeaderError, Placed};
pub use next::Next;
pub use selection::{Selection, glob_matches};
pub use source::{Source, Unread};

use crate::limits::{MAX_ELEMENTS, MAX_RANK, MAX_TENSOR_NAME, MAX_TENSORS};

/// The tensors of a model, in the order of their data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Layout {
    tensors: Vec<TensorSpec>,
}

/// Name, element type and shape of one tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions; empty for a scalar.
    pub shape: Vec<u64>,
}

/// The types of elements a model may have. Others (8-bit floats, complex numbers) are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names of the safetensors format")]
pub enum Dtype {
    F16,
    BF16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Bool,
}

impl Layout {
    /// The layout with these tensors, as it came over the wire.
    ///
    /// # Errors
    /// [`ModelError`] if there are no tensors, two have one name, or one goes beyond a limit.
    pub fn new(tensors: Vec<TensorSpec>) -> Result<Self, ModelError> {
        Self::checked(tensors, File::Model)
    }

    /// The tensors, in the order of their data.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// BLAKE3 of `"veilsum/v1/layout" ‖ 0x00 ‖ LE64(count)`, then for every tensor `LE64(|name|) ‖ name ‖ LE64(|dtype|) ‖
    /// dtype ‖ LE64(rank) ‖ LE64(each dimension)`.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        let number = |hasher: &mut blake3::Hasher, n: u64| {
            hasher.update(&n.to_le_bytes());
        };
        hasher.update(LAYOUT_LABEL);
        number(&mut hasher, self.tensors.len() as u64);
        for TensorSpec { name, dtype, shape } in &self.tensors {
            for text in [name.as_str(), dtype.name()] {
                number(&mut hasher, text.len() as u64);
                hasher.update(text.as_bytes());
            }
            number(&mut hasher, shape.len() as u64);
            shape
                .iter()
                .for_each(|dimension| number(&mut hasher, *dimension));
        }
        Digest(*hasher.finalize().as_bytes())
    }

    fn checked(tensors: Vec<TensorSpec>, file: File) -> Result<Self, ModelError> {
        if tensors.is_empty() {
            return Err(ModelError::Empty { file });
        }
        if tensors.len() > MAX_TENSORS {
            return Err(ModelError::TooManyTensors {
                file,
                have: tensors.len(),
                limit: MAX_TENSORS,
            });
        }
        let mut elements = 0_u64;
        let mut names = std::collections::BTreeSet::new();
        for tensor in &tensors {
            elements = elements.saturating_add(tensor.check()?);
            if !names.insert(tensor.name.as_str()) {
                return Err(ModelError::Twice {
                    file,
                    tensor: tensor.name.clone(),
                });
            }
        }
        if elements > MAX_ELEMENTS {
            return Err(ModelError::TooManyElements {
                file,
                have: elements,
                limit: MAX_ELEMENTS,
            });
        }
        Ok(Self { tensors })
    }
}

impl TensorSpec {
    /// Number of elements: the product of the dimensions, 1 for a scalar.
    pub fn elements(&self) -> u64 {
        self.shape
            .iter()
            .fold(1, |product, dimension| product.saturating_mul(*dimension))
    }

    fn check(&self) -> Result<u64, ModelError> {
        let tensor = || crate::ids::shown(&self.name);
        if self.name.is_empty()
            || self.name.len() > MAX_TENSOR_NAME
            || self.name.contains(char::is_control)
        {
            return Err(ModelError::Name {
                tensor: tensor(),
                limit_bytes: MAX_TENSOR_NAME,
            });
        }
        if self.shape.len() > MAX_RANK {
            return Err(ModelError::Rank {
                tensor: tensor(),
                have: self.shape.len(),
                limit: MAX_RANK,
            });
        }
        // two empty tensors share an offset, so their order in the file would not be defined
        match self.elements() {
            0 => Err(ModelError::NoElements { tensor: tensor() }),
            elements => Ok(elements),
        }
    }
}

impl Dtype {
    /// Its name in safetensors files, studies and assignments.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::I8 => "I8",
            Self::I16 => "I16",
            Self::I32 => "I32",
            Self::I64 => "I64",
            Self::U8 => "U8",
            Self::U16 => "U16",
            Self::U32 => "U32",
            Self::U64 => "U64",
            Self::Bool => "BOOL",
        }
    }

    /// Bytes of one element.
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// Whether elements are floating-point numbers, the only ones that can be averaged.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

const LAYOUT_LABEL: &[u8] = b"veilsum/v1/layout\0";

#[cfg(test)]
mod tests;
