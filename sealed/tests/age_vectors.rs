//! The test vectors of the age format, all but those of ASCII armour: `age_vectors/`, as published by C2SP/CCTV (0BSD or CC0).
//!
//! Each is a text header, an empty line and an age file. A vector says what must happen and stands for one mistake a reader can make.
//! We are stricter in one point: nothing of a file is handed out before its length is proved, so what a payload that fails would have
//! given up to there is not compared. And a file that ends before its payload's nonce is cut, for us, not wrong in its header.

#![allow(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use sha2::{Digest as _, Sha256};
use veilsum_sealed::age::Container;
use veilsum_sealed::{Error, Identity, Passphrase};

struct Vector {
    name: String,
    expect: String,
    payload: Option<String>,
    identities: Vec<Identity>,
    file: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/age_vectors");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let vectors = paths.into_iter().map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        parse(name, &std::fs::read(&path).unwrap())
    });
    vectors.collect()
}

fn parse(name: String, bytes: &[u8]) -> Vector {
    let end = bytes.windows(2).position(|two| two == b"\n\n").unwrap();
    let text = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut file = bytes[end + 2..].to_vec();
    let mut vector = Vector {
        name,
        expect: String::new(),
        payload: None,
        identities: Vec::new(),
        file: Vec::new(),
    };
    for line in text.lines() {
        let (key, value) = line.split_once(": ").unwrap();
        match key {
            "expect" => vector.expect = value.to_owned(),
            "payload" => vector.payload = Some(value.to_owned()),
            "compressed" => file = miniz_oxide::inflate::decompress_to_vec_zlib(&file).unwrap(),
            "identity" => vector
                .identities
                .extend(Identity::parse_file(value).unwrap()),
            "passphrase" => {
                let passphrase = Passphrase::new(value.to_owned().into());
                vector.identities.push(Identity::passphrase(passphrase));
            }
            "file key" | "comment" => (),
            other => panic!("{}: the key `{other}` is not known", vector.name),
        }
    }
    vector.file = file;
    vector
}

/// What became of a file, in the words of the vectors.
fn outcome(vector: &Vector) -> String {
    match Container::open(&vector.file, &vector.identities, 64 << 20) {
        Ok(plaintext) => {
            let found = data_encoding::HEXLOWER.encode(&Sha256::digest(&plaintext[..]));
            assert_eq!(Some(found), vector.payload, "{}", vector.name);
            "success".to_owned()
        }
        Err(error) => match error {
            Error::NotARecipient => "no match",
            Error::AgeHeaderChanged => "HMAC failure",
            Error::Truncated { .. } | Error::ChunkRejected { .. } => "payload failure",
            Error::NotSealed
            | Error::Version
            | Error::AgeHeader(_)
            | Error::Stanza { .. }
            | Error::WorkFactor { .. }
            | Error::MixedRecipients => "header failure",
            other => panic!("{}: {other}", vector.name),
        }
        .to_owned(),
    }
}

#[test]
fn every_vector_of_the_age_format_ends_as_it_says() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 110);
    let expected = |vector: &Vector| match vector.name.as_str() {
        "stream_no_nonce" | "stream_short_nonce" => "payload failure".to_owned(),
        _ => vector.expect.clone(),
    };
    let wrong: Vec<_> = vectors
        .iter()
        .map(|vector| (&vector.name, expected(vector), outcome(vector)))
        .filter(|(_, expected, found)| expected != found)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
