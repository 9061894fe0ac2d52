//! Post-quantum recipients: the file key under HPKE with X-Wing, which is ML-KEM-768 joined with X25519.
//!
//! HPKE in base mode, once, for sixteen bytes is four calls of HKDF; they are written out below. The crate `hpke` would bring the same
//! and accept an X25519 share of small order, which age refuses.
//! Sources: <https://c2sp.org/age>, section "The MLKEM768-X25519 … recipient type"; RFC 9180, sections 4 and 5.1;
//! draft-ietf-hpke-pq-03 for the identifier of the KEM.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::Nonce;
use data_encoding::BASE64_NOPAD;
use hkdf::Hkdf;
use sha2::Sha256;
use x_wing::{
    Ciphertext, DecapsulationKeyRejectNonContrib, Decapsulator as _, EncapsulationKey,
    KeyExport as _, KeyInit as _, TryDecapsulate as _,
};
use zeroize::Zeroizing;

use super::{Addressed, bech, decoded, expect};
use crate::age::header::Stanza;
use crate::age::{FileKey, cipher};
use crate::entropy::{Entropy, draw};
use crate::error::Error;

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Recipient(EncapsulationKey);

/// The seed of both key pairs. The expanded keys are made anew for each file: they are many times as long.
pub(super) struct Identity(Box<Zeroizing<[u8; SEED_BYTES]>>);

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = bech::decode::<PUBLIC_BYTES>(text, PUBLIC_PREFIX)?;
        let key = EncapsulationKey::try_from(&bytes[..]);
        key.map(Self)
            .map_err(|_| Error::Key("a post-quantum recipient is no valid key"))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech::encode(PUBLIC_PREFIX, &self.0.to_bytes()))
    }
}

impl Recipient {
    pub(super) fn wrap(&self, file_key: &FileKey, entropy: &mut dyn Entropy) -> Stanza {
        let randomness = draw::<RANDOM_BYTES>(entropy);
        let (enc, shared) = self.0.encapsulate_deterministic((&*randomness).into());
        let shared = Zeroizing::new(<[u8; 32]>::from(shared));
        let (key, nonce) = schedule(&shared);
        let body = file_key.sealed(&cipher(&key), Nonce::assume_unique_for_key(nonce));
        Stanza::new(&[KIND, &BASE64_NOPAD.encode(&enc)], body)
    }
}

impl Identity {
    pub(super) fn draw(entropy: &mut dyn Entropy) -> Self {
        let mut seed = Box::new(Zeroizing::new([0; SEED_BYTES]));
        entropy.fill(&mut seed[..]);
        Self(seed)
    }

    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        bech::decode(text, SECRET_PREFIX).map(Self)
    }

    pub(super) fn expose(&self) -> Zeroizing<String> {
        let lower = Zeroizing::new(bech::encode(SECRET_PREFIX, &self.0[..]));
        Zeroizing::new(lower.to_ascii_uppercase())
    }

    pub(super) fn recipient(&self) -> Recipient {
        Recipient(self.expanded().encapsulation_key().clone())
    }

    pub(super) fn unwrap(&self, stanza: &Stanza) -> Result<Option<FileKey>, Error> {
        let Some(Addressed { arguments, body }) = expect::<1>(stanza, KIND)? else {
            return Ok(None);
        };
        let [enc] = arguments;
        let enc = Ciphertext::from(decoded::<ENC_BYTES>(enc, KIND)?);
        let shared = self.expanded().try_decapsulate(&enc);
        let shared = shared.map_err(|_| Error::Stanza {
            kind: KIND,
            what: "its share is a point of small order",
        })?;
        let shared = Zeroizing::new(<[u8; 32]>::from(shared));
        let (key, nonce) = schedule(&shared);
        Ok(FileKey::opened(
            &cipher(&key),
            Nonce::assume_unique_for_key(nonce),
            body,
        ))
    }

    fn expanded(&self) -> DecapsulationKeyRejectNonContrib {
        DecapsulationKeyRejectNonContrib::new((&**self.0).into())
    }
}

/// Key and nonce of HPKE's only message, in base mode: `psk` and `psk_id` are empty.
fn schedule(shared: &[u8; 32]) -> (Zeroizing<[u8; 32]>, [u8; 12]) {
    // psk_id_hash = LabeledExtract("", "psk_id_hash", psk_id), info_hash = LabeledExtract("", "info_hash", info)
    let (psk_id_hash, _) = labelled_extract(b"", b"psk_id_hash", b"");
    let (info_hash, _) = labelled_extract(b"", b"info_hash", INFO);
    // key_schedule_context = concat(mode, psk_id_hash, info_hash)
    let context = [&[MODE_BASE][..], &psk_id_hash[..], &info_hash[..]].concat();
    // secret = LabeledExtract(shared_secret, "secret", psk)
    let (_, secret) = labelled_extract(shared, b"secret", b"");
    let (mut key, mut nonce) = (Zeroizing::new([0; 32]), [0; 12]);
    labelled_expand(&secret, b"key", &context, &mut key[..]);
    labelled_expand(&secret, b"base_nonce", &context, &mut nonce);
    (key, nonce)
}

/// `Extract(salt, "HPKE-v1" || suite_id || label || ikm)`
fn labelled_extract(salt: &[u8], label: &[u8], ikm: &[u8]) -> (Zeroizing<[u8; 32]>, Hkdf<Sha256>) {
    let labelled = Zeroizing::new([b"HPKE-v1", SUITE, label, ikm].concat());
    let (prk, expander) = Hkdf::<Sha256>::extract(Some(salt), &labelled);
    (Zeroizing::new(prk.into()), expander)
}

/// `Expand(prk, I2OSP(L, 2) || "HPKE-v1" || suite_id || label || info, L)`
fn labelled_expand(secret: &Hkdf<Sha256>, label: &[u8], info: &[u8], out: &mut [u8]) {
    let length = u16::try_from(out.len()).expect("keys and nonces are short");
    let labelled = [&length.to_be_bytes()[..], b"HPKE-v1", SUITE, label, info].concat();
    secret
        .expand(&labelled, out)
        .expect("keys and nonces are short");
}

const KIND: &str = "mlkem768x25519";
const PUBLIC_PREFIX: &str = "age1pq";
const SECRET_PREFIX: &str = "age-secret-key-pq-";
const INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
/// `"HPKE" || kem_id || kdf_id || aead_id`: MLKEM768-X25519, HKDF-SHA256, ChaCha20Poly1305.
const SUITE: &[u8] = b"HPKE\x64\x7a\x00\x01\x00\x03";
const MODE_BASE: u8 = 0;
const SEED_BYTES: usize = 32;
/// 32 for ML-KEM, 32 for X25519.
const RANDOM_BYTES: usize = 64;
const PUBLIC_BYTES: usize = x_wing::ENCAPSULATION_KEY_SIZE;
const ENC_BYTES: usize = x_wing::CIPHERTEXT_SIZE;
