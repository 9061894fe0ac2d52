//! The rules of `deny.toml` that protect whoever ships this: licences, sources, banned packages.
//!
//! Checked over `cargo metadata` and nothing else, so that every machine with a toolchain can do it. What a package says
//! of itself is believed; nobody reads its files here.

use std::fs;
use std::path::Path;

use crate::Error;
use crate::cargo::{Package, packages};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The rules, as `deny.toml` states them.
#[derive(Debug, Default)]
pub struct Rules {
    /// Licences that may be shipped, as SPDX names.
    pub allowed: Vec<String>,
    /// Packages that may not be in the tree.
    pub banned: Vec<String>,
}

/// Checks every package that this machine builds.
///
/// # Errors
/// [`Error::Dependencies`] with a line for each breach; else if `deny.toml` or cargo's answer cannot be read.
pub fn check(root: &Path) -> Result<(), Error> {
    let rules = Rules::read(&root.join("deny.toml"))?;
    let breaches: Vec<String> = packages(root)?
        .iter()
        .filter_map(|package| rules.breach(package))
        .collect();
    if breaches.is_empty() {
        Ok(())
    } else {
        Err(Error::Dependencies(breaches))
    }
}

impl Rules {
    /// Reads `deny.toml`.
    ///
    /// # Errors
    /// If it cannot be read or is not TOML.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        let table: toml::Table = text.parse().map_err(|source| Error::Toml {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            allowed: strings(&table, "licenses", "allow"),
            banned: strings(&table, "bans", "deny"),
        })
    }

    /// What is wrong with a package, in one line.
    pub fn breach(&self, package: &Package) -> Option<String> {
        let Package {
            name,
            version,
            licence,
            source,
            ..
        } = package;
        if self.banned.contains(name) {
            return Some(format!(
                "  {name} {version}: banned; see the reason in deny.toml"
            ));
        }
        if source.as_ref().is_some_and(|source| source != CRATES_IO) {
            return Some(format!(
                "  {name} {version}: comes from neither crates.io nor this repository"
            ));
        }
        match licence {
            None => Some(format!("  {name} {version}: names no licence")),
            Some(licence) if !self.permits(licence) => Some(format!(
                "  {name} {version}: licence {licence} is not in the list of deny.toml"
            )),
            Some(_) => None,
        }
    }

    /// Whether an SPDX expression can be met with allowed licences only. What cannot be read is not permitted.
    pub fn permits(&self, expression: &str) -> bool {
        // before SPDX, "MIT/Apache-2.0" was how a choice was written
        let spaced = expression
            .replace('/', " OR ")
            .replace('(', " ( ")
            .replace(')', " ) ");
        let tokens: Vec<&str> = spaced.split_whitespace().collect();
        let mut rest = tokens.as_slice();
        self.any(&mut rest) == Some(true) && rest.is_empty()
    }

    /// `all (OR all)*`; none if it cannot be read.
    fn any(&self, rest: &mut &[&str]) -> Option<bool> {
        let mut permitted = self.all(rest)?;
        while take(rest, "OR") {
            permitted |= self.all(rest)?;
        }
        Some(permitted)
    }

    /// `one (AND one)*`
    fn all(&self, rest: &mut &[&str]) -> Option<bool> {
        let mut permitted = self.one(rest)?;
        while take(rest, "AND") {
            permitted &= self.one(rest)?;
        }
        Some(permitted)
    }

    /// `( any )`, or a name, which may go on with `WITH exception`.
    fn one(&self, rest: &mut &[&str]) -> Option<bool> {
        if take(rest, "(") {
            let permitted = self.any(rest)?;
            return take(rest, ")").then_some(permitted);
        }
        let name = word(rest)?;
        if !take(rest, "WITH") {
            return Some(self.allowed.iter().any(|allowed| allowed == name));
        }
        let exception = word(rest)?;
        Some(
            self.allowed
                .iter()
                .any(|allowed| *allowed == format!("{name} WITH {exception}")),
        )
    }
}

/// The next word, if it is a name.
fn word<'a>(rest: &mut &[&'a str]) -> Option<&'a str> {
    let (first, after) = rest.split_first()?;
    let is_name = !matches!(*first, "AND" | "OR" | "WITH" | "(" | ")");
    *rest = after;
    is_name.then_some(*first)
}

fn take(rest: &mut &[&str], word: &str) -> bool {
    match rest.split_first() {
        Some((first, after)) if *first == word => {
            *rest = after;
            true
        }
        _ => false,
    }
}

/// The strings of a list, or the `crate` of each table in it.
fn strings(table: &toml::Table, section: &str, key: &str) -> Vec<String> {
    let list = table
        .get(section)
        .and_then(|section| section.get(key))
        .and_then(toml::Value::as_array);
    let name = |item: &toml::Value| {
        item.as_str()
            .or_else(|| item.get("crate")?.as_str())
            .map(str::to_owned)
    };
    list.map(|list| list.iter().filter_map(name).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
