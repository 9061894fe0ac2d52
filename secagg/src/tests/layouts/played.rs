//! An attempt of the reference played with this crate, from the Commits to the sum.

use std::collections::BTreeMap;

use crate::channel::PairKeys;
use crate::coordinator::{self, Commits};
use crate::holder::{Attested, Idle, OpenedShares, Released, Verdict};
use crate::mask::Masks;
use crate::message::{
    Announcement, Cohort, SurvivorItem, SurvivorProposal, UnmaskList, UploadTrailer,
};
use crate::params::RunConfig;
use crate::participant::chunk_root;
use crate::prg::Prg;
use crate::tests::fixture::Fixture;
use crate::tests::kit;
use crate::{Bitmap, Certificate, Digest, commitment, ring};

/// One entry of `LAYOUTS` in the reference.
pub struct Layout {
    pub name: &'static str,
    pub answers: &'static str,
    pub prg: Prg,
    /// Value and ring bits.
    pub bits: (u8, u8),
    pub n: u32,
    pub holders: &'static [u32],
    pub survivors: &'static [u32],
    pub dropouts: &'static [u32],
    /// No holder.
    pub dealer: u32,
    pub holder: u32,
}

const ELEMENTS: i64 = 50;

impl Layout {
    pub fn cohort(&self) -> Vec<u32> {
        let mut cohort = [self.survivors, self.dropouts].concat();
        cohort.sort_unstable();
        cohort
    }

    pub fn fixture(&self) -> Fixture {
        let (v, m) = self.bits;
        let config = RunConfig {
            prg: self.prg.number(),
            v,
            m,
            elements: 50,
            chunk_elems: 16,
            meta_lanes: 2,
            ..kit::config(self.n)
        };
        let holders = Bitmap::of(self.n, self.holders.iter().copied());
        let announce = |roster: &crate::context::Roster| Announcement {
            round: 2,
            seq: 3,
            retry_of: Digest([1; 32]),
            prev_result_hash: Digest([2; 32]),
            threshold: roster.params().threshold(holders.count(), self.n),
            holders,
            ..Fixture::announcement(roster)
        };
        Fixture::of(self.name, config, announce, self.cohort())
    }

    pub fn update(&self, i: u32) -> Vec<i64> {
        let (range, half) = ((1i64 << self.bits.0) - 1, 1i64 << (self.bits.0 - 1));
        let value = |k| k * (i64::from(i) + 1) % range - (half - 1);
        (0..ELEMENTS).map(value).collect()
    }
}

/// What one survivor sent.
pub struct Sent {
    pub chunks: Vec<Vec<u8>>,
    pub trailer: UploadTrailer,
    pub item: SurvivorItem,
}

pub struct Played<'l> {
    pub layout: &'l Layout,
    pub fixture: Fixture,
    pub commits: Commits,
    pub cohort: Cohort,
    pub sent: BTreeMap<u32, Sent>,
    pub proposal: SurvivorProposal,
}

impl<'l> Played<'l> {
    pub fn new(layout: &'l Layout) -> Self {
        let fixture = layout.fixture();
        let commits = fixture.commits();
        let attempt = &fixture.attempt;
        for (i, commit) in &commits {
            coordinator::check_commit(attempt, *i, commit).unwrap();
        }
        let cohort = coordinator::close_cohort(attempt, &commits).unwrap();
        let states = fixture.cohort.iter().copied().zip(fixture.committed());
        let survive = |(i, _): &(u32, _)| layout.survivors.contains(i);
        let mut sent = BTreeMap::new();
        for (i, committed) in states.filter(survive) {
            let near = coordinator::neighbourhood(attempt, &commits, i).unwrap();
            let masking = committed.accept(&cohort, &near).unwrap();
            let update = layout.update(i);
            let chunks: Vec<_> = (0..)
                .zip(update.chunks(16))
                .map(|(chunk, lanes)| masking.chunk(chunk, lanes))
                .collect();
            let hashes: Vec<_> = chunks.iter().map(|bytes| Digest::of_bulk(bytes)).collect();
            let metadata = [1000 + u64::from(i), u64::from(i)];
            let identity = &fixture.sites[i as usize].identity;
            let (trailer, upload_hash) = masking.trailer(identity, &hashes, &metadata);
            let root = chunk_root(&hashes).unwrap();
            let checked = coordinator::check_trailer(attempt, &cohort, i, &root, &trailer);
            assert_eq!(checked, Ok(upload_hash));
            let item = SurvivorItem {
                index: i,
                upload_hash,
                signature: trailer.signature,
            };
            let upload = Sent {
                chunks,
                trailer,
                item,
            };
            sent.insert(i, upload);
        }
        let items: Vec<_> = sent.values().map(|upload| upload.item).collect();
        let proposal = coordinator::close_survivors(attempt, &cohort, &items).unwrap();
        Self {
            layout,
            fixture,
            commits,
            cohort,
            sent,
            proposal,
        }
    }

    pub fn keys(&self, i: u32) -> (PairKeys, PairKeys) {
        let attempt = &self.fixture.attempt;
        let (_, keys) = self.fixture.channels(i).advance(attempt, i).unwrap();
        (keys.inbound, keys.outbound)
    }

    pub fn opened(&self, h: u32) -> OpenedShares {
        let attempt = &self.fixture.attempt;
        let items = coordinator::share_items(attempt, &self.commits, h).unwrap();
        let rank = self.fixture.cohort.iter().position(|i| *i == h);
        let own = rank.and_then(|rank| self.fixture.committed()[rank].own_shares());
        let (inbound, _) = self.keys(h);
        OpenedShares::open(attempt, h, &inbound, own.as_ref(), &self.cohort, &items).unwrap()
    }

    pub fn idle(&self, h: u32) -> Idle {
        Idle::new(self.fixture.attempt.clone(), h).unwrap()
    }

    pub fn judge(&self, h: u32, opened: &OpenedShares) -> Verdict {
        let items: Vec<_> = self.sent.values().map(|upload| upload.item).collect();
        let own = self.sent.get(&h).map(|upload| (h, upload.item.upload_hash));
        let judged = self
            .idle(h)
            .judge(&self.cohort, opened, &self.proposal, &items, own);
        judged.unwrap()
    }

    pub fn attest(&self, h: u32, opened: &OpenedShares) -> Attested {
        self.idle(h).attest(self.judge(h, opened))
    }

    /// All lists, each checked as the coordinator checks it.
    pub fn lists(&self) -> BTreeMap<u32, UnmaskList> {
        let (attempt, digest) = (&self.fixture.attempt, self.proposal.digest());
        let identity = |h: u32| &self.fixture.sites[h as usize].identity;
        let opened: BTreeMap<_, _> = attempt
            .holders()
            .map(|(_, h)| (h, self.opened(h)))
            .collect();
        let signed = opened.iter().map(|(h, opened)| {
            let said = self.attest(*h, opened).attestation(identity(*h));
            coordinator::check_attestation(attempt, &digest, *h, &said).unwrap();
            (said.position, said.signature)
        });
        let certificate = Certificate {
            digest,
            signatures: signed.collect(),
        };
        let list = |(h, opened): (&u32, &OpenedShares)| {
            let certified = certificate.certify_survivors(attempt, digest).unwrap();
            let released: Released = self.attest(*h, opened).release(certified).ok().unwrap();
            let list = released.unmask(identity(*h), opened).unwrap();
            coordinator::check_unmask(attempt, &self.cohort, &digest, *h, &list).unwrap();
            (*h, list)
        };
        opened.iter().map(list).collect()
    }

    /// The sum of model and metadata, unmasked.
    pub fn sum(&self, masks: &Masks) -> (Vec<i64>, Vec<u64>) {
        let params = self.fixture.roster.params();
        let (bits, mut model, mut metadata) = (params.config().m, Vec::new(), vec![0u64; 2]);
        for (chunk, place) in (0..params.chunks()).zip(0..) {
            let mut lanes = vec![0u64; params.chunk_len(chunk) as usize];
            for upload in self.sent.values() {
                let bytes: &Vec<u8> = &upload.chunks[place];
                let add = |k: usize, value| lanes[k] = lanes[k].wrapping_add(value);
                ring::unpack(bytes, bits, params.chunk_len(chunk), add).unwrap();
            }
            masks.add_to_sum(params.lane(), chunk, &mut lanes);
            model.extend(lanes.iter().map(|lane| ring::centred(*lane, bits)));
        }
        for upload in self.sent.values() {
            for (sum, lane) in metadata
                .iter_mut()
                .zip(upload.trailer.metadata.as_chunks().0)
            {
                *sum = sum.wrapping_add(u64::from_le_bytes(*lane));
            }
        }
        masks.add_to_metadata(&mut metadata);
        (model, metadata)
    }

    pub fn core(&self, i: u32) -> Digest {
        commitment::core_of_commit(&self.fixture.attempt, i, &self.commits[&i]).unwrap()
    }
}
