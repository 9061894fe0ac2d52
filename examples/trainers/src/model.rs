//! A stack of dense layers as named tensors: what travels between the coordinator and a trainer.
//!
//! Tensor `layer1.weight` has shape `[outputs, inputs]`, `layer1.bias` has `[outputs]`, then `layer2.…`, all f32. Between layers stands a ReLU, after
//! the last a softmax: two layers are the digits' MLP 64-32-10, one layer is softmax regression. How it learns is in [`crate::learn`].

use std::collections::HashMap;

use ndarray::{Array1, Array2};
use safetensors::tensor::{SafeTensorError, TensorView};
use safetensors::{Dtype, SafeTensors};

use crate::rng::{Purpose, Rng};

/// A softmax network. At least one layer; each layer has as many inputs as the one before has outputs; every value is finite when it was read from bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub(crate) layers: Vec<Layer>,
}

/// Outputs = inputs · weightᵀ + bias.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layer {
    /// `[outputs, inputs]`
    pub(crate) weight: Array2<f32>,
    /// `[outputs]`
    pub(crate) bias: Array1<f32>,
}

/// What a file of tensors is, as its `__metadata__` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A model version: no mark.
    Model,
    /// What a trainer hands over: `"veilsum.kind": "weights"`, the new weights rather than their difference to the old ones.
    Update,
}

impl Model {
    /// Makes a model to start from: He-uniform weights, that is uniform in ±√(6 / inputs), and zero biases.
    ///
    /// `widths` are the features, the outputs of each hidden layer, and the classes.
    ///
    /// # Panics
    /// If there are fewer than two widths or one is 0.
    pub fn init(widths: &[usize], seed: u64) -> Self {
        assert!(widths.len() >= 2 && !widths.contains(&0));
        let mut rng = Rng::new(seed, Purpose::InitialModel);
        let layer = |pair: &[usize]| {
            let (inputs, outputs) = (pair[0], pair[1]);
            let bound = (6.0 / inputs as f32).sqrt();
            Layer {
                weight: Array2::from_shape_simple_fn((outputs, inputs), || {
                    rng.signed_unit() * bound
                }),
                bias: Array1::zeros(outputs),
            }
        };
        Self {
            layers: widths.windows(2).map(layer).collect(),
        }
    }

    /// Returns how many features it takes.
    pub fn features(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.weight.ncols())
    }

    /// Returns how many classes it tells apart.
    pub fn classes(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.bias.len())
    }

    /// Returns how many numbers it consists of.
    pub fn parameters(&self) -> usize {
        let size = |layer: &Layer| layer.weight.len() + layer.bias.len();
        self.layers.iter().map(size).sum()
    }

    /// Says whether no value is NaN or infinite.
    pub(crate) fn is_finite(&self) -> bool {
        self.layers.iter().all(|layer| {
            layer
                .weight
                .iter()
                .chain(&layer.bias)
                .all(|v| v.is_finite())
        })
    }

    /// Writes the tensors as safetensors.
    pub fn to_safetensors(&self, kind: FileKind) -> Vec<u8> {
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = (1..)
            .zip(&self.layers)
            .flat_map(|(number, layer)| {
                let (weight, bias) = (&layer.weight, &layer.bias);
                [
                    (
                        weight_name(number),
                        weight.shape().to_vec(),
                        bytes_of(weight),
                    ),
                    (bias_name(number), bias.shape().to_vec(), bytes_of(bias)),
                ]
            })
            .collect();
        let views = tensors.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            (name, view.expect("bytes_of writes four bytes an element"))
        });
        let mark = match kind {
            FileKind::Model => None,
            FileKind::Update => Some(HashMap::from([(
                "veilsum.kind".to_owned(),
                "weights".to_owned(),
            )])),
        };
        safetensors::serialize(views, mark).expect("a few named f32 tensors are always valid")
    }

    /// Reads what [`Model::to_safetensors`] or any other tool wrote.
    ///
    /// # Errors
    /// [`ModelError`] unless the tensors are exactly the layers of a stack, all f32 and finite.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, ModelError> {
        let file = SafeTensors::deserialize(bytes).map_err(ModelError::NotSafetensors)?;
        let mut layers: Vec<Layer> = Vec::new();
        for number in 1..=LAYERS_MAX {
            if file.tensor(&weight_name(number)).is_err() {
                break;
            }
            let inputs = layers.last().map(|layer| layer.bias.len());
            layers.push(read_layer(&file, number, inputs)?);
        }
        if layers.is_empty() {
            return Err(ModelError::Missing {
                name: weight_name(1),
            });
        }
        match file
            .names()
            .into_iter()
            .find(|name| !is_known(name, layers.len()))
        {
            Some(name) => Err(ModelError::Unknown {
                name: name.to_owned(),
            }),
            None => Ok(Self { layers }),
        }
    }
}

/// Reads one layer; `inputs` is what the layer before puts out, if there is one.
fn read_layer(
    file: &SafeTensors<'_>,
    number: usize,
    inputs: Option<usize>,
) -> Result<Layer, ModelError> {
    let name = weight_name(number);
    let (shape, values) = read_tensor(file, &name)?;
    let (outputs, columns) = match shape[..] {
        [outputs, columns] if !values.is_empty() && inputs.is_none_or(|n| n == columns) => {
            (outputs, columns)
        }
        _ => return Err(ModelError::Shape { name, shape }),
    };
    let weight = Array2::from_shape_vec((outputs, columns), values)
        .expect("safetensors checked that the bytes fill the shape");
    let name = bias_name(number);
    let (shape, values) = read_tensor(file, &name)?;
    if shape != [outputs] {
        return Err(ModelError::Shape { name, shape });
    }
    Ok(Layer {
        weight,
        bias: Array1::from_vec(values),
    })
}

/// Returns a tensor's shape and its elements in row order.
fn read_tensor(file: &SafeTensors<'_>, name: &str) -> Result<(Vec<usize>, Vec<f32>), ModelError> {
    let name = || name.to_owned();
    let view = file
        .tensor(&name())
        .map_err(|_| ModelError::Missing { name: name() })?;
    if view.dtype() != Dtype::F32 {
        return Err(ModelError::Dtype {
            name: name(),
            dtype: view.dtype(),
        });
    }
    let (elements, _) = view.data().as_chunks();
    let values: Vec<f32> = elements
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect();
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(ModelError::NotFinite {
            name: name(),
            index,
        }),
        None => Ok((view.shape().to_vec(), values)),
    }
}

fn is_known(name: &str, layers: usize) -> bool {
    (1..=layers).any(|number| name == weight_name(number) || name == bias_name(number))
}

fn weight_name(number: usize) -> String {
    format!("layer{number}.weight")
}

fn bias_name(number: usize) -> String {
    format!("layer{number}.bias")
}

/// The elements in row order, little-endian, as safetensors wants them.
fn bytes_of<'a>(values: impl IntoIterator<Item = &'a f32>) -> Vec<u8> {
    values.into_iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Why bytes are not a model of this trainer.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The container is broken.
    #[error("the model is not a safetensors file: {0}")]
    NotSafetensors(SafeTensorError),
    /// A tensor is not there.
    #[error(
        "the model has no tensor `{name}`; this trainer takes layer1.weight, layer1.bias, layer2.weight … and nothing else"
    )]
    Missing {
        /// The tensor that was looked for.
        name: String,
    },
    /// A tensor that belongs to no layer.
    #[error(
        "the model has a tensor `{name}`, which this trainer does not know; it takes layer1.weight, layer1.bias, layer2.weight … up to layer {LAYERS_MAX}"
    )]
    Unknown {
        /// The tensor's name.
        name: String,
    },
    /// A tensor of another type of number.
    #[error("tensor `{name}` has dtype {dtype}; this trainer takes F32")]
    Dtype {
        /// The tensor's name.
        name: String,
        /// The type it has.
        dtype: Dtype,
    },
    /// A tensor that fits neither its layer nor the layer before.
    #[error(
        "tensor `{name}` has shape {shape:?}; a weight is [outputs, inputs] with the inputs of the layer before, a bias is [outputs]"
    )]
    Shape {
        /// The tensor's name.
        name: String,
        /// The shape it has.
        shape: Vec<usize>,
    },
    /// A value that cannot be computed with.
    #[error(
        "tensor `{name}` holds NaN or infinity at index {index}; restart from an earlier model version"
    )]
    NotFinite {
        /// The tensor's name.
        name: String,
        /// The first such element in row order.
        index: usize,
    },
}

/// Deepest stack that is read: an example needs two layers, and a file must not make the trainer loop for long.
const LAYERS_MAX: usize = 8;

#[cfg(test)]
mod tests;
