//! The accuracies that the demo's two studies reach with plain federated averaging: floating point, no quantiser, no masks.
//!
//! What a masked run reaches is the end-to-end tests' business; these figures say that trainer, data and settings are good for it. The limits lie below
//! what was measured, since another processor rounds matrix products differently; one test row is 0.3 points of digits and 0.9 of breast cancer.
//! Settings were chosen while looking at seeds 0 to 9, hence the figures of seeds from 1000 on beside those that are asserted.

use veilsum_trainers::rng::{Purpose, Rng};
use veilsum_trainers::{
    BREAST_CANCER, DIGITS, FileKind, Model, Partition, Recipe, Reference, hook,
};

const SITES: usize = 5;
const SEEDS: u64 = 5;

/// Test accuracy after all rounds; in each round the site that `absent` names is left out.
fn federated(
    recipe: &Recipe,
    partition: &Partition,
    seed: u64,
    absent: impl Fn(u32) -> Option<usize>,
) -> f64 {
    let sites: Vec<_> = (0..SITES).map(|site| partition.site(site)).collect();
    let config = recipe.config(seed);
    let mut model = recipe.initial_model(seed);
    for round in 1..=recipe.rounds {
        let mut mean = Mean::new(&model, recipe.clip_l2);
        for (index, data) in sites.iter().enumerate() {
            if absent(round) != Some(index) {
                let mut update = model.clone();
                let result = hook::contribute(data, &mut update, &config, round)
                    .expect("the study's own settings and rows");
                mean.add(&update, result.num_examples as f64);
            }
        }
        model = mean.next_model();
    }
    let score = model.score(&partition.test());
    score.expect("test rows fit the model").accuracy
}

/// The weighted mean of clipped updates, on top of the model they started from.
struct Mean {
    header: Vec<u8>,
    base: Vec<f32>,
    clip: f64,
    sum: Vec<f64>,
    weight: f64,
}

impl Mean {
    fn new(model: &Model, clip: f64) -> Self {
        let (header, base) = flat(model);
        Self {
            sum: vec![0.0; base.len()],
            header,
            base,
            clip,
            weight: 0.0,
        }
    }

    fn add(&mut self, update: &Model, weight: f64) {
        let (_, values) = flat(update);
        let delta: Vec<f64> = values
            .iter()
            .zip(&self.base)
            .map(|(new, old)| f64::from(new - old))
            .collect();
        let norm = delta.iter().map(|d| d * d).sum::<f64>().sqrt();
        let factor = weight * (self.clip / norm).min(1.0);
        for (sum, d) in self.sum.iter_mut().zip(&delta) {
            *sum += factor * d;
        }
        self.weight += weight;
    }

    #[expect(clippy::cast_possible_truncation, reason = "models are f32")]
    fn next_model(self) -> Model {
        let mut bytes = self.header;
        for (old, sum) in self.base.iter().zip(&self.sum) {
            bytes.extend((old + (sum / self.weight) as f32).to_le_bytes());
        }
        Model::from_safetensors(&bytes).expect("same header, finite values")
    }
}

/// The safetensors header and, after it, all values of the model in file order.
fn flat(model: &Model) -> (Vec<u8>, Vec<f32>) {
    let mut header = model.to_safetensors(FileKind::Model);
    let values = header.split_off(header.len() - 4 * model.parameters());
    let (values, _) = values.as_chunks();
    (
        header,
        values.iter().map(|&v| f32::from_le_bytes(v)).collect(),
    )
}

fn partition(recipe: &Recipe, seed: u64) -> Partition {
    recipe.partition(SITES, seed).expect("five sites have rows")
}

fn check(accuracies: &[f64], mean_min: f64, each_min: f64) {
    let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    assert!(mean >= mean_min, "mean {mean:.4} of {accuracies:.4?}");
    assert!(
        accuracies.iter().all(|&a| a >= each_min),
        "{accuracies:.4?}"
    );
}

#[test]
fn digits_with_two_classes_a_site_reach_95_percent() {
    // Measured: mean 0.968, lowest 0.953. Over 60 other seeds: mean 0.960, lowest 0.933.
    let run = |seed| federated(&DIGITS, &partition(&DIGITS, seed), seed, |_| None);
    check(&(0..SEEDS).map(run).collect::<Vec<_>>(), 0.95, 0.945);
}

#[test]
fn digits_survive_that_another_site_is_missing_in_each_round() {
    // Measured: mean 0.971, lowest 0.964. Over 60 other seeds: mean 0.961, lowest 0.928.
    let absent = |round: u32| Some(usize::try_from(round).unwrap() % SITES);
    let run = |seed| federated(&DIGITS, &partition(&DIGITS, seed), seed, absent);
    check(&(0..SEEDS).map(run).collect::<Vec<_>>(), 0.95, 0.935);
}

#[test]
fn digits_survive_that_any_site_is_missing_in_each_round() {
    // Harder than in turn: a site that is away for several rounds has its digits forgotten. Measured: mean
    // 0.963, lowest 0.933.
    let run = |seed| {
        let mut rng = Rng::new(seed, Purpose::Sites);
        let away: Vec<usize> = (0..=DIGITS.rounds).map(|_| rng.below(SITES)).collect();
        let absent = |round: u32| usize::try_from(round).ok().map(|round| away[round]);
        federated(&DIGITS, &partition(&DIGITS, seed), seed, absent)
    };
    check(&(0..SEEDS).map(run).collect::<Vec<_>>(), 0.945, 0.92);
}

#[test]
fn a_site_alone_knows_its_two_digits_and_pooled_rows_all_ten() {
    for seed in 0..2 {
        let partition = partition(&DIGITS, seed);
        let reference = Reference {
            recipe: &DIGITS,
            partition: &partition,
            rounds: DIGITS.rounds,
            seed,
        };
        for site in 0..SITES {
            let alone = reference.alone(site).unwrap();
            assert!((0.18..=0.22).contains(&alone), "site {site}: {alone}");
        }
        assert!(reference.pooled().unwrap() >= 0.965);
    }
}

#[test]
fn breast_cancer_reaches_96_percent_with_sites_that_scale_themselves() {
    // Measured: mean 0.968, lowest 0.947. Over 100 other seeds: mean 0.974, lowest 0.947.
    let run = |seed| {
        let partition = partition(&BREAST_CANCER, seed);
        federated(&BREAST_CANCER, &partition, seed, |_| None)
    };
    check(&(0..SEEDS).map(run).collect::<Vec<_>>(), 0.96, 0.935);
}

#[test]
fn breast_cancer_pooled_is_in_the_same_range() {
    // Measured: mean 0.966, lowest 0.947. Over 100 other seeds: mean 0.977, lowest 0.938.
    let pooled = |seed| {
        let partition = partition(&BREAST_CANCER, seed);
        let reference = Reference {
            recipe: &BREAST_CANCER,
            partition: &partition,
            rounds: BREAST_CANCER.rounds,
            seed,
        };
        reference.pooled().unwrap()
    };
    check(&(0..SEEDS).map(pooled).collect::<Vec<_>>(), 0.955, 0.93);
}
