//! An attempt of `n` sites up to the released shares, played in memory: what unmasking starts from.

use std::collections::BTreeMap;
use std::sync::Arc;

use veilsum_common::limits::CHUNK_ELEMS;
use veilsum_common::quantise::ring_bits;
use veilsum_secagg::channel::PairKeys;
use veilsum_secagg::context::{Attempt, Roster};
use veilsum_secagg::coordinator::{self, Commits};
use veilsum_secagg::holder::{Idle, OpenedShares};
use veilsum_secagg::keys::{BindingClaim, Identity, Seed};
use veilsum_secagg::message::{
    Advertisement, Announcement, Cohort, SurvivorItem, UnmaskList, UploadTrailer,
};
use veilsum_secagg::params::{Params, RunConfig, round_config_hash};
use veilsum_secagg::participant::{AwaitingRoster, Binding, Committed, Masking, OwnShares};
use veilsum_secagg::{Bitmap, Certificate, Digest, PROTOCOL_VERSION};

/// Everybody has committed, and masks could be made.
pub struct Cast {
    pub attempt: Arc<Attempt>,
    pub identities: Vec<Identity>,
    pub advertisements: Vec<Advertisement>,
    pub commits: Commits,
    pub cohort: Cohort,
    pub masking: Vec<Masking>,
    inbound: Vec<PairKeys>,
    own: Vec<Option<OwnShares>>,
}

/// What holders released for the survivors of a cast.
pub struct Released {
    pub survivors: Bitmap,
    pub lists: BTreeMap<u32, UnmaskList>,
}

impl Cast {
    /// Of `n` sites with updates of `elements` elements.
    pub fn new(n: u8, elements: u64) -> Self {
        let params = Arc::new(Params::new(config(n, elements)).expect("settings of a usual study"));
        let (identities, advertisements, sites) = members(&params, n);
        let attempt = attempt(&params, &advertisements);
        let (mut states, mut commits) = (Vec::new(), Commits::new());
        let (mut inbound, mut own) = (Vec::new(), Vec::new());
        for ((me, site), identity) in (0..).zip(sites).zip(&identities) {
            let channels = site.accept(attempt.roster()).expect("the roster is whole");
            let (_, keys) = channels.advance(&attempt, me).expect("the first attempt");
            let state =
                Committed::new(Arc::clone(&attempt), me, &attempt_seed(me)).expect("a member");
            let commit = state.commit(identity, &keys.outbound).expect("all keys");
            commits.insert(me, commit);
            own.push(state.own_shares());
            inbound.push(keys.inbound);
            states.push(state);
        }
        let cohort = coordinator::close_cohort(&attempt, &commits).expect("all committed");
        let masking = (0..).zip(states).map(|(me, state)| {
            let near = coordinator::neighbourhood(&attempt, &commits, me).expect("a member");
            state.accept(&cohort, &near).expect("an honest coordinator")
        });
        let masking = masking.collect();
        Self {
            attempt,
            identities,
            advertisements,
            commits,
            cohort,
            masking,
            inbound,
            own,
        }
    }

    /// The last `drops` sites are lost before their uploads; all others attest and release.
    pub fn release(&self, drops: u32) -> Released {
        let n = u32::try_from(self.identities.len()).expect("at most 128 sites");
        let items: Vec<_> = (0..n - drops).map(|me| self.item(me)).collect();
        let proposal = coordinator::close_survivors(&self.attempt, &self.cohort, &items)
            .expect("enough survivors");
        let (mut waiting, mut signatures) = (Vec::new(), Vec::new());
        for item in &items {
            let (me, at) = (item.index, item.index as usize);
            let shares = coordinator::share_items(&self.attempt, &self.commits, me);
            let opened = OpenedShares::open(
                &self.attempt,
                me,
                &self.inbound[at],
                self.own[at].as_ref(),
                &self.cohort,
                &shares.expect("a holder"),
            );
            let opened = opened.expect("honest dealers");
            let idle = Idle::new(Arc::clone(&self.attempt), me).expect("a holder");
            let mine = Some((me, item.upload_hash));
            let verdict = idle.judge(&self.cohort, &opened, &proposal, &items, mine);
            let attested = idle.attest(verdict.expect("an honest proposal"));
            let attestation = attested.attestation(&self.identities[at]);
            signatures.push((attestation.position, attestation.signature));
            waiting.push((me, attested, opened));
        }
        let certificate = Certificate {
            digest: proposal.digest(),
            signatures,
        };
        let lists = waiting.into_iter().map(|(me, attested, opened)| {
            let certified = certificate
                .certify_survivors(&self.attempt, proposal.digest())
                .expect("enough signatures");
            let released = attested.release(certified).ok().expect("this set");
            let list = released.unmask(&self.identities[me as usize], &opened);
            (me, list.expect("an honest holder"))
        });
        Released {
            lists: lists.collect(),
            survivors: proposal.survivors.clone(),
        }
    }

    /// The trailer of a site's upload, and the hash it signs.
    pub fn trailer(&self, me: u32) -> (UploadTrailer, Digest) {
        let params = self.attempt.params();
        let chunks = usize::try_from(params.chunks()).expect("few chunks");
        let metadata = vec![0; params.config().meta_lanes as usize];
        let at = me as usize;
        self.masking[at].trailer(&self.identities[at], &vec![Digest::ZERO; chunks], &metadata)
    }

    fn item(&self, me: u32) -> SurvivorItem {
        let (trailer, upload_hash) = self.trailer(me);
        SurvivorItem {
            index: me,
            upload_hash,
            signature: trailer.signature,
        }
    }
}

/// What a site draws for an epoch.
pub fn epoch_seed(me: u32) -> Seed {
    Seed::new(Digest::of_bulk(format!("epoch {me}").as_bytes()).0)
}

/// What a site draws for an attempt.
pub fn attempt_seed(me: u32) -> Seed {
    Seed::new(Digest::of_bulk(format!("attempt {me}").as_bytes()).0)
}

fn members(params: &Params, n: u8) -> (Vec<Identity>, Vec<Advertisement>, Vec<AwaitingRoster>) {
    let mut identities: Vec<_> = (1..=n)
        .map(|k| Identity::from_seed(&Seed::new([k; 32])))
        .collect();
    identities.sort_by_key(|identity| identity.public().id());
    let (mut sites, mut advertisements) = (Vec::new(), Vec::new());
    for (me, identity) in (0..).zip(&identities) {
        let (site, advertisement) =
            AwaitingRoster::new(params, 1, identity, &binding(), &epoch_seed(me));
        sites.push(site);
        advertisements.push(advertisement);
    }
    (identities, advertisements, sites)
}

fn attempt(params: &Arc<Params>, advertisements: &[Advertisement]) -> Arc<Attempt> {
    let roster = Roster::new(Arc::clone(params), 1, advertisements).expect("n different sites");
    let roster = Arc::new(roster);
    let n = roster.len();
    let announcement = Announcement {
        epoch_ctx: roster.ctx(),
        round: 1,
        seq: 1,
        retry_of: Digest::ZERO,
        model_hash: Digest::of_bulk(b"model"),
        prev_result_hash: Digest::ZERO,
        roundcfg_hash: round_config_hash(b""),
        holders: Bitmap::full(n),
        threshold: params.threshold(n, n),
        commit_by_ms: 1,
        submit_by_ms: 2,
        expires_ms: 3,
    };
    Arc::new(Attempt::new(roster, announcement).expect("the usual attempt"))
}

pub fn binding() -> Binding {
    Binding {
        claim: BindingClaim {
            organisation: "org".into(),
            site: "site".into(),
            not_before: 0,
            not_after: 1 << 40,
        },
        scheme: 0x0807,
        signature: Vec::new(),
        chain: Vec::new(),
    }
}

fn config(n: u8, elements: u64) -> RunConfig {
    RunConfig {
        protocol_version: PROTOCOL_VERSION,
        run_id: [1; 16],
        coordinator_pk: *Identity::from_seed(&Seed::new([0; 32])).public().as_bytes(),
        profile: 0,
        masking: 0,
        prg: 0,
        arch_digest: [0; 32],
        layout_digest: [0; 32],
        code_digest: [0; 32],
        elements,
        meta_lanes: 3,
        chunk_elems: CHUNK_ELEMS,
        v: 16,
        m: ring_bits(16, n.into()),
        n_max: n.into(),
        clamp: 1.0,
        l2_clip: 0.0,
        weight_max: 1,
        quantiser: 1,
        mean_degree: 0,
        committee: 0,
        committee_size: 0,
        committee_threshold: 0,
        designated: Vec::new(),
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
        dp_spec: Vec::new(),
        optimiser: Vec::new(),
    }
}
