//! A model and an update of any size, written as files with holes: for seeing what size costs, not for learning.
//!
//! The model is one tensor of zeros. The update has a run of values in every sixteenth chunk of the vector, and zeros elsewhere. Each value
//! is a whole number of quanta of the demo's study, so that rounding leaves it alone and the mean over the sites is the update itself, bit
//! for bit: whoever has the next model can tell whether the sum was exact.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use veilsum_common::limits::CHUNK_ELEMS;
use veilsum_common::model::{
    Checkpoint, File as Whose, Flat, Layout, ModelError, Selection, Source,
};

/// Value that the study clips elements to: 32767/32768, so that with 16 bits and equal weights a quantum is 2^−15.
pub(crate) const CLIP: &str = "0.999969482421875";

/// Writes the initial model.
pub(crate) fn write_model(path: &Path, params: u64) -> io::Result<()> {
    create(path, params, Kind::Weights).map(drop)
}

/// Writes the update that every site sends in every round.
pub(crate) fn write_update(path: &Path, params: u64) -> io::Result<()> {
    let file = create(path, params, Kind::Delta)?;
    let data = file_bytes(params) - 4 * params;
    for first in (0..params).step_by(PERIOD) {
        let end = params.min(first + RUN);
        let values: Vec<u8> = (first..end)
            .flat_map(|index| value(index).to_le_bytes())
            .collect();
        file.write_all_at(&values, data + 4 * first)?;
    }
    Ok(())
}

/// Length of either file.
pub(crate) fn file_bytes(params: u64) -> u64 {
    header(params, Kind::Delta).len() as u64 + 4 * params
}

/// Where a model differs from what `rounds` rounds make of it: index, value, what it should be. The first such place, if there is one.
///
/// # Errors
/// If it is no such model, or cannot be read.
pub(crate) fn first_difference(
    model: &dyn Source,
    params: u64,
    rounds: u32,
) -> Result<Option<(u64, f32, f32)>, ModelError> {
    let checkpoint = Checkpoint::open(model, Whose::Model)?;
    let layout: &Layout = checkpoint.layout();
    let selection = Selection::choose(layout, &["*".to_owned()], &[])?;
    let flat = Flat::new(&checkpoint, layout, &selection)?;
    let mut values = Vec::new();
    for first in (0..params).step_by(CHUNK_ELEMS as usize) {
        let len = (params - first).min(CHUNK_ELEMS.into());
        values.resize(usize::try_from(len).unwrap_or(0), 0.0);
        flat.values(first, &mut values)?;
        let expected = |index: u64| {
            let in_run = index % PERIOD as u64 / RUN == 0;
            if in_run {
                value(index) * rounds as f32
            } else {
                0.0
            }
        };
        let found = (first..)
            .zip(&values)
            .find(|(index, value)| **value != expected(*index));
        if let Some((index, value)) = found {
            return Ok(Some((index, *value, expected(index))));
        }
    }
    Ok(None)
}

/// Element `index` of the update, if it is not zero: k/2^15 with |k| ≤ 2^10, so that sums over many rounds stay exact.
fn value(index: u64) -> f32 {
    let k = u16::try_from(index.wrapping_mul(2_654_435_761) % 2_048).expect("below 2048");
    (f32::from(k) - 1_024.0) / 32_768.0
}

#[derive(Clone, Copy)]
enum Kind {
    Weights,
    Delta,
}

fn create(path: &Path, params: u64, kind: Kind) -> io::Result<File> {
    let file = File::create(path)?;
    file.write_all_at(&header(params, kind), 0)?;
    file.set_len(file_bytes(params))?;
    Ok(file)
}

/// As long for the one kind as for the other, and a multiple of eight.
fn header(params: u64, kind: Kind) -> Vec<u8> {
    let kind = match kind {
        Kind::Weights => "weights",
        Kind::Delta => "delta",
    };
    let bytes = 4 * params;
    let json = format!(
        r#"{{"__metadata__":{{"veilsum.kind":"{kind}"}},"w":{{"dtype":"F32","shape":[{params}],"data_offsets":[0,{bytes}]}}}}"#
    );
    let json = format!("{json:<HEADER_BYTES$}");
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend_from_slice(json.as_bytes());
    header
}

/// Elements between the beginnings of two runs: sixteen chunks.
const PERIOD: usize = 16 * CHUNK_ELEMS as usize;
/// Elements of a run.
const RUN: u64 = 4096;
/// Room for the largest numbers.
const HEADER_BYTES: usize = 160;

#[cfg(test)]
mod tests;
