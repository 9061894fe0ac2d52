//! The bar on standard error while a demo trains; nothing where nobody looks.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::DemoError;
use crate::render;

/// What is to be shown meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Show {
    /// The logs of all processes.
    pub verbose: bool,
    /// The bar, if standard error is a terminal.
    pub bar: bool,
}

/// A bar, perhaps invisible. Clones show the same one.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar of `rounds` steps. indicatif draws on a terminal only.
    pub(super) fn new(show: Show, rounds: u32) -> Self {
        let target = if show.bar {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(rounds.into()), target);
        let style = ProgressStyle::with_template("  round {pos:>3}/{len} {bar:20} {msg}");
        bar.set_style(style.expect("the template is one of indicatif's examples in form"));
        Self { bar }
    }

    /// So many rounds are published; `message` says what else is to be said.
    pub(super) fn at(&self, rounds_done: u64, message: String) {
        self.bar.set_position(rounds_done);
        self.bar.set_message(message);
    }

    /// A line above the bar.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| render::note(text));
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Waits for Ctrl-C, or for SIGTERM.
pub(super) async fn interrupted() -> DemoError {
    use tokio::signal::unix::{SignalKind, signal};
    match (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            DemoError::Interrupted
        }
        // Without handlers the signals end the process, and the kernel ends its children.
        _ => std::future::pending().await,
    }
}
