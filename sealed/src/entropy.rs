//! Randomness, as an argument: who calls this crate brings it.
//!
//! No function here asks the operating system by itself, so that a test
//! can repeat a file byte for byte and the program has one source of randomness.

use zeroize::Zeroizing;

/// Good randomness, as much as is asked for. A function that fills a slice is one.
///
/// # Security
/// File keys, nonces and ephemeral keys are drawn from it: bytes that repeat or can be guessed open every file made with them.
pub trait Entropy {
    /// Fills `out`.
    fn fill(&mut self, out: &mut [u8]);
}

impl<F: FnMut(&mut [u8])> Entropy for F {
    fn fill(&mut self, out: &mut [u8]) {
        self(out);
    }
}

/// `N` fresh bytes, erased when dropped.
pub(crate) fn draw<const N: usize>(entropy: &mut dyn Entropy) -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    entropy.fill(bytes.as_mut_slice());
    bytes
}
