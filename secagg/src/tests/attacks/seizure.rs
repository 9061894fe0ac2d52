//! Sites that are seized: what their state opens of what was recorded on the wire.

use crate::channel::{Channels, PairKeys, RoundKeys};
use crate::coordinator;
use crate::holder::OpenedShares;
use crate::keys::Seed;
use crate::tests::kit::adversary::joined_pairs;
use crate::tests::kit::{Round, World};
use crate::{Bitmap, Digest};

/// Attempts `seqs` of one round, all recorded: Commits are what goes over the wire.
fn recorded<'w>(world: &'w World, seqs: impl IntoIterator<Item = u64>) -> Vec<Round<'w>> {
    let open = |seq| {
        let mut round = world.open_changed(|a| a.seq = seq);
        round.commit_all();
        round
    };
    seqs.into_iter().map(open).collect()
}

/// What a site holds: its chains, and the round keys that are not erased yet.
struct Site {
    me: u32,
    chains: Channels,
    kept: Vec<PairKeys>,
}

impl Site {
    fn new(world: &World, me: u32) -> Self {
        let stored = world.site(me).channels.to_secret_bytes();
        Self {
            me,
            chains: Channels::from_secret_bytes(&stored).unwrap(),
            kept: Vec::new(),
        }
    }

    /// Takes part in an attempt; what is to be kept of its round keys is the caller's to say.
    fn advance(&mut self, round: &Round<'_>) -> RoundKeys {
        let (chains, keys) = self.chains.advance(&round.attempt, self.me).unwrap();
        self.chains = chains;
        keys
    }

    /// Every key with `other` that can be had from this state: stored ones, chains as they are, and all that follow from them.
    fn keys_with(&self, other: u32, later: &[Round<'_>]) -> Vec<Seed> {
        let stored = self.kept.iter().filter_map(|keys| keys.get(other));
        let mut all: Vec<_> = stored.map(Seed::duplicate).collect();
        all.push(self.chains.chain(other).unwrap().duplicate());
        for round in later {
            if let Ok((chains, keys)) = self.chains.advance(&round.attempt, self.me) {
                let both = [keys.inbound.get(other), keys.outbound.get(other)];
                all.extend(both.into_iter().flatten().map(Seed::duplicate));
                all.push(chains.chain(other).unwrap().duplicate());
            }
        }
        all
    }

    /// (dealer, holder) of every recorded ciphertext of `round` that this state opens.
    fn opens(&self, round: &Round<'_>, later: &[Round<'_>]) -> Vec<(u32, u32)> {
        let n = round.world.roster.len();
        let mut open = Vec::new();
        for other in (0..n).filter(|other| *other != self.me) {
            let keys = self.keys_with(other, later);
            let pairs = [(self.me, other), (other, self.me)];
            open.extend(pairs.into_iter().filter(|(dealer, holder)| {
                keys.iter()
                    .any(|key| round.try_open(*dealer, *holder, key).is_some())
            }));
        }
        open.sort_unstable();
        open
    }
}

/// All of it, to and from `me`.
fn everything(me: u32, n: u32) -> Vec<(u32, u32)> {
    let others = (0..n).filter(|other| *other != me);
    let mut all: Vec<_> = others
        .flat_map(|other| [(me, other), (other, me)])
        .collect();
    all.sort_unstable();
    all
}

#[test]
fn t52_recorded_ciphertexts_do_not_open_with_all_state_of_a_later_attempt() {
    let world = World::new(5);
    let rounds = recorded(&world, 1..=4);
    let mut seized: Vec<_> = (0..5).map(|me| Site::new(&world, me)).collect();
    for site in &mut seized {
        site.advance(&rounds[0]); // erased: the attempt is over
        let keys = site.advance(&rounds[1]);
        site.kept = vec![keys.inbound, keys.outbound]; // in the middle of attempt 2
    }
    for site in &seized {
        let opens = |of: usize| site.opens(&rounds[of], &rounds);
        assert_eq!(opens(0), [], "site {}", site.me);
        assert_eq!(
            opens(1),
            everything(site.me, 5),
            "the control: what it still needs"
        );
        assert_eq!(
            opens(3),
            everything(site.me, 5),
            "the control: what is to come"
        );
    }
}

#[test]
fn t52_without_erasure_a_seized_site_opens_what_was_recorded() {
    let world = World::new(5);
    let rounds = recorded(&world, 1..=2);
    let mut keeps_keys = Site::new(&world, 1);
    let of_first = keeps_keys.advance(&rounds[0]);
    keeps_keys.kept = vec![of_first.inbound, of_first.outbound];
    keeps_keys.advance(&rounds[1]);
    assert_eq!(keeps_keys.opens(&rounds[0], &rounds), everything(1, 5));
    let keeps_chains = Site::new(&world, 1);
    assert_eq!(keeps_chains.opens(&rounds[0], &rounds), everything(1, 5));
}

/// A state of before the attempt, used once more: the keys that were erased are back, under the same number.
#[test]
fn t56_without_the_rule_that_numbers_only_grow_erased_keys_come_back() {
    let world = World::new(5);
    let rounds = recorded(&world, 1..=2);
    let mut site = Site::new(&world, 1);
    let backup = site.chains.to_secret_bytes();
    let keys = site.advance(&rounds[0]);
    assert!(site.chains.advance(&rounds[0].attempt, 1).is_err());
    let restored = Channels::from_secret_bytes(&backup).unwrap();
    let (_, again) = restored.advance(&rounds[0].attempt, 1).unwrap();
    assert_eq!(
        *keys.inbound.to_secret_bytes(),
        *again.inbound.to_secret_bytes()
    );
    drop(keys);
    site.kept = vec![again.inbound];
    assert_eq!(
        site.opens(&rounds[0], &[]).len(),
        4,
        "all that was dealt to it"
    );
}

/// n = L = t = 3 and one holder whose own pair went with its seed: nobody else has it.
#[test]
fn t59_without_its_own_pair_on_record_a_restarted_holder_loses_the_round() {
    let world = World::new(3);
    let mut round = world.open();
    let cohort = round.commit_all();
    let items = round.items(&cohort, 0..3);
    let proposal = round.propose(&cohort, &items).unwrap();
    let share_items = coordinator::share_items(&round.attempt, &round.commits, 1).unwrap();
    let inbound = round.keys(1).inbound;
    let opened = OpenedShares::open(&round.attempt, 1, &inbound, None, &cohort, &share_items);
    let opened = opened.unwrap();
    let restarted = round
        .idle(1)
        .judge(&cohort, &opened, &proposal, &items, None);
    let said = [0, 2]
        .map(|h| round.attest(h, &cohort, &proposal, &items))
        .into_iter()
        .chain([round.idle(1).attest(restarted.unwrap())])
        .zip([0, 2, 1])
        .map(|(attested, h)| attested.attestation(round.identity(h)));
    let said: Vec<_> = said.collect();
    assert_eq!(
        said[2].complaints,
        Bitmap::of(3, [1]),
        "it complains about itself"
    );
    assert_eq!(
        coordinator::recoverability(&round.attempt, &cohort, said.iter()),
        coordinator::Recoverability::Convicted { dealers: vec![1] }
    );
}

/// A holder that released in attempt 5 and was never acknowledged, then took part in 6 and 7 and was seized.
fn released_in_five(
    world: &World,
    keep: impl Fn(RoundKeys) -> Vec<PairKeys>,
) -> (Site, Vec<Round<'_>>) {
    let rounds = recorded(world, 4..=8);
    let mut site = Site::new(world, 1);
    for round in &rounds[..4] {
        let keys = site.advance(round);
        if round.attempt.announcement().seq == 5 {
            site.kept = keep(keys);
        }
    }
    (site, rounds)
}

#[test]
fn t67_of_all_past_attempts_a_seized_holder_opens_only_what_it_was_dealt_in_the_open_one() {
    let world = World::new(5);
    let (site, rounds) = released_in_five(&world, |keys| vec![keys.inbound]);
    let to_this_holder: Vec<_> = [0, 2, 3, 4].map(|dealer| (dealer, 1)).into();
    for (seq, round) in (4..8).zip(&rounds) {
        let expected = if seq == 5 { &to_this_holder[..] } else { &[] };
        assert_eq!(site.opens(round, &rounds), expected, "attempt {seq}");
    }
    let ctx: Digest = rounds[1].cohort().ctx();
    assert_ne!(ctx, rounds[2].cohort().ctx());
}

/// With the keys it sealed with, what it dealt opens too: both its secrets, and its own update.
#[test]
fn t67_without_erasing_the_outbound_keys_the_seized_sites_own_update_is_exposed() {
    let world = World::new(5);
    let (site, rounds) = released_in_five(&world, |keys| vec![keys.inbound, keys.outbound]);
    let of_five = &rounds[1];
    assert_eq!(site.opens(of_five, &rounds), everything(1, 5));
    let dealt = |h: u32| {
        let pair = of_five.try_open(1, h, site.kept[1].get(h).unwrap());
        (h + 1, pair.unwrap())
    };
    let secrets = joined_pairs([0, 2, 3, 4].map(dealt));
    let cohort = of_five.cohort();
    assert_eq!(of_five.exposed(1, &cohort, &secrets), of_five.hidden(1));
}
