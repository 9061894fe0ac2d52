//! The figures of docs/benchmarks.md: one JSON object a line on standard output, `id`, `value`, `unit`, `against` and how far the
//! repetitions lay apart.
//!
//! Every figure is a ratio of two things measured in this run, turn by turn, so that whatever else the machine does hits both.
//! `veilsum-benches` runs all, `veilsum-benches P1 P9` some, `P4` is P4a and P4b. `cargo xtask bench` builds and runs it.

mod cast;
mod figure;
mod flower;
mod fold;
mod mask;
mod ours;
mod peers;
mod site;
mod unmask;
mod upload;

use figure::Figure;

/// Measures a figure and its variants; of several figures at least those that are wanted.
type Measure = fn(&Wanted) -> Vec<Figure>;

/// Every figure by its id, and what measures it.
const FIGURES: &[(&[&str], Measure)] = &[
    (&["P1"], |_| mask::one_thread()),
    (&["P2"], |_| mask::two_threads()),
    (&["P3"], |_| site::step()),
    (&["P4a", "P4b", "P5a", "P5b"], flower::figures),
    (&["P6"], |_| unmask::whole()),
    (&["P7"], |_| site::bytes_up()),
    (&["P8"], |_| upload::throughput()),
    (&["P9"], |_| fold::figures()),
];

/// The ids on the command line; none means all.
struct Wanted(Vec<String>);

impl Wanted {
    fn has(&self, id: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| names(wanted, id))
    }
}

/// Whether `wanted` is `id`, or all of its letters: P4 is P4a and P4b, but P1 is not P10.
fn names(wanted: &str, id: &str) -> bool {
    let rest = id.strip_prefix(wanted);
    rest.is_some_and(|rest| rest.chars().all(|letter| letter.is_ascii_lowercase()))
}

fn main() -> anyhow::Result<()> {
    let wanted = Wanted(std::env::args().skip(1).collect());
    let ids: Vec<_> = FIGURES.iter().flat_map(|(ids, _)| *ids).copied().collect();
    for asked in &wanted.0 {
        let known = ids.iter().any(|id| names(asked, id));
        anyhow::ensure!(
            known,
            "no figure is called {asked}; there are {}",
            ids.join(", ")
        );
    }
    for (ids, measure) in FIGURES {
        if ids.iter().any(|id| wanted.has(id)) {
            measure(&wanted)
                .iter()
                .filter(|figure| wanted.has(figure.row()))
                .for_each(|figure| println!("{}", figure.json()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
