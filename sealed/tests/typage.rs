//! Post-quantum files, ours and those of an independent implementation in JavaScript, both ways.
//!
//! It is fetched by `npm ci` in `tests/typage`, which `.ci/run` does. Debian's age is too old to know post-quantum recipients.

#![allow(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

mod support;

use std::path::{Path, PathBuf};

use support::{missing, random, try_run};
use tempfile::tempdir;
use veilsum_sealed::age::Container;
use veilsum_sealed::{Identity, Lock};

/// The script, if what it needs is there.
fn script() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/typage");
    if folder.join("node_modules/age-encryption").is_dir() {
        return Some(folder.join("typage.mjs"));
    }
    missing("age-encryption (npm ci in sealed/tests/typage)");
    None
}

/// What the script prints.
fn typage(arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let script = script()?;
    let folder = tempdir().unwrap();
    let file = folder.path().join("input");
    std::fs::write(&file, input).unwrap();
    let arguments = [&[script.to_str().unwrap()], arguments].concat();
    let output = try_run(folder.path(), "node", &arguments, Some(&file));
    assert!(output.status.success(), "{output:?}");
    Some(output.stdout)
}

const SIZES: [usize; 4] = [0, 1, 65_537, 131_072];

#[test]
fn typage_opens_our_post_quantum_files() {
    let identity = Identity::draw_post_quantum(&mut random);
    let to = [identity.recipient().unwrap()];
    for size in SIZES {
        let plaintext = vec![7; size];
        let sealed = Container::seal(&plaintext, Lock::Recipients(&to), &mut random).unwrap();
        let key = identity.expose().unwrap();
        let Some(opened) = typage(&["decrypt", &key], &sealed) else {
            return;
        };
        assert!(opened == plaintext, "{size} bytes");
    }
}

#[test]
fn we_open_the_post_quantum_files_of_typage() {
    let Some(keys) = typage(&["keygen"], b"") else {
        return;
    };
    let keys = String::from_utf8(keys).unwrap();
    let (secret, public) = keys.trim().split_once('\n').unwrap();
    let identity = Identity::parse_file(secret).unwrap();
    assert_eq!(identity[0].recipient().unwrap().to_string(), public);
    for size in SIZES {
        let plaintext = vec![9; size];
        let sealed = typage(&["encrypt", public], &plaintext).unwrap();
        let opened = Container::open(&sealed, &identity, 1 << 20).unwrap();
        assert!(*opened == plaintext, "{size} bytes");
    }
}
