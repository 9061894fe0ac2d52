//! The epochs, announcements and Commits that `reference.py` makes its vectors from, rebuilt with this crate. Only the randomness is
//! copied from there: SHA-256 in counter mode, drawn in the same order.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::kit;
use crate::channel::Channels;
use crate::codec::{hash, le64};
use crate::context::{Attempt, Roster};
use crate::coordinator::Commits;
use crate::keys::{BindingClaim, ExchangeSecret, Identity, Seed};
use crate::labels;
use crate::message::{Advertisement, Announcement, advertisement_parts};
use crate::params::{Params, RunConfig};
use crate::participant::{Committed, Dealing};
use crate::shamir::{Polynomial, SecretScalar};
use crate::{Bitmap, Digest};

/// The generator of `reference.py`; its seed is the `repr` of a Python value.
struct Drbg {
    seed: String,
    counter: u64,
}

impl Drbg {
    fn new(seed: &str) -> Self {
        Self {
            seed: seed.into(),
            counter: 0,
        }
    }

    fn bytes(&mut self) -> [u8; 32] {
        let block = Sha256::new()
            .chain_update(&self.seed)
            .chain_update(self.counter.to_le_bytes());
        self.counter += 1;
        block.finalize().into()
    }

    /// `below(ELL)`: 253 bits, drawn again until they are a canonical scalar.
    fn scalar(&mut self) -> SecretScalar {
        loop {
            let mut bytes = self.bytes();
            bytes[31] &= 0x1f;
            if let Ok(scalar) = SecretScalar::parse(&bytes) {
                return scalar;
            }
        }
    }
}

/// One site of the reference.
pub struct Site {
    pub id_seed: [u8; 32],
    pub x_seed: [u8; 32],
    pub reveal: [u8; 32],
    pub identity: Identity,
    pub claim: BindingClaim,
}

impl Site {
    fn new(name: &str, k: u32) -> Self {
        let mut rng = Drbg::new(&format!("('{name}', 'site', {k})"));
        let (id_seed, x_seed, reveal) = (rng.bytes(), rng.bytes(), rng.bytes());
        let identity = Identity::from_seed(&Seed::new(id_seed));
        let claim = BindingClaim {
            organisation: "org".into(),
            site: String::new(),
            not_before: 0,
            not_after: 1 << 40,
        };
        Self {
            id_seed,
            x_seed,
            reveal,
            identity,
            claim,
        }
    }

    pub fn x(&self) -> ExchangeSecret {
        ExchangeSecret::new(&Seed::new(self.x_seed))
    }

    fn advertise(&self, params: &Params, epoch: u64) -> Advertisement {
        let (run_hash, number, id_pk) = (params.run_hash(), le64(epoch), self.identity.public());
        let nonce_commit = hash(
            labels::NONCE_COMMIT,
            &[&run_hash.0, &number, id_pk.id().0.as_ref(), &self.reveal],
        );
        let (x_pk, bound) = (self.x().public(), self.claim.hash(&id_pk));
        let parts = advertisement_parts(&run_hash, &number, &x_pk, &nonce_commit);
        let signature = self
            .identity
            .sign(labels::SIG_ADVERTISEMENT, &parts.with(&bound));
        let (binding, binding_scheme, binding_signature, chain) =
            (self.claim.clone(), 0x0807, Vec::new(), Vec::new());
        Advertisement {
            run_hash,
            epoch,
            id_pk,
            x_pk,
            binding,
            binding_scheme,
            binding_signature,
            chain,
            nonce_commit,
            signature,
        }
    }
}

/// An epoch and an attempt of the reference.
pub struct Fixture {
    name: &'static str,
    /// Who commits.
    pub cohort: Vec<u32>,
    pub sites: Vec<Site>,
    pub advertisements: Vec<Advertisement>,
    pub roster: Arc<Roster>,
    pub attempt: Arc<Attempt>,
}

impl Fixture {
    /// `fixture()` of the reference.
    pub fn new() -> Self {
        Self::of("vectors", kit::config(5), Self::announcement, 0..5)
    }

    /// The sites of one seed, of whom `cohort` commits.
    pub fn of(
        name: &'static str,
        config: RunConfig,
        announce: impl FnOnce(&Roster) -> Announcement,
        cohort: impl IntoIterator<Item = u32>,
    ) -> Self {
        let config = RunConfig {
            coordinator_pk: [0; 32],
            ..config
        };
        let n = config.n_max;
        let params = Arc::new(Params::new(config).unwrap());
        let mut sites: Vec<_> = (0..n).map(|k| Site::new(name, k)).collect();
        sites.sort_by_key(|site| site.identity.public().id());
        sites
            .iter_mut()
            .enumerate()
            .for_each(|(k, site)| site.claim.site = format!("site-{k}"));
        let advertisements: Vec<_> = sites
            .iter()
            .map(|site| site.advertise(&params, 1))
            .collect();
        let roster = Arc::new(Roster::new(params, 1, &advertisements).unwrap());
        let attempt = Arc::new(Attempt::new(Arc::clone(&roster), announce(&roster)).unwrap());
        Self {
            name,
            cohort: cohort.into_iter().collect(),
            sites,
            advertisements,
            roster,
            attempt,
        }
    }

    pub fn announcement(roster: &Roster) -> Announcement {
        Announcement {
            epoch_ctx: roster.ctx(),
            round: 1,
            seq: 1,
            retry_of: Digest::ZERO,
            model_hash: Digest::of_bulk(b"model-0"),
            prev_result_hash: Digest::ZERO,
            roundcfg_hash: crate::params::round_config_hash(b"lr=0.1"),
            holders: Bitmap::full(5),
            threshold: 4,
            commit_by_ms: 1000,
            submit_by_ms: 2000,
            expires_ms: 9000,
        }
    }

    pub fn channels(&self, i: u32) -> Channels {
        Channels::derive(&self.roster, i, &self.sites[i as usize].x()).unwrap()
    }

    /// The secrets of all in the cohort; the reference draws them one after the other.
    pub fn dealings(&self) -> Vec<Dealing> {
        let mut rng = Drbg::new(&format!("'{}'", self.name));
        let mut deal = || {
            let (e, nonce) = (rng.bytes(), rng.bytes());
            let (b, k) = (rng.scalar(), rng.scalar());
            let mut polynomial = |secret| {
                let rest = (1..self.attempt.threshold()).map(|_| rng.scalar());
                Polynomial::new(std::iter::once(secret).chain(rest).collect())
            };
            let (f_b, f_k) = (polynomial(b), polynomial(k));
            Dealing {
                mask_key: ExchangeSecret::new(&Seed::new(e)),
                nonce,
                f_b,
                f_k,
            }
        };
        self.cohort.iter().map(|_| deal()).collect()
    }

    pub fn committed(&self) -> Vec<Committed> {
        let state = |(i, dealing): (&u32, Dealing)| {
            Committed::of(Arc::clone(&self.attempt), *i, dealing).unwrap()
        };
        let cohort = self.cohort.iter();
        cohort.zip(self.dealings()).map(state).collect()
    }

    pub fn commits(&self) -> Commits {
        let commit = |(&i, committed): (&u32, Committed)| {
            let (_, keys) = self.channels(i).advance(&self.attempt, i).unwrap();
            (
                i,
                committed
                    .commit(&self.sites[i as usize].identity, &keys.outbound)
                    .unwrap(),
            )
        };
        self.cohort
            .iter()
            .zip(self.committed())
            .map(commit)
            .collect()
    }
}
