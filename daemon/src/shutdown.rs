//! Stopping in order: one token that every task watches.
//!
//! Who stops a process (a signal, a test, a failed listener) and who reacts know only the token. How long a task may
//! take to drain is its own affair.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// A request to stop, shared by all clones. Once made it cannot be taken back.
#[derive(Clone, Debug)]
pub struct Shutdown {
    requested: watch::Sender<bool>,
}

impl Shutdown {
    /// A token that nobody has triggered.
    pub fn new() -> Self {
        Self {
            requested: watch::Sender::new(false),
        }
    }

    /// A token that SIGTERM or SIGINT triggers. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the operating system refuses the signal handlers.
    pub fn on_signals() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::new();
        tokio::spawn(trigger_on_signal(shutdown.clone(), terminate, interrupt));
        Ok(shutdown)
    }

    /// Asks every holder of a clone to stop. Safe to do twice.
    pub fn trigger(&self) {
        self.requested.send_replace(true);
    }

    /// Whether stopping has been asked for.
    pub fn is_triggered(&self) -> bool {
        *self.requested.borrow()
    }

    /// Returns once stopping has been asked for, at once if that was before the call. Safe to drop and call again.
    pub async fn triggered(&self) {
        let mut watcher = self.requested.subscribe();
        watcher
            .wait_for(|requested| *requested)
            .await
            .expect("self keeps the sending half alive");
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

async fn trigger_on_signal(shutdown: Shutdown, mut terminate: Signal, mut interrupt: Signal) {
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "stopping");
    shutdown.trigger();
}

#[cfg(test)]
mod tests;
