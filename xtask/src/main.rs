//! `cargo xtask …`: reads the command line and calls the library.

use anyhow::{Result, bail};
use xtask::{codegen, licences, root, sizes, steps};

const USAGE: &str = "\
cargo xtask ci                  everything below, in the order of continuous integration
cargo xtask test                builds the binaries, then runs every test
cargo xtask fmt | lint | doc    one step: formatting, clippy, documentation; warnings are errors
cargo xtask licences            licences, sources and bans of deny.toml
cargo xtask codegen [--check]   Rust code from the .proto files; with --check: is the committed code in step?
cargo xtask sizes               lengths of files and functions, for review";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let root = root();
    match words.as_slice() {
        ["ci"] => steps::ci(&root)?,
        ["test"] => steps::test(&root)?,
        ["fmt"] => steps::fmt(&root)?,
        ["lint"] => steps::lint(&root)?,
        ["doc"] => steps::doc(&root)?,
        ["licences"] => licences::check(&root)?,
        ["codegen"] => println!("wrote {}", codegen::write(&root)?.display()),
        ["codegen", "--check"] => codegen::check(&root)?,
        ["sizes"] => print!("{}", sizes::report(&root)?),
        [] | ["help" | "--help" | "-h"] => println!("{USAGE}"),
        other => bail!("no such task: {}\n\n{USAGE}", other.join(" ")),
    }
    Ok(())
}
