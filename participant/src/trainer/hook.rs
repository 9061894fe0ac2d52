//! The hook: a command of the site's own, started once per assignment in a process group of its own.
//!
//! It finds its files through `VEILSUM_*`, ends with an exit code, and is given until a deadline.
//! Whatever it started goes with it: the group is killed when the command has ended, when the deadline
//! and the grace after it are over, when the daemon stops, and when the caller loses interest.
//! Deliberately absent: another user for the trainer, and containers; both fit into the command.
//!
//! Source: docs/trainer-contract.md.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tracing::Instrument;
use veilsum_common::{Span, Timestamp};
use veilsum_daemon::shutdown::Shutdown;

use super::{
    Assignment, Limit, Outcome, Stop, TrainerError, TrainerExit, WorkDir, in_seconds, output,
};

/// How a site trains: a command and its bounds.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Program and arguments; nothing goes through a shell.
    pub command: Vec<String>,
    /// Where it is started: the directory of `site.toml`, so that `train.py` is found beside it.
    pub directory: PathBuf,
    /// The longest it may take; the join deadline may come earlier.
    pub timeout: Span,
    /// How long it may take to end after SIGTERM. See [`Hook::GRACE`].
    pub grace: Span,
    /// Variables it is given beside `PATH`, `HOME`, `LANG`, `TMPDIR` and `VEILSUM_*`.
    pub env: Vec<String>,
}

impl Hook {
    /// Time for a trainer to end after SIGTERM: enough to write a checkpoint of its own.
    pub const GRACE: Span = Span::from_secs(30);

    /// Trains once, in a fresh directory below `root`.
    ///
    /// Dropping the future kills the trainer.
    ///
    /// # Errors
    /// Everything but the three agreed exit codes. The directory then stays for a person to look at; the
    /// next attempt at the same round removes it.
    pub async fn run(
        &self,
        assignment: &Assignment,
        root: &Path,
        now: Timestamp,
        shutdown: &Shutdown,
    ) -> Result<TrainerExit, TrainerError> {
        let (limit, limited_by) = self.limit(assignment, now)?;
        let deadline = now + limit;
        let workdir = prepare(root, assignment, deadline).await?;
        let mut command = self.command(assignment, &workdir, deadline)?;
        let started = Instant::now();
        let mut child = command
            .spawn()
            .map_err(|source| self.cannot_start(source))?;
        // Declared after the child, hence dropped before it: the group is killed while its leader is not reaped.
        let mut group = Group::of(&child);
        let stdout = child
            .stdout
            .take()
            .map(|stdout| tokio::spawn(output::log(stdout).in_current_span()));
        let stderr = child
            .stderr
            .take()
            .map(|stderr| tokio::spawn(output::tail(stderr)));

        let ended = self.watch(&mut child, &group, limit, shutdown).await;
        let elapsed = span(started.elapsed());
        group.end();
        drain(stdout).await;
        let stderr_tail = drain(stderr).await.and_then(Result::ok).unwrap_or_default();
        let ended = ended.map_err(|source| TrainerError::Wait { source })?;
        let judged = match ended {
            Ended::Exited(status) => judge(status, elapsed, stderr_tail),
            Ended::Overran(stop) => Err(TrainerError::Overran {
                limit,
                limited_by,
                stop,
                stderr_tail,
            }),
            Ended::ShutDown => Err(TrainerError::ShutDown),
        };
        let outcome = judged.inspect_err(log_failure)?;
        Ok(TrainerExit {
            outcome,
            elapsed,
            workdir,
        })
    }

    /// The earlier of the site's timeout and the join deadline.
    fn limit(
        &self,
        assignment: &Assignment,
        now: Timestamp,
    ) -> Result<(Span, Limit), TrainerError> {
        let until_join = assignment.join_deadline.since(now);
        match until_join {
            Span(0) => Err(TrainerError::NoTime),
            left if left < self.timeout => Ok((left, Limit::JoinDeadline)),
            _ => Ok((self.timeout, Limit::SiteTimeout)),
        }
    }

    fn command(
        &self,
        assignment: &Assignment,
        workdir: &WorkDir,
        deadline: Timestamp,
    ) -> Result<Command, TrainerError> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(self.cannot_start(std::io::ErrorKind::InvalidInput.into()));
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.inherited())
            .env("VEILSUM_WORKDIR", workdir.path())
            .env("VEILSUM_ASSIGNMENT", workdir.assignment())
            .env("VEILSUM_MODEL_IN", workdir.model())
            .env("VEILSUM_UPDATE_OUT", workdir.update())
            .env("VEILSUM_RESULT_OUT", workdir.result())
            .env("VEILSUM_RUN_ID", assignment.run.run_id().to_string())
            .env("VEILSUM_ROUND", assignment.round.to_string())
            .env("VEILSUM_DEADLINE", in_seconds(deadline).to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    /// Of the daemon's own environment only what a program needs to run at all: the rest may hold secrets.
    fn inherited(&self) -> impl Iterator<Item = (&str, std::ffi::OsString)> {
        let names = INHERITED
            .into_iter()
            .chain(self.env.iter().map(String::as_str));
        names.filter_map(|name| std::env::var_os(name).map(|value| (name, value)))
    }

    async fn watch(
        &self,
        child: &mut Child,
        group: &Group,
        limit: Span,
        shutdown: &Shutdown,
    ) -> std::io::Result<Ended> {
        tokio::select! {
            status = child.wait() => return status.map(Ended::Exited),
            () = shutdown.triggered() => {
                // Training cut short starts over, so there is nothing to wait for.
                group.send(Signal::KILL);
                child.wait().await?;
                return Ok(Ended::ShutDown);
            }
            () = tokio::time::sleep(duration(limit)) => group.send(Signal::TERM),
        }
        tokio::select! {
            status = child.wait() => return status.map(|_| Ended::Overran(Stop::Terminated)),
            () = shutdown.triggered() => {}
            () = tokio::time::sleep(duration(self.grace)) => {}
        }
        group.send(Signal::KILL);
        child.wait().await?;
        Ok(Ended::Overran(Stop::Killed))
    }

    fn cannot_start(&self, source: std::io::Error) -> TrainerError {
        let program = self.command.first().cloned().unwrap_or_default();
        TrainerError::Start { program, source }
    }
}

/// Variables of the daemon that every trainer is given: to find programs, the user's files, the language of messages
/// and a place for temporary files.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];

enum Ended {
    Exited(ExitStatus),
    Overran(Stop),
    ShutDown,
}

/// The trainer's process group, killed on drop.
struct Group {
    leader: Option<Pid>,
}

impl Group {
    fn of(child: &Child) -> Self {
        let leader = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Self { leader }
    }

    fn send(&self, signal: Signal) {
        // An error means that the group is gone, which is what we want.
        if let Some(leader) = self.leader {
            let _ = kill_process_group(leader, signal);
        }
    }

    /// Kills what the trainer left behind. The number cannot be anybody else's: while a process of the
    /// group lives it is taken, and if none does it was free only since the trainer was reaped just now.
    fn end(&mut self) {
        self.send(Signal::KILL);
        self.leader = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

async fn prepare(
    root: &Path,
    assignment: &Assignment,
    deadline: Timestamp,
) -> Result<WorkDir, TrainerError> {
    let (root, assignment) = (root.to_owned(), assignment.clone());
    tokio::task::spawn_blocking(move || WorkDir::prepare(&root, &assignment, deadline))
        .await
        .expect("preparing a directory neither panics nor is cancelled")
}

/// Waits for a reader, but not for a process that left the group and still holds the other end of the pipe.
async fn drain<T>(reader: Option<JoinHandle<T>>) -> Option<T> {
    let mut reader = reader?;
    match tokio::time::timeout(DRAIN, &mut reader).await {
        Ok(read) => read.ok(),
        Err(_) => {
            reader.abort();
            None
        }
    }
}

fn judge(status: ExitStatus, elapsed: Span, stderr_tail: String) -> Result<Outcome, TrainerError> {
    match status.code() {
        Some(0) => Ok(Outcome::Contribute),
        Some(SIT_OUT) => Ok(Outcome::SitOut),
        Some(LEAVE_RUN) => Ok(Outcome::LeaveRun),
        Some(code) => Err(TrainerError::Exited {
            code,
            elapsed,
            stderr_tail,
        }),
        None => {
            let signal = status.signal().unwrap_or_default();
            Err(TrainerError::Signalled {
                signal,
                elapsed,
                stderr_tail,
            })
        }
    }
}

/// The only place where a trainer's stderr goes: the log of its own site.
fn log_failure(error: &TrainerError) {
    let stderr_tail = match error {
        TrainerError::Exited { stderr_tail, .. }
        | TrainerError::Signalled { stderr_tail, .. }
        | TrainerError::Overran { stderr_tail, .. } => stderr_tail.as_str(),
        TrainerError::NoTime
        | TrainerError::WorkDirectory { .. }
        | TrainerError::Start { .. }
        | TrainerError::Wait { .. }
        | TrainerError::ShutDown => "",
    };
    tracing::warn!(%error, stderr_tail, "the trainer failed; this site is out of the round");
}

fn duration(span: Span) -> Duration {
    Duration::from_millis(span.as_ms())
}

fn span(duration: Duration) -> Span {
    Span::from_ms(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// `EX_TEMPFAIL` of sysexits.
const SIT_OUT: i32 = 75;

/// `EX_CONFIG` of sysexits.
const LEAVE_RUN: i32 = 78;

/// Time to read what is left in a pipe after its writers are gone.
const DRAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
