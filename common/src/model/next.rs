//! The next checkpoint, written from its first byte to its last while the next values come in.

use super::flat::{Flat, Part};
use super::float::{f32_to_bf16, f32_to_f16};
use super::{Dtype, ModelError, TensorSpec};

/// The checkpoint of a [`Flat`] with its averaged tensors replaced. Header, metadata, order and kept tensors are those of the old one,
/// byte for byte; so equal arguments give equal files.
pub struct Next<'a> {
    flat: Flat<'a>,
    /// The tensor that the next value belongs to.
    part: usize,
    /// How many of its values have come.
    index: u64,
    written_bytes: u64,
    bytes: Vec<u8>,
}

impl<'a> Next<'a> {
    /// Begins the file that follows the checkpoint of `flat`.
    ///
    /// # Errors
    /// [`ModelError::Order`] if its tensors do not lie in the order of the vector.
    pub fn new(flat: Flat<'a>) -> Result<Self, ModelError> {
        let mut end = 0;
        for part in flat.parts() {
            if part.place < end {
                let tensor = part.tensor.name.clone();
                return Err(ModelError::Order { tensor });
            }
            end = part.place;
        }
        Ok(Self {
            flat,
            part: 0,
            index: 0,
            written_bytes: 0,
            bytes: Vec::new(),
        })
    }

    /// The old values, to compute the next ones from.
    pub fn old(&self) -> &Flat<'a> {
        &self.flat
    }

    /// Takes the next values in order and gives `sink` the bytes that follow those it has.
    ///
    /// # Errors
    /// [`ModelError`] if a value is not finite or not within the range of its tensor's type, if there are more of them than the vector
    /// has, or the old file cannot be read; or that of `sink`.
    pub fn push<E: From<ModelError>>(
        &mut self,
        next: &[f32],
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = next;
        while !rest.is_empty() {
            let part = *self.flat.parts().get(self.part).ok_or(ModelError::Length {
                have: self.flat.elements() + rest.len() as u64,
                need: self.flat.elements(),
            })?;
            self.keep(part.place, self.index == 0, &mut sink)?;
            let left = part.tensor.elements() - self.index;
            let count = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
            let (now, later) = rest.split_at(count);
            self.bytes.clear();
            encode(part, self.index, now, &mut self.bytes)?;
            sink(&self.bytes)?;
            self.written_bytes += self.bytes.len() as u64;
            self.index += count as u64;
            if self.index == part.tensor.elements() {
                (self.part, self.index) = (self.part + 1, 0);
            }
            rest = later;
        }
        Ok(())
    }

    /// Gives `sink` what is left of the old file.
    ///
    /// # Errors
    /// [`ModelError::Length`] if values are missing; else as [`Next::push`].
    pub fn finish<E: From<ModelError>>(
        mut self,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(part) = self.flat.parts().get(self.part) {
            return Err(E::from(ModelError::Length {
                have: part.first + self.index,
                need: self.flat.elements(),
            }));
        }
        let len_bytes = self.flat.checkpoint().len_bytes();
        self.keep(len_bytes, true, &mut sink)
    }

    /// The whole file, for a model that fits in memory.
    ///
    /// # Errors
    /// As [`Next::push`] and [`Next::finish`].
    pub fn whole(mut self, next: &[f32]) -> Result<Vec<u8>, ModelError> {
        let mut bytes = Vec::new();
        let mut sink = |some: &[u8]| {
            bytes.extend_from_slice(some);
            Ok::<(), ModelError>(())
        };
        self.push(next, &mut sink)?;
        self.finish(&mut sink).map(|()| bytes)
    }

    /// Copies the old file up to `end`, at the border between two tensors.
    fn keep<E: From<ModelError>>(
        &mut self,
        end: u64,
        border: bool,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while border && self.written_bytes < end {
            let left = usize::try_from(end - self.written_bytes).unwrap_or(usize::MAX);
            self.bytes.resize(left.min(COPY_BYTES), 0);
            let old = self.flat.checkpoint();
            old.read(&mut self.bytes, self.written_bytes)?;
            sink(&self.bytes)?;
            self.written_bytes += self.bytes.len() as u64;
        }
        Ok(())
    }
}

/// Appends values in the tensor's type; `index` is that of the first.
fn encode(part: Part<'_>, index: u64, next: &[f32], out: &mut Vec<u8>) -> Result<(), ModelError> {
    for (index, value) in (index..).zip(next) {
        let fits = value.is_finite().then_some(());
        fits.and_then(|()| put(part.tensor.dtype, *value, out))
            .ok_or_else(|| range(part.tensor, index, *value))?;
    }
    Ok(())
}

/// `None` if the type cannot hold the value.
fn put(dtype: Dtype, value: f32, out: &mut Vec<u8>) -> Option<()> {
    match dtype {
        Dtype::F16 => out.extend(f32_to_f16(value)?.to_le_bytes()),
        Dtype::BF16 => out.extend(f32_to_bf16(value)?.to_le_bytes()),
        Dtype::F32 => out.extend(value.to_le_bytes()),
        Dtype::F64 => out.extend(f64::from(value).to_le_bytes()),
        integer => unreachable!("a selection holds floats only, not {integer}"),
    }
    Some(())
}

fn range(tensor: &TensorSpec, index: u64, value: f32) -> ModelError {
    ModelError::Range {
        tensor: tensor.name.clone(),
        index,
        value,
        dtype: tensor.dtype,
    }
}

/// Bytes of kept tensors that are copied at once.
const COPY_BYTES: usize = 256 * 1024;
