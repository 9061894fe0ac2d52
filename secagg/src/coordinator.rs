//! The coordinator's checks and closings as plain functions: it holds no secret, so it needs no states.
//!
//! Every `check_*` answers whether a message may be accepted and changes nothing; every closing is a pure function of what was
//! accepted. It keeps nothing: what was accepted, and in which order, is its caller's journal. Source: protocol, sections 8 to 11.

mod unmasking;

use std::collections::BTreeMap;

pub(crate) use unmasking::leads_to_commitments;
pub use unmasking::{Recovered, Unmasked, Unmasking, matching, unmask};

use crate::bitmap::Bitmap;
use crate::codec::{Digest, hash};
use crate::commitment;
use crate::context::Attempt;
use crate::error::{Error, Fault};
use crate::holder::{upload_leaf, upload_verifies};
use crate::labels;
use crate::merkle::Tree;
use crate::message::{
    AbortAttestation, Attestation, Cohort, Commit, NeighbourKey, Neighbourhood, ShareItem,
    SurvivorItem, SurvivorProposal, UnmaskList, UploadHeader, UploadTrailer,
};
use crate::participant::{maskkey_verifies, upload_hash};

/// Checks a Commit of member `index`: sizes, the core that was signed, all signatures. That E is new in the cohort the caller
/// checks among the accepted ones. Gives the commit core.
///
/// # Errors
/// The dealer's fault.
pub fn check_commit(attempt: &Attempt, index: u32, commit: &Commit) -> Result<Digest, Error> {
    if commit.ann_hash != attempt.hash() {
        return Err(Fault::Context("announcement").by(index));
    }
    let need = attempt.holder_count() as usize;
    for (what, have) in [
        ("share list", commit.share_list.len()),
        ("ciphertexts", commit.ciphertexts.len()),
    ] {
        if have != need {
            return Err(Fault::Length { what, have, need }.by(index));
        }
    }
    let is_own = |holder: u32| holder == index;
    if attempt
        .holders()
        .zip(&commit.ciphertexts)
        .any(|((_, holder), ct)| is_own(holder) == ct.is_some())
    {
        return Err(Fault::Order("ciphertexts").by(index));
    }
    if !maskkey_verifies(
        attempt,
        index,
        &commit.nonce,
        &commit.e_pk,
        &commit.sig_maskkey,
    ) {
        return Err(Fault::Signature("mask key").by(index));
    }
    let core = commitment::core_of_commit(attempt, index, commit)?;
    let blob = hash(labels::BLOB, &[&commit.blob]);
    let cts = Commit::ciphertexts_hash(&commit.ciphertexts);
    let valid = attempt.member(index)?.id_pk.verifies(
        &commit.sig_commit,
        labels::SIG_COMMIT,
        &[&core.0, &blob.0, &cts.0],
    );
    if valid {
        Ok(core)
    } else {
        Err(Fault::Signature("commit").by(index))
    }
}

/// The commits of a cohort, by member.
pub type Commits = BTreeMap<u32, Commit>;

/// Closes the cohort: the members of `commits`.
///
/// # Errors
/// [`Error::BelowThreshold`] if there are fewer members than the smallest cohort.
pub fn close_cohort(attempt: &Attempt, commits: &Commits) -> Result<Cohort, Error> {
    let n = attempt.roster().len();
    let (have, need) = (
        u32::try_from(commits.len()).unwrap_or(u32::MAX),
        attempt.params().cohort_floor(n),
    );
    if have < need {
        return Err(Error::BelowThreshold { have, need });
    }
    let root = Tree::Cohort
        .root(&cores(attempt, commits)?)
        .ok_or(Error::BelowThreshold { have, need })?;
    Ok(Cohort {
        ann_hash: attempt.hash(),
        members: Bitmap::of(n, commits.keys().copied()),
        root,
    })
}

fn cores(attempt: &Attempt, commits: &Commits) -> Result<Vec<Digest>, Error> {
    commits
        .iter()
        .map(|(&index, commit)| commitment::core_of_commit(attempt, index, commit))
        .collect()
}

/// What member `index` needs to mask: its path and its neighbours' keys.
///
/// # Errors
/// [`Error::NotAMember`] if it did not commit.
pub fn neighbourhood(
    attempt: &Attempt,
    commits: &Commits,
    index: u32,
) -> Result<Neighbourhood, Error> {
    let rank = commits
        .keys()
        .position(|&member| member == index)
        .ok_or(Error::NotAMember("cohort"))?;
    let own_path = Tree::Cohort
        .path(&cores(attempt, commits)?, rank)
        .ok_or(Error::NotAMember("cohort"))?;
    let key = |other: u32| {
        let commit = commits.get(&other)?;
        Some(NeighbourKey {
            index: other,
            nonce: commit.nonce,
            e_pk: commit.e_pk,
            sig_maskkey: commit.sig_maskkey,
        })
    };
    Ok(Neighbourhood {
        own_path,
        keys: attempt
            .roster()
            .graph()
            .neighbours(index)
            .filter_map(key)
            .collect(),
    })
}

/// What holder `index` needs of every cohort member, ascending.
///
/// # Errors
/// [`Error::NotAMember`] if it is not a holder.
pub fn share_items(
    attempt: &Attempt,
    commits: &Commits,
    index: u32,
) -> Result<Vec<ShareItem>, Error> {
    let position = attempt
        .position(index)
        .ok_or(Error::NotAMember("holder list"))?;
    let place = position as usize - 1;
    let item = |(&dealer, commit): (&u32, &Commit)| {
        Some(ShareItem {
            index: dealer,
            nonce: commit.nonce,
            e_pk: commit.e_pk,
            com_b: commit.com_b,
            com_k: commit.com_k,
            ciphertext: *commit.ciphertexts.get(place)?,
            pair: *commit.share_list.get(place)?,
            path: commitment::share_path(&commit.share_list, position)?,
        })
    };
    commits
        .iter()
        .map(|entry| item(entry).ok_or(Error::NotAMember("holder list")))
        .collect()
}

/// Checks that an upload is for this cohort and has the run's shape, before its bytes are taken.
///
/// # Errors
/// The sender's fault.
pub fn check_header(
    attempt: &Attempt,
    cohort: &Cohort,
    index: u32,
    header: &UploadHeader,
) -> Result<(), Error> {
    let config = attempt.params().config();
    if header.ctx != cohort.ctx() {
        return Err(Fault::Context("cohort").by(index));
    }
    if !cohort.members.contains(index) {
        return Err(Fault::Absent {
            what: "sender",
            index,
        }
        .by(index));
    }
    let pairs = [
        ("elements of the upload", header.elements, config.elements),
        (
            "bits of an element",
            u64::from(header.ring_bits),
            u64::from(config.m),
        ),
        (
            "elements of a chunk",
            u64::from(header.chunk_elems),
            u64::from(config.chunk_elems),
        ),
    ];
    match pairs.into_iter().find(|(_, have, need)| have != need) {
        Some((what, have, need)) => Err(Fault::Rule { what, have, need }.by(index)),
        None => Ok(()),
    }
}

/// Checks the trailer of a whole upload; `chunk_root` was computed from the bytes that arrived. Gives the upload hash.
///
/// # Errors
/// The sender's fault: it is not in the cohort, or a length, a root or the signature is wrong.
pub fn check_trailer(
    attempt: &Attempt,
    cohort: &Cohort,
    index: u32,
    chunk_root: &Digest,
    trailer: &UploadTrailer,
) -> Result<Digest, Error> {
    if !cohort.members.contains(index) {
        return Err(Fault::Absent {
            what: "sender",
            index,
        }
        .by(index));
    }
    let need = attempt.params().config().meta_lanes as usize * 8;
    if trailer.metadata.len() != need {
        return Err(Fault::Length {
            what: "masked metadata",
            have: trailer.metadata.len(),
            need,
        }
        .by(index));
    }
    if trailer.chunk_root != *chunk_root {
        return Err(Fault::Root("uploaded chunks").by(index));
    }
    let ctx = cohort.ctx();
    let upload_hash = upload_hash(attempt, &ctx, index, chunk_root, &trailer.metadata)?;
    let item = SurvivorItem {
        index,
        upload_hash,
        signature: trailer.signature,
    };
    if upload_verifies(attempt, &ctx, &item) {
        Ok(upload_hash)
    } else {
        Err(Fault::Signature("upload").by(index))
    }
}

/// Fixes the survivors: everybody in `uploads`, less those whom the degree rule drops, until nothing changes.
///
/// # Errors
/// [`Error::BelowThreshold`] if fewer than `min_survivors` remain.
pub fn close_survivors(
    attempt: &Attempt,
    cohort: &Cohort,
    uploads: &[SurvivorItem],
) -> Result<SurvivorProposal, Error> {
    let (params, graph, n) = (
        attempt.params(),
        attempt.roster().graph(),
        attempt.roster().len(),
    );
    let mut survivors = Bitmap::of(n, uploads.iter().map(|item| item.index));
    let weak = |set: &Bitmap| {
        set.iter()
            .find(|&u| !params.degree_holds(graph.alive(u, set), graph.degree(u)))
    };
    while let Some(u) = weak(&survivors) {
        survivors.remove(u);
    }
    let (have, need) = (survivors.count(), params.min_survivors(n));
    if have < need {
        return Err(Error::BelowThreshold { have, need });
    }
    let hashes: BTreeMap<u32, &Digest> = uploads
        .iter()
        .map(|item| (item.index, &item.upload_hash))
        .collect();
    let kept = hashes
        .iter()
        .filter(|(index, _)| survivors.contains(**index));
    let leaves: Vec<_> = kept
        .map(|(index, hash)| upload_leaf(*index, hash))
        .collect();
    let upload_root = Tree::Uploads
        .root(&leaves)
        .ok_or(Error::BelowThreshold { have, need })?;
    Ok(SurvivorProposal {
        ctx: cohort.ctx(),
        survivors,
        upload_root,
    })
}

/// Checks an attestation of the holder with roster index `index`.
///
/// # Errors
/// The holder's fault.
pub fn check_attestation(
    attempt: &Attempt,
    digest: &Digest,
    index: u32,
    attestation: &Attestation,
) -> Result<(), Error> {
    check_position(attempt, index, attestation.position)?;
    if attestation.digest != *digest {
        return Err(Fault::Context("survivor set").by(index));
    }
    let key = attempt.member(index)?.id_pk;
    if !key.verifies(&attestation.signature, labels::SIG_SURVIVORS, &[&digest.0]) {
        return Err(Fault::Signature("survivor set").by(index));
    }
    if attestation.complaints.size() != attempt.roster().len() {
        return Err(Fault::Context("roster").by(index));
    }
    let complaints = attestation.complaints.as_bytes();
    if !key.verifies(
        &attestation.sig_complaint,
        labels::SIG_COMPLAINT,
        &[&digest.0, complaints],
    ) {
        return Err(Fault::Signature("complaint").by(index));
    }
    Ok(())
}

fn check_position(attempt: &Attempt, index: u32, position: u32) -> Result<(), Error> {
    if attempt.holder(position) == Some(index) {
        Ok(())
    } else {
        Err(Fault::Absent {
            what: "holder position",
            index: position,
        }
        .by(index))
    }
}

/// Whether a certificate may leave, by the count of clean holders (section 11.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Recoverability {
    /// Every member has at least t clean holders.
    Given,
    /// Some member has fewer than t clean holders, but no more complaints than corrupt holders can make: wait for more answers.
    Waiting {
        /// The member with the fewest.
        member: u32,
        /// Its clean holders.
        clean: u32,
        /// t.
        need: u32,
    },
    /// An honest holder is among those who complain: the attempt must be aborted and these members left out of the next one.
    Convicted {
        /// Members with more than c_max complaints.
        dealers: Vec<u32>,
    },
}

/// Counts, for every cohort member, the holders that attested and do not complain about it.
pub fn recoverability<'a>(
    attempt: &Attempt,
    cohort: &Cohort,
    attestations: impl Iterator<Item = &'a Attestation> + Clone,
) -> Recoverability {
    let limit = attempt.params().complaint_bound(attempt.roster().len());
    let count = |member: u32| {
        let (against, total) = attestations
            .clone()
            .fold((0u32, 0u32), |(against, total), a| {
                (
                    against + u32::from(a.complaints.contains(member)),
                    total + 1,
                )
            });
        (against, total - against)
    };
    let counts: Vec<(u32, (u32, u32))> = cohort
        .members
        .iter()
        .map(|member| (member, count(member)))
        .collect();
    let dealers: Vec<u32> = counts
        .iter()
        .filter(|(_, (against, _))| *against > limit)
        .map(|(member, _)| *member)
        .collect();
    if !dealers.is_empty() {
        return Recoverability::Convicted { dealers };
    }
    let need = attempt.threshold();
    match counts.into_iter().min_by_key(|(_, (_, clean))| *clean) {
        Some((member, (_, clean))) if clean < need => Recoverability::Waiting {
            member,
            clean,
            need,
        },
        _ => Recoverability::Given,
    }
}

/// Checks an unmask list of the holder with roster index `index`: position, digest, shape, signature. The scalars are checked one by
/// one when they are joined.
///
/// # Errors
/// The holder's fault.
pub fn check_unmask(
    attempt: &Attempt,
    cohort: &Cohort,
    digest: &Digest,
    index: u32,
    list: &UnmaskList,
) -> Result<(), Error> {
    check_position(attempt, index, list.position)?;
    if list.digest != *digest {
        return Err(Fault::Context("survivor set").by(index));
    }
    if !list.present.is_subset(&cohort.members) {
        return Err(Fault::Order("members of the unmask list").by(index));
    }
    let (have, need) = (list.scalars.len(), list.present.count() as usize);
    if have != need {
        return Err(Fault::Length {
            what: "unmask list",
            have,
            need,
        }
        .by(index));
    }
    let hash = UnmaskList::hash(list.position, &list.present, &list.scalars);
    let valid = attempt.member(index)?.id_pk.verifies(
        &list.signature,
        labels::SIG_UNMASK,
        &[&digest.0, &hash.0],
    );
    if valid {
        Ok(())
    } else {
        Err(Fault::Signature("unmask list").by(index))
    }
}

/// Checks a holder's word that it gives an attempt up.
///
/// # Errors
/// The holder's fault.
pub fn check_abort(
    attempt: &Attempt,
    index: u32,
    attestation: &AbortAttestation,
) -> Result<(), Error> {
    check_position(attempt, index, attestation.position)?;
    if attestation.ann_hash != attempt.hash() {
        return Err(Fault::Context("announcement").by(index));
    }
    let key = attempt.member(index)?.id_pk;
    let valid = key.verifies(
        &attestation.signature,
        labels::SIG_ABORT,
        &[&attestation.ann_hash.0],
    );
    if valid {
        Ok(())
    } else {
        Err(Fault::Signature("abort").by(index))
    }
}
