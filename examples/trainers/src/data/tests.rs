use ndarray::array;

use super::*;

#[test]
fn the_bundled_data_have_their_published_sizes() {
    let digits = digits();
    assert_eq!(digits.features.dim(), (1797, 64));
    assert_eq!(digits.classes, 10);
    assert!(digits.features.iter().all(|v| (0.0..=16.0).contains(v)));

    let cancer = breast_cancer();
    assert_eq!(cancer.features.dim(), (569, 30));
    assert_eq!(cancer.classes, 2);
    let malignant = cancer.labels.iter().filter(|&&label| label == 0).count();
    assert_eq!(malignant, 212);
}

#[test]
fn the_label_is_found_by_name_else_it_is_the_last_column() {
    let check = |text, features, labels: &[usize]| {
        let data = parse(text).unwrap();
        assert_eq!(data.features, features);
        assert_eq!(data.labels, labels);
        assert_eq!(data.classes, 3);
    };
    let features = array![[1.0, -2.5], [3.0, 4e-2]];
    check("a,label,b\n1,0,-2.5\n3,2,4e-2\n", features.clone(), &[0, 2]);
    check("a,b,class\n1,-2.5,2\n3,4e-2,1", features, &[2, 1]);
}

#[test]
fn byte_order_mark_carriage_returns_spaces_and_blank_lines_are_passed_over() {
    let data = parse("\u{feff}a, label\r\n\r\n 1 , 0\r\n\r\n2,1\r\n\r\n").unwrap();
    assert_eq!(data.features, array![[1.0], [2.0]]);
    assert_eq!(data.rows, [0, 1]);
}

#[test]
fn bad_text_is_refused_with_its_place() {
    let value = |line, column, name: &str| CsvError::Value {
        line,
        column,
        name: name.to_owned(),
    };
    let label = |line, column| CsvError::Label {
        line,
        column,
        name: "label".to_owned(),
        limit: 1023,
    };
    let check = |text, expected| assert_eq!(parse(text), Err(expected), "{text:?}");
    check("", CsvError::Empty);
    check("\n \n", CsvError::Empty);
    check("label\n1\n", CsvError::OneColumn);
    check("a,label\n", CsvError::NoRows);
    let field_count = |line, have| CsvError::FieldCount {
        line,
        have,
        need: 2,
    };
    check("a,label\n1,0\n1\n", field_count(3, 1));
    check("a,label\n\n1,0,\n", field_count(3, 3));
    check("a,label\nx,0\n", value(2, 1, "a"));
    check("a,label\n,0\n", value(2, 1, "a"));
    check("a,label\nNaN,0\n", value(2, 1, "a"));
    check("label,b\n0,1e99\n", value(2, 2, "b"));
    check("label,b\n0,\"1\"\n", value(2, 2, "b"));
    check("a,label\n1,0\n1,-1\n", label(3, 2));
    check("a,label\n1,0.5\n", label(2, 2));
    check("a,label\n1,1024\n", label(2, 2));
}

#[test]
fn errors_name_the_place_and_never_the_value() {
    let text = parse("age,label\n1,0\nsecret,0\n").unwrap_err().to_string();
    assert!(text.contains("line 3, column 1 (`age`)"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_file_is_loaded_and_a_bad_path_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.csv");
    std::fs::write(&path, "a,label\n1,0\n").unwrap();
    assert_eq!(load(&path).unwrap().len(), 1);

    std::fs::write(&path, "a,label\n1,zero\n").unwrap();
    let text = load(&path).unwrap_err().to_string();
    assert!(text.contains("mine.csv: line 2, column 2"), "{text}");

    let text = load(&dir.path().join("no.csv")).unwrap_err().to_string();
    assert!(text.contains("no.csv"), "{text}");
}

#[test]
fn selecting_keeps_rows_together() {
    let data = parse("a,label\n1,0\n2,1\n3,2\n").unwrap();
    let part = data.select(&[2, 0]);
    assert_eq!(part.features, array![[3.0], [1.0]]);
    assert_eq!(
        (part.labels, part.rows, part.classes),
        (vec![2, 0], vec![2, 0], 3)
    );
}
