//! What the federated model is compared with: each site alone, and all rows in one place.
//!
//! Both start from the same initial model and learn for the same number of rounds, with the same settings, as a site in the federation; there is only
//! nothing to average. Accuracy is that of the last round on the test rows.

use crate::Dataset;
use crate::learn::TrainError;
use crate::recipe::{Partition, Recipe};

/// One study's comparison.
#[derive(Debug, Clone, Copy)]
pub struct Reference<'a> {
    /// The study.
    pub recipe: &'a Recipe,
    /// Who has which rows.
    pub partition: &'a Partition,
    /// Rounds of the federated run.
    pub rounds: u32,
    /// Seed of the initial model and of training.
    pub seed: u64,
}

impl Reference<'_> {
    /// Returns the test accuracy, 0 to 1, of a model that only this site trained. The site scales the test rows by its own.
    ///
    /// # Errors
    /// [`TrainError`] if training diverged.
    ///
    /// # Panics
    /// If `site` is not below the partition's number of sites.
    pub fn alone(&self, site: usize) -> Result<f64, TrainError> {
        self.accuracy(
            &self.partition.site(site),
            &self.partition.test_of_site(site),
        )
    }

    /// Returns the test accuracy, 0 to 1, of a model trained on all sites' rows.
    ///
    /// # Errors
    /// [`TrainError`] if training diverged.
    pub fn pooled(&self) -> Result<f64, TrainError> {
        self.accuracy(&self.partition.pooled(), &self.partition.test())
    }

    fn accuracy(&self, train: &Dataset, test: &Dataset) -> Result<f64, TrainError> {
        let config = self.recipe.config(self.seed);
        let mut model = self.recipe.initial_model(self.seed);
        for round in 1..=self.rounds {
            model.train(train, &config, round)?;
        }
        Ok(model.score(test)?.accuracy)
    }
}
