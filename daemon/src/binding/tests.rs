use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize, SignatureAlgorithm,
};

use super::*;

const MESSAGE: [u8; MESSAGE_BYTES] = [7; MESSAGE_BYTES];
const OTHER_MESSAGE: [u8; MESSAGE_BYTES] = [8; MESSAGE_BYTES];

struct Organisation {
    key_pem: String,
    leaf: Vec<u8>,
}

impl Organisation {
    fn with_key(algorithm: &'static SignatureAlgorithm) -> Self {
        Self::of(&KeyPair::generate_for(algorithm).unwrap())
    }

    fn of(key: &KeyPair) -> Self {
        let leaf = CertificateParams::default()
            .self_signed(key)
            .unwrap()
            .der()
            .to_vec();
        Self {
            key_pem: key.serialize_pem(),
            leaf,
        }
    }
}

fn check_kind(organisation: &Organisation, expected_scheme: u16) {
    let (scheme, signature) = sign(organisation.key_pem.as_bytes(), &MESSAGE).unwrap();
    assert_eq!(scheme, expected_scheme);
    verify(&organisation.leaf, scheme, &signature, &MESSAGE).unwrap();

    let over_other = verify(&organisation.leaf, scheme, &signature, &OTHER_MESSAGE);
    assert_eq!(over_other, Err(BindingError::WrongSignature));
    let cut = verify(&organisation.leaf, scheme, &signature[1..], &MESSAGE);
    assert_eq!(cut, Err(BindingError::WrongSignature));
    for other in [0x0403, 0x0503, 0x0807, 0x0804, 0x0401, 0x0809, 0] {
        if other != scheme {
            let expected = Err(BindingError::OtherScheme {
                found: other,
                expected: scheme,
            });
            assert_eq!(
                verify(&organisation.leaf, other, &signature, &MESSAGE),
                expected
            );
        }
    }
}

#[test]
fn p_256_signs_with_0x0403() {
    check_kind(&Organisation::with_key(&PKCS_ECDSA_P256_SHA256), 0x0403);
}

#[test]
fn p_384_signs_with_0x0503() {
    check_kind(&Organisation::with_key(&PKCS_ECDSA_P384_SHA384), 0x0503);
}

#[test]
fn ed25519_signs_with_0x0807() {
    check_kind(&Organisation::with_key(&PKCS_ED25519), 0x0807);
}

#[test]
fn rsa_of_2048_bits_signs_with_0x0804() {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    check_kind(&Organisation::of(&key), 0x0804);
}

#[test]
fn a_kind_of_key_without_a_binding_is_refused_on_both_sides() {
    let organisation = Organisation::with_key(&PKCS_ECDSA_P521_SHA512);
    assert_eq!(
        sign(organisation.key_pem.as_bytes(), &MESSAGE),
        Err(BindingError::UnsupportedKey)
    );
    assert_eq!(
        verify(&organisation.leaf, 0x0603, &[0; 64], &MESSAGE),
        Err(BindingError::UnsupportedKey)
    );
}

#[test]
fn the_key_of_another_site_is_refused() {
    let signer = Organisation::with_key(&PKCS_ECDSA_P256_SHA256);
    let other = Organisation::with_key(&PKCS_ECDSA_P256_SHA256);
    let (scheme, signature) = sign(signer.key_pem.as_bytes(), &MESSAGE).unwrap();
    assert_eq!(
        verify(&other.leaf, scheme, &signature, &MESSAGE),
        Err(BindingError::WrongSignature)
    );
}

/// An organisation that signs what it likes with its one key.
struct Careless {
    leaf: Vec<u8>,
    signature: Vec<u8>,
}

/// The scheme does its own hashing: who hashes before signs another message.
fn signed_over_the_hash() -> (Careless, Vec<u8>) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let hash = digest::digest(&digest::SHA256, &MESSAGE).as_ref().to_vec();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der());
    let signature = pair.unwrap().sign(&SystemRandom::new(), &hash).unwrap();
    let (leaf, signature) = (Organisation::of(&key).leaf, signature.as_ref().to_vec());
    (Careless { leaf, signature }, hash)
}

/// The same key with the padding of another scheme, 0x0401 of TLS.
fn signed_by_pkcs1() -> Careless {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let pair = RsaKeyPair::from_pkcs8(&key.serialize_der()).unwrap();
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        &MESSAGE,
        &mut signature,
    )
    .unwrap();
    let leaf = Organisation::of(&key).leaf;
    Careless { leaf, signature }
}

/// A certificate with a key of 1,024 bits; no library here makes one any more.
fn signed_by_a_short_key(signature: &[u8]) -> Careless {
    Careless {
        leaf: include_bytes!("tests/rsa_1024.der").to_vec(),
        signature: signature.to_vec(),
    }
}

#[test]
fn t76_a_binding_signed_over_the_hash_of_the_message_is_refused() {
    let (hashed, _) = signed_over_the_hash();
    assert_eq!(
        verify(&hashed.leaf, 0x0403, &hashed.signature, &MESSAGE),
        Err(BindingError::WrongSignature)
    );
}

#[test]
fn t76_a_binding_with_another_scheme_than_that_of_its_key_is_refused() {
    let other = signed_by_pkcs1();
    let refused = |scheme| verify(&other.leaf, scheme, &other.signature, &MESSAGE);
    let (found, expected) = (0x0401, 0x0804);
    assert_eq!(
        refused(found),
        Err(BindingError::OtherScheme { found, expected })
    );
    assert_eq!(
        refused(expected),
        Err(BindingError::WrongSignature),
        "said to be of the right scheme"
    );
}

#[test]
fn t76_an_rsa_key_below_2048_bits_is_refused() {
    let short = signed_by_a_short_key(include_bytes!("tests/rsa_1024_pss.sig"));
    assert_eq!(
        verify(&short.leaf, 0x0804, &short.signature, &MESSAGE),
        Err(BindingError::RsaTooShort { have: 1024 })
    );
    assert_eq!(check_key(&rsa_public_key(0x80, 256)), Ok(()));
    assert_eq!(
        check_key(&rsa_public_key(0x7f, 256)),
        Err(BindingError::RsaTooShort { have: 2047 })
    );
    assert_eq!(
        check_key(&rsa_public_key(0x80, 128)),
        Err(BindingError::RsaTooShort { have: 1024 })
    );
}

/// Each of the three is a true signature of the certificate's key. Nothing but the rules on message, scheme and length stands against it.
#[test]
fn t76_without_the_rules_on_message_scheme_and_length_every_such_signature_counts() {
    let believed = |careless: &Careless, algorithm, message: &[u8]| {
        let (_, certificate) = X509Certificate::from_der(&careless.leaf).unwrap();
        let key = &certificate.public_key().subject_public_key.data;
        UnparsedPublicKey::new(algorithm, key)
            .verify(message, &careless.signature)
            .is_ok()
    };
    let (hashed, hash) = signed_over_the_hash();
    assert!(believed(&hashed, Scheme::EcdsaP256.algorithm(), &hash));
    let other = signed_by_pkcs1();
    assert!(believed(&other, &RSA_PKCS1_2048_8192_SHA256, &MESSAGE));
    let short = signed_by_a_short_key(include_bytes!("tests/rsa_1024_pkcs1.sig"));
    let any_length = &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
    assert!(believed(&short, any_length, &MESSAGE));
}

/// The DER of a public key whose modulus has `len_bytes` bytes and begins with `first`.
fn rsa_public_key(first: u8, len_bytes: usize) -> Vec<u8> {
    let mut modulus = vec![0xff; len_bytes];
    modulus[0] = first;
    if first >= 0x80 {
        modulus.insert(0, 0);
    }
    let numbers = [der(0x02, &modulus), der(0x02, &[1, 0, 1])].concat();
    let rsa_encryption = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let algorithm = der(0x30, &[der(0x06, &rsa_encryption), der(0x05, &[])].concat());
    let key = der(0x03, &[vec![0], der(0x30, &numbers)].concat());
    der(0x30, &[algorithm, key].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let length = match (high, low) {
        (0, 0..=0x7f) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [vec![tag], length, content.to_vec()].concat()
}

#[test]
fn keys_of_the_four_kinds_may_be_certified_and_no_others() {
    let info = |algorithm| {
        rcgen::PublicKeyData::subject_public_key_info(&KeyPair::generate_for(algorithm).unwrap())
    };
    assert_eq!(check_key(&info(&PKCS_ECDSA_P256_SHA256)), Ok(()));
    assert_eq!(check_key(&info(&PKCS_ECDSA_P384_SHA384)), Ok(()));
    assert_eq!(check_key(&info(&PKCS_ED25519)), Ok(()));
    assert_eq!(
        check_key(&info(&PKCS_ECDSA_P521_SHA512)),
        Err(BindingError::UnsupportedKey)
    );
    assert_eq!(check_key(b"no"), Err(BindingError::Malformed));
}

#[test]
fn what_is_no_key_and_no_certificate_is_refused() {
    assert_eq!(sign(b"no", &MESSAGE), Err(BindingError::NoKey));
    assert_eq!(
        verify(b"no", 0x0403, &[], &MESSAGE),
        Err(BindingError::Malformed)
    );
}
