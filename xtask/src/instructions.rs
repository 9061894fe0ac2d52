//! `cargo xtask instructions`: how many instructions each kernel needs for one chunk, held against what was written down.
//!
//! valgrind counts, not a clock: the same program gives the same number on a busy machine, so a step of continuous integration may
//! fail on it. valgrind 3 executes neither VAES nor AVX-512: what is counted is the path with one AES block an instruction and AVX2, and
//! never the widest one. Another compiler makes other code, so the numbers are held against only under the compiler they were made with.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Error;
use crate::cargo::{answer, cargo};

/// The numbers that were written down.
pub const BASELINE: &str = "benches/instructions.txt";

/// What `benches/examples/count.rs` knows.
const KERNELS: &[&str] = &["mask", "pack", "fold", "measure", "quantise"];

/// More than this part above the number is a regression; as much below it is worth writing down.
const TOLERANCE: f64 = 0.03;

/// Instructions for one chunk, by kernel.
pub type Counts = Vec<(String, u64)>;

/// Counts, and compares with [`BASELINE`]; says aloud if it cannot.
///
/// # Errors
/// [`Error::Instructions`] if a kernel needs more.
pub fn check(root: &Path) -> Result<(), Error> {
    let path = root.join(BASELINE);
    let text = fs::read_to_string(&path).map_err(|source| Error::File { path, source })?;
    let (made_with, expected) = read(&text);
    let compiler = compiler()?;
    if let Some(reason) = hindrance(made_with, &compiler) {
        println!("   SKIPPED: {reason}");
        return Ok(());
    }
    let counts = count(root)?;
    for (kernel, count) in &counts {
        println!("   {kernel}: {count} instructions");
    }
    let worse = worse(&expected, &counts);
    if worse.is_empty() {
        Ok(())
    } else {
        Err(Error::Instructions(worse))
    }
}

/// Counts, and writes [`BASELINE`].
///
/// # Errors
/// If nothing can be counted here, or the file cannot be written.
pub fn write(root: &Path) -> Result<String, Error> {
    let mut text = format!("# cargo xtask instructions --write; {}\n", compiler()?);
    for (kernel, count) in count(root)? {
        let _ = writeln!(text, "{kernel} {count}");
    }
    let path = root.join(BASELINE);
    fs::write(&path, &text).map_err(|source| Error::File { path, source })?;
    Ok(text)
}

/// Why nothing is held against anything here.
fn hindrance(made_with: &str, compiler: &str) -> Option<String> {
    let valgrind = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !valgrind.is_ok_and(|status| status.success()) {
        return Some("valgrind is not installed, no instruction was counted".into());
    }
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !["aes", "avx2"]
        .iter()
        .all(|flag| flags.split_whitespace().any(|word| word == *flag))
    {
        return Some("the numbers are of x86-64 with AES and AVX2".into());
    }
    (made_with != compiler).then(|| format!("the numbers are of {made_with}, this is {compiler}"))
}

fn compiler() -> Result<String, Error> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Ok(answer(Command::new(rustc).arg("--version"))?
        .trim()
        .to_owned())
}

/// The compiler of the first line, and the numbers of the others.
fn read(text: &str) -> (&str, Counts) {
    let made_with = text.lines().next().and_then(|line| line.split_once("; "));
    let counts = text.lines().filter_map(|line| line.split_once(' '));
    let counts =
        counts.filter_map(|(kernel, count)| Some((kernel.to_owned(), count.parse().ok()?)));
    (
        made_with.map_or("", |(_, compiler)| compiler),
        counts.collect(),
    )
}

/// Kernels that need more than they did, or of which nothing was written down, in words.
fn worse(expected: &Counts, counts: &Counts) -> Vec<String> {
    let mut worse = Vec::new();
    for (kernel, count) in counts {
        match expected.iter().find(|(known, _)| known == kernel) {
            None => worse.push(format!("{kernel}: {count}, and nothing was written down")),
            Some((_, before)) if *count as f64 > *before as f64 * (1.0 + TOLERANCE) => {
                worse.push(format!("{kernel}: {count}, was {before}"));
            }
            Some(_) => {}
        }
    }
    worse
}

fn count(root: &Path) -> Result<Counts, Error> {
    let flags = [
        "build",
        "--release",
        "--quiet",
        "--locked",
        "--package",
        "veilsum-benches",
        "--example",
        "count",
    ];
    answer(cargo().args(flags).current_dir(root))?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let program = target.join("release/examples/count");
    let counted = |kernel: &&str| {
        // what starting the program takes is in both
        let (one, three) = (run(&program, kernel, "1")?, run(&program, kernel, "3")?);
        Ok(((*kernel).to_owned(), three.saturating_sub(one) / 2))
    };
    KERNELS.iter().map(counted).collect()
}

fn run(program: &Path, kernel: &str, times: &str) -> Result<u64, Error> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([kernel, times]);
    let output = command.output().map_err(|source| Error::Start {
        program: "valgrind".into(),
        source,
    })?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let collected = collected.and_then(|(_, count)| count.trim().parse().ok());
    collected
        .filter(|_| output.status.success())
        .ok_or_else(|| Error::NoAnswer {
            command: "valgrind".into(),
            status: output.status,
            stderr: text.clone().into_owned(),
        })
}

#[cfg(test)]
mod tests;
