//! `veilsum tensor` as people and scripts use it: files on disk, pipes, and what is refused.

#![expect(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::{TempDir, tempdir};
use veilsum_tests::{binary, files};

/// A directory with a model, and the keys of two people in `alice/` and `bob/`.
struct Desk {
    folder: TempDir,
    model: Vec<u8>,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            folder: tempdir().unwrap(),
            model: files::model(&[0.25; files::ELEMENTS]),
        };
        fs::write(desk.path().join("model.safetensors"), &desk.model).unwrap();
        for name in ["alice", "bob"] {
            desk.done(&format!("keygen {name} --home {name}"));
        }
        let trusted = fs::read_to_string(desk.path().join("alice/signers")).unwrap();
        let own = fs::read_to_string(desk.path().join("bob/signers")).unwrap();
        fs::write(desk.path().join("bob/signers"), own + &trusted).unwrap();
        desk
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn recipient(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path().join(name).join("identity.txt")).unwrap();
        text.lines()
            .next()
            .unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .to_owned()
    }

    fn run(&self, line: &str) -> Output {
        self.fed(line, Stdio::null())
    }

    fn fed(&self, line: &str, input: Stdio) -> Output {
        let mut command = Command::new(binary("veilsum"));
        command.arg("tensor").args(line.split_whitespace());
        command.env_remove("VEILSUM_SEALED_HOME").env_remove("HOME");
        command.current_dir(self.path()).stdin(input);
        command.output().unwrap()
    }

    /// What a command that succeeds says to programs.
    #[track_caller]
    fn done(&self, line: &str) -> Value {
        let envelope = self.envelope(line);
        assert_eq!(envelope["ok"], true, "{line}: {envelope}");
        envelope["data"].clone()
    }

    #[track_caller]
    fn refused(&self, line: &str, exit: i32, code: &str) {
        let envelope = self.envelope(line);
        let error = &envelope["error"];
        assert_eq!(
            (error["exit"].as_i64(), error["code"].as_str()),
            (Some(exit.into()), Some(code)),
            "{line}: {envelope}"
        );
    }

    fn envelope(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json"));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{line}: {output:?}"))
    }

    /// A file that alice signs for bob.
    fn sealed(&self) -> Value {
        let bob = self.recipient("bob");
        self.done(&format!(
            "seal model.safetensors --recipient {bob} --purpose training --output m.age --home alice"
        ))
    }

    fn is_there(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }
}

#[test]
fn what_is_sealed_to_somebody_is_opened_by_them_and_by_nobody_else() {
    let desk = Desk::new();
    assert_eq!(desk.sealed()["signed"], true);
    let opened = desk.done("open m.age --purpose training --output out.safetensors --home bob");
    assert_eq!(opened["sender"], "alice");
    let out = fs::read(desk.path().join("out.safetensors")).unwrap();
    let data = files::ELEMENTS * 4;
    assert!(out[out.len() - data..] == desk.model[desk.model.len() - data..]);
    let mode = fs::metadata(desk.path().join("out.safetensors")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    desk.refused("open m.age --output no --home alice", 6, "NOT_A_RECIPIENT");
    assert!(!desk.is_there("no"));
}

#[test]
fn nothing_gets_its_name_before_everything_was_checked() {
    let desk = Desk::new();
    desk.sealed();
    let file = fs::read(desk.path().join("m.age")).unwrap();
    let mut changed = file.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(desk.path().join("changed.age"), changed).unwrap();
    fs::write(desk.path().join("cut.age"), &file[..file.len() - 1]).unwrap();
    for name in ["changed.age", "cut.age"] {
        let line = format!("open {name} --output no --home bob");
        desk.refused(&line, 8, "SEALED_FILE_CHANGED");
        let output = desk.run(&format!("open {name} --output - --home bob"));
        assert!(!output.status.success() && output.stdout.is_empty());
    }
    desk.refused(
        "open model.safetensors --output no --home bob",
        4,
        "SEALED_FILE_INVALID",
    );
    assert!(!desk.is_there("no"));
}

#[test]
fn a_sender_must_be_proved_unless_this_is_given_up_by_name() {
    let desk = Desk::new();
    let alice = desk.recipient("alice");
    let seal = format!("seal model.safetensors --recipient {alice} --output");
    desk.done(&format!("{seal} unsigned.age --unsigned --home alice"));
    // bob signs, and alice has never heard of bob
    desk.done(&format!("{seal} strange.age --home bob"));
    for name in ["unsigned.age", "strange.age"] {
        desk.refused(
            &format!("verify {name} --home alice"),
            8,
            "SENDER_NOT_PROVED",
        );
        desk.done(&format!("verify {name} --any-sender --home alice"));
    }
    desk.sealed();
    desk.refused(
        "verify m.age --purpose research --home bob",
        8,
        "SENDER_NOT_PROVED",
    );
    desk.done("verify m.age --purpose training --home bob");
}

#[test]
fn a_pipe_seals_and_opens_without_a_name_for_the_plaintext() {
    let desk = Desk::new();
    let bob = desk.recipient("bob");
    let model = fs::File::open(desk.path().join("model.safetensors")).unwrap();
    let sealed = desk.fed(
        &format!("seal - --recipient {bob} --output - --home alice"),
        model.into(),
    );
    assert!(sealed.status.success(), "{sealed:?}");
    fs::write(desk.path().join("piped.age"), &sealed.stdout).unwrap();
    let opened = desk.run("open piped.age --output - --home bob");
    let data = files::ELEMENTS * 4;
    let from = opened.stdout.len() - data;
    assert!(opened.stdout[from..] == desk.model[desk.model.len() - data..]);
    // a stream with something behind its tensors is no safetensors file
    let mut longer = desk.model.clone();
    longer.push(0);
    fs::write(desk.path().join("longer"), longer).unwrap();
    let line = format!("seal longer --recipient {bob} --output no --home alice");
    desk.refused(&line, 4, "SEALED_FILE_INVALID");
    desk.refused(&format!("{line} --output -"), 2, "USAGE");
    assert!(!desk.is_there("no"));
}

#[test]
fn without_a_key_only_the_outside_is_shown() {
    let desk = Desk::new();
    desk.sealed();
    let outside = desk.done("inspect m.age --outside");
    assert_eq!(outside["stanzas"], serde_json::json!(["X25519"]));
    assert!(outside["tensors"].is_null());
    let inside = desk.done("inspect m.age --home bob");
    assert_eq!(inside["tensors"][0]["dtype"], "F32");
    assert_eq!(inside["purpose"], "training");
}

#[test]
fn every_opening_is_in_the_access_log_and_denials_too() {
    let desk = Desk::new();
    desk.sealed();
    desk.done("verify m.age --home bob");
    fs::write(desk.path().join("bob/allowed-identities"), "00\n").unwrap();
    desk.refused("verify m.age --home bob", 6, "ACCESS_DENIED");
    let log = fs::read_to_string(desk.path().join("bob/access.jsonl")).unwrap();
    let decisions: Vec<_> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["decision"].clone())
        .collect();
    assert_eq!(decisions, ["permit", "deny"]);
    fs::write(
        desk.path().join("bob/access.jsonl"),
        log.replacen("permit", "denied", 1),
    )
    .unwrap();
    desk.refused("verify m.age --home bob", 1, "ACCESS_NOT_RECORDED");
}

#[test]
fn recipients_have_names_and_passphrases_stand_alone() {
    let desk = Desk::new();
    let bob = desk.recipient("bob");
    let registry = format!("[recipients.bob]\nclassic = \"{bob}\"\n");
    fs::write(desk.path().join("alice/recipients.toml"), registry).unwrap();
    let seal = "seal model.safetensors --output named.age --home alice --recipient";
    desk.done(&format!("{seal} bob"));
    desk.done("verify named.age --home bob");
    desk.refused(&format!("{seal} bop"), 4, "SEALED_INPUT_INVALID");
    desk.refused(&format!("{seal} bob --passphrase-file x"), 2, "USAGE");
}

#[test]
fn keys_that_others_can_read_are_not_used_and_none_is_replaced() {
    let desk = Desk::new();
    desk.sealed();
    desk.refused("keygen bob --home bob", 4, "FILE_INVALID");
    let identity = desk.path().join("bob/identity.txt");
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o640)).unwrap();
    desk.refused("verify m.age --home bob", 4, "FILE_INVALID");
    desk.refused("verify m.age", 4, "SEALED_INPUT_INVALID");
}
