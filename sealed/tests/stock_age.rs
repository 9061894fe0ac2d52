//! Our files and those of the age that Debian ships, both ways, at the sizes where chunks begin and end.

#![allow(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

mod support;

use support::{installed, random, run, try_run};
use tempfile::tempdir;
use veilsum_sealed::age::Container;
use veilsum_sealed::{Identity, Lock, Passphrase, Recipient};

/// Around the borders of chunks of 64 KiB.
const SIZES: [usize; 7] = [0, 1, 65_535, 65_536, 65_537, 131_072, 300_000];

/// The identity in `file`, and the same in a form that both programs read.
struct Reader {
    identity: Vec<Identity>,
    recipient: Recipient,
    file: &'static str,
}

/// One of age's own making and one of ours, and an SSH key.
fn readers(folder: &std::path::Path) -> Vec<Reader> {
    run(folder, "age-keygen", &["-o", "theirs.txt"]);
    let ours = Identity::draw(&mut random);
    std::fs::write(folder.join("ours.txt"), ours.expose().unwrap().as_str()).unwrap();
    let ssh = ["-q", "-t", "ed25519", "-N", "", "-C", "a test", "-f", "ssh"];
    run(folder, "ssh-keygen", &ssh);
    let reader = |file| {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let identity = Identity::parse_file(&text).unwrap();
        let recipient = identity[0].recipient().unwrap();
        Reader {
            identity,
            recipient,
            file,
        }
    };
    ["theirs.txt", "ours.txt", "ssh"].map(reader).into()
}

#[test]
fn stock_age_opens_our_files() {
    if !installed("age") || !installed("ssh-keygen") {
        return;
    }
    let folder = tempdir().unwrap();
    let readers = readers(folder.path());
    let all: Vec<_> = readers
        .iter()
        .map(|reader| reader.recipient.clone())
        .collect();
    for size in SIZES {
        let plaintext = text(size);
        let lock = Lock::Recipients(&all);
        let sealed = Container::seal(&plaintext, lock, &mut random).unwrap();
        std::fs::write(folder.path().join("file.age"), sealed).unwrap();
        for reader in &readers {
            let opened = run(folder.path(), "age", &["-d", "-i", reader.file, "file.age"]);
            assert!(opened.stdout == plaintext, "{size} bytes, {}", reader.file);
        }
    }
}

#[test]
fn we_open_the_files_of_stock_age() {
    if !installed("age") || !installed("ssh-keygen") {
        return;
    }
    let folder = tempdir().unwrap();
    for reader in readers(folder.path()) {
        for size in SIZES {
            let plaintext = text(size);
            std::fs::write(folder.path().join("file"), &plaintext).unwrap();
            let recipient = reader.recipient.to_string();
            let arguments = ["-r", &recipient, "-o", "file.age", "file"];
            run(folder.path(), "age", &arguments);
            let sealed = std::fs::read(folder.path().join("file.age")).unwrap();
            let opened = Container::open(&sealed, &reader.identity, 1 << 20).unwrap();
            assert!(*opened == plaintext, "{size} bytes, {}", reader.file);
        }
    }
}

#[test]
fn stock_age_refuses_our_files_to_others_and_files_that_were_cut() {
    if !installed("age") {
        return;
    }
    let folder = tempdir().unwrap();
    run(folder.path(), "age-keygen", &["-o", "other.txt"]);
    let own = Identity::draw(&mut random);
    let lock = [own.recipient().unwrap()];
    let sealed = Container::seal(&text(131_072), Lock::Recipients(&lock), &mut random).unwrap();
    std::fs::write(
        folder.path().join("own.txt"),
        own.expose().unwrap().as_str(),
    )
    .unwrap();
    std::fs::write(folder.path().join("whole.age"), &sealed).unwrap();
    let cut = &sealed[..sealed.len() - 65_552];
    std::fs::write(folder.path().join("cut.age"), cut).unwrap();
    for arguments in [
        ["-d", "-i", "other.txt", "whole.age"],
        ["-d", "-i", "own.txt", "cut.age"],
    ] {
        let output = try_run(folder.path(), "age", &arguments, None);
        assert!(!output.status.success(), "{arguments:?}");
    }
    assert!(matches!(
        Container::open(&cut.to_vec(), &[own], 1 << 20),
        Err(veilsum_sealed::Error::Truncated { .. })
    ));
}

#[test]
fn stock_age_opens_our_files_under_a_passphrase() {
    if !installed("age") || !installed("script") {
        return;
    }
    let folder = tempdir().unwrap();
    let passphrase = || Passphrase::with_work("correct horse".to_owned().into(), 10);
    let sealed = Container::seal(b"text", Lock::Passphrase(&passphrase()), &mut random).unwrap();
    std::fs::write(folder.path().join("file.age"), &sealed).unwrap();
    std::fs::write(folder.path().join("typed"), "correct horse\n").unwrap();
    // age asks on a terminal only; script(1) gives it one.
    let command = "age -d -o file file.age";
    let typed = folder.path().join("typed");
    let output = try_run(
        folder.path(),
        "script",
        &["-q", "-e", "-c", command, "/dev/null"],
        Some(&typed),
    );
    let opened = std::fs::read(folder.path().join("file"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(opened.unwrap(), b"text");
    let opened = Container::open(&sealed, &[Identity::passphrase(passphrase())], 100).unwrap();
    assert_eq!(*opened, b"text");
}

/// Bytes without a pattern of the length of a chunk.
fn text(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap())
        .collect()
}
