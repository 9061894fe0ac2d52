use ndarray::array;

use super::*;
use crate::data::parse;

fn config() -> TrainConfig {
    TrainConfig {
        local_epochs: 5,
        lr: 0.5,
        batch_size: 2,
        seed: 3,
    }
}

/// Exclusive or: no single layer can learn it.
fn xor() -> Dataset {
    parse("a,b,label\n0,0,0\n0,1,1\n1,0,1\n1,1,0\n").unwrap()
}

#[test]
fn two_layers_learn_what_one_cannot() {
    let config = TrainConfig {
        local_epochs: 500,
        ..config()
    };
    let accuracy = |widths: &[usize]| {
        let mut model = Model::init(widths, 1);
        model.train(&xor(), &config, 1).unwrap();
        model.score(&xor()).unwrap().accuracy
    };
    assert_eq!(accuracy(&[2, 8, 2]), 1.0);
    assert!(accuracy(&[2, 2]) < 1.0);
}

#[test]
fn a_step_follows_the_numerical_gradient() {
    let data = xor();
    let model = Model::init(&[2, 3, 2], 5);
    let lr = 1e-2;
    let mut stepped = model.clone();
    stepped.step(&data, lr);
    let loss = |model: &Model| model.score(&data).unwrap().loss;
    for (number, layer) in model.layers.iter().enumerate() {
        for ((row, column), before) in layer.weight.indexed_iter() {
            let nudged = |by: f32| {
                let mut other = model.clone();
                other.layers[number].weight[(row, column)] += by;
                loss(&other)
            };
            let slope = (nudged(1e-3) - nudged(-1e-3)) / 2e-3;
            let taken = f64::from((before - stepped.layers[number].weight[(row, column)]) / lr);
            assert!(
                (slope - taken).abs() < 2e-3,
                "layer {number}: {slope} {taken}"
            );
        }
    }
}

#[test]
fn the_bias_follows_its_gradient_too() {
    // Softmax of (0, 0) is (½, ½); the only row is of class 1.
    let mut model = Model::init(&[1, 2], 0);
    let data = parse("a,label\n0,1\n").unwrap();
    model.step(&data, 1.0);
    assert_eq!(model.layers[0].bias, array![-0.5, 0.5]);
}

#[test]
fn seed_and_round_decide_what_is_learned() {
    let trained = |seed, round| {
        let mut model = Model::init(&[2, 8, 2], 1);
        let config = TrainConfig { seed, ..config() };
        model.train(&xor(), &config, round).unwrap();
        model
    };
    assert_eq!(trained(1, 1), trained(1, 1));
    assert_ne!(trained(1, 1), trained(1, 2));
    assert_ne!(trained(1, 1), trained(2, 1));
}

#[test]
fn training_returns_the_loss_of_the_last_epoch() {
    let mut model = Model::init(&[2, 8, 2], 1);
    let first = model.train(&xor(), &config(), 1).unwrap();
    for round in 2..50 {
        model.train(&xor(), &config(), round).unwrap();
    }
    let last = model.train(&xor(), &config(), 50).unwrap();
    assert!(last < first / 4.0, "{first} {last}");
}

#[test]
fn a_score_without_a_single_largest_class_is_wrong() {
    let mut model = Model::init(&[2, 2], 1);
    model.layers[0].weight.fill(0.0);
    let score = model.score(&xor()).unwrap();
    assert_eq!(score.accuracy, 0.0);
    assert!((score.loss - 2.0_f64.ln()).abs() < 1e-6);
}

#[test]
fn the_loss_of_a_confident_mistake_is_capped() {
    let mut model = Model::init(&[2, 2], 1);
    model.layers[0].weight.fill(0.0);
    model.layers[0].bias = array![1e6, -1e6];
    let score = model.score(&xor()).unwrap();
    assert_eq!((score.loss, score.accuracy), (LOSS_MAX / 2.0, 0.5));
}

#[test]
fn settings_out_of_range_are_refused() {
    let check = |config: TrainConfig, expected| {
        let result = Model::init(&[2, 2], 1).train(&xor(), &config, 1);
        assert_eq!(result, Err(expected));
    };
    let epochs = |local_epochs| TrainConfig {
        local_epochs,
        ..config()
    };
    check(epochs(0), TrainError::LocalEpochs { have: 0 });
    check(epochs(1001), TrainError::LocalEpochs { have: 1001 });
    for lr in [0.0, -0.1, 101.0, f32::INFINITY] {
        check(
            TrainConfig { lr, ..config() },
            TrainError::LearningRate { have: lr },
        );
    }
    let none = TrainConfig {
        batch_size: 0,
        ..config()
    };
    check(none, TrainError::BatchSize);
    let nan = TrainConfig {
        lr: f32::NAN,
        ..config()
    };
    assert!(Model::init(&[2, 2], 1).train(&xor(), &nan, 1).is_err());
}

#[test]
fn rows_that_do_not_fit_the_model_are_refused() {
    let check = |widths: &[usize], data: &Dataset, expected| {
        let mut model = Model::init(widths, 1);
        assert_eq!(model.score(data).unwrap_err(), expected);
        assert_eq!(model.train(data, &config(), 1), Err(expected));
    };
    check(&[2, 2], &xor().select(&[]), TrainError::NoRows);
    check(&[3, 2], &xor(), TrainError::Features { have: 2, need: 3 });
    let label = TrainError::Label {
        row: 1,
        label: 1,
        classes: 1,
    };
    check(&[2, 1], &xor(), label);
}

#[test]
fn training_that_diverges_is_an_error_and_not_a_model() {
    let data = parse("a,label\n1e30,0\n-1e30,1\n1e30,1\n").unwrap();
    let mut model = Model::init(&[1, 4, 2], 1);
    let result = model.train(&data, &config(), 1);
    assert_eq!(result, Err(TrainError::Diverged { lr: 0.5 }));
}

#[test]
fn a_batch_larger_than_the_data_is_one_step() {
    let large = TrainConfig {
        batch_size: usize::MAX,
        ..config()
    };
    Model::init(&[2, 2], 1).train(&xor(), &large, 1).unwrap();
}
