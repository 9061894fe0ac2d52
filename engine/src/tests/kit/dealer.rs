//! A dealer that cheats one holder: an honest Commit in which one sealed pair is replaced by another, signed again.
//!
//! Made from keys that the dealer has, with nothing of `secagg` that it would not show: what is here is written after the protocol,
//! sections 3, 5 and 8, a second time. The participant's tests read this file too.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use veilsum_secagg::context::Attempt;
use veilsum_secagg::coordinator;
use veilsum_secagg::keys::Signature;
use veilsum_secagg::message::Commit;

/// `commit` of `dealer`, in which `holder` is sealed two scalars that are canonical and not the committed ones. `identity` is the
/// dealer's key, `outbound` its round keys as it stores them.
pub fn missealed(
    attempt: &Attempt,
    dealer: u32,
    identity: &[u8; 32],
    outbound: &[u8],
    holder: u32,
    mut commit: Commit,
) -> Commit {
    let core = coordinator::check_commit(attempt, dealer, &commit).expect("it was honest");
    let ids = [dealer, holder].map(|index| attempt.roster().member(index).unwrap().id.0.0);
    let record = outbound
        .chunks_exact(36)
        .find(|record| record[..4] == holder.to_le_bytes());
    let round_key = &record.expect("there is a key for each holder")[4..];
    let seq = attempt.announcement().seq.to_le_bytes();
    let key = expand(round_key, "share", &[&ids[0], &ids[1], &seq, &commit.nonce]);
    let aad = hash("share-aad", &[&attempt.hash().0, &ids[0], &ids[1], &core.0]);
    let pair = Payload {
        msg: &[1; 64],
        aad: &aad,
    };
    let sealed = ChaCha20Poly1305::new(&key.into()).encrypt(&Nonce::default(), pair);
    let place = attempt.position(holder).expect("it is a holder") as usize - 1;
    commit.ciphertexts[place] = Some(sealed.unwrap().try_into().unwrap());
    let sealed: Vec<&[u8]> = (commit.ciphertexts.iter())
        .map(|ct| ct.as_ref().map_or(&[][..], |ct| &ct[..]))
        .collect();
    let parts = [core.0, hash("blob", &[&commit.blob]), hash("cts", &sealed)];
    let signed = hash("sig/commit", &parts.each_ref().map(|part| &part[..]));
    commit.sig_commit = Signature(SigningKey::from_bytes(identity).sign(&signed).to_bytes());
    coordinator::check_commit(attempt, dealer, &commit).expect("the dealer signed it");
    commit
}

/// `I(label, parts…)`.
fn info(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = [b"veilsum/v1/", label.as_bytes(), &[0]].concat();
    for part in parts {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(*part);
    }
    bytes
}

fn hash(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(info(label, parts)).into()
}

fn expand(key: &[u8], label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(&info(label, parts));
    mac.update(&[1]);
    mac.finalize().into_bytes().into()
}
