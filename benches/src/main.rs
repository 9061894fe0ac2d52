//! The figures of docs/benchmarks.md: one JSON object a line on standard output, `id`, `value`, `unit`, `against` and how far the
//! repetitions lay apart.
//!
//! Every figure is a ratio of two things measured in this run, turn by turn, so that whatever else the machine does hits both.
//! `veilsum-benches` runs all, `veilsum-benches P1 P9` some. `cargo xtask bench` builds and runs it.

mod cast;
mod figure;
mod fold;
mod mask;
mod site;
mod unmask;

use figure::Figure;

/// Measures a figure and its variants.
type Measure = fn() -> Vec<Figure>;

/// Every figure, by the beginning of its id, and what measures it.
const FIGURES: &[(&str, Measure)] = &[
    ("P1", mask::one_thread),
    ("P2", mask::two_threads),
    ("P3", site::step),
    ("P6", unmask::whole),
    ("P7", site::bytes_up),
    ("P9", fold::figures),
];

fn main() -> anyhow::Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for id in &wanted {
        let known = FIGURES.iter().any(|(known, _)| known == id);
        anyhow::ensure!(known, "no figure is called {id}; there are {}", names());
    }
    for (id, measure) in FIGURES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == id) {
            measure()
                .iter()
                .for_each(|figure| println!("{}", figure.json()));
        }
    }
    Ok(())
}

fn names() -> String {
    let names: Vec<_> = FIGURES.iter().map(|(id, _)| *id).collect();
    names.join(", ")
}
