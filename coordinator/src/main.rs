//! `veilsum-coordinator`: the coordinator's daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Coordinates secure aggregation: it learns the sum of the sites' updates and nothing about any one of them.
#[derive(Parser)]
#[command(name = "veilsum-coordinator", version)]
struct Arguments {
    /// Configuration file
    #[arg(long, default_value = "/etc/veilsum/coordinator.toml")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match veilsum_coordinator::daemon(&arguments.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("veilsum-coordinator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
