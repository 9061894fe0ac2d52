//! Every dependency may be shipped with this program, and comes from where it should.

use xtask::{licences, root};

#[test]
fn every_dependency_keeps_the_rules_of_deny_toml() {
    if let Err(error) = licences::check(&root()) {
        panic!("{error}");
    }
}

#[test]
fn the_rules_themselves_are_there() {
    let rules = licences::Rules::read(&root().join("deny.toml")).expect("deny.toml is TOML");
    assert!(rules.permits("Apache-2.0"), "our own licence");
    assert!(!rules.permits("GPL-3.0-only") && !rules.permits("AGPL-3.0-only"));
    assert!(rules.banned.contains(&"openssl-sys".to_owned()));
}
