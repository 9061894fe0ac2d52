//! `unsafe` is forbidden in every crate, and no crate has lints of its own instead of the workspace's.

use std::fs;
use std::path::Path;

use xtask::{cargo, root};

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
