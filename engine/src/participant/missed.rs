//! Missed: the result of an attempt that this site was never told of, because it was away.
//!
//! Nothing but the coordinator's signature can be checked of it: the site knows neither the attempt's holders nor its cohort, perhaps not
//! even its roster. So it changes nothing by itself. It is kept in memory, and counts once the site accepts an announcement that follows
//! it: all who take part in that attempt sign the hash of the announcement, hence of this result, and those among them who saw the missed
//! attempt have checked its certificate. A restarted site is told of it again.
//!
//! Source: docs/protocol.md, section 7, checks on a result.

use veilsum_common::time::Timestamp;
use veilsum_secagg::keys::Signature;
use veilsum_secagg::message::RoundResult;
use veilsum_secagg::{Certificate, Digest};

use super::{Event, Participant};
use crate::ledger::LastResult;
use crate::rejection::Rejection;
use crate::vault::Place;

/// A result on the coordinator's word alone.
pub(super) struct Missed {
    place: Place,
    result: Box<RoundResult>,
    certificate: Certificate,
    signature: Signature,
    /// An announcement that follows it would be accepted.
    confirmed: bool,
}

impl Missed {
    fn last(&self) -> LastResult {
        LastResult {
            place: self.place,
            result_hash: self.result.hash(),
            next_model: self.result.next_model_hash,
        }
    }
}

impl Participant {
    /// Takes up a result that the coordinator tells of. Gives the event back to be journalled, or refused, if this site can judge it;
    /// one of an attempt that it was never told of is kept in memory instead, and the one heard last stays.
    pub fn hear_result(&mut self, finished: Event) -> Option<Event> {
        let Event::Finished {
            place,
            result,
            certificate,
            signature,
        } = finished
        else {
            return Some(finished);
        };
        let judged = self.ledger.is_over(place)
            || self.ledger.attempts.contains_key(&place)
            || !result.verifies(&self.coordinator, &signature);
        let (missed, known) = if judged {
            let finished = Event::Finished {
                place,
                result,
                certificate,
                signature,
            };
            (None, Some(finished))
        } else {
            let missed = Missed {
                place,
                result,
                certificate,
                signature,
                confirmed: false,
            };
            (Some(missed), None)
        };
        self.missed = missed.or(self.missed.take());
        known
    }

    /// The missed result that `opened` follows, to be journalled before it; `None` if it follows what this site knows, or would be refused
    /// all the same.
    pub fn result_before(&mut self, at: Timestamp, opened: &Event) -> Option<Event> {
        let (missed, Event::Opened { announcement, .. }) = (self.missed.as_ref()?, opened) else {
            return None;
        };
        let last = missed.last();
        let known = self.ledger.last.map(|last| last.result_hash);
        let place = (self.epoch(), announcement.seq);
        let fits = announcement.prev_result_hash == last.result_hash
            && known != Some(last.result_hash)
            && self.ledger.newest() < Some(last.place)
            && last.place < place;
        let mut ledger = self.ledger.clone();
        ledger.finish(last);
        if !fits || self.check_opened(at, opened, &ledger).is_err() {
            return None;
        }
        let missed = self.missed.as_mut()?;
        missed.confirmed = true;
        Some(Event::Finished {
            place: missed.place,
            result: missed.result.clone(),
            certificate: missed.certificate.clone(),
            signature: missed.signature,
        })
    }

    /// A result of an attempt that is not on record.
    pub(super) fn admit_missed(&self, place: Place, result_hash: Digest) -> Result<(), Rejection> {
        let confirmed = self.missed.as_ref().filter(|missed| missed.confirmed);
        match confirmed.map(Missed::last) {
            Some(last) if (last.place, last.result_hash) == (place, result_hash) => Ok(()),
            _ => Err(Rejection::Elsewhere("attempt")),
        }
    }
}
