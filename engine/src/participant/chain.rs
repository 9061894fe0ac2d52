//! Chain: a site's way from one model to the next. It takes an announcement up, pins one contribution to its model, and follows results.
//!
//! What may be announced after what is the ledger's rule ([`crate::ledger`]). What a result's sum was made of is not checked here:
//! nobody can, without an audit of the sum. Source: protocol, sections 7, 9 and 14 (P0).

use std::sync::Arc;

use veilsum_common::time::Timestamp;
use veilsum_secagg::Fault;
use veilsum_secagg::context::Attempt;
use veilsum_secagg::keys::Signature;
use veilsum_secagg::message::{Announcement, RoundResult};
use veilsum_secagg::params::round_config_hash;

use super::holder::HolderPhase;
use super::session::SessionPhase;
use super::{Contribution, Current, Event, Output, Participant};
use crate::ledger::{LastResult, Line};
use crate::rejection::Rejection;
use crate::vault::{Name, Place, SecretOp};

impl Participant {
    pub(super) fn admit_opened(&self, at: Timestamp, event: &Event) -> Result<(), Rejection> {
        let Event::Opened {
            announcement,
            signature,
            round_config,
            proofs,
        } = event
        else {
            return Ok(());
        };
        let roster = self.certified_roster()?;
        self.me(roster)?;
        if !announcement.verifies(&self.coordinator, signature) {
            return Err(Fault::Signature("announcement").by_coordinator().into());
        }
        Attempt::new(Arc::clone(roster), (**announcement).clone())?; // first, since attempt numbers count within an epoch
        self.ledger.accepts(at, roster, announcement, proofs)?;
        // What trainers are told follows from the study alone: the coordinator cannot tell one site something else.
        let due = self.setting.spec.round_config_bytes(announcement.round);
        if *round_config != due || round_config_hash(&due) != announcement.roundcfg_hash {
            return Err(Fault::Context("round configuration")
                .by_coordinator()
                .into());
        }
        Ok(())
    }

    pub(super) fn accept_opened(
        &mut self,
        announcement: Announcement,
        round_config: Vec<u8>,
    ) -> Result<(), Rejection> {
        let roster = Arc::clone(self.certified_roster()?);
        let me = self.me(&roster)?;
        let place = (roster.epoch(), announcement.seq);
        let attempt = Arc::new(Attempt::new(roster, announcement.clone())?);
        let holder = HolderPhase::open(&attempt, me);
        self.ledger.abort_older(place);
        self.ledger.round = announcement.round;
        self.ledger
            .first_model
            .get_or_insert(announcement.model_hash);
        let line = Line {
            round: announcement.round,
            ann_hash: attempt.hash(),
            model_hash: announcement.model_hash,
            announcement: Some(announcement),
            duty: holder.duty(),
            masked: false,
        };
        self.ledger.attempts.insert(place, line);
        (self.opened, self.proposal, self.abort) = (None, None, None);
        self.current = Some(Current {
            attempt,
            round_config,
            cohort: None,
            session: SessionPhase::Training,
            holder,
        });
        self.ask_session();
        Ok(())
    }

    pub(super) fn admit_trained(&self, contribution: &Contribution) -> Result<(), Rejection> {
        if self.contribution.as_ref() == Some(contribution) {
            return Err(Rejection::Repeated);
        }
        if self
            .contribution
            .as_ref()
            .is_some_and(|known| known.model_hash == contribution.model_hash)
        {
            return Err(Rejection::Conflict("contribution to this model"));
        }
        let current = self
            .current
            .as_ref()
            .ok_or(Rejection::Elsewhere("attempt"))?;
        let wanted = current.attempt.announcement();
        let fits = wanted.model_hash == contribution.model_hash
            && wanted.roundcfg_hash == contribution.roundcfg_hash;
        if fits {
            Ok(())
        } else {
            Err(Rejection::Elsewhere("model"))
        }
    }

    pub(super) fn accept_trained(&mut self, contribution: Contribution) {
        let update = contribution.update;
        let older = self.contribution.replace(contribution);
        let served = older.map(|older| older.update);
        self.served = served.filter(|older| *older != update);
        self.outputs.extend(self.served.map(Output::Forget));
        self.ask_session();
    }

    pub(super) fn admit_finished(
        &self,
        place: Place,
        result: &RoundResult,
        signature: &Signature,
    ) -> Result<(), Rejection> {
        if let Some(last) = &self.ledger.last
            && place <= last.place
        {
            let same = last.place != place || last.result_hash == result.hash();
            return Err(if same {
                Rejection::Repeated
            } else {
                Rejection::Conflict("result")
            });
        }
        if !result.verifies(&self.coordinator, signature) {
            return Err(Fault::Signature("result").by_coordinator().into());
        }
        let seen = self
            .current
            .as_ref()
            .filter(|current| current.place() == place)
            .and_then(|current| current.cohort.as_ref());
        if seen.is_some_and(|cohort| cohort.ctx() != result.ctx) {
            return Err(Fault::Equivocation("cohort").by_coordinator().into());
        }
        Ok(())
    }

    pub(super) fn accept_finished(&mut self, place: Place, result: &RoundResult) {
        self.ledger.last = Some(LastResult {
            place,
            result_hash: result.hash(),
            next_model: result.next_model_hash,
        });
        for line in self.ledger.attempts.values_mut() {
            line.announcement = None;
        }
        self.served = self.contribution.take().map(|served| served.update);
        self.outputs.extend(self.served.map(Output::Forget));
        if let Some(current) = &mut self.current {
            current.session = SessionPhase::Over;
        }
        (self.opened, self.proposal, self.abort) = (None, None, None);
    }

    pub(super) fn finish_secrets(&self) -> Vec<SecretOp> {
        self.vault
            .end_attempts()
            .chain(self.end_rounding())
            .collect()
    }

    /// The rounding of the pinned contribution, which a result or another contribution puts an end to.
    pub(super) fn end_rounding(&self) -> Vec<SecretOp> {
        let pinned = self.contribution.as_ref();
        let name = pinned.map(|contribution| Name::Rounding(contribution.model_hash));
        name.map(SecretOp::erase).into_iter().collect()
    }
}
