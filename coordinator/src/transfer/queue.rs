//! Which uploads transfer at once, or which downloads: a few; the others wait in the order in which they came.
//!
//! Memory goes with those few: chunk, message and window of each. An upload that waits has a call and nothing else, neither a file nor room
//! on the disk. So that nobody waits for ever, whoever transfers while others wait must be quick, and makes room after a while even so. What is
//! durable stays, and a transfer goes on with the rest. Nobody is put off for whom nobody waits.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use veilsum_common::limits::{MAX_TRANSFERS, TRANSFER_MS, TRANSFER_PATIENCE_MS, TRANSFER_STEP};

#[cfg(test)]
mod tests;

/// Why a transfer has to make room for one that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutOff {
    /// Its site is too slow.
    #[error(
        "fewer than {need_bytes} bytes got through in {waited_s} s of waiting for them, and others wait for their turn; call again, to go on after them with what is missing"
    )]
    Slow {
        /// What would have been enough.
        need_bytes: u64,
        /// In which time.
        waited_s: u64,
    },
    /// It has had its time.
    #[error(
        "the transfer has had {limit_s} s, and others wait for their turn; call again, to go on after them with what is missing"
    )]
    Over {
        /// How long one has.
        limit_s: u64,
    },
}

/// How long one may transfer while others wait.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long its site may be waited for until [`TRANSFER_STEP`] bytes have come.
    pub patience: Duration,
    /// How long all in all, to the next point where nothing is lost.
    pub limit: Duration,
}

impl Default for Pace {
    /// As the table of limits has them.
    fn default() -> Self {
        Self {
            patience: Duration::from_millis(TRANSFER_PATIENCE_MS),
            limit: Duration::from_millis(TRANSFER_MS),
        }
    }
}

/// The queue; its clones share it.
#[derive(Clone)]
pub struct Queue {
    free: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    pace: Pace,
}

impl Default for Queue {
    /// As the table of limits has it.
    fn default() -> Self {
        Self::new(MAX_TRANSFERS, Pace::default())
    }
}

impl Queue {
    /// `limit` transfer at once.
    pub fn new(limit: usize, pace: Pace) -> Self {
        Self {
            free: Arc::new(Semaphore::new(limit)),
            waiting: Arc::default(),
            pace,
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits behind all who came before. Whoever stops waiting has left the queue.
    pub async fn wait(&self) -> Transfer {
        let waits = Waits::among(&self.waiting);
        let free = Arc::clone(&self.free).acquire_owned();
        let permit = free.await.expect("the semaphore is never closed");
        drop(waits);
        Transfer {
            waiting: Arc::clone(&self.waiting),
            pace: self.pace,
            begun: Instant::now(),
            patience: Patience::new(self.pace.patience),
            _permit: permit,
        }
    }
}

/// One who waits, counted until dropped.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn among(all: &'a AtomicUsize) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to transfer, until it is dropped.
pub struct Transfer {
    waiting: Arc<AtomicUsize>,
    pace: Pace,
    begun: Instant,
    patience: Patience,
    _permit: OwnedSemaphorePermit,
}

impl Transfer {
    /// What the site says next, or takes. Only the time in which it is waited for counts against it, not the coordinator's own work.
    ///
    /// # Errors
    /// [`PutOff::Slow`].
    pub async fn next<T>(&mut self, said: impl Future<Output = T>) -> Result<T, PutOff> {
        let mut said = pin!(said);
        loop {
            let begun = Instant::now();
            match timeout(self.patience.left, &mut said).await {
                Ok(said) => {
                    self.patience.waited(begun.elapsed());
                    return Ok(said);
                }
                Err(_) if self.is_waited_for() => return Err(self.patience.slow()),
                Err(_) => self.patience.renew(),
            }
        }
    }

    /// Counts bytes that have come, or gone.
    pub fn moved(&mut self, bytes: usize) {
        self.patience.moved(bytes as u64);
    }

    /// Whether it goes on, at a point where nothing would be lost.
    ///
    /// # Errors
    /// [`PutOff::Over`].
    pub fn goes_on(&self) -> Result<(), PutOff> {
        let limit = self.pace.limit;
        if self.begun.elapsed() < limit || !self.is_waited_for() {
            return Ok(());
        }
        Err(PutOff::Over {
            limit_s: limit.as_secs(),
        })
    }

    fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// How much longer a site is waited for until the step under way is done.
struct Patience {
    whole: Duration,
    left: Duration,
    /// Of the step under way.
    bytes: u64,
}

impl Patience {
    fn new(whole: Duration) -> Self {
        Self {
            whole,
            left: whole,
            bytes: 0,
        }
    }

    fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    fn moved(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes >= TRANSFER_STEP {
            self.renew();
        }
    }

    fn renew(&mut self) {
        *self = Self::new(self.whole);
    }

    fn slow(&self) -> PutOff {
        PutOff::Slow {
            need_bytes: TRANSFER_STEP,
            waited_s: self.whole.as_secs(),
        }
    }
}
