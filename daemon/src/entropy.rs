//! The only place that asks the operating system for randomness.
//!
//! The machines are given entropy as data; the drivers draw it here. (Libraries that make TLS keys draw their own.)

use zeroize::Zeroizing;

/// Fills `buffer` with randomness that is fit for keys.
///
/// # Panics
/// When the operating system has no randomness to give. Without it no secret can be made, so the process must not go
/// on.
pub fn fill(buffer: &mut [u8]) {
    getrandom::fill(buffer).expect("the operating system provides randomness");
}

/// `N` fresh random bytes, erased from memory when dropped.
///
/// # Panics
/// As [`fill`].
pub fn bytes<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    fill(bytes.as_mut_slice());
    bytes
}

#[cfg(test)]
mod tests;
