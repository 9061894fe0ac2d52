//! What every long-lived thing is: a deterministic machine, driven by journalled events.
//!
//! The contract: an event is first `admit`ted (all checks, nothing changes), then made durable, then `handle`d; outputs are drained
//! after every `handle`. Same events at the same times, same state: no clock, randomness, thread or hash map in here. Starting is
//! replaying: `handle` every entry with its own time, throw the outputs away, `resume`. There is no other way to start.
//!
//! The journal, the clock and the senders are the driver's; a machine never counts, logs or waits.

use veilsum_common::time::Timestamp;

use crate::rejection::Rejection;

/// A deterministic state machine whose events are journalled before they take effect.
pub trait Machine {
    /// What happened: an authenticated message, or a decision it was time for.
    type Event;
    /// What the world is asked to do. Safe to repeat: after a crash it is asked again until an event answers it.
    type Output;

    /// Whether `event` may be journalled now: all checks, signatures included.
    ///
    /// # Errors
    /// [`Rejection`]; nothing is written and nothing changes.
    fn admit(&self, at: Timestamp, event: &Self::Event) -> Result<(), Rejection>;

    /// Takes a journalled event in. Repeats only the checks that the order of events can change.
    ///
    /// # Errors
    /// [`Rejection`] when an event of the same batch excluded this one; the machine is then unchanged, now and on every replay.
    fn handle(&mut self, at: Timestamp, event: Self::Event) -> Result<(), Rejection>;

    /// The decision it is time to journal, if there is one.
    fn due(&self, at: Timestamp) -> Option<Self::Event>;

    /// When to ask [`Self::due`] again at the latest.
    fn deadline(&self) -> Option<Timestamp>;

    /// The next thing the world is asked to do.
    fn poll_output(&mut self) -> Option<Self::Output>;

    /// Hands out again every output that no event has answered yet.
    fn resume(&mut self);
}

#[cfg(test)]
pub(crate) mod tests;
