//! A whole federation in one thread, without sockets: the shipped machines, masks and final job, and everything that the coordinator
//! receives of a round kept for a test to look at.
//!
//! Sites act in lock-step and time stands still until a test lets it pass. Entropy is drawn from names, so that a run can be repeated;
//! that is only possible here, through the libraries: no daemon takes its entropy from outside.

mod site;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use veilsum_common::blob::BlobRef;
use veilsum_common::ids::{RunId, SiteName};
use veilsum_common::parts::Parts;
use veilsum_common::run::RunSpec;
use veilsum_common::study::Study;
use veilsum_common::time::Timestamp;
use veilsum_coordinator::store::blobs::Blobs;
use veilsum_coordinator::store::staging::{Row, Slot, Staging};
use veilsum_coordinator::worker::{self, FoldJob, JobError};
use veilsum_engine::machine::Machine as _;
use veilsum_engine::participant::{Event, Step, UploadParts};
use veilsum_engine::policy::{Approval, PeerTrust, Policy};
use veilsum_engine::round::{self, Computed, Opening, Outcome, Published, Round};
use veilsum_engine::terms::Terms;
use veilsum_secagg::checksum::Checksum;
use veilsum_secagg::context::{Attempt, Roster};
use veilsum_secagg::keys::{Identity, Seed};
use veilsum_secagg::message::{Announcement, Receipt, SurvivorItem, UploadTrailer};
use veilsum_secagg::params::round_config_hash;
use veilsum_secagg::{Bitmap, Certificate, Digest, coordinator};

use site::Site;
pub use site::{Clear, Trained};

/// Everything a coordinator receives of one site's update.
#[derive(Clone, Debug)]
pub struct Received {
    /// The packed chunks, one after the other.
    pub packed: Vec<u8>,
    /// The metadata lanes.
    pub metadata: Vec<u64>,
}

/// One round: what each site meant, and what came of it at the coordinator.
pub struct Seen {
    /// By site; never leaves it.
    pub clear: Vec<Clear>,
    /// By site; `None` for one that never uploaded.
    pub received: Vec<Option<Received>>,
    pub published: Published,
}

pub struct Simulation {
    pub spec: Arc<RunSpec>,
    pub blobs: Blobs,
    pub staging: Staging,
    /// Where `staging` keeps its files.
    pub uploads_dir: PathBuf,
    /// What a failing coordinator books for every upload besides what arrived.
    pub misbooked: Checksum,
    pub model: BlobRef,
    key: Identity,
    terms: Terms,
    sites: Vec<Site>,
    roster: Arc<Roster>,
    names: Vec<SiteName>,
    last: Digest,
    rounds: u64,
    _dir: tempfile::TempDir,
}

/// When everything happens.
const NOW: Timestamp = Timestamp(1_000_000_000_000);

/// Test entropy: as good as its name is new.
pub fn seed(what: &str, number: u64) -> Seed {
    Seed::new(Digest::of_bulk(format!("{what}/{number}").as_bytes()).0)
}

impl Simulation {
    /// A run of a study whose epoch is set up.
    pub fn new(study: &str, model: &[u8], sites: u64) -> Self {
        let key = Identity::from_seed(&seed("coordinator", 0));
        let study = Study::parse(study).unwrap();
        let (id, public) = (RunId::from_bytes([7; 16]), *key.public().as_bytes());
        let spec = Arc::new(RunSpec::from_study(&study, id, public, &model).unwrap());
        let identity = |site| Arc::new(Identity::from_seed(&seed("identity", site)));
        let mut identities: Vec<_> = (0..sites).map(identity).collect();
        // in roster order, so that site k is member k
        identities.sort_by_key(|identity| identity.public().id());
        let ids: BTreeSet<_> = identities.iter().map(|who| who.public().id()).collect();
        let policy = Policy {
            approve: Approval::All,
            peers: PeerTrust::Ids(ids),
            min_cohort: 3,
            bits_min: 8,
            max_update_bytes: 1 << 30,
            metrics: None,
        };
        let site = |(index, identity)| Site::new(index, identity, &spec, &policy);
        let mut sites: Vec<Site> = (0..).zip(identities).map(site).collect();
        let roster = enrol(&spec, &mut sites);
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(&dir.path().join("blobs")).unwrap();
        let (rounds, uploads_dir) = (study.rounds(), dir.path().join("uploads"));
        Self {
            model: blobs.put(model).unwrap(),
            terms: Terms {
                params: Arc::new(spec.params().clone()),
                rounds: rounds.count,
                target: rounds.cohort.target,
                join: rounds.join_timeout,
                report: rounds.report_timeout,
            },
            names: sites.iter().map(|site| site.name.clone()).collect(),
            last: Digest::ZERO,
            rounds: 0,
            spec,
            blobs,
            staging: Staging::new(&uploads_dir, Seed::new([3; 32])).unwrap(),
            uploads_dir,
            misbooked: Checksum::default(),
            key,
            sites,
            roster,
            _dir: dir,
        }
    }

    /// A round that the shipped final job ends, in which the sites in `lost` commit and never upload.
    pub fn round(&mut self, train: impl Fn(usize, u64) -> Trained, lost: &[usize]) -> Seen {
        self.round_ended_by(train, lost, |this, round, _| this.compute(round).unwrap())
    }

    /// A round whose sum `compute` makes, or makes up.
    pub fn round_ended_by(
        &mut self,
        train: impl Fn(usize, u64) -> Trained,
        lost: &[usize],
        compute: impl FnOnce(&Self, &Round, &[Option<Received>]) -> Computed,
    ) -> Seen {
        let (mut round, clear, received) = self.released(train, lost);
        self.fold(&mut round);
        let computed = round::Event::JobDone(Box::new(compute(self, &round, &received)));
        submit(&mut round, computed);
        let Some(Outcome::Published(published)) = round.outcome().cloned() else {
            panic!("no result: {:?}", round.outcome());
        };
        self.publish(&published);
        Seen {
            clear,
            received,
            published: *published,
        }
    }

    /// A round whose shares are released and whose jobs are still to be run.
    pub fn released(
        &mut self,
        train: impl Fn(usize, u64) -> Trained,
        lost: &[usize],
    ) -> (Round, Vec<Clear>, Vec<Option<Received>>) {
        self.rounds += 1;
        let mut round = self.open();
        let clear = self.commit(&mut round, train);
        let received = self.upload(&mut round, lost);
        self.release(&mut round);
        (round, clear, received)
    }

    /// Runs every fold of a round, as the coordinator does.
    pub fn fold(&self, round: &mut Round) {
        while let Some(job) = FoldJob::next(&self.spec, round) {
            let (fold, digest) = (job.fold(), job.run(&self.staging).unwrap());
            submit(round, round::Event::Folded { fold, digest });
            job.let_go(&self.staging).unwrap();
        }
    }

    /// Runs the final job of a round.
    pub fn compute(&self, round: &Round) -> Result<Computed, JobError> {
        let stores = worker::Stores {
            models: &self.blobs,
            uploads: &self.staging,
        };
        let inputs = worker::Inputs::of(&self.spec, round).unwrap();
        worker::run(&self.spec, stores, &self.model, &inputs)
    }

    fn open(&mut self) -> Round {
        let n = self.roster.len();
        let [commit_by, submit_by, expires] = self.terms.deadlines(NOW);
        let round_config = self.spec.round_config_bytes(self.rounds);
        let announcement = Announcement {
            epoch_ctx: self.roster.ctx(),
            round: self.rounds,
            seq: self.rounds,
            retry_of: Digest::ZERO,
            model_hash: self.model.digest,
            prev_result_hash: self.last,
            roundcfg_hash: round_config_hash(&round_config),
            holders: Bitmap::full(n),
            threshold: self.spec.params().threshold(n, n),
            commit_by_ms: commit_by.0,
            submit_by_ms: submit_by.0,
            expires_ms: expires.0,
        };
        let signature = announcement.sign(&self.key);
        for site in &mut self.sites {
            site.submit(Event::Opened {
                announcement: Box::new(announcement.clone()),
                signature,
                round_config: round_config.clone(),
                proofs: Vec::new(),
            });
        }
        let attempt = Attempt::new(Arc::clone(&self.roster), announcement).unwrap();
        let opening = Opening {
            round_config,
            ..Opening::default()
        };
        let (terms, names) = (self.terms.clone(), self.names.clone());
        Round::open(terms, Arc::new(attempt), names, opening, NOW)
    }

    fn commit(&mut self, round: &mut Round, train: impl Fn(usize, u64) -> Trained) -> Vec<Clear> {
        let mut clear = Vec::new();
        for (index, site) in (0..).zip(&mut self.sites) {
            let trained = train(index as usize, self.rounds);
            clear.push(site.train(&trained));
            let commit = Box::new(site.commit());
            submit(round, round::Event::Committed { index, commit });
            site.step(Step::Answered);
        }
        decide(round, NOW);
        let cohort = round.cohort().expect("everybody committed").clone();
        let signature = cohort.sign(&self.key);
        for site in &mut self.sites {
            let cohort = cohort.clone();
            site.step(Step::CohortSeen { cohort, signature });
        }
        clear
    }

    fn upload(&mut self, round: &mut Round, lost: &[usize]) -> Vec<Option<Received>> {
        let mut received = Vec::new();
        for (index, site) in (0..).zip(&mut self.sites) {
            if lost.contains(&(index as usize)) {
                received.push(None);
                continue;
            }
            let near = coordinator::neighbourhood(round.attempt(), round.commits(), index).unwrap();
            let (packed, trailer) = site.upload(&near);
            let slot = Slot::of(self.spec.run_id(), round.attempt(), index);
            let whole = stage(&self.staging, slot, Parts::of(self.spec.params()), &packed);
            let mut upload = accept(round, index, whole, &trailer);
            upload.checksum += &self.misbooked;
            let receipt = Receipt {
                ctx: round.cohort().unwrap().ctx(),
                upload_hash: upload.item.upload_hash,
                time_ms: upload.at.0,
            };
            submit(round, round::Event::Uploaded(Box::new(upload)));
            let signature = receipt.sign(&self.key);
            site.step(Step::Received {
                receipt,
                signature,
                parts: Some(UploadParts::of(&trailer)),
            });
            let (lanes, _) = trailer.metadata.as_chunks::<8>();
            received.push(Some(Received {
                packed,
                metadata: lanes.iter().map(|lane| u64::from_le_bytes(*lane)).collect(),
            }));
        }
        let late = NOW + self.terms.report;
        decide(round, late);
        received
    }

    /// Attestations, the certificate, and the shares for it.
    fn release(&mut self, round: &mut Round) {
        let proposal = round.proposal().expect("the survivors are fixed").clone();
        let signature = proposal.sign(&self.key);
        let kept = round.uploads().values();
        let items: Vec<SurvivorItem> = kept.map(|upload| upload.item).collect();
        for (index, site) in (0..).zip(&mut self.sites) {
            let shares = coordinator::share_items(round.attempt(), round.commits(), index).unwrap();
            let attestation = Box::new(site.attest(&shares, &proposal, &signature, &items));
            submit(round, round::Event::Attested { index, attestation });
        }
        decide(round, NOW);
        let certificate: Certificate = round.certificate().expect("everybody attested").clone();
        for (index, site) in (0..).zip(&mut self.sites) {
            let list = Box::new(site.release(certificate.clone()));
            submit(round, round::Event::Unmasked { index, list });
            site.step(Step::Delivered);
        }
        decide(round, NOW);
    }

    fn publish(&mut self, published: &Published) {
        let signature = published.result.sign(&self.key);
        for site in &mut self.sites {
            site.submit(Event::Finished {
                place: (1, self.rounds),
                result: Box::new(published.result.clone()),
                certificate: published.certificate.clone(),
                signature,
            });
        }
        (self.model, self.last) = (published.model, published.result.hash());
    }
}

/// Advertisements, one roster, its certificate.
fn enrol(spec: &RunSpec, sites: &mut [Site]) -> Arc<Roster> {
    let advertisements: Vec<_> = sites.iter_mut().map(Site::join).collect();
    let roster = Roster::new(Arc::new(spec.params().clone()), 1, &advertisements).unwrap();
    let confirm = |site: &mut Site| site.confirm(advertisements.clone());
    let signatures: Vec<_> = sites.iter_mut().map(confirm).collect();
    let certificate = Certificate {
        digest: roster.ctx(),
        signatures: (0..).zip(signatures).collect(),
    };
    for site in sites {
        site.submit(Event::RosterCertified(certificate.clone()));
    }
    Arc::new(roster)
}

/// Hands an event in that the round must take.
pub fn submit(round: &mut Round, event: round::Event) {
    round.admit(NOW, &event).unwrap();
    round.handle(NOW, event).unwrap();
}

/// Takes every decision that is due.
fn decide(round: &mut Round, at: Timestamp) {
    while let Some(event) = round.due(at) {
        round.handle(at, event).unwrap();
    }
}

/// Makes an upload durable as the coordinator does; gives its root and what it adds to the books.
fn stage(staging: &Staging, slot: Slot, parts: Parts, packed: &[u8]) -> (BlobRef, Checksum) {
    let (upload, books) = (
        staging.upload(slot, parts).unwrap(),
        staging.projections(slot.stream),
    );
    let mut rest = packed;
    for part in 0..parts.count() {
        let rows = parts.chunks_of(part).map(|chunk| {
            let (now, later) = rest.split_at(parts.chunk_bytes(chunk));
            rest = later;
            upload.write(chunk, now).unwrap();
            let (bits, count) = (parts.ring_bits(), parts.chunk_len(chunk));
            Row {
                checksum: books.of_packed(chunk, bits, count, now).unwrap(),
                hash: Digest::of_bulk(now),
            }
        });
        let rows: Vec<Row> = rows.collect();
        upload.keep(part, &rows).unwrap();
    }
    let (digest, checksum) = upload.whole().unwrap();
    let len_bytes = parts.total_bytes();
    (BlobRef { digest, len_bytes }, checksum)
}

/// What the edge does with an upload before the machine hears of it.
fn accept(
    round: &Round,
    index: u32,
    (blob, checksum): (BlobRef, Checksum),
    trailer: &UploadTrailer,
) -> round::Upload {
    let cohort = round.expects_upload(index).unwrap();
    let root = &blob.digest;
    let checked = coordinator::check_trailer(round.attempt(), cohort, index, root, trailer);
    round::Upload {
        item: SurvivorItem {
            index,
            upload_hash: checked.unwrap(),
            signature: trailer.signature,
        },
        metadata: trailer.metadata.clone(),
        blob,
        checksum,
        at: NOW,
    }
}
