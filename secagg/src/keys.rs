//! Identity keys, agreement keys and seeds: newtypes, so that no key can serve another purpose; the secret ones have neither
//! `Debug` nor `Clone` and are erased when dropped.
//!
//! Source: protocol, sections 3 and 4; RFC 7748 for X25519, RFC 8032 for Ed25519 (verified strictly).

use core::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::codec::{Digest, hash, info};
use crate::error::Fault;
use crate::labels;

#[cfg(test)]
mod tests;

/// An Ed25519 signature. Whether it is valid only a [`VerifyKey`] can say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature(pub [u8; 64]);

/// 32 secret bytes from the operating system's generator or from a key schedule.
///
/// They have one place on the heap: moving a seed, also within a growing list or map, leaves no copy behind.
pub struct Seed(Box<[u8; 32]>);

impl Seed {
    /// Copies 32 bytes of good randomness; what they were in is the caller's to erase.
    pub fn new(bytes: [u8; 32]) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self::copy(&bytes)
    }

    /// Has 32 bytes of good randomness written where they stay.
    pub fn filled(fill: impl FnOnce(&mut [u8])) -> Self {
        let mut seed = Self(Box::new([0; 32]));
        fill(&mut seed.0[..]);
        seed
    }

    fn copy(bytes: &[u8; 32]) -> Self {
        Self::filled(|place| place.copy_from_slice(bytes))
    }

    /// A second handle on the same secret, said aloud.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::copy(&self.0)
    }

    /// The bytes, for sealing at rest and for key schedules.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads stored bytes back; `None` if there are not 32.
    pub fn restore(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::copy)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Seed {}

impl From<Zeroizing<[u8; 32]>> for Seed {
    fn from(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self::copy(&bytes)
    }
}

/// A long-term Ed25519 signing key: a participant's protocol identity, or the coordinator's key of one run.
pub struct Identity {
    key: SigningKey,
    public: VerifyKey,
}

impl Identity {
    /// Derives the key pair from its seed.
    pub fn from_seed(seed: &Seed) -> Self {
        let key = SigningKey::from_bytes(seed.expose());
        let public = VerifyKey(key.verifying_key());
        Self { key, public }
    }

    /// The public half.
    pub fn public(&self) -> VerifyKey {
        self.public
    }

    /// `Sig(sk, label, parts…) = Ed25519(sk, H("sig/" ‖ label, parts…))`.
    pub(crate) fn sign(&self, label: &'static str, parts: &[&[u8]]) -> Signature {
        Signature(self.key.sign(&hash(label, parts).0).to_bytes())
    }
}

/// A public identity key that is a valid point of large order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyKey(VerifyingKey);

impl VerifyKey {
    /// Parses 32 bytes.
    ///
    /// # Errors
    /// [`Fault::Point`] if they are not a point in its one canonical form (an id is a hash of the form), or one of small order.
    pub fn parse(bytes: [u8; 32]) -> Result<Self, Fault> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| Fault::Point("identity key"))?;
        let canonical = key.to_edwards().compress().0 == bytes;
        if canonical && !key.is_weak() {
            Ok(Self(key))
        } else {
            Err(Fault::Point("identity key"))
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// `id = H("id", id_pk)`.
    pub fn id(&self) -> MemberId {
        MemberId(hash(labels::ID, &[self.as_bytes()]))
    }

    /// Strict verification: small-order keys and non-canonical forms are refused.
    pub(crate) fn verifies(
        &self,
        signature: &Signature,
        label: &'static str,
        parts: &[&[u8]],
    ) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0
            .verify_strict(&hash(label, parts).0, &signature)
            .is_ok()
    }
}

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyKey({})", Digest(*self.as_bytes()))
    }
}

/// Who a participant is to its peers: the hash of its identity key. Rosters are sorted by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MemberId(pub Digest);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an operator approves when a site pins its whole roster: the hash of the sorted ids, which outlives epochs.
pub fn members_hash(ids: impl IntoIterator<Item = MemberId>) -> Digest {
    let mut ids: Vec<_> = ids.into_iter().collect();
    ids.sort_unstable();
    let parts: Vec<&[u8]> = ids.iter().map(|id| id.0.as_ref()).collect();
    hash(labels::MEMBERS, &parts)
}

/// A canonical X25519 public key of large order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ExchangeKey([u8; 32]);

impl ExchangeKey {
    /// Parses 32 bytes; `what` names the key in the fault.
    ///
    /// # Errors
    /// [`Fault::Point`] if the coordinate is not below 2^255 − 19 or the point has small order.
    pub fn parse(bytes: [u8; 32], what: &'static str) -> Result<Self, Fault> {
        let canonical = bytes[31] < 0x7f
            || bytes[31] == 0x7f && (bytes[1..31].iter().any(|&b| b != 0xff) || bytes[0] < 0xed);
        if canonical && !SMALL_ORDER.contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(Fault::Point(what))
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Canonical coordinates of small order on the curve and its twist; RFC 7748 section 6.1 leaves refusing them to the protocol.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
    {
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        minus_one
    },
];

/// An X25519 secret: a site's channel key of one epoch, or its mask key of one attempt.
pub(crate) struct ExchangeSecret(Box<StaticSecret>);

impl ExchangeSecret {
    pub(crate) fn new(bytes: &Seed) -> Self {
        Self(Box::new(StaticSecret::from(*bytes.expose())))
    }

    pub(crate) fn public(&self) -> ExchangeKey {
        ExchangeKey(PublicKey::from(&*self.0).to_bytes())
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The shared secret.
    ///
    /// # Errors
    /// [`Fault::AllZero`] if the other key contributes nothing.
    pub(crate) fn agree(&self, other: &ExchangeKey) -> Result<Zeroizing<[u8; 32]>, Fault> {
        let shared = self.0.diffie_hellman(&PublicKey::from(other.0));
        if shared.was_contributory() {
            Ok(Zeroizing::new(shared.to_bytes()))
        } else {
            Err(Fault::AllZero)
        }
    }
}

/// What an organisation binds to a protocol key with its transport certificate's key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindingClaim {
    /// Organisation.
    pub organisation: String,
    /// Site.
    pub site: String,
    /// Start of validity, Unix seconds.
    pub not_before: u64,
    /// End of validity, Unix seconds.
    pub not_after: u64,
}

impl BindingClaim {
    /// `binding_hash = H("binding", id_pk, org, site, LE64(not_before), LE64(not_after))`.
    pub fn hash(&self, key: &VerifyKey) -> Digest {
        let (from, until) = (self.not_before.to_le_bytes(), self.not_after.to_le_bytes());
        hash(
            labels::BINDING,
            &[
                key.as_bytes(),
                self.organisation.as_bytes(),
                self.site.as_bytes(),
                &from,
                &until,
            ],
        )
    }
}

/// The 63 bytes that the organisation's certificate key signs: the canonical form itself, since the scheme hashes on its own.
pub fn binding_message(binding_hash: &Digest) -> Vec<u8> {
    info(labels::SIG_BINDING, &[&binding_hash.0])
}
