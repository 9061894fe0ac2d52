//! Session: a site's own contribution to the current attempt, from training to the receipt.
//!
//! `Training → Committed → Submitting → Received`, or out. Secrets of the attempt come from one seed in the vault; when the seed is
//! gone the site is a dropout of the attempt and nothing is masked again. Source: protocol, sections 8, 9 and 14.

use std::sync::Arc;

use veilsum_secagg::channel::{Channels, PairKeys};
use veilsum_secagg::context::Attempt;
use veilsum_secagg::keys::{Seed, Signature};
use veilsum_secagg::message::{Announcement, Cohort, Commit, NeighbourKey, Neighbourhood, Receipt};
use veilsum_secagg::participant::{Committed, Masking};
use veilsum_secagg::{Digest, Error, Fault};

use super::{Current, Event, Output, Participant, Step, UploadParts, erase_attempt};
use crate::ledger::{MemberSet, Sent};
use crate::rejection::Rejection;
use crate::round::Decline;
use crate::vault::{Name, SecretOp};

/// Where the site's own contribution to the current attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionPhase {
    /// No Commit has left; the update may or may not be pinned yet.
    Training,
    /// A Commit may have left.
    Committed {
        /// Whether it was answered.
        answered: bool,
    },
    /// Masked bytes may have left.
    Submitting,
    /// The receipt is here; everything of the upload may be forgotten.
    Received {
        /// Hash of the upload, which a holder compares with the survivor list.
        upload_hash: Digest,
    },
    /// The site sits the attempt out, and says so.
    SatOut {
        /// What it says.
        why: Decline,
        /// Whether it was answered.
        answered: bool,
    },
    /// The site was left out of the attempt or is a dropout of it.
    Out,
    /// The attempt is over.
    Over,
}

impl Participant {
    /// Where the site's own contribution stands.
    pub fn session(&self) -> Option<SessionPhase> {
        self.current.as_ref().map(|current| current.session)
    }

    /// The Commit of the current attempt, byte for byte the same every time.
    ///
    /// # Errors
    /// [`Error::Stored`] once its secrets are gone: the site is then a dropout of the attempt.
    pub fn commit(&self) -> Result<Commit, Rejection> {
        let current = self
            .current
            .as_ref()
            .ok_or(Rejection::Elsewhere("attempt"))?;
        let place = current.place();
        let outbound = self
            .vault
            .get(Name::Outbound(place))
            .ok_or(Error::Stored("outbound round key"))?;
        let outbound = PairKeys::from_secret_bytes(outbound)?;
        Ok(self
            .committed(current)?
            .commit(&self.setting.identity, &outbound)?)
    }

    /// The masks of the current attempt, after every check of section 9.
    ///
    /// # Errors
    /// The site's policy, the coordinator's or a neighbour's fault; nothing was masked then.
    pub fn masking(&self, near: &Neighbourhood) -> Result<Masking, Rejection> {
        let current = self
            .current
            .as_ref()
            .ok_or(Rejection::Elsewhere("attempt"))?;
        let cohort = current.cohort.as_ref().ok_or(Rejection::OutOfPhase {
            what: "masking",
            phase: "without a cohort",
        })?;
        self.setting.policy.accepts_cohort(&cohort.members)?;
        let first = self.vault.get(Name::Near(current.place()));
        if first.is_some_and(|first| first != hash_of(near).0) {
            return Err(Fault::Equivocation("neighbours' keys")
                .by_coordinator()
                .into());
        }
        Ok(self.committed(current)?.accept(cohort, near)?)
    }

    /// Notes the keys with which the attempt will be masked: they become durable with [`Step::Submitting`], and no others are masked with
    /// after that. So an attempt has one masked vector, also when a neighbour signed two keys and a restart fetches the other one.
    pub fn mask_with(&mut self, near: &Neighbourhood) {
        self.near = Some(hash_of(near));
    }

    /// The event of a receipt for an upload whose hash is `sent`: what was sent is not stored, so only the sender can compare.
    ///
    /// # Errors
    /// The coordinator's fault if the receipt is not signed, or for anything else than what was sent; nothing is forgotten then.
    pub fn receive(
        &self,
        ann_hash: Digest,
        receipt: Receipt,
        signature: Signature,
        sent: &Digest,
        parts: Option<UploadParts>,
    ) -> Result<Event, Rejection> {
        self.check_receipt(self.current(ann_hash)?, &receipt, &signature)?;
        if receipt.upload_hash != *sent {
            return Err(Fault::Context("upload").by_coordinator().into());
        }
        let step = Box::new(Step::Received {
            receipt,
            signature,
            parts,
        });
        Ok(Event::Attempt { ann_hash, step })
    }

    fn check_receipt(
        &self,
        current: &Current,
        receipt: &Receipt,
        signature: &Signature,
    ) -> Result<(), Rejection> {
        let valid = receipt.verifies(&self.coordinator, signature);
        let ctx = current.cohort.as_ref().map(Cohort::ctx);
        if valid && ctx == Some(receipt.ctx) {
            Ok(())
        } else {
            Err(Fault::Signature("receipt").by_coordinator().into())
        }
    }

    fn committed(&self, current: &Current) -> Result<Committed, Rejection> {
        let seed = self
            .vault
            .seed(Name::AttemptSeed(current.place()))
            .ok_or(Error::Stored("attempt seed"))?;
        let me = self.me(current.attempt.roster())?;
        Ok(Committed::new(Arc::clone(&current.attempt), me, &seed)?)
    }

    /// Chain heads at seq + 1, round keys both ways; every older attempt's secrets and every older epoch's keys go (section 13, on
    /// RoundOpen; sections 4 and 6.6).
    pub(super) fn open_secrets(
        &self,
        announcement: &Announcement,
    ) -> Result<Vec<SecretOp>, Rejection> {
        let roster = Arc::clone(self.certified_roster()?);
        let (epoch, me) = (roster.epoch(), self.me(&roster)?);
        let attempt = Attempt::new(roster, announcement.clone())?;
        let channels = self
            .vault
            .get(Name::Channels(epoch))
            .ok_or(Error::Stored("channel"))?;
        let (next, keys) = Channels::from_secret_bytes(channels)?.advance(&attempt, me)?;
        let place = (epoch, announcement.seq);
        let over = self.vault.end_attempts();
        let mut ops: Vec<SecretOp> = over.chain(self.vault.end_epochs_but(epoch)).collect();
        ops.push(SecretOp::put(
            Name::Channels(epoch),
            &next.to_secret_bytes(),
        ));
        ops.push(SecretOp::put(
            Name::Outbound(place),
            &keys.outbound.to_secret_bytes(),
        ));
        if attempt.position(me).is_some() {
            ops.push(SecretOp::put(
                Name::Inbound(place),
                &keys.inbound.to_secret_bytes(),
            ));
        }
        Ok(ops)
    }

    pub(super) fn step_secrets(
        &self,
        step: &Step,
        fresh: &Seed,
    ) -> Result<Vec<SecretOp>, Rejection> {
        let current = self
            .current
            .as_ref()
            .ok_or(Rejection::Elsewhere("attempt"))?;
        let place = current.place();
        Ok(match step {
            Step::Committed => {
                let me = self.me(current.attempt.roster())?;
                let own = Committed::new(Arc::clone(&current.attempt), me, fresh)?.own_shares();
                let mut ops = vec![SecretOp::put(Name::AttemptSeed(place), fresh.expose())];
                ops.extend(own.map(|own| SecretOp::put(Name::OwnShares(place), own.expose())));
                ops
            }
            Step::Answered => vec![SecretOp::erase(Name::Outbound(place))],
            Step::Received { .. } => vec![
                SecretOp::erase(Name::AttemptSeed(place)),
                SecretOp::erase(Name::Outbound(place)),
                SecretOp::erase(Name::Near(place)),
            ],
            Step::SatOut(_) => vec![SecretOp::erase(Name::Outbound(place))],
            // Sealing is over; a site that was left out has dealt nothing that anybody will ask for.
            Step::CohortSeen { cohort, .. } => {
                let mut ops = vec![SecretOp::erase(Name::Outbound(place))];
                if !self.included(current, cohort) {
                    ops.push(SecretOp::erase(Name::AttemptSeed(place)));
                    ops.push(SecretOp::erase(Name::OwnShares(place)));
                }
                ops
            }
            Step::Delivered | Step::Expired => erase_attempt(place),
            Step::Submitting => {
                let near = self.near.iter();
                near.map(|near| SecretOp::put(Name::Near(place), &near.0))
                    .collect()
            }
            Step::Attested(_) | Step::Released(_) => Vec::new(),
        })
    }

    pub(super) fn current(&self, ann_hash: Digest) -> Result<&Current, Rejection> {
        let current = self
            .current
            .as_ref()
            .filter(|current| current.attempt.hash() == ann_hash);
        current.ok_or(Rejection::Elsewhere("attempt"))
    }

    pub(super) fn admit_step(&self, ann_hash: Digest, step: &Step) -> Result<(), Rejection> {
        let current = self.current(ann_hash)?;
        let out_of_phase = |what| Rejection::OutOfPhase {
            what,
            phase: current.session.name(),
        };
        match (step, current.session) {
            (Step::SatOut(_), SessionPhase::Training) => Ok(()),
            (Step::Committed, SessionPhase::Training) => self.admit_commit(current),
            (
                Step::Answered,
                SessionPhase::Committed { answered: false }
                | SessionPhase::SatOut {
                    answered: false, ..
                },
            ) => Ok(()),
            (Step::Submitting, SessionPhase::Committed { .. }) => self.admit_submitting(current),
            (
                Step::Received {
                    receipt, signature, ..
                },
                SessionPhase::Submitting,
            ) => self.check_receipt(current, receipt, signature),
            (Step::SatOut(_), SessionPhase::SatOut { .. })
            | (
                Step::Committed,
                SessionPhase::Committed { .. }
                | SessionPhase::Submitting
                | SessionPhase::Received { .. },
            )
            | (
                Step::Answered,
                SessionPhase::Committed { answered: true }
                | SessionPhase::SatOut { answered: true, .. }
                | SessionPhase::Submitting,
            )
            | (Step::Submitting, SessionPhase::Submitting)
            | (Step::Received { .. }, SessionPhase::Received { .. }) => Err(Rejection::Repeated),
            (
                Step::CohortSeen { .. }
                | Step::Attested(_)
                | Step::Released(_)
                | Step::Delivered
                | Step::Expired,
                _,
            ) => self.admit_duty(current, step),
            (Step::SatOut(_), _) => Err(out_of_phase("sitting out")),
            (Step::Committed, _) => Err(out_of_phase("a Commit")),
            (Step::Answered, _) => Err(out_of_phase("an answer to what was sent")),
            (Step::Submitting, _) => Err(out_of_phase("masking")),
            (Step::Received { .. }, _) => Err(out_of_phase("a receipt")),
        }
    }

    fn admit_commit(&self, current: &Current) -> Result<(), Rejection> {
        let wanted = current.attempt.announcement().model_hash;
        let pinned = self
            .contribution
            .as_ref()
            .is_some_and(|contribution| contribution.model_hash == wanted);
        if pinned {
            Ok(())
        } else {
            Err(Rejection::OutOfPhase {
                what: "a Commit",
                phase: "without a pinned update",
            })
        }
    }

    /// R0: judged again in the transaction that stores the context.
    fn admit_submitting(&self, current: &Current) -> Result<(), Rejection> {
        let cohort = current.cohort.as_ref().ok_or(Rejection::OutOfPhase {
            what: "masking",
            phase: "without a cohort",
        })?;
        self.setting.policy.accepts_cohort(&cohort.members)?;
        let announcement = current.attempt.announcement();
        self.ledger.check_masking(current.place(), announcement)
    }

    pub(super) fn accept_step(&mut self, ann_hash: Digest, step: Step) -> Result<(), Rejection> {
        let place = self.current(ann_hash)?.place();
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        match step {
            Step::SatOut(why) => {
                let answered = false;
                current.session = SessionPhase::SatOut { why, answered };
                self.ask_session();
            }
            // Whoever journalled it sends it; after a crash `resume` asks again.
            Step::Committed => current.session = SessionPhase::Committed { answered: false },
            Step::Answered => {
                if let SessionPhase::Committed { answered }
                | SessionPhase::SatOut { answered, .. } = &mut current.session
                {
                    *answered = true;
                }
            }
            Step::Submitting => {
                current.session = SessionPhase::Submitting;
                if let Some(line) = self.ledger.attempts.get_mut(&place) {
                    line.sent = Sent::Masked;
                }
            }
            Step::Received { receipt, .. } => {
                current.session = SessionPhase::Received {
                    upload_hash: receipt.upload_hash,
                }
            }
            Step::CohortSeen { cohort, .. } => self.accept_cohort(cohort),
            Step::Attested(_) | Step::Released(_) | Step::Delivered | Step::Expired => {
                self.accept_duty(place, step)
            }
        }
        Ok(())
    }

    /// Whether this site is in the cohort, by the roster of the attempt.
    fn included(&self, current: &Current, cohort: &Cohort) -> bool {
        let me = self.me(current.attempt.roster());
        me.is_ok_and(|me| cohort.members.contains(me))
    }

    fn accept_cohort(&mut self, cohort: Cohort) {
        let included = self
            .current
            .as_ref()
            .is_some_and(|current| self.included(current, &cohort));
        let Some(current) = &mut self.current else {
            return;
        };
        if let Some(line) = self.ledger.attempts.get_mut(&current.place()) {
            line.cohort = Some(MemberSet {
                digest: cohort.ctx(),
                count: cohort.members.count(),
            });
        }
        current.cohort = Some(cohort);
        if !included
            && matches!(
                current.session,
                SessionPhase::Training | SessionPhase::Committed { .. }
            )
        {
            current.session = SessionPhase::Out;
        }
        self.ask_session();
        self.ask_holder();
    }

    /// Gives up the own contribution to the current attempt after a refusal or a lost secret; the site is a dropout then. Not
    /// journalled: after a restart the same refusal is found again. An attempt that is over stays so.
    pub fn drop_out(&mut self) {
        if let Some(current) = &mut self.current
            && current.session != SessionPhase::Over
        {
            current.session = SessionPhase::Out;
        }
    }

    /// What the own contribution needs next of the world.
    pub(super) fn ask_session(&mut self) {
        let Some(current) = &self.current else { return };
        let attempt = Arc::clone(&current.attempt);
        let place = current.place();
        let alive = self.vault.get(Name::AttemptSeed(place)).is_some();
        let pinned = self
            .contribution
            .as_ref()
            .is_some_and(|c| c.model_hash == attempt.announcement().model_hash);
        let asked = match (current.session, &current.cohort) {
            (SessionPhase::Training, None) if pinned => Some(Output::Commit(attempt)),
            (SessionPhase::Training, None) => Some(Output::Train(attempt)),
            // once the cohort is fixed nobody waits for the answer of this site
            (
                SessionPhase::SatOut {
                    why,
                    answered: false,
                },
                None,
            ) => Some(Output::Decline(attempt.hash(), why)),
            (SessionPhase::Committed { .. } | SessionPhase::Submitting, Some(_)) if alive => {
                Some(Output::Upload(attempt))
            }
            (SessionPhase::Committed { answered: false }, None) if alive => {
                Some(Output::Commit(attempt))
            }
            _ => None,
        };
        self.outputs.extend(asked);
    }
}

/// What of the neighbours' keys goes into the masks.
fn hash_of(near: &Neighbourhood) -> Digest {
    let part = |key: &NeighbourKey| {
        [
            &key.index.to_le_bytes()[..],
            &key.nonce,
            key.e_pk.as_bytes(),
        ]
        .concat()
    };
    Digest::of_bulk(&near.keys.iter().flat_map(part).collect::<Vec<u8>>())
}

impl SessionPhase {
    fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Committed { .. } => "committed",
            Self::Submitting => "submitting",
            Self::Received { .. } => "received",
            Self::SatOut { .. } => "sitting out",
            Self::Out => "without this site",
            Self::Over => "over",
        }
    }
}
