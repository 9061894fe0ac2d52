use std::path::Path;

use veilsum_common::blob::BlobRef;
use veilsum_common::{RunSpec, Study};
use veilsum_engine::participant::{Contribution, Step};
use veilsum_proto::convert::journal::SiteAccepted;
use veilsum_secagg::context::{Attempt, Roster};
use veilsum_secagg::keys::{BindingClaim, Signature};
use veilsum_secagg::message::{Advertisement, Announcement, Cohort};
use veilsum_secagg::params::round_config_hash;
use veilsum_secagg::participant::{AwaitingRoster, Binding};
use veilsum_secagg::{Bitmap, Certificate};

use super::*;
use crate::test_support;

/// When the attempt was opened, and when it expires.
const OPENED: Timestamp = Timestamp(1_000);
const EXPIRES: Timestamp = Timestamp(90_000);

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

const STUDY: &str = r#"
schema = "veilsum.study/v1"
name = "small"
[rounds]
count = 2
cohort = { min = 5, target = 5 }
join_timeout = "1m"
report_timeout = "1m"
[secagg]
clip = { kind = "l2", value = 1.0 }
weight = { by = "examples", max = 100 }
[model]
initial = "init.safetensors"
aggregate = ["*"]
keep_global = ["steps"]
"#;

fn identity(number: u8) -> Identity {
    Identity::from_seed(&Seed::new([number; 32]))
}

fn run_id() -> RunId {
    RunId::from_bytes([7; 16])
}

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

fn binding(number: u8) -> Binding {
    Binding {
        claim: BindingClaim {
            organisation: "org".into(),
            site: format!("site-{number}"),
            not_before: 0,
            not_after: 1 << 40,
        },
        scheme: 0x0807,
        signature: Vec::new(),
        chain: Vec::new(),
    }
}

/// What the site did in a run up to its first masked byte, as its daemon journals it.
fn masked() -> Vec<Event> {
    let coordinator = identity(99);
    let public = *coordinator.public().as_bytes();
    let study = Study::parse(STUDY).unwrap();
    let spec = RunSpec::from_study(&study, run_id(), public, &test_support::model()).unwrap();
    let params = Arc::new(spec.params().clone());
    let joined = |number: u8| {
        let seed = Seed::new([number + 100; 32]);
        AwaitingRoster::new(&params, 1, &identity(number), &binding(number), &seed).1
    };
    let mut advertisements: Vec<Advertisement> = (1..=5).map(joined).collect();
    advertisements.sort_by_key(|member| member.id_pk.id());
    let roster = Arc::new(Roster::new(Arc::clone(&params), 1, &advertisements).unwrap());
    let round_config = spec.round_config_bytes(1);
    let announcement = Announcement {
        epoch_ctx: roster.ctx(),
        round: 1,
        seq: 1,
        retry_of: Digest::ZERO,
        model_hash: Digest::of_bulk(&test_support::model()),
        prev_result_hash: Digest::ZERO,
        roundcfg_hash: round_config_hash(&round_config),
        holders: Bitmap::full(5),
        threshold: params.threshold(5, 5),
        commit_by_ms: 60_000,
        submit_by_ms: 80_000,
        expires_ms: EXPIRES.0,
    };
    let attempt = Attempt::new(Arc::clone(&roster), announcement.clone()).unwrap();
    let cohort = Cohort {
        ann_hash: attempt.hash(),
        members: Bitmap::full(5),
        root: Digest::ZERO,
    };
    let step = |step| Event::Attempt {
        ann_hash: attempt.hash(),
        step: Box::new(step),
    };
    vec![
        Event::Joined {
            epoch: 1,
            binding: Box::new(binding(1)),
        },
        Event::Enrolled { advertisements },
        Event::RosterCertified(Certificate {
            digest: roster.ctx(),
            signatures: Vec::new(),
        }),
        Event::Opened {
            signature: announcement.sign(&coordinator),
            announcement: Box::new(announcement.clone()),
            round_config,
            proofs: Vec::new(),
        },
        Event::Trained(Box::new(Contribution {
            round: 1,
            model_hash: announcement.model_hash,
            roundcfg_hash: announcement.roundcfg_hash,
            update: BlobRef::of(b"update"),
            weight: 1,
            metadata: vec![1, 1],
        })),
        step(Step::Committed),
        step(Step::CohortSeen {
            signature: cohort.sign(&coordinator),
            cohort,
        }),
        step(Step::Submitting),
    ]
}

fn open_journal(config: &Config) -> Journal {
    let store_key = StoreKey::open(&config.store_key, entropy::fill).unwrap();
    Journal::open(&config.data_dir, store_key, entropy::fill).unwrap()
}

/// The run's parameters, and then `events`.
fn write(config: &Config, events: &[Event]) {
    let public = *identity(99).public().as_bytes();
    let study = Study::parse(STUDY).unwrap();
    let spec = RunSpec::from_study(&study, run_id(), public, &test_support::model()).unwrap();
    let accepted = SiteAccepted {
        run_spec: spec.to_bytes(),
        signature: Signature([0; 64]),
    };
    let entry = |kind: &str, payload| Entry {
        at: OPENED,
        kind: kind.to_owned(),
        payload,
    };
    let mut entries = vec![entry(accepted.kind(), accepted.encode())];
    entries.extend(
        events
            .iter()
            .map(|event| entry(event.kind(), event.encode())),
    );
    let mut journal = open_journal(config);
    journal
        .append(&replay::stream(run_id()), 0, &entries, &[])
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
