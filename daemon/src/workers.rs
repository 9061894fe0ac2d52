//! Work shared out over a bounded number of threads.
//!
//! For pure functions over pieces that know nothing of each other: chunks of a vector, members of a cohort. Which thread does what,
//! and when, is left to chance; what comes out must not depend on it. No pool and no queue: the threads live as long as the call.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

/// Does `work` on every item, on at most `threads` threads, the caller's among them. Returns when all is done.
///
/// # Panics
/// If `work` panics: the first thread to do so takes the call with it, after the others have finished their items.
pub fn share_out<T: Send>(
    threads: NonZeroUsize,
    items: impl Iterator<Item = T> + Send,
    work: impl Fn(T) + Sync,
) {
    let items = Mutex::new(items);
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let until_done = || {
        while let Some(item) = next() {
            work(item);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get() {
            scope.spawn(until_done);
        }
        until_done();
    });
}

/// What `work` gives for every item, in the order of the items.
///
/// # Panics
/// As [`share_out`].
pub fn map<T: Send, R: Send>(
    threads: NonZeroUsize,
    items: impl ExactSizeIterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let mut results: Vec<Option<R>> = (0..items.len()).map(|_| None).collect();
    share_out(threads, results.iter_mut().zip(items), |(place, item)| {
        *place = Some(work(item));
    });
    let done = results
        .into_iter()
        .map(|result| result.expect("every item was done"));
    done.collect()
}

/// As many threads as this process may use.
pub fn all_cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests;
