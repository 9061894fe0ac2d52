//! How results and errors are shown: data on standard output, everything else on standard error.
//!
//! With `--json` standard output holds exactly one object, the envelope; without it the data in a form for people. After a success the
//! next command is named, after an error the fix. Colour only on a terminal, and never when `NO_COLOR` is set.

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::{Value, json};

use crate::exit::Failure;

/// Name of the envelope's form.
const SCHEMA: &str = "veilsum.cli/v1";

/// What a command found or made.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// For programs.
    pub data: Value,
    /// For people: what goes to standard output, without the last line break.
    pub text: String,
    /// What to type next.
    pub next: Vec<String>,
}

/// Whether the result goes to a person or to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

/// Shows a result.
pub(crate) fn success(form: Form, output: &Output) {
    match form {
        Form::Json => line(&json!({"schema": SCHEMA, "ok": true, "data": output.data}).to_string()),
        Form::Text if output.text.is_empty() => {}
        Form::Text => line(&output.text),
    }
    for next in &output.next {
        say(Tone::Next, next);
    }
}

/// Shows an error.
pub(crate) fn failure(form: Form, failure: &Failure) {
    let Failure {
        code,
        exit,
        message,
        hint,
        details,
    } = failure;
    if form == Form::Json {
        let error = json!({
            "code": code,
            "exit": exit.code(),
            "message": message,
            "hint": hint,
            "retryable": exit.retryable(),
            "details": details,
        });
        line(&json!({"schema": SCHEMA, "ok": false, "error": error}).to_string());
    }
    say(Tone::Error, &format!("{message} [{code}]"));
    say(Tone::Fix, hint);
}

/// Something a person should know although nothing failed.
pub(crate) fn warn(text: &str) {
    say(Tone::Warning, text);
}

/// What is going on.
pub(crate) fn note(text: &str) {
    // Standard error may be closed; there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// One line of data.
pub(crate) fn line(text: &str) {
    // A reader that went away (`| head`) is no error.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// A table of left-aligned columns, two blanks between them.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).filter_map(width).collect();
    let text = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(text).collect::<Vec<_>>().join("\n")
}

#[derive(Clone, Copy)]
enum Tone {
    Error,
    Fix,
    Warning,
    Next,
}

fn say(tone: Tone, text: &str) {
    let (word, colour) = match tone {
        Tone::Error => ("error", "31"),
        Tone::Fix => ("fix", "36"),
        Tone::Warning => ("warning", "33"),
        Tone::Next => ("next", "32"),
    };
    if wants_colour() {
        note(&format!("\u{1b}[1;{colour}m{word}\u{1b}[0m  {text}"));
    } else {
        note(&format!("{word}  {text}"));
    }
}

fn wants_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests;
