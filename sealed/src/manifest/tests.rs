use proptest::prelude::*;

use super::*;

fn manifest() -> Manifest {
    Manifest {
        created_ms: 5,
        metadata: metadata_digest(&BTreeMap::new()),
        purpose: "say \"hello\"\n\u{e9}".to_owned(),
        recipients: vec!["aa".to_owned()],
        round: None,
        run: None,
        sender: "site-a".to_owned(),
        tensors: vec![Line {
            blake3: "00".to_owned(),
            dtype: "F32".to_owned(),
            name: "w".to_owned(),
            shape: vec![2, 3],
        }],
        v: 1,
    }
}

#[test]
fn the_signed_bytes_are_the_documented_ones() {
    let mut expected = String::from(r#"{"created_ms":5,"metadata":""#);
    // BLAKE3 of the two bytes {}
    expected.push_str(blake3::hash(b"{}").to_hex().as_str());
    expected.push_str(
        r#"","purpose":"say \"hello\"\né","recipients":["aa"],"sender":"site-a","tensors":[{"blake3":"00","dtype":"F32","name":"w","shape":[2,3]}],"v":1}"#,
    );
    assert_eq!(manifest().canonical(), expected);
    let in_a_run = Manifest {
        round: Some(7),
        run: Some(RunId::from_bytes([0; 16])),
        ..manifest()
    };
    let canonical = in_a_run.canonical();
    assert!(canonical.contains(
        r#""recipients":["aa"],"round":7,"run":"run_aaaaaaaaaaaaaaaaaaaaaaaaaa","sender""#
    ));
    assert_eq!(Manifest::parse(&canonical).unwrap(), in_a_run);
}

#[test]
fn keys_are_in_the_order_that_a_sorted_map_gives() {
    let canonical = manifest().canonical();
    let sorted: BTreeMap<String, serde_json::Value> = serde_json::from_str(&canonical).unwrap();
    let lines = sorted["tensors"].as_array().unwrap();
    let line: BTreeMap<String, serde_json::Value> =
        serde_json::from_value(lines[0].clone()).unwrap();
    let again = serde_json::to_string(&sorted).unwrap();
    let line = serde_json::to_string(&line).unwrap();
    assert!(canonical.contains(&line));
    assert_eq!(again.len(), canonical.len());
    let first: Vec<_> = sorted.keys().cloned().collect();
    let mut found: Vec<_> = first
        .iter()
        .map(|key| (canonical.find(&format!("\"{key}\":")).unwrap(), key))
        .collect();
    found.sort();
    assert!(found.iter().map(|(_, key)| *key).eq(first.iter()));
}

#[test]
fn another_spelling_of_a_manifest_is_none() {
    let text = manifest().canonical();
    for other in [
        text.replace(":5,", ": 5,"),
        text.replace("\"sender\":\"site-a\"", "\"sender\":\"site\\u002da\""),
        text.replace("\"v\":1", "\"v\":2"),
        text.replace("\"v\":1", "\"v\":1,\"w\":1"),
        text.replace("\"v\":1", "\"v\":1,\"v\":1"),
        text.replace("\"purpose\"", "\"round\":null,\"purpose\""),
        format!("{text} "),
        String::new(),
    ] {
        let error = Manifest::parse(&other).unwrap_err();
        assert!(matches!(error, Error::ManifestInvalid(_)), "{other}");
    }
    Manifest::parse(&text).unwrap();
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,200}") {
        drop(Manifest::parse(&text));
    }
}
