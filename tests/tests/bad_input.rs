//! What trainers, studies, models and configuration files can do wrong: each gets the value, the limit and the remedy, the round goes
//! on without that site, and nothing is half done.

#![expect(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use std::fs;
use std::path::Path;

use tonic::Code;
use veilsum_proto::pb;
use veilsum_tests::{Federation, Study, files, over, run_to_end};

/// The site whose trainer goes wrong.
const BAD: usize = 4;

/// What a trainer does in one round, as a shell command, and what its site's log says then.
struct Misdeed {
    does: &'static str,
    said: &'static [&'static str],
}

const HAND_IN: &str = "cp update.safetensors \"$VEILSUM_UPDATE_OUT\"";
const REPORT: &str = "cp result.json \"$VEILSUM_RESULT_OUT\"";

/// One a round. The last one leaves the run.
const MISDEEDS: [Misdeed; 24] = [
    Misdeed {
        does: "echo 'no such table: patients' >&2; exit 3",
        said: &[
            "exited with code 3",
            "0 contributes, 75 sits the round out, 78 leaves the run",
        ],
    },
    Misdeed {
        does: "exit 75",
        said: &["the trainer exited with code 75: sitting this round out"],
    },
    Misdeed {
        does: "kill -9 $$",
        said: &[
            "the trainer was killed by signal 9",
            "look for the out-of-memory killer",
        ],
    },
    Misdeed {
        does: "exec sleep 60",
        said: &[
            "was stopped by SIGTERM at its deadline after 1s",
            "raise trainer.timeout in site.toml, or train less",
        ],
    },
    Misdeed {
        does: "$report; exit 0",
        said: &[
            "ended with code 0 but wrote no update.safetensors",
            "write it to $VEILSUM_UPDATE_OUT, or exit with 75",
        ],
    },
    Misdeed {
        does: "exit 0",
        said: &[
            "ended with code 0 but wrote no result.json",
            "write it to $VEILSUM_RESULT_OUT, or exit with 75",
        ],
    },
    Misdeed {
        does: "$report; mkfifo \"$VEILSUM_UPDATE_OUT\"; exit 0",
        said: &["update.safetensors", "is a pipe; write a regular file"],
    },
    Misdeed {
        does: "$report; ln -s /etc/hostname \"$VEILSUM_UPDATE_OUT\"; exit 0",
        said: &[
            "update.safetensors",
            "is a symbolic link; write a regular file",
        ],
    },
    Misdeed {
        does: "$report; echo garbage > \"$VEILSUM_UPDATE_OUT\"; exit 0",
        said: &[
            "the update has a header of 749118580988207463 bytes, at most 8388608 are read",
            "is it a safetensors file?",
        ],
    },
    Misdeed {
        does: "$report; head -c 100 update.safetensors > \"$VEILSUM_UPDATE_OUT\"; exit 0",
        said: &["the update is not a valid safetensors file"],
    },
    Misdeed {
        does: "$report; cp nan \"$VEILSUM_UPDATE_OUT\"; exit 0",
        said: &[
            "tensor `w` in the update is NaN at index 3",
            "check for a diverged loss or a division by zero",
        ],
    },
    Misdeed {
        does: "$report; cp infinite \"$VEILSUM_UPDATE_OUT\"; exit 0",
        said: &[
            "tensor `w` in the update is inf at index 5",
            "check for a diverged loss",
        ],
    },
    Misdeed {
        does: "$report; cp short \"$VEILSUM_UPDATE_OUT\"; exit 0",
        said: &[
            "tensor `w` in the update has the shape [4], the model has [8]; keep the model's shapes",
        ],
    },
    Misdeed {
        does: "$report; cp double \"$VEILSUM_UPDATE_OUT\"; exit 0",
        said: &[
            "tensor `w` in the update has the type F64, the model has F32; convert it before saving",
        ],
    },
    Misdeed {
        does: "$report; cp integers \"$VEILSUM_UPDATE_OUT\"; exit 0",
        said: &["tensor `w` in the update has the type I32, the model has F32"],
    },
    Misdeed {
        does: "$report; cp renamed \"$VEILSUM_UPDATE_OUT\"; exit 0",
        said: &["the update has the tensor `v`, which the model does not have"],
    },
    Misdeed {
        does: "$hand_in; echo garbage > \"$VEILSUM_RESULT_OUT\"; exit 0",
        said: &[
            "the trainer's result.json cannot be used",
            "with plain finite numbers",
        ],
    },
    Misdeed {
        does: "$hand_in; echo '{\"num_examples\": 101, \"metrics\": {\"loss\": 1.0}}' > \"$VEILSUM_RESULT_OUT\"; exit 0",
        said: &[
            "the weight of the update is 101, the study allows at most 100",
            "raise `secagg.weight.max` in the study",
        ],
    },
    Misdeed {
        does: "$hand_in; echo '{\"num_examples\": 0, \"metrics\": {\"loss\": 1.0}}' > \"$VEILSUM_RESULT_OUT\"; exit 0",
        said: &[
            "the trainer reported 0 examples",
            "should sit the round out (exit 75)",
        ],
    },
    Misdeed {
        does: "$hand_in; echo '{\"num_examples\": 9, \"metrics\": {\"loss\": 10.5}}' > \"$VEILSUM_RESULT_OUT\"; exit 0",
        said: &[
            "the metric `loss` is 10.5, its declared range is 0 to 10",
            "widen the range in the study, or fix the trainer",
        ],
    },
    Misdeed {
        does: "$hand_in; echo '{\"num_examples\": 9}' > \"$VEILSUM_RESULT_OUT\"; exit 0",
        said: &[
            "did not report the metric `loss`",
            "or take it out of the study",
        ],
    },
    Misdeed {
        does: "$hand_in; echo '{\"num_examples\": 9, \"metrics\": {\"loss\": 1, \"age\": 41}}' > \"$VEILSUM_RESULT_OUT\"; exit 0",
        said: &["reported the metric `age`, which the study does not declare"],
    },
    Misdeed {
        does: "$hand_in; head -c 70000 /dev/zero > \"$VEILSUM_RESULT_OUT\"; exit 0",
        said: &["result.json has 70000 bytes, the limit is 65536 bytes"],
    },
    Misdeed {
        does: "exit 78",
        said: &["the trainer exited with code 78: it is not started again in this run"],
    },
];

/// A shell script that misbehaves in its own way in each round.
fn misbehave() -> String {
    let mut script = "case \"$VEILSUM_ROUND\" in\n".to_owned();
    for (round, misdeed) in (1..).zip(&MISDEEDS) {
        let does = misdeed
            .does
            .replace("$hand_in", HAND_IN)
            .replace("$report", REPORT);
        script.push_str(&format!("{round}) {does};;\n"));
    }
    script + "esac"
}

/// The files that the script hands in.
fn prepare(dir: &Path) {
    let with = |at: usize, value: f32| {
        let mut values = [0.0; files::ELEMENTS];
        values[at] = value;
        files::delta(&values)
    };
    let of = |dtype, data: &[u8]| files::tensor(dtype, &[files::ELEMENTS], data, Some("delta"));
    let renamed = String::from_utf8_lossy(&with(0, 0.0)).replace("\"w\"", "\"v\"");
    let all = [
        ("nan", with(3, f32::NAN)),
        ("infinite", with(5, f32::INFINITY)),
        ("short", files::delta(&[0.0; 4])),
        ("double", of("F64", &[0; 8 * files::ELEMENTS])),
        ("integers", of("I32", &[0; 4 * files::ELEMENTS])),
        ("renamed", renamed.into_bytes()),
    ];
    for (name, bytes) in all {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

fn model() -> Vec<u8> {
    files::model(&[0.0; files::ELEMENTS])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_goes_on_without_the_site_whose_trainer_goes_wrong_and_its_log_says_how() {
    let mut federation = Federation::new(5, 4, |site, dir| {
        if site == BAD {
            prepare(dir);
            files::trainer(site, dir, &misbehave())
        } else {
            files::trainer(site, dir, "")
        }
    });
    federation.edit(BAD, "timeout = \"1m\"", "timeout = \"1s\"");
    federation.start_all();
    let rounds = u64::try_from(MISDEEDS.len()).unwrap() + 1;
    let study = Study {
        min: 4,
        weight: r#"{ by = "examples", max = 100 }"#,
        ..Study::of(5, rounds)
    };
    let run = federation.submit(&study.to_toml(), &model()).await;
    let run = federation.completed(&run.run_id).await;

    let (log, coordinator) = (federation.log("site-4"), federation.log("main"));
    for ((round, misdeed), summary) in (1..).zip(&MISDEEDS).zip(&run.history) {
        assert_eq!(
            (summary.cohort, summary.survivors),
            (4, 4),
            "{}",
            misdeed.does
        );
        let about = [
            format!("\"round\":{round},"),
            format!("\"round\":{round}}}"),
        ];
        let line = log.lines().find(|line| {
            about.iter().any(|about| line.contains(about))
                && misdeed.said.iter().all(|words| line.contains(words))
        });
        assert!(
            line.is_some(),
            "{} is not explained by {:?} in\n{log}",
            misdeed.does,
            misdeed.said
        );
    }
    // the end of its stderr is for the site alone, and so is what its numbers were
    assert!(log.contains("no such table: patients"));
    for private in ["patients", "10.5", "NaN", "age"] {
        let told = coordinator.lines().find(|line| {
            line.contains(&format!("`{private}`")) || line.contains(&format!(" {private}"))
        });
        assert_eq!(told, None);
    }
    // after the last misdeed its trainer is not started again, and nobody waits for it
    let (last, started) = (
        run.history.last().unwrap(),
        files::trained(&federation.members[BAD].dir),
    );
    assert_eq!((last.cohort, started.len()), (4, MISDEEDS.len()));
    assert!(
        last.published_ms - last.opened_ms < 30_000,
        "the join timeout is a minute"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_with_too_many_failing_trainers_ends_with_the_reason_in_every_log() {
    let mut federation = Federation::new(5, 4, |site, dir| {
        let fails = if site < 2 { "exit 1" } else { "" };
        files::trainer(site, dir, fails)
    });
    federation.start_all();
    let study = Study {
        min: 4,
        ..Study::of(5, 3)
    };
    let run = federation.submit(&study.to_toml(), &model()).await;
    let run = federation.wait(&run.run_id, over).await;
    let reason = run.reason.clone().unwrap();
    assert_eq!(
        (run.state(), reason.code.as_str()),
        (pb::RunState::Failed, "ROUND_QUORUM_LOST")
    );
    assert!(
        reason
            .text
            .contains("3 sites were ready in time, 4 are needed"),
        "{}",
        reason.text
    );
    for site in 0..5 {
        federation
            .logged(
                &format!("site-{site}"),
                &["run ended", &reason.code, &reason.text],
            )
            .await;
        let tries = if site < 2 { 3 } else { 1 };
        let trained = files::trained(&federation.members[site].dir);
        assert_eq!(
            trained,
            vec![1; tries],
            "a pinned update serves every attempt, a failed trainer is asked again"
        );
    }
    assert!(run.history.is_empty());
    assert_eq!(
        federation.model(&run.run_id, None).await,
        model(),
        "no version but the initial one"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_study_or_model_that_cannot_run_is_refused_when_it_is_submitted_and_leaves_nothing_behind()
 {
    let federation = Federation::new(0, 3, |_, _| Vec::new());
    let study = Study::of(5, 3).to_toml();
    let but = |from: &str, to: &str| {
        assert!(study.contains(from));
        study.replace(from, to)
    };
    let spoilt = |value| {
        let mut values = [0.0; files::ELEMENTS];
        values[2] = value;
        files::model(&values)
    };
    let garbage = b"garbage".to_vec();
    let integers = files::tensor("I64", &[2], &[0; 16], None);
    let empty = files::tensor("F32", &[0], &[], None);
    let cases: [(String, Vec<u8>, &[&str]); 16] = [
        (
            study.clone(),
            spoilt(f32::NAN),
            &["tensor `w` in the model is NaN at index 2", "check for"],
        ),
        (
            study.clone(),
            spoilt(f32::NEG_INFINITY),
            &["tensor `w` in the model is -inf at index 2"],
        ),
        (
            study.clone(),
            garbage,
            &["the model is not a valid safetensors file"],
        ),
        (
            study.clone(),
            integers,
            &[
                "tensor `w` holds integers (I64), which cannot be averaged",
                "model.keep_global",
            ],
        ),
        (study.clone(), empty, &["tensor `w` has no elements"]),
        (
            study.clone(),
            Vec::new(),
            &["the model is not a valid safetensors file"],
        ),
        (
            but("count = 3", "cuont = 3"),
            model(),
            &["line 4, column 1: unknown key `cuont`; did you mean `count`?"],
        ),
        (
            but("[metrics]", "[privacy]\nepsilon = 8.0\n[metrics]"),
            model(),
            &["unknown key `privacy`"],
        ),
        (
            but("count = 3", "count = 0"),
            model(),
            &["rounds.count is 0, allowed is 1 to 100000"],
        ),
        (
            but("join_timeout = \"1m\"", "join_timeout = \"6d\""),
            model(),
            &[
                "rounds.join_timeout + rounds.report_timeout is 6d + 1m",
                "at most 6d is possible",
                "shorten one",
            ],
        ),
        (
            but("target = 5", "target = 4"),
            model(),
            &["rounds.cohort.target is 4, below rounds.cohort.min = 5"],
        ),
        (
            but("value = 1.0", "value = nan"),
            model(),
            &["secagg.clip.value is NaN, allowed is 1e-9 to 1e9"],
        ),
        (
            but("range = [0.0, 10.0]", "range = [1.0, 1.0]"),
            model(),
            &["metrics.loss.range is [1, 1]"],
        ),
        (
            format!("{study}[strategy]\nkind = \"krum\"\n"),
            model(),
            &[
                "strategy.kind = \"krum\" is not available",
                "cannot work on a sum",
            ],
        ),
        (
            but("initial = ", "aggregate = [\"head.*\"]\ninitial = "),
            model(),
            &["`head.*` in model.aggregate matches no tensor"],
        ),
        ("not TOML".to_owned(), model(), &["line 1, column"]),
    ];
    for (request, (study, model, said)) in (1..).zip(cases) {
        let refused = federation
            .try_submit(&study, &model, request)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        for words in said {
            assert!(
                refused.message().contains(words),
                "{words}: {}",
                refused.message()
            );
        }
    }
    let runs = federation
        .operator()
        .list_runs(pb::ListRunsRequest::default())
        .await;
    assert!(runs.unwrap().into_inner().runs.is_empty());
    let blobs = walk(&federation.dir("main").join("data/blobs"));
    assert!(blobs.is_empty(), "{blobs:?}");
    let keys = walk(&federation.dir("main").join("data/keys"));
    assert!(keys.is_empty(), "{keys:?}");
}

/// Files below a directory.
fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_configuration_with_an_unknown_key_or_a_value_out_of_bounds_starts_nothing_and_names_the_line()
{
    let federation = Federation::new(1, 3, |site, dir| files::trainer(site, dir, ""));
    let coordinator = federation.dir("main");
    let site = federation.members[0].dir.clone();
    for (daemon, dir, file, from, to, said) in [
        (
            "veilsum-participant",
            &site,
            "site.toml",
            "min_cohort = 3",
            "min_cohrot = 3",
            "unknown key `min_cohrot`; did you mean `min_cohort`?",
        ),
        (
            "veilsum-participant",
            &site,
            "site.toml",
            "min_cohort = 3",
            "min_cohort = 2",
            "min_cohort",
        ),
        (
            "veilsum-participant",
            &site,
            "site.toml",
            "https://",
            "http://",
            "coordinator",
        ),
        (
            "veilsum-participant",
            &site,
            "site.toml",
            "timeout = \"1m\"",
            "timeout = \"0s\"",
            "timeout",
        ),
        (
            "veilsum-coordinator",
            &coordinator,
            "coordinator.toml",
            "data_dir",
            "data_dri",
            "unknown key `data_dri`; did you mean `data_dir`?",
        ),
        (
            "veilsum-coordinator",
            &coordinator,
            "coordinator.toml",
            "127.0.0.1",
            "localhorst",
            "listen is `localhorst:",
        ),
    ] {
        let text = fs::read_to_string(dir.join(file)).unwrap();
        assert!(text.contains(from));
        fs::write(dir.join("bad.toml"), text.replace(from, to)).unwrap();
        let ended = run_to_end(daemon, dir, "bad.toml");
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.contains("bad.toml") && stderr.contains(said),
            "{stderr}"
        );
    }
}
