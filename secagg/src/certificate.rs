//! Certificates: t distinct valid signatures on one digest. That something is certified is a type, made here and nowhere else.
//!
//! With 2t − L > c two certificates of one kind share an honest signer, who signs once. Source: protocol, sections 6, 10, 12.

use std::collections::BTreeSet;

use crate::codec::Digest;
use crate::context::{Attempt, Roster};
use crate::error::{Error, Fault};
use crate::keys::Signature;
use crate::labels;

/// Signatures collected for one digest: (roster index or holder position, signature).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// What was signed: epoch context, survivor digest or announcement hash.
    pub digest: Digest,
    /// Who signed; roster indices for a roster, holder positions (from 1) otherwise.
    pub signatures: Vec<(u32, Signature)>,
}

/// Proof that a quorum of members confirmed a roster.
#[derive(Clone, Copy, Debug)]
pub struct CertifiedRoster(Digest);

/// Proof that t holders of one attempt attested one survivor set.
#[derive(Clone, Copy, Debug)]
pub struct CertifiedSurvivors {
    ann_hash: Digest,
    digest: Digest,
}

/// Proof that t holders will never release anything of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct CertifiedAbort(Digest);

impl CertifiedRoster {
    /// The epoch context it proves.
    pub fn epoch_ctx(&self) -> Digest {
        self.0
    }
}

impl CertifiedSurvivors {
    /// The announcement whose holders and threshold it was checked by.
    pub fn ann_hash(&self) -> Digest {
        self.ann_hash
    }

    /// The survivor digest it proves.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl CertifiedAbort {
    /// The announcement it proves dead.
    pub fn ann_hash(&self) -> Digest {
        self.0
    }
}

impl Certificate {
    /// Checks a roster certificate: ⌊2n/3⌋+1 distinct members.
    ///
    /// # Errors
    /// The coordinator's fault if the digest is another one or a signature is wrong; [`Error::BelowThreshold`] if too few signed.
    pub fn certify_roster(&self, roster: &Roster) -> Result<CertifiedRoster, Error> {
        let need = roster.params().roster_quorum(roster.len());
        self.check(roster.ctx(), need, labels::SIG_ROSTER, |index| {
            Some(roster.member(index)?.id_pk)
        })?;
        Ok(CertifiedRoster(self.digest))
    }

    /// Checks a survivor certificate against the digest this holder signed itself: t distinct holders.
    ///
    /// # Errors
    /// As [`Self::certify_roster`].
    pub fn certify_survivors(
        &self,
        attempt: &Attempt,
        digest: Digest,
    ) -> Result<CertifiedSurvivors, Error> {
        self.check(
            digest,
            attempt.threshold(),
            labels::SIG_SURVIVORS,
            |position| attempt.holder_key(position),
        )?;
        Ok(CertifiedSurvivors {
            ann_hash: attempt.hash(),
            digest,
        })
    }

    /// Checks an abort certificate: t distinct holders of the announcement.
    ///
    /// # Errors
    /// As [`Self::certify_roster`].
    pub fn certify_abort(&self, attempt: &Attempt) -> Result<CertifiedAbort, Error> {
        self.check(
            attempt.hash(),
            attempt.threshold(),
            labels::SIG_ABORT,
            |position| attempt.holder_key(position),
        )?;
        Ok(CertifiedAbort(self.digest))
    }

    fn check(
        &self,
        digest: Digest,
        need: u32,
        label: &'static str,
        key_of: impl Fn(u32) -> Option<crate::keys::VerifyKey>,
    ) -> Result<(), Error> {
        if self.digest != digest {
            return Err(Fault::Context("digest").by_coordinator());
        }
        let mut signers = BTreeSet::new();
        for (index, signature) in &self.signatures {
            let absent = Fault::Absent {
                what: "signer",
                index: *index,
            }
            .by_coordinator();
            if !key_of(*index)
                .ok_or(absent)?
                .verifies(signature, label, &[&digest.0])
            {
                return Err(Fault::Signature("certified digest").by_coordinator());
            }
            if !signers.insert(*index) {
                return Err(Fault::Duplicate("certificate signer").by_coordinator());
            }
        }
        let have = u32::try_from(signers.len()).unwrap_or(u32::MAX);
        if have < need {
            Err(Error::BelowThreshold { have, need })
        } else {
            Ok(())
        }
    }
}
