use proptest::prelude::*;

use super::*;

fn key(seed: u8) -> SshIdentity {
    SshIdentity::draw(&mut |out: &mut [u8]| out.fill(seed))
}

fn file(comment: &str) -> Zeroizing<String> {
    key(1).expose(comment, &mut |out: &mut [u8]| out.fill(9))
}

#[test]
fn a_key_file_is_read_back_whatever_its_padding() {
    for comment in [
        "", "a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh",
    ] {
        let again = SshIdentity::parse(&file(comment)).unwrap();
        assert_eq!(again.public(), key(1).public());
    }
}

#[test]
fn what_is_no_key_file_is_refused_without_quoting_it() {
    let text = file("comment");
    let other = key(2).expose("comment", &mut |out: &mut [u8]| out.fill(9));
    // the public half of one key, which is in the first two lines, with the private half of another
    let head = |text: &str| text.split_inclusive('\n').take(3).collect::<String>();
    let mixed = other.replacen(&head(&other), &head(&text), 1);
    assert_ne!(head(&other), head(&text));
    let line = text.lines().nth(3).unwrap();
    for wrong in [&text[..100], &text[1..], "", &mixed] {
        let error = SshIdentity::parse(wrong).err().unwrap().to_string();
        assert!(!error.contains(&line[..20]), "{error}");
    }
}

#[test]
fn a_key_file_whose_parts_disagree_is_damaged() {
    let text = file("comment");
    let body = text.strip_prefix(BEGIN).unwrap();
    let digits: String = body
        .trim_end()
        .strip_suffix(END)
        .unwrap()
        .split_whitespace()
        .collect();
    let bytes = BASE64.decode(digits.as_bytes()).unwrap();
    let public = *key(1).public().0.as_bytes();
    let places: Vec<_> = (0..bytes.len() - 31)
        .filter(|at| bytes[*at..at + 32] == public)
        .collect();
    // outside, beside the secret, and behind it
    assert_eq!(places.len(), 3);
    for place in places {
        let mut bytes = bytes.clone();
        bytes[place] ^= 1;
        let changed = format!("{BEGIN}\n{}\n{END}\n", BASE64.encode(&bytes));
        assert!(SshIdentity::parse(&changed).is_err(), "byte {place}");
    }
}

#[test]
fn a_point_of_small_order_is_no_key() {
    let mut wire = Vec::new();
    put(&mut wire, b"ssh-ed25519");
    put(&mut wire, &[0; 32]);
    assert!(SshPublic::parse_wire(&wire).is_err());
}

proptest! {
    #[test]
    fn no_change_of_a_key_file_panics_or_gives_another_key(at in 0_usize..399, byte in 0x20_u8..0x7f) {
        let text = file("comment");
        let at = at % text.len();
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        if let Ok(found) = SshIdentity::parse(&changed) {
            prop_assert!(found.public() == key(1).public());
        }
    }
}
