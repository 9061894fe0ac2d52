use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outer {
    #[allow(dead_code)]
    inner: Inner,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    #[allow(dead_code)]
    join_timeout: String,
    #[allow(dead_code)]
    count: u32,
}

fn refused(text: &str) -> DocumentError {
    parse::<Outer>(text, 1000).unwrap_err()
}

#[test]
fn an_unknown_key_is_found_and_explained() {
    let error = refused("[inner]\ncount = 1\n  jion_timeout = \"1s\"\n");
    assert_eq!(
        error.to_string(),
        "line 3, column 3: unknown key `jion_timeout`; did you mean `join_timeout`?"
    );
    let error = refused("[inner]\nzebra = 1\n");
    assert_eq!(
        error.to_string(),
        "line 2, column 1: unknown key `zebra`; the keys of this table are join_timeout, count"
    );
    let error = refused("inn = {}\n");
    assert_eq!(
        error.to_string(),
        "line 1, column 1: unknown key `inn`; the keys of this table are inner"
    );
}

#[test]
fn a_key_in_an_inline_table_has_its_own_column() {
    let error = refused("inner = { count = 1, cuont = 2 }");
    assert_eq!(
        error.to_string(),
        "line 1, column 22: unknown key `cuont`; did you mean `count`?"
    );
}

#[test]
fn broken_toml_and_wrong_types_have_a_place() {
    let DocumentError::Malformed { line, column, .. } = refused("[inner]\ncount = \n") else {
        panic!()
    };
    assert_eq!((line, column), (2, 9));
    let DocumentError::Malformed { line, message, .. } = refused("[inner]\ncount = \"x\"\n") else {
        panic!()
    };
    assert_eq!(line, 2);
    assert!(message.contains("invalid type"), "{message}");
    let DocumentError::Malformed { message, .. } = refused("[inner]\ncount = 1\n") else {
        panic!()
    };
    assert!(message.contains("join_timeout"), "{message}");
}

#[test]
fn columns_count_characters() {
    assert_eq!(position("ä = 1\nöü x", "ä = 1\nöü ".len()), (2, 4));
    assert_eq!(position("", 7), (1, 1));
}

#[test]
fn a_long_file_is_not_even_parsed() {
    let error = parse::<Outer>(&" ".repeat(1001), 1000).unwrap_err();
    assert_eq!(
        error,
        DocumentError::TooLong {
            len_bytes: 1001,
            limit_bytes: 1000
        }
    );
}

#[test]
fn deep_nesting_is_refused_instead_of_overflowing_the_stack() {
    for text in [
        format!("a{} = 1", ".a".repeat(20_000)),
        format!("[a{}]\nb = 1", ".a".repeat(20_000)),
        format!("a = {}{}", "[".repeat(20_000), "]".repeat(20_000)),
        format!("a = {}1{}", "{a=".repeat(10_000), "}".repeat(10_000)),
    ] {
        assert!(parse::<toml::Table>(&text, 1 << 20).is_err());
    }
}

#[test]
fn only_a_near_word_is_suggested() {
    let known = ["fedavg", "fedadam", "median"];
    assert_eq!(suggest("fedavgm", known), Some("fedavg"));
    assert_eq!(suggest("krum", known), None);
    assert_eq!(suggest("", known), None);
}
