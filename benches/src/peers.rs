//! Others' programs that do the same work, in Python: an environment with pinned versions, and a program that takes turns with us.
//!
//! The environment is made once, under the target folder, from the Python Package Index. Without Python or network there is none, which
//! is the caller's to say aloud.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// A peer's program that prints a line after each piece of work, and waits for one before the next.
pub struct Peer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    turns: ChildStdin,
}

impl Peer {
    /// Starts `script` of `benches/peers`.
    pub fn start(script: &str, args: &[String]) -> anyhow::Result<Self> {
        let mut child = Command::new(python()?)
            .arg(folder().join(script))
            .args(args)
            .arg("--turns")
            // one core, whatever the libraries below would like
            .envs([("OMP_NUM_THREADS", "1"), ("OPENBLAS_NUM_THREADS", "1")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start Python")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Ok(Self {
            child,
            lines: BufReader::new(stdout.expect("standard output is a pipe")).lines(),
            turns: stdin.expect("standard input is a pipe"),
        })
    }

    /// The next line, none at the end. The program does nothing until [`Self::go_on`].
    pub fn next(&mut self) -> anyhow::Result<Option<Value>> {
        match self.lines.next() {
            Some(line) => Ok(Some(serde_json::from_str(&line?)?)),
            None => {
                let status = self.child.wait()?;
                ensure!(
                    status.success(),
                    "the peer's program failed ({status}); its output is above"
                );
                Ok(None)
            }
        }
    }

    /// Lets the program do its next piece of work.
    pub fn go_on(&mut self) -> anyhow::Result<()> {
        self.turns
            .write_all(b"\n")
            .context("the peer's program waits for no line")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It has ended, or is of no use any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// The interpreter of an environment with everything in `requirements.txt`, made if there is none.
fn python() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("no target folder")?;
    let (environment, wanted) = (
        target.join("peers"),
        fs::read_to_string(folder().join("requirements.txt"))?,
    );
    let (python, made) = (
        environment.join("bin/python"),
        environment.join("made-from"),
    );
    if fs::read_to_string(&made).is_ok_and(|made| made == wanted) {
        return Ok(python);
    }
    eprintln!(
        "veilsum-benches: installing what benches/peers needs into {}",
        environment.display()
    );
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&environment))?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--retries",
        "1",
        "--disable-pip-version-check",
    ];
    run(Command::new(&python)
        .args(pip)
        .arg("--requirement")
        .arg(folder().join("requirements.txt")))?;
    fs::write(made, wanted)?;
    Ok(python)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    // standard output is for figures
    let status = command
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    ensure!(status.success(), "{command:?} failed ({status})");
    Ok(())
}
