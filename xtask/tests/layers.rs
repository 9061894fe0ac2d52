//! Which way the arrows point: the dependency table of ARCHITECTURE.md against the manifests.

use std::collections::BTreeSet;

use xtask::cargo::{self, Kind, Package};
use xtask::root;

/// One line of the table.
struct Rule {
    package: &'static str,
    /// The workspace crates it may depend on; everything else of ours is forbidden.
    ours: &'static [&'static str],
    /// What it may not name in its manifest.
    never: &'static [&'static str],
}

/// Asynchronous code.
const ASYNC: &[&str] = &[
    "tokio",
    "tokio-stream",
    "tokio-util",
    "async-trait",
    "futures",
    "futures-util",
    "async-std",
    "smol",
];
/// Files, sockets, databases, the operating system's randomness.
const IO: &[&str] = &[
    "getrandom",
    "rand",
    "mio",
    "socket2",
    "rustix",
    "libc",
    "rusqlite",
    "object_store",
    "hyper",
    "hyper-util",
    "tonic",
    "rustls",
    "tokio-rustls",
    "reqwest",
    "tempfile",
    "memmap2",
];
/// Formats of bytes that are not canonical.
const FORMATS: &[&str] = &["serde", "serde_json", "prost", "toml", "safetensors"];

const RULES: &[Rule] = &[
    Rule {
        package: "veilsum-secagg",
        ours: &[],
        never: &["tracing", "log"],
    },
    Rule {
        package: "veilsum-common",
        ours: &["secagg"],
        never: &["prost", "tracing", "log"],
    },
    Rule {
        package: "veilsum-engine",
        ours: &["secagg", "common"],
        never: &["log"],
    },
    Rule {
        package: "veilsum-proto",
        ours: &["secagg", "common", "engine"],
        never: &["rusqlite", "rustls", "hyper", "tracing"],
    },
    // what seals files asks nobody for time, randomness or a connection
    Rule {
        package: "veilsum-sealed",
        ours: &["common"],
        never: &[
            "getrandom",
            "rand",
            "rustls",
            "hyper",
            "tonic",
            "prost",
            "tokio",
            "tracing",
        ],
    },
    Rule {
        package: "veilsum-daemon",
        ours: &["common"],
        never: &["tonic", "prost", "rusqlite"],
    },
    Rule {
        package: "veilsum-coordinator",
        ours: &["secagg", "common", "engine", "proto", "daemon"],
        never: &[],
    },
    Rule {
        package: "veilsum-participant",
        ours: &["secagg", "common", "engine", "proto", "daemon"],
        never: &["cedar-policy", "fhe", "object_store"],
    },
    Rule {
        package: "veilsum-cli",
        ours: &[
            "secagg",
            "common",
            "engine",
            "proto",
            "sealed",
            "daemon",
            "coordinator",
            "participant",
            "trainers",
        ],
        never: &["rusqlite"],
    },
    // a trainer sees neither keys nor masks nor peers
    Rule {
        package: "veilsum-trainers",
        ours: &[],
        never: &["tokio", "tonic", "rustls"],
    },
    Rule {
        package: "veilsum-tests",
        ours: &[
            "secagg",
            "common",
            "engine",
            "proto",
            "daemon",
            "coordinator",
            "participant",
            "cli",
            "trainers",
        ],
        never: &[],
    },
    Rule {
        package: "veilsum-benches",
        ours: &[
            "secagg",
            "common",
            "engine",
            "proto",
            "daemon",
            "coordinator",
            "participant",
        ],
        never: &[],
    },
    Rule {
        package: "xtask",
        ours: &[],
        never: &["tokio", "tonic"],
    },
];

/// The crates that do no I/O, with what not even their dependencies may bring in.
const PURE: &[&str] = &["veilsum-secagg", "veilsum-common", "veilsum-engine"];

/// Brought in all the same. libc: to detect what the processor can do. The others: by safetensors, which writes files for
/// whoever asks; `common/clippy.toml` bans that function, and `secagg` does not depend on it at all.
const HARMLESS: &[&str] = &["libc", "tempfile", "getrandom", "rustix"];

fn members() -> Vec<Package> {
    cargo::members(&root()).expect("cargo metadata reads the workspace")
}

fn rule(package: &str) -> &'static Rule {
    RULES.iter().find(|rule| rule.package == package).unwrap_or_else(|| {
        panic!("{package} has no line in the dependency table; add it to ARCHITECTURE.md and to xtask/tests/layers.rs")
    })
}

#[test]
fn every_crate_has_its_line_in_the_table() {
    let members = members();
    for member in &members {
        rule(&member.name);
    }
    let names: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    for Rule { package, .. } in RULES {
        assert!(
            names.contains(package),
            "{package} is in the table but not in the workspace"
        );
    }
}

#[test]
fn no_arrow_points_back() {
    for member in members() {
        let allowed = rule(&member.name).ours;
        for dependency in &member.dependencies {
            let Some(ours) = dependency.name.strip_prefix("veilsum-") else {
                continue;
            };
            assert!(
                allowed.contains(&ours),
                "{} may not depend on {}",
                member.name,
                dependency.name
            );
        }
    }
}

#[test]
fn what_a_crate_may_never_name_is_not_in_its_manifest() {
    for member in members() {
        let rule = rule(&member.name);
        let pure = PURE.contains(&rule.package);
        let formats = matches!(rule.package, "veilsum-secagg" | "veilsum-engine");
        for dependency in member
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == Kind::Normal)
        {
            let name = dependency.name.as_str();
            let never = rule.never.contains(&name)
                || (pure && (ASYNC.contains(&name) || IO.contains(&name)))
                || (formats && FORMATS.contains(&name));
            assert!(!never, "{} may not depend on {name}", member.name);
        }
    }
}

#[test]
fn nothing_that_a_pure_crate_needs_does_input_or_output() {
    for package in PURE {
        for name in cargo::needed_by(&root(), package).expect("cargo tree reads the workspace") {
            let name = name.as_str();
            let never = (ASYNC.contains(&name) || IO.contains(&name)) && !HARMLESS.contains(&name);
            assert!(
                !never,
                "{package} brings in {name}; `cargo tree --package {package} --invert {name}` shows how"
            );
        }
    }
}

#[test]
fn what_ships_has_one_source_of_randomness_and_one_of_time() {
    let needed = cargo::needed_by(&root(), "veilsum-cli").expect("cargo tree reads the workspace");
    for name in ["rand", "chrono"] {
        assert!(
            !needed.iter().any(|needed| needed == name),
            "{name} ships; `cargo tree --package veilsum-cli --invert {name}`"
        );
    }
}

#[test]
fn the_sites_program_does_not_contain_the_coordinator() {
    let needed =
        cargo::needed_by(&root(), "veilsum-participant").expect("cargo tree reads the workspace");
    assert!(!needed.iter().any(|name| name == "veilsum-coordinator"));
    assert!(
        needed.iter().any(|name| name == "veilsum-engine"),
        "the list is the participant's"
    );
}
