//! The flat f32 vector of the averaged tensors, read from checkpoints range by range.
//!
//! F16 and BF16 are widened, F64 is narrowed to f32. Differences are taken in binary64 and rounded once, so a delta of
//! any type is the nearest f32. A number that is not finite never gets through. Memory is one block, whatever the model's size.

use super::checkpoint::Checkpoint;
use super::float::{bf16_to_f32, f16_to_f32, f64_to_f32};
use super::{Dtype, File, Layout, ModelError, Selection, TensorSpec, UpdateKind};

impl Checkpoint<'_> {
    /// Checks that every float of the file is finite, whether it is averaged or not.
    ///
    /// # Errors
    /// [`ModelError`] names the tensor, the index and the value.
    pub fn check_finite(&self) -> Result<(), ModelError> {
        let mut block = Block::default();
        let tensors = self.layout().tensors().iter();
        for tensor in tensors.filter(|tensor| tensor.dtype.is_float()) {
            let place = self.place(&tensor.name)?.start;
            for index in (0..tensor.elements()).step_by(BLOCK_ELEMS) {
                let left = tensor.elements() - index;
                let part = Part {
                    tensor,
                    first: 0,
                    place,
                };
                block.read(self, part, index, bounded(left, BLOCK_ELEMS))?;
                block.check(self.file(), tensor, index)?;
            }
        }
        Ok(())
    }
}

/// The averaged values of one checkpoint, by their position in the flat vector.
pub struct Flat<'a> {
    checkpoint: &'a Checkpoint<'a>,
    parts: Vec<Part<'a>>,
    elements: u64,
}

/// Where one averaged tensor lies.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) tensor: &'a TensorSpec,
    /// In the flat vector, of its first element.
    pub(super) first: u64,
    /// In the file, of its first byte.
    pub(super) place: u64,
}

impl<'a> Flat<'a> {
    /// The averaged tensors of `layout` in `checkpoint`.
    ///
    /// # Errors
    /// [`ModelError::Missing`] if one of them is not there.
    pub fn new(
        checkpoint: &'a Checkpoint<'a>,
        layout: &'a Layout,
        selection: &'a Selection,
    ) -> Result<Self, ModelError> {
        let (mut parts, mut first) = (Vec::new(), 0);
        for tensor in selection.averaged(layout) {
            let place = checkpoint.place(&tensor.name)?.start;
            parts.push(Part {
                tensor,
                first,
                place,
            });
            first += tensor.elements();
        }
        Ok(Self {
            checkpoint,
            parts,
            elements: first,
        })
    }

    /// Length of the flat vector.
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// Fills `out` with the values from `first` on; the range lies within the vector.
    ///
    /// # Errors
    /// [`ModelError`] if one is not finite as an f32, or the file cannot be read.
    pub fn values(&self, first: u64, out: &mut [f32]) -> Result<(), ModelError> {
        let mut block = Block::default();
        let (mut first, mut rest) = (first, out);
        while !rest.is_empty() {
            let (part, index, count) = self.place(first, rest.len());
            let (now, later) = rest.split_at_mut(count);
            block.read(self.checkpoint, part, index, count)?;
            let file = self.checkpoint.file();
            block.check(file, part.tensor, index)?;
            narrow(file, part.tensor, index, &block.values, now)?;
            (first, rest) = (first + count as u64, later);
        }
        Ok(())
    }

    /// All values, for a model that fits in memory.
    ///
    /// # Errors
    /// As [`Flat::values`].
    pub fn whole(&self) -> Result<Vec<f32>, ModelError> {
        let mut values = room(self.elements);
        self.values(0, &mut values).map(|()| values)
    }

    /// Which tensor element `at` of the vector is in, which of its elements that is, and how many follow there, at most `most`.
    fn place(&self, at: u64, most: usize) -> (Part<'a>, u64, usize) {
        let after = self.parts.partition_point(|part| part.first <= at);
        let part = self.parts[after - 1];
        let index = at - part.first;
        let left = part.tensor.elements() - index;
        (part, index, bounded(left, most.min(BLOCK_ELEMS)))
    }

    pub(super) fn parts(&self) -> &[Part<'a>] {
        &self.parts
    }

    pub(super) fn checkpoint(&self) -> &'a Checkpoint<'a> {
        self.checkpoint
    }
}

/// What training changed: `update` − `global` for weights, `update` itself for a delta.
///
/// Of the update only the averaged tensors are needed and read. Kept ones may be there, with the model's shape and type;
/// any other tensor is an error.
pub struct Delta<'a> {
    global: Flat<'a>,
    update: Flat<'a>,
    kind: UpdateKind,
}

impl<'a> Delta<'a> {
    /// Between two checkpoints.
    ///
    /// # Errors
    /// [`ModelError`] if a tensor is missing, or the update says that it is of another kind.
    pub fn new(
        global: &'a Checkpoint<'a>,
        update: &'a Checkpoint<'a>,
        layout: &'a Layout,
        selection: &'a Selection,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            kind: update.kind()?,
            global: Flat::new(global, layout, selection)?,
            update: Flat::new(update, layout, selection)?,
        })
    }

    /// Length of the flat vector.
    pub fn elements(&self) -> u64 {
        self.update.elements
    }

    /// Fills `out` with the values from `first` on; the range lies within the vector.
    ///
    /// # Errors
    /// [`ModelError`] if a value of either file is not finite, a difference is not finite as an f32, or a file cannot be read.
    pub fn values(&self, first: u64, out: &mut [f32]) -> Result<(), ModelError> {
        let (mut new, mut old) = (Block::default(), Block::default());
        let (mut first, mut rest) = (first, out);
        while !rest.is_empty() {
            let (part, index, count) = self.update.place(first, rest.len());
            let (now, later) = rest.split_at_mut(count);
            new.read(self.update.checkpoint, part, index, count)?;
            new.check(File::Update, part.tensor, index)?;
            if self.kind == UpdateKind::Weights {
                let (part, index, count) = self.global.place(first, count);
                old.read(self.global.checkpoint, part, index, count)?;
                old.check(File::Model, part.tensor, index)?;
                for (new, old) in new.values.iter_mut().zip(&old.values) {
                    *new -= old;
                }
            }
            narrow(File::Update, part.tensor, index, &new.values, now)?;
            (first, rest) = (first + count as u64, later);
        }
        Ok(())
    }

    /// All values, for a model that fits in memory.
    ///
    /// # Errors
    /// As [`Delta::values`].
    pub fn whole(&self) -> Result<Vec<f32>, ModelError> {
        let mut values = room(self.elements());
        self.values(0, &mut values).map(|()| values)
    }
}

/// Some elements of one tensor, widened.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    values: Vec<f64>,
}

impl Block {
    /// Reads `count` elements of a float tensor from `index` on.
    fn read(
        &mut self,
        checkpoint: &Checkpoint<'_>,
        part: Part<'_>,
        index: u64,
        count: usize,
    ) -> Result<(), ModelError> {
        let dtype = part.tensor.dtype;
        self.bytes.resize(count * dtype.size_bytes(), 0);
        let offset = part.place + index * dtype.size_bytes() as u64;
        checkpoint.read(&mut self.bytes, offset)?;
        self.values.clear();
        widen(dtype, &self.bytes, &mut self.values);
        Ok(())
    }

    /// `index` is that of the first element.
    fn check(&self, file: File, tensor: &TensorSpec, index: u64) -> Result<(), ModelError> {
        // Without a branch for each value, so that the processor looks at several at once.
        let all = self.values.iter();
        if all.fold(true, |fine, value| fine & value.is_finite()) {
            return Ok(());
        }
        let found = (index..).zip(&self.values);
        let (index, value) = found
            .into_iter()
            .find(|(_, value)| !value.is_finite())
            .expect("one of them is not finite");
        Err(ModelError::NotFinite {
            file,
            tensor: tensor.name.clone(),
            index,
            value: *value,
        })
    }
}

/// Appends the elements of a float tensor.
fn widen(dtype: Dtype, bytes: &[u8], values: &mut Vec<f64>) {
    match dtype {
        Dtype::F16 => {
            values.extend(words(bytes).map(|word| f64::from(f16_to_f32(u16::from_le_bytes(word)))));
        }
        Dtype::BF16 => {
            values
                .extend(words(bytes).map(|word| f64::from(bf16_to_f32(u16::from_le_bytes(word)))));
        }
        Dtype::F32 => values.extend(words(bytes).map(|word| f64::from(f32::from_le_bytes(word)))),
        Dtype::F64 => values.extend(words(bytes).map(f64::from_le_bytes)),
        integer => unreachable!("a selection holds floats only, not {integer}"),
    }
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    let words = bytes.chunks_exact(N);
    words.map(|word| word.try_into().expect("chunks of N bytes"))
}

/// Rounds finite values to f32, where none may become infinite; `index` is that of the first element.
fn narrow(
    file: File,
    tensor: &TensorSpec,
    index: u64,
    values: &[f64],
    out: &mut [f32],
) -> Result<(), ModelError> {
    for (narrow, value) in out.iter_mut().zip(values) {
        *narrow = f64_to_f32(*value);
    }
    if out
        .iter()
        .fold(true, |fine, value| fine & value.is_finite())
    {
        return Ok(());
    }
    let mut found = (index..).zip(values).zip(out.iter());
    let ((index, value), _) = found
        .find(|(_, narrow)| !narrow.is_finite())
        .expect("one of them is not finite");
    Err(ModelError::BeyondF32 {
        file,
        tensor: tensor.name.clone(),
        index,
        value: *value,
    })
}

fn room(elements: u64) -> Vec<f32> {
    let elements = usize::try_from(elements);
    vec![0.0; elements.expect("a model in memory fits an address space")]
}

fn bounded(left: u64, most: usize) -> usize {
    usize::try_from(left).map_or(most, |left| left.min(most))
}

/// Elements that are read at once: their bytes and their widened values stay in the second-level cache.
const BLOCK_ELEMS: usize = 16 * 1024;
