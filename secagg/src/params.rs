//! The frozen parameters of a run, every bound checked once, and the numbers that follow from them.
//!
//! Source: protocol, sections 3 (RunConfig), 15 and 16.

use crate::codec::{Digest, hash};
use crate::keys::{Identity, Signature, VerifyKey};
use crate::labels::{self, PROTOCOL_VERSION};
use crate::prg::Prg;
use crate::ring::LaneWidth;

mod bytes;
#[cfg(test)]
mod tests;

/// Most members of a silo roster: every site holds a share of every other, so the cost of a round grows with the square.
pub const MAX_SILO: u32 = 128;
/// Most elements of one vector; 2^34 values are 64 GiB of f32.
pub const MAX_ELEMENTS: u64 = 1 << 34;
/// Most chunks of a vector: each costs its holder a hash, and memory until the upload ends.
pub const MAX_CHUNKS: u64 = 1 << 20;
/// Most metadata lanes; all of them travel in one message.
pub const MAX_META_LANES: u32 = 1024;
/// Longest free-form field.
const MAX_BYTES: usize = 4096;

/// The 39 fields that both ends hash as the configuration of a run. Plain data: [`Params`] is the checked form.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    missing_docs,
    reason = "the fields and their meaning are the table of protocol.md, section 3, word for word"
)]
pub struct RunConfig {
    pub protocol_version: u32,
    pub run_id: [u8; 16],
    pub coordinator_pk: [u8; 32],
    pub profile: u8,
    pub masking: u8,
    pub prg: u8,
    pub arch_digest: [u8; 32],
    pub layout_digest: [u8; 32],
    pub code_digest: [u8; 32],
    pub elements: u64,
    pub meta_lanes: u32,
    pub chunk_elems: u32,
    pub v: u8,
    pub m: u8,
    pub n_max: u32,
    pub clamp: f64,
    pub l2_clip: f64,
    pub weight_max: u64,
    pub quantiser: u32,
    pub mean_degree: u32,
    pub committee: u8,
    pub committee_size: u32,
    pub committee_threshold: u32,
    pub designated: Vec<u8>,
    pub rho_num: u32,
    pub rho_den: u32,
    pub delta_max_permille: u32,
    pub cohort_min_permille: u32,
    pub corrupt_rule: u8,
    pub gamma_permille: u32,
    pub min_cohort: u32,
    pub min_honest: u32,
    pub commit_reveal: u8,
    pub epoch_rounds: u32,
    pub epoch_seconds: u64,
    pub batch_size: u32,
    pub audit: u8,
    pub dp_spec: Vec<u8>,
    pub optimiser: Vec<u8>,
}

/// A [`RunConfig`] that this version can run: every bound was checked, and the hash is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    config: RunConfig,
    run_hash: Digest,
}

/// A field of the run's configuration is outside its bounds.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("run configuration: {field} is {value}, allowed is {allowed}")]
pub struct ParamsError {
    /// Name of the field in protocol.md, section 3.
    pub field: &'static str,
    /// What it holds.
    pub value: f64,
    /// What it may hold.
    pub allowed: &'static str,
}

impl Params {
    /// Checks every bound of `config`.
    ///
    /// # Errors
    /// [`ParamsError`] names the first field that is out of bounds.
    pub fn new(config: RunConfig) -> Result<Self, ParamsError> {
        check_profile(&config)?;
        check_vector(&config)?;
        check_cohort(&config)?;
        let run_hash = config.hash();
        Ok(Self { config, run_hash })
    }

    /// The fields as they were given.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Hash of all fields; every later context hangs on it.
    pub fn run_hash(&self) -> Digest {
        self.run_hash
    }

    /// The coordinator's key of this run.
    ///
    /// # Errors
    /// [`ParamsError`] if the bytes are not an Ed25519 key.
    pub fn coordinator(&self) -> Result<VerifyKey, ParamsError> {
        let wrong = ParamsError {
            field: "coordinator_pk",
            value: 0.0,
            allowed: "an Ed25519 public key",
        };
        VerifyKey::parse(self.config.coordinator_pk).map_err(|_| wrong)
    }

    /// The coordinator's signature that offers the run.
    pub fn sign(&self, coordinator: &Identity) -> Signature {
        coordinator.sign(labels::SIG_RUN, &[&self.run_hash.0])
    }

    /// Whether `signature` is the coordinator's under this configuration.
    pub fn verify(&self, signature: &Signature) -> bool {
        self.coordinator()
            .is_ok_and(|key| key.verifies(signature, labels::SIG_RUN, &[&self.run_hash.0]))
    }

    /// The cipher of the mask streams.
    pub fn prg(&self) -> Prg {
        Prg::of(self.config.prg).expect("checked when these were made")
    }

    /// Width of a mask lane: the smallest integer that holds `m` bits.
    pub fn lane(&self) -> LaneWidth {
        LaneWidth::for_ring(self.config.m)
    }

    /// Chunks of one upload.
    pub fn chunks(&self) -> u64 {
        self.config
            .elements
            .div_ceil(u64::from(self.config.chunk_elems))
    }

    /// Elements of chunk `chunk`; zero beyond the last one.
    pub fn chunk_len(&self, chunk: u64) -> u32 {
        let size = u64::from(self.config.chunk_elems);
        let rest = self
            .config
            .elements
            .saturating_sub(chunk.saturating_mul(size))
            .min(size);
        u32::try_from(rest).expect("not more than chunk_elems, a u32")
    }

    /// n_C = ⌊(n−1)/3⌋: how many members of a roster of `n` may be corrupt.
    pub fn corrupt_bound(&self, n: u32) -> u32 {
        n.saturating_sub(1) / 3
    }

    /// Smallest number of holders a site accepts: ⌊2n/3⌋+1. Below it the coordinator could choose who holds all shares.
    pub fn holders_floor(&self, n: u32) -> u32 {
        2 * n / 3 + 1
    }

    /// Signatures that certify a roster of `n`.
    pub fn roster_quorum(&self, n: u32) -> u32 {
        2 * n / 3 + 1
    }

    /// t for `holders` of a roster of `n`: max(⌊2L/3⌋+1, ⌊(L+n_C)/2⌋+1), so that 2t − L > n_C.
    pub fn threshold(&self, holders: u32, n: u32) -> u32 {
        (2 * holders / 3 + 1).max(u32::midpoint(holders, self.corrupt_bound(n)) + 1)
    }

    /// Smallest cohort of a roster of `n`.
    pub fn cohort_floor(&self, n: u32) -> u32 {
        self.config
            .min_cohort
            .max(permille_up(self.config.cohort_min_permille, n))
    }

    /// Smallest survivor set of a roster of `n`: max(⌊2n/3⌋+1, n_C + h_min).
    pub fn min_survivors(&self, n: u32) -> u32 {
        (2 * n / 3 + 1).max(self.corrupt_bound(n) + self.config.min_honest)
    }

    /// c_max: more complaints than this about one dealer include an honest holder's.
    pub fn complaint_bound(&self, n: u32) -> u32 {
        self.corrupt_bound(n)
    }

    /// Whether `alive` of `degree` neighbours are enough: alive ≥ (1−ρ)·degree, in integers.
    pub fn degree_holds(&self, alive: u32, degree: u32) -> bool {
        let (num, den) = (
            u64::from(self.config.rho_num),
            u64::from(self.config.rho_den),
        );
        den * u64::from(alive) >= (den - num) * u64::from(degree)
    }
}

/// ⌈log2 n⌉ for n ≥ 1: the head-room, in bits, of a sum of n values.
pub fn ceil_log2(n: u32) -> u8 {
    u8::try_from(n.saturating_sub(1).checked_ilog2().map_or(0, |log| log + 1)).expect("at most 32")
}

/// Hash of the configuration bytes handed to the trainers of a round.
pub fn round_config_hash(bytes: &[u8]) -> Digest {
    hash(labels::ROUND_CONFIG, &[bytes])
}

fn permille_up(permille: u32, n: u32) -> u32 {
    u32::try_from((u64::from(permille) * u64::from(n)).div_ceil(1000)).unwrap_or(u32::MAX)
}

fn within(
    field: &'static str,
    value: impl Into<f64>,
    ok: bool,
    allowed: &'static str,
) -> Result<(), ParamsError> {
    if ok {
        Ok(())
    } else {
        Err(ParamsError {
            field,
            value: value.into(),
            allowed,
        })
    }
}

fn check_profile(c: &RunConfig) -> Result<(), ParamsError> {
    within(
        "protocol_version",
        c.protocol_version,
        c.protocol_version == PROTOCOL_VERSION,
        "1",
    )?;
    within(
        "profile",
        c.profile,
        c.profile == 0,
        "0 (silo); the fleet profile is not in this version",
    )?;
    within(
        "masking",
        c.masking,
        c.masking == 0,
        "0 (pairwise); masking cannot be switched off",
    )?;
    within(
        "prg",
        c.prg,
        Prg::of(c.prg).is_some(),
        "0 (AES-256-CTR) or 1 (ChaCha20)",
    )?;
    within(
        "committee",
        c.committee,
        c.committee == 0,
        "0 (all online sites hold shares)",
    )?;
    within(
        "committee_threshold",
        c.committee_threshold,
        c.committee_threshold == 0,
        "0 (by rule)",
    )?;
    within(
        "corrupt_rule",
        c.corrupt_rule,
        c.corrupt_rule == 0,
        "0; a share of the roster belongs to the fleet profile",
    )?;
    within(
        "gamma_permille",
        c.gamma_permille,
        c.gamma_permille == 0,
        "0; a share of the roster belongs to the fleet profile",
    )?;
    within(
        "commit_reveal",
        c.commit_reveal,
        c.commit_reveal == 0,
        "0; seed reveal belongs to the fleet profile",
    )?;
    within(
        "batch_size",
        c.batch_size,
        c.batch_size == 0,
        "0; the batch rule is not in this version",
    )?;
    within(
        "audit",
        c.audit,
        c.audit == 0,
        "0; the distributed audit is not in this version",
    )?;
    within(
        "dp_spec",
        bytes(&c.dp_spec),
        c.dp_spec.is_empty(),
        "empty; differential privacy is not in this version",
    )?;
    within(
        "designated",
        bytes(&c.designated),
        c.designated.is_empty(),
        "empty without a designated committee",
    )?;
    within(
        "optimiser",
        bytes(&c.optimiser),
        c.optimiser.len() <= MAX_BYTES,
        "at most 4096 bytes",
    )
}

fn check_vector(c: &RunConfig) -> Result<(), ParamsError> {
    let elements = c.elements as f64;
    within(
        "elements",
        elements,
        (1..=MAX_ELEMENTS).contains(&c.elements),
        "1 to 2^34",
    )?;
    within(
        "meta_lanes",
        c.meta_lanes,
        (1..=MAX_META_LANES).contains(&c.meta_lanes),
        "1 to 1024",
    )?;
    let chunk = c.chunk_elems;
    within(
        "chunk_elems",
        chunk,
        chunk.is_multiple_of(8) && (8..=1 << 18).contains(&chunk),
        "a multiple of 8 up to 2^18",
    )?;
    within(
        "chunk_elems",
        chunk,
        c.elements.div_ceil(u64::from(chunk)) <= MAX_CHUNKS,
        "large enough for at most 2^20 chunks",
    )?;
    within(
        "v",
        c.v,
        (4..=32).contains(&c.v),
        "4 to 32 bits; fewer would let a sum give single inputs away",
    )?;
    within(
        "m",
        c.m,
        c.m <= 64 && c.m >= c.v + ceil_log2(c.n_max),
        "v + ceil(log2 n_max) to 64, so that no sum can wrap",
    )?;
    within(
        "clamp",
        c.clamp,
        c.clamp.is_finite() && c.clamp > 0.0,
        "finite and above 0",
    )?;
    let clip = c.l2_clip;
    within(
        "l2_clip",
        clip,
        clip.is_finite() && clip.is_sign_positive(),
        "finite, 0 (none) or above",
    )?;
    within(
        "weight_max",
        c.weight_max as f64,
        (1..=1 << 40).contains(&c.weight_max),
        "1 to 2^40",
    )?;
    within("quantiser", c.quantiser, c.quantiser == 1, "1")
}

fn check_cohort(c: &RunConfig) -> Result<(), ParamsError> {
    within(
        "n_max",
        c.n_max,
        (3..=MAX_SILO).contains(&c.n_max),
        "3 to 128; with two sites each would learn the other's update",
    )?;
    within(
        "min_cohort",
        c.min_cohort,
        (3..=c.n_max).contains(&c.min_cohort),
        "3 to n_max",
    )?;
    within(
        "min_honest",
        c.min_honest,
        (2..=c.n_max).contains(&c.min_honest),
        "2 to n_max",
    )?;
    within(
        "cohort_min_permille",
        c.cohort_min_permille,
        (700..=1000).contains(&c.cohort_min_permille),
        "700 to 1000",
    )?;
    within(
        "rho_den",
        c.rho_den,
        (1..=1000).contains(&c.rho_den),
        "1 to 1000",
    )?;
    within("rho_num", c.rho_num, c.rho_num < c.rho_den, "below rho_den")?;
    within(
        "delta_max_permille",
        c.delta_max_permille,
        c.delta_max_permille < 500,
        "below 500",
    )?;
    within(
        "epoch_rounds",
        c.epoch_rounds,
        (1..=1024).contains(&c.epoch_rounds),
        "1 to 1024",
    )?;
    within(
        "epoch_seconds",
        c.epoch_seconds as f64,
        (1..=31_536_000).contains(&c.epoch_seconds),
        "1 s to one year",
    )
}

fn bytes(field: &[u8]) -> f64 {
    field.len() as f64
}
