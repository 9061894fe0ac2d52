use super::*;

fn rules() -> Rules {
    Rules {
        allowed: ["MIT", "Apache-2.0", "ISC"].map(str::to_owned).to_vec(),
        banned: vec!["openssl-sys".to_owned()],
    }
}

fn package(name: &str, licence: Option<&str>, source: Option<&str>) -> Package {
    Package {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        licence: licence.map(str::to_owned),
        source: source.map(str::to_owned),
        manifest: "Cargo.toml".into(),
        dependencies: Vec::new(),
    }
}

#[test]
fn an_expression_is_permitted_when_allowed_licences_can_meet_it() {
    let cases = [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0-only / MIT", true),
        ("ISC AND (Apache-2.0 OR GPL-3.0-only)", true),
        ("ISC AND (GPL-2.0-only OR GPL-3.0-only)", false),
        ("GPL-3.0-only OR MIT AND ISC", true),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
    ];
    for (expression, expected) in cases {
        assert_eq!(rules().permits(expression), expected, "{expression}");
    }
}

#[test]
fn an_expression_that_cannot_be_read_is_not_permitted() {
    for expression in [
        "", "MIT OR", "(MIT", "MIT)", "MIT MIT", "AND MIT", "MIT WITH",
    ] {
        assert!(!rules().permits(expression), "{expression:?}");
    }
}

#[test]
fn a_breach_names_the_package_and_what_is_wrong_with_it() {
    let cases = [
        (package("good", Some("MIT"), Some(CRATES_IO)), None),
        (package("ours", Some("Apache-2.0"), None), None),
        (
            package("openssl-sys", Some("MIT"), Some(CRATES_IO)),
            Some("banned"),
        ),
        (
            package(
                "forked",
                Some("MIT"),
                Some("git+https://example.org/forked"),
            ),
            Some("neither crates.io nor"),
        ),
        (
            package("silent", None, Some(CRATES_IO)),
            Some("names no licence"),
        ),
        (
            package("copyleft", Some("GPL-3.0-only"), Some(CRATES_IO)),
            Some("GPL-3.0-only is not in the list"),
        ),
    ];
    for (package, expected) in cases {
        let breach = rules().breach(&package);
        match (breach, expected) {
            (None, None) => {}
            (Some(line), Some(words)) => assert!(
                line.contains(words) && line.contains(&package.name),
                "{line}"
            ),
            (breach, expected) => panic!("{}: {breach:?} instead of {expected:?}", package.name),
        }
    }
}
