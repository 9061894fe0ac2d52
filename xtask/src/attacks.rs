//! The list of attacks as a suite: every row of the table in `docs/threat-model.md` with what its tests came to.
//!
//! A row has a number of the protocol's section 23, tests that the attack fails, and controls: the same attack with the one defence left
//! out, which must succeed, so that no test passes for another reason than the one it names. Deliberately no list of its own: the table
//! is read, and `tests/attacks.rs` proves that table and tests agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;

use crate::Error;
use crate::cargo::cargo;
use crate::steps;

/// The page that holds the table.
pub const PAGE: &str = "docs/threat-model.md";

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// "05", "29a".
    pub number: String,
    /// What is tried.
    pub attack: String,
    /// Tests that it fails.
    pub tests: Vec<String>,
    /// Tests that it succeeds without the defence.
    pub controls: Vec<String>,
}

/// What the tests of one name came to: none ran, all passed, one failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It passed wherever it ran.
    Passed,
    /// No such test ran.
    Missing,
    /// It failed.
    Failed,
}

/// The rows of the table, in its order.
pub fn rows(page: &str) -> Vec<Row> {
    page.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.strip_prefix("| T-")?.split(" | ").collect();
    let [number, attack, _defence, tests, controls] = cells[..] else {
        return None;
    };
    Some(Row {
        number: number.to_owned(),
        attack: attack.to_owned(),
        tests: names(tests),
        controls: names(controls),
    })
}

/// Words in backquotes.
fn names(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Runs every test of the table and prints the table with what came of it.
///
/// # Errors
/// If a test or a control failed or is missing, or a row has none.
pub fn run(root: &Path) -> Result<(), Error> {
    let path = root.join(PAGE);
    let page = std::fs::read_to_string(&path).map_err(|source| Error::File { path, source })?;
    let rows = rows(&page);
    let wanted: BTreeSet<&String> = rows.iter().flat_map(Row::all).collect();
    steps::binaries(root)?;
    let verdicts = verdicts(&tested(root, &wanted)?);
    let mut failed = Vec::new();
    println!("{:<6} {:<8} {:<8}  attack", "number", "attack", "control");
    for row in &rows {
        let [tests, controls] = [&row.tests, &row.controls].map(|names| worst(names, &verdicts));
        println!(
            "T-{:<4} {:<8} {:<8}  {}",
            row.number,
            tests.map_or("no test", |verdict| verdict.word("stopped")),
            controls.map_or("none", |verdict| verdict.word("succeeds")),
            row.attack
        );
        if [tests, controls] != [Some(Verdict::Passed); 2] {
            failed.push(format!("T-{}", row.number));
        }
    }
    println!("{} attacks, {} tests", rows.len(), wanted.len());
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Error::Attacks(failed))
    }
}

impl Row {
    fn all(&self) -> impl Iterator<Item = &String> {
        self.tests.iter().chain(&self.controls)
    }
}

impl Verdict {
    fn word(self, passed: &'static str) -> &'static str {
        match self {
            Self::Passed => passed,
            Self::Missing => "MISSING",
            Self::Failed => "FAILED",
        }
    }
}

/// The worst of some tests; nothing if there are none.
fn worst(names: &[String], verdicts: &BTreeMap<String, Verdict>) -> Option<Verdict> {
    let verdict = |name| verdicts.get(name).copied().unwrap_or(Verdict::Missing);
    names.iter().map(verdict).max()
}

/// What cargo prints while it runs these tests.
fn tested(root: &Path, names: &BTreeSet<&String>) -> Result<String, Error> {
    let args: &[&str] = if steps::has_nextest(root) {
        &[
            "nextest",
            "run",
            "--workspace",
            "--locked",
            "--no-fail-fast",
            "--color",
            "never",
            "--status-level",
            "all",
            "--final-status-level",
            "none",
            "--",
        ]
    } else {
        &[
            "test",
            "--workspace",
            "--all-targets",
            "--locked",
            "--no-fail-fast",
            "--",
        ]
    };
    let output = cargo()
        .args(args)
        .args(names)
        .current_dir(root)
        .stderr(Stdio::piped())
        .output()
        .map_err(|source| Error::Start {
            program: "cargo".to_owned(),
            source,
        })?;
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(text.join("\n"))
}

/// Reads `test a::name ... ok` of cargo test and `PASS [ 0.1s] (1/2) crate a::name` of nextest.
fn verdicts(printed: &str) -> BTreeMap<String, Verdict> {
    let mut all = BTreeMap::new();
    for line in printed.lines().map(str::trim) {
        let plain = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "));
        let told = match plain {
            Some((path, "ok")) => Some((path, Verdict::Passed)),
            Some((path, _)) => Some((path, Verdict::Failed)),
            None => next(line),
        };
        if let Some((path, verdict)) = told {
            let name = path.rsplit("::").next().unwrap_or(path).to_owned();
            let known = all.entry(name).or_insert(verdict);
            *known = verdict.max(*known);
        }
    }
    all
}

fn next(line: &str) -> Option<(&str, Verdict)> {
    let (word, rest) = line.split_once(' ')?;
    let verdict = match word {
        "PASS" => Verdict::Passed,
        "FAIL" | "TIMEOUT" | "SIGABRT" | "SIGSEGV" | "LEAK-FAIL" => Verdict::Failed,
        _ => return None,
    };
    Some((rest.rsplit(' ').next()?, verdict))
}

#[cfg(test)]
mod tests;
