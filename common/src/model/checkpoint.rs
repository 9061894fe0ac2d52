//! A safetensors file: its layout, and where each tensor's bytes lie. Only the header is in memory.
//!
//! The `safetensors` crate checks that offsets have no holes and agree with shapes. Before it sees a byte of the header, the header's
//! length is bounded; afterwards the file's length and our own limits are checked.

use std::collections::BTreeMap;
use std::ops::Range;

use safetensors::SafeTensorError;
use safetensors::tensor::Metadata;

use super::source::Source;
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

/// A safetensors file whose header has been read.
pub struct Checkpoint<'a> {
    layout: Layout,
    source: &'a dyn Source,
    /// By name: the place of the data in the file.
    places: BTreeMap<String, Range<u64>>,
    kind: Option<String>,
    file: File,
}

impl<'a> Checkpoint<'a> {
    /// Reads the header of `source`.
    ///
    /// # Errors
    /// [`ModelError`] if it is not a safetensors file, has no tensors or goes beyond a limit.
    pub fn open(source: &'a dyn Source, file: File) -> Result<Self, ModelError> {
        let (data_start, metadata) = read_header(source, file)?;
        let mut places = BTreeMap::new();
        let mut tensors = Vec::new();
        for name in metadata.offset_keys() {
            let info = metadata
                .info(&name)
                .expect("offset_keys lists the names of the header");
            let dtype = dtype(info.dtype).ok_or_else(|| ModelError::Dtype {
                file,
                tensor: shown(&name),
                dtype: info.dtype.to_string(),
            })?;
            let shape = info.shape.iter().map(|dimension| *dimension as u64);
            let shape = shape.collect();
            let (start, end) = info.data_offsets;
            let place = data_start + start as u64..data_start + end as u64;
            places.insert(name.clone(), place);
            tensors.push(TensorSpec { name, dtype, shape });
        }
        let kind = metadata.metadata().as_ref();
        Ok(Self {
            layout: Layout::checked(tensors, file)?,
            source,
            places,
            kind: kind.and_then(|entries| entries.get(KIND_KEY)).cloned(),
            file,
        })
    }

    /// Parses the global model, which must have exactly `layout`.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; or a tensor is missing, unexpected, of another shape or type.
    pub fn model(source: &'a dyn Source, layout: &Layout) -> Result<Self, ModelError> {
        let checkpoint = Self::open(source, File::Model)?;
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
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; or a tensor is unexpected, of another shape or type.
    pub fn update(source: &'a dyn Source, layout: &Layout) -> Result<Self, ModelError> {
        let checkpoint = Self::open(source, File::Update)?;
        checkpoint.fits(layout)?;
        Ok(checkpoint)
    }

    /// Its tensors, in the order of their data.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What its tensors hold, by the metadata key `veilsum.kind`. Without it they are weights, since that is what a framework's own save
    /// function writes.
    ///
    /// # Errors
    /// [`ModelError::Kind`] if the key has another value.
    pub fn kind(&self) -> Result<UpdateKind, ModelError> {
        match self.kind.as_deref() {
            None | Some("weights") => Ok(UpdateKind::Weights),
            Some("delta") => Ok(UpdateKind::Delta),
            Some(other) => Err(ModelError::Kind {
                found: shown(other),
            }),
        }
    }

    /// Whose file it is.
    pub(super) fn file(&self) -> File {
        self.file
    }

    /// How long the file is.
    pub(super) fn len_bytes(&self) -> u64 {
        self.source.len_bytes()
    }

    /// Where the data of the tensor called `name` lies in the file.
    pub(super) fn place(&self, name: &str) -> Result<Range<u64>, ModelError> {
        let missing = || ModelError::Missing {
            file: self.file,
            tensor: name.to_owned(),
        };
        self.places.get(name).cloned().ok_or_else(missing)
    }

    /// Fills `out` with the file's bytes from `offset` on.
    pub(super) fn read(&self, out: &mut [u8], offset: u64) -> Result<(), ModelError> {
        read(self.source, self.file, out, offset)
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

/// Bounds the header, then parses it; with it, where the data begins.
fn read_header(source: &dyn Source, file: File) -> Result<(u64, Metadata), ModelError> {
    let format = |source| ModelError::Format { file, source };
    let len_bytes = source.len_bytes();
    if len_bytes < LENGTH_BYTES {
        return Err(format(SafeTensorError::HeaderTooSmall));
    }
    let mut length = [0; 8];
    read(source, file, &mut length, 0)?;
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > MAX_MODEL_HEADER_BYTES {
        return Err(ModelError::Header {
            file,
            header_bytes,
            limit_bytes: MAX_MODEL_HEADER_BYTES,
        });
    }
    let data_start = LENGTH_BYTES + header_bytes;
    if data_start > len_bytes {
        return Err(format(SafeTensorError::InvalidHeaderLength));
    }
    let bounded = usize::try_from(header_bytes).expect("a few MiB fit in memory");
    let mut header = vec![0; bounded];
    read(source, file, &mut header, LENGTH_BYTES)?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| format(SafeTensorError::InvalidHeaderDeserialization(error)))?;
    if data_start.checked_add(metadata.data_len() as u64) != Some(len_bytes) {
        return Err(format(SafeTensorError::MetadataIncompleteBuffer));
    }
    Ok((data_start, metadata))
}

fn read(source: &dyn Source, file: File, out: &mut [u8], offset: u64) -> Result<(), ModelError> {
    let read = source.read_exact_at(out, offset);
    read.map_err(|source| ModelError::Unreadable { file, source })
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
const LENGTH_BYTES: u64 = 8;
const KIND_KEY: &str = "veilsum.kind";
