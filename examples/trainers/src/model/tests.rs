use super::*;

fn bytes(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (
            *name,
            TensorView::new(*dtype, shape.to_vec(), data).unwrap(),
        )
    });
    safetensors::serialize(views, None).unwrap()
}

const F32: Dtype = Dtype::F32;
const ZEROS: [u8; 64] = [0; 64];

#[test]
fn the_digits_network_has_its_named_tensors() {
    let model = Model::init(&[64, 32, 10], 0);
    assert_eq!(
        (model.features(), model.classes(), model.parameters()),
        (64, 10, 2410)
    );
    let bytes = model.to_safetensors(FileKind::Model);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name| file.tensor(name).unwrap().shape().to_vec();
    assert_eq!(shape("layer1.weight"), [32, 64]);
    assert_eq!(shape("layer1.bias"), [32]);
    assert_eq!(shape("layer2.weight"), [10, 32]);
    assert_eq!(shape("layer2.bias"), [10]);
    assert_eq!(file.len(), 4);
}

#[test]
fn softmax_regression_is_a_stack_of_one_layer() {
    assert_eq!(Model::init(&[30, 2], 0).parameters(), 62);
}

#[test]
fn an_initial_model_is_he_uniform_and_follows_from_its_seed() {
    let model = Model::init(&[64, 32, 10], 7);
    assert_eq!(model, Model::init(&[64, 32, 10], 7));
    assert_ne!(model, Model::init(&[64, 32, 10], 8));
    let bound = (6.0_f32 / 64.0).sqrt();
    let weight = &model.layers[0].weight;
    let largest = weight.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    assert!(largest <= bound && largest > 0.9 * bound);
    assert!(
        model
            .layers
            .iter()
            .all(|layer| layer.bias.iter().all(|v| *v == 0.0))
    );
}

#[test]
fn writing_and_reading_gives_the_same_model() {
    let model = Model::init(&[3, 4, 5, 2], 1);
    for kind in [FileKind::Model, FileKind::Update] {
        let read = Model::from_safetensors(&model.to_safetensors(kind)).unwrap();
        assert_eq!(read, model);
    }
}

#[test]
fn only_an_update_is_marked_as_weights() {
    let model = Model::init(&[3, 2], 1);
    let mark = |kind| {
        let bytes = model.to_safetensors(kind);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        header.metadata().clone()
    };
    assert_eq!(mark(FileKind::Model), None);
    let weights = HashMap::from([("veilsum.kind".to_owned(), "weights".to_owned())]);
    assert_eq!(mark(FileKind::Update), Some(weights));
}

#[test]
fn tensors_that_are_no_stack_of_layers_are_refused() {
    let check = |tensors: &[(&str, Dtype, &[usize], &[u8])], part: &str| {
        let text = Model::from_safetensors(&bytes(tensors))
            .unwrap_err()
            .to_string();
        assert!(text.contains(part), "{text}");
    };
    let weight = ("layer1.weight", F32, &[2, 3][..], &ZEROS[..24]);
    let bias = ("layer1.bias", F32, &[2][..], &ZEROS[..8]);
    check(&[bias], "no tensor `layer1.weight`");
    check(&[weight], "no tensor `layer1.bias`");
    check(
        &[weight, bias, ("head", F32, &[1], &ZEROS[..4])],
        "a tensor `head`",
    );
    let gap = ("layer3.bias", F32, &[2][..], &ZEROS[..8]);
    check(&[weight, bias, gap], "a tensor `layer3.bias`");
    check(
        &[("layer1.weight", F32, &[6], &ZEROS[..24]), bias],
        "shape [6]",
    );
    check(
        &[("layer1.weight", F32, &[0, 3], &[]), bias],
        "shape [0, 3]",
    );
    check(
        &[weight, ("layer1.bias", F32, &[3], &ZEROS[..12])],
        "`layer1.bias` has shape [3]",
    );
    let second = ("layer2.weight", F32, &[2, 3][..], &ZEROS[..24]);
    check(&[weight, bias, second], "`layer2.weight` has shape [2, 3]");
    check(
        &[("layer1.weight", Dtype::F64, &[2, 3], &ZEROS[..48]), bias],
        "dtype F64",
    );
    check(
        &[("layer1.weight", Dtype::I32, &[2, 3], &ZEROS[..24]), bias],
        "dtype I32",
    );
}

#[test]
fn a_value_that_is_not_finite_is_refused_with_its_index() {
    for (value, index) in [(f32::NAN, 1), (f32::INFINITY, 0)] {
        let mut model = Model::init(&[3, 2], 1);
        model.layers[0].bias[index] = value;
        let text = Model::from_safetensors(&model.to_safetensors(FileKind::Model))
            .unwrap_err()
            .to_string();
        assert!(text.contains("`layer1.bias`"), "{text}");
        assert!(text.contains(&format!("index {index}")), "{text}");
    }
}

#[test]
fn bytes_that_are_no_container_are_refused() {
    let whole = Model::init(&[3, 2], 1).to_safetensors(FileKind::Model);
    for bytes in [
        &b""[..],
        &b"garbage!garbage!"[..],
        &whole[..whole.len() - 1],
    ] {
        let error = Model::from_safetensors(bytes).unwrap_err();
        assert!(matches!(error, ModelError::NotSafetensors(_)));
    }
}
