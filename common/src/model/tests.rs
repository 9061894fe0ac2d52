use safetensors::tensor::{Dtype as Kind, TensorView};

use super::*;

mod flat;
mod selection;

/// Name, type, shape and bytes of a tensor.
type Tensor<'a> = (&'a str, Kind, &'a [usize], Vec<u8>);

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn file_with(tensors: &[Tensor], metadata: &[(&str, &str)]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, kind, shape, data)| {
        (
            (*name).to_owned(),
            TensorView::new(*kind, shape.to_vec(), data).unwrap(),
        )
    });
    let metadata: Vec<_> = metadata
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let metadata = (!metadata.is_empty()).then(|| metadata.into_iter().collect());
    safetensors::serialize(views, metadata).unwrap()
}

fn file(tensors: &[Tensor]) -> Vec<u8> {
    file_with(tensors, &[])
}

/// A file from a literal header, for what no library would write.
fn raw(header: &str, data_bytes: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data_bytes, 0);
    bytes
}

/// The layout of a model in memory.
fn layout_of(model: &[u8]) -> Result<Layout, ModelError> {
    Ok(Checkpoint::open(&model, File::Model)?.layout().clone())
}

fn kind_of(update: Vec<u8>) -> Result<UpdateKind, ModelError> {
    Checkpoint::open(&update, File::Update)?.kind()
}

fn small() -> Vec<u8> {
    file(&[
        ("b", Kind::F32, &[2], f32s(&[1.0, 2.0])),
        ("a", Kind::F32, &[2, 1], f32s(&[3.0, 4.0])),
        ("n", Kind::I64, &[], 7_i64.to_le_bytes().to_vec()),
    ])
}

fn spec(name: &str, dtype: Dtype, shape: &[u64]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: shape.to_vec(),
    }
}

#[test]
fn a_layout_keeps_the_order_of_the_data() {
    let layout = layout_of(&small()).unwrap();
    let expected = [
        spec("n", Dtype::I64, &[]),
        spec("a", Dtype::F32, &[2, 1]),
        spec("b", Dtype::F32, &[2]),
    ];
    assert_eq!(layout.tensors(), expected);
    // a header may list tensors in any order: the offsets count
    let header = r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"y":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    let layout = layout_of(&raw(header, 2)).unwrap();
    let names: Vec<_> = layout.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["y", "x"]);
}

#[test]
fn the_digest_is_over_the_documented_bytes() {
    let layout = Layout::new(vec![spec("w", Dtype::F32, &[2, 3])]).unwrap();
    let mut bytes = b"veilsum/v1/layout\0".to_vec();
    for number in [1_u64, 1] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(b"w");
    bytes.extend(3_u64.to_le_bytes());
    bytes.extend(b"F32");
    for number in [2_u64, 2, 3] {
        bytes.extend(number.to_le_bytes());
    }
    assert_eq!(layout.digest(), Digest::of_bulk(&bytes));
}

#[test]
fn the_digest_depends_on_everything() {
    let base = vec![spec("a", Dtype::F32, &[2, 3]), spec("b", Dtype::F32, &[6])];
    let mut all = vec![
        base.clone(),
        base[..1].to_vec(),
        vec![base[1].clone(), base[0].clone()],
    ];
    all.push(vec![spec("a", Dtype::F32, &[3, 2]), base[1].clone()]);
    all.push(vec![spec("a", Dtype::F16, &[2, 3]), base[1].clone()]);
    all.push(vec![spec("c", Dtype::F32, &[2, 3]), base[1].clone()]);
    all.push(vec![spec("a", Dtype::F32, &[2, 3, 1]), base[1].clone()]);
    let digests: std::collections::BTreeSet<_> = all
        .iter()
        .map(|tensors| Layout::new(tensors.clone()).unwrap().digest())
        .collect();
    assert_eq!(digests.len(), all.len());
}

#[test]
fn what_is_not_safetensors_is_refused() {
    for bytes in [&b""[..], b"abc", &raw("{", 0), &raw("{}", 4), &raw("[]", 0)] {
        let error = layout_of(bytes).unwrap_err();
        assert!(matches!(error, ModelError::Format { .. }), "{error}");
    }
    let zip = layout_of(b"PK\x03\x04\0\0\0\0archive").unwrap_err();
    assert!(matches!(zip, ModelError::Header { .. }), "{zip}");
    let error = layout_of(&[0xff; 64]).unwrap_err();
    assert!(
        matches!(
            error,
            ModelError::Header {
                header_bytes: u64::MAX,
                ..
            }
        ),
        "{error}"
    );
    let hole = r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    assert!(matches!(
        layout_of(&raw(hole, 2)),
        Err(ModelError::Format { .. })
    ));
    let huge = r#"{"x":{"dtype":"U8","shape":[9223372036854775807,3],"data_offsets":[0,1]}}"#;
    assert!(matches!(
        layout_of(&raw(huge, 1)),
        Err(ModelError::Format { .. })
    ));
}

#[test]
fn limits_of_a_layout_are_checked() {
    let read = |tensors: &[Tensor]| layout_of(&file(tensors)).unwrap_err();
    assert!(matches!(read(&[]), ModelError::Empty { file: File::Model }));
    assert!(matches!(
        read(&[("x", Kind::F32, &[0, 3], vec![])]),
        ModelError::NoElements { .. }
    ));
    assert!(matches!(
        read(&[("x", Kind::U8, &[1; 9], vec![0])]),
        ModelError::Rank {
            have: 9,
            limit: 8,
            ..
        }
    ));
    assert!(matches!(
        read(&[("", Kind::U8, &[1], vec![0])]),
        ModelError::Name { .. }
    ));
    assert!(matches!(
        read(&[("a\nb", Kind::U8, &[1], vec![0])]),
        ModelError::Name { .. }
    ));
    let long = "x".repeat(MAX_TENSOR_NAME + 1);
    assert!(matches!(
        read(&[(&long, Kind::U8, &[1], vec![0])]),
        ModelError::Name { .. }
    ));
    let error = read(&[("w8", Kind::F8_E4M3, &[1], vec![0])]);
    assert!(
        matches!(&error, ModelError::Dtype { tensor, .. } if tensor == "w8"),
        "{error}"
    );
}

#[test]
fn a_layout_from_the_wire_is_checked_in_the_same_way() {
    let twice = vec![spec("a", Dtype::F32, &[1]), spec("a", Dtype::F32, &[1])];
    assert!(matches!(Layout::new(twice), Err(ModelError::Twice { .. })));
    let many = vec![spec("a", Dtype::F32, &[1]); MAX_TENSORS + 1];
    assert!(matches!(
        Layout::new(many),
        Err(ModelError::TooManyTensors { .. })
    ));
    for shape in [
        vec![MAX_ELEMENTS + 1],
        vec![u64::MAX, u64::MAX],
        vec![1 << 33, 1 << 33],
    ] {
        let large = vec![spec("a", Dtype::F32, &shape)];
        assert!(matches!(
            Layout::new(large),
            Err(ModelError::TooManyElements { .. })
        ));
    }
    assert!(matches!(Layout::new(vec![]), Err(ModelError::Empty { .. })));
    assert!(Layout::new(vec![spec("a", Dtype::F32, &[MAX_ELEMENTS])]).is_ok());
}

#[test]
fn names_of_types_are_those_of_safetensors() {
    for (dtype, kind) in [
        (Dtype::F16, Kind::F16),
        (Dtype::BF16, Kind::BF16),
        (Dtype::Bool, Kind::BOOL),
        (Dtype::U64, Kind::U64),
    ] {
        assert_eq!(dtype.to_string(), kind.to_string());
        assert_eq!(
            serde_json::to_string(&dtype).unwrap(),
            format!("\"{dtype}\"")
        );
        assert_eq!(dtype.size_bytes() * 8, kind.bitsize());
    }
}

#[test]
fn the_kind_of_an_update_is_in_its_metadata() {
    let kind =
        |metadata: &[(&str, &str)]| kind_of(file_with(&[("a", Kind::U8, &[1], vec![0])], metadata));
    assert_eq!(kind(&[]).unwrap(), UpdateKind::Weights);
    assert_eq!(kind(&[("format", "pt")]).unwrap(), UpdateKind::Weights);
    assert_eq!(
        kind(&[("veilsum.kind", "weights")]).unwrap(),
        UpdateKind::Weights
    );
    assert_eq!(
        kind(&[("veilsum.kind", "delta")]).unwrap(),
        UpdateKind::Delta
    );
    assert!(
        matches!(kind(&[("veilsum.kind", "gradient")]), Err(ModelError::Kind { found }) if found == "gradient")
    );
    assert!(matches!(
        kind_of(b"junk".to_vec()),
        Err(ModelError::Format {
            file: File::Update,
            ..
        })
    ));
}
