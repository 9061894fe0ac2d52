//! A federation in one thread: one coordinator, n sites, a clock that tests set, messages passed as values.
//!
//! Nothing here decides anything: the hub does what a coordinator's hands do, a site does what a participant's hands do, and every
//! fact comes from the machines. Each site polls from the very beginning every time, so each notice is repeated without end.

mod dealer;
mod hub;
mod job;
mod site;
mod stream;
mod witness;

use std::collections::BTreeSet;
use std::sync::Arc;

use safetensors::tensor::{Dtype, TensorView};
use veilsum_common::ids::RunId;
use veilsum_common::run::RunSpec;
use veilsum_common::study::Study;
use veilsum_common::time::Timestamp;
use veilsum_secagg::keys::{Identity, Seed};
use veilsum_secagg::message::Announcement;
use veilsum_secagg::params::round_config_hash;
use veilsum_secagg::{Certificate, Digest};

pub use hub::{Hub, shorter_epochs, terms};
pub use job::{Sum, Summed, stripped};
pub use site::{
    Contributed, Kind, Site, Trainer, advertisement, advertisement_from, binding, survivors,
};
pub use stream::{Appends, Crash, Stream};
pub use witness::Witness;

use crate::machine::Machine;
use crate::participant::Event;
use crate::policy::{Approval, PeerTrust, Policy};
use crate::round::Round;

/// Every site, its coordinator and what an onlooker has seen.
pub struct Federation {
    pub now: Timestamp,
    pub hub: Hub,
    pub sites: Vec<Site>,
    pub witness: Witness,
    pub appends: Appends,
}

/// What is special about a federation.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Sites.
    pub sites: u32,
    /// Smallest cohort.
    pub min: u32,
    /// Rounds of the run.
    pub rounds: u64,
    /// Attempts of an epoch, if fewer than every run has.
    pub epoch_rounds: Option<u32>,
}

/// When everything begins.
pub const START: Timestamp = Timestamp(1_000_000_000_000);

impl Federation {
    /// `sites` sites that are all needed, or all but one from five on; one round.
    pub fn of(sites: u32) -> Self {
        Self::with(Setup::of(sites))
    }

    pub fn with(setup: Setup) -> Self {
        Self::journalled(setup, Appends::default())
    }

    /// The same, with the process of whoever appends crashing where `appends` says.
    pub fn journalled(setup: Setup, appends: Appends) -> Self {
        let coordinator = Arc::new(Identity::from_seed(&seed("coordinator", 0)));
        let spec = Arc::new(setup.spec(&coordinator));
        let mut identities: Vec<_> = (0..u64::from(setup.sites))
            .map(|k| Arc::new(Identity::from_seed(&seed("identity", k))))
            .collect();
        // in roster order, so that site k is member k while nobody is missing
        identities.sort_by_key(|identity| identity.public().id());
        let peers: BTreeSet<_> = identities.iter().map(|who| who.public().id()).collect();
        let policy = policy(PeerTrust::Ids(peers));
        let join = |(index, identity)| Site::new(index, identity, &spec, &policy, &appends);
        let sites = (0..).zip(identities).map(join).collect();
        Self {
            now: START,
            hub: Hub::new(
                spec,
                coordinator,
                initial_model(),
                setup.epoch_rounds,
                &appends,
            ),
            sites,
            witness: Witness::default(),
            appends,
        }
    }

    pub fn site(&mut self, index: u32) -> &mut Site {
        &mut self.sites[index as usize]
    }

    pub fn round(&self) -> &Round {
        self.hub.round()
    }

    /// The coordinator decides what is due.
    pub fn tick(&mut self) {
        let online = self.sites.iter().filter(|site| site.online);
        self.hub.online = online.map(|site| site.name.clone()).collect();
        self.hub.tick(self.now);
    }

    /// Every site that is online polls and takes in what it is told.
    pub fn hear(&mut self) {
        for index in 0..self.site_count() {
            self.hear_at(index);
        }
    }

    /// One site polls, if it is online.
    pub fn hear_at(&mut self, index: u32) {
        self.tick();
        let Self {
            now, hub, sites, ..
        } = self;
        let site = &mut sites[index as usize];
        if site.online {
            site.hear(*now, hub);
        }
    }

    fn site_count(&self) -> u32 {
        u32::try_from(self.sites.len()).unwrap()
    }

    /// Every site that is online does what its machine asks of this kind; then the coordinator decides what is due.
    pub fn act(&mut self, kind: Kind) {
        for index in 0..self.site_count() {
            self.act_at(index, kind);
        }
    }

    /// One site does what its machine asks of this kind.
    pub fn act_at(&mut self, index: u32, kind: Kind) {
        let Self {
            now,
            hub,
            sites,
            witness,
            ..
        } = self;
        sites[index as usize].act(*now, kind, hub, witness);
        self.tick();
    }

    /// Messages pass until nobody has anything left to say or do at this time.
    pub fn settle(&mut self) {
        for _ in 0..100 {
            let before = self.appends.count();
            self.hear();
            let asked: usize = Kind::ALL.into_iter().map(|kind| self.perform(kind)).sum();
            if asked == 0 && self.appends.count() == before {
                self.check_sums();
                return;
            }
        }
        panic!("the federation never comes to rest");
    }

    fn perform(&mut self, kind: Kind) -> usize {
        let asked = self.sites.iter().map(|site| site.asked(kind)).sum();
        self.act(kind);
        asked
    }

    /// As [`Self::settle`], but one site keeps one kind of message to itself meanwhile.
    pub fn settle_without(&mut self, index: u32, kind: Kind) {
        self.site(index).silent.insert(kind);
        self.settle();
        self.site(index).silent.remove(&kind);
    }

    /// Time jumps to when the coordinator wants to decide next, and everybody settles.
    pub fn wait(&mut self) {
        self.now = self
            .hub
            .deadline()
            .expect("the coordinator waits for something");
        self.settle();
    }

    /// Nobody says anything any more until the run is over.
    pub fn finish(&mut self) {
        self.settle();
        for _ in 0..100 {
            if self.hub.over() {
                return;
            }
            self.wait();
        }
        panic!("the run never ends");
    }

    /// Everything up to the announcement of round `number`, which every site has accepted.
    pub fn settle_until_round(&mut self, number: u64) {
        for _ in 0..100 {
            self.hear();
            if self
                .hub
                .run()
                .current()
                .is_some_and(|next| next.round == number)
            {
                self.hear();
                return;
            }
            Kind::ALL.into_iter().for_each(|kind| self.act(kind));
        }
        panic!("round {number} never opens");
    }

    /// The epoch is set up and the first round is open.
    pub fn enrol(&mut self) {
        self.hear();
        self.act(Kind::Join);
        self.hear();
        self.act(Kind::Confirm);
        self.hear();
    }

    /// Everybody has trained and committed; the cohort is fixed.
    pub fn commit(&mut self) {
        self.act(Kind::Train);
        self.act(Kind::Commit);
        self.hear();
    }

    /// What the quantised updates of some sites add up to, computed without any secure aggregation.
    pub fn plain(&self, model: &Digest, sites: impl IntoIterator<Item = u32>) -> Sum {
        let chosen = sites.into_iter().map(|index| &self.sites[index as usize]);
        Sum::of(&self.hub.spec, chosen.map(|site| &site.contributed[model]))
    }

    /// Every sum the coordinator ever saw is the plain sum of its survivors, bit for bit.
    fn check_sums(&self) {
        for Summed {
            model,
            survivors,
            sum,
        } in &self.hub.sums
        {
            let theirs = self
                .sites
                .iter()
                .filter(|site| survivors.contains(&site.name));
            assert_eq!(*sum, self.plain(model, theirs.map(|site| site.index)));
        }
    }

    /// Who contributed to the last sum.
    pub fn summed(&self) -> Vec<u32> {
        let last = self.hub.sums.last().expect("a sum was computed");
        let theirs = self
            .sites
            .iter()
            .filter(|site| last.survivors.contains(&site.name));
        theirs.map(|site| site.index).collect()
    }

    /// Who was cut off: says and hears nothing, and remembers only what is durable.
    pub fn kill(&mut self, index: u32) {
        let site = self.site(index);
        site.reboot();
        site.online = false;
    }

    pub fn restart(&mut self, index: u32) {
        let site = self.site(index);
        site.reboot();
        site.online = true;
    }
}

impl Setup {
    pub fn of(sites: u32) -> Self {
        Self {
            sites,
            min: if sites < 7 { 3 } else { 5 },
            rounds: 1,
            epoch_rounds: None,
        }
    }

    pub fn rounds(self, rounds: u64) -> Self {
        Self { rounds, ..self }
    }

    pub fn spec(&self, coordinator: &Identity) -> RunSpec {
        let Self {
            sites, min, rounds, ..
        } = self;
        let text = format!(
            "schema = \"veilsum.study/v1\"\nname = \"test\"\n[rounds]\ncount = {rounds}\n\
             cohort = {{ min = {min}, target = {sites} }}\njoin_timeout = \"10m\"\nreport_timeout = \"5m\"\n\
             [secagg]\nclip = {{ kind = \"element\", value = 1.0 }}\nbits = 16\n\
             weight = {{ by = \"examples\", max = 100 }}\n[model]\ninitial = \"m\"\n\
             [metrics]\nloss = {{ range = [0.0, 10.0] }}\n"
        );
        let study = Study::parse(&text).unwrap();
        let public = *coordinator.public().as_bytes();
        RunSpec::from_study(&study, RunId::from_bytes([7; 16]), public, &initial_model()).unwrap()
    }
}

/// The announcement of the open attempt.
pub fn announcement_of(fed: &Federation) -> Announcement {
    fed.round().attempt().announcement().clone()
}

/// An announcement as the coordinator tells it.
pub fn opened(fed: &Federation, mut announcement: Announcement, proofs: Vec<Certificate>) -> Event {
    let round_config = fed.hub.spec.round_config_bytes(announcement.round);
    announcement.roundcfg_hash = round_config_hash(&round_config);
    Event::Opened {
        signature: announcement.sign(&fed.hub.identity),
        announcement: Box::new(announcement),
        round_config,
        proofs,
    }
}

/// Two small tensors of zeros.
pub fn initial_model() -> Vec<u8> {
    let data = [0; 4 * 12];
    let tensor = |len: usize| TensorView::new(Dtype::F32, vec![len], &data[..4 * len]).unwrap();
    safetensors::serialize([("w", tensor(9)), ("b", tensor(3))], None).unwrap()
}

/// A policy that accepts every run of these peers.
pub fn policy(peers: PeerTrust) -> Policy {
    Policy {
        approve: Approval::All,
        peers,
        min_cohort: 3,
        bits_min: 8,
        max_update_bytes: 1 << 20,
        metrics: None,
    }
}

/// Test entropy: as good as its name is new.
pub fn seed(what: &str, number: u64) -> Seed {
    Seed::new(Digest::of_bulk(format!("{what}/{number}").as_bytes()).0)
}

/// All outputs a machine has.
pub fn drain<M: Machine>(machine: &mut M) -> Vec<M::Output> {
    std::iter::from_fn(|| machine.poll_output()).collect()
}
