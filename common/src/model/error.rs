//! What can be wrong with a model or an update, whose file it is, and what to do.

use std::fmt;

use super::{Dtype, HeaderError, Unread};

/// Which of the two files of an assignment an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// The global model: the study's author or the coordinator made it.
    Model,
    /// The update: the site's trainer wrote it.
    Update,
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "the model",
            Self::Update => "the update",
        })
    }
}

/// Why a model or an update cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each field is named in its variant's message")]
pub enum ModelError {
    /// Its header is longer than we parse.
    #[error(
        "{file} has a header of {header_bytes} bytes, at most {limit_bytes} are read; is it a safetensors file?"
    )]
    Header {
        file: File,
        header_bytes: u64,
        limit_bytes: u64,
    },
    /// The operating system, or a file that was cut short while it was read.
    #[error("{file} cannot be read: {source}")]
    Unreadable { file: File, source: Unread },
    /// It is not a safetensors file.
    #[error(
        "{file} is not a valid safetensors file: {source}; write it with a safetensors library"
    )]
    Format { file: File, source: HeaderError },
    /// It has no tensors.
    #[error("{file} has no tensors; save the parameters under their names")]
    Empty { file: File },
    /// It has too many tensors.
    #[error("{file} has {have} tensors, at most {limit} are supported; join some of them")]
    TooManyTensors {
        file: File,
        have: usize,
        limit: usize,
    },
    /// It has too many elements.
    #[error(
        "{file} has {have} elements, at most {limit} are supported; train fewer parameters, for example adapters"
    )]
    TooManyElements { file: File, have: u64, limit: u64 },
    /// A name occurs twice.
    #[error("{file} has two tensors named `{tensor}`; give each its own name")]
    Twice { file: File, tensor: String },
    /// A name is empty, too long or holds control characters.
    #[error(
        "the tensor name `{tensor}` is not allowed; use 1 to {limit_bytes} bytes without control characters"
    )]
    Name { tensor: String, limit_bytes: usize },
    /// Too many dimensions.
    #[error("tensor `{tensor}` has {have} dimensions, at most {limit} are supported; reshape it")]
    Rank {
        tensor: String,
        have: usize,
        limit: usize,
    },
    /// A dimension is zero.
    #[error("tensor `{tensor}` has no elements (a dimension is 0); leave it out of the model")]
    NoElements { tensor: String },
    /// A type of element that we do not know.
    #[error(
        "tensor `{tensor}` in {file} has the type {dtype}, which is not supported; convert it to F32, F16 or BF16"
    )]
    Dtype {
        file: File,
        tensor: String,
        dtype: String,
    },
    /// A pattern of `model.aggregate` fits no tensor.
    #[error(
        "`{pattern}` in model.aggregate matches no tensor of the model; check the spelling against its tensor names"
    )]
    Unmatched { pattern: String },
    /// An integer tensor would be averaged.
    #[error(
        "tensor `{tensor}` holds integers ({dtype}), which cannot be averaged; \
         name it under model.keep_global in the study, or convert it to a float"
    )]
    Integer { tensor: String, dtype: Dtype },
    /// Nothing is left to average.
    #[error(
        "no tensor is averaged: model.keep_global takes all that model.aggregate selects; narrow keep_global"
    )]
    NothingSelected,
    /// A tensor of the model is missing.
    #[error(
        "{file} lacks the tensor `{tensor}`; write every averaged tensor under the model's name for it"
    )]
    Missing { file: File, tensor: String },
    /// A tensor that the model does not have.
    #[error(
        "{file} has the tensor `{tensor}`, which the model does not have; write only the model's tensors"
    )]
    Unexpected { file: File, tensor: String },
    /// Another shape than the model's.
    #[error(
        "tensor `{tensor}` in {file} has the shape {have:?}, the model has {need:?}; keep the model's shapes"
    )]
    Shape {
        file: File,
        tensor: String,
        have: Vec<u64>,
        need: Vec<u64>,
    },
    /// Another type than the model's.
    #[error(
        "tensor `{tensor}` in {file} has the type {have}, the model has {need}; convert it before saving"
    )]
    WrongDtype {
        file: File,
        tensor: String,
        have: Dtype,
        need: Dtype,
    },
    /// NaN or an infinity.
    #[error(
        "tensor `{tensor}` in {file} is {value} at index {index}; check for a diverged loss or a division by zero"
    )]
    NotFinite {
        file: File,
        tensor: String,
        index: u64,
        value: f64,
    },
    /// A value or a difference too large for 32 bits.
    #[error(
        "tensor `{tensor}` in {file} is or changes by {value} at index {index}, more than an F32 holds; check for a diverged loss"
    )]
    BeyondF32 {
        file: File,
        tensor: String,
        index: u64,
        value: f64,
    },
    /// A next value that the tensor's type cannot hold.
    #[error(
        "tensor `{tensor}` would become {value} at index {index}, which {dtype} cannot hold; use BF16 or F32, or a smaller clip"
    )]
    Range {
        tensor: String,
        index: u64,
        value: f32,
        dtype: Dtype,
    },
    /// The metadata key `veilsum.kind` holds neither of its values.
    #[error("the update's metadata key `veilsum.kind` is `{found}`; write `weights` or `delta`")]
    Kind { found: String },
    /// The averaged tensors lie in another order than the layout's: our bug, since every version keeps the header of the first.
    #[error(
        "tensor `{tensor}` lies before others in the model file that the layout has before it; this is a bug, please report it"
    )]
    Order { tensor: String },
    /// A flat vector of another length than the selection: our bug.
    #[error(
        "the next vector has {have} elements, the model averages {need}; this is a bug, please report it"
    )]
    Length { have: u64, need: u64 },
}
