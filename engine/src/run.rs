//! Run: which epoch, which round, which attempt comes next, and when it is over.
//!
//! It learns of its parts only how they ended, and asks the world to open the next one. An epoch whose set-up fails and a round that fails
//! are tried again as long as trying can help. A lost attempt pauses the run: a further contribution to the same model is every site's own
//! decision (R4), so nothing is asked of anybody until an operator resumes the run, under a new round number. Source: protocol, sections 6
//! (life of an epoch), 11.1 (exclusion) and 12.

use std::collections::{BTreeSet, VecDeque};

use veilsum_common::blob::BlobRef;
use veilsum_common::limits::MAX_ATTEMPTS;
use veilsum_common::time::{Span, Timestamp};
use veilsum_secagg::{Certificate, Digest};

use crate::machine::Machine;
use crate::rejection::{Abort, Rejection};
use crate::round::{Loss, Outcome, Published};
use crate::terms::Terms;

/// What happens in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An epoch's set-up is over.
    EpochEnded {
        /// Its number.
        epoch: u64,
        /// Whether it may be used.
        outcome: Result<(), Abort>,
    },
    /// An attempt is over (CP8 when it published).
    RoundEnded {
        /// Its round.
        round: u64,
        /// Its attempt.
        seq: u64,
        /// Whether masked bytes may have been sent, so that a new attempt needs its abort certificate.
        outcome: Outcome,
    },
    /// An operator cancelled the run.
    Cancelled,
    /// An operator opens the next attempt after a lost one.
    Resumed {
        /// The request, so that one that is repeated resumes nothing that was lost after it.
        request_id: String,
    },
}

/// What a run asks of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open this epoch.
    OpenEpoch {
        /// Its number.
        epoch: u64,
    },
    /// Open this attempt; holders and deadlines are added from who is online and what time it is.
    OpenRound(Box<NextRound>),
    /// The run is over.
    Ended(State),
}

/// What an attempt is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextRound {
    /// Epoch it runs in.
    pub epoch: u64,
    /// Round of the run, from 1; the numbers of lost rounds are skipped.
    pub round: u64,
    /// Attempt within the epoch, from 1.
    pub seq: u64,
    /// Model to train on.
    pub model: BlobRef,
    /// Result of the last completed round.
    pub prev_result: Digest,
    /// Abort certificates of earlier attempts for this model in which masked bytes may have been sent.
    pub abort_certificates: Vec<Certificate>,
    /// Roster indices that are left out, since their dealing failed: they hold no shares, and their Commits are refused.
    pub excluded: Vec<u32>,
}

/// A completed round, as history keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Epoch it ran in.
    pub epoch: u64,
    /// Its round.
    pub round: u64,
    /// The attempt that succeeded.
    pub seq: u64,
    /// When it was published.
    pub at: Timestamp,
    /// What it gave.
    pub published: Published,
}

/// An attempt that was lost, and the run waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Epoch of the attempt.
    pub epoch: u64,
    /// Its round.
    pub round: u64,
    /// The attempt.
    pub seq: u64,
    /// When it was lost.
    pub at: Timestamp,
    /// Why, and who is missing.
    pub loss: Loss,
}

/// Whether a run goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It does, or waits for an operator ([`Run::paused`]).
    Running,
    /// All rounds are done.
    Completed,
    /// It cannot go on.
    Failed(Abort),
    /// An operator ended it.
    Cancelled,
}

/// What the run waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Epoch(u64),
    Round(Box<NextRound>),
    Paused(Box<Paused>),
    Ended(State),
}

/// The machine of one run.
#[derive(Debug)]
pub struct Run {
    terms: Terms,
    phase: Phase,
    epoch: u64,
    epoch_at: Timestamp,
    epoch_attempts: u64,
    model: BlobRef,
    /// Number of the next round.
    number: u64,
    history: Vec<Record>,
    failed_setups: Vec<Abort>,
    aborted: Vec<Abort>,
    abort_certificates: Vec<Certificate>,
    excluded: Vec<u32>,
    resumptions: BTreeSet<String>,
    outputs: VecDeque<Output>,
}

impl Run {
    /// Opens a run over `model`.
    pub fn open(terms: Terms, model: BlobRef, at: Timestamp) -> Self {
        let mut run = Self {
            terms,
            phase: Phase::Epoch(1),
            epoch: 1,
            epoch_at: at,
            epoch_attempts: 0,
            model,
            number: 1,
            history: Vec::new(),
            failed_setups: Vec::new(),
            aborted: Vec::new(),
            abort_certificates: Vec::new(),
            excluded: Vec::new(),
            resumptions: BTreeSet::new(),
            outputs: VecDeque::new(),
        };
        run.resume();
        run
    }

    /// Its parameters and times.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Whether it goes on.
    pub fn state(&self) -> State {
        match &self.phase {
            Phase::Ended(state) => state.clone(),
            Phase::Epoch(_) | Phase::Round(_) | Phase::Paused(_) => State::Running,
        }
    }

    /// What was lost, while the run waits for an operator.
    pub fn paused(&self) -> Option<&Paused> {
        match &self.phase {
            Phase::Paused(paused) => Some(paused),
            Phase::Epoch(_) | Phase::Round(_) | Phase::Ended(_) => None,
        }
    }

    /// The current epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The attempt that is open or about to be opened.
    pub fn current(&self) -> Option<&NextRound> {
        match &self.phase {
            Phase::Round(next) => Some(next),
            Phase::Epoch(_) | Phase::Paused(_) | Phase::Ended(_) => None,
        }
    }

    /// The newest model.
    pub fn model(&self) -> BlobRef {
        self.model
    }

    /// Completed rounds, oldest first.
    pub fn history(&self) -> &[Record] {
        &self.history
    }

    /// Why epochs since the last certified one could not be set up, oldest first.
    pub fn failed_setups(&self) -> &[Abort] {
        &self.failed_setups
    }

    /// Attempts of the current round that were aborted, oldest first.
    pub fn aborted(&self) -> &[Abort] {
        &self.aborted
    }

    fn next_round(&self, seq: u64) -> NextRound {
        let last = self.history.last();
        NextRound {
            epoch: self.epoch,
            round: self.number,
            seq,
            model: self.model,
            prev_result: last.map_or(Digest::ZERO, |record| record.published.result.hash()),
            abort_certificates: self.abort_certificates.clone(),
            excluded: self.excluded.clone(),
        }
    }

    /// The next attempt, in a new epoch when the current one has served its rounds or its time.
    ///
    /// What was tried stays in its epoch: the certificates that allow another try speak of that epoch.
    fn go_on(&mut self, at: Timestamp) {
        let config = self.terms.params.config();
        let worn = self.epoch_attempts >= u64::from(config.epoch_rounds)
            || at >= self.epoch_at + Span(config.epoch_seconds.saturating_mul(1000));
        if worn && self.aborted.is_empty() && self.abort_certificates.is_empty() {
            self.next_epoch(at);
        } else {
            self.epoch_attempts += 1;
            self.phase = Phase::Round(Box::new(self.next_round(self.epoch_attempts)));
            self.ask();
        }
    }

    fn next_epoch(&mut self, at: Timestamp) {
        self.epoch += 1;
        self.epoch_at = at;
        self.epoch_attempts = 0;
        self.excluded.clear(); // places in the old roster; in the new one everybody has new keys
        self.phase = Phase::Epoch(self.epoch);
        self.ask();
    }

    fn certified(&mut self, at: Timestamp) {
        self.failed_setups.clear();
        self.go_on(at);
    }

    /// A site that restarts while an epoch is set up must not cost the run, since its peers sign no roster without it: the next number
    /// is opened, and every site joins anew.
    fn set_up_again(&mut self, at: Timestamp, reason: Abort) {
        self.failed_setups.push(reason.clone());
        if reason.retryable() && below_limit(self.failed_setups.len()) {
            self.next_epoch(at);
        } else {
            self.end(State::Failed(reason));
        }
    }

    fn end(&mut self, state: State) {
        self.phase = Phase::Ended(state);
        self.ask();
    }

    fn ask(&mut self) {
        self.outputs.extend(match &self.phase {
            Phase::Epoch(epoch) => Some(Output::OpenEpoch { epoch: *epoch }),
            Phase::Round(next) => Some(Output::OpenRound(next.clone())),
            Phase::Paused(_) => None,
            Phase::Ended(state) => Some(Output::Ended(state.clone())),
        });
    }

    fn publish(&mut self, at: Timestamp, round: u64, seq: u64, published: Published) {
        // The next round would be about a model to which every site has given its one update.
        let unchanged = published.model == self.model;
        self.model = published.model;
        self.number = round + 1;
        self.history.push(Record {
            epoch: self.epoch,
            round,
            seq,
            at,
            published,
        });
        self.aborted.clear();
        self.abort_certificates.clear();
        self.excluded.clear();
        if self.history.len() as u64 >= self.terms.rounds {
            self.end(State::Completed)
        } else if unchanged {
            self.end(State::Failed(Abort::Unchanged { round }))
        } else {
            self.go_on(at)
        }
    }

    fn retry(&mut self, at: Timestamp, reason: Abort, certificate: Option<Certificate>) {
        if let Abort::BadDealing { dealers } = &reason {
            self.excluded.extend(dealers);
        }
        self.abort_certificates.extend(certificate);
        if self.abort_certificates.len() > MAX_ATTEMPTS as usize {
            self.abort_certificates.remove(0); // from before a loss; a site that still needs it sits out
        }
        self.aborted.push(reason.clone());
        if reason.retryable() && below_limit(self.aborted.len()) {
            self.go_on(at)
        } else {
            self.end(State::Failed(reason))
        }
    }

    fn pause(&mut self, at: Timestamp, round: u64, seq: u64, loss: Loss) {
        self.phase = Phase::Paused(Box::new(Paused {
            epoch: self.epoch,
            round,
            seq,
            at,
            loss,
        }));
    }

    /// Under a new round number, since holders that released refuse every further attempt of the old round (R4).
    fn resumed(&mut self, at: Timestamp, request_id: String) {
        if let Phase::Paused(paused) = &self.phase {
            self.number = paused.round + 1;
            if let Abort::Dealer { dealer } = paused.loss.reason {
                self.excluded.push(dealer);
            }
        }
        self.resumptions.insert(request_id);
        self.aborted.clear();
        self.go_on(at);
    }
}

/// Whether one more try may follow after `failures` in a row.
fn below_limit(failures: usize) -> bool {
    u32::try_from(failures).is_ok_and(|failures| failures < MAX_ATTEMPTS)
}

impl Machine for Run {
    type Event = Event;
    type Output = Output;

    fn admit(&self, _at: Timestamp, event: &Event) -> Result<(), Rejection> {
        let over = || Rejection::OutOfPhase {
            what: "this",
            phase: "over",
        };
        match (&self.phase, event) {
            (Phase::Ended(State::Cancelled), Event::Cancelled) => Err(Rejection::Repeated),
            (_, Event::Resumed { request_id }) if self.resumptions.contains(request_id) => {
                Err(Rejection::Repeated)
            }
            (Phase::Ended(_), _) => Err(over()),
            (_, Event::Cancelled) | (Phase::Paused(_), Event::Resumed { .. }) => Ok(()),
            (_, Event::Resumed { .. }) => Err(Rejection::OutOfPhase {
                what: "to be resumed",
                phase: "under way",
            }),
            (Phase::Epoch(number), Event::EpochEnded { epoch, .. }) if number == epoch => Ok(()),
            (Phase::Round(next), Event::RoundEnded { round, seq, .. })
                if (next.round, next.seq) == (*round, *seq) =>
            {
                Ok(())
            }
            (_, Event::EpochEnded { .. } | Event::RoundEnded { .. }) => {
                Err(Rejection::Elsewhere("epoch or round"))
            }
        }
    }

    fn handle(&mut self, at: Timestamp, event: Event) -> Result<(), Rejection> {
        self.admit(at, &event)?;
        match event {
            Event::Cancelled => self.end(State::Cancelled),
            Event::EpochEnded { outcome, .. } => match outcome {
                Ok(()) => self.certified(at),
                Err(reason) => self.set_up_again(at, reason),
            },
            Event::RoundEnded {
                round,
                seq,
                outcome,
            } => match outcome {
                Outcome::Published(published) => self.publish(at, round, seq, *published),
                Outcome::Aborted {
                    reason,
                    certificate,
                } => self.retry(at, reason, certificate),
                Outcome::Spent(loss) => self.pause(at, round, seq, loss),
                Outcome::Lost(reason) => self.end(State::Failed(reason)),
            },
            Event::Resumed { request_id } => self.resumed(at, request_id),
        }
        Ok(())
    }

    fn due(&self, _at: Timestamp) -> Option<Event> {
        None
    }

    fn deadline(&self) -> Option<Timestamp> {
        None
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn resume(&mut self) {
        self.outputs.clear();
        self.ask();
    }
}

#[cfg(test)]
mod tests;
