//! Sites that each add a row of numbers of their own to a model, so that the mean tells exactly whose updates are in it.

use std::fs;
use std::path::{Path, PathBuf};

use veilsum_proto::pb;

use crate::federation::Federation;
use crate::files;

/// Two chunks, one part, four pieces.
pub const SMALL: usize = 300_000;

/// What a site adds to an element: between -0.4 and 0.4, and another row of numbers for each site.
fn added(element: usize, site: usize) -> f32 {
    let step = u16::try_from((element * (site + 3) + 7 * site) % 17).unwrap();
    (f32::from(step) - 8.0) / 20.0
}

/// Sites whose trainers run `first` and then hand in their row.
pub fn federation(sites: usize, elements: usize, first: &str) -> Federation {
    Federation::new(sites, 3, |site, dir| {
        let command = files::trainer(site, dir, first);
        let update: Vec<f32> = (0..elements).map(|element| added(element, site)).collect();
        fs::write(dir.join("update.safetensors"), files::delta(&update)).unwrap();
        command
    })
}

/// The mean of what `sites` added: what is left of a mask would be anything at all.
pub fn is_the_mean_of(model: &[u8], elements: usize, sites: &[usize]) {
    is_the_sum_of_means(model, elements, &[sites]);
}

/// The same for several rounds, each with sites of its own.
pub fn is_the_sum_of_means(model: &[u8], elements: usize, rounds: &[&[usize]]) {
    let mean = |element, sites: &[usize]| {
        let sum: f32 = sites.iter().map(|site| added(element, *site)).sum();
        sum / f32::from(u8::try_from(sites.len()).unwrap())
    };
    let values = files::values(model, elements).into_iter().enumerate();
    let far = { values }.find(|(element, value)| {
        let sum: f32 = rounds.iter().map(|sites| mean(*element, sites)).sum();
        (value - sum).abs() > 1e-3
    });
    assert_eq!(far, None, "an element and its value");
}

/// Cohort and survivors of each round.
pub fn counts(run: &pb::Run) -> Vec<(u32, u32)> {
    let rounds = run.history.iter();
    rounds
        .map(|round| (round.cohort, round.survivors))
        .collect()
}

/// The files of a directory, which need not be there.
pub fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}
