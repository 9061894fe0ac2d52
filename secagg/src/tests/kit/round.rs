//! One attempt of a [`World`], step by step or from the announcement to the sum.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{World, seed};
use crate::channel::RoundKeys;
use crate::context::Attempt;
use crate::coordinator::{self, Commits, Recoverability};
use crate::holder::{Attested, Idle, OpenedShares, Released, Verdict};
use crate::keys::Identity;
use crate::mask::Masks;
use crate::message::{
    Attestation, Cohort, Commit, SurvivorItem, SurvivorProposal, UnmaskList, UploadTrailer,
};
use crate::participant::{Committed, Dealing, Masking, chunk_root};
use crate::ring;
use crate::{Bitmap, Certificate, Digest, Error};

/// One attempt, as far as it has come.
pub struct Round<'w> {
    pub world: &'w World,
    pub attempt: Arc<Attempt>,
    pub commits: Commits,
    /// Quantised lanes of every site.
    pub updates: Vec<Vec<i64>>,
    /// Metadata lanes of every site.
    pub metadata: Vec<Vec<u64>>,
}

/// What one site sent in step C.
pub struct Upload {
    pub chunks: Vec<Vec<u8>>,
    pub trailer: UploadTrailer,
    pub item: SurvivorItem,
}

impl Round<'_> {
    pub fn identity(&self, i: u32) -> &Identity {
        &self.world.site(i).identity
    }

    pub fn keys(&self, i: u32) -> RoundKeys {
        self.world
            .site(i)
            .channels
            .advance(&self.attempt, i)
            .unwrap()
            .1
    }

    pub fn dealing(&self, i: u32) -> Dealing {
        Dealing::derive(&self.attempt, &seed("attempt", i.into()))
    }

    pub fn committed(&self, i: u32) -> Committed {
        Committed::new(Arc::clone(&self.attempt), i, &seed("attempt", i.into())).unwrap()
    }

    pub fn commit_of(&self, i: u32) -> Commit {
        self.committed(i)
            .commit(self.identity(i), &self.keys(i).outbound)
            .unwrap()
    }

    /// B: `sites` commit, and the coordinator accepts what they sent.
    pub fn commit(&mut self, sites: impl IntoIterator<Item = u32>) {
        for i in sites {
            let commit = self.commit_of(i);
            coordinator::check_commit(&self.attempt, i, &commit).unwrap();
            self.commits.insert(i, commit);
        }
    }

    /// B: everybody commits.
    pub fn commit_all(&mut self) -> Cohort {
        self.commit(0..self.world.roster.len());
        self.cohort()
    }

    pub fn cohort(&self) -> Cohort {
        coordinator::close_cohort(&self.attempt, &self.commits).unwrap()
    }

    /// A dealer that cheated knows what it committed to, and looks for that in the cohort.
    pub fn masking(&self, i: u32, cohort: &Cohort) -> Result<Masking, Error> {
        let mut committed = self.committed(i);
        if let Some(commit) = self.commits.get(&i) {
            committed.core = crate::commitment::core_of_commit(&self.attempt, i, commit)?;
        }
        committed.accept(
            cohort,
            &coordinator::neighbourhood(&self.attempt, &self.commits, i)?,
        )
    }

    /// C: masks and uploads; the coordinator accepts it.
    pub fn upload(&self, i: u32, cohort: &Cohort) -> Upload {
        let masking = self.masking(i, cohort).unwrap();
        let size = self.world.params().config().chunk_elems as usize;
        let chunks: Vec<_> = (0..)
            .zip(self.updates[i as usize].chunks(size))
            .map(|(c, q)| masking.chunk(c, q))
            .collect();
        let hashes: Vec<_> = chunks.iter().map(|chunk| Digest::of_bulk(chunk)).collect();
        let (trailer, upload_hash) =
            masking.trailer(self.identity(i), &hashes, &self.metadata[i as usize]);
        coordinator::check_header(&self.attempt, cohort, i, &masking.header()).unwrap();
        let root = chunk_root(&hashes).unwrap();
        assert_eq!(
            coordinator::check_trailer(&self.attempt, cohort, i, &root, &trailer),
            Ok(upload_hash)
        );
        let item = SurvivorItem {
            index: i,
            upload_hash,
            signature: trailer.signature,
        };
        Upload {
            chunks,
            trailer,
            item,
        }
    }

    pub fn uploads(
        &self,
        cohort: &Cohort,
        sites: impl IntoIterator<Item = u32>,
    ) -> BTreeMap<u32, Upload> {
        sites
            .into_iter()
            .map(|i| (i, self.upload(i, cohort)))
            .collect()
    }

    pub fn propose(
        &self,
        cohort: &Cohort,
        items: &[SurvivorItem],
    ) -> Result<SurvivorProposal, Error> {
        coordinator::close_survivors(&self.attempt, cohort, items)
    }

    /// D: opens what the coordinator forwards to holder `h`.
    pub fn opened(&self, h: u32, cohort: &Cohort) -> Result<OpenedShares, Error> {
        let items = coordinator::share_items(&self.attempt, &self.commits, h)?;
        let own = self.committed(h).own_shares();
        OpenedShares::open(
            &self.attempt,
            h,
            &self.keys(h).inbound,
            own.as_ref(),
            cohort,
            &items,
        )
    }

    pub fn idle(&self, h: u32) -> Idle {
        Idle::new(Arc::clone(&self.attempt), h).unwrap()
    }

    /// D: holder `h` judges a proposal, knowing what it uploaded itself.
    pub fn judge(
        &self,
        h: u32,
        cohort: &Cohort,
        proposal: &SurvivorProposal,
        items: &[SurvivorItem],
    ) -> Result<Verdict, Error> {
        let own = items
            .iter()
            .find(|item| item.index == h)
            .map(|item| (h, item.upload_hash));
        self.idle(h)
            .judge(cohort, &self.opened(h, cohort)?, proposal, items, own)
    }

    pub fn attest(
        &self,
        h: u32,
        cohort: &Cohort,
        proposal: &SurvivorProposal,
        items: &[SurvivorItem],
    ) -> Attested {
        self.idle(h)
            .attest(self.judge(h, cohort, proposal, items).unwrap())
    }

    pub fn attestations(&self, attested: &BTreeMap<u32, Attested>) -> Vec<Attestation> {
        attested
            .iter()
            .map(|(h, attested)| attested.attestation(self.identity(*h)))
            .collect()
    }

    pub fn release(
        &self,
        attested: Attested,
        certificate: &Certificate,
    ) -> Result<Released, Error> {
        let digest = attested.verdict().proposal.digest();
        let certified = certificate.certify_survivors(&self.attempt, digest)?;
        Ok(attested
            .release(certified)
            .ok()
            .expect("the certificate is for its own digest"))
    }

    /// E: the whole list of holder `h`.
    pub fn list(&self, h: u32, released: &Released, cohort: &Cohort) -> UnmaskList {
        released
            .unmask(self.identity(h), &self.opened(h, cohort).unwrap())
            .unwrap()
    }

    /// Signs a list again after a lying holder changed it.
    pub fn resign(&self, h: u32, list: &mut UnmaskList) {
        let hash = UnmaskList::hash(list.position, &list.present, &list.scalars);
        list.signature = self
            .identity(h)
            .sign(crate::labels::SIG_UNMASK, &[&list.digest.0, &hash.0]);
    }

    /// Sum of the uploads of `survivors`, with `masks` taken off: model and metadata.
    pub fn sum(
        &self,
        uploads: &BTreeMap<u32, Upload>,
        survivors: &Bitmap,
        masks: &Masks,
    ) -> (Vec<i64>, Vec<u64>) {
        let params = self.world.params();
        let (m, mut model) = (params.config().m, Vec::new());
        let counted = || survivors.iter().map(|u| &uploads[&u]);
        for chunk in 0..params.chunks() {
            let len = params.chunk_len(chunk);
            let mut lanes = vec![0u64; len as usize];
            for upload in counted() {
                let bytes = &upload.chunks[usize::try_from(chunk).unwrap()];
                ring::unpack(bytes, m, len, |k, value| {
                    lanes[k] = lanes[k].wrapping_add(value)
                })
                .unwrap();
            }
            masks.add_to_sum(params.lane(), chunk, &mut lanes);
            model.extend(lanes.iter().map(|lane| ring::centred(*lane, m)));
        }
        let mut metadata = vec![0u64; params.config().meta_lanes as usize];
        for upload in counted() {
            for (sum, lane) in metadata
                .iter_mut()
                .zip(upload.trailer.metadata.chunks_exact(8))
            {
                *sum = sum.wrapping_add(u64::from_le_bytes(lane.try_into().unwrap()));
            }
        }
        masks.add_to_metadata(&mut metadata);
        (model, metadata)
    }

    /// What the sum of `survivors` must be.
    pub fn plain(&self, survivors: &Bitmap) -> (Vec<i64>, Vec<u64>) {
        let mut model = vec![0; self.updates[0].len()];
        let mut metadata = vec![0u64; self.metadata[0].len()];
        for u in survivors.iter() {
            model
                .iter_mut()
                .zip(&self.updates[u as usize])
                .for_each(|(sum, q)| *sum += q);
            metadata
                .iter_mut()
                .zip(&self.metadata[u as usize])
                .for_each(|(sum, x)| *sum = sum.wrapping_add(*x));
        }
        (model, metadata)
    }
}

/// Who fails, and when; everybody else is honest and there.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Offline: commits nothing, holds nothing.
    pub absent: BTreeSet<u32>,
    /// In the cohort, uploads nothing.
    pub dropped: BTreeSet<u32>,
    /// Uploads after the survivors were fixed.
    pub late: BTreeSet<u32>,
    /// Holders that do not attest, and so do not release.
    pub mute: BTreeSet<u32>,
    /// Holders that attest and then fall silent.
    pub vanished: BTreeSet<u32>,
    /// Holders that release wrong scalars.
    pub lying: BTreeSet<u32>,
}

/// What a round gave.
#[derive(Debug)]
pub struct Outcome {
    pub survivors: Bitmap,
    pub sum: (Vec<i64>, Vec<u64>),
    pub liars: BTreeSet<u32>,
}

/// One attempt from the announcement to the sum.
pub fn run(round: &mut Round<'_>, plan: &Plan) -> Result<Outcome, Error> {
    round.commit((0..round.world.roster.len()).filter(|i| !plan.absent.contains(i)));
    let cohort = coordinator::close_cohort(&round.attempt, &round.commits)?;
    let uploads = round.uploads(
        &cohort,
        cohort.members.iter().filter(|i| !plan.dropped.contains(i)),
    );
    let in_time = uploads
        .values()
        .map(|upload| upload.item)
        .filter(|item| !plan.late.contains(&item.index));
    let items: Vec<_> = in_time.collect();
    let proposal = round.propose(&cohort, &items)?;
    let there = |h: &u32| !plan.absent.contains(h) && !plan.mute.contains(h);
    let holders = round.attempt.holders().map(|(_, h)| h).filter(there);
    let attested: BTreeMap<_, _> = holders
        .map(|h| (h, round.attest(h, &cohort, &proposal, &items)))
        .collect();
    let certificate = certify(round, &cohort, &attested)?;
    let mut lists = BTreeMap::new();
    for (h, attested) in attested
        .into_iter()
        .filter(|(h, _)| !plan.vanished.contains(h))
    {
        let mut list = round.list(h, &round.release(attested, &certificate)?, &cohort);
        if plan.lying.contains(&h) {
            list.scalars.iter_mut().for_each(|scalar| scalar[0] ^= 1);
            round.resign(h, &mut list);
        }
        coordinator::check_unmask(&round.attempt, &cohort, &proposal.digest(), h, &list)?;
        lists.insert(h, list);
    }
    let unmasked = coordinator::unmask(
        &round.attempt,
        &cohort,
        &proposal.survivors,
        &round.commits,
        &lists,
    )?;
    let sum = round.sum(&uploads, &proposal.survivors, &unmasked.masks);
    Ok(Outcome {
        survivors: proposal.survivors,
        sum,
        liars: unmasked.liars,
    })
}

/// What the coordinator does with the attestations it has: a certificate, once every member is recoverable.
pub fn certify(
    round: &Round<'_>,
    cohort: &Cohort,
    attested: &BTreeMap<u32, Attested>,
) -> Result<Certificate, Error> {
    let attestations = round.attestations(attested);
    for (attestation, h) in attestations.iter().zip(attested.keys()) {
        coordinator::check_attestation(&round.attempt, &attestation.digest, *h, attestation)?;
    }
    match coordinator::recoverability(&round.attempt, cohort, attestations.iter()) {
        Recoverability::Given => Ok(certificate_of(&attestations)),
        Recoverability::Waiting { clean, need, .. } => {
            Err(Error::BelowThreshold { have: clean, need })
        }
        Recoverability::Convicted { dealers } => panic!("complaints exclude {dealers:?}"),
    }
}

/// The certificate that a list of attestations makes, good or not.
pub fn certificate_of(attestations: &[Attestation]) -> Certificate {
    let signatures = attestations
        .iter()
        .map(|a| (a.position, a.signature))
        .collect();
    Certificate {
        digest: attestations[0].digest,
        signatures,
    }
}
