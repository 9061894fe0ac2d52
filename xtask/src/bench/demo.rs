//! The figures that whole processes give: `veilsum demo --params` on this machine, its memory as the kernel tells it.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::Error;
use crate::cargo::{answer, cargo};

/// What is measured here; P10 for nobody who has not asked for it, since it takes 25 GB of disk and minutes.
pub const IDS: [&str; 2] = ["P10", "P11"];

/// Memory in MB of the worst process, 1e9 parameters at five sites.
///
/// # Errors
/// If the demo fails, which it does if a single parameter of the sum is wrong.
pub fn largest(root: &Path) -> Result<String, Error> {
    let data = run(root, 1_000_000_000, 5)?;
    let worst = peak(&data, "participant")?.max(peak(&data, "coordinator")?);
    let against = format!(
        "RssAnon + RssShmem of the worst process, looked at every 20 ms; the sum exact in every parameter; {:.0} s in all",
        number(&data, "seconds")?
    );
    Ok(line("P10", worst, "MB", &against))
}

/// The coordinator's memory with 128 sites over that with five.
///
/// # Errors
/// As [`largest`].
pub fn growth(root: &Path) -> Result<String, Error> {
    let [many, few] = [128, 5].map(|sites| run(root, 1_000_000, sites));
    let (many, few) = (peak(&many?, "coordinator")?, peak(&few?, "coordinator")?);
    let against = format!("{many:.0} MB over {few:.0} MB, measured as P10, 1e6 parameters");
    Ok(line("P11", many / few, "MB / MB", &against))
}

fn run(root: &Path, params: u64, sites: u32) -> Result<Value, Error> {
    let out = root.join("target").join("bench-demo");
    let (params, sites) = (params.to_string(), sites.to_string());
    let flags = [
        "run",
        "--release",
        "--quiet",
        "--locked",
        "-p",
        "veilsum-cli",
        "--",
    ];
    let demo = [
        "--json", "demo", "--params", &params, "--sites", &sites, "--out",
    ];
    let mut command = cargo();
    command.args(flags).args(demo).arg(out).current_dir(root);
    let text = answer(command.stderr(Stdio::inherit()))?;
    let mut answer: Value = serde_json::from_str(&text)?;
    Ok(answer["data"].take())
}

fn peak(data: &Value, role: &'static str) -> Result<f64, Error> {
    let value = data[format!("{role}_peak_anonymous_mb")].as_f64();
    value.ok_or(Error::MetadataLacks(role))
}

fn number(data: &Value, key: &'static str) -> Result<f64, Error> {
    data[key].as_f64().ok_or(Error::MetadataLacks(key))
}

fn line(id: &str, value: f64, unit: &str, against: &str) -> String {
    let line = json!({"id": id, "value": value, "unit": unit, "against": against});
    format!("{line}\n")
}
