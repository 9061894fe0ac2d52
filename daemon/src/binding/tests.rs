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

/// T-76, first part: the scheme does its own hashing.
#[test]
fn a_binding_signed_over_the_hash_of_the_message_is_refused() {
    let organisation = Organisation::with_key(&PKCS_ECDSA_P256_SHA256);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &MESSAGE);
    let mut as_message = [0; MESSAGE_BYTES];
    as_message[..32].copy_from_slice(hash.as_ref());
    let (scheme, signature) = sign(organisation.key_pem.as_bytes(), &as_message).unwrap();
    assert_eq!(
        verify(&organisation.leaf, scheme, &signature, &MESSAGE),
        Err(BindingError::WrongSignature)
    );
}

/// T-76, last part.
#[test]
fn an_rsa_key_below_2048_bits_is_refused() {
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
