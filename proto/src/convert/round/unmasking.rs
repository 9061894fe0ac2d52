//! What holders sign and release.
//!
//! Source: protocol, sections 10 and 11.

use veilsum_secagg::Certificate;
use veilsum_secagg::message::{Attestation, UnmaskList};

use crate::convert::epoch::{certificate, parts};
use crate::convert::{ConvertError, OverRoster, digest, pieces, set, signature};
use crate::pb;

impl OverRoster for pb::Attestation {
    type Value = Attestation;

    fn over(self, roster_size: u32) -> Result<Attestation, ConvertError> {
        Ok(Attestation {
            digest: digest("digest", &self.digest)?,
            position: self.position,
            signature: signature("sig", &self.sig)?,
            complaints: set("bad_bitmap", roster_size, &self.bad_bitmap)?,
            sig_complaint: signature("sig_complaint", &self.sig_complaint)?,
        })
    }
}

impl From<Attestation> for pb::Attestation {
    fn from(value: Attestation) -> Self {
        Self {
            digest: value.digest.0.to_vec(),
            position: value.position,
            sig: value.signature.0.to_vec(),
            bad_bitmap: value.complaints.as_bytes().to_vec(),
            sig_complaint: value.sig_complaint.0.to_vec(),
        }
    }
}

impl TryFrom<pb::SurvivorCert> for Certificate {
    type Error = ConvertError;

    fn try_from(message: pb::SurvivorCert) -> Result<Self, ConvertError> {
        certificate("digest", &message.digest, &message.sigs)
    }
}

impl From<Certificate> for pb::SurvivorCert {
    fn from(value: Certificate) -> Self {
        let (digest, sigs) = parts(value);
        Self { digest, sigs }
    }
}

impl OverRoster for pb::UnmaskList {
    type Value = UnmaskList;

    fn over(self, roster_size: u32) -> Result<UnmaskList, ConvertError> {
        Ok(UnmaskList {
            digest: digest("digest", &self.digest)?,
            position: self.position,
            present: set("present_bitmap", roster_size, &self.present_bitmap)?,
            scalars: pieces("scalars", &self.scalars, roster_size as usize)?,
            signature: signature("sig", &self.sig)?,
        })
    }
}

impl From<UnmaskList> for pb::UnmaskList {
    fn from(value: UnmaskList) -> Self {
        Self {
            digest: value.digest.0.to_vec(),
            position: value.position,
            present_bitmap: value.present.as_bytes().to_vec(),
            scalars: value.scalars.concat(),
            sig: value.signature.0.to_vec(),
        }
    }
}
