//! What is said while an epoch is set up: advertisements, the roster, its confirmations and its certificate.
//!
//! Whether an organisation's signature or certificate is good is not looked at here; only its length is bounded.
//!
//! Source: protocol, section 6.

use veilsum_common::limits::{
    MAX_BINDING_NAME_BYTES, MAX_BINDING_SIG_BYTES, MAX_CERTIFICATE_BYTES, MAX_CHAIN, MAX_MEMBERS,
};
use veilsum_secagg::Certificate;
use veilsum_secagg::keys::BindingClaim;
use veilsum_secagg::message::{Advertisement, RosterConfirmation};
use veilsum_secagg::participant::Binding;

use super::{
    ConvertError, Problem, at_most, digest, exchange_key, not_in_version_1, plain_text, required,
    signature, verify_key,
};
use crate::pb;

impl TryFrom<pb::Advertisement> for Advertisement {
    type Error = ConvertError;

    fn try_from(message: pb::Advertisement) -> Result<Self, ConvertError> {
        let Binding {
            claim,
            scheme,
            signature: binding_signature,
            chain,
        } = binding(required("binding", message.binding)?, message.cert_chain)?;
        not_in_version_1("mlkem_ek", message.mlkem_ek.len(), "bytes")?;
        Ok(Self {
            run_hash: digest("run_hash", &message.run_hash)?,
            epoch: message.epoch,
            id_pk: verify_key("id_pk", &message.id_pk)?,
            x_pk: exchange_key("x25519_pk", &message.x25519_pk)?,
            binding: claim,
            binding_scheme: scheme,
            binding_signature,
            chain,
            nonce_commit: digest("nonce_commit", &message.nonce_commit)?,
            signature: signature("sig", &message.sig)?,
        })
    }
}

/// Reads an organisation's word, and the certificates that back it.
pub(super) fn binding(message: pb::Binding, chain: Vec<Vec<u8>>) -> Result<Binding, ConvertError> {
    let pb::Binding {
        org,
        site,
        not_before,
        not_after,
        sig,
        scheme,
    } = message;
    let org = plain_text("binding.org", org, MAX_BINDING_NAME_BYTES)?;
    let site = plain_text("binding.site", site, MAX_BINDING_NAME_BYTES)?;
    at_most("binding.sig", sig.len(), MAX_BINDING_SIG_BYTES, "bytes")?;
    at_most("cert_chain", chain.len(), MAX_CHAIN, "certificates")?;
    for certificate in &chain {
        at_most(
            "cert_chain",
            certificate.len(),
            MAX_CERTIFICATE_BYTES,
            "bytes in one certificate",
        )?;
    }
    let scheme_limit = Problem::TooLarge {
        have: scheme.into(),
        limit: u16::MAX.into(),
    };
    Ok(Binding {
        claim: BindingClaim {
            organisation: org,
            site,
            not_before,
            not_after,
        },
        scheme: u16::try_from(scheme).map_err(|_| scheme_limit.of("binding.scheme"))?,
        signature: sig,
        chain,
    })
}

/// An organisation's word; its certificates travel beside it.
pub(super) fn binding_message(claim: BindingClaim, scheme: u16, sig: Vec<u8>) -> pb::Binding {
    let BindingClaim {
        organisation,
        site,
        not_before,
        not_after,
    } = claim;
    pb::Binding {
        org: organisation,
        site,
        not_before,
        not_after,
        sig,
        scheme: scheme.into(),
    }
}

impl From<Advertisement> for pb::Advertisement {
    fn from(value: Advertisement) -> Self {
        Self {
            run_hash: value.run_hash.0.to_vec(),
            epoch: value.epoch,
            id_pk: value.id_pk.as_bytes().to_vec(),
            x25519_pk: value.x_pk.as_bytes().to_vec(),
            mlkem_ek: Vec::new(),
            binding: Some(binding_message(
                value.binding,
                value.binding_scheme,
                value.binding_signature,
            )),
            cert_chain: value.chain,
            nonce_commit: value.nonce_commit.0.to_vec(),
            sig: value.signature.0.to_vec(),
        }
    }
}

/// The index of a line, and the member that stands on it.
impl TryFrom<pb::RosterEntry> for (u32, Advertisement) {
    type Error = ConvertError;

    fn try_from(message: pb::RosterEntry) -> Result<Self, ConvertError> {
        Ok((
            message.index,
            required("advertisement", message.advertisement)?.try_into()?,
        ))
    }
}

/// The members of a roster from its lines, each of which must name the place it stands at.
///
/// # Errors
/// [`Problem::Place`] for the first that does not.
pub fn roster(
    lines: impl IntoIterator<Item = (u32, Advertisement)>,
) -> Result<Vec<Advertisement>, ConvertError> {
    let member = |(need, (have, member)): (usize, (u32, Advertisement))| {
        if have as usize == need {
            Ok(member)
        } else {
            Err(Problem::Place { have, need }.of("entry.index"))
        }
    };
    lines.into_iter().enumerate().map(member).collect()
}

impl From<(u32, Advertisement)> for pb::RosterEntry {
    fn from((index, advertisement): (u32, Advertisement)) -> Self {
        Self {
            index,
            advertisement: Some(advertisement.into()),
        }
    }
}

impl TryFrom<pb::RosterConfirmation> for RosterConfirmation {
    type Error = ConvertError;

    fn try_from(message: pb::RosterConfirmation) -> Result<Self, ConvertError> {
        not_in_version_1("reveal", message.reveal.len(), "bytes")?;
        Ok(Self {
            epoch_ctx: digest("epoch_ctx", &message.epoch_ctx)?,
            index: message.index,
            signature: signature("sig", &message.sig)?,
        })
    }
}

impl From<RosterConfirmation> for pb::RosterConfirmation {
    fn from(value: RosterConfirmation) -> Self {
        let RosterConfirmation {
            epoch_ctx,
            index,
            signature,
        } = value;
        Self {
            epoch_ctx: epoch_ctx.0.to_vec(),
            index,
            sig: signature.0.to_vec(),
            reveal: Vec::new(),
        }
    }
}

impl TryFrom<pb::RosterCert> for Certificate {
    type Error = ConvertError;

    fn try_from(message: pb::RosterCert) -> Result<Self, ConvertError> {
        not_in_version_1("reveals", message.reveals.len(), "entries")?;
        certificate("epoch_ctx", &message.epoch_ctx, &message.sigs)
    }
}

impl From<Certificate> for pb::RosterCert {
    fn from(value: Certificate) -> Self {
        let (epoch_ctx, sigs) = parts(value);
        Self {
            epoch_ctx,
            sigs,
            reveals: Vec::new(),
        }
    }
}

/// Reads a certificate of any kind; `field` is what its digest is called there.
pub(super) fn certificate(
    field: &'static str,
    digest_bytes: &[u8],
    sigs: &[pb::IndexedSig],
) -> Result<Certificate, ConvertError> {
    at_most("sigs", sigs.len(), MAX_MEMBERS, "signatures")?;
    let one = |sig: &pb::IndexedSig| Ok((sig.index, signature("sigs.sig", &sig.sig)?));
    Ok(Certificate {
        digest: digest(field, digest_bytes)?,
        signatures: sigs.iter().map(one).collect::<Result<_, _>>()?,
    })
}

/// Digest and signatures of a certificate, as every kind of it is written.
pub(super) fn parts(value: Certificate) -> (Vec<u8>, Vec<pb::IndexedSig>) {
    let one = |(index, signature): &(u32, veilsum_secagg::keys::Signature)| pb::IndexedSig {
        index: *index,
        sig: signature.0.to_vec(),
    };
    (
        value.digest.0.to_vec(),
        value.signatures.iter().map(one).collect(),
    )
}

#[cfg(test)]
mod tests;
