//! Fault evidence: proofs that convince a third party, offline, that one party lied. Each is verified from signed bytes alone.
//!
//! [`equivocation`] holds what the coordinator may say only once, [`omission`] an upload it acknowledged and left out, [`promises`] what
//! a member may sign only once, [`dealing`] shares that are not the committed ones. Every proof rests on the culprit's own signatures,
//! which bind announcement, epoch and run, so nobody else can make one; and it shows what no honest party ever signs, so none of them
//! is convicted. A complaint is no proof and is not here: a ciphertext that does not open is word against word. How a proof is
//! written down, kept and shown is for others; whether the key in it is whose it is said to be, only who reads it can say. Source:
//! protocol, sections 6.1, 11.3 and 28.

pub mod dealing;
pub mod equivocation;
pub mod omission;
pub mod promises;
pub mod release;

use std::sync::Arc;

use crate::codec::Digest;
use crate::context::{self, Attempt, Member, Roster};
use crate::error::Error;
use crate::keys::{Signature, VerifyKey};
use crate::message::{Announcement, Cohort};
use crate::params::Params;
use dealing::{InconsistentDealing, WrongScalar, WrongShare};
use equivocation::{TwoAnnouncements, TwoCohorts, TwoResults, TwoSurvivorSets};
use omission::OmittedSurvivor;
use promises::{TwoAttestations, TwoContexts, TwoRosters};

/// A proof against one party.
pub enum Evidence {
    /// The coordinator announced two things as one attempt, or two rosters as one epoch.
    TwoAnnouncements(TwoAnnouncements),
    /// The coordinator closed the cohort of one attempt twice.
    TwoCohorts(TwoCohorts),
    /// The coordinator named two survivor sets in one attempt.
    TwoSurvivorSets(TwoSurvivorSets),
    /// The coordinator signed two results of one attempt.
    TwoResults(TwoResults),
    /// The coordinator acknowledged an upload in time and left it out.
    OmittedSurvivor(OmittedSurvivor),
    /// A member confirmed two rosters of one epoch.
    TwoRosters(TwoRosters),
    /// A holder attested two survivor sets of one attempt.
    TwoAttestations(TwoAttestations),
    /// A member signed uploads under two cohorts of one attempt.
    TwoContexts(TwoContexts),
    /// A dealer sealed a share that is not the one it committed to.
    WrongShare(WrongShare),
    /// A holder released a scalar that is not the committed one.
    WrongScalar(WrongScalar),
    /// A dealer's committed shares do not give its committed secret.
    InconsistentDealing(InconsistentDealing),
}

/// Who is accused, by its key: an index means nothing outside its epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CulpritKey {
    /// The coordinator that the run's configuration names.
    Coordinator(VerifyKey),
    /// A member of the epoch's roster; its id is the hash of this key.
    Member(VerifyKey),
}

/// Evidence that holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conviction {
    /// Who.
    pub culprit: CulpritKey,
    /// The run it was in: its id, which people know it by, and the hash of its whole configuration.
    pub run_id: [u8; 16],
    /// See `run_id`.
    pub run_hash: Digest,
    /// The key of the run's coordinator, whoever is convicted.
    pub coordinator_pk: [u8; 32],
    /// The epoch.
    pub epoch: u64,
    /// Round and attempt number; none when the fault is about the whole epoch.
    pub attempt: Option<(u64, u64)>,
}

/// Why evidence convicts nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unproved {
    /// A signature is not the accused's.
    #[error("the signature over the {0} is not the accused's")]
    Signature(&'static str),
    /// Both statements say the same.
    #[error("both {0} say the same, which anybody may do")]
    Same(&'static str),
    /// The statements are about different things.
    #[error("the two {0} are about different things, and an honest party may sign both")]
    Unrelated(&'static str),
    /// A part belongs to another context than the rest.
    #[error("the {0} belongs to another context than the rest")]
    Foreign(&'static str),
    /// Nobody is there whom it could convict.
    #[error("the accused is not in the {0}")]
    Absent(&'static str),
    /// What is shown is what was committed to.
    #[error("the {0} is the committed one")]
    Committed(&'static str),
    /// The revealed key opens nothing.
    #[error("the ciphertext does not open under the revealed key: word against word")]
    Unopened,
    /// The coordinator acknowledged the upload after its own deadline.
    #[error("the upload was acknowledged {late_ms} ms after the report deadline")]
    Late {
        /// How much later.
        late_ms: u64,
    },
    /// The survivor set has the member it is said to leave out.
    #[error("the survivor set counts the upload")]
    Counted,
    /// The degree rule drops the member.
    #[error("the survivor set leaves it too few neighbours, so it may be dropped")]
    Degree,
    /// Not exactly t shares of distinct holders.
    #[error("{have} shares of different holders, the threshold is {need}")]
    Shares {
        /// Distinct positions.
        have: usize,
        /// t.
        need: usize,
    },
}

impl Evidence {
    /// Its name, for files and programs; never changes.
    pub fn word(&self) -> &'static str {
        match self {
            Self::TwoAnnouncements(_) => "two-announcements",
            Self::TwoCohorts(_) => "two-cohorts",
            Self::TwoSurvivorSets(_) => "two-survivor-sets",
            Self::TwoResults(_) => "two-results",
            Self::OmittedSurvivor(_) => "omitted-survivor",
            Self::TwoRosters(_) => "two-rosters",
            Self::TwoAttestations(_) => "two-attestations",
            Self::TwoContexts(_) => "two-contexts",
            Self::WrongShare(_) => "wrong-share",
            Self::WrongScalar(_) => "wrong-scalar",
            Self::InconsistentDealing(_) => "inconsistent-dealing",
        }
    }

    /// Whom it accuses, rightly or not; `None` if there is nobody under that name.
    pub fn culprit(&self) -> Option<CulpritKey> {
        let member = |attempt: &Attempt, index| Some(attempt.roster().member(index)?.id_pk);
        let holder = |attempt: &Attempt, position| attempt.holder_key(position);
        let member_key = match self {
            Self::TwoAnnouncements(proof) => return coordinator(&proof.announced[0].0.params),
            Self::TwoCohorts(proof) => return coordinator(&proof.attempt.params),
            Self::TwoSurvivorSets(proof) => return coordinator(&proof.attempt.params),
            Self::TwoResults(proof) => return coordinator(&proof.attempt.params),
            Self::OmittedSurvivor(proof) => return coordinator(proof.attempt.params()),
            Self::TwoRosters(proof) => Some(proof.member),
            Self::TwoAttestations(proof) => holder(&proof.attempt, proof.position),
            Self::TwoContexts(proof) => member(&proof.attempt, proof.member),
            Self::WrongShare(proof) => member(&proof.attempt, proof.dealer),
            Self::WrongScalar(proof) => holder(&proof.attempt, proof.list.position),
            Self::InconsistentDealing(proof) => member(&proof.attempt, proof.dealer),
        };
        member_key.map(CulpritKey::Member)
    }

    /// Checks everything, from nothing but what it holds.
    ///
    /// # Errors
    /// [`Unproved`]: the first reason why it convicts nobody. That says nothing against the accused, nor for it.
    pub fn verify(&self) -> Result<Conviction, Unproved> {
        match self {
            Self::TwoAnnouncements(proof) => proof.verify(),
            Self::TwoCohorts(proof) => proof.verify(),
            Self::TwoSurvivorSets(proof) => proof.verify(),
            Self::TwoResults(proof) => proof.verify(),
            Self::OmittedSurvivor(proof) => proof.verify(),
            Self::TwoRosters(proof) => proof.verify(),
            Self::TwoAttestations(proof) => proof.verify(),
            Self::TwoContexts(proof) => proof.verify(),
            Self::WrongShare(proof) => proof.verify(),
            Self::WrongScalar(proof) => proof.verify(),
            Self::InconsistentDealing(proof) => proof.verify(),
        }?;
        let culprit = self.culprit().ok_or(Unproved::Absent("roster"))?;
        Ok(self.about(culprit))
    }

    fn about(&self, culprit: CulpritKey) -> Conviction {
        let (params, epoch, announcement) = match self {
            Self::TwoAnnouncements(proof) => proof.about(),
            Self::TwoCohorts(proof) => proof.attempt.about(),
            Self::TwoSurvivorSets(proof) => proof.attempt.about(),
            Self::TwoResults(proof) => proof.attempt.about(),
            Self::OmittedSurvivor(proof) => about(&proof.attempt),
            Self::TwoRosters(proof) => {
                let roster = &proof.confirmed[0].0;
                (&**roster.params(), roster.epoch(), None)
            }
            Self::TwoAttestations(proof) => about(&proof.attempt),
            Self::TwoContexts(proof) => about(&proof.attempt),
            Self::WrongShare(proof) => about(&proof.attempt),
            Self::WrongScalar(proof) => about(&proof.attempt),
            Self::InconsistentDealing(proof) => about(&proof.attempt),
        };
        Conviction {
            culprit,
            run_id: params.config().run_id,
            run_hash: params.run_hash(),
            coordinator_pk: params.config().coordinator_pk,
            epoch,
            attempt: announcement.map(|said| (said.round, said.seq)),
        }
    }
}

/// Run, epoch and, unless it is about the epoch as a whole, the attempt.
type About<'a> = (&'a Params, u64, Option<&'a Announcement>);

fn about(attempt: &Attempt) -> About<'_> {
    let epoch = attempt.roster().epoch();
    (attempt.params(), epoch, Some(attempt.announcement()))
}

fn coordinator(params: &Params) -> Option<CulpritKey> {
    params.coordinator().ok().map(CulpritKey::Coordinator)
}

/// A statement and the signature that makes it its author's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signed<T> {
    /// What is signed.
    pub value: T,
    /// By whom, only a key can say.
    pub signature: Signature,
}

/// One attempt by its hashes alone: enough to hold the coordinator to what it signed, and no member is named.
#[derive(Clone, PartialEq, Debug)]
pub struct NamedAttempt {
    /// The run, and with it the coordinator's key.
    pub params: Arc<Params>,
    /// The epoch.
    pub epoch: u64,
    /// n.
    pub members: u32,
    /// Root over the roster's entries.
    pub roster_root: Digest,
    /// What was announced.
    pub announcement: Announcement,
}

impl NamedAttempt {
    /// The names of `attempt`.
    pub fn of(attempt: &Attempt) -> Self {
        let roster = attempt.roster();
        Self {
            params: Arc::clone(roster.params()),
            epoch: roster.epoch(),
            members: roster.len(),
            roster_root: roster.root(),
            announcement: attempt.announcement().clone(),
        }
    }

    /// Its `ann_hash`, which leads back to this run and epoch.
    ///
    /// # Errors
    /// [`Unproved::Foreign`] if the announcement is for another epoch.
    fn ann_hash(&self) -> Result<Digest, Unproved> {
        let epoch_ctx =
            context::epoch_ctx(&self.params, self.epoch, self.members, &self.roster_root);
        if self.announcement.epoch_ctx == epoch_ctx {
            Ok(self.announcement.hash())
        } else {
            Err(Unproved::Foreign("announcement"))
        }
    }

    fn coordinator(&self) -> Result<VerifyKey, Unproved> {
        self.params
            .coordinator()
            .map_err(|_| Unproved::Absent("run configuration"))
    }

    fn about(&self) -> About<'_> {
        (&self.params, self.epoch, Some(&self.announcement))
    }
}

/// The roster that has these entries: what a proof says, for the accused's signature to bear out. Ids are computed from the keys.
///
/// # Errors
/// As [`Roster::new`], but that no advertisement is asked for. For an honest member's signature over such a roster none is needed: it
/// signs no other one.
pub fn stated_roster(
    params: Arc<Params>,
    epoch: u64,
    mut members: Vec<Member>,
) -> Result<Roster, Error> {
    for member in &mut members {
        member.id = member.id_pk.id();
    }
    Roster::stated(params, epoch, members)
}

/// Whether `cohort` is one of the attempt with this announcement.
fn check_cohort(ann_hash: Digest, cohort: &Cohort) -> Result<(), Unproved> {
    if cohort.ann_hash == ann_hash {
        Ok(())
    } else {
        Err(Unproved::Foreign("cohort"))
    }
}

fn different<T: PartialEq>(what: &'static str, first: &T, second: &T) -> Result<(), Unproved> {
    if first == second {
        Err(Unproved::Same(what))
    } else {
        Ok(())
    }
}
