use std::path::Path;

use super::*;
use crate::test_support;
use crate::test_support::story::{EXPIRES, entries, identity, masked, run_id};

const SITE: &str = r#"
schema = "veilsum.site/v1"
coordinator = "https://127.0.0.1:8443"
name = "site-1"
organisation = "One"
data_dir = "data"
approve = { mode = "all" }
[tls]
ca = "ca.pem"
cert = "site.pem"
key = "tls.key"
[trainer]
command = ["train"]
"#;

/// A site with keys and an empty data directory.
fn site(dir: &Path) -> Config {
    let path = dir.join("site.toml");
    let ids: Vec<String> = (1..=5)
        .map(|number| format!("\"{}\"", identity(number).public().id()))
        .collect();
    let peers = format!("{SITE}[peers]\nids = [{}]\n", ids.join(", "));
    std::fs::write(&path, peers).unwrap();
    let config = Config::load(&path, []).unwrap();
    keystore::create_identity(&config.identity_key, |bytes| bytes.fill(1)).unwrap();
    config
}

fn open_journal(config: &Config) -> Journal {
    let store_key = StoreKey::open(&config.store_key, entropy::fill).unwrap();
    Journal::open(&config.data_dir, store_key, entropy::fill).unwrap()
}

/// The run's parameters, and then `events`.
fn write(config: &Config, events: &[Event]) {
    let mut journal = open_journal(config);
    journal
        .append(&replay::stream(run_id()), 0, &entries(events), &[])
        .unwrap();
}

fn refused(config: &Config) -> ConsentError {
    match Consent::open(config, run_id()) {
        Ok(_) => panic!("there is nothing to consent to"),
        Err(error) => error,
    }
}

#[test]
fn a_consent_is_about_the_attempts_that_are_spent_and_is_given_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = site(dir.path());
    write(&config, &masked());
    let spent = [SpentAttempt {
        epoch: 1,
        round: 1,
        seq: 1,
        released: false,
        expires: EXPIRES,
    }];
    let mut consent = Consent::open(&config, run_id()).unwrap();
    assert_eq!(consent.standing(), Standing::Awaited);
    assert_eq!(consent.spent(), spent);
    assert_eq!(consent.model(), Digest::of_bulk(&test_support::model()));
    consent.give(Timestamp(100_000)).unwrap();
    drop(consent);

    let mut again = Consent::open(&config, run_id()).unwrap();
    assert_eq!(
        (again.standing(), again.spent()),
        (Standing::Given, spent.into())
    );
    again.give(Timestamp(200_000)).unwrap();
    drop(again);
    let entries = open_journal(&config)
        .read(&replay::stream(run_id()))
        .unwrap();
    let consents = entries.iter().filter(|entry| entry.kind == "consented");
    assert_eq!(
        consents.map(|entry| entry.at).collect::<Vec<_>>(),
        [Timestamp(100_000)]
    );
}

#[test]
fn opening_alone_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = site(dir.path());
    let events = masked();
    write(&config, &events);
    drop(Consent::open(&config, run_id()).unwrap());
    let entries = open_journal(&config)
        .read(&replay::stream(run_id()))
        .unwrap();
    assert_eq!(entries.len(), 1 + events.len());
}

#[test]
fn a_site_that_sent_nothing_has_nothing_to_consent_to() {
    for entries in [0, 1, 5, 7] {
        let dir = tempfile::tempdir().unwrap();
        let config = site(dir.path());
        write(&config, &masked()[..entries]);
        let error = refused(&config);
        assert!(
            matches!(error, ConsentError::NothingSpent { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("nothing to consent to"));
    }
}

#[test]
fn a_run_that_is_unknown_or_over_here_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let config = site(dir.path());
    assert!(matches!(refused(&config), ConsentError::UnknownRun { .. }));
    assert!(!config.data_dir.exists(), "asking makes no store");
    write(&config, &masked());
    let other = Consent::open(&config, RunId::from_bytes([8; 16])).err();
    assert!(matches!(other, Some(ConsentError::UnknownRun { .. })));
    open_journal(&config)
        .forget(&replay::stream(run_id()))
        .unwrap();
    assert!(matches!(refused(&config), ConsentError::Over { .. }));
}

#[test]
fn a_running_daemon_is_not_disturbed() {
    let dir = tempfile::tempdir().unwrap();
    let config = site(dir.path());
    write(&config, &masked());
    let daemon = open_journal(&config);
    let error = refused(&config);
    assert!(matches!(error, ConsentError::Running { .. }));
    assert!(error.to_string().contains("stop veilsum-participant first"));
    drop(daemon);
    assert!(Consent::open(&config, run_id()).is_ok());
}
