//! The server step: from the global model and the sum of a round to the next model version, range by range.
//!
//! Where it sits: called by the coordinator's `final` job with the unmasked sum. A pure function of its arguments, in
//! binary64 and without transcendental functions, so that any worker gets the same bytes and a site may check them.
//!
//! New strategies are variants here and a name in `study.rs`.

use serde::Serialize;

use crate::quantise::Quantiser;

/// How the next model version follows from the last one and the mean update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ServerStep {
    /// next = global + weighted mean of the updates. McMahan et al., 2017, with the mean taken over deltas.
    FedAvg,
}

impl ServerStep {
    /// Every strategy of this version, by its name in `study.toml`.
    pub const NAMES: [(&'static str, Self); 1] = [("fedavg", Self::FedAvg)];

    /// The strategy called `name` in `study.toml`.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, step)| *step)
    }

    /// The step as the protocol hashes it (`optimiser`).
    pub const fn canonical(self) -> &'static [u8] {
        match self {
            Self::FedAvg => b"fedavg",
        }
    }

    /// Writes the next values of one range of the vector to `out`.
    ///
    /// A value that leaves the range of f32 becomes an infinity here; `model::apply` refuses it with the tensor's name.
    ///
    /// # Panics
    /// If the three ranges differ in length or `weight_sum` is zero: both were checked when the sum was made.
    pub fn step(
        self,
        global: &[f32],
        sum: &[i64],
        weight_sum: u64,
        q: &Quantiser,
        out: &mut [f32],
    ) {
        assert!(
            global.len() == sum.len() && sum.len() == out.len(),
            "one range, three views of it"
        );
        assert_ne!(weight_sum, 0, "metadata decoding refuses a weight of zero");
        for ((next, last), sum) in out.iter_mut().zip(global).zip(sum) {
            *next = match self {
                Self::FedAvg => narrow(f64::from(*last) + q.decode(*sum, weight_sum)),
            };
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounds to the nearest f32, as IEEE 754 says"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests;
