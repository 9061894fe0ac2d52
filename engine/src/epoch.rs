//! Epoch: advertisements → roster → roster certificate.
//!
//! The roster is fixed once, by a journalled decision, before anybody can be shown it. Whether a site's organisation stands behind its
//! key is checked by the edge before the event, and by every member for itself. Source: protocol, section 6.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use veilsum_common::ids::SiteName;
use veilsum_common::time::Timestamp;
use veilsum_secagg::context::Roster;
use veilsum_secagg::keys::{MemberId, Signature};
use veilsum_secagg::message::{Advertisement, RosterConfirmation};
use veilsum_secagg::{Certificate, Fault};

use crate::machine::Machine;
use crate::rejection::{Abort, Rejection};
use crate::terms::Terms;

/// What happens in an epoch's set-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A site advertised its keys.
    Advertised {
        /// Its name, from its certificate.
        site: SiteName,
        /// Its keys.
        advertisement: Box<Advertisement>,
    },
    /// Decision: these are the members.
    RosterClosed {
        /// In ascending order.
        members: Vec<MemberId>,
    },
    /// A member confirmed the roster it saw.
    Confirmed(RosterConfirmation),
    /// Decision: enough members confirmed.
    Certified {
        /// Indices of those whose signatures are in the certificate.
        members: Vec<u32>,
    },
    /// Decision: the epoch cannot start.
    Failed(Abort),
}

/// What the epoch asks of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The set-up is over.
    End(Result<(), Abort>),
}

/// Where the set-up stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Joining { until: Timestamp },
    Confirming { until: Timestamp },
    Certified(Certificate),
    Failed(Abort),
}

/// The machine of one epoch's set-up, and afterwards the keeper of its roster.
#[derive(Debug)]
pub struct Epoch {
    terms: Terms,
    number: u64,
    phase: Phase,
    joined: BTreeMap<MemberId, (SiteName, Advertisement)>,
    roster: Option<Arc<Roster>>,
    confirmations: BTreeMap<u32, Signature>,
    outputs: VecDeque<Output>,
}

impl Epoch {
    /// Opens epoch `number` at `at`: sites may join until the join timeout has passed.
    pub fn open(terms: Terms, number: u64, at: Timestamp) -> Self {
        let phase = Phase::Joining {
            until: at + terms.join,
        };
        let (joined, confirmations) = (BTreeMap::new(), BTreeMap::new());
        Self {
            terms,
            number,
            phase,
            joined,
            roster: None,
            confirmations,
            outputs: VecDeque::new(),
        }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Until when sites may join; `None` once the roster is fixed.
    pub fn join_by(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Joining { until } => Some(until),
            _ => None,
        }
    }

    /// The roster, once it is fixed.
    pub fn roster(&self) -> Option<&Arc<Roster>> {
        self.roster.as_ref()
    }

    /// The roster certificate, once enough members confirmed.
    pub fn certificate(&self) -> Option<&Certificate> {
        match &self.phase {
            Phase::Certified(certificate) => Some(certificate),
            _ => None,
        }
    }

    /// Advertisements in roster order: what a member checks the roster by.
    pub fn advertisements(&self) -> impl Iterator<Item = &Advertisement> {
        let listed = |id: &&MemberId| {
            self.roster
                .as_ref()
                .is_some_and(|roster| roster.index_of(id).is_some())
        };
        self.joined
            .iter()
            .filter(move |(id, _)| listed(id))
            .map(|(_, (_, advertisement))| advertisement)
    }

    /// Roster index of a site.
    pub fn index_of(&self, site: &SiteName) -> Option<u32> {
        let roster = self.roster.as_ref()?;
        let (id, _) = self.joined.iter().find(|(_, (name, _))| name == site)?;
        roster.index_of(id)
    }

    /// Name of roster member `index`.
    pub fn site(&self, index: u32) -> Option<&SiteName> {
        let id = self.roster.as_ref()?.member(index)?.id;
        self.joined.get(&id).map(|(name, _)| name)
    }

    /// Sites that joined so far.
    pub fn sites(&self) -> impl Iterator<Item = &SiteName> {
        self.joined.values().map(|(name, _)| name)
    }

    /// What the order of events can change: repeated at `handle`.
    fn order(&self, event: &Event) -> Result<(), Rejection> {
        let decision = |wanted: bool| {
            if wanted {
                Ok(())
            } else {
                Err(out_of_phase("a decision", "past it"))
            }
        };
        match event {
            Event::Advertised {
                site,
                advertisement,
            } => self.order_advertisement(site, advertisement),
            Event::RosterClosed { .. } => decision(matches!(self.phase, Phase::Joining { .. })),
            Event::Confirmed(confirmation) => self.order_confirmation(confirmation),
            Event::Certified { .. } => decision(matches!(self.phase, Phase::Confirming { .. })),
            Event::Failed(_) => decision(matches!(
                self.phase,
                Phase::Joining { .. } | Phase::Confirming { .. }
            )),
        }
    }

    fn order_advertisement(
        &self,
        site: &SiteName,
        advertisement: &Advertisement,
    ) -> Result<(), Rejection> {
        let before = self
            .joined
            .iter()
            .find(|(id, (name, _))| name == site || **id == advertisement.id_pk.id());
        match before {
            Some((_, (name, known))) if name == site && known == advertisement => {
                return Err(Rejection::Repeated);
            }
            Some(_) => return Err(Rejection::Conflict("advertisement")),
            None => {}
        }
        if !matches!(self.phase, Phase::Joining { .. }) {
            return Err(out_of_phase("an advertisement", "past joining"));
        }
        if self.joined.len() >= self.terms.params.config().n_max as usize {
            return Err(out_of_phase("an advertisement", "full"));
        }
        let mut known = self.joined.values().map(|(_, known)| known.x_pk);
        if known.any(|x_pk| x_pk == advertisement.x_pk) {
            let fault = Fault::Duplicate("channel key").by(self.next_place());
            return Err(Rejection::Protocol(fault));
        }
        Ok(())
    }

    /// The index that faults name: the place it would take, since the roster does not exist yet.
    fn next_place(&self) -> u32 {
        u32::try_from(self.joined.len()).unwrap_or(u32::MAX)
    }

    fn check_advertisement(&self, advertisement: &Advertisement) -> Result<(), Rejection> {
        if advertisement.run_hash != self.terms.params.run_hash()
            || advertisement.epoch != self.number
        {
            return Err(Rejection::Elsewhere("epoch"));
        }
        if !advertisement.verifies() {
            let fault = Fault::Signature("advertisement").by(self.next_place());
            return Err(Rejection::Protocol(fault));
        }
        Ok(())
    }

    fn close_roster(&mut self, at: Timestamp, members: &[MemberId]) -> Result<(), Abort> {
        let diverged = Abort::Diverged("roster");
        let listed = |id: &MemberId| {
            self.joined
                .get(id)
                .map(|(_, advertisement)| advertisement.clone())
        };
        let advertisements: Option<Vec<_>> = members.iter().map(listed).collect();
        let params = Arc::clone(&self.terms.params);
        let roster = Roster::new(
            params,
            self.number,
            &advertisements.ok_or(diverged.clone())?,
        )
        .map_err(|_| diverged)?;
        self.roster = Some(Arc::new(roster));
        self.phase = Phase::Confirming {
            until: at + self.terms.report,
        };
        Ok(())
    }

    fn order_confirmation(&self, confirmation: &RosterConfirmation) -> Result<(), Rejection> {
        match self.confirmations.get(&confirmation.index) {
            Some(known) if *known == confirmation.signature => return Err(Rejection::Repeated),
            Some(_) => return Err(Rejection::Conflict("confirmation")),
            None => {}
        }
        match self.phase {
            Phase::Confirming { .. } => Ok(()),
            Phase::Certified(_) => Err(Rejection::Repeated), // the roster has its quorum; one more changes nothing
            Phase::Joining { .. } => Err(out_of_phase("a confirmation", "still being joined")),
            Phase::Failed(_) => Err(out_of_phase("a confirmation", "over")),
        }
    }

    fn certify(&mut self, members: &[u32]) -> Result<(), Abort> {
        let diverged = Abort::Diverged("roster certificate");
        let roster = self.roster.as_ref().ok_or(diverged.clone())?;
        let sign = |index: &u32| Some((*index, *self.confirmations.get(index)?));
        let signatures = members
            .iter()
            .map(sign)
            .collect::<Option<Vec<_>>>()
            .ok_or(diverged.clone())?;
        let certificate = Certificate {
            digest: roster.ctx(),
            signatures,
        };
        certificate.certify_roster(roster).map_err(|_| diverged)?;
        self.phase = Phase::Certified(certificate);
        Ok(())
    }

    fn fail(&mut self, reason: Abort) {
        self.phase = Phase::Failed(reason.clone());
        self.outputs.push_back(Output::End(Err(reason)));
    }

    fn due_roster(&self, late: bool) -> Option<Event> {
        let have = u32::try_from(self.joined.len()).unwrap_or(u32::MAX);
        let need = self.terms.params.config().min_cohort;
        if have >= self.terms.target || late && have >= need {
            return Some(Event::RosterClosed {
                members: self.joined.keys().copied().collect(),
            });
        }
        late.then_some(Event::Failed(Abort::RosterTooSmall { have, need }))
    }

    fn due_certificate(&self, late: bool) -> Option<Event> {
        let roster = self.roster.as_ref()?;
        let (have, need) = (
            u32::try_from(self.confirmations.len()).unwrap_or(u32::MAX),
            self.terms.params.roster_quorum(roster.len()),
        );
        if have == roster.len() || late && have >= need {
            return Some(Event::Certified {
                members: self.confirmations.keys().copied().collect(),
            });
        }
        late.then_some(Event::Failed(Abort::RosterUnconfirmed { have, need }))
    }
}

fn out_of_phase(what: &'static str, phase: &'static str) -> Rejection {
    Rejection::OutOfPhase { what, phase }
}

impl Machine for Epoch {
    type Event = Event;
    type Output = Output;

    fn admit(&self, _at: Timestamp, event: &Event) -> Result<(), Rejection> {
        self.order(event)?;
        match (event, &self.roster) {
            (Event::Advertised { advertisement, .. }, _) => self.check_advertisement(advertisement),
            (Event::Confirmed(confirmation), Some(roster)) => {
                Ok(roster.check_confirmation(confirmation)?)
            }
            _ => Ok(()),
        }
    }

    fn handle(&mut self, at: Timestamp, event: Event) -> Result<(), Rejection> {
        self.order(&event)?;
        let decided = match event {
            Event::Advertised {
                site,
                advertisement,
            } => {
                self.joined
                    .insert(advertisement.id_pk.id(), (site, *advertisement));
                Ok(())
            }
            Event::RosterClosed { members } => self.close_roster(at, &members),
            Event::Confirmed(confirmation) => {
                self.confirmations
                    .insert(confirmation.index, confirmation.signature);
                Ok(())
            }
            Event::Certified { members } => self
                .certify(&members)
                .map(|()| self.outputs.push_back(Output::End(Ok(())))),
            Event::Failed(reason) => Err(reason),
        };
        if let Err(reason) = decided {
            self.fail(reason);
        }
        Ok(())
    }

    fn due(&self, at: Timestamp) -> Option<Event> {
        match self.phase {
            Phase::Joining { until } => self.due_roster(at >= until),
            Phase::Confirming { until } => self.due_certificate(at >= until),
            Phase::Certified(_) | Phase::Failed(_) => None,
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Joining { until } | Phase::Confirming { until } => Some(until),
            Phase::Certified(_) | Phase::Failed(_) => None,
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn resume(&mut self) {
        self.outputs.clear();
        match &self.phase {
            Phase::Joining { .. } | Phase::Confirming { .. } => {}
            Phase::Certified(_) => self.outputs.push_back(Output::End(Ok(()))),
            Phase::Failed(reason) => self.outputs.push_back(Output::End(Err(reason.clone()))),
        }
    }
}

#[cfg(test)]
mod tests;
