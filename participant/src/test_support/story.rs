//! What one of five sites did in a run up to its first masked byte, as its daemon journals it. Keys are made up; nothing is sealed or sent.

use std::path::Path;
use std::sync::Arc;

use veilsum_common::blob::BlobRef;
use veilsum_common::time::Timestamp;
use veilsum_common::{RunId, RunSpec, Study};
use veilsum_daemon::entropy;
use veilsum_engine::participant::{Contribution, Event, Step};
use veilsum_engine::policy::{Approval, PeerTrust, Policy};
use veilsum_proto::convert::journal::{Journalled as _, SiteAccepted};
use veilsum_secagg::context::{Attempt, Roster};
use veilsum_secagg::keys::{BindingClaim, Identity, Seed, Signature};
use veilsum_secagg::message::{Advertisement, Announcement, Cohort};
use veilsum_secagg::params::round_config_hash;
use veilsum_secagg::participant::{AwaitingRoster, Binding};
use veilsum_secagg::{Bitmap, Certificate, Digest};

use crate::driver::RunError;
use crate::journal::{Entry, Journal};
use crate::keystore::StoreKey;
use crate::replay::{self, Replay, Replayed};

/// When the attempt was opened, and when it expires.
pub(crate) const OPENED: Timestamp = Timestamp(1_000);
pub(crate) const EXPIRES: Timestamp = Timestamp(90_000);

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

pub(crate) fn identity(number: u8) -> Identity {
    Identity::from_seed(&Seed::new([number; 32]))
}

pub(crate) fn run_id() -> RunId {
    RunId::from_bytes([7; 16])
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
pub(crate) fn masked() -> Vec<Event> {
    let (coordinator, spec) = (identity(99), spec());
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
        model_hash: Digest::of_bulk(&super::model()),
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

fn spec() -> RunSpec {
    let public = *identity(99).public().as_bytes();
    let study = Study::parse(STUDY).unwrap();
    RunSpec::from_study(&study, run_id(), public, &super::model()).unwrap()
}

/// The run's parameters, and then `events`.
pub(crate) fn entries(events: &[Event]) -> Vec<Entry> {
    let accepted = SiteAccepted {
        run_spec: spec().to_bytes(),
        signature: Signature([0; 64]),
    };
    let entry = |kind: &str, payload| Entry {
        at: OPENED,
        kind: kind.to_owned(),
        payload,
    };
    let mut entries = vec![entry(accepted.kind(), accepted.encode())];
    let events = events.iter();
    entries.extend(events.map(|event| entry(event.kind(), event.encode())));
    entries
}

/// A site brought back from a journal with `events`, and whatever marker lies in `dir`.
pub(crate) fn replayed(events: &[Event], dir: &Path) -> Result<Replayed, RunError> {
    let store_key = StoreKey::open(&dir.join("store.key"), entropy::fill).unwrap();
    let mut journal = Journal::open(&dir.join("data"), store_key, entropy::fill).unwrap();
    let stream = replay::stream(run_id());
    journal.append(&stream, 0, &entries(events), &[]).unwrap();
    let site = Replay {
        run: run_id(),
        identity: &Arc::new(identity(1)),
        policy: &policy(),
        marker_dir: dir,
    };
    site.read(&journal)
        .map(|replayed| replayed.expect("it has entries"))
}

fn policy() -> Policy {
    Policy {
        approve: Approval::All,
        peers: PeerTrust::Ids(
            (1..=5)
                .map(|number| identity(number).public().id())
                .collect(),
        ),
        min_cohort: 5,
        bits_min: 8,
        max_update_bytes: 1 << 20,
        metrics: None,
    }
}
