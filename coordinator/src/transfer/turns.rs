//! Whose turn it is to upload: one upload at a time for each site of a round, and so many at once in all, few of which transfer.
//!
//! A site that comes again has lost its connection or its patience, so the newer upload replaces the older one: the older ends, and only
//! then the newer begins, with the parts that are durable. What the bytes are is not looked at here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch};

use super::queue::{Queue, Transfer};
use crate::store::staging::Slot;

#[cfg(test)]
mod tests;

/// Why there is no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTurn {
    /// The same site has begun another upload meanwhile.
    #[error("a newer upload of the same site for the same round has taken the place of this one")]
    Replaced,
    /// As many uploads as there may be are under way.
    #[error(
        "{limit} uploads are under way, and no more are taken at once; send it again in a moment"
    )]
    Full {
        /// How many there may be.
        limit: usize,
    },
}

/// All seats; its clones share them.
#[derive(Clone)]
pub struct Turns {
    limit: usize,
    free: Arc<Semaphore>,
    queue: Queue,
    seats: Seats,
}

type Seats = Arc<Mutex<BTreeMap<Slot, Taken>>>;

/// A seat, and how many claim it: with the last of them it goes.
struct Taken {
    seat: Arc<Seat>,
    claims: usize,
}

/// Where the uploads of one site for one round meet.
struct Seat {
    busy: Arc<tokio::sync::Mutex<()>>,
    newest: watch::Sender<u64>,
}

impl Turns {
    /// `limit` uploads at once, of which those transfer whom `queue` lets.
    pub fn new(limit: usize, queue: Queue) -> Self {
        Self {
            limit,
            free: Arc::new(Semaphore::new(limit)),
            queue,
            seats: Arc::default(),
        }
    }

    /// Asks whoever uploads for `slot` to end, waits for that, and takes its place.
    ///
    /// # Errors
    /// [`NoTurn`].
    pub async fn take(&self, slot: Slot) -> Result<Turn, NoTurn> {
        let limit = self.limit;
        let free = Arc::clone(&self.free).try_acquire_owned();
        let permit = free.map_err(|_| NoTurn::Full { limit })?;
        let claim = self.claim(slot);
        let busy = Arc::clone(&claim.seat.busy);
        let guard = tokio::select! {
            biased;
            () = claim.replaced() => return Err(NoTurn::Replaced),
            guard = busy.lock_owned() => guard,
        };
        Ok(Turn {
            _guard: guard,
            claim,
            queue: self.queue.clone(),
            _permit: permit,
        })
    }

    fn claim(&self, slot: Slot) -> Claim {
        let mut seats = lock(&self.seats);
        let taken = seats.entry(slot).or_insert_with(|| Taken {
            seat: Arc::new(Seat {
                busy: Arc::default(),
                newest: watch::Sender::new(0),
            }),
            claims: 0,
        });
        taken.claims += 1;
        let seat = Arc::clone(&taken.seat);
        seat.newest.send_modify(|newest| *newest += 1);
        let number = *seat.newest.borrow();
        Claim {
            seats: Arc::clone(&self.seats),
            slot,
            seat,
            number,
        }
    }
}

/// A claim on a seat, whether it is taken yet or not.
struct Claim {
    seats: Seats,
    slot: Slot,
    seat: Arc<Seat>,
    number: u64,
}

impl Claim {
    async fn replaced(&self) {
        let mut newest = self.seat.newest.subscribe();
        // The seat keeps the sending half alive.
        drop(newest.wait_for(|newest| *newest > self.number).await);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut seats = lock(&self.seats);
        if let Some(taken) = seats.get_mut(&self.slot) {
            taken.claims -= 1;
            if taken.claims == 0 {
                seats.remove(&self.slot);
            }
        }
    }
}

/// The turn of one upload, until it is dropped.
pub struct Turn {
    // First, so that the seat is free before its last claim is given up.
    _guard: OwnedMutexGuard<()>,
    claim: Claim,
    queue: Queue,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    /// Returns once a newer upload waits for this one to end.
    pub async fn replaced(&self) {
        self.claim.replaced().await;
    }

    /// Waits until this upload may transfer.
    pub async fn transfer(&self) -> Transfer {
        self.queue.wait().await
    }
}

fn lock<T>(seats: &Mutex<T>) -> MutexGuard<'_, T> {
    seats.lock().unwrap_or_else(PoisonError::into_inner)
}
