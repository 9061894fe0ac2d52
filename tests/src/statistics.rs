//! What somebody would compute who looks for an update in what a coordinator receives.

/// Pearson's coefficient of two series of one length.
pub fn correlation(xs: &[f64], ys: &[f64]) -> f64 {
    assert_eq!(xs.len(), ys.len());
    let count = xs.len() as f64;
    let mean = |series: &[f64]| series.iter().sum::<f64>() / count;
    let (mx, my) = (mean(xs), mean(ys));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in xs.iter().zip(ys) {
        let (dx, dy) = (x - mx, y - my);
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    xy / (xx * yy).sqrt()
}

/// Pearson's χ² of bytes against the uniform distribution: 255 degrees of freedom, so 255 ± 23 if they are uniform.
pub fn chi_square(bytes: impl IntoIterator<Item = u8>) -> f64 {
    let mut counts = [0u32; 256];
    bytes
        .into_iter()
        .for_each(|byte| counts[usize::from(byte)] += 1);
    let expected = f64::from(counts.iter().sum::<u32>()) / 256.0;
    let term = |count: &u32| (f64::from(*count) - expected).powi(2) / expected;
    counts.iter().map(term).sum()
}

/// Five standard deviations above the mean of χ² with 255 degrees of freedom.
pub const CHI_SQUARE_LIMIT: f64 = 255.0 + 5.0 * 22.6;
