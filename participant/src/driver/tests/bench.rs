//! One site of five on a data directory of its own, its peers as bare keys, and a coordinator that does what a test says.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tonic::transport::Endpoint;
use veilsum_common::run::RunSpec;
use veilsum_common::time::Span;
use veilsum_daemon::shutdown::Shutdown;
use veilsum_engine::policy::{Approval, PeerTrust, Policy};
use veilsum_proto::convert::journal::{Journalled as _, SiteAccepted};
use veilsum_secagg::Bitmap;
use veilsum_secagg::channel::PairKeys;
use veilsum_secagg::context::{Attempt, Roster};
use veilsum_secagg::keys::{BindingClaim, Identity};
use veilsum_secagg::message::{Advertisement, Announcement, Commit};
use veilsum_secagg::params::round_config_hash;
use veilsum_secagg::participant::{AwaitingRoster, Binding, Committed};
use zeroize::Zeroizing;

use super::super::*;
use crate::journal::Journal;
use crate::keystore::StoreKey;
use crate::link::Link;
use crate::test_support;
use crate::trainer::Hook;

/// Members of the roster; this site is one of them.
pub const SITES: u8 = 5;

pub struct Bench {
    pub dir: tempfile::TempDir,
    pub spec: Arc<RunSpec>,
    pub coordinator: Identity,
}

impl Bench {
    pub fn new() -> Self {
        let coordinator = Identity::from_seed(&Seed::new([99; 32]));
        let public = *coordinator.public().as_bytes();
        let spec = test_support::run_of(public);
        Self {
            dir: tempfile::tempdir().unwrap(),
            spec,
            coordinator,
        }
    }

    pub fn run(&self) -> RunId {
        self.spec.run_id()
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The site as its daemon opens it, with nobody at the other end.
    pub fn site(&self) -> Arc<Site> {
        let nobody = Endpoint::from_static("http://127.0.0.1:9").connect_lazy();
        self.site_at(Link::new(nobody))
    }

    pub fn site_at(&self, link: Link) -> Arc<Site> {
        let data_dir = self.data();
        std::fs::create_dir_all(&data_dir).unwrap();
        let key = StoreKey::from_bytes(Zeroizing::new([5; 32]));
        let peers = (1..=SITES).map(|number| identity(number).public().id());
        Arc::new(Site {
            name: "site-1".parse().unwrap(),
            organisation: "org".into(),
            identity: Arc::new(identity(1)),
            policy: Policy {
                approve: Approval::All,
                peers: PeerTrust::Ids(peers.collect()),
                min_cohort: 3,
                bits_min: 8,
                max_update_bytes: 1 << 20,
                metrics: None,
            },
            hook: Hook {
                command: vec!["false".into()],
                directory: self.dir.path().into(),
                timeout: Span::from_secs(60),
                grace: Hook::GRACE,
                env: Vec::new(),
            },
            chain: Vec::new(),
            key_pem: Zeroizing::new(Vec::new()),
            journal: Mutex::new(Journal::open(&data_dir, key, entropy::fill).unwrap()),
            data_dir,
            marker_dir: self.dir.path().join("markers"),
            link,
            shutdown: Shutdown::new(),
        })
    }

    /// Takes the run up as `accept` does, without anybody to ask.
    pub fn accept(&self, site: &Site) {
        let accepted = SiteAccepted {
            run_spec: self.spec.to_bytes(),
            signature: self.spec.params().sign(&self.coordinator),
        };
        let entry = Entry {
            at: clock::now(),
            kind: accepted.kind().to_owned(),
            payload: accepted.encode(),
        };
        let stream = replay::stream(self.run());
        site.journal().append(&stream, 0, &[entry], &[]).unwrap();
    }

    /// A driver that took the run up, with the inputs its tasks send.
    pub async fn driver(
        &self,
        site: Arc<Site>,
    ) -> Result<(Driver, mpsc::Receiver<Input>), RunError> {
        let (inputs, inbox) = mpsc::channel(INBOX);
        let driver = Driver::open(site, self.run(), inputs).await?;
        Ok((driver, inbox))
    }

    /// The same, in epoch 1 with a certified roster.
    pub async fn enrolled(&self) -> (Driver, mpsc::Receiver<Input>) {
        let site = self.site();
        self.accept(&site);
        let (mut driver, inbox) = self.driver(site).await.unwrap();
        self.enrol(&mut driver);
        (driver, inbox)
    }

    pub fn enrol(&self, driver: &mut Driver) {
        let binding = Box::new(binding(1));
        assert!(driver.submit(Event::Joined { epoch: 1, binding }).unwrap());
        let Some(Output::Join(own)) = driver.machine.poll_output() else {
            panic!("a site that joined advertises");
        };
        let mut advertisements: Vec<_> = (2..=SITES).map(|number| self.peer(number)).collect();
        advertisements.push(*own);
        advertisements.sort_by_key(|member| member.id_pk.id());
        let event = Event::Enrolled { advertisements };
        assert!(driver.submit(event).unwrap());
        let roster = driver.machine.roster().unwrap();
        let certificate = self.certificate(roster);
        assert!(driver.submit(Event::RosterCertified(certificate)).unwrap());
        while driver.machine.poll_output().is_some() {}
    }

    pub fn peer(&self, number: u8) -> Advertisement {
        self.peer_keys(number).1
    }

    fn peer_keys(&self, number: u8) -> (AwaitingRoster, Advertisement) {
        let (params, seed) = (
            Arc::new(self.spec.params().clone()),
            Seed::new([number + 100; 32]),
        );
        AwaitingRoster::new(&params, 1, &identity(number), &binding(number), &seed)
    }

    /// What a peer commits to in an attempt, with its roster index and the keys it seals under.
    pub fn committed(&self, number: u8, attempt: &Arc<Attempt>) -> (u32, Commit, PairKeys) {
        let who = identity(number);
        let index = attempt.roster().index_of(&who.public().id()).unwrap();
        let channels = self.peer_keys(number).0.accept(attempt.roster()).unwrap();
        let keys = channels.advance(attempt, index).unwrap().1.outbound;
        let seed = Seed::new([number + 150; 32]);
        let state = Committed::new(Arc::clone(attempt), index, &seed).unwrap();
        (index, state.commit(&who, &keys).unwrap(), keys)
    }

    /// Every member's word on the roster.
    fn certificate(&self, roster: &Roster) -> Certificate {
        let mut signatures: Vec<_> = (1..=SITES)
            .map(|number| {
                let who = identity(number);
                let index = roster.index_of(&who.public().id()).unwrap();
                (index, roster.confirm(&who).unwrap().signature)
            })
            .collect();
        signatures.sort_by_key(|(index, _)| *index);
        Certificate {
            digest: roster.ctx(),
            signatures,
        }
    }

    /// What the coordinator announces as attempt `seq` of the first round.
    pub fn announcement(&self, driver: &Driver, seq: u64) -> Announcement {
        let now = clock::now().0;
        Announcement {
            epoch_ctx: driver.machine.roster().unwrap().ctx(),
            round: 1,
            seq,
            retry_of: Digest::ZERO,
            model_hash: Digest::of_bulk(&test_support::model()),
            prev_result_hash: Digest::ZERO,
            roundcfg_hash: round_config_hash(&self.spec.round_config_bytes(1)),
            holders: Bitmap::full(SITES.into()),
            threshold: self.spec.params().threshold(SITES.into(), SITES.into()),
            commit_by_ms: now + 60_000,
            submit_by_ms: now + 120_000,
            expires_ms: now + 180_000,
        }
    }

    pub fn opened(&self, announcement: &Announcement) -> Event {
        Event::Opened {
            signature: announcement.sign(&self.coordinator),
            announcement: Box::new(announcement.clone()),
            round_config: self.spec.round_config_bytes(announcement.round),
            proofs: Vec::new(),
        }
    }

    pub fn aborted(&self, announcement: &Announcement) -> Event {
        Event::AbortProposed {
            signature: announcement.sign(&self.coordinator),
            announcement: Box::new(announcement.clone()),
        }
    }

    /// What one Poll brings.
    pub fn news(&self, notices: impl IntoIterator<Item = pb::notice::Notice>) -> pb::PollResponse {
        let notices = notices.into_iter().map(|notice| pb::Notice {
            run_id: self.run().as_bytes().to_vec(),
            notice: Some(notice),
        });
        pb::PollResponse {
            notices: notices.collect(),
            cursor: Vec::new(),
        }
    }

    /// The data directory as it is now, for [`Self::restore`].
    pub fn backup(&self) -> PathBuf {
        let to = self.dir.path().join("backup");
        copy(&self.data(), &to);
        to
    }

    /// Puts an older data directory back. Nobody may have it open.
    pub fn restore(&self, backup: &Path) {
        std::fs::remove_dir_all(self.data()).unwrap();
        copy(backup, &self.data());
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub fn identity(number: u8) -> Identity {
    Identity::from_seed(&Seed::new([number; 32]))
}

pub fn binding(number: u8) -> Binding {
    Binding {
        claim: BindingClaim {
            organisation: "org".into(),
            site: format!("site-{number}"),
            not_before: 0,
            not_after: 1 << 40,
        },
        scheme: 0x0807,
        signature: Vec::new(),
        chain: Vec::new(),
    }
}
