//! The canonical bytes of a run's configuration: what `run_hash` is a hash of, written and read.
//!
//! Sites compute the configuration themselves and never take these bytes from anybody; a fault file carries them, so that whoever reads it
//! can compute the hash that was signed. Whether the values are in bounds is [`super::Params`]'s to say. Source: protocol, section 3.

use super::RunConfig;
use crate::codec::{Digest, fields, hash};
use crate::labels;

impl RunConfig {
    /// `run_hash = H("run", f1, …, f39)`.
    pub(super) fn hash(&self) -> Digest {
        self.with_parts(|parts| hash(labels::RUN, parts))
    }

    /// `F(f1, …, f39)`.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.with_parts(fields)
    }

    /// Reads what [`Self::to_bytes`] writes; `None` if a field is missing, too long or too short, or something follows.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut f = Fields(bytes);
        let config = Self {
            protocol_version: u32::from_le_bytes(f.next()?),
            run_id: f.next()?,
            coordinator_pk: f.next()?,
            profile: u8::from_le_bytes(f.next()?),
            masking: u8::from_le_bytes(f.next()?),
            prg: u8::from_le_bytes(f.next()?),
            arch_digest: f.next()?,
            layout_digest: f.next()?,
            code_digest: f.next()?,
            elements: u64::from_le_bytes(f.next()?),
            meta_lanes: u32::from_le_bytes(f.next()?),
            chunk_elems: u32::from_le_bytes(f.next()?),
            v: u8::from_le_bytes(f.next()?),
            m: u8::from_le_bytes(f.next()?),
            n_max: u32::from_le_bytes(f.next()?),
            clamp: f64::from_le_bytes(f.next()?),
            l2_clip: f64::from_le_bytes(f.next()?),
            weight_max: u64::from_le_bytes(f.next()?),
            quantiser: u32::from_le_bytes(f.next()?),
            mean_degree: u32::from_le_bytes(f.next()?),
            committee: u8::from_le_bytes(f.next()?),
            committee_size: u32::from_le_bytes(f.next()?),
            committee_threshold: u32::from_le_bytes(f.next()?),
            designated: f.next_bytes()?.to_vec(),
            rho_num: u32::from_le_bytes(f.next()?),
            rho_den: u32::from_le_bytes(f.next()?),
            delta_max_permille: u32::from_le_bytes(f.next()?),
            cohort_min_permille: u32::from_le_bytes(f.next()?),
            corrupt_rule: u8::from_le_bytes(f.next()?),
            gamma_permille: u32::from_le_bytes(f.next()?),
            min_cohort: u32::from_le_bytes(f.next()?),
            min_honest: u32::from_le_bytes(f.next()?),
            commit_reveal: u8::from_le_bytes(f.next()?),
            epoch_rounds: u32::from_le_bytes(f.next()?),
            epoch_seconds: u64::from_le_bytes(f.next()?),
            batch_size: u32::from_le_bytes(f.next()?),
            audit: u8::from_le_bytes(f.next()?),
            dp_spec: f.next_bytes()?.to_vec(),
            optimiser: f.next_bytes()?.to_vec(),
        };
        f.0.is_empty().then_some(config)
    }

    fn with_parts<T>(&self, make: impl FnOnce(&[&[u8]]) -> T) -> T {
        let c = self;
        make(&[
            &c.protocol_version.to_le_bytes(),
            &c.run_id,
            &c.coordinator_pk,
            &[c.profile],
            &[c.masking],
            &[c.prg],
            &c.arch_digest,
            &c.layout_digest,
            &c.code_digest,
            &c.elements.to_le_bytes(),
            &c.meta_lanes.to_le_bytes(),
            &c.chunk_elems.to_le_bytes(),
            &[c.v],
            &[c.m],
            &c.n_max.to_le_bytes(),
            &c.clamp.to_le_bytes(),
            &c.l2_clip.to_le_bytes(),
            &c.weight_max.to_le_bytes(),
            &c.quantiser.to_le_bytes(),
            &c.mean_degree.to_le_bytes(),
            &[c.committee],
            &c.committee_size.to_le_bytes(),
            &c.committee_threshold.to_le_bytes(),
            &c.designated,
            &c.rho_num.to_le_bytes(),
            &c.rho_den.to_le_bytes(),
            &c.delta_max_permille.to_le_bytes(),
            &c.cohort_min_permille.to_le_bytes(),
            &[c.corrupt_rule],
            &c.gamma_permille.to_le_bytes(),
            &c.min_cohort.to_le_bytes(),
            &c.min_honest.to_le_bytes(),
            &[c.commit_reveal],
            &c.epoch_rounds.to_le_bytes(),
            &c.epoch_seconds.to_le_bytes(),
            &c.batch_size.to_le_bytes(),
            &[c.audit],
            &c.dp_spec,
            &c.optimiser,
        ])
    }
}

/// What is left of a row of fields, each preceded by its length.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next_bytes(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first_chunk::<8>()?;
        let (field, rest) =
            rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        self.0 = rest;
        Some(field)
    }

    fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.next_bytes()?.try_into().ok()
    }
}
