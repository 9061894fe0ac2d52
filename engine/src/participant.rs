//! Participant: everything one site has done and promised in one run, as one machine.
//!
//! It joins three parts that one transaction must see together: the ledger ([`crate::ledger`]), the site's own contribution to the
//! current attempt ([`session`]) and its duty to others ([`holder`]). Secrets live in the [`Vault`]; events carry none. What is
//! fetched again after a crash (opened shares, a proposal under judgement, a result on the coordinator's word alone) is a cache, never an
//! event.
//!
//! **How to drive it.** For each event: [`Machine::admit`], [`Participant::secrets`], append the entry and the changes of the vault in
//! one transaction, [`Participant::apply`], [`Machine::handle`], then every output at once. The order matters: what `handle` asks for
//! depends on what the vault holds. After a start: the vault as it was stored, every entry handled, outputs thrown away,
//! [`Machine::resume`].
//!
//! What it deliberately leaves to the edge: calls and their repetition, the trainer and the update file, certificates behind identity
//! keys, the rollback marker. Source: protocol, sections 12 to 15 (13 is normative).

mod chain;
mod enrolment;
pub mod holder;
mod missed;
pub mod session;

use std::collections::VecDeque;
use std::sync::Arc;

use veilsum_common::blob::BlobRef;
use veilsum_common::run::RunSpec;
use veilsum_common::time::Timestamp;
use veilsum_secagg::context::{Attempt, Roster};
use veilsum_secagg::holder::{OpenedShares, Verdict};
use veilsum_secagg::keys::{Identity, Seed, Signature, VerifyKey};
use veilsum_secagg::message::{
    AbortAttestation, Advertisement, Announcement, Attestation, Cohort, Receipt,
    RosterConfirmation, RoundResult, SurvivorProposal, UnmaskList, UploadTrailer,
};
use veilsum_secagg::params::Params;
use veilsum_secagg::participant::Binding;
use veilsum_secagg::{Certificate, Culprit, Digest, Error};

use crate::ledger::{LastResult, Ledger};
use crate::machine::Machine;
use crate::policy::Policy;
use crate::rejection::Rejection;
use crate::round::Decline;
use crate::vault::{Name, Place, SecretOp, Vault};
use holder::HolderPhase;
use missed::Missed;
use session::SessionPhase;

/// What a trainer made, checked and pinned: the site's one contribution to a model (P0). Printed without its numbers.
#[derive(Clone, PartialEq, Eq)]
pub struct Contribution {
    /// Round it was made for.
    pub round: u64,
    /// Model it was trained on.
    pub model_hash: Digest,
    /// Configuration it was trained with.
    pub roundcfg_hash: Digest,
    /// The update file.
    pub update: BlobRef,
    /// Integer weight.
    pub weight: u64,
    /// Metadata lanes in clear; they leave only inside the mask.
    pub metadata: Vec<u64>,
}

impl core::fmt::Debug for Contribution {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            round,
            model_hash,
            roundcfg_hash,
            update,
            weight: _,
            metadata,
        } = self;
        f.debug_struct("Contribution")
            .field("round", round)
            .field("model_hash", model_hash)
            .field("roundcfg_hash", roundcfg_hash)
            .field("update", update)
            .field("weight", &"<redacted>")
            .field("metadata", &format_args!("<{} lanes>", metadata.len()))
            .finish()
    }
}

/// What happens at a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The site advertises keys for an epoch. Fresh: the epoch's seed.
    Joined {
        /// The epoch.
        epoch: u64,
        /// The organisation's word on its identity key.
        binding: Box<Binding>,
    },
    /// The site accepts the epoch's roster. Advertisements in roster order, certificates checked and dropped.
    Enrolled {
        /// The members' advertisements.
        advertisements: Vec<Advertisement>,
    },
    /// The roster is certified.
    RosterCertified(Certificate),
    /// An announcement is accepted.
    Opened {
        /// The announcement.
        announcement: Box<Announcement>,
        /// The coordinator's signature.
        signature: Signature,
        /// Configuration for the trainer.
        round_config: Vec<u8>,
        /// Proofs that earlier attempts are dead.
        proofs: Vec<Certificate>,
    },
    /// An update is pinned (P0). Fresh: the source of its rounding.
    Trained(Box<Contribution>),
    /// A step of the attempt with this announcement hash.
    Attempt {
        /// Hash of the announcement.
        ann_hash: Digest,
        /// The step.
        step: Box<Step>,
    },
    /// An abort is proposed for this announcement, which may be new to this site (H2).
    AbortProposed {
        /// The announcement.
        announcement: Box<Announcement>,
        /// The coordinator's signature.
        signature: Signature,
    },
    /// This site's operator consents to one more sum over the update that is spent (R4).
    Consented {
        /// The model it was made for.
        model_hash: Digest,
    },
    /// The coordinator published a result.
    Finished {
        /// Epoch and attempt.
        place: Place,
        /// The result.
        result: Box<RoundResult>,
        /// The holders' word on whose updates are in it.
        certificate: Certificate,
        /// The coordinator's signature.
        signature: Signature,
    },
}

/// What happens in one attempt at a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The site sits it out, and may say so.
    SatOut(Decline),
    /// A Commit may leave (P1). Fresh: the attempt's seed.
    Committed,
    /// The Commit, or the word that the site sits out, was answered.
    Answered,
    /// The cohort is known.
    CohortSeen {
        /// The cohort.
        cohort: Cohort,
        /// The coordinator's signature.
        signature: Signature,
    },
    /// The first masked byte may leave (P2).
    Submitting,
    /// The upload is durable at the coordinator (P3).
    Received {
        /// The receipt.
        receipt: Receipt,
        /// The coordinator's signature.
        signature: Signature,
        /// What the receipt's hash is made of; none in entries of versions that did not keep it.
        parts: Option<UploadParts>,
    },
    /// The site signs one survivor set (H1).
    Attested(Verdict),
    /// Its shares may leave (H2).
    Released(Certificate),
    /// The coordinator has them.
    Delivered,
    /// The attempt expired.
    Expired,
}

/// What the hash of an upload is made of besides its context: with it the site can show that a receipt is for its own upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadParts {
    /// Root over the masked chunks.
    pub chunk_root: Digest,
    /// BLAKE3 of the masked metadata.
    pub metadata_hash: Digest,
}

impl UploadParts {
    /// Of the trailer that ends the upload.
    pub fn of(trailer: &UploadTrailer) -> Self {
        Self {
            chunk_root: trailer.chunk_root,
            metadata_hash: Digest::of_bulk(&trailer.metadata),
        }
    }
}

/// What a site asks of the world.
#[derive(Debug)]
pub enum Output {
    /// Send the advertisement.
    Join(Box<Advertisement>),
    /// Confirm the roster.
    Confirm(RosterConfirmation),
    /// Fetch the model, run the trainer, pin what it wrote.
    Train(Arc<Attempt>),
    /// Journal [`Step::Committed`] if it is not, then send [`Participant::commit`].
    Commit(Arc<Attempt>),
    /// Fetch the neighbours' keys, call [`Participant::masking`], journal [`Step::Submitting`] if it is not, upload.
    Upload(Arc<Attempt>),
    /// Fetch the share items and call [`Participant::open_shares`].
    OpenShares(Arc<Attempt>),
    /// Fetch what these dealers signed, call [`Participant::wrong_share`] with each, keep what it proves.
    Accuse(Arc<Attempt>, Vec<u32>),
    /// Fetch the survivors' signatures, call [`Participant::judge`], journal [`Step::Attested`].
    Judge(Arc<Attempt>, SurvivorProposal),
    /// Say that the site sits this attempt out; when that is answered journal [`Step::Answered`].
    Decline(Digest, Decline),
    /// Send this attestation of the attempt with this announcement hash.
    Attest(Digest, Box<Attestation>),
    /// Send this list; when it is acknowledged journal [`Step::Delivered`].
    Unmask(Digest, Box<UnmaskList>),
    /// Send this abort.
    Abort(AbortAttestation),
    /// This update file is not needed any more.
    Forget(BlobRef),
}

/// What a site is before anything happens: given by its configuration and the run.
pub struct Setting {
    /// The run, accepted by the policy.
    pub spec: Arc<RunSpec>,
    /// The site's protocol identity.
    pub identity: Arc<Identity>,
    /// The site's rules.
    pub policy: Policy,
}

/// Where the site stands in the set-up of its epoch.
enum EpochPhase {
    None,
    Joined {
        epoch: u64,
        binding: Box<Binding>,
    },
    Enrolled {
        roster: Arc<Roster>,
        certified: bool,
    },
}

/// The attempt the site is in.
pub(crate) struct Current {
    attempt: Arc<Attempt>,
    round_config: Vec<u8>,
    cohort: Option<Cohort>,
    session: SessionPhase,
    holder: HolderPhase,
}

/// The machine of one site in one run.
pub struct Participant {
    setting: Setting,
    params: Arc<Params>,
    coordinator: VerifyKey,
    vault: Vault,
    epoch: EpochPhase,
    ledger: Ledger,
    contribution: Option<Contribution>,
    /// An update file that has served, until the next one is pinned.
    served: Option<BlobRef>,
    current: Option<Current>,
    opened: Option<OpenedShares>,
    proposal: Option<SurvivorProposal>,
    abort: Option<AbortAttestation>,
    missed: Option<Missed>,
    /// Epochs joined in a row that came to no certified roster.
    idle_epochs: u32,
    /// Hash of the neighbours' keys that are about to be masked with.
    near: Option<Digest>,
    outputs: VecDeque<Output>,
}

impl Participant {
    /// A site that has done nothing in this run yet; `vault` is what its store keeps.
    ///
    /// # Errors
    /// [`Rejection::Policy`] if the site's rules refuse the run; a parameter error if its coordinator key is not one.
    pub fn new(setting: Setting, vault: Vault) -> Result<Self, Rejection> {
        setting.policy.accepts_run(&setting.spec)?;
        let coordinator = setting.spec.params().coordinator().map_err(Error::Params)?;
        let params = Arc::new(setting.spec.params().clone());
        Ok(Self {
            setting,
            params,
            coordinator,
            vault,
            epoch: EpochPhase::None,
            ledger: Ledger::default(),
            contribution: None,
            served: None,
            current: None,
            opened: None,
            proposal: None,
            abort: None,
            missed: None,
            idle_epochs: 0,
            near: None,
            outputs: VecDeque::new(),
        })
    }

    /// The run.
    pub fn spec(&self) -> &Arc<RunSpec> {
        &self.setting.spec
    }

    /// The coordinator's key of the run.
    pub fn coordinator(&self) -> &VerifyKey {
        &self.coordinator
    }

    /// The site's identity.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.setting.identity
    }

    /// The roster the site is in, once it accepted one.
    pub fn roster(&self) -> Option<&Arc<Roster>> {
        match &self.epoch {
            EpochPhase::Enrolled { roster, .. } => Some(roster),
            EpochPhase::None | EpochPhase::Joined { .. } => None,
        }
    }

    /// The epoch the site advertised for or is in; 0 before the first.
    pub fn epoch(&self) -> u64 {
        match &self.epoch {
            EpochPhase::None => 0,
            EpochPhase::Joined { epoch, .. } => *epoch,
            EpochPhase::Enrolled { roster, .. } => roster.epoch(),
        }
    }

    /// What the site has promised.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The last result the site knows of.
    pub fn last_result(&self) -> Option<&LastResult> {
        self.ledger.last.as_ref()
    }

    /// The attempt the site is in.
    pub fn attempt(&self) -> Option<&Arc<Attempt>> {
        self.current.as_ref().map(|current| &current.attempt)
    }

    /// The attempt the site is in, unless that is over: then its keys are erased, and nobody waits for anything of it.
    pub fn open_attempt(&self) -> Option<&Arc<Attempt>> {
        self.open().map(|current| &current.attempt)
    }

    fn open(&self) -> Option<&Current> {
        let current = self.current.as_ref();
        current.filter(|current| current.session != SessionPhase::Over)
    }

    /// Configuration bytes of the attempt the site is in.
    pub fn round_config(&self) -> Option<&[u8]> {
        self.current
            .as_ref()
            .map(|current| current.round_config.as_slice())
    }

    /// The pinned contribution.
    pub fn contribution(&self) -> Option<&Contribution> {
        self.contribution.as_ref()
    }

    /// Source of the contribution's rounding.
    pub fn rounding(&self) -> Option<Seed> {
        self.vault
            .seed(Name::Rounding(self.contribution.as_ref()?.model_hash))
    }

    /// What must become durable with `event` in the vault. Called after [`Machine::admit`], before the entry is appended; `fresh` is
    /// drawn from the operating system for events that need it.
    ///
    /// # Errors
    /// A protocol error if keys cannot be derived, or [`Error::Stored`] if a secret the event needs is gone.
    pub fn secrets(&self, event: &Event, fresh: &Seed) -> Result<Vec<SecretOp>, Rejection> {
        match event {
            Event::Joined { epoch, .. } => {
                let mut ops: Vec<SecretOp> = self.vault.end_epochs_but(*epoch).collect();
                ops.push(SecretOp::put(Name::EpochSeed(*epoch), fresh.expose()));
                Ok(ops)
            }
            Event::Enrolled { advertisements } => self.enrol_secrets(advertisements),
            Event::Opened { announcement, .. } => self.open_secrets(announcement),
            Event::Trained(contribution) => {
                let mut ops = self.end_rounding();
                let name = Name::Rounding(contribution.model_hash);
                ops.push(SecretOp::put(name, fresh.expose()));
                Ok(ops)
            }
            Event::Attempt { step, .. } => self.step_secrets(step, fresh),
            Event::AbortProposed { announcement, .. } => {
                Ok(erase_attempt((self.epoch(), announcement.seq)))
            }
            Event::Finished { .. } => Ok(self.finish_secrets()),
            Event::RosterCertified(_) | Event::Consented { .. } => Ok(Vec::new()),
        }
    }

    /// Applies vault changes that are durable, before [`Machine::handle`] takes in the event they belong to.
    pub fn apply(&mut self, ops: Vec<SecretOp>) {
        self.vault.apply(ops);
    }

    /// Index of this site in its roster.
    fn me(&self, roster: &Roster) -> Result<u32, Rejection> {
        roster
            .index_of(&self.setting.identity.public().id())
            .ok_or(Rejection::NotAMember("roster"))
    }
}

impl Current {
    fn place(&self) -> Place {
        (
            self.attempt.roster().epoch(),
            self.attempt.announcement().seq,
        )
    }
}

/// Every secret of an attempt goes.
fn erase_attempt(place: Place) -> Vec<SecretOp> {
    [
        Name::AttemptSeed(place),
        Name::Outbound(place),
        Name::Inbound(place),
        Name::OwnShares(place),
        Name::Near(place),
    ]
    .map(SecretOp::erase)
    .into()
}

/// Whether a rejection is the coordinator's provable or suspected fault, to be logged loudly.
pub fn accuses_coordinator(rejection: &Rejection) -> bool {
    matches!(rejection, Rejection::Protocol(error) if error.culprits() == Some(Culprit::Coordinator))
}

/// What a site answers when it refuses to take part in an announced attempt, so that nobody waits for it; `None` where it owes no
/// answer.
pub fn answer_to(rejection: &Rejection) -> Option<Decline> {
    match rejection {
        Rejection::RetryUnproven { .. }
        | Rejection::RoundLost { .. }
        | Rejection::Spent { .. }
        | Rejection::Unchanged { .. } => Some(Decline::Spent),
        Rejection::Policy(_) | Rejection::Deadline { .. } => Some(Decline::Policy),
        Rejection::Repeated
        | Rejection::Conflict(_)
        | Rejection::OutOfPhase { .. }
        | Rejection::Elsewhere(_)
        | Rejection::NotAMember(_)
        | Rejection::Stale { .. }
        | Rejection::NothingSpent
        | Rejection::Protocol(_) => None,
    }
}

impl Machine for Participant {
    type Event = Event;
    type Output = Output;

    fn admit(&self, at: Timestamp, event: &Event) -> Result<(), Rejection> {
        match event {
            Event::Joined { epoch, .. } => self.admit_joined(*epoch),
            Event::Enrolled { advertisements } => self.admit_enrolled(advertisements),
            Event::RosterCertified(certificate) => self.admit_certificate(certificate),
            Event::Opened { .. } => self.check_opened(at, event, &self.ledger),
            Event::Trained(contribution) => self.admit_trained(contribution),
            Event::Attempt { ann_hash, step } => self.admit_step(*ann_hash, step),
            Event::AbortProposed {
                announcement,
                signature,
            } => self.admit_abort(announcement, signature),
            Event::Consented { model_hash } => self.ledger.check_consent(*model_hash),
            Event::Finished {
                place,
                result,
                certificate,
                signature,
            } => self.admit_finished(*place, result, certificate, signature),
        }
    }

    fn handle(&mut self, _at: Timestamp, event: Event) -> Result<(), Rejection> {
        // One writer appends here, after its own `admit`: nothing can come between, so nothing is checked twice.
        match event {
            Event::Joined { epoch, binding } => {
                self.idle_epochs = self.idle_epochs.saturating_add(1);
                self.epoch = EpochPhase::Joined { epoch, binding };
                self.join();
                Ok(())
            }
            Event::Enrolled { advertisements } => self.enrol(&advertisements),
            Event::RosterCertified(_) => {
                if let EpochPhase::Enrolled { certified, .. } = &mut self.epoch {
                    *certified = true;
                    self.idle_epochs = 0;
                }
                Ok(())
            }
            Event::Opened {
                announcement,
                round_config,
                ..
            } => self.accept_opened(*announcement, round_config),
            Event::Trained(contribution) => {
                self.accept_trained(*contribution);
                Ok(())
            }
            Event::Attempt { ann_hash, step } => self.accept_step(ann_hash, *step),
            Event::AbortProposed { announcement, .. } => self.accept_abort(*announcement),
            Event::Consented { .. } => {
                self.ledger.consent();
                Ok(())
            }
            Event::Finished { place, result, .. } => {
                self.accept_finished(place, &result);
                Ok(())
            }
        }
    }

    fn due(&self, at: Timestamp) -> Option<Event> {
        let expired = self.deadline().is_some_and(|expires| at >= expires);
        let attempt = self.open_attempt().filter(|_| expired)?;
        Some(Event::Attempt {
            ann_hash: attempt.hash(),
            step: Box::new(Step::Expired),
        })
    }

    fn deadline(&self) -> Option<Timestamp> {
        let attempt = self.open_attempt()?;
        Some(Timestamp(attempt.announcement().expires_ms))
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn resume(&mut self) {
        self.outputs.clear();
        self.join();
        self.confirm();
        self.ask_session();
        self.ask_holder();
        self.outputs.extend(self.abort.map(Output::Abort));
        self.outputs.extend(self.served.map(Output::Forget));
    }
}
