//! How long files and functions are, against the aims of CONTRIBUTING.md. A report, not a gate.
//!
//! Functions are found by rustfmt's layout (the closing brace stands under the `fn`), not by parsing: good to a few per
//! cent, which is enough for a report.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::cargo::members;

/// A file is thought about again from this length on, in lines.
const FILE_LINES: usize = 500;
/// A function is thought about again from this length on, in lines, comments and signature included.
const FUNCTION_LINES: usize = 70;

/// A function and its length.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line its `fn` is on, from 1.
    pub line: usize,
    /// From there to its closing brace, both included.
    pub lines: usize,
}

struct File {
    path: PathBuf,
    lines: usize,
    functions: Vec<Function>,
}

/// Writes a line per crate, then every file and function beyond the sizes at which one thinks again.
///
/// # Errors
/// If cargo or a file cannot be read.
pub fn report(root: &Path) -> Result<String, Error> {
    let mut text = format!(
        "{:<22}{:>7}{:>8}{:>20}{:>20}{:>7}\n",
        "crate", "files", "lines", "file p50/p90/max", "fn p50/p90/p99", "> 70"
    );
    let mut long = String::new();
    for member in members(root)? {
        let folder = member.manifest.parent().unwrap_or(root).join("src");
        let files = read_all(&folder)?;
        text += &summary(&member.name, &files);
        for file in &files {
            long += &beyond(root, file);
        }
    }
    Ok(if long.is_empty() {
        text
    } else {
        format!("{text}\nthink again:\n{long}")
    })
}

/// The functions of a source text that is laid out by rustfmt.
pub fn functions(source: &str) -> Vec<Function> {
    let lines: Vec<&str> = source.lines().collect();
    lines
        .iter()
        .enumerate()
        .filter_map(|(at, _)| function(&lines, at))
        .collect()
}

fn function(lines: &[&str], at: usize) -> Option<Function> {
    let text = lines[at].trim_start();
    let indent = &lines[at][..lines[at].len() - text.len()];
    let words: Vec<&str> = text.split(' ').collect();
    let place = words.iter().position(|word| *word == "fn")?;
    let is_modifier =
        |word: &&str| matches!(*word, "const" | "async" | "extern") || word.starts_with("pub");
    if !words[..place].iter().all(is_modifier) {
        return None;
    }
    let name = words.get(place + 1)?.split(['(', '<']).next()?.to_owned();
    let closing = format!("{indent}}}");
    let first_end = lines[at..].iter().position(|line| {
        let same_depth = line.starts_with(indent) && !line[indent.len()..].starts_with(' ');
        same_depth
            && (*line == closing
                || line.ends_with(';')
                || (line.ends_with('}') && line.contains('{')))
    })?;
    let is_declaration = lines[at + first_end].ends_with(';');
    (!is_declaration).then_some(Function {
        name,
        line: at + 1,
        lines: first_end + 1,
    })
}

/// Product code below a folder: no tests, nothing generated.
fn read_all(folder: &Path) -> Result<Vec<File>, Error> {
    let mut files = Vec::new();
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    for entry in fs::read_dir(folder).map_err(error(folder))? {
        let path = entry.map_err(error(folder))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && name != "gen" && name != "tests" {
            files.extend(read_all(&path)?);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let source = fs::read_to_string(&path).map_err(error(&path))?;
            files.push(File {
                path,
                lines: source.lines().count(),
                functions: functions(&source),
            });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn summary(name: &str, files: &[File]) -> String {
    let file_lines = sorted(files.iter().map(|file| file.lines));
    let function_lines = sorted(
        files
            .iter()
            .flat_map(|file| &file.functions)
            .map(|function| function.lines),
    );
    let long = function_lines
        .iter()
        .filter(|lines| **lines > FUNCTION_LINES)
        .count();
    let triple = |values: &[usize], last: usize| {
        format!(
            "{}/{}/{}",
            quantile(values, 50),
            quantile(values, 90),
            quantile(values, last)
        )
    };
    format!(
        "{name:<22}{:>7}{:>8}{:>20}{:>20}{long:>7}\n",
        files.len(),
        file_lines.iter().sum::<usize>(),
        triple(&file_lines, 100),
        triple(&function_lines, 99)
    )
}

fn beyond(root: &Path, file: &File) -> String {
    let path = file.path.strip_prefix(root).unwrap_or(&file.path).display();
    let mut text = String::new();
    if file.lines > FILE_LINES {
        text += &format!("  {path}: {} lines\n", file.lines);
    }
    for Function { name, line, lines } in file
        .functions
        .iter()
        .filter(|function| function.lines > FUNCTION_LINES)
    {
        text += &format!("  {path}:{line}: {name}, {lines} lines\n");
    }
    text
}

fn sorted(values: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut values: Vec<usize> = values.collect();
    values.sort_unstable();
    values
}

fn quantile(sorted: &[usize], per_cent: usize) -> usize {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * per_cent / 100).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
