//! A safetensors file in memory: its layout, and where each tensor's bytes lie.
//!
//! The `safetensors` crate checks that offsets cover the file without holes and agree with shapes. Before it sees a byte
//! of the header, the header's length is bounded; afterwards our own limits are checked.

use std::collections::BTreeMap;
use std::ops::Range;

use safetensors::SafeTensors;
use safetensors::tensor::Metadata;

use super::{Dtype, File, Layout, ModelError, TensorSpec};
use crate::ids::shown;
use crate::limits::MAX_MODEL_HEADER_BYTES;

/// What the tensors of an update hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateKind {
    /// The trained parameters; the update is their difference to the global model.
    Weights,
    /// The difference itself.
    Delta,
}

impl UpdateKind {
    /// Reads the metadata key `veilsum.kind` of an update. Without it the tensors are weights, since that is what a
    /// framework's own save function writes.
    ///
    /// # Errors
    /// [`ModelError`] if the key has another value, or the file is not a safetensors file.
    pub fn read(update: &[u8]) -> Result<Self, ModelError> {
        let (_, metadata) = read_header(update, File::Update)?;
        let kind = metadata
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(KIND_KEY));
        match kind.map(String::as_str) {
            None | Some("weights") => Ok(Self::Weights),
            Some("delta") => Ok(Self::Delta),
            Some(other) => Err(ModelError::Kind {
                found: shown(other),
            }),
        }
    }
}

/// A parsed file. Borrows the bytes; copies nothing but names and shapes.
pub(super) struct Checkpoint<'a> {
    pub(super) layout: Layout,
    bytes: &'a [u8],
    /// By name: index in the layout, and the place of the data in `bytes`.
    places: BTreeMap<String, (usize, Range<usize>)>,
    file: File,
}

impl<'a> Checkpoint<'a> {
    pub(super) fn parse(bytes: &'a [u8], file: File) -> Result<Self, ModelError> {
        let (header_bytes, metadata) = read_header(bytes, file)?;
        let data_start = LENGTH_BYTES + header_bytes;
        let mut places = BTreeMap::new();
        let mut tensors = Vec::new();
        for (index, name) in metadata.offset_keys().into_iter().enumerate() {
            let info = metadata
                .info(&name)
                .expect("offset_keys lists the names of the header");
            let dtype = dtype(info.dtype).ok_or_else(|| ModelError::Dtype {
                file,
                tensor: shown(&name),
                dtype: info.dtype.to_string(),
            })?;
            let shape = info
                .shape
                .iter()
                .map(|dimension| *dimension as u64)
                .collect();
            let (start, end) = info.data_offsets;
            places.insert(name.clone(), (index, data_start + start..data_start + end));
            tensors.push(TensorSpec { name, dtype, shape });
        }
        Ok(Self {
            layout: Layout::checked(tensors, file)?,
            bytes,
            places,
            file,
        })
    }

    /// Parses the global model, which must have exactly `layout`.
    pub(super) fn model(bytes: &'a [u8], layout: &Layout) -> Result<Self, ModelError> {
        let checkpoint = Self::parse(bytes, File::Model)?;
        checkpoint.fits(layout)?;
        match layout
            .tensors
            .iter()
            .find(|tensor| !checkpoint.places.contains_key(&tensor.name))
        {
            Some(tensor) => Err(ModelError::Missing {
                file: File::Model,
                tensor: tensor.name.clone(),
            }),
            None => Ok(checkpoint),
        }
    }

    /// Parses an update: a subset of the tensors of `layout`, each with the model's shape and type.
    pub(super) fn update(bytes: &'a [u8], layout: &Layout) -> Result<Self, ModelError> {
        let checkpoint = Self::parse(bytes, File::Update)?;
        checkpoint.fits(layout)?;
        Ok(checkpoint)
    }

    /// Where the data of the tensor called `name` lies in the file.
    pub(super) fn place(&self, name: &str) -> Result<Range<usize>, ModelError> {
        let missing = || ModelError::Missing {
            file: self.file,
            tensor: name.to_owned(),
        };
        self.places
            .get(name)
            .map(|(_, place)| place.clone())
            .ok_or_else(missing)
    }

    /// The data of the tensor called `name`.
    pub(super) fn data(&self, name: &str) -> Result<&'a [u8], ModelError> {
        Ok(&self.bytes[self.place(name)?])
    }

    /// Every tensor of this file is one of `layout`, with its shape and type.
    fn fits(&self, layout: &Layout) -> Result<(), ModelError> {
        let known: BTreeMap<_, _> = layout
            .tensors
            .iter()
            .map(|t| (t.name.as_str(), t))
            .collect();
        for TensorSpec { name, dtype, shape } in &self.layout.tensors {
            let (file, tensor) = (self.file, name.clone());
            let Some(need) = known.get(name.as_str()) else {
                return Err(ModelError::Unexpected {
                    file,
                    tensor: shown(name),
                });
            };
            if *shape != need.shape {
                return Err(ModelError::Shape {
                    file,
                    tensor,
                    have: shape.clone(),
                    need: need.shape.clone(),
                });
            }
            if *dtype != need.dtype {
                return Err(ModelError::WrongDtype {
                    file,
                    tensor,
                    have: *dtype,
                    need: need.dtype,
                });
            }
        }
        Ok(())
    }
}

/// Bounds the header, then parses it.
fn read_header(bytes: &[u8], file: File) -> Result<(usize, Metadata), ModelError> {
    if let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() {
        let header_bytes = u64::from_le_bytes(*length);
        if header_bytes > MAX_MODEL_HEADER_BYTES {
            return Err(ModelError::Header {
                file,
                header_bytes,
                limit_bytes: MAX_MODEL_HEADER_BYTES,
            });
        }
    }
    SafeTensors::read_metadata(bytes).map_err(|source| ModelError::Format { file, source })
}

fn dtype(dtype: safetensors::Dtype) -> Option<Dtype> {
    Some(match dtype {
        safetensors::Dtype::F16 => Dtype::F16,
        safetensors::Dtype::BF16 => Dtype::BF16,
        safetensors::Dtype::F32 => Dtype::F32,
        safetensors::Dtype::F64 => Dtype::F64,
        safetensors::Dtype::I8 => Dtype::I8,
        safetensors::Dtype::I16 => Dtype::I16,
        safetensors::Dtype::I32 => Dtype::I32,
        safetensors::Dtype::I64 => Dtype::I64,
        safetensors::Dtype::U8 => Dtype::U8,
        safetensors::Dtype::U16 => Dtype::U16,
        safetensors::Dtype::U32 => Dtype::U32,
        safetensors::Dtype::U64 => Dtype::U64,
        safetensors::Dtype::BOOL => Dtype::Bool,
        _ => return None,
    })
}

/// Bytes of the header's length at the start of a file.
const LENGTH_BYTES: usize = 8;
const KIND_KEY: &str = "veilsum.kind";
