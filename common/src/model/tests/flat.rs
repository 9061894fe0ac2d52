use proptest::prelude::*;

use super::*;

fn halves(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn all(layout: &Layout) -> Selection {
    Selection::choose(layout, &["*".to_owned()], &["n".to_owned()]).unwrap()
}

/// A model with every type of float and a kept integer. One is 0x3c00 in F16 and 0x3f80 in BF16.
fn mixed(x: f32) -> Vec<u8> {
    file_with(
        &[
            ("d", Kind::F64, &[1], f64::from(x).to_le_bytes().to_vec()),
            ("f", Kind::F32, &[2], f32s(&[x, -x])),
            ("h", Kind::F16, &[2], halves(&[0x3c00, 0xbc00])),
            ("g", Kind::BF16, &[1], halves(&[0x3f80])),
            ("n", Kind::I64, &[1], 7_i64.to_le_bytes().to_vec()),
        ],
        &[("format", "pt"), ("zoo", "yes"), ("author", "x")],
    )
}

fn flatten(
    layout: &Layout,
    selection: &Selection,
    model: &Vec<u8>,
) -> Result<Vec<f32>, ModelError> {
    let checkpoint = Checkpoint::model(model, layout)?;
    Flat::new(&checkpoint, layout, selection)?.whole()
}

fn flatten_delta(
    layout: &Layout,
    selection: &Selection,
    global: &Vec<u8>,
    update: &Vec<u8>,
) -> Result<Vec<f32>, ModelError> {
    let global = Checkpoint::model(global, layout)?;
    let update = Checkpoint::update(update, layout)?;
    Delta::new(&global, &update, layout, selection)?.whole()
}

fn apply(
    layout: &Layout,
    selection: &Selection,
    global: &Vec<u8>,
    next: &[f32],
) -> Result<Vec<u8>, ModelError> {
    let checkpoint = Checkpoint::model(global, layout)?;
    Next::new(Flat::new(&checkpoint, layout, selection)?)?.whole(next)
}

fn check_finite(layout: &Layout, model: &Vec<u8>) -> Result<(), ModelError> {
    Checkpoint::model(model, layout)?.check_finite()
}

/// The same tensors, said to be differences.
fn delta_of(weights: &[u8]) -> Vec<u8> {
    let read = safetensors::SafeTensors::deserialize(weights).unwrap();
    let kind = [("veilsum.kind".to_owned(), "delta".to_owned())];
    safetensors::serialize(read.tensors(), Some(kind.into())).unwrap()
}

fn setup(model: &[u8]) -> (Layout, Selection) {
    let layout = layout_of(model).unwrap();
    let selection = all(&layout);
    (layout, selection)
}

/// Order of the data: F64, F32, BF16 and F16 by the safetensors crate's ranking of types.
fn names(layout: &Layout, selection: &Selection) -> Vec<String> {
    selection.averaged(layout).map(|t| t.name.clone()).collect()
}

#[test]
fn flatten_widens_and_narrows_in_layout_order() {
    let model = mixed(2.5);
    let (layout, selection) = setup(&model);
    assert_eq!(names(&layout, &selection), ["d", "f", "g", "h"]);
    let flat = flatten(&layout, &selection, &model).unwrap();
    assert_eq!(flat, [2.5, 2.5, -2.5, 1.0, 1.0, -1.0]);
}

#[test]
fn weights_become_differences_and_deltas_stay() {
    let (global, update) = (mixed(1.0), mixed(1.25));
    let (layout, selection) = setup(&global);
    let delta = flatten_delta(&layout, &selection, &global, &update).unwrap();
    assert_eq!(delta, [0.25, 0.25, -0.25, 0.0, 0.0, 0.0]);
    let update = delta_of(&update);
    let delta = flatten_delta(&layout, &selection, &global, &update).unwrap();
    assert_eq!(delta, [1.25, 1.25, -1.25, 1.0, 1.0, -1.0]);
}

#[test]
fn an_update_may_order_its_tensors_otherwise_and_leave_kept_ones_out() {
    let global = small();
    let (layout, selection) = setup(&global);
    let header = r#"{"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]}}"#;
    let mut update = raw(header, 0);
    update.extend(f32s(&[1.0, 2.0, 13.0, 24.0]));
    let delta = flatten_delta(&layout, &selection, &global, &update).unwrap();
    assert_eq!(names(&layout, &selection), ["a", "b"]);
    assert_eq!(delta, [10.0, 20.0, 0.0, 0.0]);
}

#[test]
fn an_update_that_does_not_fit_is_refused_by_tensor() {
    let global = small();
    let (layout, selection) = setup(&global);
    let a = || ("a", Kind::F32, &[2, 1][..], f32s(&[0.0, 0.0]));
    let b = || ("b", Kind::F32, &[2][..], f32s(&[0.0, 0.0]));
    let refused = |tensors: &[Tensor]| {
        flatten_delta(&layout, &selection, &global, &file(tensors)).unwrap_err()
    };
    assert!(
        matches!(refused(&[a()]), ModelError::Missing { file: File::Update, tensor } if tensor == "b")
    );
    let extra = refused(&[a(), b(), ("c", Kind::F32, &[1], f32s(&[0.0]))]);
    assert!(
        matches!(extra, ModelError::Unexpected { file: File::Update, tensor } if tensor == "c")
    );
    let shape = refused(&[("a", Kind::F32, &[1, 2], f32s(&[0.0, 0.0])), b()]);
    assert!(
        matches!(&shape, ModelError::Shape { have, need, .. } if *have == [1, 2] && *need == [2, 1]),
        "{shape}"
    );
    let dtype = refused(&[("a", Kind::F64, &[2, 1], vec![0; 16]), b()]);
    assert!(matches!(
        dtype,
        ModelError::WrongDtype {
            have: Dtype::F64,
            need: Dtype::F32,
            ..
        }
    ));
    let kept = refused(&[a(), b(), ("n", Kind::I32, &[], vec![0; 4])]);
    assert!(matches!(kept, ModelError::WrongDtype { tensor, .. } if tensor == "n"));
}

#[test]
fn a_number_that_is_not_finite_is_named_by_tensor_and_index() {
    let global = small();
    let (layout, selection) = setup(&global);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let weights = file(&[
            ("a", Kind::F32, &[2, 1], f32s(&[0.0, 0.0])),
            ("b", Kind::F32, &[2], f32s(&[0.0, bad])),
        ]);
        for update in [delta_of(&weights), weights] {
            let error = flatten_delta(&layout, &selection, &global, &update).unwrap_err();
            let text = error.to_string();
            assert!(
                text.starts_with("tensor `b` in the update is ") && text.contains("index 1"),
                "{text}"
            );
        }
    }
}

#[test]
fn a_model_with_nan_anywhere_is_refused() {
    let good = mixed(1.0);
    let (layout, selection) = setup(&good);
    check_finite(&layout, &good).unwrap();
    let bad = mixed(f32::NAN);
    let error = check_finite(&layout, &bad).unwrap_err();
    assert!(
        matches!(&error, ModelError::NotFinite { file: File::Model, tensor, index: 0, .. } if tensor == "d"),
        "{error}"
    );
    assert!(flatten(&layout, &selection, &bad).is_err());
    assert!(flatten_delta(&layout, &selection, &bad, &good).is_err());
    // also in a tensor that is not averaged
    let kept = Selection::choose(&layout, &["h".to_owned()], &[]).unwrap();
    assert!(check_finite(&layout, &bad).is_err());
    assert_eq!(flatten(&layout, &kept, &bad).unwrap(), [1.0, -1.0]);
}

#[test]
fn what_f32_cannot_hold_is_refused() {
    let double = |x: f64| file(&[("d", Kind::F64, &[1], x.to_le_bytes().to_vec())]);
    let (layout, selection) = setup(&double(0.0));
    assert!(matches!(
        flatten(&layout, &selection, &double(1e39)),
        Err(ModelError::BeyondF32 { .. })
    ));
    let single = |x: f32| file(&[("f", Kind::F32, &[1], f32s(&[x]))]);
    let (layout, selection) = setup(&single(0.0));
    let error = flatten_delta(&layout, &selection, &single(-3e38), &single(3e38));
    assert!(matches!(
        error,
        Err(ModelError::BeyondF32 {
            file: File::Update,
            ..
        })
    ));
}

#[test]
fn a_model_of_another_layout_is_refused() {
    let (layout, selection) = setup(&small());
    let fewer = file(&[
        ("a", Kind::F32, &[2, 1], f32s(&[0.0; 2])),
        ("b", Kind::F32, &[2], f32s(&[0.0; 2])),
    ]);
    assert!(
        matches!(flatten(&layout, &selection, &fewer), Err(ModelError::Missing { file: File::Model, tensor }) if tensor == "n")
    );
    let other = file(&[("c", Kind::F32, &[1], f32s(&[0.0]))]);
    assert!(
        matches!(flatten(&layout, &selection, &other), Err(ModelError::Unexpected { tensor, .. }) if tensor == "c")
    );
}

#[test]
fn the_next_checkpoint_keeps_header_and_kept_tensors_byte_for_byte() {
    let global = mixed(1.0);
    let (layout, selection) = setup(&global);
    let next = apply(
        &layout,
        &selection,
        &global,
        &[0.5, 1.5, 2.5, 3.5, 4.5, 5.5],
    )
    .unwrap();
    assert_eq!(
        flatten(&layout, &selection, &next).unwrap(),
        [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    );
    assert_eq!(next.len(), global.len());
    let header = 8 + usize::try_from(u64::from_le_bytes(global[..8].try_into().unwrap())).unwrap();
    assert_eq!(next[..header], global[..header]);
    let read = safetensors::SafeTensors::deserialize(&next).unwrap();
    assert_eq!(read.tensor("n").unwrap().data(), 7_i64.to_le_bytes());
    let again = apply(
        &layout,
        &selection,
        &global,
        &flatten(&layout, &selection, &global).unwrap(),
    )
    .unwrap();
    assert_eq!(again, global);
}

#[test]
fn halves_are_rounded_and_never_become_infinite() {
    let global = mixed(1.0);
    let (layout, selection) = setup(&global);
    let third = apply(
        &layout,
        &selection,
        &global,
        &[0.0, 0.0, 0.0, 1.0 / 3.0, 1.0 / 3.0, 0.0],
    )
    .unwrap();
    let flat = flatten(&layout, &selection, &third).unwrap();
    assert_eq!(flat[3..5], [0.333_984_38, 0.333_251_95]);
    let error = apply(
        &layout,
        &selection,
        &global,
        &[0.0, 0.0, 0.0, 0.0, 0.0, 70_000.0],
    )
    .unwrap_err();
    assert!(
        matches!(&error, ModelError::Range { tensor, index: 1, dtype: Dtype::F16, .. } if tensor == "h"),
        "{error}"
    );
    for bad in [f32::NAN, f32::INFINITY] {
        let error = apply(
            &layout,
            &selection,
            &global,
            &[0.0, bad, 0.0, 0.0, 0.0, 0.0],
        )
        .unwrap_err();
        assert!(
            matches!(&error, ModelError::Range { tensor, index: 0, .. } if tensor == "f"),
            "{error}"
        );
    }
}

#[test]
fn a_vector_of_another_length_is_refused() {
    let global = small();
    let (layout, selection) = setup(&global);
    for have in [0, 3, 5] {
        let error = apply(&layout, &selection, &global, &vec![0.0; have]).unwrap_err();
        assert!(matches!(error, ModelError::Length { need: 4, .. }));
    }
}

/// A model of several blocks: two averaged tensors around a kept one.
fn long() -> Vec<u8> {
    let ramp = |len: usize, by: f32| (0..len).map(|k| k as f32 * by).collect::<Vec<_>>();
    file(&[
        ("a", Kind::F32, &[40_000], f32s(&ramp(40_000, 0.5))),
        ("n", Kind::F32, &[300], f32s(&ramp(300, 1.0))),
        ("z", Kind::F32, &[3], f32s(&[7.0, 8.0, 9.0])),
    ])
}

#[test]
fn any_range_is_a_piece_of_the_whole() {
    let model = long();
    let (layout, selection) = setup(&model);
    let whole = flatten(&layout, &selection, &model).unwrap();
    let checkpoint = Checkpoint::model(&model, &layout).unwrap();
    let flat = Flat::new(&checkpoint, &layout, &selection).unwrap();
    for (first, len) in [
        (0, 0),
        (0, 1),
        (16_383, 2),
        (39_999, 2),
        (40_002, 1),
        (0, 40_003),
    ] {
        let mut out = vec![f32::NAN; len];
        flat.values(first as u64, &mut out).unwrap();
        assert_eq!(out, whole[first..first + len]);
    }
}

#[test]
fn the_next_checkpoint_is_the_same_however_its_values_come() {
    let model = long();
    let (layout, selection) = setup(&model);
    let next: Vec<f32> = (0..40_003).map(|k| -(k as f32)).collect();
    let whole = apply(&layout, &selection, &model, &next).unwrap();
    let read = safetensors::SafeTensors::deserialize(&whole).unwrap();
    assert_eq!(read.tensor("z").unwrap().data(), f32s(&next[40_000..]));
    let checkpoint = Checkpoint::model(&model, &layout).unwrap();
    let mut writer = Next::new(Flat::new(&checkpoint, &layout, &selection).unwrap()).unwrap();
    let mut bytes = Vec::new();
    let mut sink = |some: &[u8]| {
        bytes.extend_from_slice(some);
        Ok::<(), ModelError>(())
    };
    for some in next.chunks(777) {
        writer.push(some, &mut sink).unwrap();
    }
    writer.finish(&mut sink).unwrap();
    assert!(bytes == whole);
}

/// A file that was cut short after its header was read.
struct Cut(Vec<u8>, u64);

impl Source for Cut {
    fn len_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> Result<(), Unread> {
        let cut = usize::try_from(self.1).unwrap();
        (&self.0[..cut]).read_exact_at(out, offset)
    }
}

#[test]
fn a_file_that_is_cut_short_is_an_error_and_no_panic() {
    let model = long();
    let (layout, selection) = setup(&model);
    let cut = Cut(model.clone(), model.len() as u64 - 1);
    let checkpoint = Checkpoint::model(&cut, &layout).unwrap();
    let flat = Flat::new(&checkpoint, &layout, &selection).unwrap();
    let mut out = vec![0.0; 3];
    flat.values(0, &mut out).unwrap();
    let error = flat.values(40_000, &mut out).unwrap_err();
    assert!(
        matches!(
            error,
            ModelError::Unreadable {
                file: File::Model,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn tensors_in_another_order_than_the_layouts_are_not_written_over() {
    let header = r#"{"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    let layout = Layout::new(vec![
        spec("a", Dtype::F32, &[1]),
        spec("b", Dtype::F32, &[1]),
    ])
    .unwrap();
    let error = apply(&layout, &all(&layout), &raw(header, 8), &[1.0, 2.0]).unwrap_err();
    assert!(matches!(error, ModelError::Order { tensor } if tensor == "b"));
}

proptest! {
    #[test]
    fn apply_then_flatten_is_the_identity_on_f32(values in prop::collection::vec(any::<f32>().prop_filter("finite", |v| v.is_finite()), 4)) {
        let global = small();
        let (layout, selection) = setup(&global);
        let next = apply(&layout, &selection, &global, &values).unwrap();
        prop_assert_eq!(flatten(&layout, &selection, &next).unwrap(), values);
    }

    #[test]
    fn a_delta_added_back_gives_the_weights(old in -100.0_f32..100.0, new in -100.0_f32..100.0) {
        let single = |x: f32| file(&[("f", Kind::F32, &[1], f32s(&[x]))]);
        let (layout, selection) = setup(&single(0.0));
        let delta = flatten_delta(&layout, &selection, &single(old), &single(new)).unwrap();
        prop_assert_eq!(delta[0], new - old);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(header in "\\PC{0,60}", data in 0_usize..20, flip in 0_usize..200, to: u8) {
        let _ = layout_of(&raw(&header, data));
        let mut bytes = small();
        let at = flip % bytes.len();
        bytes[at] = to;
        if let Ok(layout) = layout_of(&bytes) {
            let _ = check_finite(&layout, &bytes);
        }
    }
}
