//! Our signatures and keys, and those of OpenSSH.

#![allow(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

mod support;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use support::{Open, installed, random, run, try_run};
use tempfile::tempdir;
use veilsum_common::time::Timestamp;
use veilsum_sealed::gate::Gate;
use veilsum_sealed::{
    Identity, Lock, Opening, SealedFile, SealedWriter, Sender, SshIdentity, Statement, Trust,
    Verify,
};

/// A key file that ssh-keygen made.
fn theirs(folder: &Path) -> SshIdentity {
    let arguments = [
        "-q", "-t", "ed25519", "-N", "", "-C", "a test", "-f", "theirs",
    ];
    run(folder, "ssh-keygen", &arguments);
    let text = std::fs::read_to_string(folder.join("theirs")).unwrap();
    SshIdentity::parse(&text).unwrap()
}

/// A sealed file's manifest and its signature.
fn signed_by(key: &SshIdentity) -> (String, String) {
    let reader = [Identity::draw(&mut random)];
    let statement = Statement {
        sender: "spiffe://example.org/site/a".to_owned(),
        purpose: "training".to_owned(),
        created: Timestamp(5),
        run: None,
        round: None,
    };
    let sender = statement.sender.clone();
    let to = [reader[0].recipient().unwrap()];
    let file = SealedWriter::begin(
        Cursor::new(Vec::new()),
        Lock::Recipients(&to),
        Vec::new(),
        BTreeMap::new(),
        Some(Sender { key, statement }),
        &mut random,
    );
    let file = file.unwrap().finish().unwrap().0.into_inner();
    let trust = Trust::only(&sender, key.public().clone());
    let opening = Opening {
        identities: &reader,
        verify: Verify::Sender {
            trust: &trust,
            purpose: None,
        },
        gate: &mut Gate {
            decide: &Open,
            record: &mut Open,
            at: Timestamp(6),
        },
    };
    let opened = SealedFile::open(&file, opening).unwrap();
    let manifest = opened.manifest().unwrap().canonical();
    (manifest, opened.signature().unwrap().0.to_owned())
}

#[test]
fn ssh_keygen_verifies_our_manifests() {
    if !installed("ssh-keygen") {
        return;
    }
    let folder = tempdir().unwrap();
    for key in [theirs(folder.path()), SshIdentity::draw(&mut random)] {
        let (manifest, signature) = signed_by(&key);
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("manifest", &manifest);
        write("manifest.sig", &signature);
        write("other", &manifest.replace("training", "research"));
        let name = "spiffe://example.org/site/a";
        write(
            "signers",
            &format!(
                "{name} namespaces=\"veilsum/v1/manifest\" {}\n",
                key.public()
            ),
        );
        let verify = |namespace: &str, message: &str| {
            let input = folder.path().join(message);
            let arguments = [
                "-Y",
                "verify",
                "-f",
                "signers",
                "-I",
                name,
                "-n",
                namespace,
                "-s",
                "manifest.sig",
            ];
            try_run(folder.path(), "ssh-keygen", &arguments, Some(&input))
                .status
                .success()
        };
        assert!(verify("veilsum/v1/manifest", "manifest"));
        assert!(!verify("veilsum/v1/grant", "manifest"));
        assert!(!verify("veilsum/v1/manifest", "other"));
    }
}

#[test]
fn ssh_keygen_reads_our_key_files() {
    if !installed("ssh-keygen") {
        return;
    }
    let folder = tempdir().unwrap();
    let key = SshIdentity::draw(&mut random);
    let path = folder.path().join("ours");
    std::fs::write(&path, key.expose("site-a", &mut random).as_bytes()).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let output = run(folder.path(), "ssh-keygen", &["-y", "-f", "ours"]);
    let line = String::from_utf8(output.stdout).unwrap();
    assert_eq!(line.trim(), format!("{} site-a", key.public()));
}

#[test]
fn a_key_under_a_passphrase_is_named_as_such() {
    if !installed("ssh-keygen") {
        return;
    }
    let folder = tempdir().unwrap();
    let arguments = ["-q", "-t", "ed25519", "-N", "secret", "-f", "locked"];
    run(folder.path(), "ssh-keygen", &arguments);
    let text = std::fs::read_to_string(folder.path().join("locked")).unwrap();
    let error = SshIdentity::parse(&text).err().unwrap();
    assert!(
        matches!(error, veilsum_sealed::Error::KeyEncrypted),
        "{error}"
    );
}
