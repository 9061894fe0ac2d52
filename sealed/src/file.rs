//! A safetensors file inside an age file: written in one pass, read tensor by tensor.
//!
//! Where it sits: on [`crate::age`] for the bytes, on `common`'s reader of safetensors headers for the names, on [`crate::manifest`] for
//! what a sender vouches for. Inside is a plain safetensors file, so `age -d` gives it to any program that knows the format.
//!
//! Never: a signature as an extra tensor (a strict loader would refuse the file), a chunk sealed twice under one key.

mod head;
mod outline;
mod proof;
mod reader;
mod writer;

use safetensors::Dtype;

pub use outline::Outline;
pub use reader::{Opening, SealedFile, TensorBuf, Verify};
pub use writer::{SealedWriter, Sender};

/// A tensor that is going to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions; empty for a scalar.
    pub shape: Vec<u64>,
}

/// Where manifest and signature stand in `__metadata__`.
pub(crate) const MANIFEST_KEY: &str = "veilsum.manifest";
pub(crate) const SIGNATURE_KEY: &str = "veilsum.sig";

#[cfg(test)]
pub(crate) mod tests;
