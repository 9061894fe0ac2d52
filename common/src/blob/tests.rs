use super::*;

#[test]
fn a_name_fits_its_bytes_and_no_others() {
    let name = BlobRef::of(b"abc");
    assert!(name.names(b"abc"));
    assert!(!name.names(b"abd"));
    assert!(!name.names(b"abcd"));
    assert_eq!(name.len_bytes, 3);
}

#[test]
fn the_digest_is_plain_blake3() {
    let expected = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
    assert_eq!(BlobRef::of(b"abc").digest.to_string(), expected);
}

#[test]
fn json_keeps_a_name() {
    let name = BlobRef::of(b"abc");
    let json = serde_json::to_string(&name).unwrap();
    assert!(json.starts_with("{\"digest\":\"6437b3ac"), "{json}");
    assert_eq!(serde_json::from_str::<BlobRef>(&json).unwrap(), name);
    assert!(serde_json::from_str::<BlobRef>(&json.replace("6437", "xyzw")).is_err());
}

#[test]
fn bytes_that_come_bit_by_bit_have_the_same_name() {
    let mut hasher = BlobHasher::default();
    for byte in b"abc" {
        hasher.update(&[*byte]);
    }
    assert_eq!(hasher.len_bytes(), 3);
    assert_eq!(hasher.finish(), BlobRef::of(b"abc"));
}
