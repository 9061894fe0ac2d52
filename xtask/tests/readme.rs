//! What the pages promise: links lead somewhere, commands are run by a test, named tests and cited sections exist.
//!
//! The commands themselves are run where their programs are: see [`COMMANDS`]. Whether a sentence is true stays a matter for review.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use xtask::root;

/// Every command line that the README prints, and the test that runs it.
///
/// `cargo xtask test` is not here: it is what runs all others.
const COMMANDS: [(&str, &str, &str); 1] = [(
    "cargo run --release -p veilsum-cli -- demo",
    "tests/tests/demo.rs",
    "five_sites_train_one_model_and_everything_is_reported",
)];

/// The command that runs the tests, this one included.
const TEST_COMMAND: &str = "cargo xtask test";

/// Longest README that somebody reads to its end.
const README_LINES: usize = 200;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages of the repository: those at its root and those of `docs`.
fn pages() -> Vec<PathBuf> {
    let listed = [root(), root().join("docs")]
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).expect("the folder is part of the repository"));
    let mut pages: Vec<PathBuf> = listed
        .map(|entry| entry.expect("a folder lists its entries").path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    pages.sort();
    pages
}

/// Sources of a kind below `folder`, generated and built ones left out.
fn sources(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is part of the repository") {
        let path = entry.expect("a folder lists its entries").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "gen" {
            found.extend(sources(&path, end));
        } else if path.extension().is_some_and(|found| found == end) {
            found.push(path);
        }
    }
    found
}

/// Targets of the links of a page, those in code left out.
fn links(text: &str) -> Vec<String> {
    let prose = outside_fences(text);
    let after = prose.split("](").skip(1);
    after
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target.to_owned()))
        .collect()
}

fn outside_fences(text: &str) -> String {
    let outside = text.split("```").step_by(2);
    outside.collect::<Vec<_>>().join("\n")
}

/// What a fenced block of this language holds.
fn fenced<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let inside = text.split("```").skip(1).step_by(2);
    inside
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .collect()
}

/// Words in backquotes.
fn quoted(text: &str) -> Vec<String> {
    let prose = outside_fences(text);
    prose
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Section numbers that stand behind "protocol, section" in a source.
fn cited(text: &str) -> Vec<String> {
    let words: Vec<&str> = text
        .split_whitespace()
        .filter(|word| !matches!(*word, "//!" | "///" | "//"))
        .collect();
    let mut numbers = Vec::new();
    for (at, pair) in words.windows(2).enumerate() {
        let cites = pair[0].ends_with("rotocol,") && matches!(pair[1], "section" | "sections");
        if cites {
            numbers.extend(leading_numbers(&words[at + 2..]));
        }
    }
    numbers
}

fn leading_numbers(words: &[&str]) -> Vec<String> {
    let number = |word: &str| word.trim_end_matches([',', '.', ';', ')', ':']).to_owned();
    let belongs = |word: &&&str| {
        matches!(**word, "and" | "to")
            || word.starts_with('(')
            || word.starts_with(|c: char| c.is_ascii_digit())
    };
    let run: Vec<&&str> = words.iter().take_while(belongs).collect();
    let digits = |word: &str| word.chars().all(|c| c.is_ascii_digit() || c == '.');
    run.into_iter()
        .map(|word| number(word))
        .filter(|word| !word.is_empty() && digits(word))
        .collect()
}

/// "05" and "29a" of `fn t05_…` and `fn t29a_…`; a name may begin with several.
fn attack_numbers(text: &str) -> Vec<String> {
    let names = text.split("fn t").skip(1);
    let number = |part: &&str| {
        let digits = part.trim_end_matches('a');
        digits.len() == 2 && digits.chars().all(|c| c.is_ascii_digit())
    };
    names
        .flat_map(|name| {
            let parts = name.split('_').map(|part| part.trim_start_matches('t'));
            parts
                .take_while(number)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn every_link_of_every_page_leads_somewhere() {
    for page in pages() {
        let folder = page.parent().expect("a page lies in a folder");
        for link in links(&read(&page)) {
            let path = link.split('#').next().unwrap_or_default();
            let elsewhere = path.is_empty() || path.contains("://");
            assert!(
                elsewhere || folder.join(path).exists(),
                "{} links to {link}, which is not there",
                page.display()
            );
        }
    }
}

#[test]
fn every_command_of_the_readme_is_run_by_a_test() {
    let readme = read(&root().join("README.md"));
    let blocks = fenced(&readme, "console").join("\n");
    let printed: BTreeSet<&str> = blocks
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    let known: BTreeSet<&str> = COMMANDS
        .iter()
        .map(|(command, ..)| *command)
        .chain([TEST_COMMAND])
        .collect();
    assert_eq!(
        printed, known,
        "commands of the README, and those in the list of this test"
    );
    for (command, file, test) in COMMANDS {
        assert!(
            read(&root().join(file)).contains(&format!("fn {test}(")),
            "`{command}` is said to be run by {test} in {file}"
        );
    }
}

#[test]
fn the_readme_is_short_and_shows_what_its_first_command_prints() {
    let readme = read(&root().join("README.md"));
    let lines = readme.lines().count();
    assert!(
        lines <= README_LINES,
        "the README has {lines} lines, at most {README_LINES} are read"
    );
    let shown = fenced(&readme, "text").join("\n");
    for word in ["federated", "pooled", "each site alone", "model"] {
        assert!(
            shown.contains(word),
            "the demo's output in the README does not say `{word}`"
        );
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let page = read(&root().join("docs/threat-model.md"));
    let named: Vec<String> = quoted(&page)
        .into_iter()
        .filter(|word| {
            word.matches('_').count() > 2
                && word
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        })
        .collect();
    assert!(named.len() > 30, "the tables name tests");
    let all: String = sources(&root(), "rs")
        .iter()
        .map(|path| read(path))
        .collect();
    for test in named {
        assert!(
            all.contains(&format!("fn {test}(")),
            "there is no test {test}"
        );
    }
}

#[test]
fn every_section_of_the_protocol_that_is_cited_exists() {
    let protocol = read(&root().join("docs/protocol.md"));
    let there = |number: &str| {
        let heads = [
            format!("## {number}. "),
            format!("### {number} "),
            format!("**{number} "),
            format!("**{number}** "),
        ];
        protocol
            .lines()
            .any(|line| heads.iter().any(|head| line.starts_with(head.as_str())))
    };
    let files = ["rs", "proto"].map(|end| sources(&root(), end)).concat();
    let mut found = 0;
    for file in files {
        for number in cited(&read(&file)) {
            found += 1;
            assert!(
                there(&number),
                "{} cites protocol, section {number}, which is not there",
                file.display()
            );
        }
    }
    assert!(found > 40, "{found} citations were found");
}

#[test]
fn every_number_in_the_name_of_a_test_is_explained_by_the_protocol() {
    let protocol = read(&root().join("docs/protocol.md"));
    let mut found = 0;
    for file in sources(&root(), "rs") {
        for number in attack_numbers(&read(&file)) {
            found += 1;
            assert!(
                protocol.contains(&format!("| T-{number} |")),
                "{} has a test for T-{number}, which docs/protocol.md, section 23, does not explain",
                file.display()
            );
        }
    }
    assert!(found > 30, "{found} numbered tests were found");
}

#[test]
fn every_file_that_the_architecture_page_names_exists() {
    let page = read(&root().join("ARCHITECTURE.md"));
    for word in quoted(&page) {
        let is_source = word.ends_with(".rs")
            && (word.contains("/src/") || word.contains("/tests/"))
            && !word.contains('<');
        assert!(
            !is_source || root().join(&word).exists(),
            "ARCHITECTURE.md names {word}, which is not there"
        );
    }
}

#[test]
fn citations_are_read_with_lists_ranges_and_line_breaks() {
    let text = "//! Source: protocol,\n//! sections 3 (RunConfig), 11.3 and 16.1.\n// protocol, section 28; RFC 9\n/// Protocol, section 9, \"before\"";
    assert_eq!(cited(text), ["3", "11.3", "16.1", "28", "9"]);
}

#[test]
fn numbers_of_attacks_are_read_from_names() {
    let text = "fn t06_t07_both() {} async fn t29a_late() {} fn trim() {} fn t1_x() {}";
    assert_eq!(attack_numbers(text), ["06", "07", "29a"]);
}
