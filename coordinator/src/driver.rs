//! The loop that owns one machine: admit → append → handle → outputs. There is no other way into a machine.
//!
//! One task owns each machine; everybody else reads it through [`Cell`] and hands events in through [`Handle`]. Memory is never ahead
//! of the journal: an answer leaves only after its entry is durable. Generic over the machine and the journal.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use veilsum_common::time::Timestamp;
use veilsum_daemon::clock;
use veilsum_engine::machine::Machine;
use veilsum_engine::rejection::Rejection;
use veilsum_proto::convert::journal::Journalled;

use crate::store::{Entry, Error as StoreError, Journal, StreamId};

/// Events waiting for one machine; beyond it senders wait their turn.
const INBOX: usize = 256;
/// Longest sleep before time is looked at again: a clock that was set is noticed within it.
const NAP: Duration = Duration::from_secs(60);

/// A machine that many may read and one task changes.
pub struct Cell<M> {
    machine: RwLock<M>,
}

impl<M> Cell<M> {
    /// Reads the machine. The lock is never held across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, M> {
        self.machine.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, M> {
        self.machine.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an event did not become an entry.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The machine refuses it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The journal cannot take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine's task has ended.
    #[error("the coordinator is stopping; ask again")]
    Stopping,
}

struct Ask<E> {
    event: E,
    sender: Option<String>,
    reply: oneshot::Sender<Result<(), Refused>>,
}

/// The way into a running machine.
pub struct Handle<M: Machine> {
    cell: Arc<Cell<M>>,
    inbox: mpsc::Sender<Ask<M::Event>>,
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self {
            cell: Arc::clone(&self.cell),
            inbox: self.inbox.clone(),
        }
    }
}

impl<M: Machine> Handle<M> {
    /// Reads the machine.
    pub fn read(&self) -> RwLockReadGuard<'_, M> {
        self.cell.read()
    }

    /// Hands an event in; on `Ok` its entry is durable and the machine has taken it in.
    ///
    /// # Errors
    /// [`Refused`]; nothing was written, except that after a failed store nobody can know.
    pub async fn submit(&self, event: M::Event, sender: Option<String>) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        let ask = Ask {
            event,
            sender,
            reply,
        };
        self.inbox.send(ask).await.map_err(|_| Refused::Stopping)?;
        answer.await.map_err(|_| Refused::Stopping)?
    }

    /// Hands in what nobody would hand in again: a store that cannot write for now is waited for, at the pace of the machine's loop.
    ///
    /// Says whether the machine has it, from now or from an earlier telling; if not, the process is ending and the next one asks again.
    pub async fn insist(&self, event: M::Event) -> bool
    where
        M::Event: Clone,
    {
        loop {
            match self.submit(event.clone(), None).await {
                Ok(()) => return true,
                Err(Refused::Rejected(rejection)) => {
                    tracing::debug!(%rejection, "the machine had moved on");
                    return true;
                }
                Err(Refused::Store(StoreError::Unavailable(_))) => {}
                Err(Refused::Store(_) | Refused::Stopping) => return false,
            }
        }
    }
}

/// What a driver needs besides its machine.
pub struct Post<J> {
    /// Where entries go.
    pub journal: J,
    /// The machine's stream.
    pub stream: StreamId,
    /// The number of the next entry.
    pub next: u64,
    /// Bumped after every change of any machine of the run: wakes polls.
    pub changed: watch::Sender<u64>,
    /// Takes the reason when the journal has failed and the process must exit.
    pub fatal: mpsc::Sender<StoreError>,
}

/// A machine whose loop has not started yet.
pub struct Waiting<M: Machine> {
    cell: Arc<Cell<M>>,
    asks: mpsc::Receiver<Ask<M::Event>>,
}

/// Makes the way into a machine before its loop starts, so that its hands can use it.
pub fn prepare<M: Machine>(machine: M) -> (Handle<M>, Waiting<M>) {
    let cell = Arc::new(Cell {
        machine: RwLock::new(machine),
    });
    let (inbox, asks) = mpsc::channel(INBOX);
    let handle = Handle {
        cell: Arc::clone(&cell),
        inbox,
    };
    (handle, Waiting { cell, asks })
}

impl<M> Waiting<M>
where
    M: Machine + Send + Sync + 'static,
    M::Event: Journalled + Send,
    M::Output: Send,
{
    /// Starts the loop; `hands` takes the machine's outputs and must not block.
    pub fn start<J: Journal>(self, post: Post<J>, hands: impl FnMut(M::Output) + Send + 'static) {
        tokio::spawn(drive(self.cell, post, self.asks, hands));
    }
}

async fn drive<M, J>(
    cell: Arc<Cell<M>>,
    mut post: Post<J>,
    mut asks: mpsc::Receiver<Ask<M::Event>>,
    mut hands: impl FnMut(M::Output),
) where
    M: Machine,
    M::Event: Journalled,
    J: Journal,
{
    let mut batch = Vec::new();
    loop {
        if let Err(error) = decide(&cell, &mut post).await {
            tracing::error!(stream = %post.stream, %error, "a decision could not be journalled");
            if end(&post, error).await {
                return;
            }
        }
        while let Some(output) = next_output(&cell) {
            hands(output);
        }
        let nap = nap_until(cell.read().deadline());
        tokio::select! {
            count = asks.recv_many(&mut batch, INBOX) => {
                if count == 0 {
                    return;
                }
                if let Err(error) = take(&cell, &mut post, &mut batch).await
                    && end(&post, error).await
                {
                    return;
                }
            }
            () = tokio::time::sleep(nap) => {}
        }
    }
}

/// The next output; a function of its own, so that the lock is gone before the hands move.
fn next_output<M: Machine>(cell: &Cell<M>) -> Option<M::Output> {
    cell.write().poll_output()
}

fn nap_until(deadline: Option<Timestamp>) -> Duration {
    let now = clock::now();
    deadline.map_or(NAP, |at| {
        Duration::from_millis(at.0.saturating_sub(now.0)).min(NAP)
    })
}

/// Journals and handles every decision that is due.
async fn decide<M, J>(cell: &Cell<M>, post: &mut Post<J>) -> Result<(), StoreError>
where
    M: Machine,
    M::Event: Journalled,
    J: Journal,
{
    loop {
        let at = clock::now();
        let Some(event) = cell.read().due(at) else {
            return Ok(());
        };
        append(post, &[entry(at, &event, None)]).await?;
        tracing::debug!(stream = %post.stream, kind = event.kind(), "decided");
        if let Err(rejection) = cell.write().handle(at, event) {
            tracing::error!(stream = %post.stream, %rejection, "a due decision was refused");
            return Ok(());
        }
        post.changed.send_modify(|version| *version += 1);
    }
}

/// Admits, journals and handles one batch, and answers its senders.
async fn take<M, J>(
    cell: &Cell<M>,
    post: &mut Post<J>,
    batch: &mut Vec<Ask<M::Event>>,
) -> Result<(), StoreError>
where
    M: Machine,
    M::Event: Journalled,
    J: Journal,
{
    let at = clock::now();
    let mut admitted = Vec::new();
    for ask in batch.drain(..) {
        let verdict = cell.read().admit(at, &ask.event);
        match verdict {
            Ok(()) => admitted.push(ask),
            Err(rejection) => drop(ask.reply.send(Err(rejection.into()))),
        }
    }
    if admitted.is_empty() {
        return Ok(());
    }
    let entries: Vec<Entry> = admitted
        .iter()
        .map(|ask| entry(at, &ask.event, ask.sender.clone()))
        .collect();
    if let Err(error) = append(post, &entries).await {
        for ask in admitted {
            drop(ask.reply.send(Err(error.clone().into())));
        }
        return Err(error);
    }
    for ask in admitted {
        let handled = cell.write().handle(at, ask.event);
        drop(ask.reply.send(handled.map_err(Refused::from)));
    }
    post.changed.send_modify(|version| *version += 1);
    Ok(())
}

async fn append<J: Journal>(post: &mut Post<J>, entries: &[Entry]) -> Result<(), StoreError> {
    post.journal.append(post.stream, post.next, entries).await?;
    post.next += entries.len() as u64;
    Ok(())
}

fn entry<E: Journalled>(at: Timestamp, event: &E, sender: Option<String>) -> Entry {
    Entry {
        at,
        kind: event.kind().to_owned(),
        sender,
        payload: event.encode(),
    }
}

/// Whether the machine's task must end: everything but a passing lack of the store is final for this process.
async fn end<J>(post: &Post<J>, error: StoreError) -> bool {
    if matches!(error, StoreError::Unavailable(_)) {
        tracing::warn!(stream = %post.stream, %error, "the journal did not take an entry");
        tokio::time::sleep(Duration::from_millis(200)).await;
        return false;
    }
    drop(post.fatal.send(error).await);
    true
}

/// Replays a stream: `open` makes the machine from entry 0, every other entry is handled with its own time, outputs are thrown away.
///
/// Gives the machine, ready to be driven, and the number of its next entry; `None` for a stream nobody has begun.
///
/// # Errors
/// [`StoreError`] if the stream cannot be read or an entry does not decode.
pub async fn replay<M, J>(
    journal: &J,
    stream: StreamId,
    open: impl FnOnce(&Entry) -> Option<M>,
) -> Result<Option<(M, u64)>, StoreError>
where
    M: Machine,
    M::Event: Journalled,
    J: Journal,
{
    let entries = journal.read(stream, 0).await?;
    let Some((first, rest)) = entries.split_first() else {
        return Ok(None);
    };
    let diverged = |number| StoreError::Diverged { stream, number };
    let mut machine = open(first).ok_or(diverged(0))?;
    for (number, entry) in (1..).zip(rest) {
        let event = M::Event::decode(&entry.payload).map_err(|_| diverged(number))?;
        // An entry that was refused then is refused now: the state is the same.
        if let Err(rejection) = machine.handle(entry.at, event) {
            tracing::debug!(%stream, number, %rejection, "entry without effect");
        }
        while machine.poll_output().is_some() {}
    }
    machine.resume();
    Ok(Some((machine, entries.len() as u64)))
}

#[cfg(test)]
mod tests;
