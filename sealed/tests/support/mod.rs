//! What the tests with other programs share: whether a program is there, and running it.

#![allow(dead_code, reason = "no test uses all of it")]

use std::path::Path;
use std::process::{Command, Output};

use veilsum_sealed::gate::{Decide, Decision, Record, Request, Unrecorded};

/// Whether `program` can be started. If not, that is said as [`missing`] says it.
pub fn installed(program: &str) -> bool {
    if Command::new(program).arg("--version").output().is_ok() {
        return true;
    }
    missing(program);
    false
}

/// Says where nobody overlooks it that something is not tested; where tests must not be skipped, that is a failure.
pub fn missing(what: &str) {
    let hint = format!(
        "{what} is not installed: what it says about our files is NOT TESTED; .ci/run installs it"
    );
    assert!(
        std::env::var_os("VEILSUM_TEST_ALL_TOOLS").is_none(),
        "{hint}"
    );
    eprintln!("\n*** {hint} ***\n");
}

/// Runs a program in `directory`; panics with what it said if it fails.
pub fn run(directory: &Path, program: &str, arguments: &[&str]) -> Output {
    let output = try_run(directory, program, arguments, None);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a program, with a file as its standard input if one is named.
pub fn try_run(
    directory: &Path,
    program: &str,
    arguments: &[&str],
    input: Option<&Path>,
) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    if let Some(input) = input {
        command.stdin(std::fs::File::open(input).unwrap());
    }
    command.output().unwrap()
}

/// The operating system's randomness.
pub fn random(out: &mut [u8]) {
    getrandom::fill(out).unwrap();
}

/// Lets everything through.
pub struct Open;

impl Decide for Open {
    fn decide(&self, _: &Request) -> Decision {
        Decision::Permit
    }
}

impl Record for Open {
    fn record(&mut self, _: &Request, _: Decision) -> Result<(), Unrecorded> {
        Ok(())
    }
}
