//! Dealers whose shares fit nothing, and holders who lie about honest ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coordinator::{self, Recoverability};
use crate::error::{Error, Fault};
use crate::evidence::dealing::InconsistentDealing;
use crate::evidence::{CulpritKey, Evidence};
use crate::mask::{End, Masks, pair_seed, pair_sign, self_seed};
use crate::message::{Attestation, Cohort, Commit, UnmaskList};
use crate::prg::{Prg, Sign};
use crate::shamir::SecretScalar;
use crate::tests::dealer::{Dealer, sign_again};
use crate::tests::kit::adversary::{join, joined};
use crate::tests::kit::{self, Plan, Round, World};
use crate::{Bitmap, Certificate, Secret, commitment};

/// Seven sites, of which `dealer` sends what `spoil` makes of an honest dealing.
fn with_dealer<'w>(
    world: &'w World,
    dealer: u32,
    spoil: impl FnOnce(&mut Dealer),
) -> (Round<'w>, Cohort) {
    let mut round = world.open();
    round.commit((0..7).filter(|i| *i != dealer));
    let mut parts = Dealer::honest(&round, dealer);
    spoil(&mut parts);
    let commit = parts.commit(&round);
    round.commits.insert(dealer, commit);
    let cohort = round.cohort();
    (round, cohort)
}

/// A blob that holds another mask key, and a coordinator that takes it as it is: a sum comes out, and it is nobody's.
#[test]
fn t31_without_comparing_the_rescued_key_the_sum_is_noise_and_nobody_is_named() {
    let world = World::new(7);
    let other = kit::seed("another mask key", 0);
    let (round, cohort) = with_dealer(&world, 2, |dealer| dealer.rescued = other.duplicate());
    let items = round.items(&cohort, (0..7).filter(|i| *i != 2));
    let (proposal, lists) = round.lists(&cohort, &items);
    let (attempt, survivors) = (&round.attempt, &proposal.survivors);
    let checked = coordinator::unmask(attempt, &cohort, survivors, &round.commits, &lists);
    assert_eq!(checked.map(drop), Err(Fault::Dealing.by(2)));

    let rescued = round.rescued(2, &joined(lists.values(), 2));
    assert!(rescued.public() != round.commits[&2].e_pk);
    let sum_with = |mask_key: &crate::keys::ExchangeSecret| {
        let mut off = Vec::new();
        for u in survivors.iter() {
            let b = joined(lists.values(), u);
            off.push((
                Sign::Minus,
                self_seed(attempt, &cohort.ctx(), u, &b).unwrap(),
            ));
            let own = End {
                index: 2,
                key: &round.commits[&2].e_pk,
            };
            let end = End {
                index: u,
                key: &round.commits[&u].e_pk,
            };
            let seed = pair_seed(attempt, &cohort.ctx(), mask_key, own, end).unwrap();
            off.push((pair_sign(u, 2).flipped(), seed));
        }
        let uploads = round.uploads(&cohort, survivors.iter());
        round.sum(&uploads, survivors, &Masks::new(Prg::Aes256Ctr, off))
    };
    assert_eq!(sum_with(&round.dealing(2).mask_key), round.plain(survivors));
    let noise = sum_with(&rescued).0;
    let wrong = noise
        .iter()
        .zip(round.plain(survivors).0)
        .filter(|(a, b)| **a != *b);
    assert!(wrong.count() > 95, "of 100 elements");
}

/// One wrong scalar among t, taken as it comes: what is joined is not what the honest dealer committed to.
#[test]
fn t34_without_the_committed_leaves_a_lying_holder_puts_the_blame_on_an_honest_dealer() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let items = round.items(&cohort, 0..7);
    let (proposal, mut lists) = round.lists(&cohort, &items);
    let liar = lists.get_mut(&0).unwrap();
    liar.scalars[3][0] ^= 1;
    round.resign(0, liar);
    let (commits, survivors) = (&round.commits, &proposal.survivors);
    let unmasked = coordinator::unmask(&round.attempt, &cohort, survivors, commits, &lists);
    assert_eq!(
        unmasked.unwrap().liars,
        [0].into(),
        "with them the liar is named"
    );

    let id = round.attempt.member(3).unwrap().id;
    let committed = |scalar: &SecretScalar| {
        let value = commitment::of_secret(Secret::SelfMask, &round.attempt.hash(), &id, scalar);
        value == commits[&3].com_b
    };
    assert!(
        committed(&joined(lists.values().skip(1), 3)),
        "t honest lists"
    );
    assert!(
        !committed(&joined(lists.values(), 3)),
        "\"its shares do not give the secret\""
    );
}

type Spoil = fn(&Round<'_>, &mut Commit);

/// Ways to deal what three holders cannot use.
const SPOILED: [(&str, Spoil); 2] = [
    ("unreadable", |round, commit| {
        for x in [0, 1, 4] {
            commit.ciphertexts[x] = Some([7; 80]);
        }
        sign_again(round, 3, commit);
    }),
    ("uncommitted", |round, commit| {
        let mut dealer = Dealer::honest(round, 3);
        for x in [0, 1, 4] {
            dealer.dealt[x] = dealer.dealt[5];
        }
        *commit = dealer.commit(round);
    }),
];

/// More than max(L − t, n_C) = 2 holders of seven cannot use what site 3 dealt them.
fn spoiled<'w>(world: &'w World, spoil: Spoil) -> (Round<'w>, Cohort) {
    let mut round = world.open();
    round.commit_all();
    let mut commit = round.commits.remove(&3).unwrap();
    spoil(&round, &mut commit);
    coordinator::check_commit(&round.attempt, 3, &commit).unwrap();
    round.commits.insert(3, commit);
    let cohort = round.cohort();
    (round, cohort)
}

fn attestations(round: &Round<'_>, cohort: &Cohort) -> Vec<Attestation> {
    let items = round.items(cohort, 0..7);
    let proposal = round.propose(cohort, &items).unwrap();
    let attest = |h| (h, round.attest(h, cohort, &proposal, &items));
    round.attestations(&(0..7).map(attest).collect())
}

#[test]
fn t60_spoiled_shares_give_no_certificate_an_abort_and_a_retry_without_the_dealer() {
    for (how, spoil) in SPOILED {
        let world = World::new(7);
        let (round, cohort) = spoiled(&world, spoil);
        let said = attestations(&round, &cohort);
        for (h, said) in said.iter().enumerate() {
            let cheated = [0, 1, 4].contains(&h);
            assert_eq!(said.complaints.contains(3), cheated, "{how}: holder {h}");
            assert_eq!(said.complaints.count(), u32::from(cheated));
        }
        assert_eq!(
            coordinator::recoverability(&round.attempt, &cohort, said.iter()),
            Recoverability::Convicted { dealers: vec![3] },
            "{how}: no certificate leaves"
        );
        let aborts = (0..7).map(|h| round.idle(h).abort().attestation(round.identity(h)));
        let aborted = Certificate {
            digest: round.attempt.hash(),
            signatures: aborts.map(|a| (a.position, a.signature)).collect(),
        };
        assert!(aborted.certify_abort(&round.attempt).is_ok());

        let mut retry = world.open_changed(|a| a.seq = 2);
        assert_eq!(
            retry.updates, round.updates,
            "the same vectors: nothing is trained again"
        );
        let plan = Plan {
            absent: [3].into(),
            ..Plan::default()
        };
        let outcome = kit::run(&mut retry, &plan).unwrap();
        assert_eq!(outcome.sum, round.plain(&Bitmap::of(7, [0, 1, 2, 4, 5, 6])));
    }
}

/// A coordinator that sends the certificate although it saw the complaints: four clean holders, and no way back.
#[test]
fn t60_without_counting_clean_holders_the_release_is_lost() {
    for (how, spoil) in SPOILED {
        let world = World::new(7);
        let (round, cohort) = spoiled(&world, spoil);
        let items = round.items(&cohort, 0..7);
        let proposal = round.propose(&cohort, &items).unwrap();
        let certificate = kit::certificate_of(&attestations(&round, &cohort));
        let list = |h| {
            let attested = round.attest(h, &cohort, &proposal, &items);
            let released = round.release(attested, &certificate).unwrap();
            (h, round.list(h, &released, &cohort))
        };
        let lists: BTreeMap<u32, UnmaskList> = (0..7).map(list).collect();
        let unmasked = coordinator::unmask(
            &round.attempt,
            &cohort,
            &proposal.survivors,
            &round.commits,
            &lists,
        );
        assert_eq!(
            unmasked.map(drop),
            Err(Error::BelowThreshold { have: 4, need: 5 }),
            "{how}: all seven released, none can abort, every contribution is spent"
        );
    }
}

/// What the proof needs of a release: positions and scalars of five lists.
fn released(lists: &BTreeMap<u32, UnmaskList>, dealer: u32) -> Vec<(u32, [u8; 32])> {
    let scalar = |list: &UnmaskList| (list.position, *list.scalar(dealer).unwrap());
    lists.values().take(5).map(scalar).collect()
}

#[test]
fn t61_shares_on_no_polynomial_convict_their_dealer_offline_and_nobody_else() {
    let world = World::new(7);
    for (which, dropped) in [(Secret::SelfMask, 6), (Secret::Rescue, 2)] {
        let (round, cohort) = with_dealer(&world, 2, |dealer| {
            let another = Dealer::honest(&world.open(), 1).dealt;
            let bent = dealer.dealt.iter_mut().zip(another).skip(3);
            bent.for_each(|(pair, other)| *pair = other);
            dealer.committed.clone_from(&dealer.dealt);
        });
        let items = round.items(&cohort, (0..7).filter(|i| *i != dropped));
        let (proposal, lists) = round.lists(&cohort, &items);
        let survivors = &proposal.survivors;
        let (attempt, commits) = (&round.attempt, &round.commits);
        let unmasked = coordinator::unmask(attempt, &cohort, survivors, commits, &lists);
        assert_eq!(unmasked.map(drop), Err(Fault::Dealing.by(2)));
        // From here on signed bytes alone: the dealer's Commit, and what holders released.
        for dealer in 0..7 {
            let which = if survivors.contains(dealer) {
                Secret::SelfMask
            } else {
                Secret::Rescue
            };
            let proof = Evidence::InconsistentDealing(InconsistentDealing {
                attempt: Arc::clone(attempt),
                dealer,
                commit: commits[&dealer].clone(),
                which,
                scalars: released(&lists, dealer),
            });
            let convicted = proof.verify().map(|conviction| conviction.culprit).ok();
            let expected = CulpritKey::Member(round.identity(2).public());
            assert_eq!(
                convicted,
                (dealer == 2).then_some(expected),
                "dealer {dealer}"
            );
        }
        assert_eq!(survivors.contains(2), which == Secret::SelfMask);
        let mut next = world.open_changed(|a| (a.round, a.seq) = (2, 2));
        let plan = Plan {
            absent: [2].into(),
            ..Plan::default()
        };
        let outcome = kit::run(&mut next, &plan).unwrap();
        assert_eq!(outcome.sum, round.plain(&Bitmap::of(7, [0, 1, 3, 4, 5, 6])));
    }
}

/// Any t numbers said to be shares of an honest dealer join to something it did not commit to.
#[test]
fn t61_without_the_signed_leaves_anybody_can_be_framed() {
    let world = World::new(7);
    let mut round = world.open();
    round.commit_all();
    let made_up = |x: u32| (x, round.dealing(5).f_k.share(x));
    let scalars: Vec<_> = (1..6).map(made_up).map(|(x, s)| (x, *s.expose())).collect();
    let commit = &round.commits[&3];
    let proof = Evidence::InconsistentDealing(InconsistentDealing {
        attempt: Arc::clone(&round.attempt),
        dealer: 3,
        commit: commit.clone(),
        which: Secret::SelfMask,
        scalars,
    });
    assert!(proof.verify().is_err());
    let id = round.attempt.member(3).unwrap().id;
    let joined = join(&(1..6).map(made_up).collect::<Vec<_>>());
    let value = commitment::of_secret(Secret::SelfMask, &round.attempt.hash(), &id, &joined);
    assert_ne!(
        value, commit.com_b,
        "without the leaves this would be the proof"
    );
}
