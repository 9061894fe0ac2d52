//! Who gets which rows: the held-out test rows, and each site's share of the rest.
//!
//! Deterministic by seed, so that every process of a demo finds the same answer on its own. It moves rows and never changes them.

use crate::data::Dataset;
use crate::rng::{Purpose, Rng};

/// Rows to train with and rows held out.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// What the sites share out among themselves, in CSV order.
    pub train: Dataset,
    /// What no trainer sees, in CSV order.
    pub test: Dataset,
}

/// Holds out a fifth of each class, rounded to the nearest row.
pub fn train_test(data: &Dataset, seed: u64) -> Split {
    let mut rng = Rng::new(seed, Purpose::TestRows);
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for mut members in by_label(data) {
        rng.shuffle(&mut members);
        let held_out = (members.len() * 2 + TEST_SHARE) / (2 * TEST_SHARE);
        test.extend_from_slice(&members[..held_out]);
        train.extend_from_slice(&members[held_out..]);
    }
    train.sort_unstable();
    test.sort_unstable();
    Split {
        train: data.select(&train),
        test: data.select(&test),
    }
}

/// Deals classes out round robin: with at most as many sites as classes, class `c` goes to site `c mod sites`; with more, site `i` has
/// class `i mod classes` and the rows of a class are dealt out among its sites.
///
/// # Errors
/// [`SplitError`] if there is no site, or if a site would have no row.
pub fn by_class(data: &Dataset, sites: usize) -> Result<Vec<Dataset>, SplitError> {
    let mut shares = vec![Vec::new(); sites];
    for (class, members) in by_label(data).into_iter().enumerate() {
        let takers: Vec<usize> = if sites <= data.classes {
            class.checked_rem(sites).into_iter().collect()
        } else {
            (class..sites).step_by(data.classes).collect()
        };
        for (member, &site) in members.into_iter().zip(takers.iter().cycle()) {
            shares[site].push(member);
        }
    }
    share_out(data, shares)
}

/// Deals rows out at random, so that all sites look alike; shares differ by at most one row.
///
/// # Errors
/// [`SplitError`] if there is no site, or if a site would have no row.
pub fn iid(data: &Dataset, sites: usize, seed: u64) -> Result<Vec<Dataset>, SplitError> {
    let mut order: Vec<usize> = (0..data.len()).collect();
    Rng::new(seed, Purpose::Sites).shuffle(&mut order);
    let mut shares = vec![Vec::new(); sites];
    for (member, site) in order.into_iter().zip((0..sites).cycle()) {
        shares[site].push(member);
    }
    share_out(data, shares)
}

/// Positions of the rows of each class, in CSV order.
fn by_label(data: &Dataset) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); data.classes];
    for (at, &label) in data.labels.iter().enumerate() {
        members[label].push(at);
    }
    members
}

fn share_out(data: &Dataset, mut shares: Vec<Vec<usize>>) -> Result<Vec<Dataset>, SplitError> {
    let sites = shares.len();
    if sites == 0 {
        return Err(SplitError::NoSites);
    }
    if let Some(site) = shares.iter().position(Vec::is_empty) {
        return Err(SplitError::SiteWithoutRows { site, sites });
    }
    shares.iter_mut().for_each(|share| share.sort_unstable());
    Ok(shares.iter().map(|share| data.select(share)).collect())
}

/// Why rows could not be shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// The number of sites is 0.
    #[error("there is no site to give rows to; ask for at least one")]
    NoSites,
    /// There are more sites than the data can serve.
    #[error("site {site} of {sites} would have no row; ask for fewer sites")]
    SiteWithoutRows {
        /// The first site without a row, counted from 0.
        site: usize,
        /// The number of sites asked for.
        sites: usize,
    },
}

/// One row in five is held out: the 80/20 split of the published figures.
const TEST_SHARE: usize = 5;

#[cfg(test)]
mod tests;
