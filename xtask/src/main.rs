//! `cargo xtask …`: reads the command line and calls the library.

use std::path::Path;
use std::process::ExitCode;

use xtask::{Error, attacks, bench, codegen, instructions, licences, root, sizes, steps};

const USAGE: &str = "\
cargo xtask ci                  everything below, in the order of continuous integration
cargo xtask test                builds the binaries, then runs every test
cargo xtask attacks             every attack of docs/threat-model.md, its tests and controls, as one table
cargo xtask fmt | lint | doc    one step: formatting, clippy, documentation; warnings are errors
cargo xtask licences            licences, sources and bans of deny.toml
cargo xtask codegen [--check]   Rust code from the .proto files; with --check: is the committed code in step?
cargo xtask bench               every figure against its limit; writes docs/benchmarks.md
cargo xtask bench --only P1,P9 --json
                                these figures alone, one JSON object a line; nothing is written
cargo xtask bench --from FILE   writes docs/benchmarks.md from such lines, measured before on this machine
cargo xtask instructions [--write]
                                instructions of each kernel, counted by valgrind, against benches/instructions.txt
cargo xtask sizes               lengths of files and functions, for review";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&words) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("xtask: no such task: {}\n\n{USAGE}", words.join(" "));
            ExitCode::from(USAGE_EXIT)
        }
    }
}

/// None if there is no such task.
fn run(words: &[&str]) -> Option<Result<(), Error>> {
    let root = root();
    Some(match words {
        ["ci"] => steps::ci(&root),
        ["test"] => steps::test(&root),
        ["fmt"] => steps::fmt(&root),
        ["lint"] => steps::lint(&root),
        ["doc"] => steps::doc(&root),
        ["licences"] => licences::check(&root),
        ["codegen"] => codegen::write(&root).map(|paths| {
            paths
                .iter()
                .for_each(|path| println!("wrote {}", path.display()))
        }),
        ["codegen", "--check"] => codegen::check(&root),
        ["attacks"] => attacks::run(&root),
        ["bench"] => bench::write(&root).map(|page| print!("{page}")),
        ["bench", "--only", id] | ["bench", "--only", id, "--json"] => {
            bench::run(&root, &id.split(',').collect::<Vec<_>>()).map(|lines| print!("{lines}"))
        }
        ["bench", "--from", file] => {
            bench::write_from(&root, Path::new(file)).map(|page| print!("{page}"))
        }
        ["bench", "--json"] => bench::run(&root, &[]).map(|lines| print!("{lines}")),
        ["instructions"] => instructions::check(&root),
        ["instructions", "--write"] => instructions::write(&root).map(|text| print!("{text}")),
        ["sizes"] => sizes::report(&root).map(|report| print!("{report}")),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => return None,
    })
}

/// What command lines that make no sense end with, as the programs of this project do.
const USAGE_EXIT: u8 = 2;
