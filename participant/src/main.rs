//! `veilsum-participant`: the daemon of one site.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Trains on this site's own data and sends only masked updates.
#[derive(Parser)]
#[command(name = "veilsum-participant", version)]
struct Arguments {
    /// Configuration file
    #[arg(long, default_value = "/etc/veilsum/site.toml")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match veilsum_participant::daemon(&arguments.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("veilsum-participant: {error:#}");
            ExitCode::FAILURE
        }
    }
}
