//! What can go wrong in a build task, by fault: the tree's, the machine's, or ours.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a task did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A step ran and was not content; its own output says why.
    #[error("step {step} failed ({status}); its output is above. To repeat it alone: {command}")]
    Step {
        /// Name of the step, as on the command line.
        step: &'static str,
        /// How the program ended.
        status: ExitStatus,
        /// What to type to run just this.
        command: String,
    },
    /// A program could not be started at all.
    #[error("cannot start {program}: {source}. Is it installed and in PATH?")]
    Start {
        /// What was to be started.
        program: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A program whose answer is needed ended without one.
    #[error("{command} gave no answer ({status}): {stderr}")]
    NoAnswer {
        /// What was started.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// `cargo metadata` answered something else than the JSON that is expected.
    #[error("cargo metadata gave JSON that cannot be read: {0}")]
    Metadata(#[from] serde_json::Error),
    /// `cargo metadata` answered without something that is always there.
    #[error("cargo metadata gave JSON without {0}")]
    MetadataLacks(&'static str),
    /// A configuration file of the tree is not TOML.
    #[error("{path}: {source}", path = path.display())]
    Toml {
        /// Which one.
        path: PathBuf,
        /// Where and why.
        source: toml::de::Error,
    },
    /// The .proto files do not compile.
    #[error("the .proto files do not compile: {0}")]
    Proto(#[from] protox::Error),
    /// Generated code could not be made.
    #[error("cannot generate code: {0}")]
    Generate(io::Error),
    /// Generated code in the tree is not what the .proto files give.
    #[error("{path} is not what the .proto files give; run `cargo xtask codegen` and commit it", path = path.display())]
    Stale {
        /// The committed file.
        path: PathBuf,
    },
    /// Attacks that are not shown to fail.
    #[error("not shown to be stopped: {}", .0.join(", "))]
    Attacks(Vec<String>),
    /// Kernels that need more instructions than was written down.
    #[error("kernels need more instructions than benches/instructions.txt says ({}); if that is meant, `cargo xtask instructions --write` and commit it", .0.join("; "))]
    Instructions(Vec<String>),
    /// Dependencies break the rules of `deny.toml`.
    #[error("dependencies break the rules of deny.toml:\n{}", .0.join("\n"))]
    Dependencies(Vec<String>),
    /// A step left something behind in the work tree.
    #[error(
        "the steps changed the work tree; a test or a tool writes where it should not:\n{diff}"
    )]
    Dirty {
        /// What `git status` shows now and did not show before.
        diff: String,
    },
}
