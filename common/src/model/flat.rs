//! Between checkpoints and the flat f32 vector of the averaged tensors.
//!
//! F16 and BF16 are widened, F64 is narrowed to f32. Differences are taken in binary64 and rounded once, so a delta of
//! any type is the nearest f32. A number that is not finite never gets through.

use super::checkpoint::Checkpoint;
use super::float::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16, f64_to_f32};
use super::{Dtype, File, Layout, ModelError, Selection, TensorSpec, UpdateKind};

/// Checks that every float of the model is finite, the kept tensors included.
///
/// # Errors
/// [`ModelError`] names the tensor, the index and the value; or the file does not have `layout`.
pub fn check_finite(layout: &Layout, model: &[u8]) -> Result<(), ModelError> {
    let checkpoint = Checkpoint::model(model, layout)?;
    for tensor in layout
        .tensors()
        .iter()
        .filter(|tensor| tensor.dtype.is_float())
    {
        let data = checkpoint.data(&tensor.name)?;
        each_element(tensor, |index, at| {
            finite(File::Model, tensor, index, value(tensor.dtype, data, at)).map(drop)
        })?;
    }
    Ok(())
}

/// The averaged values of `model`, in the order of the selection.
///
/// # Errors
/// [`ModelError`] if the file does not have `layout`, or a value is not finite as an f32.
pub fn flatten(
    layout: &Layout,
    selection: &Selection,
    model: &[u8],
) -> Result<Vec<f32>, ModelError> {
    let checkpoint = Checkpoint::model(model, layout)?;
    let mut flat = Vec::with_capacity(capacity(selection));
    for tensor in selection.averaged(layout) {
        let data = checkpoint.data(&tensor.name)?;
        each_element(tensor, |index, at| {
            let value = finite(File::Model, tensor, index, value(tensor.dtype, data, at))?;
            flat.push(in_f32(File::Model, tensor, index, value)?);
            Ok(())
        })?;
    }
    Ok(flat)
}

/// What training changed: `update` − `global` for weights, `update` itself for a delta.
///
/// Of the update only the averaged tensors are needed and read. Kept ones may be there, with the model's shape and type;
/// any other tensor is an error.
///
/// # Errors
/// [`ModelError`] if a tensor is missing, unexpected, of another shape or type, or holds a value that is not finite.
pub fn flatten_delta(
    layout: &Layout,
    selection: &Selection,
    global: &[u8],
    update: &[u8],
    kind: UpdateKind,
) -> Result<Vec<f32>, ModelError> {
    let global = Checkpoint::model(global, layout)?;
    let update = Checkpoint::update(update, layout)?;
    let mut flat = Vec::with_capacity(capacity(selection));
    for tensor in selection.averaged(layout) {
        let (old, new) = (global.data(&tensor.name)?, update.data(&tensor.name)?);
        each_element(tensor, |index, at| {
            let new = finite(File::Update, tensor, index, value(tensor.dtype, new, at))?;
            let delta = match kind {
                UpdateKind::Delta => new,
                UpdateKind::Weights => {
                    new - finite(File::Model, tensor, index, value(tensor.dtype, old, at))?
                }
            };
            flat.push(in_f32(File::Update, tensor, index, delta)?);
            Ok(())
        })?;
    }
    Ok(flat)
}

/// The checkpoint `global` with its averaged tensors replaced by `next`. Header, metadata, order and kept tensors are
/// those of `global`, byte for byte; so equal arguments give equal files.
///
/// # Errors
/// [`ModelError`] if a value is not finite or not within the range of its tensor's type.
pub fn apply(
    layout: &Layout,
    selection: &Selection,
    global: &[u8],
    next: &[f32],
) -> Result<Vec<u8>, ModelError> {
    if next.len() as u64 != selection.elements() {
        return Err(ModelError::Length {
            have: next.len() as u64,
            need: selection.elements(),
        });
    }
    let checkpoint = Checkpoint::model(global, layout)?;
    let mut bytes = global.to_vec();
    let mut next = next.iter();
    for tensor in selection.averaged(layout) {
        let data = &mut bytes[checkpoint.place(&tensor.name)?];
        each_element(tensor, |index, at| {
            let value = *next
                .next()
                .expect("the selection's elements are those of its tensors");
            let range = || ModelError::Range {
                tensor: tensor.name.clone(),
                index,
                value,
                dtype: tensor.dtype,
            };
            write(tensor.dtype, data, at, value).ok_or_else(range)
        })?;
    }
    Ok(bytes)
}

/// Calls `visit` with the index of each element and its position in the tensor's data, in order.
fn each_element(
    tensor: &TensorSpec,
    mut visit: impl FnMut(u64, usize) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    (0..tensor.elements())
        .zip((0..).step_by(tensor.dtype.size_bytes()))
        .try_for_each(|(index, at)| visit(index, at))
}

/// The element at byte `at` of a float tensor, widened.
fn value(dtype: Dtype, data: &[u8], at: usize) -> f64 {
    match dtype {
        Dtype::F16 => f16_to_f32(u16::from_le_bytes(bytes_at(data, at))).into(),
        Dtype::BF16 => bf16_to_f32(u16::from_le_bytes(bytes_at(data, at))).into(),
        Dtype::F32 => f32::from_le_bytes(bytes_at(data, at)).into(),
        Dtype::F64 => f64::from_le_bytes(bytes_at(data, at)),
        integer => unreachable!("a selection holds floats only, not {integer}"),
    }
}

/// Writes `value` at byte `at`, rounded to the tensor's type; `None` if it does not fit.
fn write(dtype: Dtype, data: &mut [u8], at: usize, value: f32) -> Option<()> {
    let mut put = |bytes: &[u8]| data[at..at + bytes.len()].copy_from_slice(bytes);
    if !value.is_finite() {
        return None;
    }
    match dtype {
        Dtype::F16 => put(&f32_to_f16(value)?.to_le_bytes()),
        Dtype::BF16 => put(&f32_to_bf16(value)?.to_le_bytes()),
        Dtype::F32 => put(&value.to_le_bytes()),
        Dtype::F64 => put(&f64::from(value).to_le_bytes()),
        integer => unreachable!("a selection holds floats only, not {integer}"),
    }
    Some(())
}

fn bytes_at<const N: usize>(data: &[u8], at: usize) -> [u8; N] {
    data[at..at + N].try_into().expect("a slice of N bytes")
}

fn finite(file: File, tensor: &TensorSpec, index: u64, value: f64) -> Result<f64, ModelError> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(ModelError::NotFinite {
        file,
        tensor: tensor.name.clone(),
        index,
        value,
    })
}

fn in_f32(file: File, tensor: &TensorSpec, index: u64, value: f64) -> Result<f32, ModelError> {
    let narrow = f64_to_f32(value);
    if narrow.is_finite() {
        return Ok(narrow);
    }
    Err(ModelError::BeyondF32 {
        file,
        tensor: tensor.name.clone(),
        index,
        value,
    })
}

/// Room for the flat vector. The selection fits a file that is in memory, so its length fits a usize.
fn capacity(selection: &Selection) -> usize {
    usize::try_from(selection.elements()).expect("a model in memory")
}
