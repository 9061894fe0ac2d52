//! Bringing features into the range that training expects.
//!
//! Pixel counts have a range that is known beforehand, so fixed numbers do. Measurements are standardised: each site subtracts its own mean and divides by its own standard
//! deviation, since nobody knows those of all sites together. Whoever evaluates the federated model on test rows standardises them by the pooled
//! training rows, the closest thing to what all the sites did on average; a site alone uses its own.

use ndarray::{Array1, Axis, Zip};

use crate::data::Dataset;

/// How the features of a data set are scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scaling {
    /// Every feature by the same known numbers: x becomes (x − centre) / unit.
    Fixed {
        /// What becomes 0.
        centre: f32,
        /// How far from the centre 1 lies.
        unit: f32,
    },
    /// Every feature gets mean 0 and standard deviation 1 on the rows it is fitted to.
    Standardise,
}

impl Scaling {
    /// Finds the scale that these rows ask for.
    pub fn fit(self, data: &Dataset) -> Scaler {
        let columns = data.features.ncols();
        match self {
            Self::Fixed { centre, unit } => Scaler {
                shift: Array1::from_elem(columns, centre),
                factor: Array1::from_elem(columns, unit.recip()),
            },
            Self::Standardise => standard(data),
        }
    }
}

/// A fitted scale: x becomes (x − shift) · factor, feature by feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaler {
    shift: Array1<f32>,
    factor: Array1<f32>,
}

impl Scaler {
    /// Returns the same rows with scaled features.
    ///
    /// # Panics
    /// If the rows have another number of features than those the scale was fitted to.
    pub fn apply(&self, data: &Dataset) -> Dataset {
        let mut scaled = data.clone();
        for mut row in scaled.features.rows_mut() {
            Zip::from(&mut row)
                .and(&self.shift)
                .and(&self.factor)
                .for_each(|x, shift, factor| *x = (*x - shift) * factor);
        }
        scaled
    }
}

/// Mean and standard deviation in binary64; a feature that does not vary is only shifted.
fn standard(data: &Dataset) -> Scaler {
    let rows = data.features.mapv(f64::from);
    let count = rows.nrows().max(1) as f64;
    let mean = rows.sum_axis(Axis(0)) / count;
    let variance = (&rows - &mean).mapv(|d| d * d).sum_axis(Axis(0)) / count;
    let factor = variance.mapv(|v| if v > 0.0 { v.sqrt().recip() } else { 1.0 });
    Scaler {
        shift: mean.mapv(to_f32),
        factor: factor.mapv(to_f32),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounds to the nearest f32, which is what features are"
)]
fn to_f32(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests;
