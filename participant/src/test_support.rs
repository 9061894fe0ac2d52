//! A small run for this crate's unit tests.

pub(crate) mod story;

use std::sync::Arc;

use safetensors::tensor::{Dtype, TensorView};
use veilsum_common::{RunId, RunSpec, Study};

/// Name, type, shape and bytes of a tensor.
pub(crate) type Tensor<'a> = (&'a str, Dtype, &'a [usize], Vec<u8>);

pub(crate) fn f32s(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A safetensors file, with `veilsum.kind` when one is given.
pub(crate) fn file(tensors: &[Tensor<'_>], kind: Option<&str>) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (
            (*name).to_owned(),
            TensorView::new(*dtype, shape.to_vec(), data).unwrap(),
        )
    });
    let metadata = kind.map(|kind| [("veilsum.kind".to_owned(), kind.to_owned())].into());
    safetensors::serialize(views, metadata).unwrap()
}

/// Two averaged tensors and an integer one that is kept.
pub(crate) fn model() -> Vec<u8> {
    file(
        &[
            ("w", Dtype::F32, &[2, 1], f32s(&[1.0, 2.0])),
            ("b", Dtype::F32, &[1], f32s(&[0.5])),
            ("steps", Dtype::I64, &[], 7_i64.to_le_bytes().to_vec()),
        ],
        None,
    )
}

pub(crate) fn run() -> Arc<RunSpec> {
    run_of([1; 32])
}

/// The same run of the coordinator with this key.
pub(crate) fn run_of(coordinator: [u8; 32]) -> Arc<RunSpec> {
    run_up_to(5, coordinator)
}

/// The same for at most so many sites.
pub(crate) fn run_up_to(target: u32, coordinator: [u8; 32]) -> Arc<RunSpec> {
    let study = STUDY.replace("target = 5", &format!("target = {target}"));
    let study = Study::parse(&study).unwrap();
    let run_id = RunId::from_bytes([7; 16]);
    Arc::new(RunSpec::from_study(&study, run_id, coordinator, &model()).unwrap())
}

const STUDY: &str = r#"
schema = "veilsum.study/v1"
name = "small"
[rounds]
count = 9
cohort = { min = 5, target = 5 }
join_timeout = "1m"
report_timeout = "1m"
[secagg]
clip = { kind = "l2", value = 1.0 }
weight = { by = "examples", max = 100 }
[model]
initial = "init.safetensors"
aggregate = ["*"]
keep_global = ["steps"]
[metrics]
accuracy = { range = [0.0, 1.0] }
loss = { range = [0.0, 10.0] }
[config]
local_epochs = 2
"#;
