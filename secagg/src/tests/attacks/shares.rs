//! Shares on their way from dealer to holder: who can open them, and whose fault it is when nobody can.

use std::sync::Arc;

use crate::channel::{self, Envelope};
use crate::coordinator::{self, Recoverability};
use crate::error::{Error, Fault};
use crate::evidence::Evidence;
use crate::evidence::dealing::{WrongScalar, WrongShare};
use crate::holder::OpenedShares;
use crate::merkle::Tree;
use crate::message::{Cohort, Commit, ShareItem};
use crate::shamir::SecretScalar;
use crate::tests::dealer::{Dealer, sign_again};
use crate::tests::kit::adversary::{joined_pairs, pair};
use crate::tests::kit::{self, Round, World};
use crate::{Bitmap, commitment};

const VICTIM: u32 = 0;

fn seven(world: &World) -> (Round<'_>, Cohort) {
    let mut round = world.open();
    let cohort = round.commit_all();
    (round, cohort)
}

/// Opens what holder `h` is sent after the coordinator changed it.
fn opened(
    round: &Round<'_>,
    h: u32,
    cohort: &Cohort,
    change: impl FnOnce(&mut Vec<ShareItem>),
) -> Result<OpenedShares, Error> {
    let mut items = coordinator::share_items(&round.attempt, &round.commits, h)?;
    change(&mut items);
    let (keys, own) = (round.keys(h).inbound, round.committed(h).own_shares());
    OpenedShares::open(&round.attempt, h, &keys, own.as_ref(), cohort, &items)
}

fn core(round: &Round<'_>, i: u32) -> crate::Digest {
    commitment::core_of_commit(&round.attempt, i, &round.commits[&i]).unwrap()
}

fn envelope<'a>(
    round: &'a Round<'_>,
    (dealer, holder): (u32, u32),
    core: &'a crate::Digest,
) -> Envelope<'a> {
    Envelope {
        attempt: &round.attempt,
        dealer,
        holder,
        nonce: &round.commits[&dealer].nonce,
        core,
    }
}

#[test]
fn t22_a_truncated_share_does_not_open_and_no_share_of_its_dealer_is_released() {
    let world = World::new(7);
    let (round, cohort) = seven(&world);
    let (keys, core) = (round.keys(1), core(&round, 3));
    let whole = round.commits[&3].ciphertexts[1].unwrap();
    let open = |bytes: &[u8]| {
        let sealed = envelope(&round, (3, 1), &core);
        sealed.open(keys.inbound.get(3).unwrap(), bytes).unwrap()
    };
    assert!(open(&whole).is_some(), "the control");
    assert!((0..whole.len()).all(|length| open(&whole[..length]).is_none()));
    assert!((1..whole.len()).all(|from| open(&whole[from..]).is_none()));
    assert!(open(&[&whole[..], &[0]].concat()).is_none());

    let cut = opened(&round, 1, &cohort, |items| items[3].ciphertext = None).unwrap();
    let items = round.items(&cohort, 0..7);
    let proposal = round.propose(&cohort, &items).unwrap();
    let judged = round.idle(1).judge(&cohort, &cut, &proposal, &items, None);
    let attested = round.idle(1).attest(judged.unwrap());
    assert_eq!(
        attested.attestation(round.identity(1)).complaints,
        Bitmap::of(7, [3])
    );
    let certificate = kit::certificate_of(
        &(0..7)
            .map(|h| {
                round
                    .blind(h, &cohort, &proposal)
                    .attestation(round.identity(h))
            })
            .collect::<Vec<_>>(),
    );
    let released = round.release(attested, &certificate).unwrap();
    let list = released.unmask(round.identity(1), &cut).unwrap();
    assert_eq!(list.scalar(3), None);
    assert_eq!(list.present.count(), 6);
}

/// A dealer that seals for all holders with the key of one: that one, corrupt, opens what the coordinator forwards to it.
#[test]
fn t22_without_a_key_for_each_holder_a_corrupt_one_opens_every_share() {
    let world = World::new(7);
    let (mut round, cohort) = seven(&world);
    let (corrupt, of_victim) = (6, core(&round, VICTIM));
    let key = |round: &Round<'_>| round.keys(corrupt).inbound.get(VICTIM).unwrap().duplicate();
    for h in 1..6 {
        assert!(round.try_open(VICTIM, h, &key(&round)).is_none(), "for {h}");
    }
    let dealt = Dealer::honest(&round, VICTIM).dealt;
    let one_key = |pair: &[u8; 64]| {
        let sealed = envelope(&round, (VICTIM, corrupt), &of_victim);
        sealed.seal(&key(&round), pair).unwrap()
    };
    let ciphertexts: Vec<_> = dealt.iter().map(|pair| Some(one_key(pair))).collect();
    round.commits.get_mut(&VICTIM).unwrap().ciphertexts = ciphertexts;
    let open = |x: u32| {
        let forwarded = round.commits[&VICTIM].ciphertexts[x as usize - 1].unwrap();
        let sealed = envelope(&round, (VICTIM, corrupt), &of_victim);
        (
            x,
            pair(&sealed.open(&key(&round), &forwarded).unwrap().unwrap()),
        )
    };
    let secrets = joined_pairs((2..7).map(open));
    assert_eq!(
        round.exposed(VICTIM, &cohort, &secrets),
        round.hidden(VICTIM)
    );
}

/// What a holder finds when it asks for the dealer's Commit.
fn asked(round: &Round<'_>, h: u32, dealer: u32, record: &Commit) -> Result<(), Error> {
    let keys = round.keys(h).inbound;
    WrongShare::reveal(&round.attempt, h, &keys, dealer, record).map(drop)
}

#[test]
fn t23_a_dropped_or_altered_ciphertext_is_complained_about_and_the_signed_commit_names_the_liar() {
    let world = World::new(7);
    let (mut round, cohort) = seven(&world);
    let changes: [fn(&mut Vec<ShareItem>); 3] = [
        |items| items[3].ciphertext = None,
        |items| items[3].ciphertext.as_mut().unwrap()[79] ^= 1,
        |items| items[3].ciphertext = Some([7; 80]),
    ];
    let items = round.items(&cohort, 0..7);
    let proposal = round.propose(&cohort, &items).unwrap();
    for change in changes {
        let opened = opened(&round, 1, &cohort, change).unwrap();
        let verdict = round
            .idle(1)
            .judge(&cohort, &opened, &proposal, &items, None);
        let attested = round.idle(1).attest(verdict.unwrap());
        let said = attested.attestation(round.identity(1));
        assert_eq!(
            said.complaints,
            Bitmap::of(7, [3]),
            "it stands in the attestation"
        );
        let digest = proposal.digest();
        assert!(coordinator::check_attestation(&round.attempt, &digest, 1, &said).is_ok());
    }
    let record = round.commits[&3].clone();
    assert_eq!(
        asked(&round, 1, 3, &record),
        Err(Fault::Root("share item").by_coordinator()),
        "the dealer signed other bytes, which open: the coordinator altered them"
    );
    let mut altered = record;
    altered.ciphertexts[1] = Some([7; 80]);
    assert_eq!(
        asked(&round, 1, 3, &altered),
        Err(Fault::Signature("commit record").by_coordinator()),
        "the dealer did not sign these"
    );
    sign_again(&round, 3, &mut altered);
    assert_eq!(
        asked(&round, 1, 3, &altered),
        Err(Fault::Context("share key").by(3)),
        "it did sign them, and they do not open: the dealer's"
    );
    round.commits.insert(3, altered);
    let cohort = round.cohort();
    let complained = opened(&round, 1, &cohort, |_| ()).unwrap();
    assert_eq!(*complained.complaints(), Bitmap::of(7, [3]));
}

/// Holders that give a key away for any share they complained about: the coordinator alters five, and opens the genuine ones.
#[test]
fn t23_without_asking_for_the_signed_commit_complaints_give_both_secrets_away() {
    let world = World::new(7);
    let (round, cohort) = seven(&world);
    let of_victim = core(&round, VICTIM);
    let complain = |h: u32| {
        let complained = opened(&round, h, &cohort, |items| {
            items[0].ciphertext = Some([7; 80]);
        });
        assert_eq!(*complained.unwrap().complaints(), Bitmap::of(7, [VICTIM]));
        let sealed = envelope(&round, (VICTIM, h), &of_victim);
        let k_share = sealed.key(round.keys(h).inbound.get(VICTIM).unwrap());
        let genuine = round.commits[&VICTIM].ciphertexts[h as usize].unwrap();
        let plain = channel::open(&k_share.unwrap(), &sealed.aad().unwrap().0, &genuine);
        (h + 1, pair(&plain.unwrap()))
    };
    let secrets = joined_pairs((1..6).map(complain));
    assert_eq!(
        round.exposed(VICTIM, &cohort, &secrets),
        round.hidden(VICTIM)
    );
}

/// Two holders that release what a corrupt dealer dealt them, unseen: honest, they are taken for liars, and convicted.
#[test]
fn t29_without_the_comparison_honest_holders_are_convicted_in_the_dealers_place() {
    let world = World::new(7);
    let mut round = world.open();
    round.commit((0..7).filter(|i| *i != 3));
    let mut dealer = Dealer::honest(&round, 3);
    let garbage = *round.dealing(1).f_b.share(1).expose();
    for pair in &mut dealer.dealt[..2] {
        pair[..32].copy_from_slice(&garbage);
    }
    let commit = dealer.commit(&round);
    round.commits.insert(3, commit);
    let cohort = round.cohort();
    assert_eq!(
        *round.opened(0, &cohort).unwrap().complaints(),
        Bitmap::of(7, [3])
    );

    let items = round.items(&cohort, 0..7);
    let (proposal, mut lists) = round.lists(&cohort, &items);
    for h in [0, 1] {
        let mut list = lists.remove(&h).unwrap();
        list.present.insert(3);
        list.scalars.insert(3, garbage);
        round.resign(h, &mut list);
        lists.insert(h, list);
    }
    let survivors = &proposal.survivors;
    let unmasked =
        coordinator::unmask(&round.attempt, &cohort, survivors, &round.commits, &lists).unwrap();
    assert_eq!(unmasked.liars, [0, 1].into(), "who believed the dealer");
    let cores: Vec<_> = (0..7).map(|i| core(&round, i)).collect();
    let proof = Evidence::WrongScalar(WrongScalar {
        attempt: Arc::clone(&round.attempt),
        dealer: 3,
        commit: round.commits[&3].clone(),
        core_path: Tree::Cohort.path(&cores, 3).unwrap(),
        cohort,
        proposal,
        list: lists[&0].clone(),
    });
    assert!(proof.verify().is_ok());
}

/// One holder, corrupt, complains about every honest site but the victim.
#[test]
fn t29a_without_the_bound_one_liar_excludes_every_honest_dealer() {
    let world = World::new(7);
    let (round, cohort) = seven(&world);
    let items = round.items(&cohort, 0..7);
    let proposal = round.propose(&cohort, &items).unwrap();
    let attest = |h| {
        let mut verdict = round.judge(h, &cohort, &proposal, &items).unwrap();
        if h == 6 {
            (1..5).for_each(|accused| verdict.complaints.insert(accused));
        }
        round.idle(h).attest(verdict).attestation(round.identity(h))
    };
    let said: Vec<_> = (0..7).map(attest).collect();
    assert_eq!(
        coordinator::recoverability(&round.attempt, &cohort, said.iter()),
        Recoverability::Given
    );
    let accused = |dealer: &u32| said.iter().any(|a| a.complaints.contains(*dealer));
    let left: Vec<u32> = (0..7).filter(|dealer| !accused(dealer)).collect();
    assert_eq!(left, [VICTIM, 5, 6], "the victim among corrupt sites");
}

const COPIER: u32 = 4;

/// The victim's Commit under the copier's name, with the two entries moved that would give it away at once.
fn copy(round: &Round<'_>) -> Commit {
    let mut copied = round.commits[&VICTIM].clone();
    copied.ciphertexts.swap(VICTIM as usize, COPIER as usize);
    copied
}

#[test]
fn t39_a_copied_commit_is_not_signed_and_signed_again_it_opens_for_nobody() {
    let world = World::new(7);
    let (mut round, _) = seven(&world);
    let check = |commit: &Commit| coordinator::check_commit(&round.attempt, COPIER, commit);
    let refused = |fault: Fault| Err(fault.by(COPIER));
    assert_eq!(
        check(&round.commits[&VICTIM]),
        refused(Fault::Order("ciphertexts"))
    );
    let mut copied = copy(&round);
    assert_eq!(check(&copied), refused(Fault::Signature("mask key")));
    sign_again(&round, COPIER, &mut copied);
    assert!(check(&copied).is_ok(), "alone nothing is wrong with it");
    round.commits.insert(COPIER, copied);

    let cohort = round.cohort();
    let masked = round.masking(1, &cohort).map(drop);
    assert_eq!(masked, Err(Fault::Duplicate("mask key").by_coordinator()));
    let (theirs, of_copier) = (core(&round, VICTIM), core(&round, COPIER));
    for h in [1, 2, 3, 5, 6] {
        let complaints = round.opened(h, &cohort).unwrap().complaints().clone();
        assert_eq!(complaints, Bitmap::of(7, [COPIER]), "holder {h}");
        let sealed = envelope(&round, (VICTIM, h), &theirs);
        let key = sealed
            .key(round.keys(h).inbound.get(VICTIM).unwrap())
            .unwrap();
        let ciphertext = round.commits[&COPIER].ciphertexts[h as usize].unwrap();
        let open = |aad: crate::Digest| channel::open(&key, &aad.0, &ciphertext).is_some();
        let named = envelope(&round, (COPIER, h), &of_copier);
        assert!(open(sealed.aad().unwrap()) && !open(named.aad().unwrap()));
    }
}

/// Holders that take shares for whomever the coordinator says: the victim survives, its copy drops out, and both secrets are released.
#[test]
fn t39_without_the_dealers_name_in_the_seal_a_copy_brings_out_both_secrets() {
    let world = World::new(7);
    let (mut round, _) = seven(&world);
    let mut copied = copy(&round);
    copied.e_pk = round.commits[&COPIER].e_pk;
    sign_again(&round, COPIER, &mut copied);
    round.commits.insert(COPIER, copied);
    let cohort = round.cohort();
    let items = round.items(&cohort, (0..7).filter(|i| *i != COPIER));
    let proposal = round.propose(&cohort, &items).unwrap();
    let as_said = |h: u32| {
        let list = round.freed(h, &cohort, &proposal);
        let b = SecretScalar::parse(list.scalar(VICTIM).unwrap()).unwrap();
        // the item says "dealer 4, who dropped out"; what is in it is the victim's
        let keys = round.keys(h).inbound;
        let [_, k] = round
            .try_open(VICTIM, h, keys.get(VICTIM).unwrap())
            .unwrap();
        (list.position, [b, k])
    };
    let secrets = joined_pairs([1, 2, 3, 5, 6].map(as_said));
    assert_eq!(
        round.exposed(VICTIM, &cohort, &secrets),
        round.hidden(VICTIM)
    );
}
