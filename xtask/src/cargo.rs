//! Starting cargo, and what `cargo metadata` knows about the workspace.
//!
//! Deliberately no crate for this: four fields are read.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Error;

/// Variables that cargo sets for the program it runs. Passed on, they would make build scripts of dependencies believe
/// that something changed, and everything would be built twice.
const SET_BY_CARGO: [&str; 5] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_PRIMARY_",
];

/// A dependency as a manifest declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The package's name, not what it may be renamed to.
    pub name: String,
    /// Whether it is needed to build the crate itself (else only its tests, or its build script).
    pub kind: Kind,
}

/// What a dependency is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The crate itself.
    Normal,
    /// Its tests and benches.
    Dev,
    /// A build script.
    Build,
}

/// A package: one of ours, or one we depend on.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name in the registry.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SPDX expression, if the package has one.
    pub licence: Option<String>,
    /// Where it comes from; none for a path in this repository.
    pub source: Option<String>,
    /// Its `Cargo.toml`.
    pub manifest: PathBuf,
    /// What it declares, optional ones included.
    pub dependencies: Vec<Dependency>,
}

/// Our own packages, as their manifests declare them.
///
/// # Errors
/// If cargo cannot be run or answers something unexpected.
pub fn members(root: &Path) -> Result<Vec<Package>, Error> {
    metadata(root, &["--no-deps"])
}

/// Every package of the tree that this machine builds, ours included. Needs no network once the tree was built.
///
/// # Errors
/// If cargo or rustc cannot be run or answer something unexpected.
pub fn packages(root: &Path) -> Result<Vec<Package>, Error> {
    metadata(root, &["--filter-platform", &host()?])
}

/// The packages that `package` needs to be built, itself included, with the features it asks for on its own.
///
/// # Errors
/// If cargo cannot be run.
pub fn needed_by(root: &Path, package: &str) -> Result<Vec<String>, Error> {
    let flags = [
        "tree",
        "--locked",
        "--offline",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let text = answer(
        cargo()
            .args(flags)
            .args(["--package", package])
            .current_dir(root),
    )?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect())
}

/// A cargo command as if it had been typed, without the variables of the cargo that runs this program.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if SET_BY_CARGO.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name.as_ref());
        }
    }
    command
}

/// What a program prints, if it ends well.
///
/// # Errors
/// If it cannot be started or does not end well.
pub fn answer(command: &mut Command) -> Result<String, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| Error::Start {
        program: program.clone(),
        source,
    })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::NoAnswer {
            command: program,
            status: output.status,
            stderr,
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn metadata(root: &Path, flags: &[&str]) -> Result<Vec<Package>, Error> {
    let always = ["metadata", "--format-version", "1", "--locked", "--offline"];
    let text = answer(cargo().args(always).args(flags).current_dir(root))?;
    let value: Value = serde_json::from_str(&text)?;
    list(&value, "packages")?.iter().map(package).collect()
}

fn package(value: &Value) -> Result<Package, Error> {
    Ok(Package {
        name: text(value, "name")?.to_owned(),
        version: text(value, "version")?.to_owned(),
        licence: value["license"].as_str().map(str::to_owned),
        source: value["source"].as_str().map(str::to_owned),
        manifest: PathBuf::from(text(value, "manifest_path")?),
        dependencies: list(value, "dependencies")?
            .iter()
            .map(dependency)
            .collect::<Result<_, _>>()?,
    })
}

fn dependency(value: &Value) -> Result<Dependency, Error> {
    let kind = match value["kind"].as_str() {
        Some("dev") => Kind::Dev,
        Some("build") => Kind::Build,
        _ => Kind::Normal,
    };
    Ok(Dependency {
        name: text(value, "name")?.to_owned(),
        kind,
    })
}

fn text<'a>(value: &'a Value, key: &'static str) -> Result<&'a str, Error> {
    value[key].as_str().ok_or(Error::MetadataLacks(key))
}

fn list<'a>(value: &'a Value, key: &'static str) -> Result<&'a Vec<Value>, Error> {
    value[key].as_array().ok_or(Error::MetadataLacks(key))
}

fn host() -> Result<String, Error> {
    let text = answer(
        Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"),
    )?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or(Error::MetadataLacks("host"))
}
