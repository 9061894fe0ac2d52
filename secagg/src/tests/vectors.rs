//! Known answers: every value that the independent reference prints is computed here by this crate, and none is left out.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::fixture::Fixture;
use crate::channel::{Envelope, RoundKeys};
use crate::codec::{expand, hash, kdf};
use crate::commitment;
use crate::coordinator::{self, Commits};
use crate::holder::{Attested, Idle, OpenedShares, Released, Verdict};
use crate::keys::{Identity, Seed, binding_message};
use crate::mask::{End, pair_seed, self_seed};
use crate::message::{
    Cohort, Commit, Receipt, RoundResult, SurvivorItem, SurvivorProposal, UnmaskList, UploadTrailer,
};
use crate::params::round_config_hash;
use crate::participant::Masking;
use crate::prg::Keystream;
use crate::{Bitmap, Certificate, Digest, labels};

const SILO: &str = include_str!("../../tests/vectors/silo.json");

/// Answers by name, in hexadecimal.
type Answers = Map<String, Value>;

pub fn hex(bytes: impl AsRef<[u8]>) -> Value {
    bytes
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into()
}

pub fn list<B: AsRef<[u8]>>(all: impl IntoIterator<Item = B>) -> Value {
    all.into_iter().map(hex).collect()
}

/// The Commits of the reference and what follows from them, up to site 0's upload.
struct Played {
    fixture: Fixture,
    keys: RoundKeys,
    commits: Commits,
    cohort: Cohort,
    masking: Masking,
    chunks: Vec<Vec<u8>>,
    trailer: UploadTrailer,
    upload_hash: Digest,
    proposal: SurvivorProposal,
}

impl Played {
    fn new() -> Self {
        let fixture = Fixture::new();
        let commits = fixture.commits();
        let cohort = coordinator::close_cohort(&fixture.attempt, &commits).unwrap();
        let near = coordinator::neighbourhood(&fixture.attempt, &commits, 0).unwrap();
        let masking = fixture
            .committed()
            .swap_remove(0)
            .accept(&cohort, &near)
            .unwrap();
        let update: Vec<i64> = (0..100).map(|k| k - 50).collect();
        let chunks: Vec<_> = (0..)
            .zip(update.chunks(32))
            .map(|(c, lanes)| masking.chunk(c, lanes))
            .collect();
        let hashes: Vec<_> = chunks.iter().map(|chunk| Digest::of_bulk(chunk)).collect();
        let (trailer, upload_hash) =
            masking.trailer(&fixture.sites[0].identity, &hashes, &[1, 2, 3]);
        let upload_root = crate::merkle::Tree::Uploads
            .root(&[crate::holder::upload_leaf(0, &upload_hash)])
            .unwrap();
        let proposal = SurvivorProposal {
            ctx: cohort.ctx(),
            survivors: Bitmap::of(5, [0]),
            upload_root,
        };
        let keys = fixture.channels(0).advance(&fixture.attempt, 0).unwrap().1;
        Self {
            fixture,
            keys,
            commits,
            cohort,
            masking,
            chunks,
            trailer,
            upload_hash,
            proposal,
        }
    }

    fn commit(&self) -> &Commit {
        &self.commits[&0]
    }

    fn core(&self, i: u32) -> Digest {
        commitment::core_of_commit(&self.fixture.attempt, i, &self.commits[&i]).unwrap()
    }

    /// Site 0 as a holder that is bound to the reference's survivor set, too small for an honest one.
    fn attested(&self, cohort: [u32; 1], complaints: &[u32]) -> Attested {
        let complaints = Bitmap::of(5, complaints.iter().copied());
        let verdict = Verdict {
            proposal: self.proposal.clone(),
            cohort: Bitmap::of(5, cohort),
            complaints,
        };
        Idle::new(self.fixture.attempt.clone(), 0)
            .unwrap()
            .attest(verdict)
    }

    fn released(&self) -> Released {
        let digest = self.proposal.digest();
        let sign = |i: u32| {
            (
                i + 1,
                self.fixture.sites[i as usize]
                    .identity
                    .sign(labels::SIG_SURVIVORS, &[&digest.0]),
            )
        };
        let certificate = Certificate {
            digest,
            signatures: (0..4).map(sign).collect(),
        };
        let certified = certificate
            .certify_survivors(&self.fixture.attempt, digest)
            .unwrap();
        self.attested([0], &[]).release(certified).ok().unwrap()
    }

    fn unmask_list(&self) -> UnmaskList {
        let attempt = &self.fixture.attempt;
        let items = coordinator::share_items(attempt, &self.commits, 0).unwrap();
        let own = self.fixture.committed()[0].own_shares();
        let opened = OpenedShares::open(
            attempt,
            0,
            &self.keys.inbound,
            own.as_ref(),
            &self.cohort,
            &items,
        )
        .unwrap();
        assert_eq!(opened.complaints().count(), 0);
        self.released()
            .unmask(&self.fixture.sites[0].identity, &opened)
            .unwrap()
    }
}

fn epoch_answers(f: &Fixture, out: &mut Answers) {
    let (site, advertisement) = (&f.sites[0], &f.advertisements[0]);
    let bound = site.claim.hash(&site.identity.public());
    let organisation = ed25519_dalek::SigningKey::from_bytes(&[b'O'; 32]);
    let by_leaf = ed25519_dalek::Signer::sign(&organisation, &binding_message(&bound));
    let seed = f.roster.seed();
    let reveals: Vec<u8> = f.sites.iter().flat_map(|site| site.reveal).collect();
    let (model_hash, roundcfg_hash) = (Digest::of_bulk(b"model-0"), round_config_hash(b"lr=0.1"));
    let both = [model_hash.0, roundcfg_hash.0].concat();
    let run_hash = f.roster.params().run_hash();
    out.extend([
        (
            "ids".into(),
            list(f.roster.members().iter().map(|member| member.id.0)),
        ),
        ("run_hash".into(), hex(run_hash)),
        ("nonce_commit".into(), hex(advertisement.nonce_commit)),
        ("sig_advertisement".into(), hex(advertisement.signature.0)),
        ("binding_message".into(), hex(binding_message(&bound))),
        ("sig_binding_ed25519".into(), hex(by_leaf.to_bytes())),
        ("roster_root".into(), hex(f.roster.root())),
        ("epoch_ctx".into(), hex(f.roster.ctx())),
        (
            "sig_roster".into(),
            hex(f.roster.confirm(&site.identity).unwrap().signature.0),
        ),
        ("epoch_seed".into(), hex(seed.expose())),
        // Keys that only the fleet profile, differential privacy and the sparse mode use: the schedule alone is checked.
        (
            "committee_key".into(),
            hex(*expand(seed.expose(), "committee", &[])),
        ),
        (
            "graph_key".into(),
            hex(*expand(seed.expose(), "graph", &[])),
        ),
        (
            "batches_key".into(),
            hex(*expand(seed.expose(), "batches", &[])),
        ),
        (
            "graph_seed_commit_reveal".into(),
            hex(*kdf(
                &f.roster.ctx().0,
                &[&seed.expose()[..], &reveals].concat(),
                "graph-seed",
                &[],
            )),
        ),
        (
            "dp_key".into(),
            hex(*kdf(&run_hash.0, &both, "dp-signs", &[])),
        ),
        (
            "sparse_key".into(),
            hex(*kdf(&run_hash.0, &both, "sparse", &[])),
        ),
        ("model_hash".into(), hex(model_hash)),
        ("roundcfg_hash".into(), hex(roundcfg_hash)),
        ("ann_hash".into(), hex(f.attempt.hash())),
    ]);
}

fn channel_answers(p: &Played, out: &mut Answers) {
    let (commit, core) = (p.commit(), p.core(0));
    let (before, attempt) = (p.fixture.channels(0), &p.fixture.attempt);
    // The chains are private; their sealed form is LE64(seq), then (LE32(index), 32 bytes) for each pair.
    let chain = |bytes: &[u8]| hex(&bytes[12..44]);
    let step = expand(
        before.to_secret_bytes()[12..44].try_into().unwrap(),
        labels::RATCHET,
        &[],
    );
    let envelope = Envelope {
        attempt,
        dealer: 0,
        holder: 1,
        nonce: &commit.nonce,
        core: &core,
    };
    let outbound = p.keys.outbound.get(1).unwrap();
    out.extend([
        ("CK0_0_1".into(), chain(&before.to_secret_bytes())),
        ("CK1_0_1".into(), hex(*step)),
        ("RK1_0_to_1".into(), hex(outbound.expose())),
        (
            "RK1_1_to_0".into(),
            hex(p.keys.inbound.get(1).unwrap().expose()),
        ),
        (
            "k_share_0_to_1".into(),
            hex(envelope.key(outbound).unwrap().expose()),
        ),
        ("share_aad_0_to_1".into(), hex(envelope.aad().unwrap())),
        ("ct_0_to_1".into(), hex(commit.ciphertexts[1].unwrap())),
    ]);
}

fn commit_answers(p: &Played, out: &mut Answers) {
    let (commit, attempt) = (p.commit(), &p.fixture.attempt);
    let id = attempt.roster().member(0).unwrap().id;
    let k_rescue =
        commitment::rescue_key(&attempt.hash(), &id, p.fixture.dealings()[0].f_k.secret());
    out.extend([
        ("com_b".into(), hex(commit.com_b)),
        ("com_k".into(), hex(commit.com_k)),
        ("share_list".into(), hex(commit.share_list.as_flattened())),
        (
            "shares_root".into(),
            hex(commitment::shares_root(&commit.share_list).unwrap()),
        ),
        (
            "shares_path_holder_1".into(),
            list(commitment::share_path(&commit.share_list, 2).unwrap()),
        ),
        ("commit_core".into(), hex(p.core(0))),
        ("k_rescue".into(), hex(k_rescue.expose())),
        ("blob".into(), hex(commit.blob)),
        ("blob_hash".into(), hex(hash(labels::BLOB, &[&commit.blob]))),
        (
            "cts_hash".into(),
            hex(Commit::ciphertexts_hash(&commit.ciphertexts)),
        ),
        ("sig_maskkey".into(), hex(commit.sig_maskkey.0)),
        ("sig_commit".into(), hex(commit.sig_commit.0)),
    ]);
}

fn mask_answers(p: &Played, out: &mut Answers) {
    let (attempt, ctx) = (&p.fixture.attempt, p.cohort.ctx());
    let dealings = p.fixture.dealings();
    let own = self_seed(attempt, &ctx, 0, dealings[0].f_b.secret()).unwrap();
    let end = |i: u32| End {
        index: i,
        key: &p.commits[&i].e_pk,
    };
    let pair = pair_seed(attempt, &ctx, &dealings[0].mask_key, end(0), end(1)).unwrap();
    let other_end = pair_seed(attempt, &ctx, &dealings[1].mask_key, end(1), end(0)).unwrap();
    assert_eq!(pair.expose(), other_end.expose());
    let stream = |part, chunk| {
        let mut bytes = [0; 32];
        Keystream::new(&own, part, chunk).fill(&mut bytes);
        hex(bytes)
    };
    assert_eq!(p.masking.ctx(), ctx);
    out.extend([
        ("cohort_root".into(), hex(p.cohort.root)),
        ("ctx".into(), hex(ctx)),
        ("self_seed".into(), hex(own.expose())),
        ("pair_seed_0_1".into(), hex(pair.expose())),
        ("stream_self_part0_chunk0".into(), stream(0, 0)),
        ("stream_self_part0_chunk1".into(), stream(0, 1)),
        ("stream_self_part1_chunk0".into(), stream(1, 0)),
        ("masked_chunks".into(), list(&p.chunks)),
        ("masked_meta".into(), hex(&p.trailer.metadata)),
        ("upload_hash".into(), hex(p.upload_hash)),
        ("sig_upload".into(), hex(p.trailer.signature.0)),
    ]);
}

fn holder_answers(p: &Played, out: &mut Answers) {
    let identity = &p.fixture.sites[0].identity;
    let attestation = p.attested([0], &[3]).attestation(identity);
    let unmask = p.unmask_list();
    let abort = Idle::new(p.fixture.attempt.clone(), 0)
        .unwrap()
        .abort()
        .attestation(identity);
    out.extend([
        ("upload_root".into(), hex(p.proposal.upload_root)),
        ("digest".into(), hex(p.proposal.digest())),
        ("sig_survivors".into(), hex(attestation.signature.0)),
        ("sig_complaint".into(), hex(attestation.sig_complaint.0)),
        (
            "unmask_list".into(),
            hex(UnmaskList::hash(
                unmask.position,
                &unmask.present,
                &unmask.scalars,
            )),
        ),
        ("sig_unmask".into(), hex(unmask.signature.0)),
        ("sig_abort".into(), hex(abort.signature.0)),
    ]);
}

fn coordinator_answers(p: &Played, out: &mut Answers) {
    let coordinator = Identity::from_seed(&Seed::new([b'C'; 32]));
    let (ctx, digest) = (p.cohort.ctx(), p.proposal.digest());
    let receipt = Receipt {
        ctx,
        upload_hash: p.upload_hash,
        time_ms: 1500,
    };
    let result = RoundResult {
        ctx,
        digest,
        survivors: 1,
        sum_hash: Digest::of_bulk(&[0; 400]),
        metadata: vec![0; 24],
        next_model_hash: Digest::of_bulk(b"model-1"),
    };
    let graph_seed_and_digest = [&p.fixture.roster.seed().expose()[..], &digest.0].concat();
    out.extend([
        ("result_hash".into(), hex(result.hash())),
        (
            "audit_key".into(),
            hex(*kdf(&result.hash().0, &graph_seed_and_digest, "audit", &[])),
        ),
        (
            "sig_run".into(),
            hex(p.fixture.roster.params().sign(&coordinator).0),
        ),
        (
            "sig_announce".into(),
            hex(p.fixture.attempt.announcement().sign(&coordinator).0),
        ),
        ("sig_cohort".into(), hex(p.cohort.sign(&coordinator).0)),
        ("sig_receipt".into(), hex(receipt.sign(&coordinator).0)),
        ("sig_proposal".into(), hex(p.proposal.sign(&coordinator).0)),
        ("sig_result".into(), hex(result.sign(&coordinator).0)),
    ]);
}

/// The inputs are compared first: if they differ, the generator was read wrongly, and no answer says anything.
fn inputs(p: &Played) -> BTreeMap<&'static str, Value> {
    let (f, dealings) = (&p.fixture, p.fixture.dealings());
    let committed = f.committed();
    BTreeMap::from([
        ("id_seed", hex(f.sites[0].id_seed)),
        ("x_seed", hex(f.sites[0].x_seed)),
        ("X_1", hex(f.sites[1].x().public().as_bytes())),
        ("reveals", list(f.sites.iter().map(|site| site.reveal))),
        (
            "id_pks",
            list(
                f.sites
                    .iter()
                    .map(|site| *site.identity.public().as_bytes()),
            ),
        ),
        (
            "Xs",
            list(f.sites.iter().map(|site| *site.x().public().as_bytes())),
        ),
        (
            "bindings",
            list(
                f.sites
                    .iter()
                    .map(|site| site.claim.hash(&site.identity.public())),
            ),
        ),
        ("e", hex(dealings[0].mask_key.expose())),
        ("E_1", hex(dealings[1].mask_key.public().as_bytes())),
        ("nonce", hex(dealings[0].nonce)),
        ("b", hex(dealings[0].f_b.secret().expose())),
        ("K", hex(dealings[0].f_k.secret().expose())),
        (
            "own_share",
            hex(committed[0].own_shares().unwrap().expose()),
        ),
        ("commit_cores", list((0..5).map(|i| p.core(i)))),
        (
            "Es",
            list(p.commits.values().map(|commit| *commit.e_pk.as_bytes())),
        ),
        ("model", hex(b"model-0")),
        ("roundcfg", hex(b"lr=0.1")),
        ("coordinator_seed", hex([b'C'; 32])),
        ("organisation_seed", hex([b'O'; 32])),
        ("update", "k - 50 for k in 0..99".into()),
        ("metadata", json!([1, 2, 3])),
        ("time_ms", 1500.into()),
    ])
}

#[test]
fn every_known_answer_of_the_reference_is_given() {
    let Value::Object(mut expected) = serde_json::from_str(SILO).unwrap() else {
        panic!("silo.json is an object")
    };
    let played = Played::new();
    let Some(Value::Object(mut known)) = expected.remove("inputs") else {
        panic!("silo.json has inputs")
    };
    known.remove("run_config"); // run_hash answers for all 39 fields
    assert_eq!(
        inputs(&played),
        known
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect()
    );

    let mut answers = Answers::new();
    epoch_answers(&played.fixture, &mut answers);
    channel_answers(&played, &mut answers);
    commit_answers(&played, &mut answers);
    mask_answers(&played, &mut answers);
    holder_answers(&played, &mut answers);
    coordinator_answers(&played, &mut answers);
    for (name, value) in &expected {
        assert_eq!(answers.get(name), Some(value), "{name}");
    }
    assert_eq!(
        answers.len(),
        expected.len(),
        "an answer that the reference does not ask for"
    );
}

#[test]
fn the_uploads_signature_is_checked_under_its_context() {
    let p = Played::new();
    let item = SurvivorItem {
        index: 0,
        upload_hash: p.upload_hash,
        signature: p.trailer.signature,
    };
    assert!(crate::holder::upload_verifies(
        &p.fixture.attempt,
        &p.cohort.ctx(),
        &item
    ));
    assert!(!crate::holder::upload_verifies(
        &p.fixture.attempt,
        &Digest::ZERO,
        &item
    ));
}
