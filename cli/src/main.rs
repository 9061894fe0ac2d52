//! `veilsum`: every role and every command in one binary.
//!
//! [`args`] says what was typed, [`commands`] does it, [`render`] shows the result, [`exit`] is the one map from errors to exit codes.

mod args;
mod bug;
mod client;
mod commands;
mod error;
mod exit;
mod render;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use args::Arguments;
use exit::{Exit, Failure};
use render::Form;

fn main() -> ExitCode {
    bug::report_panics();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return explain_usage(&error),
    };
    let form = if arguments.json {
        Form::Json
    } else {
        Form::Text
    };
    let done = std::panic::catch_unwind(move || commands::dispatch(arguments.command, form));
    match done {
        Ok(Ok(output)) => {
            render::success(form, &output);
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => fail(form, &Failure::from(&error)),
        Err(_) => fail(form, &bug::failure()),
    }
}

fn fail(form: Form, failure: &Failure) -> ExitCode {
    render::failure(form, failure);
    failure.exit.code().into()
}

/// clap's own text; and the envelope, if it was asked for before things went wrong.
fn explain_usage(error: &clap::Error) -> ExitCode {
    let help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    if wants_json && !help {
        return fail(
            Form::Json,
            &Failure::usage(
                error
                    .to_string()
                    .trim_start_matches("error: ")
                    .trim_end()
                    .to_owned(),
            ),
        );
    }
    // Standard output or error may be closed; there is nobody left to tell.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => Exit::Usage.code().into(),
    }
}
