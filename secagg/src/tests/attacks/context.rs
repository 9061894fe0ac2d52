//! What a site is told, and what its secrets are bound to: run, roster, announcement, keys of its neighbours.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::context::{Attempt, Roster};
use crate::coordinator;
use crate::error::Fault;
use crate::holder::OpenedShares;
use crate::keys::ExchangeSecret;
use crate::mask::{Masks, self_seed};
use crate::message::{Announcement, Cohort, Commit, NeighbourKey};
use crate::params::{Params, RunConfig};
use crate::prg::{Prg, Sign};
use crate::ring;
use crate::shamir::Polynomial;
use crate::tests::kit::adversary::{MaskKeys, Values, join, joined, joined_pairs};
use crate::tests::kit::{self, Round, World};
use crate::{Bitmap, Certificate, Digest};

const VICTIM: u32 = 0;

/// The others are sent a model on which they can learn nothing: zeros. The coordinator knows every b, and adds everything up.
fn sum_of_a_crafted_model(ctx_of_victim: impl Fn(&Cohort) -> Digest) -> (Values, Values) {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    for i in 1..5 {
        round.updates[i].fill(0);
        round.metadata[i].fill(0);
    }
    let ctx = |i| {
        if i == VICTIM {
            ctx_of_victim(&cohort)
        } else {
            cohort.ctx()
        }
    };
    let upload = |i| {
        let masks = round.unchecked_masks(&ctx(i), i);
        (i, round.upload_masked_by(i, &ctx(i), &masks))
    };
    let own = |i| {
        let b = round.dealing(i).f_b;
        let seed = self_seed(&round.attempt, &ctx(i), i, b.secret()).unwrap();
        (Sign::Minus, seed)
    };
    let masks = Masks::new(Prg::Aes256Ctr, (0..5).map(own).collect());
    let sum = round.sum(&(0..5).map(upload).collect(), &Bitmap::full(5), &masks);
    (sum, round.hidden(VICTIM))
}

#[test]
fn t06_without_the_model_in_the_context_the_sum_of_a_crafted_model_is_the_victims_update() {
    let (sum, update) = sum_of_a_crafted_model(|cohort| {
        let ann_hash = Digest::of_bulk(b"another model's announcement");
        let members = cohort.members.clone();
        Cohort {
            ann_hash,
            members,
            ..*cohort
        }
        .ctx()
    });
    assert_ne!(
        sum, update,
        "its own model gives the victim its own context"
    );
    let (sum, update) = sum_of_a_crafted_model(Cohort::ctx);
    assert_eq!(sum, update);
}

/// Told of t = 2, a dealer shares on lines: the two corrupt holders have what takes five.
#[test]
fn t07_without_the_rule_for_t_the_corrupt_holders_open_both_secrets() {
    let world = World::new(7);
    let announcement = Announcement {
        threshold: 2,
        ..world.announcement()
    };
    let (what, have, need) = ("threshold", 2, 5);
    assert_eq!(
        Attempt::new(Arc::clone(&world.roster), announcement).map(drop),
        Err(Fault::Rule { what, have, need }.by_coordinator())
    );
    let mut round = world.open();
    let cohort = round.commit_all();
    let (dealing, other) = (round.dealing(VICTIM), round.dealing(1));
    let line = |f: &Polynomial| {
        let slope = other.f_b.secret().duplicate();
        Polynomial::new(vec![f.secret().duplicate(), slope])
    };
    let open = |f: &Polynomial| join(&[6, 7].map(|x| (x, line(f).share(x))));
    let secrets = [open(&dealing.f_b), open(&dealing.f_k)];
    assert_eq!(
        round.exposed(VICTIM, &cohort, &secrets),
        round.hidden(VICTIM)
    );
}

/// Members that sign whatever roster they are shown, whatever they signed before.
#[test]
fn t10_without_one_signature_per_epoch_two_rosters_are_certified() {
    let world = World::new(7);
    let advertised = world.sites.iter().map(|site| site.advertisement.clone());
    let mut fewer: Vec<_> = advertised.collect();
    fewer.remove(3);
    let fork = Roster::new(Arc::clone(world.roster.params()), 1, &fewer).unwrap();
    assert_ne!(fork.ctx(), world.roster.ctx());
    for roster in [&fork, &world.roster] {
        let confirmed = world
            .sites
            .iter()
            .filter_map(|site| roster.confirm(&site.identity).ok());
        let certificate = Certificate {
            digest: roster.ctx(),
            signatures: confirmed.map(|c| (c.index, c.signature)).collect(),
        };
        assert!(certificate.certify_roster(roster).is_ok());
    }
}

/// A roster in which every channel key but the victim's is the coordinator's, signed as if a site's word were not asked for.
#[test]
fn t12_without_the_advertisements_signature_the_coordinator_opens_every_share() {
    let taken = World::keyed(kit::identities(7), kit::config(7), 1, |k| match k {
        0 => kit::seed("the victim's own", 0),
        k => kit::seed("the coordinator's", k),
    });
    let mut round = taken.open();
    let cohort = round.commit_all();
    let open = |h: u32| {
        let keys = taken.site(h).channels.advance(&round.attempt, h).unwrap().1;
        let pair = round.try_open(VICTIM, h, keys.inbound.get(VICTIM).unwrap());
        (round.attempt.position(h).unwrap(), pair.unwrap())
    };
    let secrets = joined_pairs((1..6).map(open));
    assert_eq!(
        round.exposed(VICTIM, &cohort, &secrets),
        round.hidden(VICTIM)
    );
}

/// The victim masks with `keys` and everything else is honest: its b is released, and the keys take off the rest.
fn masked_with(round: &Round<'_>, cohort: &Cohort, keys: &MaskKeys) -> Values {
    let ctx = cohort.ctx();
    let public: Vec<_> = keys.iter().map(|(i, key)| (*i, key.public())).collect();
    let masks = round.masks_with(&ctx, VICTIM, &public);
    let upload = || round.upload_masked_by(VICTIM, &ctx, &masks);
    let mut items = round.items(cohort, 1..7);
    items.insert(0, upload().item);
    let (_, lists) = round.lists(cohort, &items);
    let b = joined(lists.values(), VICTIM);
    round.without_masks(VICTIM, (&ctx, upload()), &b, keys)
}

#[test]
fn t13_without_signed_mask_keys_the_coordinators_own_leave_nothing_hidden() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let own = |i: u32| {
        let secret = ExchangeSecret::new(&kit::seed("the coordinator's mask key", i.into()));
        (i, secret)
    };
    let keys = (1..7).map(own).collect();
    assert_eq!(masked_with(&round, &cohort, &keys), round.hidden(VICTIM));
}

/// What a released round revealed of two sites that dropped out of it.
fn revealed(round: &mut Round<'_>, dropped: [u32; 2]) -> MaskKeys {
    let cohort = round.commit_all();
    let items = round.items(&cohort, (0..7).filter(|i| !dropped.contains(i)));
    let (_, lists) = round.lists(&cohort, &items);
    let rescue = |i| (i, round.rescued(i, &joined(lists.values(), i)));
    dropped.map(rescue).into_iter().collect()
}

#[test]
fn t14_a_commit_of_an_older_attempt_fits_nothing_of_a_newer_one() {
    let world = World::new(7);
    let mut old = world.open();
    old.commit_all();
    let mut new = world.open_changed(|a| a.seq = 2);
    let cohort = new.commit_all();
    let replayed = old.commits[&1].clone();
    let check = |commit: &Commit| coordinator::check_commit(&new.attempt, 1, commit);
    assert_eq!(check(&replayed), Err(Fault::Context("announcement").by(1)));
    let mut relabelled = replayed.clone();
    relabelled.ann_hash = new.attempt.hash();
    assert_eq!(check(&relabelled), Err(Fault::Signature("mask key").by(1)));
    relabelled.sig_maskkey = new.commits[&1].sig_maskkey;
    assert_eq!(check(&relabelled), Err(Fault::Signature("mask key").by(1)));

    let mut near = coordinator::neighbourhood(&new.attempt, &new.commits, 0).unwrap();
    near.keys[0] = NeighbourKey {
        index: 1,
        nonce: replayed.nonce,
        e_pk: replayed.e_pk,
        sig_maskkey: replayed.sig_maskkey,
    };
    let masked = new.committed(0).accept(&cohort, &near).map(drop);
    assert_eq!(masked, Err(Fault::Signature("mask key").by_coordinator()));

    // Once the coordinator has taken it into the cohort all the same, no holder can open it.
    new.commits.insert(1, replayed);
    let cohort = new.cohort();
    for h in [0, 2, 3, 4, 5, 6] {
        let opened: OpenedShares = new.opened(h, &cohort).unwrap();
        assert_eq!(*opened.complaints(), Bitmap::of(7, [1]), "holder {h}");
    }
}

/// Keys that two earlier rounds revealed, replayed to the victim as its neighbours' keys of a third.
#[test]
fn t14_without_the_announcement_under_mask_keys_revealed_ones_come_back() {
    let world = World::new(7);
    let mut keys = revealed(&mut world.open(), [1, 2]);
    let mut second = world.open_changed(|a| (a.round, a.seq) = (2, 2));
    keys.append(&mut revealed(&mut second, [3, 4]));
    let mut third = world.open_changed(|a| (a.round, a.seq) = (3, 3));
    let cohort = third.commit_all();
    keys.extend([5, 6].map(|corrupt| (corrupt, third.dealing(corrupt).mask_key)));
    assert_eq!(masked_with(&third, &cohort, &keys), third.hidden(VICTIM));
}

type Change = fn(&mut RunConfig);

/// What a coordinator might offer to be rid of the masks.
const DOWNGRADES: [(&str, Change); 9] = [
    ("protocol_version", |c| c.protocol_version = 0),
    ("protocol_version", |c| c.protocol_version = 2),
    ("profile", |c| c.profile = 1),
    ("masking", |c| c.masking = 1),
    ("masking", |c| c.masking = 0xff),
    ("prg", |c| c.prg = 2),
    ("v", |c| c.v = 1),
    ("v", |c| c.v = 3),
    ("m", |c| c.m = 1),
];

#[test]
fn t25_a_run_of_another_version_keystream_or_without_masks_is_refused() {
    let world = World::new(5);
    let mut round = world.open();
    round.commit_all();
    for (field, change) in DOWNGRADES {
        let mut config = kit::config(5);
        change(&mut config);
        assert_eq!(Params::new(config).unwrap_err().field, field);
    }
    let honest = world.params();
    let signature = honest.sign(&kit::coordinator());
    let allowed: [Change; 2] = [|c| (c.v, c.m) = (c.v + 1, c.m + 1), |c| c.prg = 1];
    for change in allowed {
        let mut other = kit::config(5);
        change(&mut other);
        let offered = Params::new(other).unwrap();
        assert!(honest.verify(&signature) && !offered.verify(&signature));
        let refused = Roster::new(
            Arc::new(offered),
            1,
            &vec![world.site(0).advertisement.clone(); 5],
        );
        assert_eq!(
            refused.map(drop),
            Err(Fault::Context("run").by_coordinator()),
            "and no advertisement made under one configuration serves another"
        );
    }
}

#[test]
fn t25_without_the_bounds_masking_is_off_and_an_upload_is_the_update() {
    let world = World::new(5);
    let mut round = world.open();
    let cohort = round.commit_all();
    let off = Masks::new(Prg::Aes256Ctr, Vec::new());
    let upload = round.upload_masked_by(VICTIM, &cohort.ctx(), &off);
    let (bits, mut seen) = (world.params().config().m, Vec::new());
    for (chunk, bytes) in (0..).zip(&upload.chunks) {
        let len = world.params().chunk_len(chunk);
        ring::unpack(bytes, bits, len, |_, value| {
            seen.push(ring::centred(value, bits))
        })
        .unwrap();
    }
    assert_eq!(seen, round.hidden(VICTIM).0);
    let uploads = BTreeMap::from([(VICTIM, upload)]);
    let alone = Bitmap::of(5, [VICTIM]);
    assert_eq!(round.sum(&uploads, &alone, &off), round.hidden(VICTIM));
}
