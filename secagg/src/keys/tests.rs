use super::*;

/// No such key can be parsed; should one come in by another way, the agreement itself refuses it.
#[test]
fn t13_a_key_that_contributes_nothing_agrees_on_nothing() {
    let secret = ExchangeSecret::new(&Seed::new([7; 32]));
    for point in SMALL_ORDER {
        assert_eq!(ExchangeKey::parse(point, "E"), Err(Fault::Point("E")));
        assert_eq!(
            secret.agree(&ExchangeKey(point)).err(),
            Some(Fault::AllZero)
        );
    }
    let other = ExchangeSecret::new(&Seed::new([8; 32]));
    assert_eq!(secret.agree(&other.public()), other.agree(&secret.public()));
}

#[test]
fn a_signature_is_bound_to_its_label_and_to_every_part() {
    let identity = Identity::from_seed(&Seed::new([7; 32]));
    let signature = identity.sign(labels::SIG_ROSTER, &[b"a", b"b"]);
    let key = identity.public();
    assert!(key.verifies(&signature, labels::SIG_ROSTER, &[b"a", b"b"]));
    assert!(!key.verifies(&signature, labels::SIG_ABORT, &[b"a", b"b"]));
    assert!(!key.verifies(&signature, labels::SIG_ROSTER, &[b"ab"]));
    assert!(!key.verifies(&signature, labels::SIG_ROSTER, &[b"a", b"b", b""]));
    assert!(!key.verifies(&signature, labels::SIG_ROSTER, &[b"b", b"a"]));
}

/// S + ℓ instead of S passes a lax check; a signature has one form only.
#[test]
fn a_second_form_of_a_signature_is_refused() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let identity = Identity::from_seed(&Seed::new([7; 32]));
    let mut signature = identity.sign(labels::SIG_ROSTER, &[b"a"]);
    let mut carry = 0;
    for (byte, add) in signature.0[32..].iter_mut().zip(ORDER) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    assert_eq!(carry, 0);
    assert!(
        !identity
            .public()
            .verifies(&signature, labels::SIG_ROSTER, &[b"a"])
    );
}

#[test]
fn the_binding_message_is_the_canonical_form_itself() {
    let hash = Digest([9; 32]);
    let message = binding_message(&hash);
    assert_eq!(message.len(), 63);
    assert!(message.starts_with(b"veilsum/v1/sig/binding\0") && message.ends_with(&hash.0));
}

#[test]
fn a_binding_names_key_organisation_site_and_validity() {
    let key = Identity::from_seed(&Seed::new([7; 32])).public();
    let claim = BindingClaim {
        organisation: "org".into(),
        site: "site".into(),
        not_before: 1,
        not_after: 2,
    };
    let others = [
        BindingClaim {
            organisation: "orgs".into(),
            site: "ite".into(),
            ..claim.clone()
        },
        BindingClaim {
            site: "other".into(),
            ..claim.clone()
        },
        BindingClaim {
            not_before: 0,
            ..claim.clone()
        },
        BindingClaim {
            not_after: 3,
            ..claim.clone()
        },
    ];
    assert!(
        others
            .iter()
            .all(|other| other.hash(&key) != claim.hash(&key))
    );
    assert_ne!(
        claim.hash(&key),
        claim.hash(&Identity::from_seed(&Seed::new([8; 32])).public())
    );
}

/// For R the neutral element, S = k·a solves the equation of a lax check; a strict one refuses R for its small order.
#[test]
fn a_signature_whose_point_has_small_order_is_refused() {
    use curve25519_dalek::scalar::{Scalar, clamp_integer};
    use sha2::{Digest as _, Sha512};

    let (secret, neutral) = ([7; 32], SMALL_ORDER[1]);
    let identity = Identity::from_seed(&Seed::new(secret));
    let public = identity.public();
    let digest = hash(labels::SIG_ROSTER, &[b"a"]);
    let wide = Sha512::digest(secret);
    let a = Scalar::from_bytes_mod_order(clamp_integer(wide[..32].try_into().unwrap()));
    let challenge = Sha512::new()
        .chain_update(neutral)
        .chain_update(public.as_bytes())
        .chain_update(digest.0)
        .finalize();
    let s = Scalar::from_bytes_mod_order_wide(&challenge.into()) * a;
    let forged = [neutral, s.to_bytes()].concat().try_into().unwrap();
    let lax = ed25519_dalek::Verifier::verify(
        &public.0,
        &digest.0,
        &ed25519_dalek::Signature::from_bytes(&forged),
    );
    assert!(lax.is_ok(), "the equation holds");
    assert!(!public.verifies(&Signature(forged), labels::SIG_ROSTER, &[b"a"]));
}
