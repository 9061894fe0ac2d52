//! How long to wait before trying again: exponential, with full jitter and a cap.
//!
//! Pure arithmetic: the caller draws the randomness (`entropy`) and does the waiting, so a test decides both.

use veilsum_common::time::Span;

/// A growing series of waits for one thing that keeps failing.
///
/// The wait before retry `k` (from 0) is uniform in `[0, min(cap, base · 2^k)]`. Full jitter spreads out the sites that
/// lost the same coordinator at the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Span,
    cap: Span,
    failures: u32,
}

impl Backoff {
    /// A series that starts at `base` and never waits longer than `cap`.
    pub fn new(base: Span, cap: Span) -> Self {
        Self {
            base,
            cap,
            failures: 0,
        }
    }

    /// The next wait. `draw` is uniform over all of `u64`; the same draws give the same waits.
    pub fn next_wait(&mut self, draw: u64) -> Span {
        let ceiling_ms = self.ceiling_ms();
        self.failures = self.failures.saturating_add(1);
        let scaled = (u128::from(draw) * (u128::from(ceiling_ms) + 1)) >> 64;
        Span(
            u64::try_from(scaled)
                .expect("a 64-bit draw times at most 2^64, over 2^64, is below 2^64"),
        )
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How many waits were handed out since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn ceiling_ms(&self) -> u64 {
        let factor = 1_u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        self.base.0.saturating_mul(factor).min(self.cap.0)
    }
}

#[cfg(test)]
mod tests;
