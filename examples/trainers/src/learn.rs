//! How a model learns from rows and how well it does: softmax cross-entropy, minibatch gradient descent, accuracy.
//!
//! Deterministic: the order of rows follows from the seed and the round, and sums are made in a fixed order. No momentum and no state between rounds,
//! since the hook is a new process for every round.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::model::{Layer, Model};
use crate::rng::{Purpose, Rng};

/// The `[config]` table of a study that uses this trainer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// How often a round goes through the site's rows: 1 to [`LOCAL_EPOCHS_MAX`].
    pub local_epochs: u32,
    /// The learning rate: more than 0, at most [`LEARNING_RATE_MAX`].
    pub lr: f32,
    /// Rows a step, at least 1; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// Decides the order of rows, together with the round.
    pub seed: u64,
}

/// How well a model does on some rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Score {
    /// Mean cross-entropy, each row's capped at [`LOSS_MAX`].
    pub loss: f64,
    /// Share of rows whose most probable class is the right one, 0 to 1.
    pub accuracy: f64,
}

impl TrainConfig {
    fn check(&self) -> Result<(), TrainError> {
        if !(1..=LOCAL_EPOCHS_MAX).contains(&self.local_epochs) {
            return Err(TrainError::LocalEpochs {
                have: self.local_epochs,
            });
        }
        if !(self.lr > 0.0 && self.lr <= LEARNING_RATE_MAX) {
            return Err(TrainError::LearningRate { have: self.lr });
        }
        if self.batch_size == 0 {
            return Err(TrainError::BatchSize);
        }
        Ok(())
    }
}

impl Model {
    /// Trains on the rows for one round and returns the mean loss of the last local epoch.
    ///
    /// # Errors
    /// [`TrainError`] if a setting is out of range, the rows do not fit the model, or training diverged; the model is then of no use.
    pub fn train(
        &mut self,
        data: &Dataset,
        config: &TrainConfig,
        round: u32,
    ) -> Result<f64, TrainError> {
        config.check()?;
        self.check_rows(data)?;
        let mut rng = Rng::new(config.seed, Purpose::Round(round));
        let mut order: Vec<usize> = (0..data.len()).collect();
        let mut loss = 0.0;
        for _ in 0..config.local_epochs {
            rng.shuffle(&mut order);
            loss = order
                .chunks(config.batch_size)
                .map(|batch| self.step(&data.select(batch), config.lr))
                .sum();
        }
        if !self.is_finite() {
            return Err(TrainError::Diverged { lr: config.lr });
        }
        Ok(loss / data.len() as f64)
    }

    /// Returns loss and accuracy on the rows.
    ///
    /// # Errors
    /// [`TrainError`] if there are no rows or they do not fit the model.
    pub fn score(&self, data: &Dataset) -> Result<Score, TrainError> {
        self.check_rows(data)?;
        let mut outputs = self.forward(data.features.view());
        let scores = outputs.pop().expect("a model has at least one layer");
        let right = scores
            .rows()
            .into_iter()
            .zip(&data.labels)
            .filter(|(row, label)| is_largest(row.view(), **label))
            .count();
        let count = data.len() as f64;
        Ok(Score {
            loss: softmax_loss(scores, &data.labels).1 / count,
            accuracy: right as f64 / count,
        })
    }

    fn check_rows(&self, data: &Dataset) -> Result<(), TrainError> {
        if data.is_empty() {
            return Err(TrainError::NoRows);
        }
        let (have, need) = (data.features.ncols(), self.features());
        if have != need {
            return Err(TrainError::Features { have, need });
        }
        let classes = self.classes();
        match data.labels.iter().position(|&label| label >= classes) {
            Some(at) => Err(TrainError::Label {
                row: data.rows[at],
                label: data.labels[at],
                classes,
            }),
            None => Ok(()),
        }
    }

    /// Returns the output of every layer: after the ReLU for hidden ones, before the softmax for the last.
    fn forward(&self, inputs: ArrayView2<'_, f32>) -> Vec<Array2<f32>> {
        let mut outputs: Vec<Array2<f32>> = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let inputs = outputs.last().map_or(inputs, |last| last.view());
            let mut output = inputs.dot(&layer.weight.t()) + &layer.bias;
            if index + 1 < self.layers.len() {
                output.mapv_inplace(|v| v.max(0.0));
            }
            outputs.push(output);
        }
        outputs
    }

    /// Takes one gradient step and returns the sum of the rows' losses before it.
    fn step(&mut self, batch: &Dataset, lr: f32) -> f64 {
        let mut outputs = self.forward(batch.features.view());
        let scores = outputs.pop().expect("a model has at least one layer");
        let (mut slope, loss) = softmax_loss(scores, &batch.labels);
        slope /= batch.len() as f32;
        for layer in self.layers.iter_mut().rev() {
            let inputs = outputs.pop();
            let below = inputs.as_ref().map(|inputs| {
                let mut below = slope.dot(&layer.weight);
                below.zip_mut_with(inputs, |d, v| *d = if *v > 0.0 { *d } else { 0.0 });
                below
            });
            layer.descend(inputs.as_ref().unwrap_or(&batch.features), &slope, lr);
            slope = below.unwrap_or_default();
        }
        loss
    }
}

impl Layer {
    /// Subtracts lr times the gradient; `slope` is the loss differentiated by this layer's outputs.
    fn descend(&mut self, inputs: &Array2<f32>, slope: &Array2<f32>, lr: f32) {
        general_mat_mul(-lr, &slope.t(), inputs, 1.0, &mut self.weight);
        self.bias.scaled_add(-lr, &slope.sum_axis(Axis(0)));
    }
}

/// Says whether the score at `label` is above all others; NaN is above nothing.
fn is_largest(row: ArrayView1<'_, f32>, label: usize) -> bool {
    let others = row.iter().enumerate().filter(|(class, _)| *class != label);
    others
        .map(|(_, score)| score)
        .all(|score| row[label] > *score)
}

/// Turns each row of scores into softmax − one-hot(label), the slope of its cross-entropy, and returns the sum of the rows' losses beside it.
fn softmax_loss(mut scores: Array2<f32>, labels: &[usize]) -> (Array2<f32>, f64) {
    let mut loss = 0.0;
    for (mut row, &label) in scores.rows_mut().into_iter().zip(labels) {
        let largest = row.fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        row.mapv_inplace(|v| (v - largest).exp());
        row /= row.sum();
        loss += LOSS_MAX.min(-f64::from(row[label]).ln());
        row[label] -= 1.0;
    }
    (scores, loss)
}

/// Why nothing was learned.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum TrainError {
    /// A setting of the study.
    #[error("local_epochs is {have}; set it from 1 to {LOCAL_EPOCHS_MAX} in the study's [config]")]
    LocalEpochs {
        /// The value given.
        have: u32,
    },
    /// A setting of the study.
    #[error("lr is {have}; set it above 0 and at most {LEARNING_RATE_MAX} in the study's [config]")]
    LearningRate {
        /// The value given.
        have: f32,
    },
    /// A setting of the study.
    #[error("batch_size is 0; set it to at least 1 in the study's [config]")]
    BatchSize,
    /// The site has nothing to learn from.
    #[error("this site has no rows; give the trainer a CSV file with at least one")]
    NoRows,
    /// The site's data and the model are not made for each other.
    #[error(
        "the data have {have} features, the model takes {need}; use the data set that the study names"
    )]
    Features {
        /// Features in the data.
        have: usize,
        /// Inputs of the model.
        need: usize,
    },
    /// The site's data and the model are not made for each other.
    #[error(
        "row {row} has class {label}, but the model knows the {classes} classes from 0; use the data set that the study names"
    )]
    Label {
        /// The row's number in the CSV, from 0.
        row: usize,
        /// Its class.
        label: usize,
        /// The model's number of classes.
        classes: usize,
    },
    /// Weights became NaN or infinite.
    #[error("training diverged at lr {lr}; choose a smaller one in the study's [config]")]
    Diverged {
        /// The learning rate used.
        lr: f32,
    },
}

/// The cap of a row's reported loss, for it can be arbitrarily large while a metric needs a range before it can be summed under a mask: fits `[0, 10]`.
pub const LOSS_MAX: f64 = 10.0;

/// Most local epochs: more is a typing mistake and would run into the round's deadline.
pub const LOCAL_EPOCHS_MAX: u32 = 1000;

/// Largest learning rate: beyond it every data set here diverges.
pub const LEARNING_RATE_MAX: f32 = 100.0;

#[cfg(test)]
mod tests;
