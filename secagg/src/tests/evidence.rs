//! Convictions: they convince whoever has the signed bytes, and no honest site can be convicted by any of them.

use std::collections::BTreeMap;

use super::certificates::{attestation, released};
use super::dealer::Dealer;
use super::kit::{self, Round, World, certificate_of};
use crate::channel::PairKeys;
use crate::coordinator;
use crate::error::{Error, Fault};
use crate::evidence::{InconsistentDealing, WrongScalar, WrongShare};
use crate::holder::OpenedShares;
use crate::keys::Seed;
use crate::merkle::Tree;
use crate::message::{Cohort, Commit, SurvivorProposal, UnmaskList};
use crate::{Bitmap, Digest, Secret, commitment};

/// Seven sites, of which `dealer` deals what `bend` makes of an honest dealing.
fn with_dealer<'w>(
    world: &'w World,
    dealer: u32,
    bend: impl FnOnce(&mut Dealer),
) -> (Round<'w>, Cohort) {
    let mut round = world.open();
    round.commit((0..7).filter(|i| *i != dealer));
    let mut parts = Dealer::honest(&round, dealer);
    bend(&mut parts);
    let commit = parts.commit(&round);
    round.commits.insert(dealer, commit);
    let cohort = round.cohort();
    (round, cohort)
}

/// What holder `h` gives away about its share of `dealer`, whose Commit is said to be `commit`.
fn reveal(round: &Round<'_>, h: u32, dealer: u32, commit: &Commit) -> Result<WrongShare, Error> {
    WrongShare::reveal(&round.attempt, h, &round.keys(h).inbound, dealer, commit)
}

#[test]
fn t29_the_revealed_key_of_one_ciphertext_convicts_the_dealer() {
    let world = World::new(7);
    for garbage in [[0xff; 32], [1; 32]] {
        let (round, _) = with_dealer(&world, 3, |dealer| {
            dealer.dealt[1][..32].copy_from_slice(&garbage)
        });
        let commit = &round.commits[&3];
        let proof = || reveal(&round, 1, 3, commit).unwrap();
        let convicts = |proof: &WrongShare| proof.convicts(&round.attempt, 3, commit);
        assert!(convicts(&proof()), "the cheated holder is at position 2");
        let guessed = WrongShare {
            position: 2,
            k_share: Seed::new([7; 32]),
        };
        assert!(
            !convicts(&guessed),
            "a ciphertext that does not open proves nothing"
        );
        for position in [0, 1, 3, 4, 8] {
            let k_share = proof().k_share;
            assert!(
                !convicts(&WrongShare { position, k_share }),
                "position {position}"
            );
        }
        let mut altered = commit.clone();
        altered.ciphertexts[1] = altered.ciphertexts[2];
        assert!(
            !proof().convicts(&round.attempt, 3, &altered),
            "bytes that the dealer did not sign"
        );
        assert!(
            !proof().convicts(&round.attempt, 4, commit),
            "another's Commit"
        );
    }
}

/// The key of an honest ciphertext would give both shares away, and t of them everything. It never leaves.
#[test]
fn t29_no_holder_gives_away_the_key_of_a_share_that_is_the_committed_one() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let ours = Err(Fault::Root("share item").by_coordinator());
    for (dealer, commit) in &round.commits {
        for h in (0..5).filter(|h| h != dealer) {
            let mut items = coordinator::share_items(&round.attempt, &round.commits, h).unwrap();
            items[*dealer as usize].ciphertext = Some([7; 80]);
            let opened = OpenedShares::open(
                &round.attempt,
                h,
                &round.keys(h).inbound,
                round.committed(h).own_shares().as_ref(),
                &cohort,
                &items,
            );
            assert_eq!(
                *opened.unwrap().complaints(),
                Bitmap::of(5, [*dealer]),
                "the coordinator made holder {h} complain about an honest dealer"
            );
            assert_eq!(
                reveal(&round, h, *dealer, commit).map(drop),
                ours,
                "dealer {dealer}, holder {h}"
            );
        }
    }
    let bent = |dealer: &mut Dealer| dealer.dealt[1][..32].copy_from_slice(&[1; 32]);
    let world = World::new(7);
    let (round, _) = with_dealer(&world, 3, bent);
    assert!(reveal(&round, 1, 3, &round.commits[&3]).is_ok());
    for h in [0, 2, 4, 5, 6] {
        assert_eq!(
            reveal(&round, h, 3, &round.commits[&3]).map(drop),
            ours,
            "holder {h} was dealt its own share rightly"
        );
    }
}

#[test]
fn t23_a_commit_record_that_the_dealer_did_not_sign_is_the_coordinators_fault() {
    let world = World::new(7);
    let (round, _) = with_dealer(&world, 3, |dealer| dealer.dealt[1][..32].fill(1));
    let mut altered = round.commits[&3].clone();
    altered.ciphertexts[1] = Some([7; 80]);
    let unsigned = Fault::Signature("commit record").by_coordinator();
    assert_eq!(reveal(&round, 1, 3, &altered).map(drop), Err(unsigned));
    let another = &round.commits[&4];
    assert_eq!(reveal(&round, 1, 3, another).map(drop), Err(unsigned));
    let unopened = WrongShare::reveal(
        &round.attempt,
        1,
        &round.keys(1).outbound,
        3,
        &round.commits[&3],
    );
    assert_eq!(
        unopened.map(drop),
        Err(Fault::Context("share key").by(3)),
        "what does not open convinces nobody, and no key leaves"
    );
    let gone = WrongShare::reveal(
        &round.attempt,
        1,
        &PairKeys::default(),
        3,
        &round.commits[&3],
    );
    assert_eq!(gone.map(drop), Err(Error::Stored("inbound round key")));
}

/// The list that holder `h` signs for everybody's survival, and the set it is about.
fn list_of(round: &Round<'_>, cohort: &Cohort, h: u32) -> (SurvivorProposal, UnmaskList) {
    let uploads = round.uploads(cohort, (0..7).filter(|i| *i != 6));
    let items: Vec<_> = uploads.values().map(|upload| upload.item).collect();
    let proposal = round.propose(cohort, &items).unwrap();
    let signed: Vec<_> = (0..5)
        .map(|h| attestation(round, h, cohort, &proposal))
        .collect();
    let list = round.list(
        h,
        &released(round, h, cohort, &proposal, &certificate_of(&signed)),
        cohort,
    );
    (proposal, list)
}

#[test]
fn t34_a_holders_own_signed_list_convicts_it() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let (proposal, honest) = list_of(&round, &cohort, 2);
    let core = |i: u32| commitment::core_of_commit(&round.attempt, i, &round.commits[&i]).unwrap();
    let cores: Vec<_> = (0..7).map(core).collect();
    for dealer in [0, 6] {
        let core_path = Tree::Cohort.path(&cores, dealer as usize).unwrap();
        let convicts = |list: &UnmaskList, cohort: &Cohort, path: &[Digest]| {
            let (commit, proposal) = (&round.commits[&dealer], &proposal);
            WrongScalar {
                dealer,
                commit,
                core_path: path,
                cohort,
                proposal,
                list,
            }
            .convicts(&round.attempt)
        };
        assert!(!convicts(&honest, &cohort, &core_path), "an honest holder");
        let mut lie = honest.clone();
        lie.scalars[dealer as usize][0] ^= 1;
        assert!(
            !convicts(&lie, &cohort, &core_path),
            "a list it did not sign"
        );
        round.resign(2, &mut lie);
        assert!(
            convicts(&lie, &cohort, &core_path),
            "dealer {dealer}: survivor or dropout"
        );
        assert!(
            !convicts(&lie, &cohort, &core_path[1..]),
            "a Commit that is not under the root"
        );
        let elsewhere = Cohort {
            ann_hash: Digest::ZERO,
            ..cohort.clone()
        };
        assert!(!convicts(&lie, &elsewhere, &core_path), "another cohort");
        let mut silent = lie.clone();
        silent.present.remove(dealer);
        silent.scalars.remove(dealer as usize);
        round.resign(2, &mut silent);
        assert!(!convicts(&silent, &cohort, &core_path), "silence is no lie");
    }
}

/// t scalars that match the leaves, of a polynomial without the committed secret, or of a blob without the mask key.
#[test]
fn t31_scalars_that_match_their_leaves_convict_the_dealer() {
    let world = World::new(7);
    let other = world.open().dealing(0);
    let bent_b = |dealer: &mut Dealer| {
        for (x, pair) in (1..).zip(&mut dealer.dealt) {
            pair[..32].copy_from_slice(other.f_b.share(x).expose());
        }
        dealer.committed.clone_from(&dealer.dealt);
    };
    let bent_blob = |dealer: &mut Dealer| dealer.rescued = kit::seed("another mask key", 0);
    let scalars = |dealt: &[[u8; 64]], which, xs: &[u32]| -> Vec<(u32, [u8; 32])> {
        let half = if which == Secret::SelfMask { 0 } else { 32 };
        xs.iter()
            .map(|x| {
                (
                    *x,
                    dealt[*x as usize - 1][half..half + 32].try_into().unwrap(),
                )
            })
            .collect()
    };
    type Bend<'a> = &'a dyn Fn(&mut Dealer);
    let cases: [(Secret, Bend<'_>); 2] =
        [(Secret::SelfMask, &bent_b), (Secret::Rescue, &bent_blob)];
    for (which, bend) in cases {
        let mut dealt = BTreeMap::new();
        let (round, _) = with_dealer(&world, 2, |dealer| {
            bend(dealer);
            dealt.insert(2, dealer.dealt.clone());
        });
        dealt.insert(4, Dealer::honest(&round, 4).dealt);
        let convicts = |dealer: u32, which, xs: &[u32]| {
            let scalars = scalars(&dealt[&dealer], which, xs);
            InconsistentDealing {
                which,
                scalars: &scalars,
            }
            .convicts(&round.attempt, dealer, &round.commits[&dealer])
        };
        assert!(convicts(2, which, &[1, 3, 4, 6, 7]), "{which:?}");
        let whole = if which == Secret::SelfMask {
            Secret::Rescue
        } else {
            Secret::SelfMask
        };
        assert!(
            !convicts(2, whole, &[1, 3, 4, 6, 7]),
            "the other secret was dealt rightly"
        );
        assert!(!convicts(2, which, &[1, 3, 4, 6]), "fewer than t");
        assert!(!convicts(2, which, &[1, 3, 4, 6, 6]), "one of them twice");
        assert!(!convicts(4, which, &[1, 3, 4, 6, 7]), "an honest dealer");
        let mut lies = scalars(&dealt[&4], which, &[1, 3, 4, 6, 7]);
        lies[0].1[0] ^= 1;
        let proof = InconsistentDealing {
            which,
            scalars: &lies,
        };
        assert!(
            !proof.convicts(&round.attempt, 4, &round.commits[&4]),
            "a scalar that does not match its leaf"
        );
    }
    assert!(
        coordinator::check_commit(&world.open().attempt, 2, &world.open().commit_of(2)).is_ok()
    );
}
