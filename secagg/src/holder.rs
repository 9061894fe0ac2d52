//! A holder's duty in one attempt: attest one survivor set once, then release exactly one share per cohort member, or abort.
//!
//! Typestates `Idle → Attested → Released` and `Idle | Attested → Aborted`, consumed: this is the only code that reveals a share,
//! and no value can do both. What a step needs is judged first ([`Idle::judge`]), made durable by the caller, and only then done.
//! Source: protocol, sections 10 to 13 (normative).

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::bitmap::Bitmap;
use crate::certificate::CertifiedSurvivors;
use crate::channel::{Envelope, PairKeys};
use crate::codec::{Digest, le32};
use crate::commitment::{self, Secret};
use crate::context::Attempt;
use crate::error::{Error, Fault};
use crate::keys::{Identity, VerifyKey};
use crate::labels;
use crate::merkle::Tree;
use crate::message::{
    AbortAttestation, Attestation, Cohort, PAIR_BYTES, ShareItem, SurvivorItem, SurvivorProposal,
    UnmaskList,
};
use crate::participant::OwnShares;
use crate::shamir::SecretScalar;

/// Shares of every dealer of a cohort, opened and compared with their commitments. Lives in memory only.
pub struct OpenedShares {
    ctx: Digest,
    pub(crate) pairs: BTreeMap<u32, [SecretScalar; 2]>,
    bad: Bitmap,
}

impl OpenedShares {
    /// Opens every item, one per cohort member in ascending order, and checks each against its dealer's commitment.
    ///
    /// A pair that does not open, is not canonical or is not the committed one makes a complaint, never an error: the coordinator
    /// can still abort cleanly.
    ///
    /// # Errors
    /// The coordinator's fault if the items are not the cohort's, or their cores do not give the cohort root: it altered an item,
    /// and nobody is complained about.
    pub fn open(
        attempt: &Attempt,
        me: u32,
        inbound: &PairKeys,
        own: Option<&OwnShares>,
        cohort: &Cohort,
        items: &[ShareItem],
    ) -> Result<Self, Error> {
        let position = attempt
            .position(me)
            .ok_or(Error::NotAMember("holder list"))?;
        check_cohort(attempt, cohort)?;
        if !cohort
            .members
            .iter()
            .eq(items.iter().map(|item| item.index))
        {
            return Err(Fault::Order("share items").by_coordinator());
        }
        let cores = check_cores(attempt, position, cohort, items)?;
        let mut opened = Self {
            ctx: cohort.ctx(),
            pairs: BTreeMap::new(),
            bad: Bitmap::empty(attempt.roster().len()),
        };
        for (item, core) in items.iter().zip(&cores) {
            let plain = if item.index == me {
                own.map(|own| Zeroizing::new(own.expose().to_vec()))
            } else {
                let envelope = Envelope {
                    attempt,
                    dealer: item.index,
                    holder: me,
                    nonce: &item.nonce,
                    core,
                };
                open_item(&envelope, inbound, item)?
            };
            match plain
                .and_then(|plain| committed_pair(attempt, position, item.index, &item.pair, &plain))
            {
                Some(pair) => drop(opened.pairs.insert(item.index, pair)),
                None => opened.bad.insert(item.index),
            }
        }
        Ok(opened)
    }

    /// Dealers whose shares cannot be used.
    pub fn complaints(&self) -> &Bitmap {
        &self.bad
    }
}

/// A cohort is this attempt's only if it names this announcement: the commit cores alone do not show which one `ctx` was hashed from.
fn check_cohort(attempt: &Attempt, cohort: &Cohort) -> Result<(), Error> {
    let ours = cohort.ann_hash == attempt.hash() && cohort.members.size() == attempt.roster().len();
    if ours {
        Ok(())
    } else {
        Err(Fault::Context("announcement").by_coordinator())
    }
}

/// Computes every dealer's core from this holder's own leaf; they must give the cohort root.
fn check_cores(
    attempt: &Attempt,
    position: u32,
    cohort: &Cohort,
    items: &[ShareItem],
) -> Result<Vec<Digest>, Error> {
    let mismatch = Fault::Root("share item").by_coordinator();
    let core = |item| commitment::core_of_item(attempt, position, item)?.ok_or(mismatch);
    let cores = items.iter().map(core).collect::<Result<Vec<_>, _>>()?;
    if Tree::Cohort.root(&cores) == Some(cohort.root) {
        Ok(cores)
    } else {
        Err(mismatch)
    }
}

fn open_item(
    envelope: &Envelope<'_>,
    inbound: &PairKeys,
    item: &ShareItem,
) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let (Some(key), Some(ciphertext)) = (inbound.get(item.index), &item.ciphertext) else {
        return Ok(None);
    };
    envelope.open(key, ciphertext)
}

/// The two scalars, if both are canonical and both are the committed ones.
pub(crate) fn committed_pair(
    attempt: &Attempt,
    x: u32,
    dealer: u32,
    pair: &[u8; PAIR_BYTES],
    plain: &[u8],
) -> Option<[SecretScalar; 2]> {
    let halves: &[u8; PAIR_BYTES] = plain.try_into().ok()?;
    let (b, k) = halves.split_first_chunk::<32>()?;
    let (b, k) = (
        SecretScalar::parse(b).ok()?,
        SecretScalar::parse(k.try_into().ok()?).ok()?,
    );
    let id = attempt.roster().member(dealer)?.id;
    (commitment::of_pair(&attempt.hash(), &id, x, &b, &k) == *pair).then_some([b, k])
}

/// A survivor set this holder may sign; storing it is what makes the decision durable (H1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The proposal.
    pub proposal: SurvivorProposal,
    /// Cohort it is about.
    pub cohort: Bitmap,
    /// Dealers complained about.
    pub complaints: Bitmap,
}

/// Holds shares and has promised nothing yet.
pub struct Idle {
    attempt: Arc<Attempt>,
    position: u32,
}

impl Idle {
    /// Takes up the duty.
    ///
    /// # Errors
    /// [`Error::NotAMember`] if `me` is not a holder of the attempt.
    pub fn new(attempt: Arc<Attempt>, me: u32) -> Result<Self, Error> {
        let position = attempt
            .position(me)
            .ok_or(Error::NotAMember("holder list"))?;
        Ok(Self { attempt, position })
    }

    /// Judges a survivor proposal by rules 1 to 5 of section 10; rule 6 is the caller's ledger.
    ///
    /// `own` is this site's index and upload hash, once they are on record. Before the receipt is stored they need not be, and the
    /// set may name this site all the same: its signature verifies only over what it signed. Nothing changes here.
    ///
    /// # Errors
    /// The rule that was broken, blamed on the coordinator: a signature that does not verify says nothing about the survivor it is
    /// said to be from, and an honest coordinator lists none.
    pub fn judge(
        &self,
        cohort: &Cohort,
        opened: &OpenedShares,
        proposal: &SurvivorProposal,
        items: &[SurvivorItem],
        own: Option<(u32, Digest)>,
    ) -> Result<Verdict, Error> {
        let survivors = &proposal.survivors;
        check_cohort(&self.attempt, cohort)?;
        if proposal.ctx != cohort.ctx()
            || opened.ctx != proposal.ctx
            || survivors.size() != cohort.members.size()
        {
            return Err(Fault::Context("cohort").by_coordinator());
        }
        self.check_size(cohort, survivors)?;
        if !survivors.iter().eq(items.iter().map(|item| item.index)) {
            return Err(Fault::Order("survivor items").by_coordinator());
        }
        for item in items {
            self.check_survivor(proposal, item, own)?;
        }
        let leaves: Vec<_> = items
            .iter()
            .map(|item| upload_leaf(item.index, &item.upload_hash))
            .collect();
        if Tree::Uploads.root(&leaves) != Some(proposal.upload_root) {
            return Err(Fault::Root("survivor items").by_coordinator());
        }
        let complaints = opened.bad.clone();
        Ok(Verdict {
            proposal: proposal.clone(),
            cohort: cohort.members.clone(),
            complaints,
        })
    }

    /// Rule 3: U ⊆ cohort and |U| ≥ min_survivors.
    fn check_size(&self, cohort: &Cohort, survivors: &Bitmap) -> Result<(), Error> {
        if let Some(index) = survivors.iter().find(|&u| !cohort.members.contains(u)) {
            return Err(Fault::Absent {
                what: "survivor",
                index,
            }
            .by_coordinator());
        }
        let (have, need) = (
            survivors.count(),
            self.attempt
                .params()
                .min_survivors(self.attempt.roster().len()),
        );
        if have < need {
            Err(Fault::TooFew {
                what: "survivors",
                have,
                need,
            }
            .by_coordinator())
        } else {
            Ok(())
        }
    }

    /// Rules 4 and 5: signed under this very context, and enough neighbours left.
    fn check_survivor(
        &self,
        proposal: &SurvivorProposal,
        item: &SurvivorItem,
        own: Option<(u32, Digest)>,
    ) -> Result<(), Error> {
        let (attempt, u) = (&self.attempt, item.index);
        if own.is_some_and(|(me, hash)| me == u && hash != item.upload_hash) {
            return Err(Fault::Context("upload of this site").by_coordinator());
        }
        if !upload_verifies(attempt, &proposal.ctx, item) {
            return Err(Fault::Signature("upload").by_coordinator());
        }
        let graph = attempt.roster().graph();
        let alive = graph.alive(u, &proposal.survivors);
        if attempt.params().degree_holds(alive, graph.degree(u)) {
            Ok(())
        } else {
            Err(Fault::Degree { member: u }.by_coordinator())
        }
    }

    /// Binds this holder to one survivor set. The caller has stored the verdict.
    pub fn attest(self, verdict: Verdict) -> Attested {
        Attested {
            attempt: self.attempt,
            position: self.position,
            verdict,
        }
    }

    /// Gives the attempt up. The caller has stored the abort.
    pub fn abort(self) -> Aborted {
        Aborted {
            ann_hash: self.attempt.hash(),
            position: self.position,
        }
    }
}

/// Has signed one survivor set and may sign no other.
pub struct Attested {
    attempt: Arc<Attempt>,
    position: u32,
    verdict: Verdict,
}

impl Attested {
    /// The set it is bound to.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The signed message; the same every time.
    pub fn attestation(&self, identity: &Identity) -> Attestation {
        let (digest, complaints) = (
            self.verdict.proposal.digest(),
            self.verdict.complaints.clone(),
        );
        let signature = identity.sign(labels::SIG_SURVIVORS, &[&digest.0]);
        let sig_complaint =
            identity.sign(labels::SIG_COMPLAINT, &[&digest.0, complaints.as_bytes()]);
        Attestation {
            digest,
            position: self.position,
            signature,
            complaints,
            sig_complaint,
        }
    }

    /// Frees the shares of the certified set. The caller has stored the release.
    ///
    /// # Errors
    /// Gives `self` back if the certificate is for another digest, or was checked by the holders of another attempt.
    #[expect(
        clippy::result_large_err,
        reason = "the state goes back to its owner; it is no error value"
    )]
    pub fn release(self, certified: CertifiedSurvivors) -> Result<Released, Self> {
        if certified.ann_hash() != self.attempt.hash()
            || certified.digest() != self.verdict.proposal.digest()
        {
            return Err(self);
        }
        Ok(Released {
            position: self.position,
            verdict: self.verdict,
        })
    }

    /// Gives the attempt up. The caller has stored the abort.
    pub fn abort(self) -> Aborted {
        Aborted {
            ann_hash: self.attempt.hash(),
            position: self.position,
        }
    }
}

/// May reveal one share per cohort member, and can never abort any more.
pub struct Released {
    position: u32,
    verdict: Verdict,
}

impl Released {
    /// The set it is bound to.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The signed list: for each cohort member without complaint its b share if it survived, else its K share. The same every time.
    ///
    /// # Security
    /// The list is the release. `opened` must be of the verdict's context; shares of other dealers are not looked at.
    ///
    /// # Errors
    /// The coordinator's fault if the shares were opened under another context, or if a share that opened when the set was signed does
    /// not open any more: it altered an item, and a shorter list would be a second answer under this holder's signature.
    pub fn unmask(&self, identity: &Identity, opened: &OpenedShares) -> Result<UnmaskList, Error> {
        let Verdict {
            proposal,
            cohort,
            complaints,
        } = &self.verdict;
        if opened.ctx != proposal.ctx {
            return Err(Fault::Context("cohort").by_coordinator());
        }
        let mut present = Bitmap::empty(cohort.size());
        let mut scalars = Vec::new();
        for member in cohort.iter().filter(|&member| !complaints.contains(member)) {
            let [b, k] = opened
                .pairs
                .get(&member)
                .ok_or(Fault::Root("share item").by_coordinator())?;
            present.insert(member);
            scalars.push(match revealed(&proposal.survivors, member) {
                Secret::SelfMask => *b.expose(),
                Secret::Rescue => *k.expose(),
            });
        }
        let (digest, position) = (proposal.digest(), self.position);
        let list = UnmaskList::hash(position, &present, &scalars);
        let signature = identity.sign(labels::SIG_UNMASK, &[&digest.0, &list.0]);
        Ok(UnmaskList {
            digest,
            position,
            present,
            scalars,
            signature,
        })
    }
}

/// Will never reveal anything of the attempt.
pub struct Aborted {
    ann_hash: Digest,
    position: u32,
}

impl Aborted {
    /// For an announcement this holder never took up: a tombstone, without keys.
    ///
    /// # Errors
    /// [`Error::NotAMember`] if `me` is not a holder of the attempt.
    pub fn tombstone(attempt: &Attempt, me: u32) -> Result<Self, Error> {
        let position = attempt
            .position(me)
            .ok_or(Error::NotAMember("holder list"))?;
        Ok(Self {
            ann_hash: attempt.hash(),
            position,
        })
    }

    /// The signed message; the same every time.
    pub fn attestation(&self, identity: &Identity) -> AbortAttestation {
        let signature = identity.sign(labels::SIG_ABORT, &[&self.ann_hash.0]);
        AbortAttestation {
            ann_hash: self.ann_hash,
            position: self.position,
            signature,
        }
    }
}

/// `LE32(i) ‖ upload_hash_i`.
pub(crate) fn upload_leaf(index: u32, upload_hash: &Digest) -> Vec<u8> {
    [&le32(index)[..], &upload_hash.0].concat()
}

/// Whether `Sig("upload", ctx, upload_hash)` is the survivor's: it masked under this very context.
pub(crate) fn upload_verifies(attempt: &Attempt, ctx: &Digest, item: &SurvivorItem) -> bool {
    let verifies = |key: VerifyKey| {
        key.verifies(
            &item.signature,
            labels::SIG_UPLOAD,
            &[&ctx.0, &item.upload_hash.0],
        )
    };
    attempt
        .roster()
        .member(item.index)
        .is_some_and(|member| verifies(member.id_pk))
}

/// Which secret a release reveals of `member`: the one place that says so.
pub(crate) fn revealed(survivors: &Bitmap, member: u32) -> Secret {
    if survivors.contains(member) {
        Secret::SelfMask
    } else {
        Secret::Rescue
    }
}
