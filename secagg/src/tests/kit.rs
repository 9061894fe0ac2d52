//! A whole epoch of honest sites, and one attempt of theirs step by step, so that a test says only what is special about it.

pub mod adversary;
mod round;

use std::sync::Arc;

pub use round::{Plan, Round, Upload, certificate_of, certify, run};

use crate::channel::Channels;
use crate::codec::{hash, le64};
use crate::context::{Attempt, Roster};
use crate::coordinator::Commits;
use crate::keys::{BindingClaim, Identity, Seed};
use crate::message::{Advertisement, Announcement};
use crate::params::{Params, RunConfig, ceil_log2};
use crate::participant::{AwaitingRoster, Binding};
use crate::prg::Keystream;
use crate::{Bitmap, Digest, PROTOCOL_VERSION};

/// Test entropy: as good as its name is new.
pub fn seed(what: &str, number: u64) -> Seed {
    Seed::new(hash("test", &[what.as_bytes(), &le64(number)]).0)
}

/// The configuration of `reference.py`'s `silo(n)`, with a real coordinator.
pub fn config(n: u32) -> RunConfig {
    RunConfig {
        protocol_version: PROTOCOL_VERSION,
        run_id: [0; 16],
        coordinator_pk: *coordinator().public().as_bytes(),
        profile: 0,
        masking: 0,
        prg: 0,
        arch_digest: [0; 32],
        layout_digest: [0; 32],
        code_digest: [0; 32],
        elements: 100,
        meta_lanes: 3,
        chunk_elems: 32,
        v: 16,
        m: 16 + ceil_log2(n),
        n_max: n,
        clamp: 1.0,
        l2_clip: 0.0,
        weight_max: 1,
        quantiser: 1,
        mean_degree: 0,
        committee: 0,
        committee_size: 0,
        committee_threshold: 0,
        designated: Vec::new(),
        rho_num: 1,
        rho_den: 3,
        delta_max_permille: 200,
        cohort_min_permille: 700,
        corrupt_rule: 0,
        gamma_permille: 0,
        min_cohort: 3,
        min_honest: 2,
        commit_reveal: 0,
        epoch_rounds: 100,
        epoch_seconds: 604_800,
        batch_size: 0,
        audit: 0,
        dp_spec: Vec::new(),
        optimiser: Vec::new(),
    }
}

/// The coordinator's key of every test run.
pub fn coordinator() -> Identity {
    Identity::from_seed(&seed("coordinator", 0))
}

/// One honest site in its epoch.
pub struct Site {
    pub identity: Identity,
    pub channels: Channels,
    pub advertisement: Advertisement,
}

/// Everybody in one epoch.
pub struct World {
    pub roster: Arc<Roster>,
    pub sites: Vec<Site>,
}

impl World {
    pub fn new(n: u32) -> Self {
        Self::with(n, config(n), 1)
    }

    pub fn with(n: u32, config: RunConfig, epoch: u64) -> Self {
        Self::of(identities(n), config, epoch)
    }

    /// Those of the `n_max` sites that are in `members`, as another roster of the first epoch.
    pub fn some(members: &[usize], config: RunConfig) -> Self {
        let all = identities(config.n_max).into_iter().enumerate();
        let some = all.filter(|(index, _)| members.contains(index));
        Self::of(some.map(|(_, identity)| identity).collect(), config, 1)
    }

    fn of(identities: Vec<Identity>, config: RunConfig, epoch: u64) -> Self {
        Self::keyed(identities, config, epoch, |k| {
            seed("epoch", epoch << 16 | k)
        })
    }

    /// The same with another source of each site's epoch keys.
    pub fn keyed(
        identities: Vec<Identity>,
        config: RunConfig,
        epoch: u64,
        fresh: impl Fn(u64) -> Seed,
    ) -> Self {
        let params = Arc::new(Params::new(config).unwrap());
        let join = |(identity, k): (Identity, u64)| {
            let (waiting, advertisement) =
                AwaitingRoster::new(&params, epoch, &identity, &binding(k), &fresh(k));
            (identity, waiting, advertisement)
        };
        let joined: Vec<_> = identities.into_iter().zip(0..).map(join).collect();
        let advertisements: Vec<_> = joined
            .iter()
            .map(|(_, _, advertisement)| advertisement.clone())
            .collect();
        let roster = Arc::new(Roster::new(Arc::clone(&params), epoch, &advertisements).unwrap());
        let accept =
            |(identity, waiting, advertisement): (Identity, AwaitingRoster, Advertisement)| Site {
                identity,
                channels: waiting.accept(&roster).unwrap(),
                advertisement,
            };
        let sites = joined.into_iter().map(accept).collect();
        Self { roster, sites }
    }

    pub fn params(&self) -> &Params {
        self.roster.params()
    }

    pub fn site(&self, index: u32) -> &Site {
        &self.sites[index as usize]
    }

    /// The first attempt of the first round, every site a holder.
    pub fn announcement(&self) -> Announcement {
        self.announcement_to(0..self.roster.len())
    }

    /// The same to fewer holders, with the threshold that belongs to them.
    pub fn announcement_to(&self, holders: impl IntoIterator<Item = u32>) -> Announcement {
        let n = self.roster.len();
        let holders = Bitmap::of(n, holders);
        Announcement {
            epoch_ctx: self.roster.ctx(),
            round: 1,
            seq: 1,
            retry_of: Digest::ZERO,
            model_hash: Digest::of_bulk(b"model-0"),
            prev_result_hash: Digest::ZERO,
            roundcfg_hash: crate::params::round_config_hash(b"lr=0.1"),
            threshold: self.params().threshold(holders.count(), n),
            holders,
            commit_by_ms: 1000,
            submit_by_ms: 2000,
            expires_ms: 9000,
        }
    }

    /// Opens the usual attempt.
    pub fn open(&self) -> Round<'_> {
        self.open_with(self.announcement())
    }

    pub fn open_with(&self, announcement: Announcement) -> Round<'_> {
        let attempt = Arc::new(Attempt::new(Arc::clone(&self.roster), announcement).unwrap());
        let n = u64::from(self.roster.len());
        let updates = (0..n).map(|i| random_update(self.params(), i)).collect();
        let metadata = (0..n)
            .map(|i| {
                (0..u64::from(self.params().config().meta_lanes))
                    .map(|k| 1000 * i + k)
                    .collect()
            })
            .collect();
        Round {
            world: self,
            attempt,
            commits: Commits::new(),
            updates,
            metadata,
        }
    }
}

/// Of `n` sites, in the order of their ids.
pub fn identities(n: u32) -> Vec<Identity> {
    let mut identities: Vec<_> = (0..u64::from(n))
        .map(|k| Identity::from_seed(&seed("identity", k)))
        .collect();
    identities.sort_by_key(|identity| identity.public().id());
    identities
}

fn binding(k: u64) -> Binding {
    let claim = BindingClaim {
        organisation: "org".into(),
        site: format!("site-{k}"),
        not_before: 0,
        not_after: 1 << 40,
    };
    Binding {
        claim,
        scheme: 0x0807,
        signature: Vec::new(),
        chain: Vec::new(),
    }
}

/// Largest value of a quantised lane.
pub fn qmax(params: &Params) -> i64 {
    (1i64 << (params.config().v - 1)) - 1
}

/// Uniform in ±Qmax.
pub fn random_update(params: &Params, site: u64) -> Vec<i64> {
    let mut stream = Keystream::new(&seed("update", site), 0, 0);
    let span = 2 * qmax(params) + 1;
    let draw = |_| {
        let mut word = [0; 8];
        stream.fill(&mut word);
        i64::from_le_bytes(word).rem_euclid(span) - qmax(params)
    };
    (0..params.config().elements).map(draw).collect()
}
