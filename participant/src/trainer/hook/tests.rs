use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::test_support;
use crate::trainer::FailureClass;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

struct Site {
    dir: TempDir,
    assignment: Assignment,
    shutdown: Shutdown,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("global");
        fs::write(&model, test_support::model()).unwrap();
        let join_deadline = NOW + Span::from_secs(3600);
        let assignment = Assignment {
            run: test_support::run(),
            round: 3,
            model,
            join_deadline,
        };
        Self {
            dir,
            assignment,
            shutdown: Shutdown::new(),
        }
    }

    fn hook(&self, script: &str) -> Hook {
        Hook {
            command: ["/bin/sh", "-c", script].map(str::to_owned).into(),
            directory: self.dir.path().into(),
            timeout: Span::from_secs(60),
            grace: Hook::GRACE,
            env: Vec::new(),
        }
    }

    async fn run(&self, hook: &Hook) -> Result<TrainerExit, TrainerError> {
        let root = self.dir.path().join("work");
        hook.run(&self.assignment, &root, NOW, &self.shutdown).await
    }

    async fn run_script(&self, script: &str) -> Result<TrainerExit, TrainerError> {
        self.run(&self.hook(script)).await
    }

    /// A pipe that a script opens for writing as `life`: it ends when every process that holds it is dead.
    fn life(&self) -> Life {
        let path = self.dir.path().join("life");
        let made = std::process::Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap();
        assert!(made.success());
        let (started, wait_started) = tokio::sync::oneshot::channel();
        let ended = tokio::task::spawn_blocking(move || {
            let mut pipe = fs::File::open(path).unwrap();
            pipe.read_exact(&mut [0]).unwrap();
            started.send(()).ok();
            pipe.read_to_end(&mut Vec::new()).unwrap();
        });
        Life {
            started: wait_started,
            ended,
        }
    }
}

struct Life {
    started: tokio::sync::oneshot::Receiver<()>,
    ended: JoinHandle<()>,
}

impl Life {
    async fn ended(self) {
        let bound = Duration::from_secs(20);
        tokio::time::timeout(bound, self.ended)
            .await
            .expect("every process is dead")
            .unwrap();
    }
}

/// A deadline that a test waits for; long enough for a shell to start on a busy machine.
const SOON: Span = Span::from_secs(1);

/// Blocks for ever, holding `life`, after having written a byte to it.
const HANG: &str = "exec 3>life; printf x >&3; sleep 600";

/// The same, deaf to SIGTERM.
const HANG_DEAF: &str = "trap '' TERM; exec 3>life; printf x >&3; sleep 600";

#[tokio::test]
async fn the_three_agreed_exit_codes_are_outcomes() {
    let site = Site::new();
    for (code, outcome) in [
        (0, Outcome::Contribute),
        (75, Outcome::SitOut),
        (78, Outcome::LeaveRun),
    ] {
        let exit = site.run_script(&format!("exit {code}")).await.unwrap();
        assert_eq!(exit.outcome, outcome);
    }
}

#[tokio::test]
async fn every_other_exit_code_is_a_failure_with_the_end_of_stderr() {
    let site = Site::new();
    for expected in [1, 2, 74, 76, 77, 79, 126, 255] {
        let error = site
            .run_script(&format!("echo why >&2; exit {expected}"))
            .await
            .unwrap_err();
        assert_eq!(error.class(), FailureClass::Failed);
        match error {
            TrainerError::Exited {
                code, stderr_tail, ..
            } => {
                assert_eq!((code, stderr_tail.as_str()), (expected, "why\n"));
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn what_a_trainer_says_is_not_in_the_error_message() {
    let site = Site::new();
    let error = site
        .run_script("echo patient 4711 >&2; exit 1")
        .await
        .unwrap_err();
    assert!(!error.to_string().contains("4711"));
}

#[tokio::test]
async fn only_the_last_four_kibibytes_of_stderr_are_kept() {
    let site = Site::new();
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1";
    match site.run_script(script).await.unwrap_err() {
        TrainerError::Exited { stderr_tail, .. } => {
            assert_eq!(stderr_tail.len(), 4096);
            assert!(stderr_tail.ends_with("line 2998\nline 2999\n"));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_trainer_that_prints_without_end_or_lines_does_not_block() {
    let site = Site::new();
    site.run_script("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_signal_is_a_failure_that_names_it() {
    let site = Site::new();
    let error = site.run_script("kill -9 $$").await.unwrap_err();
    assert!(matches!(error, TrainerError::Signalled { signal: 9, .. }));
    assert!(error.to_string().contains("out-of-memory"));
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_named() {
    let site = Site::new();
    for command in [vec!["/no/such/trainer".to_owned()], vec![]] {
        let hook = Hook {
            command,
            ..site.hook("")
        };
        let error = site.run(&hook).await.unwrap_err();
        assert!(matches!(error, TrainerError::Start { .. }));
        assert_eq!(error.class(), FailureClass::NotStarted);
        assert!(error.to_string().contains("trainer.command"));
    }
}

#[tokio::test]
async fn the_assignment_describes_the_round() {
    let site = Site::new();
    let exit = site.run_script("exit 0").await.unwrap();
    let text = fs::read(exit.workdir.assignment()).unwrap();
    let assignment: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let expected = json!({
        "schema": "veilsum.assignment/v1",
        "kind": "train",
        "run_id": site.assignment.run.run_id().to_string(),
        "round": 3,
        "rounds": 9,
        "deadline": 1_700_000_060,
        "config": { "local_epochs": 2 },
        "model": "model.safetensors",
        "tensors": [
            { "name": "steps", "dtype": "I64", "shape": [] },
            { "name": "b", "dtype": "F32", "shape": [1] },
            { "name": "w", "dtype": "F32", "shape": [2, 1] },
        ],
        "metrics": ["accuracy", "loss"],
    });
    assert_eq!(assignment, expected);
}

#[tokio::test]
async fn the_directory_is_private_and_its_inputs_are_read_only() {
    let site = Site::new();
    let exit = site.run_script("exit 0").await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(exit.workdir.path()), 0o700);
    assert_eq!(mode(&exit.workdir.assignment()), 0o400);
    assert_eq!(mode(&exit.workdir.model()), 0o400);
    exit.workdir.remove().unwrap();
}

#[tokio::test]
async fn a_trainer_that_writes_into_its_model_does_not_change_ours() {
    let site = Site::new();
    site.run_script("chmod 600 $VEILSUM_MODEL_IN && echo garbage > $VEILSUM_MODEL_IN")
        .await
        .unwrap();
    assert_eq!(
        fs::read(&site.assignment.model).unwrap(),
        test_support::model()
    );
}

#[tokio::test]
async fn the_trainer_finds_everything_through_its_environment() {
    let site = Site::new();
    let script = r#"
        set -eu
        test "$VEILSUM_ASSIGNMENT" = "$VEILSUM_WORKDIR/assignment.json" && test -r "$VEILSUM_ASSIGNMENT"
        test "$VEILSUM_MODEL_IN" = "$VEILSUM_WORKDIR/model.safetensors" && test -r "$VEILSUM_MODEL_IN"
        test "$VEILSUM_UPDATE_OUT" = "$VEILSUM_WORKDIR/update.safetensors"
        test "$VEILSUM_RESULT_OUT" = "$VEILSUM_WORKDIR/result.json"
        test "$VEILSUM_ROUND" = 3 && test "$VEILSUM_DEADLINE" = 1700000060
        test "$(pwd)" = "$(dirname "$(dirname "$(dirname "$VEILSUM_WORKDIR")")")"
        echo "$VEILSUM_RUN_ID" > run_id
    "#;
    site.run_script(script).await.unwrap();
    let run_id = fs::read_to_string(site.dir.path().join("run_id")).unwrap();
    assert_eq!(run_id.trim_end(), site.assignment.run.run_id().to_string());
}

#[tokio::test]
async fn nothing_else_of_the_daemons_environment_reaches_the_trainer() {
    let site = Site::new();
    // Cargo sets both for a test.
    assert!(
        std::env::var_os("CARGO_MANIFEST_DIR").is_some()
            && std::env::var_os("CARGO_PKG_NAME").is_some()
    );
    let hook = Hook {
        env: vec!["CARGO_PKG_NAME".into()],
        ..site.hook("env > environment")
    };
    site.run(&hook).await.unwrap();
    let text = fs::read_to_string(site.dir.path().join("environment")).unwrap();
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    let expected = |name: &&&str| {
        // The last three are the shell's own.
        INHERITED.contains(name)
            || name.starts_with("VEILSUM_")
            || ["CARGO_PKG_NAME", "PWD", "SHLVL", "_", "OLDPWD"].contains(name)
    };
    assert_eq!(
        names.iter().filter(expected).count(),
        names.len(),
        "{names:?}"
    );
    assert!(names.contains(&"CARGO_PKG_NAME"));
    assert_eq!(
        names
            .iter()
            .filter(|name| name.starts_with("VEILSUM_"))
            .count(),
        8
    );
}

#[tokio::test]
async fn training_that_was_cut_short_starts_over_in_an_empty_directory() {
    let site = Site::new();
    site.run_script("echo old > $VEILSUM_UPDATE_OUT; exit 1")
        .await
        .unwrap_err();
    let exit = site.run_script("exit 0").await.unwrap();
    assert!(!exit.workdir.update().exists());
}

#[tokio::test]
async fn at_the_sites_timeout_the_group_is_terminated() {
    let site = Site::new();
    let life = site.life();
    let hook = Hook {
        timeout: SOON,
        ..site.hook(HANG)
    };
    let error = site.run(&hook).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::TimedOut);
    match error {
        TrainerError::Overran {
            limit,
            limited_by,
            stop,
            ..
        } => {
            assert_eq!(
                (limit, limited_by, stop),
                (SOON, Limit::SiteTimeout, Stop::Terminated)
            );
        }
        other => panic!("{other}"),
    }
    life.ended().await;
}

#[tokio::test]
async fn a_trainer_deaf_to_sigterm_is_killed_after_the_grace() {
    let site = Site::new();
    let life = site.life();
    let hook = Hook {
        timeout: SOON,
        grace: Span::from_ms(50),
        ..site.hook(HANG_DEAF)
    };
    let error = site.run(&hook).await.unwrap_err();
    assert!(matches!(
        error,
        TrainerError::Overran {
            stop: Stop::Killed,
            ..
        }
    ));
    life.ended().await;
}

#[tokio::test]
async fn an_earlier_join_deadline_limits_the_trainer_and_is_what_it_is_told() {
    let mut site = Site::new();
    site.assignment.join_deadline = NOW + Span::from_ms(2100);
    let hook = site.hook("test $VEILSUM_DEADLINE = 1700000002 || exit 1; sleep 600");
    let error = site.run(&hook).await.unwrap_err();
    assert!(matches!(
        error,
        TrainerError::Overran {
            limited_by: Limit::JoinDeadline,
            ..
        }
    ));
    assert!(error.to_string().contains("join_timeout"));
}

#[tokio::test]
async fn without_time_left_the_trainer_is_not_started() {
    let mut site = Site::new();
    for late in [0, 1] {
        site.assignment.join_deadline = Timestamp(NOW.0 - late);
        let error = site.run_script("touch started").await.unwrap_err();
        assert!(matches!(error, TrainerError::NoTime));
    }
    assert!(!site.dir.path().join("started").exists());
}

#[tokio::test]
async fn an_exit_code_that_comes_after_the_deadline_is_too_late() {
    let site = Site::new();
    let life = site.life();
    let script = "trap 'exit 0' TERM; exec 3>life; printf x >&3; sleep 600 & wait";
    let hook = Hook {
        timeout: SOON,
        ..site.hook(script)
    };
    let error = site.run(&hook).await.unwrap_err();
    assert!(matches!(
        error,
        TrainerError::Overran {
            stop: Stop::Terminated,
            ..
        }
    ));
    life.ended().await;
}

#[tokio::test]
async fn what_a_trainer_leaves_running_goes_with_it() {
    let site = Site::new();
    let life = site.life();
    let script = "exec 3>life; printf x >&3; (trap '' TERM; sleep 600) & exit 0";
    let exit = site.run_script(script).await.unwrap();
    assert_eq!(exit.outcome, Outcome::Contribute);
    life.ended().await;
}

#[tokio::test]
async fn a_process_that_left_the_group_does_not_hold_up_the_round() {
    let site = Site::new();
    let life = site.life();
    // It keeps stdout and stderr open; the fixture's pipe is only its leash.
    let script = "exec 3>life; printf x >&3; setsid sh -c 'echo $$ > pid; exec sleep 600' & while ! test -s pid; do :; done; exit 0";
    let exit = site.run_script(script).await.unwrap();
    assert_eq!(exit.outcome, Outcome::Contribute);
    let pid = fs::read_to_string(site.dir.path().join("pid")).unwrap();
    let stray = Pid::from_raw(pid.trim_end().parse().unwrap()).unwrap();
    rustix::process::kill_process(stray, Signal::KILL).unwrap();
    life.ended().await;
}

#[tokio::test]
async fn when_the_daemon_stops_the_group_is_killed_at_once() {
    let site = Site::new();
    let mut life = site.life();
    let hook = site.hook(HANG_DEAF);
    let stop = async {
        (&mut life.started).await.unwrap();
        site.shutdown.trigger();
    };
    let (ended, ()) = tokio::join!(site.run(&hook), stop);
    let error = ended.unwrap_err();
    assert!(matches!(error, TrainerError::ShutDown));
    assert_eq!(error.class(), FailureClass::Interrupted);
    life.ended().await;
}

#[tokio::test]
async fn a_daemon_that_stops_during_the_grace_does_not_wait_for_it() {
    let site = Site::new();
    let mut life = site.life();
    let script = "trap 'exec 3>life; printf x >&3' TERM; while :; do sleep 600; done";
    let hook = Hook {
        timeout: SOON,
        ..site.hook(script)
    };
    let stop = async {
        (&mut life.started).await.unwrap();
        site.shutdown.trigger();
    };
    let (ended, ()) = tokio::join!(site.run(&hook), stop);
    assert!(matches!(
        ended,
        Err(TrainerError::Overran {
            stop: Stop::Killed,
            ..
        })
    ));
    life.ended().await;
}

#[tokio::test]
async fn when_nobody_waits_any_more_the_group_is_killed() {
    let site = Site::new();
    let mut life = site.life();
    let hook = site.hook(HANG_DEAF);
    tokio::select! {
        biased;
        ended = site.run(&hook) => panic!("{:?}", ended.err()),
        started = &mut life.started => started.unwrap(),
    }
    life.ended().await;
}

#[tokio::test]
async fn the_time_from_start_to_exit_is_reported() {
    let site = Site::new();
    let exit = site.run_script("sleep 0.2").await.unwrap();
    assert!(
        exit.elapsed >= Span::from_ms(200) && exit.elapsed < Span::from_secs(20),
        "{}",
        exit.elapsed
    );
}
