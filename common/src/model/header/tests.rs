use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds {
    header_bytes: 4096,
    tensors: 3,
};

fn read(header: &str, data_bytes: usize) -> Result<Header, HeaderError> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data_bytes, 0);
    Header::read(&bytes, BOUNDS)
}

#[test]
fn places_count_from_the_start_of_the_file_and_metadata_is_kept() {
    let json = r#"{"__metadata__":{"k":"v"},"b":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[4,6]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}  "#;
    let header = read(json, 6).unwrap();
    let start = 8 + json.len() as u64;
    assert_eq!(header.data_start, start);
    assert_eq!(header.metadata["k"], "v");
    let found: Vec<_> = header
        .tensors
        .iter()
        .map(|t| (t.name.as_str(), t.dtype, t.place.clone()))
        .collect();
    let expected = [
        ("a", Dtype::F32, start..start + 4),
        ("b", Dtype::F8_E4M3, start + 4..start + 6),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_file_may_have_no_tensors_and_a_tensor_no_elements() {
    assert!(read("{}", 0).unwrap().tensors.is_empty());
    let empty = r#"{"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}}"#;
    let header = read(empty, 4).unwrap();
    assert_eq!(header.tensors[0].name, "a");
    assert!(header.tensors[0].place.is_empty());
}

#[test]
fn a_key_that_stands_twice_is_refused_wherever_it_stands() {
    let tensor = r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    for (json, key) in [
        (format!(r#"{{"x":{tensor},"x":{tensor}}}"#), "x"),
        // the same name in another spelling
        (format!(r#"{{"x":{tensor},"\u0078":{tensor}}}"#), "x"),
        (
            format!(r#"{{"__metadata__":{{"k":"1","k":"2"}},"x":{tensor}}}"#),
            "k",
        ),
        (
            format!(r#"{{"__metadata__":{{}},"x":{tensor},"__metadata__":{{}}}}"#),
            "__metadata__",
        ),
    ] {
        let error = read(&json, 1).unwrap_err();
        assert!(
            matches!(&error, HeaderError::DuplicateKey { key: found } if found == key),
            "{error}"
        );
    }
    let inner = r#"{"x":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}"#;
    let error = read(inner, 1).unwrap_err();
    assert!(matches!(error, HeaderError::Json(_)), "{error}");
}

#[test]
fn holes_overlaps_and_tails_are_refused() {
    let two = |second: &str| {
        format!(
            r#"{{"a":{{"dtype":"U8","shape":[2],"data_offsets":[0,2]}},"b":{{"dtype":"U8","shape":[2],"data_offsets":{second}}}}}"#
        )
    };
    for offsets in ["[3,5]", "[1,3]"] {
        let error = read(&two(offsets), 5).unwrap_err();
        assert!(
            matches!(&error, HeaderError::Hole { tensor } if tensor == "b"),
            "{error}"
        );
    }
    assert!(read(&two("[2,4]"), 4).is_ok());
    for data_bytes in [3, 5] {
        let error = read(&two("[2,4]"), data_bytes).unwrap_err();
        assert!(matches!(error, HeaderError::Length { .. }), "{error}");
    }
    let error = read(&two("[2,5]"), 5).unwrap_err();
    assert!(matches!(error, HeaderError::Invalid(_)), "{error}");
}

#[test]
fn lengths_and_counts_are_bounded_before_anything_is_made_of_them() {
    let mut huge = u64::MAX.to_le_bytes().to_vec();
    huge.extend(b"{}");
    let error = Header::read(&huge, BOUNDS).unwrap_err();
    assert!(
        matches!(
            error,
            HeaderError::TooLong {
                header_bytes: u64::MAX,
                limit_bytes: 4096
            }
        ),
        "{error}"
    );
    let mut behind = 3_u64.to_le_bytes().to_vec();
    behind.extend(b"{}");
    let error = Header::read(&behind, BOUNDS).unwrap_err();
    assert!(matches!(error, HeaderError::BeyondEnd { .. }), "{error}");
    let error = Header::read(&vec![0; 7], BOUNDS).unwrap_err();
    assert!(
        matches!(error, HeaderError::TooShort { len_bytes: 7 }),
        "{error}"
    );
    let many: Vec<_> = (0..4)
        .map(|n| format!(r#""{n}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    let error = read(&format!("{{{}}}", many.join(",")), 0).unwrap_err();
    assert!(
        matches!(error, HeaderError::TooManyTensors { have: 4, limit: 3 }),
        "{error}"
    );
}

#[test]
fn a_type_that_the_format_does_not_have_is_named() {
    let error = read(
        r#"{"x":{"dtype":"F7","shape":[1],"data_offsets":[0,1]}}"#,
        1,
    )
    .unwrap_err();
    assert!(
        matches!(&error, HeaderError::Dtype { tensor, dtype } if tensor == "x" && dtype == "F7"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn no_change_of_a_header_makes_the_parser_panic(at in 0_usize..130, byte: u8, cut in 0_usize..140) {
        let json = r#"{"__metadata__":{"k":"v"},"b":{"dtype":"F16","shape":[2],"data_offsets":[4,8]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#;
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.as_bytes());
        bytes.extend([0; 8]);
        bytes[at] = byte;
        drop(Header::read(&bytes, BOUNDS));
        bytes.truncate(cut);
        drop(Header::read(&bytes, BOUNDS));
    }
}
