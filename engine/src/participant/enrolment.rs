//! Enrolment: how a site gets into an epoch. It advertises keys, accepts one roster, confirms it, and sees it certified.
//!
//! One epoch context is signed per epoch number, ever. Whose certificate stands behind an identity key is checked at the edge, before
//! the event; whether the peers are the ones this site trusts is the policy's word. Source: protocol, sections 6, 14 and 15.

use std::sync::Arc;

use veilsum_common::limits::MAX_IDLE_EPOCHS;
use veilsum_secagg::context::Roster;
use veilsum_secagg::message::Advertisement;
use veilsum_secagg::participant::AwaitingRoster;
use veilsum_secagg::{Certificate, Error, Fault};

use super::{EpochPhase, Output, Participant};
use crate::rejection::Rejection;
use crate::vault::{Name, SecretOp};

impl Participant {
    pub(super) fn admit_joined(&self, epoch: u64) -> Result<(), Rejection> {
        if epoch == self.epoch() {
            return Err(Rejection::Repeated);
        }
        if epoch < self.epoch() {
            return Err(Rejection::Elsewhere("epoch"));
        }
        // Each is an entry and fresh keys, and the notice is not signed. A site that was away may have missed any number of epochs, so
        // it is not the number that is bounded.
        if self.idle_epochs >= MAX_IDLE_EPOCHS {
            return Err(Fault::TooMany {
                what: "the number of epochs in a row without a roster",
                have: u64::from(self.idle_epochs) + 1,
                limit: MAX_IDLE_EPOCHS.into(),
            }
            .by_coordinator()
            .into());
        }
        Ok(())
    }

    pub(super) fn admit_enrolled(&self, advertisements: &[Advertisement]) -> Result<(), Rejection> {
        if let EpochPhase::Enrolled { roster, .. } = &self.epoch {
            let same = self
                .roster_of(advertisements)
                .is_ok_and(|offered| offered.ctx() == roster.ctx());
            return Err(if same {
                Rejection::Repeated
            } else {
                Rejection::Conflict("roster")
            });
        }
        let roster = self.roster_of(advertisements)?;
        let (_, own) = self.awaiting()?;
        let me = self.me(&roster)?;
        if advertisements
            .get(me as usize)
            .is_none_or(|listed| listed.x_pk != own.x_pk)
        {
            return Err(Fault::Context("advertisement").by_coordinator().into());
        }
        Ok(self.setting.policy.accepts_roster(&roster)?)
    }

    pub(super) fn admit_certificate(&self, certificate: &Certificate) -> Result<(), Rejection> {
        match &self.epoch {
            EpochPhase::Enrolled {
                certified: true, ..
            } => Err(Rejection::Repeated),
            EpochPhase::Enrolled {
                roster,
                certified: false,
            } => {
                certificate.certify_roster(roster)?;
                Ok(())
            }
            _ => Err(Rejection::OutOfPhase {
                what: "a roster certificate",
                phase: "not enrolled",
            }),
        }
    }

    pub(super) fn enrol_secrets(
        &self,
        advertisements: &[Advertisement],
    ) -> Result<Vec<SecretOp>, Rejection> {
        let roster = self.roster_of(advertisements)?;
        let (awaiting, _) = self.awaiting()?;
        let channels = awaiting.accept(&roster)?;
        let epoch = roster.epoch();
        Ok(vec![
            SecretOp::put(Name::Channels(epoch), &channels.to_secret_bytes()),
            SecretOp::erase(Name::EpochSeed(epoch)),
        ])
    }

    pub(super) fn enrol(&mut self, advertisements: &[Advertisement]) -> Result<(), Rejection> {
        let roster = Arc::new(self.roster_of(advertisements)?);
        self.epoch = EpochPhase::Enrolled {
            roster,
            certified: false,
        };
        self.confirm();
        Ok(())
    }

    pub(super) fn join(&mut self) {
        if let Ok((_, advertisement)) = self.awaiting() {
            self.outputs
                .push_back(Output::Join(Box::new(advertisement)));
        }
    }

    /// Roster confirmation of this site: one per epoch, the same every time.
    pub(super) fn confirm(&mut self) {
        if let EpochPhase::Enrolled {
            roster,
            certified: false,
        } = &self.epoch
            && let Ok(confirmation) = roster.confirm(&self.setting.identity)
        {
            self.outputs.push_back(Output::Confirm(confirmation));
        }
    }

    pub(super) fn awaiting(&self) -> Result<(AwaitingRoster, Advertisement), Rejection> {
        let EpochPhase::Joined { epoch, binding } = &self.epoch else {
            return Err(Rejection::OutOfPhase {
                what: "a roster",
                phase: "not joining an epoch",
            });
        };
        let seed = self
            .vault
            .seed(Name::EpochSeed(*epoch))
            .ok_or(Error::Stored("epoch seed"))?;
        Ok(AwaitingRoster::new(
            &self.params,
            *epoch,
            &self.setting.identity,
            binding,
            &seed,
        ))
    }

    pub(super) fn roster_of(&self, advertisements: &[Advertisement]) -> Result<Roster, Rejection> {
        Ok(Roster::new(
            Arc::clone(&self.params),
            self.epoch(),
            advertisements,
        )?)
    }

    pub(super) fn certified_roster(&self) -> Result<&Arc<Roster>, Rejection> {
        match &self.epoch {
            EpochPhase::Enrolled {
                roster,
                certified: true,
            } => Ok(roster),
            _ => Err(Rejection::OutOfPhase {
                what: "an announcement",
                phase: "without a certified roster",
            }),
        }
    }
}
