//! Build tasks of the workspace: code generation, the steps of continuous integration, and the rules that are tests.
//!
//! A person, `.ci/run` and any other machine run the same commands, each of which is a function here; `main.rs` only
//! reads the command line, and `tests/` calls the same functions as the subcommands do. Nothing here ships.

pub mod attacks;
pub mod bench;
pub mod cargo;
pub mod codegen;
pub mod error;
pub mod instructions;
pub mod licences;
pub mod sizes;
pub mod steps;

use std::path::PathBuf;

pub use error::Error;

/// The workspace's folder, wherever the command was called from.
pub fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}
