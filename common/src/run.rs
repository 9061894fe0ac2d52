//! A run as both ends know it: the frozen study, the model's layout, and everything that follows from the two.
//!
//! Where it sits: the coordinator makes a [`RunSpec`] when a run is created and offers its bytes to the sites; each site
//! reads them back. Only what cannot be derived travels: run id, coordinator's key, study, layout. Selection, parameters,
//! quantiser and lanes are derived by the same code at both ends, so that they cannot contradict the study.
//!
//! What it deliberately does not do: decide whether a site wants such a run. That is `engine`'s policy.
//!
//! Source: protocol, section 3 (RunConfig).

use serde::{Deserialize, Serialize};
use serde_json::json;
use veilsum_secagg::params::{Params, ParamsError, RunConfig};
use veilsum_secagg::{Digest, PROTOCOL_VERSION};

use crate::ids::{RunId, digest_hex, shown};
use crate::limits::{CHUNK_ELEMS, DEFAULT_COHORT, EPOCH_ROUNDS, EPOCH_SECONDS, MAX_RUN_BYTES};
use crate::metadata::Metadata;
use crate::model::{Checkpoint, File, Layout, ModelError, Selection, Source, TensorSpec};
use crate::quantise::{QUANTISER_VERSION, QuantiseError, Quantiser, ring_bits};
use crate::study::raw::RawStudy;
use crate::study::{ClipKind, Study, StudyError};

/// The frozen parameters of a run. Whoever holds one need not check it again.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSpec {
    run_id: RunId,
    study: Study,
    layout: Layout,
    selection: Selection,
    params: Params,
    quantiser: Quantiser,
    metadata: Metadata,
}

impl RunSpec {
    /// The run of `study` that starts from the safetensors file `initial_model`, of which every float must be finite.
    ///
    /// # Errors
    /// [`RunError`]: the model cannot be used, does not fit the study, or is too large to describe.
    pub fn from_study(
        study: &Study,
        run_id: RunId,
        coordinator_pk: [u8; 32],
        initial_model: &dyn Source,
    ) -> Result<Self, RunError> {
        let model = Checkpoint::open(initial_model, File::Model)?;
        model.check_finite()?;
        let layout = model.layout().clone();
        let spec = Self::derive(study.clone(), run_id, coordinator_pk, layout)?;
        let len_bytes = spec.to_bytes().len();
        if len_bytes > MAX_RUN_BYTES {
            return Err(RunError::TooLong {
                len_bytes,
                limit_bytes: MAX_RUN_BYTES,
            });
        }
        Ok(spec)
    }

    /// Reads what [`RunSpec::to_bytes`] wrote, and checks everything again: the bytes come from a peer.
    ///
    /// # Errors
    /// [`RunError`] if the bytes are too long, not a run, out of bounds, or not the one way to write this run.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RunError> {
        let len_bytes = bytes.len();
        if len_bytes > MAX_RUN_BYTES {
            return Err(RunError::TooLong {
                len_bytes,
                limit_bytes: MAX_RUN_BYTES,
            });
        }
        let wire: WireRun = serde_json::from_slice(bytes).map_err(RunError::Malformed)?;
        if wire.schema != SCHEMA {
            return Err(RunError::Schema {
                found: shown(&wire.schema),
            });
        }
        let layout = Layout::new(wire.layout)?;
        let spec = Self::derive(
            wire.study.try_into()?,
            wire.run_id,
            wire.coordinator_pk.0,
            layout,
        )?;
        if spec.to_bytes() == bytes {
            Ok(spec)
        } else {
            Err(RunError::NotCanonical)
        }
    }

    /// The run as canonical JSON, for the wire and the journal.
    pub fn to_bytes(&self) -> Vec<u8> {
        let wire = WireRunRef {
            schema: SCHEMA,
            run_id: self.run_id,
            coordinator_pk: Digest(self.params.config().coordinator_pk),
            study: &self.study,
            layout: &self.layout,
        };
        serde_json::to_vec(&wire).expect("a run is plain data with text keys")
    }

    /// What every trainer of round `round` is told: canonical JSON with `round`, `rounds`, `config` and the names of the
    /// metrics to report. Equal for all sites, and hashed into the round's announcement.
    pub fn round_config_bytes(&self, round: u64) -> Vec<u8> {
        let metrics: Vec<_> = self.metadata.metrics().map(|metric| &metric.name).collect();
        let mut value = json!({
            "config": self.study.config(),
            "metrics": metrics,
            "round": round,
            "rounds": self.study.rounds().count,
        });
        // no-op unless a dependency makes objects keep insertion order
        value.sort_all_objects();
        serde_json::to_vec(&value).expect("JSON has a text form")
    }

    /// The run's identifier.
    pub fn run_id(&self) -> RunId {
        self.run_id
    }

    /// The study as submitted.
    pub fn study(&self) -> &Study {
        &self.study
    }

    /// The tensors of the model.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Which tensors are averaged.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// What the protocol knows of the run, and its hash.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// How updates become integers.
    pub fn quantiser(&self) -> &Quantiser {
        &self.quantiser
    }

    /// How weights and metrics become lanes.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn derive(
        study: Study,
        run_id: RunId,
        coordinator_pk: [u8; 32],
        layout: Layout,
    ) -> Result<Self, RunError> {
        let patterns = study.model();
        let selection = Selection::choose(&layout, &patterns.aggregate, &patterns.keep_global)?;
        let weight_max = study.secagg().weight.max();
        let metadata = Metadata::new(study.metrics(), weight_max, study.rounds().cohort.target);
        let config = run_config(
            &study,
            run_id,
            coordinator_pk,
            &layout,
            &selection,
            &metadata,
        );
        let l2_clip = (config.l2_clip > 0.0).then_some(config.l2_clip);
        let quantiser = Quantiser::new(config.clamp, l2_clip, weight_max, config.v)?;
        Ok(Self {
            run_id,
            study,
            layout,
            selection,
            params: Params::new(config)?,
            quantiser,
            metadata,
        })
    }
}

/// Why there is no such run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The model, or how the study selects from it.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The study that came over the wire.
    #[error(transparent)]
    Study(#[from] StudyError),
    /// The protocol refuses the parameters.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The quantiser refuses its settings.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
    /// The description does not fit a message.
    #[error(
        "the description of the run has {len_bytes} bytes, at most {limit_bytes} fit a message; \
         give the model fewer tensors or shorter names"
    )]
    TooLong {
        /// Its length.
        len_bytes: usize,
        /// The longest allowed.
        limit_bytes: usize,
    },
    /// Not the JSON of a run.
    #[error(
        "the coordinator's description of the run cannot be read: {0}; do both ends run the same version?"
    )]
    Malformed(#[source] serde_json::Error),
    /// Another format.
    #[error(
        "the coordinator's description of the run is `{found}`, this version reads `{SCHEMA}`; upgrade the older end"
    )]
    Schema {
        /// The schema found, shortened.
        found: String,
    },
    /// A second way to write the same run.
    #[error(
        "the coordinator's description of the run is not in canonical form; do both ends run the same version?"
    )]
    NotCanonical,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRun {
    schema: String,
    run_id: RunId,
    #[serde(with = "digest_hex")]
    coordinator_pk: Digest,
    study: RawStudy,
    layout: Vec<TensorSpec>,
}

#[derive(Serialize)]
struct WireRunRef<'a> {
    schema: &'static str,
    run_id: RunId,
    #[serde(with = "digest_hex")]
    coordinator_pk: Digest,
    study: &'a Study,
    layout: &'a Layout,
}

/// The 39 fields of the protocol, in its order. What this version has no choice about is written out, not defaulted.
fn run_config(
    study: &Study,
    run_id: RunId,
    coordinator_pk: [u8; 32],
    layout: &Layout,
    selection: &Selection,
    metadata: &Metadata,
) -> RunConfig {
    let (rounds, secagg) = (study.rounds(), study.secagg());
    let n_max = rounds.cohort.target;
    let digest = layout.digest().0;
    RunConfig {
        protocol_version: PROTOCOL_VERSION,
        run_id: *run_id.as_bytes(),
        coordinator_pk,
        profile: 0,
        masking: 0,
        prg: secagg.prg.number(),
        arch_digest: digest,
        layout_digest: digest,
        // the whole study: which tensors are averaged, metric ranges, rounds and timeouts, the trainers' configuration
        code_digest: study.digest().0,
        elements: selection.elements(),
        meta_lanes: u32::try_from(metadata.lanes()).expect("two and at most MAX_METRICS"),
        chunk_elems: CHUNK_ELEMS,
        v: secagg.bits,
        m: ring_bits(secagg.bits, n_max),
        n_max,
        // no element is longer than the whole vector, so an L2 clip bounds each by the same value
        clamp: secagg.clip.value,
        l2_clip: match secagg.clip.kind {
            ClipKind::L2 => secagg.clip.value,
            ClipKind::Element => 0.0,
        },
        weight_max: secagg.weight.max(),
        quantiser: QUANTISER_VERSION,
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
        min_cohort: rounds.cohort.min,
        min_honest: min_honest(rounds.cohort.min),
        commit_reveal: 0,
        epoch_rounds: EPOCH_ROUNDS,
        epoch_seconds: EPOCH_SECONDS,
        batch_size: 0,
        audit: 0,
        dp_spec: Vec::new(),
        optimiser: study.strategy().canonical().to_vec(),
    }
}

/// h_min: honest inputs that must remain in a sum. 3, but 2 for a cohort of 3 or 4, where 3 would tolerate no dropout.
fn min_honest(min_cohort: u32) -> u32 {
    if min_cohort < DEFAULT_COHORT { 2 } else { 3 }
}

const SCHEMA: &str = "veilsum.run/v1";

#[cfg(test)]
mod tests;
