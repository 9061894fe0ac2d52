//! A safetensors file: its layout, and where each tensor's bytes lie. Only the header is in memory.
//!
//! [`Header`] reads what the format says, within our bounds; what a model may hold of that is decided here.

use std::collections::BTreeMap;
use std::ops::Range;

use super::header::{Bounds, Header, HeaderError};
use super::source::Source;
use super::{Dtype, File, Layout, ModelError, TensorSpec};
use crate::ids::shown;
use crate::limits::{MAX_MODEL_HEADER_BYTES, MAX_TENSORS};

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
        let Header {
            tensors: found,
            mut metadata,
            ..
        } = read_header(source, file)?;
        let mut places = BTreeMap::new();
        let mut tensors = Vec::new();
        for found in found {
            let dtype = dtype(found.dtype).ok_or_else(|| ModelError::Dtype {
                file,
                tensor: shown(&found.name),
                dtype: found.dtype.to_string(),
            })?;
            places.insert(found.name.clone(), found.place);
            tensors.push(TensorSpec {
                name: found.name,
                dtype,
                shape: found.shape,
            });
        }
        Ok(Self {
            layout: Layout::checked(tensors, file)?,
            source,
            places,
            kind: metadata.remove(KIND_KEY),
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

fn read_header(source: &dyn Source, file: File) -> Result<Header, ModelError> {
    let bounds = Bounds {
        header_bytes: MAX_MODEL_HEADER_BYTES,
        tensors: MAX_TENSORS,
    };
    Header::read(source, bounds).map_err(|error| match error {
        HeaderError::TooLong {
            header_bytes,
            limit_bytes,
        } => ModelError::Header {
            file,
            header_bytes,
            limit_bytes,
        },
        HeaderError::Unreadable(source) => ModelError::Unreadable { file, source },
        HeaderError::TooManyTensors { have, limit } => {
            ModelError::TooManyTensors { file, have, limit }
        }
        source => ModelError::Format { file, source },
    })
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

const KIND_KEY: &str = "veilsum.kind";
