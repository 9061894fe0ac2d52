//! Four sites and a coordinator whose signatures say too much: one evidence of each kind, made by the calls that daemons use.

use std::sync::Arc;

use veilsum_secagg::channel::PairKeys;
use veilsum_secagg::context::{Attempt, Roster};
use veilsum_secagg::coordinator::{self, Commits};
use veilsum_secagg::evidence::dealing::{InconsistentDealing, WrongScalar, WrongShare};
use veilsum_secagg::evidence::equivocation::{
    Outcome, TwoAnnouncements, TwoCohorts, TwoResults, TwoSurvivorSets,
};
use veilsum_secagg::evidence::omission::OmittedSurvivor;
use veilsum_secagg::evidence::promises::{TwoAttestations, TwoContexts, TwoRosters};
use veilsum_secagg::evidence::{Evidence, NamedAttempt, Signed};
use veilsum_secagg::holder::{Idle, Verdict};
use veilsum_secagg::keys::{BindingClaim, Identity, Seed, Signature};
use veilsum_secagg::message::{
    Advertisement, Announcement, Cohort, Receipt, RoundResult, SurvivorItem, SurvivorProposal,
    UnmaskList, UploadTrailer,
};
use veilsum_secagg::params::{Params, RunConfig, round_config_hash};
use veilsum_secagg::participant::{AwaitingRoster, Binding, Committed};
use veilsum_secagg::{Bitmap, Digest, PROTOCOL_VERSION, Secret};

fn seed(n: u8) -> Seed {
    Seed::new([n; 32])
}

pub fn coordinator_key() -> Identity {
    Identity::from_seed(&seed(99))
}

fn config() -> RunConfig {
    RunConfig {
        protocol_version: PROTOCOL_VERSION,
        run_id: [1; 16],
        coordinator_pk: *coordinator_key().public().as_bytes(),
        profile: 0,
        masking: 0,
        prg: 0,
        arch_digest: [2; 32],
        layout_digest: [3; 32],
        code_digest: [4; 32],
        elements: 4,
        meta_lanes: 1,
        chunk_elems: 8,
        v: 16,
        m: 18,
        n_max: 4,
        clamp: 1.0,
        l2_clip: 0.0,
        weight_max: 1,
        quantiser: 1,
        mean_degree: 0,
        committee: 0,
        committee_size: 0,
        committee_threshold: 0,
        designated: vec![],
        rho_num: 1,
        rho_den: 3,
        delta_max_permille: 200,
        cohort_min_permille: 700,
        corrupt_rule: 0,
        gamma_permille: 0,
        min_cohort: 3,
        min_honest: 2,
        commit_reveal: 0,
        epoch_rounds: 100,
        epoch_seconds: 604_800,
        batch_size: 0,
        audit: 0,
        dp_spec: vec![],
        optimiser: b"mean".to_vec(),
    }
}

/// One attempt in which everybody commits, and everything signed in it that a proof needs.
pub struct World {
    pub identities: Vec<Identity>,
    params: Arc<Params>,
    advertisements: Vec<Advertisement>,
    pub attempt: Arc<Attempt>,
    outbound: Vec<PairKeys>,
    pub commits: Commits,
}

fn binding() -> Binding {
    let claim = BindingClaim {
        organisation: "org".into(),
        site: "site".into(),
        not_before: 0,
        not_after: 1 << 40,
    };
    Binding {
        claim,
        scheme: 0,
        signature: vec![],
        chain: vec![],
    }
}

impl World {
    pub fn new() -> Self {
        let params = Arc::new(Params::new(config()).unwrap());
        let mut identities: Vec<_> = (1..=4).map(|n| Identity::from_seed(&seed(n))).collect();
        identities.sort_by_key(|identity| identity.public().id());
        let (waiting, advertisements): (Vec<_>, Vec<_>) = identities
            .iter()
            .zip(10..)
            .map(|(identity, n)| AwaitingRoster::new(&params, 3, identity, &binding(), &seed(n)))
            .unzip();
        let roster = Arc::new(Roster::new(Arc::clone(&params), 3, &advertisements).unwrap());
        let announcement = Announcement {
            epoch_ctx: roster.ctx(),
            round: 5,
            seq: 7,
            retry_of: Digest::ZERO,
            model_hash: Digest::of_bulk(b"model"),
            prev_result_hash: Digest::ZERO,
            roundcfg_hash: round_config_hash(b""),
            holders: Bitmap::full(4),
            threshold: params.threshold(4, 4),
            commit_by_ms: 1000,
            submit_by_ms: 2000,
            expires_ms: 3000,
        };
        let attempt = Arc::new(Attempt::new(Arc::clone(&roster), announcement).unwrap());
        let mut outbound = Vec::new();
        for (site, me) in waiting.into_iter().zip(0..) {
            let channels = site.accept(&roster).unwrap();
            outbound.push(channels.advance(&attempt, me).unwrap().1.outbound);
        }
        let mut world = Self {
            identities,
            params,
            advertisements,
            attempt,
            outbound,
            commits: Commits::new(),
        };
        world.commits = (0..4).map(|me| (me, world.commit(me))).collect();
        world
    }

    fn committed(&self, me: u32) -> Committed {
        let n = u8::try_from(me).unwrap() + 20;
        Committed::new(Arc::clone(&self.attempt), me, &seed(n)).unwrap()
    }

    fn commit(&self, me: u32) -> veilsum_secagg::message::Commit {
        let at = me as usize;
        self.committed(me)
            .commit(&self.identities[at], &self.outbound[at])
            .unwrap()
    }

    /// The cohort of the first `size` members.
    fn cohort(&self, size: u32) -> Cohort {
        let commits: Commits = (0..size).map(|i| (i, self.commits[&i].clone())).collect();
        coordinator::close_cohort(&self.attempt, &commits).unwrap()
    }

    fn upload(&self, me: u32, size: u32) -> (UploadTrailer, Digest) {
        let commits: Commits = (0..size).map(|i| (i, self.commits[&i].clone())).collect();
        let near = coordinator::neighbourhood(&self.attempt, &commits, me).unwrap();
        let masking = self
            .committed(me)
            .accept(&self.cohort(size), &near)
            .unwrap();
        let chunk = Digest::of_bulk(&masking.chunk(0, &[1, 2, 3, 4]));
        masking.trailer(&self.identities[me as usize], &[chunk], &[1])
    }

    /// The survivors `kept` of the whole cohort.
    fn proposal(&self, kept: std::ops::Range<u32>) -> SurvivorProposal {
        let item = |index| {
            let (trailer, upload_hash) = self.upload(index, 4);
            SurvivorItem {
                index,
                upload_hash,
                signature: trailer.signature,
            }
        };
        let items: Vec<_> = kept.map(item).collect();
        coordinator::close_survivors(&self.attempt, &self.cohort(4), &items).unwrap()
    }

    fn named(&self) -> NamedAttempt {
        NamedAttempt::of(&self.attempt)
    }

    fn attestation(&self, me: u32, proposal: &SurvivorProposal) -> Signature {
        let verdict = Verdict {
            proposal: proposal.clone(),
            cohort: Bitmap::full(4),
            complaints: Bitmap::empty(4),
        };
        let idle = Idle::new(Arc::clone(&self.attempt), me).unwrap();
        let identity = &self.identities[me as usize];
        idle.attest(verdict).attestation(identity).signature
    }

    /// One of each kind; the last three hold together but convict nobody, since no dealer and no holder here lies.
    pub fn all(&self) -> Vec<Evidence> {
        [
            self.of_the_coordinator(),
            self.of_members(),
            self.of_shares(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn of_the_coordinator(&self) -> Vec<Evidence> {
        let key = coordinator_key();
        let (all, three) = (self.cohort(4), self.cohort(3));
        let signed_proposal = |kept| {
            let value = self.proposal(kept);
            let signature = value.sign(&key);
            Signed { value, signature }
        };
        let (whole, without) = (signed_proposal(0..4), signed_proposal(1..4));
        let result = |model: &[u8], digest| {
            let value = RoundResult {
                ctx: all.ctx(),
                digest,
                survivors: 4,
                sum_hash: Digest::of_bulk(b"sum"),
                metadata: vec![1; 8],
                next_model_hash: Digest::of_bulk(model),
            };
            let signature = value.sign(&key);
            (all.clone(), Signed { value, signature })
        };
        let announced = |model: &[u8]| {
            let mut attempt = self.named();
            attempt.announcement.model_hash = Digest::of_bulk(model);
            let signature = attempt.announcement.sign(&key);
            (attempt, signature)
        };
        let (trailer, upload_hash) = self.upload(0, 4);
        let receipt = Receipt {
            ctx: all.ctx(),
            upload_hash,
            time_ms: 1999,
        };
        let of = |cohort: &Cohort| Signed {
            value: cohort.clone(),
            signature: cohort.sign(&key),
        };
        let agreed = result(b"next", whole.value.digest());
        vec![
            Evidence::TwoAnnouncements(TwoAnnouncements {
                announced: [announced(b"model"), announced(b"another model")],
            }),
            Evidence::TwoCohorts(TwoCohorts {
                attempt: self.named(),
                cohorts: [of(&all), of(&three)],
            }),
            Evidence::TwoSurvivorSets(TwoSurvivorSets {
                attempt: self.named(),
                said: [
                    (all.clone(), Outcome::Proposal(without.clone())),
                    (all.clone(), Outcome::Result(agreed.1.clone())),
                ],
            }),
            Evidence::TwoResults(TwoResults {
                attempt: self.named(),
                results: [agreed, result(b"next for some", whole.value.digest())],
            }),
            Evidence::OmittedSurvivor(OmittedSurvivor {
                attempt: Arc::clone(&self.attempt),
                member: 0,
                cohort: all.clone(),
                chunk_root: trailer.chunk_root,
                metadata_hash: Digest::of_bulk(&trailer.metadata),
                receipt: Signed {
                    signature: receipt.sign(&key),
                    value: receipt,
                },
                proposal: without,
            }),
        ]
    }

    fn of_members(&self) -> Vec<Evidence> {
        let fewer = self.advertisements[..3].to_vec();
        let fewer = Arc::new(Roster::new(Arc::clone(&self.params), 3, &fewer).unwrap());
        let confirmed = [self.attempt.roster(), &fewer].map(|roster| {
            let confirmation = roster.confirm(&self.identities[1]).unwrap();
            (Arc::clone(roster), confirmation.signature)
        });
        let attested = [self.proposal(0..4), self.proposal(1..4)].map(|proposal| {
            let signature = self.attestation(2, &proposal);
            (self.cohort(4), proposal, signature)
        });
        let uploaded = [4, 3].map(|size| {
            let (trailer, upload_hash) = self.upload(1, size);
            (self.cohort(size), upload_hash, trailer.signature)
        });
        vec![
            Evidence::TwoRosters(TwoRosters {
                member: self.identities[1].public(),
                confirmed,
            }),
            Evidence::TwoAttestations(TwoAttestations {
                attempt: Arc::clone(&self.attempt),
                position: 3,
                attested,
            }),
            Evidence::TwoContexts(TwoContexts {
                attempt: Arc::clone(&self.attempt),
                member: 1,
                uploaded,
            }),
        ]
    }

    fn of_shares(&self) -> Vec<Evidence> {
        let attempt = || Arc::clone(&self.attempt);
        let (commit, proposal) = (self.commits[&1].clone(), self.proposal(0..4));
        vec![
            Evidence::WrongShare(WrongShare {
                attempt: attempt(),
                dealer: 1,
                commit: commit.clone(),
                position: 3,
                k_share: seed(50),
            }),
            Evidence::WrongScalar(WrongScalar {
                attempt: attempt(),
                dealer: 1,
                commit: commit.clone(),
                core_path: vec![Digest([51; 32]), Digest([52; 32])],
                cohort: self.cohort(4),
                list: UnmaskList {
                    digest: proposal.digest(),
                    position: 3,
                    present: Bitmap::of(4, [1, 2]),
                    scalars: vec![[53; 32], [54; 32]],
                    signature: Signature([55; 64]),
                },
                proposal,
            }),
            Evidence::InconsistentDealing(InconsistentDealing {
                attempt: attempt(),
                dealer: 1,
                commit,
                which: Secret::Rescue,
                scalars: vec![(1, [56; 32]), (4, [57; 32])],
            }),
        ]
    }
}
