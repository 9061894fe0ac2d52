//! The processes of a demo: this executable, started again as coordinator and as participants, each with a log of its own.
//!
//! They end with the demo: on an orderly end by SIGTERM, when their handle is dropped by SIGKILL, and when the demo itself is killed by the
//! kernel, which they asked for (`--die-with-parent`). What they log is read as it comes, kept in a file, and counted by [`figures`](super::figures).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;

use super::DemoError;
use super::figures::{Figures, Line};
use super::progress::Progress;

/// What a process runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Coordinator,
    Participant,
}

/// All processes that were started.
pub(super) struct Processes {
    executable: PathBuf,
    logs: PathBuf,
    progress: Progress,
    verbose: bool,
    figures: Arc<Mutex<Figures>>,
    running: BTreeMap<String, Running>,
}

struct Running {
    role: Role,
    child: Child,
    log: watch::Receiver<Said>,
}

/// What is remembered of a log.
#[derive(Clone, Debug, Default)]
struct Said {
    last_words: String,
    address: Option<SocketAddr>,
}

impl Processes {
    /// None yet. Logs go to files in `logs`, and with `verbose` to standard error as well.
    pub(super) fn new(
        executable: PathBuf,
        logs: PathBuf,
        progress: Progress,
        verbose: bool,
    ) -> Self {
        Self {
            executable,
            logs,
            progress,
            verbose,
            figures: Arc::default(),
            running: BTreeMap::new(),
        }
    }

    /// Starts a process. Must be called on the main thread: the child's death signal hangs on the thread that started it.
    pub(super) fn start(&mut self, name: &str, role: Role, config: &Path) -> Result<(), DemoError> {
        let wrong = |source| DemoError::Start {
            name: name.to_owned(),
            source,
        };
        let verb = match role {
            Role::Coordinator => "coordinator",
            Role::Participant => "participant",
        };
        let mut command = Command::new(&self.executable);
        command
            .arg(verb)
            .arg("--config")
            .arg(config)
            .arg("--die-with-parent")
            .arg(std::process::id().to_string());
        // A variable of the user's would change the configuration of every process.
        for (variable, _) in std::env::vars_os()
            .filter(|(variable, _)| variable.to_string_lossy().starts_with("VEILSUM_"))
        {
            command.env_remove(variable);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let log = self.logs.join(format!("{name}.jsonl"));
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .map_err(wrong)?;
        let mut child = command.spawn().map_err(wrong)?;
        let (said, hear) = watch::channel(Said::default());
        if let Some(stderr) = child.stderr.take() {
            let reader = Reader {
                log,
                said,
                figures: Arc::clone(&self.figures),
                echo: self.echo(name),
            };
            tokio::spawn(reader.read(stderr));
        }
        self.running.insert(
            name.to_owned(),
            Running {
                role,
                child,
                log: hear,
            },
        );
        Ok(())
    }

    /// Waits until a coordinator has said where it listens.
    pub(super) async fn address(&mut self, name: &str) -> Result<SocketAddr, DemoError> {
        let mut log = self
            .running
            .get(name)
            .map(|process| process.log.clone())
            .unwrap_or_else(|| watch::channel(Said::default()).1);
        let heard = tokio::time::timeout(READY, log.wait_for(|said| said.address.is_some()));
        if let Ok(Ok(said)) = heard.await
            && let Some(address) = said.address
        {
            return Ok(address);
        }
        self.check().await?;
        let last_words = log.borrow().last_words.clone();
        Err(DemoError::NotReady {
            name: name.to_owned(),
            limit_s: READY.as_secs(),
            last_words,
        })
    }

    /// An error if a process ended by itself.
    pub(super) async fn check(&mut self) -> Result<(), DemoError> {
        for (name, process) in &mut self.running {
            let wrong = |source| DemoError::Start {
                name: name.clone(),
                source,
            };
            if let Some(status) = process.child.try_wait().map_err(wrong)? {
                // The log's reader ends with the process; what it read last says why.
                let _ = tokio::time::timeout(DRAIN, process.log.wait_for(|_| false)).await;
                let last_words = process.log.borrow().last_words.clone();
                return Err(DemoError::Ended {
                    name: name.clone(),
                    status,
                    last_words,
                });
            }
        }
        Ok(())
    }

    /// Kills a process with SIGKILL and waits until it is gone.
    pub(super) async fn kill(&mut self, name: &str) -> Result<(), DemoError> {
        if let Some(mut process) = self.running.remove(name) {
            process
                .child
                .kill()
                .await
                .map_err(|source| DemoError::Start {
                    name: name.to_owned(),
                    source,
                })?;
        }
        Ok(())
    }

    /// Resident memory of the processes of a role now, in bytes: the most of any one.
    pub(super) fn resident_bytes_max(&self, role: Role) -> Option<u64> {
        self.most(role, &["VmRSS:"])
    }

    /// The same without pages of files.
    pub(super) fn anonymous_bytes_max(&self, role: Role) -> Option<u64> {
        self.most(role, &["RssAnon:", "RssShmem:"])
    }

    fn most(&self, role: Role, lines: &[&str]) -> Option<u64> {
        let pids = self
            .running
            .values()
            .filter(|process| process.role == role)
            .filter_map(|process| process.child.id());
        pids.filter_map(|pid| status_bytes(pid, lines)).max()
    }

    /// What the logs said so far.
    pub(super) fn figures(&self) -> Figures {
        self.figures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks every process to stop, participants first, and waits a little; whoever is left then is killed.
    pub(super) async fn stop(mut self) {
        for role in [Role::Participant, Role::Coordinator] {
            for process in self
                .running
                .values_mut()
                .filter(|process| process.role == role)
            {
                terminate(&process.child);
            }
            let stopped = async {
                for process in self
                    .running
                    .values_mut()
                    .filter(|process| process.role == role)
                {
                    drop(process.child.wait().await);
                }
            };
            // Dropping the handles kills what did not stop in time.
            let _ = tokio::time::timeout(STOP, stopped).await;
        }
    }

    fn echo(&self, name: &str) -> Option<(String, Progress)> {
        self.verbose
            .then(|| (name.to_owned(), self.progress.clone()))
    }
}

/// Reads the log of one process.
struct Reader {
    log: File,
    said: watch::Sender<Said>,
    figures: Arc<Mutex<Figures>>,
    echo: Option<(String, Progress)>,
}

impl Reader {
    async fn read(mut self, stderr: ChildStderr) {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(text)) = lines.next_line().await {
            let line = Line::parse(&text);
            if let Some((name, progress)) = &self.echo {
                progress.say(&format!("{name:12} {}", line.text()));
            }
            self.figures
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(&line);
            self.said.send_modify(|said| {
                said.last_words = line.text();
                said.address = said.address.or(line.address());
            });
            // A full disk shows elsewhere; a lost log line is no reason to stop.
            let _ = writeln!(self.log, "{text}");
        }
    }
}

fn terminate(child: &Child) {
    let pid = child
        .id()
        .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let Some(pid) = pid {
        // It may have ended just now.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// The sum of these lines of a process's status, as the kernel tells it.
fn status_bytes(pid: u32, names: &[&str]) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = names.iter().map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    kib.sum::<Option<u64>>().map(|kib| kib * 1024)
}

/// A coordinator starts in a tenth of a second; a loaded machine may need more.
const READY: Duration = Duration::from_secs(30);

/// Time to stop in order; longer than a participant gives its trainer would be rude to the person who waits.
const STOP: Duration = Duration::from_secs(5);

/// Time to read what is left of a dead process's log.
const DRAIN: Duration = Duration::from_secs(1);
