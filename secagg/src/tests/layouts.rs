//! Known answers for attempts in which no number stands for another: some sites hold no shares, site 0 is not in the cohort, sets take two
//! bytes, lanes have 16 or 64 bits, and the attempt is the third of a second round.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::fixture::Fixture;
use super::kit;
use super::vectors::{hex, list};
use crate::channel::{Envelope, PairKeys};
use crate::codec::expand;
use crate::coordinator::{self, Commits};
use crate::holder::{Attested, Idle, OpenedShares, Released, Verdict};
use crate::mask::{End, Masks, pair_seed, self_seed};
use crate::message::{
    Announcement, Cohort, Commit, RoundResult, SurvivorItem, SurvivorProposal, UnmaskList,
    UploadTrailer,
};
use crate::params::RunConfig;
use crate::participant::chunk_root;
use crate::{Bitmap, Certificate, Digest, commitment, labels, ring};

/// One entry of `LAYOUTS` in the reference.
struct Layout {
    name: &'static str,
    answers: &'static str,
    /// Value and ring bits.
    bits: (u8, u8),
    n: u32,
    holders: &'static [u32],
    survivors: &'static [u32],
    dropouts: &'static [u32],
    /// No holder.
    dealer: u32,
    holder: u32,
}

const NARROW: Layout = Layout {
    name: "narrow",
    answers: include_str!("../../tests/vectors/silo_narrow.json"),
    bits: (8, 12),
    n: 9,
    holders: &[1, 2, 4, 5, 6, 7, 8],
    survivors: &[1, 2, 3, 4, 6, 7, 8],
    dropouts: &[5],
    dealer: 3,
    holder: 6,
};

const WIDE: Layout = Layout {
    name: "wide",
    answers: include_str!("../../tests/vectors/silo_wide.json"),
    bits: (32, 40),
    n: 10,
    holders: &[0, 2, 3, 5, 6, 7, 9],
    survivors: &[1, 2, 3, 4, 5, 7, 9],
    dropouts: &[6, 8],
    dealer: 4,
    holder: 9,
};

const ELEMENTS: i64 = 50;

impl Layout {
    fn cohort(&self) -> Vec<u32> {
        let mut cohort = [self.survivors, self.dropouts].concat();
        cohort.sort_unstable();
        cohort
    }

    fn fixture(&self) -> Fixture {
        let (v, m) = self.bits;
        let config = RunConfig {
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

    fn update(&self, i: u32) -> Vec<i64> {
        let (range, half) = ((1i64 << self.bits.0) - 1, 1i64 << (self.bits.0 - 1));
        let value = |k| k * (i64::from(i) + 1) % range - (half - 1);
        (0..ELEMENTS).map(value).collect()
    }
}

/// What one survivor sent.
struct Sent {
    chunks: Vec<Vec<u8>>,
    trailer: UploadTrailer,
    item: SurvivorItem,
}

struct Played<'l> {
    layout: &'l Layout,
    fixture: Fixture,
    commits: Commits,
    cohort: Cohort,
    sent: BTreeMap<u32, Sent>,
    proposal: SurvivorProposal,
}

impl<'l> Played<'l> {
    fn new(layout: &'l Layout) -> Self {
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

    fn keys(&self, i: u32) -> (PairKeys, PairKeys) {
        let attempt = &self.fixture.attempt;
        let (_, keys) = self.fixture.channels(i).advance(attempt, i).unwrap();
        (keys.inbound, keys.outbound)
    }

    fn opened(&self, h: u32) -> OpenedShares {
        let attempt = &self.fixture.attempt;
        let items = coordinator::share_items(attempt, &self.commits, h).unwrap();
        let rank = self.fixture.cohort.iter().position(|i| *i == h);
        let own = rank.and_then(|rank| self.fixture.committed()[rank].own_shares());
        let (inbound, _) = self.keys(h);
        OpenedShares::open(attempt, h, &inbound, own.as_ref(), &self.cohort, &items).unwrap()
    }

    fn idle(&self, h: u32) -> Idle {
        Idle::new(self.fixture.attempt.clone(), h).unwrap()
    }

    fn judge(&self, h: u32, opened: &OpenedShares) -> Verdict {
        let items: Vec<_> = self.sent.values().map(|upload| upload.item).collect();
        let own = self.sent.get(&h).map(|upload| (h, upload.item.upload_hash));
        let judged = self
            .idle(h)
            .judge(&self.cohort, opened, &self.proposal, &items, own);
        judged.unwrap()
    }

    fn attest(&self, h: u32, opened: &OpenedShares) -> Attested {
        self.idle(h).attest(self.judge(h, opened))
    }

    /// All lists, each checked as the coordinator checks it.
    fn lists(&self) -> BTreeMap<u32, UnmaskList> {
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
    fn sum(&self, masks: &Masks) -> (Vec<i64>, Vec<u64>) {
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

    fn core(&self, i: u32) -> Digest {
        commitment::core_of_commit(&self.fixture.attempt, i, &self.commits[&i]).unwrap()
    }
}

fn dealt(p: &Played<'_>) -> Value {
    let (f, d, h) = (&p.fixture, p.layout.dealer, p.layout.holder);
    let (attempt, commit) = (&f.attempt, &p.commits[&d]);
    let position = attempt.position(h).unwrap();
    let mut chain = f.channels(d).chain(h).unwrap().duplicate();
    for _ in 0..3 {
        chain = expand(chain.expose(), labels::RATCHET, &[]).into();
    }
    let (_, outbound) = p.keys(d);
    let envelope = Envelope {
        attempt,
        dealer: d,
        holder: h,
        nonce: &commit.nonce,
        core: &p.core(d),
    };
    json!({
        "run_hash": hex(f.roster.params().run_hash()),
        "roster_root": hex(f.roster.root()),
        "epoch_ctx": hex(f.roster.ctx()),
        "threshold": attempt.threshold(),
        "holders": hex(attempt.announcement().holders.as_bytes()),
        "ann_hash": hex(attempt.hash()),
        "CK3_d_h": hex(chain.expose()),
        "RK3_d_to_h": hex(outbound.get(h).unwrap().expose()),
        "k_share": hex(envelope.key(outbound.get(h).unwrap()).unwrap().expose()),
        "share_aad": hex(envelope.aad().unwrap()),
        "ct": hex(commit.ciphertexts[position as usize - 1].unwrap()),
        "share_list": hex(commit.share_list.as_flattened()),
        "shares_root": hex(commitment::shares_root(&commit.share_list).unwrap()),
        "shares_path": list(commitment::share_path(&commit.share_list, position).unwrap()),
        "blob": hex(commit.blob),
        "cts_hash": hex(Commit::ciphertexts_hash(&commit.ciphertexts)),
        "sig_maskkey": hex(commit.sig_maskkey.0),
        "sig_commit": hex(commit.sig_commit.0),
    })
}

fn masked(p: &Played<'_>) -> Value {
    let (attempt, ctx, d) = (&p.fixture.attempt, p.cohort.ctx(), p.layout.dealer);
    let rank = p.cohort.members.rank(d).unwrap() as usize;
    let dealing = &p.fixture.dealings()[rank];
    let end = |i: u32| End {
        index: i,
        key: &p.commits[&i].e_pk,
    };
    let pair = |other| pair_seed(attempt, &ctx, &dealing.mask_key, end(d), end(other)).unwrap();
    let cohort = &p.fixture.cohort;
    let (lower, higher) = (pair(cohort[0]), pair(*cohort.last().unwrap()));
    let own = self_seed(attempt, &ctx, d, dealing.f_b.secret()).unwrap();
    let near = coordinator::neighbourhood(attempt, &p.commits, d).unwrap();
    let upload = &p.sent[&d];
    json!({
        "commit_cores": list(cohort.iter().map(|i| p.core(*i))),
        "cohort": hex(p.cohort.members.as_bytes()),
        "cohort_root": hex(p.cohort.root),
        "cohort_path": list(near.own_path),
        "ctx": hex(ctx),
        "self_seed": hex(own.expose()),
        "pair_seed_lower": hex(lower.expose()),
        "pair_seed_higher": hex(higher.expose()),
        "masked_chunks": list(&upload.chunks),
        "masked_meta": hex(&upload.trailer.metadata),
        "upload_hash": hex(upload.item.upload_hash),
        "sig_upload": hex(upload.trailer.signature.0),
    })
}

fn released(p: &Played<'_>) -> Value {
    let (f, h) = (&p.fixture, p.layout.holder);
    let identity = &f.sites[h as usize].identity;
    let opened = p.opened(h);
    assert_eq!(opened.complaints().count(), 0);
    let lists = p.lists();
    let list_of_h = &lists[&h];
    let mut verdict = p.judge(h, &opened);
    verdict.complaints.insert(*f.cohort.last().unwrap());
    let complaining = p.idle(h).attest(verdict).attestation(identity);
    let survivors = &p.proposal.survivors;
    let unmasked =
        coordinator::unmask(&f.attempt, &p.cohort, survivors, &p.commits, &lists).unwrap();
    assert!(unmasked.liars.is_empty());
    let (sum, metadata_sum) = p.sum(&unmasked.masks);
    let (position, present, scalars) = (list_of_h.position, &list_of_h.present, &list_of_h.scalars);
    json!({
        "survivors": hex(survivors.as_bytes()),
        "upload_root": hex(p.proposal.upload_root),
        "digest": hex(p.proposal.digest()),
        "sig_survivors": hex(complaining.signature.0),
        "sig_complaint": hex(complaining.sig_complaint.0),
        "released": list(scalars),
        "unmask_list": hex(UnmaskList::hash(position, present, scalars)),
        "sig_unmask": hex(list_of_h.signature.0),
        "sig_abort": hex(p.idle(h).abort().attestation(identity).signature.0),
        "sum": sum,
        "metadata_sum": metadata_sum,
    })
}

#[test]
fn positions_ranks_and_indices_are_not_mistaken_for_each_other() {
    for layout in [NARROW, WIDE] {
        let mut expected: Map<String, Value> = serde_json::from_str(layout.answers).unwrap();
        let inputs = expected.remove("inputs").unwrap();
        let p = Played::new(&layout);
        let (sites, keys) = (&p.fixture.sites, p.commits.values());
        assert_eq!(
            inputs,
            json!({
                "id_pks": list(sites.iter().map(|site| *site.identity.public().as_bytes())),
                "Xs": list(sites.iter().map(|site| *site.x().public().as_bytes())),
                "Es": list(keys.map(|commit| *commit.e_pk.as_bytes())),
                "ring_bits": layout.bits.1,
            })
        );
        let parts = [dealt(&p), masked(&p), released(&p)];
        let answers = parts.iter().flat_map(|part| part.as_object().unwrap());
        let answers: Map<_, _> = answers.map(|(k, v)| (k.clone(), v.clone())).collect();
        for (name, value) in &expected {
            assert_eq!(answers.get(name), Some(value), "{}: {name}", layout.name);
        }
        assert_eq!(answers.len(), expected.len(), "{}", layout.name);
    }
}

/// Every field with a value of its own: two that changed places would give another hash.
#[test]
fn the_fields_of_announcement_and_result_stand_in_the_order_of_the_reference() {
    let expected: Map<String, Value> =
        serde_json::from_str(include_str!("../../tests/vectors/silo_orders.json")).unwrap();
    let digest = |k| Digest([k; 32]);
    let announcement = Announcement {
        epoch_ctx: digest(1),
        round: 6,
        seq: 7,
        retry_of: digest(2),
        model_hash: digest(3),
        prev_result_hash: digest(4),
        roundcfg_hash: digest(5),
        holders: Bitmap::of(10, [0, 3, 9]),
        threshold: 8,
        commit_by_ms: 9,
        submit_by_ms: 10,
        expires_ms: 11,
    };
    assert_eq!(hex(announcement.hash()), expected["ann_hash"]);
    let result = RoundResult {
        ctx: digest(1),
        digest: digest(2),
        survivors: 6,
        sum_hash: digest(3),
        metadata: vec![7; 24],
        next_model_hash: digest(4),
    };
    assert_eq!(hex(result.hash()), expected["result_hash"]);
}
