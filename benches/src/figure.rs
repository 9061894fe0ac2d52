//! A figure, and how two things are measured against each other.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// One line of the result.
pub struct Figure {
    /// "P1", or a variant of it: "P9/m=19".
    pub id: String,
    /// The ratio.
    pub value: f64,
    /// What the value is.
    pub unit: &'static str,
    /// What it was measured against.
    pub against: String,
    /// Lower and upper quartile of the repetitions.
    pub quartiles: [f64; 2],
}

impl Figure {
    /// The id without the variant.
    pub fn row(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }

    pub fn json(&self) -> serde_json::Value {
        json!({
            "id": self.id,
            "value": rounded(self.value),
            "unit": self.unit,
            "against": self.against,
            "quartiles": self.quartiles.map(rounded),
        })
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Which time counts.
#[derive(Clone, Copy)]
pub enum Clock {
    /// Of this thread on a processor: what others do in between does not count.
    Thread,
    /// On the wall, for work of several threads.
    Wall,
}

impl Clock {
    fn now(self) -> Duration {
        let time = clock_gettime(match self {
            Self::Thread => ClockId::ThreadCPUTime,
            Self::Wall => ClockId::Monotonic,
        });
        Duration::try_from(time).expect("a clock does not show negative times")
    }

    /// How long `work` takes.
    pub fn seconds(self, work: &mut dyn FnMut()) -> f64 {
        let start = self.now();
        work();
        (self.now() - start).as_secs_f64()
    }
}

/// Median and quartiles of time(`over`) / time(`under`), the two run by turns.
pub fn ratio(clock: Clock, over: &mut dyn FnMut(), under: &mut dyn FnMut()) -> (f64, [f64; 2]) {
    over();
    under();
    let mut ratios: Vec<f64> = (0..REPETITIONS)
        .map(|turn| {
            // whoever goes first finds the caches of the other
            let first = (turn % 2 == 0).then(|| clock.seconds(over));
            let under = clock.seconds(under);
            first.unwrap_or_else(|| clock.seconds(over)) / under
        })
        .collect();
    middle(&mut ratios)
}

/// Median and quartiles of measurements.
pub fn middle(measured: &mut [f64]) -> (f64, [f64; 2]) {
    measured.sort_by(f64::total_cmp);
    let at = |share: usize| measured[share * (measured.len() - 1) / 4];
    (at(2), [at(1), at(3)])
}

/// Odd, so that the median is one of them.
pub const REPETITIONS: usize = 21;
