use super::*;

fn choose(
    tensors: &[TensorSpec],
    aggregate: &[&str],
    keep_global: &[&str],
) -> Result<Selection, ModelError> {
    let owned = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
    Selection::choose(
        &Layout::new(tensors.to_vec()).unwrap(),
        &owned(aggregate),
        &owned(keep_global),
    )
}

fn network() -> Vec<TensorSpec> {
    vec![
        spec("body.weight", Dtype::F32, &[4, 3]),
        spec("body.num_batches_tracked", Dtype::I64, &[]),
        spec("head.weight", Dtype::F16, &[2, 3]),
        spec("head.bias", Dtype::BF16, &[2]),
    ]
}

#[test]
fn stars_and_question_marks_match_names() {
    for (pattern, name, expected) in [
        ("*", "", true),
        ("*", "a.b.c", true),
        ("", "", true),
        ("", "a", false),
        ("a", "a", true),
        ("a", "ab", false),
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("*.num_batches_tracked", "bn1.num_batches_tracked", true),
        ("*.num_batches_tracked", "bn1.num_batches", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c-b", false),
        ("l?yer", "layer", true),
        ("l?yer", "lyer", false),
        ("?", "é", true),
        ("??", "é", false),
        ("*?", "€", true),
        ("*???x", "€€x", false),
        ("*??x", "€x€€x", true),
        ("**a**", "a", true),
        ("*a", "aaaa", true),
        ("[ab]", "a", false),
        ("A", "a", false),
    ] {
        assert_eq!(glob_matches(pattern, name), expected, "{pattern} on {name}");
    }
}

#[test]
fn floats_that_match_and_are_not_kept_are_averaged_in_order() {
    let layout = Layout::new(network()).unwrap();
    let selection = choose(&network(), &["*"], &["*.num_batches_tracked", "head.bias"]).unwrap();
    let names: Vec<_> = selection
        .averaged(&layout)
        .map(|t| t.name.as_str())
        .collect();
    assert_eq!(names, ["body.weight", "head.weight"]);
    assert_eq!(selection.elements(), 12 + 6);
}

#[test]
fn tensors_that_no_pattern_names_are_kept() {
    let selection = choose(&network(), &["head.*"], &[]).unwrap();
    assert_eq!(selection.elements(), 6 + 2);
}

#[test]
fn an_integer_tensor_must_be_named_under_keep_global() {
    let error = choose(&network(), &["*"], &[]).unwrap_err();
    assert!(matches!(
        &error,
        ModelError::Integer {
            dtype: Dtype::I64,
            ..
        }
    ));
    let text = error.to_string();
    assert!(
        text.contains("body.num_batches_tracked") && text.contains("keep_global"),
        "{text}"
    );
}

#[test]
fn a_selection_is_never_empty() {
    assert!(matches!(
        choose(&network(), &["*"], &["*"]),
        Err(ModelError::NothingSelected)
    ));
    assert!(matches!(
        choose(&network(), &[], &[]),
        Err(ModelError::NothingSelected)
    ));
    let error = choose(&network(), &["haed.*", "body.weight"], &[]).unwrap_err();
    assert!(matches!(error, ModelError::Unmatched { pattern } if pattern == "haed.*"));
}
