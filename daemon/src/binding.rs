//! The identity binding: an organisation's TLS key signs which protocol key is its own.
//!
//! One signature scheme per kind of key, named by its TLS 1.3 number. The message is made elsewhere, from canonical
//! bytes; who may sign (chain, use, validity, revocation) is judged before. This module signs and verifies, and checks
//! that scheme and key fit.
//!
//! Source: protocol, section 4.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, RSA_PSS_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::tls;

/// Bytes of the message: label, zero byte, length of the hash, hash.
///
/// Nothing that TLS has this key sign is as short, so neither can be passed off as the other.
pub const MESSAGE_BYTES: usize = 63;

/// Why a binding was not signed or is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BindingError {
    /// The text holds no private key.
    #[error("no usable private key in the PEM text")]
    NoKey,
    /// The certificate cannot be parsed.
    #[error("the certificate cannot be parsed")]
    Malformed,
    /// A binding cannot be made with this kind of key.
    #[error(
        "the organisation's key is of a kind without a binding; use P-256, P-384, Ed25519 or RSA of {RSA_BITS_MIN} bits or more"
    )]
    UnsupportedKey,
    /// The RSA key is too short.
    #[error("the organisation's RSA key has {have} bits, the least is {RSA_BITS_MIN}")]
    RsaTooShort {
        /// Bits of its modulus.
        have: usize,
    },
    /// The scheme is not the one of the key's kind.
    #[error("the binding names scheme {found:#06x}, a key of this kind signs with {expected:#06x}")]
    OtherScheme {
        /// The scheme named.
        found: u16,
        /// The scheme of the key's kind.
        expected: u16,
    },
    /// The key did not sign this message.
    #[error("the signature of the binding is not by the certificate's key over this binding")]
    WrongSignature,
    /// The library could not sign.
    #[error("signing with the organisation's key failed")]
    SigningFailed,
}

/// Signs `message` with the private key of `key_pem` by the one scheme of its kind. Returns the scheme's TLS number and
/// the signature.
///
/// # Errors
/// [`BindingError::NoKey`], [`BindingError::UnsupportedKey`], [`BindingError::SigningFailed`].
pub fn sign(key_pem: &[u8], message: &[u8; MESSAGE_BYTES]) -> Result<(u16, Vec<u8>), BindingError> {
    let key = tls::erasable_key(key_pem).map_err(|_| BindingError::NoKey)?;
    let key = any_supported_type(&key).map_err(|_| BindingError::UnsupportedKey)?;
    let schemes = Scheme::ALL.map(Scheme::tls);
    let signer = key
        .choose_scheme(&schemes)
        .ok_or(BindingError::UnsupportedKey)?;
    let signature = signer
        .sign(message)
        .map_err(|_| BindingError::SigningFailed)?;
    Ok((u16::from(signer.scheme()), signature))
}

/// Verifies that the key of the certificate `leaf` (DER) signed `message` by the one scheme of its kind.
///
/// # Errors
/// [`BindingError`]; nothing is believed then.
///
/// # Security
/// Says nothing about the certificate itself: its chain, use, validity and revocation are to be verified first.
pub fn verify(
    leaf: &[u8],
    scheme: u16,
    signature: &[u8],
    message: &[u8; MESSAGE_BYTES],
) -> Result<(), BindingError> {
    let (rest, certificate) =
        X509Certificate::from_der(leaf).map_err(|_| BindingError::Malformed)?;
    if !rest.is_empty() {
        return Err(BindingError::Malformed);
    }
    let expected = Scheme::of_key(certificate.public_key())?;
    if scheme != expected.number() {
        return Err(BindingError::OtherScheme {
            found: scheme,
            expected: expected.number(),
        });
    }
    UnparsedPublicKey::new(
        expected.algorithm(),
        &certificate.public_key().subject_public_key.data,
    )
    .verify(message, signature)
    .map_err(|_| BindingError::WrongSignature)
}

/// Checks that a public key (SubjectPublicKeyInfo, DER) is of a kind that can make a binding. An authority asks before
/// it certifies one.
///
/// # Errors
/// [`BindingError::Malformed`], [`BindingError::UnsupportedKey`], [`BindingError::RsaTooShort`].
pub fn check_key(public_key: &[u8]) -> Result<(), BindingError> {
    let (_, key) =
        SubjectPublicKeyInfo::from_der(public_key).map_err(|_| BindingError::Malformed)?;
    Scheme::of_key(&key).map(|_| ())
}

/// The four schemes, one per kind of key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scheme {
    EcdsaP256,
    EcdsaP384,
    Ed25519,
    RsaPss,
}

impl Scheme {
    const ALL: [Self; 4] = [
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::Ed25519,
        Self::RsaPss,
    ];

    fn of_key(key: &SubjectPublicKeyInfo<'_>) -> Result<Self, BindingError> {
        let kind = &key.algorithm.algorithm;
        if *kind == OID_SIG_ED25519 {
            return Ok(Self::Ed25519);
        }
        // Keys marked for RSASSA-PSS alone have another number in TLS and are not among the kinds.
        if *kind == OID_PKCS1_RSAENCRYPTION {
            return rsa_bits(key).map(|_| Self::RsaPss);
        }
        if *kind != OID_KEY_TYPE_EC_PUBLIC_KEY {
            return Err(BindingError::UnsupportedKey);
        }
        let curve = key
            .algorithm
            .parameters
            .as_ref()
            .and_then(|curve| curve.as_oid().ok());
        match curve {
            Some(curve) if curve == OID_EC_P256 => Ok(Self::EcdsaP256),
            Some(curve) if curve == OID_NIST_EC_P384 => Ok(Self::EcdsaP384),
            Some(_) | None => Err(BindingError::UnsupportedKey),
        }
    }

    fn tls(self) -> SignatureScheme {
        match self {
            Self::EcdsaP256 => SignatureScheme::ECDSA_NISTP256_SHA256,
            Self::EcdsaP384 => SignatureScheme::ECDSA_NISTP384_SHA384,
            Self::Ed25519 => SignatureScheme::ED25519,
            Self::RsaPss => SignatureScheme::RSA_PSS_SHA256,
        }
    }

    fn number(self) -> u16 {
        u16::from(self.tls())
    }

    fn algorithm(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::EcdsaP256 => &ECDSA_P256_SHA256_ASN1,
            Self::EcdsaP384 => &ECDSA_P384_SHA384_ASN1,
            Self::Ed25519 => &ED25519,
            Self::RsaPss => &RSA_PSS_2048_8192_SHA256,
        }
    }
}

fn rsa_bits(key: &SubjectPublicKeyInfo<'_>) -> Result<usize, BindingError> {
    let Ok(PublicKey::RSA(rsa)) = key.parsed() else {
        return Err(BindingError::Malformed);
    };
    let significant = rsa
        .modulus
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(rsa.modulus.len());
    let bits = match &rsa.modulus[significant..] {
        [] => 0,
        [first, rest @ ..] => {
            rest.len() * 8 + usize::from(8 - u8::try_from(first.leading_zeros()).unwrap_or(8))
        }
    };
    if bits < RSA_BITS_MIN {
        Err(BindingError::RsaTooShort { have: bits })
    } else {
        Ok(bits)
    }
}

/// The least that the TLS libraries accept, too.
const RSA_BITS_MIN: usize = 2048;

#[cfg(test)]
mod tests;
