//! The pure crates ask no clock, draw no randomness, open nothing, start nothing.
//!
//! Clippy keeps the bans; here it is checked that they are in force, and that nobody walks around them by naming a module
//! of the standard library instead of a type.

use std::fs;
use std::path::{Path, PathBuf};

use xtask::root;

const PURE: [&str; 3] = ["secagg", "common", "engine"];

/// What each crate's `clippy.toml` must ban at least, under either heading.
const BANNED: [&str; 16] = [
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::fs::File",
    "std::fs::read",
    "std::fs::write",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::thread::spawn",
    "std::thread::sleep",
    "std::env::var",
    "getrandom::fill",
];

/// What product code of a pure crate may not say, whatever the lints make of it.
const UNSAID: [&str; 15] = [
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "std::os",
    "std::io",
    "SystemTime",
    "Instant::",
    "getrandom",
    "OsRng",
    "async fn",
    ".await",
    "HashMap<",
    "serialize_to_file",
];

fn clippy_toml(path: &Path) -> toml::Table {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a crate has a src folder") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("tests.rs")
        {
            found.push(path);
        }
    }
    found
}

/// Whether `word` stands in `code`, not merely at the beginning of a longer name.
fn says(code: &str, word: &str) -> bool {
    let longer = |rest: &str| {
        word.ends_with(char::is_alphanumeric)
            && rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
    };
    code.match_indices(word)
        .any(|(at, _)| !longer(&code[at + word.len()..]))
}

/// A test that looks for secrets in its own process, which the system shows as a file.
const READS_ITS_OWN_MEMORY: &str = "secagg/src/tests/memory.rs";

#[test]
fn a_forbidden_word_is_found_but_not_in_a_longer_one() {
    assert!(says("let x = f().await;", ".await"));
    assert!(!says("self.awaiting(y)", ".await"));
    assert!(says("self.awaited.go(f().await)", ".await"));
    assert!(says("use std::fs;", "std::fs") && says("std::fs::read(p)", "std::fs"));
    assert!(!says("std::iota(3)", "std::io"));
    assert!(says("let m: HashMap<u8, u8>;", "HashMap<"));
}

#[test]
fn each_pure_crate_bans_clocks_randomness_files_sockets_threads_and_hash_containers() {
    for name in PURE {
        let path = root().join(name).join("clippy.toml");
        let table = clippy_toml(&path);
        let bans: Vec<&toml::Value> = ["disallowed-types", "disallowed-methods"]
            .iter()
            .filter_map(|key| table.get(*key)?.as_array())
            .flatten()
            .collect();
        let banned = |what: &str| {
            bans.iter()
                .any(|ban| ban.get("path").and_then(toml::Value::as_str) == Some(what))
        };
        for what in BANNED {
            assert!(banned(what), "{} does not ban {what}", path.display());
        }
        for ban in bans {
            let reason = ban.get("reason").and_then(toml::Value::as_str);
            assert!(
                reason.is_some_and(|reason| !reason.is_empty()),
                "{}: {ban} has no reason",
                path.display()
            );
        }
    }
}

#[test]
fn a_crates_own_clippy_toml_repeats_what_it_replaces() {
    let common = clippy_toml(&root().join("clippy.toml"));
    for name in PURE {
        let path = root().join(name).join("clippy.toml");
        let own = clippy_toml(&path);
        for (key, value) in &common {
            assert_eq!(
                own.get(key),
                Some(value),
                "{} says something else about {key}",
                path.display()
            );
        }
    }
}

#[test]
fn no_pure_crate_names_what_it_may_not_use() {
    for name in PURE {
        for path in sources(&root().join(name).join("src")) {
            if path.ends_with(READS_ITS_OWN_MEMORY) {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source file can be read");
            for (at, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for word in UNSAID {
                    assert!(
                        !says(code, word),
                        "{}:{}: {word} in a pure crate",
                        path.display(),
                        at + 1
                    );
                }
            }
        }
    }
}
