use std::fs;

use super::*;

const SAMPLE: &str = include_str!("../../../docs/config/coordinator.toml");

fn load(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("coordinator.toml");
    fs::write(&path, text).unwrap();
    Config::load(&path)
}

fn with_admin(address: &str) -> Result<Config, ConfigError> {
    load(&SAMPLE.replace(
        "# admin = \"127.0.0.1:8444\"",
        &format!("admin = {address:?}"),
    ))
}

#[test]
fn the_sample_parses_and_has_no_admin_listener() {
    let config = load(SAMPLE).unwrap();
    assert_eq!(config.listen, "0.0.0.0:8443".parse().unwrap());
    assert_eq!(config.admin, None);
}

#[test]
fn the_admin_listener_is_for_this_machine_only() {
    for address in ["127.0.0.1:8444", "[::1]:8444"] {
        assert_eq!(
            with_admin(address).unwrap().admin,
            Some(address.parse().unwrap())
        );
    }
    for address in ["0.0.0.0:8444", "[::]:8444", "192.0.2.7:8444"] {
        let error = with_admin(address).unwrap_err().to_string();
        assert!(error.contains(address), "{error}");
        assert!(error.contains("use 127.0.0.1 or [::1]"), "{error}");
    }
}

#[test]
fn an_address_that_is_none_is_refused_with_an_example() {
    let error = with_admin("localhost").unwrap_err().to_string();
    assert!(error.contains("admin is `localhost`"), "{error}");
    assert!(error.contains("127.0.0.1:8444"), "{error}");
}
