//! `cargo xtask bench`: runs the figures of `benches/`, holds each against its limit, writes them into one page.
//!
//! What a figure is and how it is measured is the business of `benches/src`; here are the limits, and the page. A figure that no
//! harness gives has a row all the same, so that nobody takes a missing one for a good one.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::Error;
use crate::cargo::{answer, cargo};

mod demo;

/// The page that is written.
pub const PAGE: &str = "docs/benchmarks.md";

/// What a figure must not fall below, or rise above.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// As good as this or larger.
    AtLeast(f64),
    /// As good as this or smaller.
    AtMost(f64),
}

/// One row of the table: id, what it is, limit.
pub type Row = (&'static str, &'static str, Limit);

/// Every figure there is, or will be.
pub const ROWS: &[Row] = &[
    (
        "P1",
        "32 mask streams added to 4 Mi lanes, over the rate of bare AES-256-CTR keystream",
        Limit::AtLeast(0.90),
    ),
    (
        "P2",
        "the same on two threads over one",
        Limit::AtLeast(1.8),
    ),
    (
        "P3",
        "a site's whole step (read, clip, quantise, mask with 31 neighbours, pack, hash), 10 Mi parameters, over P1's kernel alone for that work",
        Limit::AtMost(1.5),
    ),
    (
        "P4a",
        "Flower SecAgg+'s time for a site's masking over ours; limit for 100 sites, 1e6 parameters",
        Limit::AtLeast(8.0),
    ),
    (
        "P4b",
        "the same with all keys and shares",
        Limit::AtLeast(20.0),
    ),
    (
        "P5a",
        "Flower SecAgg+'s time for the server's unmasking over ours, 100 sites, 1e6 parameters, nobody lost",
        Limit::AtLeast(100.0),
    ),
    ("P5b", "the same with 10 sites lost", Limit::AtLeast(100.0)),
    (
        "P6",
        "whole unmasking, 100 sites, 1e6 parameters, 10 sites lost, over bare keystream and key agreements",
        Limit::AtMost(1.25),
    ),
    ("P7", "bytes a site uploads over m·d/8", Limit::AtMost(1.01)),
    (
        "P8",
        "upload over mutual TLS with staging and fsync, over a plain TLS stream copied to a file with fsync",
        Limit::AtLeast(0.6),
    ),
    (
        "P9",
        "folding uploads, over adding a stream of u32",
        Limit::AtLeast(0.6),
    ),
    (
        "P10",
        "largest memory in MB of any process, without file pages, 1e9 parameters, 5 sites, end to end",
        Limit::AtMost(256.0),
    ),
    (
        "P11",
        "coordinator's memory with 128 uploads over that with 5",
        Limit::AtMost(1.3),
    ),
];

/// A line that the harness printed.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// "P1", or "P9/m=19": a variant.
    pub id: String,
    /// The ratio.
    pub value: f64,
    /// What it is a ratio of.
    pub unit: String,
    /// What it was measured against.
    pub against: String,
    /// Lower and upper quartile of the repetitions.
    pub quartiles: Option<(f64, f64)>,
}

/// Runs the figures called `only`, or all; gives what the harness printed, one JSON object a line.
///
/// # Errors
/// If the harness cannot be built or fails.
pub fn run(root: &Path, only: &[&str]) -> Result<String, Error> {
    let flags = [
        "run",
        "--release",
        "--quiet",
        "--locked",
        "--package",
        "veilsum-benches",
        "--",
    ];
    let (whole, pieces): (Vec<&str>, Vec<&str>) =
        only.iter().partition(|id| demo::IDS.contains(*id));
    let mut lines = String::new();
    if only.is_empty() || !pieces.is_empty() {
        // what is skipped is said on standard error
        let mut command = cargo();
        command.args(flags).args(pieces).current_dir(root);
        lines = answer(command.stderr(Stdio::inherit()))?;
    }
    if whole.contains(&"P10") {
        lines += &demo::largest(root)?;
    }
    if only.is_empty() || whole.contains(&"P11") {
        lines += &demo::growth(root)?;
    }
    Ok(lines)
}

/// Runs everything and writes [`PAGE`].
///
/// # Errors
/// As [`run`], or if the page cannot be written.
pub fn write(root: &Path) -> Result<String, Error> {
    write_page(root, &run(root, &[])?)
}

/// Writes [`PAGE`] from a file of lines that [`run`] gave before on this machine.
///
/// # Errors
/// If the file cannot be read, a line is not what it should be, or the page cannot be written.
pub fn write_from(root: &Path, file: &Path) -> Result<String, Error> {
    let lines = fs::read_to_string(file).map_err(|source| Error::File {
        path: file.to_owned(),
        source,
    })?;
    write_page(root, &lines)
}

fn write_page(root: &Path, lines: &str) -> Result<String, Error> {
    let page = page(&figures(lines)?, &machine());
    let path = root.join(PAGE);
    fs::write(&path, &page).map_err(|source| Error::File { path, source })?;
    Ok(page)
}

/// What the harness printed, read.
///
/// # Errors
/// If a line is not what it should be.
pub fn figures(text: &str) -> Result<Vec<Measured>, Error> {
    text.lines().map(figure).collect()
}

fn figure(line: &str) -> Result<Measured, Error> {
    let value: Value = serde_json::from_str(line)?;
    let text = |key| {
        value[key]
            .as_str()
            .map(str::to_owned)
            .ok_or(Error::MetadataLacks(key))
    };
    let quartile = |at: usize| value["quartiles"][at].as_f64();
    Ok(Measured {
        id: text("id")?,
        value: value["value"]
            .as_f64()
            .ok_or(Error::MetadataLacks("value"))?,
        unit: text("unit")?,
        against: text("against")?,
        quartiles: quartile(0).zip(quartile(1)),
    })
}

impl Limit {
    /// Whether `value` keeps it.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(limit) => format!("≥ {limit}"),
            Self::AtMost(limit) => format!("≤ {limit}"),
        }
    }
}

/// The page for these figures.
pub fn page(figures: &[Measured], machine: &str) -> String {
    let mut page = String::from(BEGINNING);
    let _ = writeln!(
        page,
        "\n## The machine of these figures\n\n{machine}\n## Figures\n"
    );
    page.push_str("| # | figure | value | quartiles | limit | kept | against |\n|---|---|---|---|---|---|---|\n");
    for &(id, what, limit) in ROWS {
        let mut found = figures
            .iter()
            .filter(|figure| figure.row() == id)
            .peekable();
        if found.peek().is_none() {
            let _ = writeln!(
                page,
                "| {id} | {what} | not measured | | {} | | |",
                limit.text()
            );
        }
        for figure in found {
            let quartiles = figure
                .quartiles
                .map_or(String::new(), |(low, high)| format!("{low:.3}–{high:.3}"));
            let (bound, kept) = match limit.holds(figure.value) {
                _ if figure.is_only_reported() => (String::new(), ""),
                true => (limit.text(), "yes"),
                false => (limit.text(), "**no**"),
            };
            let _ = writeln!(
                page,
                "| {} | {what} | {:.3} | {quartiles} | {bound} | {kept} | {} |",
                figure.id, figure.value, figure.against
            );
        }
    }
    page
}

impl Measured {
    /// Whether no limit was set: P2's variant is a control, P4's limit is for the sites and elements of the figure itself.
    fn is_only_reported(&self) -> bool {
        self.id != self.row() && ["P2", "P4a", "P4b"].contains(&self.row())
    }

    /// The row that a variant belongs to.
    fn row(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }
}

/// Processor, what of it matters here, and how busy it was.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": "))
            .map_or("unknown", |(_, value)| value)
            .to_owned()
    };
    let flags = field("flags");
    let found: Vec<_> = FEATURES
        .iter()
        .filter(|feature| flags.split(' ').any(|flag| flag == **feature))
        .copied()
        .collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("unknown");
    format!(
        "* processor: {}, {cores} virtual cores, {}-{}\n* features: {}\n* average load when this page was written: {load} (a run makes about 1 itself)\n",
        field("model name"),
        std::env::consts::ARCH,
        std::env::consts::OS,
        found.join(", ")
    )
}

/// Instructions that the kernels look for.
const FEATURES: &[&str] = &[
    "aes", "vaes", "avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl",
];

const BEGINNING: &str = include_str!("bench/beginning.md");

#[cfg(test)]
mod tests;
