use std::collections::BTreeSet;
use std::sync::Arc;

use veilsum_common::ids::RunId;
use veilsum_common::study::Study;
use veilsum_engine::machine::Machine as _;
use veilsum_engine::round::{self, Loss, Opening, Outcome, Published};
use veilsum_engine::run;
use veilsum_engine::terms::Terms;
use veilsum_secagg::Bitmap;
use veilsum_secagg::context::{Attempt, Roster};
use veilsum_secagg::keys::{Identity, Seed};
use veilsum_secagg::message::{Announcement, RoundResult};
use veilsum_secagg::participant::{AwaitingRoster, Binding};

use super::*;
use crate::convert::samples;

const STUDY: &str = include_str!("../../../../docs/config/study.toml");
const CREATED: Timestamp = Timestamp(1000);

fn spec() -> RunSpec {
    let header = br#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  "#;
    let len = (header.len() as u64).to_le_bytes();
    let model = [&len[..], header, &[0; 8]].concat();
    let key = Identity::from_seed(&Seed::new([1; 32])).public();
    let study = Study::parse(STUDY).unwrap();
    RunSpec::from_study(&study, RunId::from_bytes([7; 16]), *key.as_bytes(), &model).unwrap()
}

fn terms(spec: &RunSpec) -> Terms {
    let rounds = spec.study().rounds();
    Terms {
        params: Arc::new(spec.params().clone()),
        rounds: rounds.count,
        target: rounds.cohort.target,
        join: rounds.join_timeout,
        report: rounds.report_timeout,
    }
}

fn run(spec: &RunSpec, events: impl IntoIterator<Item = run::Event>) -> Run {
    let mut run = Run::open(terms(spec), BlobRef::of(b"model"), CREATED);
    for event in events {
        run.handle(Timestamp(2000), event).unwrap();
    }
    run
}

fn epoch_ended() -> run::Event {
    run::Event::EpochEnded {
        epoch: 1,
        outcome: Ok(()),
    }
}

fn round_ended(seq: u64, outcome: Outcome) -> run::Event {
    let round = 1;
    run::Event::RoundEnded {
        round,
        seq,
        outcome,
    }
}

/// Four survivors of five, accuracy 0.5 and loss 2 on average.
fn published(spec: &RunSpec) -> Published {
    let reported = BTreeMap::from([("accuracy".to_owned(), 0.5), ("loss".to_owned(), 2.0)]);
    let lanes = spec.metadata().encode(10, 10, &reported).unwrap();
    let result = RoundResult {
        survivors: 4,
        metadata: lanes
            .iter()
            .flat_map(|lane| (lane * 4).to_le_bytes())
            .collect(),
        ..samples::finished().result.value
    };
    Published {
        result,
        certificate: samples::certificate(),
        model: BlobRef::of(b"next"),
        opened_at: Timestamp(1500),
        cohort: 5,
        dropped: vec!["north".parse().unwrap()],
        liars: BTreeSet::new(),
    }
}

fn shown(spec: &RunSpec, run: &Run) -> (pb::RunState, String) {
    let shown = overview(spec, run, CREATED);
    let reason = shown.reason.clone().unwrap_or_default();
    (shown.state(), reason.code)
}

#[test]
fn a_request_id_is_a_uuid_and_has_one_form() {
    let lower = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    assert_eq!(request_id(lower), Ok(lower.to_owned()));
    assert_eq!(request_id(&lower.to_uppercase()), Ok(lower.to_owned()));
    for wrong in [
        "",
        "6ba7b8109dad11d180b400c04fd430c8",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c",
        "6ba7b810-9dad-11d1-80b4-00c04fd430cg",
        "6ba7b810-9dad-11d1-80b4+00c04fd430c8",
        "6ba7b810-9dad-11d1-80b4-00c04fd430ü",
    ] {
        let error = request_id(wrong).unwrap_err();
        assert_eq!(error.to_string(), "field request_id is not a UUID");
    }
}

#[test]
fn a_run_is_pending_until_its_first_epoch_stands_then_running() {
    let spec = spec();
    let pending = overview(&spec, &run(&spec, []), CREATED);
    let expected = pb::Run {
        run_id: spec.run_id().to_string(),
        name: "digits-mlp".to_owned(),
        state: pb::RunState::Pending.into(),
        rounds: 60,
        created_at_ms: 1000,
        ..pb::Run::default()
    };
    assert_eq!(pending, expected);
    assert_eq!(
        shown(&spec, &run(&spec, [epoch_ended()])),
        (pb::RunState::Running, String::new())
    );
}

#[test]
fn a_run_that_tries_again_says_why() {
    let spec = spec();
    let unconfirmed = Abort::RosterUnconfirmed { have: 3, need: 4 };
    let not_set_up = run::Event::EpochEnded {
        epoch: 1,
        outcome: Err(unconfirmed),
    };
    assert_eq!(
        shown(&spec, &run(&spec, [not_set_up])),
        (pb::RunState::Pending, "EPOCH_ROSTER_UNCONFIRMED".to_owned())
    );
    let reason = Abort::CohortTooSmall { have: 2, need: 5 };
    let aborted = Outcome::Aborted {
        reason,
        certificate: None,
    };
    assert_eq!(
        shown(&spec, &run(&spec, [epoch_ended(), round_ended(1, aborted)])),
        (pb::RunState::Running, "ROUND_QUORUM_LOST".to_owned())
    );
}

#[test]
fn a_paused_run_says_what_was_lost_and_who_is_missing() {
    let spec = spec();
    let loss = Loss {
        reason: Abort::ReleaseLost { have: 3, need: 4 },
        missing: vec!["north".parse().unwrap()],
        culprit: None,
    };
    let run = run(&spec, [epoch_ended(), round_ended(1, Outcome::Spent(loss))]);
    assert_eq!(
        shown(&spec, &run),
        (pb::RunState::Paused, "ROUND_RELEASE_LOST".to_owned())
    );
    let lost = overview(&spec, &run, CREATED).lost.unwrap();
    assert_eq!((lost.epoch, lost.round, lost.seq), (1, 1, 1));
    assert_eq!(
        (&lost.missing[..], lost.culprit.as_str()),
        (&["north".to_owned()][..], "")
    );
}

#[test]
fn a_run_that_is_over_says_how() {
    let spec = spec();
    let lost = Outcome::Lost(Abort::NotFinite);
    assert_eq!(
        shown(&spec, &run(&spec, [epoch_ended(), round_ended(1, lost)])),
        (pb::RunState::Failed, "ROUND_MODEL_NOT_FINITE".to_owned())
    );
    assert_eq!(
        shown(&spec, &run(&spec, [run::Event::Cancelled])),
        (pb::RunState::Cancelled, "RUN_CANCELLED".to_owned())
    );
    assert_eq!(ending(&State::Completed), (pb::RunState::Completed, None));
}

#[test]
fn a_published_round_shows_means_and_names_of_the_lost_only() {
    let spec = spec();
    let outcome = Outcome::Published(Box::new(published(&spec)));
    let run = run(&spec, [epoch_ended(), round_ended(1, outcome)]);
    assert_eq!(overview(&spec, &run, CREATED).rounds_done, 1);

    let record = &run.history()[0];
    let summary = summary(spec.metadata(), record);
    let metrics = BTreeMap::from([("accuracy".to_owned(), 0.5), ("loss".to_owned(), 2.0)]);
    let expected = pb::RoundSummary {
        round: 1,
        seq: 1,
        opened_ms: 1500,
        published_ms: 2000,
        cohort: 5,
        survivors: 4,
        metrics: metrics.clone(),
        model_digest: BlobRef::of(b"next").digest.0.to_vec(),
        dropped: vec!["north".to_owned()],
    };
    assert_eq!(summary, expected);

    let version = pb::ModelVersion {
        round: 1,
        digest: BlobRef::of(b"next").digest.0.to_vec(),
        len_bytes: 4,
        published_ms: 2000,
        metrics,
    };
    assert_eq!(model_version(spec.metadata(), record), version);
}

#[test]
fn sums_that_no_honest_sites_give_show_no_means() {
    let spec = spec();
    let mut published = published(&spec);
    published.result.metadata.clear();
    let outcome = Outcome::Published(Box::new(published));
    let run = run(&spec, [epoch_ended(), round_ended(1, outcome)]);
    assert_eq!(
        summary(spec.metadata(), &run.history()[0]).metrics,
        BTreeMap::new()
    );
}

/// An attempt of five sites, just opened.
fn round(spec: &RunSpec) -> Round {
    let terms = terms(spec);
    let binding = Binding {
        claim: samples::advertisement().binding,
        scheme: 0,
        signature: Vec::new(),
        chain: Vec::new(),
    };
    let advertise = |n: u8| {
        let (identity, seed) = (Identity::from_seed(&Seed::new([n; 32])), Seed::new([n; 32]));
        AwaitingRoster::new(&terms.params, 1, &identity, &binding, &seed).1
    };
    let mut advertisements: Vec<_> = (1..=5).map(advertise).collect();
    advertisements.sort_by_key(|advertisement| advertisement.id_pk.id());
    let roster = Roster::new(Arc::clone(&terms.params), 1, &advertisements).unwrap();
    let announcement = Announcement {
        epoch_ctx: roster.ctx(),
        holders: Bitmap::full(5),
        threshold: terms.params.threshold(5, 5),
        ..samples::announcement().value
    };
    let attempt = Attempt::new(Arc::new(roster), announcement).unwrap();
    let sites = ["a", "b", "c", "d", "e"].map(|name| name.parse().unwrap());
    Round::open(
        terms,
        Arc::new(attempt),
        sites.into(),
        Opening::default(),
        Timestamp(1500),
    )
}

#[test]
fn each_site_is_shown_as_far_as_it_got() {
    let spec = spec();
    let mut round = round(&spec);
    let declined = |index, why| round::Event::Declined { index, why };
    let events = [
        declined(1, Decline::NotNow),
        declined(2, Decline::Policy),
        round::Event::Committed {
            index: 3,
            commit: Box::new(samples::commit()),
        },
    ];
    for event in events {
        round.handle(Timestamp(1600), event).unwrap();
    }
    let shown: Vec<_> = participants(&round)
        .into_iter()
        .map(|site| (site.state(), site.site, site.detail))
        .collect();
    let line = |state, site: &str, detail: &str| (state, site.to_owned(), detail.to_owned());
    let expected = [
        line(ParticipantState::Invited, "a", ""),
        line(ParticipantState::Declined, "b", class(Decline::NotNow)),
        line(ParticipantState::Declined, "c", class(Decline::Policy)),
        line(ParticipantState::Committed, "d", ""),
        line(ParticipantState::Invited, "e", ""),
    ];
    assert_eq!(shown, expected);
}
