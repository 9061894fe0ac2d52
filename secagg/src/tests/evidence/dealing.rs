//! Convictions of dealers and of holders that release what was not committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::convicted;
use crate::channel::PairKeys;
use crate::coordinator;
use crate::error::{Error, Fault};
use crate::evidence::dealing::{InconsistentDealing, WrongScalar, WrongShare};
use crate::evidence::release::Release;
use crate::evidence::{CulpritKey, Evidence, Unproved};
use crate::holder::OpenedShares;
use crate::keys::Seed;
use crate::merkle::Tree;
use crate::message::{Cohort, Commit, SurvivorProposal, UnmaskList};
use crate::tests::certificates::{attestation, released};
use crate::tests::dealer::Dealer;
use crate::tests::kit::{self, Round, World, certificate_of};
use crate::{Bitmap, Digest, Secret, commitment};

/// Who holds shares, and who is in the cohort: positions and ranks must not be mistaken for indices.
const LAYOUTS: [(&[u32], &[u32]); 2] = [
    (&[0, 1, 2, 3, 4, 5, 6], &[0, 1, 2, 3, 4, 5, 6]),
    (&[1, 3, 4, 5, 6], &[1, 2, 3, 4, 5, 6]),
];

/// Seven sites, of which `dealer` deals what `bend` makes of an honest dealing.
fn with_dealer<'w>(
    world: &'w World,
    (holders, members): (&[u32], &[u32]),
    dealer: u32,
    bend: impl FnOnce(&mut Dealer),
) -> (Round<'w>, Cohort) {
    let mut round = world.open_with(world.announcement_to(holders.iter().copied()));
    round.commit(members.iter().copied().filter(|i| *i != dealer));
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

fn member(round: &Round<'_>, index: u32) -> CulpritKey {
    CulpritKey::Member(round.identity(index).public())
}

/// Holder 3 is at position 4 of seven, and at position 2 of five.
#[test]
fn t29_the_revealed_key_of_one_ciphertext_convicts_the_dealer() {
    let world = World::new(7);
    for (layout, garbage) in LAYOUTS.into_iter().zip([[0xff; 32], [1; 32]]) {
        let place = layout.0.iter().position(|h| *h == 3).unwrap();
        let bend = |dealer: &mut Dealer| dealer.dealt[place][..32].copy_from_slice(&garbage);
        let (round, _) = with_dealer(&world, layout, 4, bend);
        let commit = &round.commits[&4];
        let position = u32::try_from(place).unwrap() + 1;
        let proof = || reveal(&round, 3, 4, commit).unwrap();
        let conviction = convicted(&Evidence::WrongShare(proof()));
        assert_eq!(conviction.culprit, member(&round, 4));
        assert_eq!((conviction.epoch, conviction.attempt), (1, Some((1, 1))));
        let why = |proof: WrongShare| Evidence::WrongShare(proof).verify().map(drop);
        assert_eq!(
            why(WrongShare {
                k_share: Seed::new([7; 32]),
                ..proof()
            }),
            Err(Unproved::Unopened)
        );
        for elsewhere in (0..=8).filter(|x| *x != position) {
            let proof = WrongShare {
                position: elsewhere,
                ..proof()
            };
            assert!(why(proof).is_err(), "position {elsewhere}");
        }
        let mut altered = proof();
        altered.commit.ciphertexts[place] = altered.commit.ciphertexts[0];
        assert_eq!(why(altered), Err(Unproved::Signature("Commit")));
        let mut anothers = proof();
        anothers.dealer = 5;
        assert_eq!(why(anothers), Err(Unproved::Signature("Commit")));
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
            let (keys, own) = (round.keys(h).inbound, round.committed(h).own_shares());
            let (attempt, own) = (&round.attempt, own.as_ref());
            let opened = OpenedShares::open(attempt, h, &keys, own, &cohort, &items).unwrap();
            assert_eq!(
                *opened.complaints(),
                Bitmap::of(5, [*dealer]),
                "the coordinator made holder {h} complain about an honest dealer"
            );
            let revealed = reveal(&round, h, *dealer, commit).map(drop);
            assert_eq!(revealed, ours, "dealer {dealer}, holder {h}");
        }
    }
    let world = World::new(7);
    let bent = |dealer: &mut Dealer| dealer.dealt[1][..32].copy_from_slice(&[1; 32]);
    let (round, _) = with_dealer(&world, LAYOUTS[0], 3, bent);
    assert!(reveal(&round, 1, 3, &round.commits[&3]).is_ok());
    for h in [0, 2, 4, 5, 6] {
        let revealed = reveal(&round, h, 3, &round.commits[&3]).map(drop);
        assert_eq!(revealed, ours, "holder {h} was dealt its own share rightly");
    }
}

#[test]
fn t23_a_commit_record_that_the_dealer_did_not_sign_is_the_coordinators_fault() {
    let world = World::new(7);
    let (round, _) = with_dealer(&world, LAYOUTS[0], 3, |dealer| {
        dealer.dealt[1][..32].fill(1)
    });
    let commit = &round.commits[&3];
    let mut altered = commit.clone();
    altered.ciphertexts[1] = Some([7; 80]);
    let unsigned = Fault::Signature("commit record").by_coordinator();
    assert_eq!(reveal(&round, 1, 3, &altered).map(drop), Err(unsigned));
    let another = &round.commits[&4];
    assert_eq!(reveal(&round, 1, 3, another).map(drop), Err(unsigned));
    let with = |keys: &PairKeys| WrongShare::reveal(&round.attempt, 1, keys, 3, commit).map(drop);
    assert_eq!(
        with(&round.keys(1).outbound),
        Err(Fault::Context("share key").by(3)),
        "what does not open convinces nobody, and no key leaves"
    );
    let gone = with(&PairKeys::default());
    assert_eq!(gone, Err(Error::Stored("inbound round key")));
}

/// The list that holder `h` signs for the survival of everybody but member 6, and the set it is about.
fn list_of(round: &Round<'_>, cohort: &Cohort, h: u32) -> (SurvivorProposal, UnmaskList) {
    let uploads = round.uploads(cohort, cohort.members.iter().filter(|i| *i != 6));
    let items: Vec<_> = uploads.values().map(|upload| upload.item).collect();
    let proposal = round.propose(cohort, &items).unwrap();
    let holders = round.attempt.holders().map(|(_, h)| h);
    let signed: Vec<_> = holders
        .map(|h| attestation(round, h, cohort, &proposal))
        .collect();
    let released = released(round, h, cohort, &proposal, &certificate_of(&signed));
    let list = round.list(h, &released, cohort);
    (proposal, list)
}

#[test]
fn t34_a_holders_own_signed_list_convicts_it() {
    let world = World::new(7);
    for layout in LAYOUTS {
        let (round, cohort) = with_dealer(&world, layout, 1, |_| {});
        let (proposal, honest) = list_of(&round, &cohort, 3);
        let core =
            |i: &u32| commitment::core_of_commit(&round.attempt, *i, &round.commits[i]).unwrap();
        let cores: Vec<_> = layout.1.iter().map(core).collect();
        for dealer in [1, 6] {
            let rank = layout.1.iter().position(|i| *i == dealer).unwrap();
            let core_path = Tree::Cohort.path(&cores, rank).unwrap();
            let proof = |list: &UnmaskList, cohort: &Cohort, core_path: &[Digest]| {
                Evidence::WrongScalar(WrongScalar {
                    attempt: Arc::clone(&round.attempt),
                    dealer,
                    commit: round.commits[&dealer].clone(),
                    core_path: core_path.to_vec(),
                    cohort: cohort.clone(),
                    proposal: proposal.clone(),
                    list: list.clone(),
                })
            };
            let why = |list: &UnmaskList| proof(list, &cohort, &core_path).verify().map(drop);
            assert_eq!(why(&honest), Err(Unproved::Committed("scalar")));
            let mut lie = honest.clone();
            lie.scalars[rank][0] ^= 1;
            let unsigned = Err(Unproved::Signature("unmask list"));
            assert_eq!(why(&lie), unsigned, "a list it did not sign");
            round.resign(3, &mut lie);
            let conviction = convicted(&proof(&lie, &cohort, &core_path));
            assert_eq!(
                conviction.culprit,
                member(&round, 3),
                "dealer {dealer}: survivor or dropout"
            );
            let short = proof(&lie, &cohort, &core_path[1..]).verify().map(drop);
            assert_eq!(short, Err(Unproved::Foreign("Commit")));
            let ann_hash = Digest::ZERO;
            let elsewhere = Cohort {
                ann_hash,
                ..cohort.clone()
            };
            let foreign = proof(&lie, &elsewhere, &core_path).verify().map(drop);
            assert_eq!(foreign, Err(Unproved::Foreign("cohort")));
            let mut silent = lie.clone();
            silent.present.remove(dealer);
            silent.scalars.remove(rank);
            round.resign(3, &mut silent);
            let silence = Err(Unproved::Absent("unmask list"));
            assert_eq!(why(&silent), silence, "silence is no lie");
        }
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
        let scalar = |x: u32| dealt[x as usize - 1][half..half + 32].try_into().unwrap();
        xs.iter().map(|x| (*x, scalar(*x))).collect()
    };
    type Bend<'a> = &'a dyn Fn(&mut Dealer);
    let cases: [(Secret, Bend<'_>); 2] =
        [(Secret::SelfMask, &bent_b), (Secret::Rescue, &bent_blob)];
    for ((which, bend), (layout, t)) in cases
        .into_iter()
        .flat_map(|case| LAYOUTS.into_iter().zip([5usize, 4]).map(move |l| (case, l)))
    {
        let mut dealt = BTreeMap::new();
        let (round, _) = with_dealer(&world, layout, 2, |dealer| {
            bend(dealer);
            dealt.insert(2, dealer.dealt.clone());
        });
        assert_eq!(round.attempt.threshold() as usize, t);
        dealt.insert(4, Dealer::honest(&round, 4).dealt);
        let proof = |dealer: u32, which, scalars| {
            Evidence::InconsistentDealing(InconsistentDealing {
                attempt: Arc::clone(&round.attempt),
                dealer,
                commit: round.commits[&dealer].clone(),
                which,
                scalars,
            })
        };
        let of = |dealer: u32, which, xs: &[u32]| {
            proof(dealer, which, scalars(&dealt[&dealer], which, xs))
        };
        let why = |evidence: Evidence| evidence.verify().map(drop);
        let xs = &[1, 3, 5, 4, 2][..t]; // in any order
        let conviction = convicted(&of(2, which, xs));
        assert_eq!(conviction.culprit, member(&round, 2), "{which:?}");
        let whole = if which == Secret::SelfMask {
            Secret::Rescue
        } else {
            Secret::SelfMask
        };
        let fits = Err(Unproved::Committed("secret"));
        assert_eq!(why(of(2, whole, xs)), fits, "the other secret is right");
        assert_eq!(why(of(4, which, xs)), fits, "an honest dealer");
        let few = Err(Unproved::Shares {
            have: t - 1,
            need: t,
        });
        assert_eq!(why(of(2, which, &xs[1..])), few);
        let twice = [&xs[1..], &xs[1..2]].concat();
        assert_eq!(why(of(2, which, &twice)), few, "one of them twice");
        for dealer in [2, 4] {
            let mut lies = scalars(&dealt[&dealer], which, xs);
            lies[0].1[0] ^= 1;
            let foreign = Err(Unproved::Foreign("scalar"));
            assert_eq!(why(proof(dealer, which, lies)), foreign, "dealer {dealer}");
        }
    }
}

/// The lists of six of seven holders, each of them told as it is.
fn release_of(round: &Round<'_>, cohort: &Cohort) -> Release {
    let lists: BTreeMap<_, _> = (0..6).map(|h| (h, list_of(round, cohort, h))).collect();
    Release {
        attempt: Arc::clone(&round.attempt),
        cohort: cohort.clone(),
        commits: round.commits.clone(),
        proposal: lists[&0].0.clone(),
        lists: lists.into_iter().map(|(h, (_, list))| (h, list)).collect(),
    }
}

/// What is on record of a release whose holders `liars` give wrong scalars: kind and culprit of each proof.
fn proved(round: &Round<'_>, release: &Release, liars: &[u32]) -> Vec<(&'static str, CulpritKey)> {
    let mut release = release.clone();
    for liar in liars {
        let list = release.lists.get_mut(liar).unwrap();
        list.scalars.iter_mut().for_each(|scalar| scalar[0] ^= 1);
        round.resign(*liar, list);
    }
    let proofs = release.faults();
    let proved = proofs
        .iter()
        .map(|proof| (proof.word(), convicted(proof).culprit));
    proved.collect()
}

#[test]
fn the_lists_of_a_release_convict_each_lying_holder_once_and_a_dealer_of_no_secret() {
    let world = World::new(7);
    let (round, cohort) = with_dealer(&world, LAYOUTS[0], 2, |_| {});
    let release = release_of(&round, &cohort);
    assert_eq!(proved(&round, &release, &[]), [], "nobody lied");
    let lied = |h| ("wrong-scalar", member(&round, h));
    assert_eq!(proved(&round, &release, &[3, 5]), [lied(3), lied(5)]);

    let other = world.open().dealing(0);
    let (round, cohort) = with_dealer(&world, LAYOUTS[0], 6, |dealer| {
        for (x, pair) in (1..).zip(&mut dealer.dealt) {
            pair[32..].copy_from_slice(other.f_k.share(x).expose());
        }
        dealer.committed.clone_from(&dealer.dealt);
    });
    let release = release_of(&round, &cohort);
    let dealt = ("inconsistent-dealing", member(&round, 6));
    assert_eq!(proved(&round, &release, &[]), [dealt]);
    assert_eq!(
        proved(&round, &release, &[4]),
        [("wrong-scalar", member(&round, 4)), dealt]
    );
}

/// Each such proof shows a share of everybody, and t of them all secrets.
#[test]
fn fewer_lists_than_the_threshold_are_put_on_record() {
    let world = World::new(7);
    let (round, cohort) = with_dealer(&world, LAYOUTS[0], 2, |_| {});
    assert_eq!(round.attempt.threshold(), 5);
    let release = release_of(&round, &cohort);
    assert_eq!(proved(&round, &release, &[0, 1, 2, 3, 4, 5]).len(), 4);
}
