//! When a site refuses, and the name of the rule. The coordinator proposes; this decides, and it cannot be overridden from outside.
//!
//! Source: protocol, section 15.

use std::collections::BTreeSet;

use veilsum_common::run::RunSpec;
use veilsum_secagg::context::Roster;
use veilsum_secagg::keys::{MemberId, members_hash};
use veilsum_secagg::{Bitmap, Digest};

/// Where trust in the peers' identity keys comes from. Without it a site joins no epoch: transport certificates come from the
/// coordinator's own authority and say nothing about who the peers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerTrust {
    /// Nothing is pinned.
    None,
    /// Exactly these ids are the members (protocol, section 15: in silo the exact approved list).
    Ids(BTreeSet<MemberId>),
    /// A person approved the roster with this hash of its sorted ids.
    Roster(Digest),
}

impl PeerTrust {
    /// Whether `id` is pinned; `None` where a whole roster is, or nothing, so that one id cannot be judged by itself.
    pub fn pins(&self, id: &MemberId) -> Option<bool> {
        match self {
            Self::Ids(ids) => Some(ids.contains(id)),
            Self::Roster(_) | Self::None => None,
        }
    }
}

/// Which runs a site takes part in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// All that the rest of the policy allows.
    All,
    /// Those whose study has one of these digests.
    Studies(BTreeSet<Digest>),
}

/// A site's own rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which runs.
    pub approve: Approval,
    /// Which peers.
    pub peers: PeerTrust,
    /// Smallest cohort this site contributes to.
    pub min_cohort: u32,
    /// Fewest bits of a quantised value.
    pub bits_min: u8,
    /// Largest update, bytes of f32.
    pub max_update_bytes: u64,
    /// Metrics that may enter the masked sum; `None` allows what the study declares.
    pub metrics: Option<BTreeSet<String>>,
}

/// A rule of the site's policy refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The study is not approved.
    #[error(
        "study {digest} is not in approve.studies of site.toml; add it there, or set approve.mode = \"all\""
    )]
    Study {
        /// Digest of the study.
        digest: Digest,
    },
    /// Nothing is pinned.
    #[error(
        "no peers are pinned: name their ids under peers.ids in site.toml, or the approved roster under peers.roster"
    )]
    NoPeers,
    /// The run's smallest cohort is below the site's.
    #[error(
        "the run allows a cohort of {have}, this site's policy.min_cohort is {need}; with fewer sites a sum says more about each"
    )]
    RunCohort {
        /// The run's.
        have: u32,
        /// The site's.
        need: u32,
    },
    /// The cohort is below the site's smallest.
    #[error(
        "the cohort has {have} sites, this site's policy.min_cohort is {need}; nothing was sent"
    )]
    Cohort {
        /// Its size.
        have: u32,
        /// The site's smallest.
        need: u32,
    },
    /// The run quantises to fewer bits than the site allows.
    #[error("the run quantises to {have} bits, this site's policy.bits_min is {need}")]
    Bits {
        /// The run's.
        have: u8,
        /// The site's.
        need: u8,
    },
    /// The update would be larger than the site allows.
    #[error(
        "the run's update takes {have_bytes} bytes, this site's policy.max_update allows {limit_bytes}"
    )]
    Update {
        /// The run's.
        have_bytes: u64,
        /// The site's.
        limit_bytes: u64,
    },
    /// A metric the site does not allow.
    #[error(
        "the run asks for the metric \"{name}\", which policy.metrics of site.toml does not list"
    )]
    Metric {
        /// Its name.
        name: String,
    },
    /// A member that is not pinned.
    #[error("member {id} of the roster is not in peers.ids of site.toml; nothing was signed")]
    Peer {
        /// Its id.
        id: MemberId,
    },
    /// A pinned member that was left out: a coordinator that leaves honest sites out until the others dominate must not succeed.
    #[error(
        "member {id} of peers.ids in site.toml is not in the roster; start that site, or take it off the list at every site. Nothing was signed"
    )]
    Missing {
        /// Its id.
        id: MemberId,
    },
    /// Another roster than the approved one.
    #[error(
        "the roster's members hash to {have}, peers.roster of site.toml approves {want}; nothing was signed"
    )]
    Roster {
        /// What was offered.
        have: Digest,
        /// What was approved.
        want: Digest,
    },
}

impl Refusal {
    /// The stable name of the rule.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Study { .. } => "SITE_POLICY_STUDY",
            Self::NoPeers => "SITE_POLICY_NO_PEERS",
            Self::RunCohort { .. } | Self::Cohort { .. } => "SITE_POLICY_MIN_COHORT",
            Self::Bits { .. } => "SITE_POLICY_BITS_MIN",
            Self::Update { .. } => "SITE_POLICY_MAX_UPDATE",
            Self::Metric { .. } => "SITE_POLICY_METRICS",
            Self::Peer { .. } | Self::Missing { .. } => "SITE_POLICY_PEERS",
            Self::Roster { .. } => "SITE_POLICY_ROSTER",
        }
    }
}

impl Policy {
    /// Whether this site takes part in a run.
    ///
    /// # Errors
    /// The first rule that refuses.
    pub fn accepts_run(&self, spec: &RunSpec) -> Result<(), Refusal> {
        if self.peers == PeerTrust::None {
            return Err(Refusal::NoPeers);
        }
        let digest = spec.study().digest();
        if let Approval::Studies(studies) = &self.approve
            && !studies.contains(&digest)
        {
            return Err(Refusal::Study { digest });
        }
        let config = spec.params().config();
        if config.min_cohort < self.min_cohort {
            return Err(Refusal::RunCohort {
                have: config.min_cohort,
                need: self.min_cohort,
            });
        }
        if config.v < self.bits_min {
            return Err(Refusal::Bits {
                have: config.v,
                need: self.bits_min,
            });
        }
        let have_bytes = config.elements.saturating_mul(4);
        if have_bytes > self.max_update_bytes {
            return Err(Refusal::Update {
                have_bytes,
                limit_bytes: self.max_update_bytes,
            });
        }
        let forbidden = |name: &String| {
            self.metrics
                .as_ref()
                .is_some_and(|allowed| !allowed.contains(name))
        };
        match spec
            .metadata()
            .metrics()
            .map(|metric| &metric.name)
            .find(|name| forbidden(name))
        {
            Some(name) => Err(Refusal::Metric { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Whether the members of a roster are the peers this site trusts.
    ///
    /// # Errors
    /// The first member that is not, or the roster that was not approved.
    pub fn accepts_roster(&self, roster: &Roster) -> Result<(), Refusal> {
        let (have, need) = (roster.len(), self.min_cohort);
        if have < need {
            return Err(Refusal::Cohort { have, need });
        }
        let ids = || roster.members().iter().map(|member| member.id);
        match &self.peers {
            PeerTrust::None => Err(Refusal::NoPeers),
            PeerTrust::Ids(pinned) => match ids().find(|id| !pinned.contains(id)) {
                Some(id) => Err(Refusal::Peer { id }),
                None => match pinned.iter().find(|id| roster.index_of(id).is_none()) {
                    Some(id) => Err(Refusal::Missing { id: *id }),
                    None => Ok(()),
                },
            },
            PeerTrust::Roster(want) => {
                let have = members_hash(ids());
                if have == *want {
                    Ok(())
                } else {
                    Err(Refusal::Roster { have, want: *want })
                }
            }
        }
    }

    /// Whether this site contributes to a cohort.
    ///
    /// # Errors
    /// [`Refusal::Cohort`].
    pub fn accepts_cohort(&self, members: &Bitmap) -> Result<(), Refusal> {
        let (have, need) = (members.count(), self.min_cohort);
        if have < need {
            Err(Refusal::Cohort { have, need })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
