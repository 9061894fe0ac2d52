//! `unsafe` is forbidden in every crate but one, which has it in one file; no crate has lints of its own instead of the workspace's.

use std::fs;
use std::path::{Path, PathBuf};

use xtask::{cargo, root};

/// The one crate that may allow `unsafe`, and the one file in it that does: instructions that the compiler does not use by itself.
const EXCEPTION: (&str, &str) = ("secagg", "secagg/src/x86.rs");

fn manifest(path: &Path) -> toml::Table {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_workspace_forbids_unsafe_code() {
    let workspace = manifest(&root().join("Cargo.toml"));
    let level = workspace["workspace"]["lints"]["rust"]["unsafe_code"].as_str();
    assert_eq!(level, Some("forbid"));
    for lint in [
        "unwrap_used",
        "cast_possible_truncation",
        "disallowed_types",
        "disallowed_methods",
    ] {
        assert!(
            workspace["workspace"]["lints"]["clippy"]
                .get(lint)
                .is_some(),
            "clippy::{lint} is not in the lint set"
        );
    }
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    for member in cargo::members(&root()).expect("cargo metadata reads the workspace") {
        if member.manifest == root().join(EXCEPTION.0).join("Cargo.toml") {
            continue;
        }
        let inherits = manifest(&member.manifest)
            .get("lints")
            .and_then(|lints| lints.get("workspace")?.as_bool());
        assert_eq!(
            inherits,
            Some(true),
            "{} lacks `[lints] workspace = true`",
            member.manifest.display()
        );
    }
}

#[test]
fn the_exceptions_lints_are_the_workspaces_but_for_unsafe_code() {
    let workspace = manifest(&root().join("Cargo.toml"));
    let mut lints = workspace["workspace"]["lints"].clone();
    lints["rust"]["unsafe_code"] = "deny".into();
    let own = manifest(&root().join(EXCEPTION.0).join("Cargo.toml"));
    assert_eq!(own["lints"], lints);
}

#[test]
fn unsafe_code_is_in_one_file() {
    let folders = cargo::members(&root()).expect("cargo metadata reads the workspace");
    let folders = folders.iter().map(|member| {
        member
            .manifest
            .parent()
            .expect("a manifest lies in a folder")
    });
    let found: Vec<PathBuf> = folders
        .flat_map(sources)
        .filter(|path| says_unsafe(path))
        .collect();
    assert_eq!(found, [root().join(EXCEPTION.1)]);
}

/// Whether code of a file has a word that `unsafe` comes with.
fn says_unsafe(path: &Path) -> bool {
    let text = fs::read_to_string(path).expect("a source file can be read");
    let code = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    let words = [
        "unsafe {",
        "unsafe fn",
        "unsafe impl",
        "unsafe trait",
        "unsafe extern",
        "unsafe_code",
    ];
    { code }.any(|code| words.iter().any(|word| code.contains(word)))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a crate's folder can be listed") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path != Path::new(&root().join(file!()))
        {
            found.push(path);
        }
    }
    found
}
