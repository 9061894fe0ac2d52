//! Signatures in the form of `ssh-keygen -Y sign`: Ed25519 over SHA-512 of the message, bound to a namespace.
//!
//! `ssh-keygen -Y verify` checks them without any program of ours. Who may sign is [`crate::trust`]'s business.
//! Source: OpenSSH, PROTOCOL.sshsig.

use data_encoding::BASE64;
use ed25519_dalek::Signer as _;
use sha2::{Digest as _, Sha512};
use veilsum_common::limits::MAX_SSHSIG_BYTES;

use crate::error::Error;
use crate::keys::wire::{Reader, put, wrapped};
use crate::keys::{ALGORITHM, SshIdentity, SshPublic};

/// What a signature is for: one for a manifest says nothing as one for a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Of a file's contents.
    Manifest,
    /// Of leave to read a file.
    Grant,
}

impl Namespace {
    /// As it stands in the signature, and after `-n` of ssh-keygen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "veilsum/v1/manifest",
            Self::Grant => "veilsum/v1/grant",
        }
    }
}

/// Signs `message`; the result is armoured text.
pub(crate) fn sign(key: &SshIdentity, namespace: Namespace, message: &[u8]) -> String {
    let signature = key.signing_key().sign(&signed(namespace, message));
    let mut inner = Vec::new();
    put(&mut inner, ALGORITHM.as_bytes());
    put(&mut inner, &signature.to_bytes());
    let mut blob = MAGIC.to_vec();
    blob.extend_from_slice(&VERSION.to_be_bytes());
    put(&mut blob, &key.public().wire());
    put(&mut blob, namespace.as_str().as_bytes());
    put(&mut blob, b"");
    put(&mut blob, HASH);
    put(&mut blob, &inner);
    let mut text = format!("{BEGIN}\n");
    wrapped(&BASE64.encode(&blob), &mut text);
    text.push_str(END);
    text.push('\n');
    text
}

/// Checks an armoured signature; the key that made it, which may be anybody's.
///
/// # Errors
/// [`Error::SignatureInvalid`]: malformed, for another purpose, or not over this message.
pub(crate) fn verify(
    armoured: &str,
    namespace: Namespace,
    message: &[u8],
) -> Result<SshPublic, Error> {
    let (key, signature) = parse(armoured, namespace).ok_or(Error::SignatureInvalid)?;
    key.verify_key()
        .verify_strict(&signed(namespace, message), &signature)
        .map_err(|_| Error::SignatureInvalid)?;
    Ok(key)
}

fn parse(armoured: &str, namespace: Namespace) -> Option<(SshPublic, ed25519_dalek::Signature)> {
    if armoured.len() > MAX_SSHSIG_BYTES {
        return None;
    }
    let body = armoured.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let digits: String = body.split_ascii_whitespace().collect();
    let blob = BASE64.decode(digits.as_bytes()).ok()?;
    let mut outer = Reader::new(blob.strip_prefix(MAGIC)?);
    let version = outer.number().ok()?;
    let key = SshPublic::parse_wire(outer.string().ok()?).ok()?;
    let expected: [&[u8]; 3] = [namespace.as_str().as_bytes(), b"", HASH];
    for expected in expected {
        if outer.string().ok()? != expected {
            return None;
        }
    }
    let mut inner = Reader::new(outer.string().ok()?);
    let algorithm = inner.string().ok()?;
    let signature = inner.string().ok()?.try_into().ok()?;
    let whole = version == VERSION && algorithm == ALGORITHM.as_bytes();
    (whole && outer.is_empty() && inner.is_empty())
        .then(|| (key, ed25519_dalek::Signature::from_bytes(signature)))
}

/// `"SSHSIG" ‖ string namespace ‖ string reserved ‖ string hash_algorithm ‖ string H(message)`
fn signed(namespace: Namespace, message: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    put(&mut bytes, namespace.as_str().as_bytes());
    put(&mut bytes, b"");
    put(&mut bytes, HASH);
    put(&mut bytes, &Sha512::digest(message));
    bytes
}

const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
const HASH: &[u8] = b"sha512";
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";

#[cfg(test)]
mod tests;
