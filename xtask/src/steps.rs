//! The steps of continuous integration, each a command of its own, and the order in which they run.
//!
//! A step joins when what it checks exists. The first one that fails ends the whole, since what follows would only say
//! the same again. Nothing here needs more than a Rust toolchain and a C compiler; nextest is used where it is installed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::cargo::{answer, cargo};
use crate::{Error, instructions, licences};

/// One command of the whole.
struct Step {
    name: &'static str,
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
}

const FMT: Step = Step {
    name: "fmt",
    args: &["fmt", "--all", "--check"],
    env: &[],
};

const LINT: Step = Step {
    name: "lint",
    args: &[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ],
    env: &[],
};

const DOC: Step = Step {
    name: "doc",
    args: &[
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
        "--locked",
    ],
    env: &[("RUSTDOCFLAGS", "-D warnings")],
};

/// End-to-end tests start real binaries, and `cargo test` does not build those of another package. This program itself
/// is left out: it is running.
const BINARIES: Step = Step {
    name: "binaries",
    args: &[
        "build",
        "--workspace",
        "--exclude",
        "xtask",
        "--bins",
        "--locked",
    ],
    env: &[],
};

const NEXTEST: Step = Step {
    name: "tests",
    args: &["nextest", "run", "--workspace", "--locked"],
    env: &[],
};

/// Where nextest is missing: the same tests, without its summary and its limits in time.
const PLAIN_TESTS: Step = Step {
    name: "tests",
    args: &["test", "--workspace", "--all-targets", "--locked"],
    env: &[],
};

/// nextest does not run the examples in documentation.
const DOC_TESTS: Step = Step {
    name: "doc-tests",
    args: &["test", "--doc", "--package", "veilsum-secagg", "--locked"],
    env: &[],
};

/// Everything that must hold before a change goes in.
///
/// # Errors
/// The first step that fails.
pub fn ci(root: &Path) -> Result<(), Error> {
    let started = Instant::now();
    let before = work_tree(root)?;
    fmt(root)?;
    lint(root)?;
    doc(root)?;
    timed("licences", || licences::check(root))?;
    test(root)?;
    timed("instructions", || instructions::check(root))?;
    timed("work tree", || still_clean(root, &before))?;
    println!(
        "all steps passed in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Every test: unit, property, vectors, rules, end to end.
///
/// # Errors
/// The first step that fails.
pub fn test(root: &Path) -> Result<(), Error> {
    binaries(root)?;
    if has_nextest(root) {
        run(root, &NEXTEST)?;
    } else {
        println!("   cargo-nextest is not installed: using cargo test");
        run(root, &PLAIN_TESTS)?;
    }
    run(root, &DOC_TESTS)
}

/// The programs that end-to-end tests start.
///
/// # Errors
/// If they do not build.
pub fn binaries(root: &Path) -> Result<(), Error> {
    run(root, &BINARIES)
}

/// Formatting.
///
/// # Errors
/// If a file is laid out differently.
pub fn fmt(root: &Path) -> Result<(), Error> {
    run(root, &FMT)
}

/// Lints, over everything that is compiled.
///
/// # Errors
/// If there is a warning.
pub fn lint(root: &Path) -> Result<(), Error> {
    run(root, &LINT)
}

/// Documentation, private items included.
///
/// # Errors
/// If there is a warning, such as a link that leads nowhere.
pub fn doc(root: &Path) -> Result<(), Error> {
    run(root, &DOC)
}

fn run(root: &Path, step: &Step) -> Result<(), Error> {
    timed(step.name, || {
        let command = format!("cargo {}", step.args.join(" "));
        println!("   {command}");
        let status = cargo()
            .args(step.args)
            .envs(step.env.iter().copied())
            .current_dir(root)
            .status()
            .map_err(|source| Error::Start {
                program: "cargo".to_owned(),
                source,
            })?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::Step {
                step: step.name,
                status,
                command,
            })
        }
    })
}

fn timed(name: &str, step: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    println!("== {name}");
    let started = Instant::now();
    step()?;
    println!(
        "== {name}: passed in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Whether cargo-nextest is installed.
pub fn has_nextest(root: &Path) -> bool {
    let mut command = cargo();
    command
        .args(["nextest", "--version"])
        .current_dir(root)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// What git says about the work tree; nothing where the sources came without a repository.
fn work_tree(root: &Path) -> Result<String, Error> {
    if !root.join(".git").exists() {
        return Ok(String::new());
    }
    answer(
        Command::new("git")
            .args(["status", "--porcelain", "--untracked-files=all"])
            .current_dir(root),
    )
}

/// Compares with what was there before, so that a person's unfinished work is no fault of the steps.
fn still_clean(root: &Path, before: &str) -> Result<(), Error> {
    let after = work_tree(root)?;
    let new: Vec<&str> = after
        .lines()
        .filter(|line| !before.lines().any(|known| known == *line))
        .collect();
    if new.is_empty() {
        Ok(())
    } else {
        Err(Error::Dirty {
            diff: new.join("\n"),
        })
    }
}
