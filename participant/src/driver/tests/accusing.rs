//! What a daemon keeps of a dealer that cheats it, and of a coordinator that forks an epoch.

use std::sync::Arc;

use veilsum_common::blob::BlobRef;
use veilsum_engine::participant::Contribution;
use veilsum_secagg::Bitmap;
use veilsum_secagg::context::{Attempt, epoch_ctx};
use veilsum_secagg::coordinator::{self, Commits};
use veilsum_secagg::evidence::{CulpritKey, Evidence};
use veilsum_secagg::message::Announcement;

use super::super::*;
use super::bench::{self, Bench, SITES};
use super::coordinator::Coordinator;
use super::dealer::missealed;
use crate::faults::{KeptFault, kept};
use crate::test_support;

/// Whom the site accuses: the peer with this number.
const DEALER: u8 = 3;

/// The site in an attempt with five Commits; what `bend` makes of the dealer's is in the cohort.
pub(super) async fn dealt(
    bench: &Bench,
    site: Arc<Site>,
    bend: impl Fn(&Attempt, u32, &[u8], Commit) -> Commit,
) -> (Driver, mpsc::Receiver<Input>, Commits) {
    bench.accept(&site);
    let (mut driver, inbox) = bench.driver(site).await.unwrap();
    bench.enrol(&mut driver);
    let announcement = bench.announcement(&driver, 1);
    assert!(driver.submit(bench.opened(&announcement)).unwrap());
    let contribution = Contribution {
        round: 1,
        model_hash: announcement.model_hash,
        roundcfg_hash: announcement.roundcfg_hash,
        update: BlobRef::of(b"an update"),
        weight: 1,
        metadata: Vec::new(),
    };
    let trained = Event::Trained(Box::new(contribution));
    assert!(driver.submit(trained).unwrap());
    let ann_hash = announcement.hash();
    assert!(driver.step(ann_hash, Step::Committed).unwrap());
    let attempt = Arc::clone(driver.machine.attempt().unwrap());
    let me = attempt.roster().index_of(&bench::identity(1).public().id());
    let mut commits = Commits::from([(me.unwrap(), driver.machine.commit().unwrap())]);
    for number in 2..=SITES {
        let (index, mut commit, keys) = bench.committed(number, &attempt);
        if number == DEALER {
            commit = bend(&attempt, index, &keys.to_secret_bytes(), commit);
        }
        commits.insert(index, commit);
    }
    let cohort = coordinator::close_cohort(&attempt, &commits).unwrap();
    let signature = cohort.sign(&bench.coordinator);
    let seen = Step::CohortSeen { cohort, signature };
    assert!(driver.step(ann_hash, seen).unwrap());
    (driver, inbox, commits)
}

/// Shows the site its shares, and does what the machine then asks for until it has come back.
async fn shown(driver: &mut Driver, inbox: &mut mpsc::Receiver<Input>, items: Vec<ShareItem>) {
    let ann_hash = driver.machine.attempt().unwrap().hash();
    while driver.machine.poll_output().is_some() {}
    driver.take(Input::Shares(ann_hash, items)).await.unwrap();
    let output = driver.machine.poll_output().unwrap();
    assert!(matches!(output, Output::Accuse(..)), "{output:?}");
    driver.perform(output).unwrap();
    while let Some(input) = inbox.recv().await {
        let last = matches!(input, Input::CommitRecords(..));
        driver.take(input).await.unwrap();
        if last {
            return;
        }
    }
}

pub(super) fn of_this_site(driver: &Driver, commits: &Commits) -> Vec<ShareItem> {
    let attempt = driver.machine.attempt().unwrap();
    let me = attempt.roster().index_of(&bench::identity(1).public().id());
    coordinator::share_items(attempt, commits, me.unwrap()).unwrap()
}

fn serve(coordinator: &Coordinator, commits: &Commits) {
    let records = commits
        .iter()
        .map(|(index, commit)| (*index, commit.clone().into()));
    coordinator.commits.lock().unwrap().extend(records);
}

#[tokio::test]
async fn t29_a_wrong_share_leaves_a_fault_file_that_convicts_its_dealer_once() {
    let coordinator = Arc::new(Coordinator::default());
    let bench = Bench::new();
    let site = bench.site_at(coordinator.serve().await);
    let cheat = |attempt: &Attempt, dealer, keys: &[u8], commit| {
        let me = attempt.roster().index_of(&bench::identity(1).public().id());
        missealed(attempt, dealer, &[DEALER; 32], keys, me.unwrap(), commit)
    };
    let (mut driver, mut inbox, commits) = dealt(&bench, site, cheat).await;
    serve(&coordinator, &commits);
    let items = of_this_site(&driver, &commits);
    for _ in 0..2 {
        shown(&mut driver, &mut inbox, items.clone()).await;
        let found = kept(&bench.data()).unwrap();
        let [KeptFault { run, evidence, .. }] = &found[..] else {
            panic!("{} files", found.len());
        };
        assert_eq!(*run, bench.run().to_string());
        let evidence = evidence.as_ref().unwrap();
        assert!(matches!(evidence, Evidence::WrongShare(_)));
        let dealer = CulpritKey::Member(bench::identity(DEALER).public());
        assert_eq!(evidence.verify().unwrap().culprit, dealer);
    }
}

/// The dealer was honest, and the coordinator passed on other bytes: whatever it then shows, no key is given away.
#[tokio::test]
async fn t29_a_share_that_the_coordinator_spoilt_leaves_no_file() {
    let coordinator = Arc::new(Coordinator::default());
    let bench = Bench::new();
    let site = bench.site_at(coordinator.serve().await);
    let (mut driver, mut inbox, commits) = dealt(&bench, site, |_, _, _, honest| honest).await;
    let mut items = of_this_site(&driver, &commits);
    let dealer = bench::identity(DEALER).public().id();
    let dealer = driver.machine.roster().unwrap().index_of(&dealer).unwrap();
    let spoilt = items.iter_mut().find(|item| item.index == dealer).unwrap();
    spoilt.ciphertext = Some([7; 80]);
    shown(&mut driver, &mut inbox, items.clone()).await; // which says it has none
    serve(&coordinator, &commits);
    shown(&mut driver, &mut inbox, items.clone()).await;
    let mut altered = commits;
    altered
        .get_mut(&dealer)
        .unwrap()
        .ciphertexts
        .fill(Some([7; 80]));
    serve(&coordinator, &altered);
    shown(&mut driver, &mut inbox, items).await;
    assert!(kept(&bench.data()).unwrap().is_empty());
}

/// Sets of a roster of seven do not parse as sets of five; they are heard all the same.
#[tokio::test]
async fn an_attempt_announced_for_a_second_roster_of_another_size_leaves_a_fault_file() {
    use pb::notice::Notice;
    let mut bench = Bench::new();
    bench.spec = test_support::run_up_to(7, *bench.coordinator.public().as_bytes());
    let (mut driver, _inbox) = bench.enrolled().await;
    let announcement = bench.announcement(&driver, 1);
    assert!(driver.submit(bench.opened(&announcement)).unwrap());
    let root = Digest([7; 32]);
    let params = driver.machine.spec().params();
    let second = Announcement {
        epoch_ctx: epoch_ctx(params, 1, 7, &root),
        holders: Bitmap::full(7),
        ..announcement
    };
    let signature = second.sign(&bench.coordinator);
    let open = Notice::RoundOpen(Box::new(pb::RoundOpen {
        announcement: Some(
            Signed {
                value: second,
                signature,
            }
            .into(),
        ),
        ..pb::RoundOpen::default()
    }));
    let ready = Notice::RosterReady(pb::RosterReady {
        epoch: 1,
        n: 7,
        roster_root: root.0.to_vec(),
    });
    driver.hear(bench.news([open.clone()])).await.unwrap();
    assert!(
        kept(&bench.data()).unwrap().is_empty(),
        "of no roster it knows of"
    );
    driver.hear(bench.news([ready, open])).await.unwrap();
    let found = kept(&bench.data()).unwrap();
    let [KeptFault { evidence, .. }] = &found[..] else {
        panic!("{} files", found.len());
    };
    let conviction = evidence.as_ref().unwrap().verify().unwrap();
    let coordinator = CulpritKey::Coordinator(bench.coordinator.public());
    assert_eq!(conviction.culprit, coordinator);
}
