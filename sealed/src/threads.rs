//! Chunks shared out over a few threads that live as long as the call.
//!
//! Which thread does which chunk changes no byte. A single chunk, or a single thread, starts none.

use std::num::NonZeroUsize;

use crate::error::Error;

/// As many threads as this process may use, four at most: beyond that a disk is the limit, and each holds a batch of chunks.
pub(crate) fn available() -> NonZeroUsize {
    std::thread::available_parallelism().map_or(NonZeroUsize::MIN, |threads| threads.min(MOST))
}

/// Does `work` on every item, and gives the first error by the order of the items.
///
/// # Errors
/// Those of `work`; every thread stops at its first.
pub(crate) fn each<T: Send>(
    threads: NonZeroUsize,
    items: Vec<T>,
    work: impl Fn(T) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let share = items.len().div_ceil(threads.get()).max(1);
    let mut items = items.into_iter();
    let mut next = || items.by_ref().take(share).collect::<Vec<_>>();
    let own = next();
    let all = |share: Vec<T>| share.into_iter().try_for_each(&work);
    std::thread::scope(|scope| {
        let mut others = Vec::new();
        loop {
            let share = next();
            if share.is_empty() {
                break;
            }
            others.push(scope.spawn(|| all(share)));
        }
        let mut outcome = all(own);
        for other in others {
            let ended = other
                .join()
                .expect("opening and sealing chunks do not panic");
            outcome = outcome.and(ended);
        }
        outcome
    })
}

const MOST: NonZeroUsize = NonZeroUsize::new(4).expect("four is not zero");
