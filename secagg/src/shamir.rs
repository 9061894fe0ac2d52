//! Shamir sharing over Z_ℓ, ℓ the order of the Ed25519 group: `f(0) = secret`, share of position x is `f(x)`, x = 1..L.
//!
//! Every coefficient is uniform, the leading one included: forbidding zero leaks over many sharings (RUSTSEC-2024-0398). All
//! arithmetic is constant time. Nothing is checked here: who joins shares compares them, and the result, with their commitments. Source: protocol, section 17; Shamir, "How to share a secret", CACM 22 (1979).

use std::collections::BTreeSet;

use curve25519_dalek::scalar::Scalar;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::{Error, Fault};

/// A secret element of Z_ℓ: a shared secret or one share of it. It has one place on the heap, so that moving it leaves no copy behind.
pub struct SecretScalar(Box<Scalar>);

impl SecretScalar {
    /// Reads the canonical form: 32 bytes, little-endian, below ℓ.
    ///
    /// # Errors
    /// [`Fault::Scalar`] otherwise.
    pub fn parse(bytes: &[u8; 32]) -> Result<Self, Fault> {
        Option::from(Scalar::from_canonical_bytes(*bytes))
            .map(Self::hold)
            .ok_or(Fault::Scalar)
    }

    /// Reduces 64 uniform bytes modulo ℓ.
    pub(crate) fn from_wide(bytes: &[u8; 64]) -> Self {
        Self::hold(Scalar::from_bytes_mod_order_wide(bytes))
    }

    fn hold(mut scalar: Scalar) -> Self {
        let held = Self(Box::new(scalar));
        scalar.zeroize();
        held
    }

    /// The canonical bytes.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// A second handle on the same secret, said aloud.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Drop for SecretScalar {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for SecretScalar {}

impl PartialEq for SecretScalar {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// A polynomial of degree t − 1; its constant term is the secret.
pub(crate) struct Polynomial(Vec<SecretScalar>);

impl Polynomial {
    /// From its t coefficients, the secret first.
    pub(crate) fn new(coefficients: Vec<SecretScalar>) -> Self {
        Self(coefficients)
    }

    /// f(0).
    pub(crate) fn secret(&self) -> &SecretScalar {
        &self.0[0]
    }

    /// f(x) by Horner's rule.
    pub(crate) fn share(&self, x: u32) -> SecretScalar {
        let x = Scalar::from(x);
        SecretScalar::hold(
            self.0
                .iter()
                .rev()
                .fold(Scalar::ZERO, |acc, coefficient| acc * x + *coefficient.0),
        )
    }
}

/// Lagrange coefficients at 0 for one responding set: Σ λ_x · f(x) = f(0).
pub struct Lagrange {
    weights: Vec<Scalar>,
}

impl Lagrange {
    /// For distinct positions, none of them 0.
    ///
    /// # Errors
    /// [`Error::BelowThreshold`] when there are fewer than `threshold` of them; our own fault, [`Error::Positions`], otherwise: two
    /// values at one place say nothing about a polynomial, and must not be held against a dealer.
    pub fn new(positions: &[u32], threshold: u32) -> Result<Self, Error> {
        let have = u32::try_from(positions.len()).unwrap_or(u32::MAX);
        if have < threshold {
            return Err(Error::BelowThreshold {
                have,
                need: threshold,
            });
        }
        let distinct: BTreeSet<u32> = positions.iter().copied().collect();
        if distinct.len() != positions.len() || distinct.contains(&0) {
            return Err(Error::Positions);
        }
        // λ_x = Π_{z ≠ x} z / (z − x) = Π z / (x · Π_{z ≠ x} (z − x)): one inversion for all of them
        let xs: Vec<Scalar> = positions.iter().map(|&x| Scalar::from(x)).collect();
        let others = |x| xs.iter().filter(move |z| **z != x);
        let mut weights: Vec<Scalar> = xs
            .iter()
            .map(|x| x * others(*x).map(|z| z - x).product::<Scalar>())
            .collect();
        Scalar::invert_batch_alloc(&mut weights);
        let all: Scalar = xs.iter().product();
        weights.iter_mut().for_each(|weight| *weight *= all);
        Ok(Self { weights })
    }

    /// Joins one share per position, in the order of the positions it was made for.
    pub fn combine(&self, shares: &[&SecretScalar]) -> SecretScalar {
        SecretScalar::hold(
            self.weights
                .iter()
                .zip(shares)
                .map(|(weight, share)| weight * *share.0)
                .sum(),
        )
    }
}
