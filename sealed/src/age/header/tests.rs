use super::*;

fn key() -> FileKey {
    FileKey::draw(&mut |out: &mut [u8]| out.fill(7))
}

fn written(stanzas: &[Stanza]) -> Vec<u8> {
    Header::seal(stanzas.to_vec(), &key())
}

#[test]
fn bodies_of_any_length_are_written_and_read_back() {
    // 48 bytes fill a line of 64 characters: then an empty line must follow
    for len in [0, 1, 47, 48, 49, 95, 96, 97, 1000] {
        let stanzas = [
            Stanza::new(&["kind", "word"], vec![3; len]),
            Stanza::new(&["other"], vec![9; 2 * len]),
        ];
        let bytes = written(&stanzas);
        let (header, end) = Header::read(&bytes).unwrap();
        assert_eq!(header.stanzas, stanzas, "{len}");
        assert_eq!(end, bytes.len() as u64);
        header.verify(&key()).unwrap();
    }
}

#[test]
fn a_header_longer_than_the_first_read_is_read_to_its_end() {
    let stanza = Stanza::new(&["kind"], vec![3; 40_000]);
    let mut bytes = written(&[stanza]);
    let end = bytes.len() as u64;
    bytes.extend([0; 100_000]);
    assert_eq!(Header::read(&bytes).unwrap().1, end);
}

#[test]
fn dashes_inside_a_word_end_no_header() {
    let stanza = Stanza::new(&["---", "a---"], vec![]);
    let bytes = written(std::slice::from_ref(&stanza));
    assert_eq!(Header::read(&bytes).unwrap().0.stanzas, [stanza]);
}

#[test]
fn length_and_count_are_bounded() {
    let endless = [VERSION.as_bytes(), &vec![b'-'; 3 << 20]].concat();
    let error = Header::read(&endless).unwrap_err();
    assert!(matches!(error, Error::AgeHeaderTooLong { .. }), "{error}");
    let many = vec![Stanza::new(&["k"], vec![]); MAX_RECIPIENTS + 1];
    let error = Header::read(&written(&many)).unwrap_err();
    assert!(matches!(error, Error::TooManyRecipients { .. }), "{error}");
    assert!(Header::read(&written(&many[1..])).is_ok());
}

#[test]
fn another_file_key_does_not_fit_the_mac() {
    let bytes = written(&[Stanza::new(&["k"], vec![])]);
    let other = FileKey::draw(&mut |out: &mut [u8]| out.fill(8));
    let (header, _) = Header::read(&bytes).unwrap();
    assert!(matches!(
        header.verify(&other),
        Err(Error::AgeHeaderChanged)
    ));
}
