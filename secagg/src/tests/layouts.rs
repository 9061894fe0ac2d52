//! Known answers for attempts in which no number stands for another: some sites hold no shares, site 0 is not in the cohort, sets take two
//! bytes, lanes have 16, 64 or, under ChaCha20, 32 bits, and the attempt is the third of a second round.

mod played;

use serde_json::{Map, Value, json};

use self::played::{Layout, Played};
use super::vectors::{hex, list};
use crate::channel::Envelope;
use crate::codec::expand;
use crate::coordinator;
use crate::mask::{End, pair_seed, self_seed};
use crate::message::{Announcement, Commit, RoundResult, UnmaskList};
use crate::prg::Prg;
use crate::{Bitmap, Digest, commitment, labels};

const NARROW: Layout = Layout {
    name: "narrow",
    answers: include_str!("../../tests/vectors/silo_narrow.json"),
    prg: Prg::Aes256Ctr,
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
    prg: Prg::Aes256Ctr,
    bits: (32, 40),
    n: 10,
    holders: &[0, 2, 3, 5, 6, 7, 9],
    survivors: &[1, 2, 3, 4, 5, 7, 9],
    dropouts: &[6, 8],
    dealer: 4,
    holder: 9,
};

const CHACHA20: Layout = Layout {
    name: "chacha20",
    answers: include_str!("../../tests/vectors/silo_chacha20.json"),
    prg: Prg::ChaCha20,
    bits: (16, 20),
    n: 9,
    holders: &[0, 1, 2, 3, 6, 7, 8],
    survivors: &[1, 2, 4, 5, 6, 7, 8],
    dropouts: &[3],
    dealer: 5,
    holder: 7,
};

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
    for layout in [NARROW, WIDE, CHACHA20] {
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
