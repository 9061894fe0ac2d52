//! Ledger: what a site has promised for good. Counters never go back, one announcement stands under one attempt number for ever, and
//! one contribution serves one model.
//!
//! Source: protocol, sections 7 (checks on an announcement), 12 (R0, R1, R2, R4) and 13.

use std::collections::BTreeMap;
use std::sync::Arc;

use veilsum_common::time::Timestamp;
use veilsum_secagg::context::{Attempt, Roster};
use veilsum_secagg::message::Announcement;
use veilsum_secagg::{Certificate, Digest};

use crate::rejection::Rejection;
use crate::terms::MAX_LIFE;
use crate::vault::Place;

/// How far a site's duty as a holder of an attempt went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// It is not a holder of it.
    None,
    /// Nothing was promised.
    Idle,
    /// One survivor set was signed.
    Attested,
    /// Shares were released.
    Released,
    /// Nothing will ever be released.
    Aborted,
}

/// The last line of an attempt; kept to the end of the run.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its round.
    pub round: u64,
    /// The attempt itself, needed to check what its holders signed; `None` once the round is over.
    pub attempt: Option<Arc<Attempt>>,
    /// Hash of the announcement.
    pub ann_hash: Digest,
    /// Model it was for.
    pub model_hash: Digest,
    /// How far the duty went.
    pub duty: Duty,
    /// What may have left in it.
    pub sent: Sent,
    /// Its cohort, once the site knows it: the context and the number of members.
    pub cohort: Option<MemberSet>,
    /// Its survivors, once the site signed them as a holder: their digest and their number.
    pub survivors: Option<MemberSet>,
}

/// What may have left a site in an attempt, and what may come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// No masked byte.
    Nothing,
    /// Masked bytes; a sum with them may be had.
    Masked,
    /// Masked bytes; t holders signed that no sum with them can ever be had (R2).
    Dead,
    /// Masked bytes; this site's operator consented to one more sum over the same update (R4).
    Consented,
}

/// Some members of a roster, as they are signed for and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberSet {
    /// What stands for them in signatures.
    pub digest: Digest,
    /// How many they are.
    pub count: u32,
}

/// The last completed round this site knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastResult {
    /// Epoch and attempt that gave it.
    pub place: Place,
    /// Its hash.
    pub result_hash: Digest,
    /// Model of the next round.
    pub next_model: Digest,
}

/// The promises of one site in one run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Every attempt on record.
    pub attempts: BTreeMap<Place, Line>,
    /// The last result.
    pub last: Option<LastResult>,
    /// How many results this site accepted.
    pub completed: u64,
    /// First model accepted in the run.
    pub first_model: Option<Digest>,
    /// Highest round accepted.
    pub round: u64,
}

impl Ledger {
    /// Whether an announcement with a valid signature and well-formed parts may be accepted.
    ///
    /// # Errors
    /// The rule that refuses; [`Rejection::Repeated`] for the announcement that already stands under its number.
    pub fn accepts(
        &self,
        at: Timestamp,
        roster: &Arc<Roster>,
        announcement: &Announcement,
        proofs: &[Certificate],
    ) -> Result<(), Rejection> {
        let place = (roster.epoch(), announcement.seq);
        let stale = Rejection::Stale {
            round: announcement.round,
            seq: announcement.seq,
        };
        if let Some(line) = self.attempts.get(&place) {
            return Err(if line.ann_hash != announcement.hash() {
                Rejection::Conflict("announcement")
            } else if line.duty == Duty::Aborted {
                Rejection::OutOfPhase {
                    what: "an announcement",
                    phase: "aborted",
                }
            } else {
                Rejection::Repeated
            });
        }
        if announcement.round < self.round || self.newest() >= Some(place) {
            return Err(stale);
        }
        let latest = at + MAX_LIFE;
        if announcement.expires_ms > latest.0 {
            return Err(Rejection::Deadline {
                expires: Timestamp(announcement.expires_ms),
                latest,
            });
        }
        self.check_chain(announcement)?;
        self.check_retry(announcement, proofs)
    }

    /// The model is the next model of the last result, or the one first accepted in the run.
    fn check_chain(&self, announcement: &Announcement) -> Result<(), Rejection> {
        let (prev, model) = match &self.last {
            Some(last) => (last.result_hash, Some(last.next_model)),
            None => (Digest::ZERO, self.first_model),
        };
        if announcement.prev_result_hash != prev {
            return Err(Rejection::Elsewhere("previous result"));
        }
        if model.is_some_and(|model| model != announcement.model_hash) {
            return Err(Rejection::Elsewhere("model"));
        }
        Ok(())
    }

    /// R1, R2 and R4: a further attempt for the same model needs, for every one in which masked bytes may have left, its abort
    /// certificate or the operator's consent. R3 (exact retry) is not offered by this version, so `retry_of` must be zero.
    fn check_retry(
        &self,
        announcement: &Announcement,
        proofs: &[Certificate],
    ) -> Result<(), Rejection> {
        if announcement.retry_of != Digest::ZERO {
            return Err(Rejection::Elsewhere("retry proof"));
        }
        for (place, line) in &self.attempts {
            if line.round == announcement.round && line.duty == Duty::Released {
                let (round, seq) = (line.round, place.1);
                return Err(Rejection::RoundLost { round, seq });
            }
            if line.sent != Sent::Masked || !proven(line, proofs) {
                self.check_line(*place, line, announcement)?;
            }
        }
        Ok(())
    }

    /// R0: what was judged when the announcement was accepted, once more before the first masked byte of `place`. That no newer
    /// announcement was accepted since holds by construction: a site masks in the newest one only.
    pub(crate) fn check_masking(
        &self,
        place: Place,
        announcement: &Announcement,
    ) -> Result<(), Rejection> {
        let mut others = self.attempts.iter().filter(|(other, _)| **other != place);
        others.try_for_each(|(other, line)| self.check_line(*other, line, announcement))
    }

    /// Whether what left in the attempt of `line` stands in the way of contributing to `announcement`.
    fn check_line(
        &self,
        place: Place,
        line: &Line,
        announcement: &Announcement,
    ) -> Result<(), Rejection> {
        let (round, seq) = (line.round, place.1);
        if line.model_hash != announcement.model_hash {
            return Ok(());
        }
        match line.sent {
            Sent::Nothing | Sent::Dead => Ok(()),
            Sent::Consented if announcement.round > round => Ok(()),
            // holders that released refuse every further attempt of the old round, so nothing could come of it
            Sent::Consented => Err(Rejection::RoundLost { round, seq }),
            Sent::Masked if self.is_over(place) => Err(Rejection::Unchanged { round }),
            Sent::Masked if announcement.round > round => Err(Rejection::Spent { round, seq }),
            Sent::Masked => Err(Rejection::RetryUnproven { seq }),
        }
    }

    /// The newest attempt on record.
    pub(crate) fn newest(&self) -> Option<Place> {
        self.attempts.keys().next_back().copied()
    }

    /// A result was accepted. Whatever is not later is over: nobody's signatures on it are asked for any more.
    pub(crate) fn finish(&mut self, last: LastResult) {
        for (_, line) in self.attempts.range_mut(..=last.place) {
            line.attempt = None;
        }
        self.last = Some(last);
        self.completed += 1;
    }

    /// Whether a result of this attempt or of a later one is known.
    pub(crate) fn is_over(&self, place: Place) -> bool {
        self.last.is_some_and(|last| place <= last.place)
    }

    /// The model that the next round must be about; `None` before the first announcement.
    pub fn model(&self) -> Option<Digest> {
        self.last.map(|last| last.next_model).or(self.first_model)
    }

    /// Attempts for the current model in which this site's update is spent unless they still end: no further one is contributed to
    /// without their abort certificate (R2) or the operator's consent (R4).
    pub fn spent(&self) -> impl Iterator<Item = (Place, &Line)> {
        let model = self.model();
        let lines = self.attempts.iter().filter(move |(place, line)| {
            line.sent == Sent::Masked && Some(line.model_hash) == model && !self.is_over(**place)
        });
        lines.map(|(place, line)| (*place, line))
    }

    /// Whether the operator may consent to one more contribution to the model with this hash (R4).
    pub(crate) fn check_consent(&self, model_hash: Digest) -> Result<(), Rejection> {
        if self.model() != Some(model_hash) {
            return Err(Rejection::Elsewhere("model"));
        }
        if self.spent().next().is_some() {
            return Ok(());
        }
        let given = |line: &Line| line.model_hash == model_hash && line.sent == Sent::Consented;
        Err(if self.attempts.values().any(given) {
            Rejection::Repeated
        } else {
            Rejection::NothingSpent
        })
    }

    /// R4. The consent is for the attempts that are spent now; what is masked in the next one is not covered by it, so it is used up
    /// with the first byte of that.
    pub(crate) fn consent(&mut self) {
        let spent: Vec<Place> = self.spent().map(|(place, _)| place).collect();
        self.mark(&spent, Sent::Consented);
    }

    /// An announcement for this model was accepted, so everything that was masked for it before is dead or consented to.
    pub(crate) fn settle(&mut self, model_hash: Digest) {
        let ours = |line: &Line| line.model_hash == model_hash && line.sent == Sent::Masked;
        let dead = self.attempts.iter().filter(|(_, line)| ours(line));
        let dead: Vec<Place> = dead.map(|(place, _)| *place).collect();
        self.mark(&dead, Sent::Dead);
    }

    fn mark(&mut self, places: &[Place], sent: Sent) {
        for place in places {
            if let Some(line) = self.attempts.get_mut(place) {
                line.sent = sent;
            }
        }
    }

    /// Moves every unreleased older attempt of the run to aborted; at most one attempt is unreleased and alive.
    pub fn abort_older(&mut self, place: Place) {
        for (_, line) in self.attempts.range_mut(..place) {
            if matches!(line.duty, Duty::Idle | Duty::Attested) {
                line.duty = Duty::Aborted;
            }
        }
    }
}

/// Whether one of `proofs` certifies the abort of the attempt in `line`, by its own roster.
fn proven(line: &Line, proofs: &[Certificate]) -> bool {
    let dies = |attempt: &Attempt| {
        let mut proofs = proofs.iter();
        proofs.any(|proof| proof.certify_abort(attempt).is_ok())
    };
    line.attempt.as_deref().is_some_and(dies)
}
