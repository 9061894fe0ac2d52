//! Chain: a site's way from one model to the next. It takes an announcement up, pins one contribution to its model, and follows results.
//!
//! What may be announced after what is the ledger's rule ([`crate::ledger`]); results of attempts that this site missed are in
//! [`super::missed`]. What a result's sum was made of is not checked here: nobody can, without an audit of the sum. Source: protocol, sections 7, 9 and 14 (P0).

use std::sync::Arc;

use veilsum_common::time::Timestamp;
use veilsum_secagg::context::Attempt;
use veilsum_secagg::keys::Signature;
use veilsum_secagg::message::{Announcement, RoundResult};
use veilsum_secagg::params::round_config_hash;
use veilsum_secagg::{Certificate, Error, Fault};

use super::holder::HolderPhase;
use super::session::SessionPhase;
use super::{Contribution, Current, Event, Output, Participant};
use crate::ledger::{LastResult, Ledger, Line, Sent};
use crate::rejection::Rejection;
use crate::vault::{Name, Place, SecretOp};

impl Participant {
    /// Checks an announcement against `ledger`: this site's, or what that would be after one more result.
    pub(super) fn check_opened(
        &self,
        at: Timestamp,
        event: &Event,
        ledger: &Ledger,
    ) -> Result<(), Rejection> {
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
        ledger.accepts(at, roster, announcement, proofs)?;
        // Approval is of a study, and so of this many sums; numbers may be skipped, so results are counted.
        let (done, limit) = (ledger.completed, self.setting.spec.study().rounds().count);
        if done >= limit {
            return Err(Fault::TooMany {
                what: "the number of rounds",
                have: done + 1,
                limit,
            }
            .by_coordinator()
            .into());
        }
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
        let (round, model_hash) = (announcement.round, announcement.model_hash);
        let attempt = Arc::new(Attempt::new(roster, announcement)?);
        let holder = HolderPhase::open(&attempt, me);
        self.ledger.abort_older(place);
        self.ledger.settle(model_hash);
        self.ledger.round = round;
        self.ledger.first_model.get_or_insert(model_hash);
        let line = Line {
            round,
            ann_hash: attempt.hash(),
            model_hash,
            attempt: Some(Arc::clone(&attempt)),
            duty: holder.duty(),
            sent: Sent::Nothing,
            cohort: None,
            survivors: None,
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
        certificate: &Certificate,
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
        match self.ledger.attempts.get(&place) {
            Some(line) => self.check_survivors(line, result, certificate),
            None => self.admit_missed(place, result.hash()),
        }
    }

    /// The result is about the sets this site saw and signed, and t holders of the attempt signed the survivors that it names.
    fn check_survivors(
        &self,
        line: &Line,
        result: &RoundResult,
        certificate: &Certificate,
    ) -> Result<(), Rejection> {
        if line
            .cohort
            .is_some_and(|cohort| cohort.digest != result.ctx)
        {
            return Err(Fault::Equivocation("cohort").by_coordinator().into());
        }
        if line
            .survivors
            .is_some_and(|signed| signed.digest != result.digest)
        {
            return Err(Fault::Equivocation("survivor set").by_coordinator().into());
        }
        // Only a later result clears it, and after that this one is refused as older.
        let attempt = line.attempt.as_deref();
        let attempt = attempt.ok_or(Rejection::Elsewhere("attempt"))?;
        self.check_count(line, attempt.roster().len(), result.survivors)?;
        match certificate.certify_survivors(attempt, result.digest) {
            Ok(_) => Ok(()),
            // nobody waits for more of them: a result without enough signatures is none
            Err(Error::BelowThreshold { have, need }) => {
                let what = "signers of the result's survivors";
                Err(Fault::TooFew { what, have, need }.by_coordinator().into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// How many updates are in the sum: as many as this site signed for, or else what its rules and the cohort allow.
    fn check_count(&self, line: &Line, members: u32, have: u64) -> Result<(), Rejection> {
        let least = self.params.min_survivors(members);
        let most = line.cohort.map_or(members, |cohort| cohort.count);
        let fault = match line.survivors {
            Some(signed) if u64::from(signed.count) != have => Fault::Rule {
                what: "the number of survivors",
                have,
                need: signed.count.into(),
            },
            None if have < least.into() => Fault::TooFew {
                what: "survivors",
                have: u32::try_from(have).unwrap_or(u32::MAX),
                need: least,
            },
            None if have > most.into() => Fault::TooMany {
                what: "the number of survivors",
                have,
                limit: most.into(),
            },
            Some(_) | None => return Ok(()),
        };
        Err(fault.by_coordinator().into())
    }

    pub(super) fn accept_finished(&mut self, place: Place, result: &RoundResult) {
        self.ledger.finish(LastResult {
            place,
            result_hash: result.hash(),
            next_model: result.next_model_hash,
        });
        self.missed = None;
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
