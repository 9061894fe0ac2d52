//! What a finished session leaves in memory: nothing.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this test reads the memory of its own process, which the system shows as a file"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hint::black_box;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use zeroize::Zeroize as _;

use super::kit::{World, seed};
use crate::channel::{Channels, PairKeys};
use crate::coordinator;
use crate::holder::OpenedShares;
use crate::keys::Seed;
use crate::participant::{Committed, Masking, OwnShares};

/// Pieces of secrets to look for, each byte changed so that the list itself is not found.
#[derive(Default)]
struct Wanted {
    beginning: BTreeMap<[u8; 2], Vec<(&'static str, Vec<u8>)>>,
}

const VEIL: u8 = 0xa5;
/// Bytes of a piece: an allocator writes its own notes over the beginning of what is freed.
const HALF: usize = 16;
/// Bytes of memory that are read at once.
const BLOCK: usize = 1 << 20;

impl Wanted {
    fn note(&mut self, what: &'static str, secret: &[u8]) {
        for half in secret.chunks(HALF) {
            let piece: Vec<u8> = half.iter().map(|byte| byte ^ VEIL).collect();
            let same = self.beginning.entry([piece[0], piece[1]]).or_default();
            same.push((what, piece));
        }
    }

    fn names(&self) -> Vec<&'static str> {
        let all = self.beginning.values().flatten();
        let names: BTreeSet<_> = all.map(|(what, _)| *what).collect();
        names.into_iter().collect()
    }

    /// Names of those that lie somewhere in this process's writable memory.
    fn found(&self) -> Vec<&'static str> {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mut memory = fs::File::open("/proc/self/mem").unwrap();
        let found: BTreeSet<&str> = maps
            .lines()
            .filter_map(writable)
            .flat_map(|(from, to)| self.within(&mut memory, from, to))
            .collect();
        found.into_iter().collect()
    }

    /// A block overlaps the next by one piece, so that none is missed on a border.
    fn within(&self, memory: &mut fs::File, from: u64, to: u64) -> Vec<&'static str> {
        let (mut block, mut found) = (vec![0; BLOCK], Vec::new());
        for start in (from..to).step_by(BLOCK - HALF) {
            let size = usize::try_from(to - start).unwrap().min(BLOCK);
            memory.seek(SeekFrom::Start(start)).unwrap();
            if memory.read_exact(&mut block[..size]).is_ok() {
                found.extend(self.inside(&block[..size]));
            }
            block[..].zeroize();
        }
        found
    }

    fn inside(&self, block: &[u8]) -> BTreeSet<&'static str> {
        let mut found = BTreeSet::new();
        for window in block.windows(HALF) {
            let first = [window[0] ^ VEIL, window[1] ^ VEIL];
            for (what, piece) in self.beginning.get(&first).into_iter().flatten() {
                if window.iter().zip(piece).all(|(a, b)| a ^ VEIL == *b) {
                    found.insert(*what);
                }
            }
        }
        found
    }
}

fn writable(line: &str) -> Option<(u64, u64)> {
    let (range, rest) = line.split_once(' ')?;
    let (from, to) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    rest.starts_with("rw")
        .then_some((number(from)?, number(to)?))
}

/// Overwrites what returned calls left on this thread's stack, as the next calls would.
#[inline(never)]
fn overwrite_stack() {
    black_box(&mut [0u8; 1 << 20]);
}

/// Everything secret that a site has in its hands during an attempt.
struct Session {
    _seed: Seed,
    _chains: Channels,
    _keys: [PairKeys; 4],
    _own: OwnShares,
    _masking: Masking,
    _opened: OpenedShares,
}

#[inline(never)]
fn session(world: &World, wanted: &mut Wanted) -> Session {
    let mut round = world.open();
    let cohort = round.commit_all();
    let secret = seed("attempt", 0);
    wanted.note("seed", secret.expose());
    let committed = Committed::new(Arc::clone(&round.attempt), 0, &secret).unwrap();
    let dealing = &committed.dealing;
    wanted.note("e", dealing.mask_key.expose());
    wanted.note("b", dealing.f_b.secret().expose());
    wanted.note("K", dealing.f_k.secret().expose());
    let (chains, keys) = world.site(0).channels.advance(&round.attempt, 0).unwrap();
    for other in 1..world.roster.len() {
        wanted.note(
            "inbound round key",
            keys.inbound.get(other).unwrap().expose(),
        );
        wanted.note(
            "outbound round key",
            keys.outbound.get(other).unwrap().expose(),
        );
    }
    let [inbound, outbound] = [&keys.inbound, &keys.outbound].map(restored);
    let chains = Channels::from_secret_bytes(&chains.to_secret_bytes()).unwrap();
    for other in 1..world.roster.len() {
        wanted.note("chain key", chains.chain(other).unwrap().expose());
    }
    let own = committed.own_shares().unwrap();
    let (b, k) = own.expose().split_at(32);
    wanted.note("own share of b", b);
    wanted.note("own share of K", k);
    let near = coordinator::neighbourhood(&round.attempt, &round.commits, 0).unwrap();
    let masking = committed.accept(&cohort, &near).unwrap();
    for (_, seed) in &masking.masks.0 {
        wanted.note("mask seed", seed.expose());
    }
    let items = coordinator::share_items(&round.attempt, &round.commits, 0).unwrap();
    let opened =
        OpenedShares::open(&round.attempt, 0, &inbound, Some(&own), &cohort, &items).unwrap();
    for [b, k] in opened.pairs.values() {
        wanted.note("opened share of b", b.expose());
        wanted.note("opened share of K", k.expose());
    }
    Session {
        _seed: secret,
        _chains: chains,
        _keys: [inbound, outbound, keys.inbound, keys.outbound],
        _own: own,
        _masking: masking,
        _opened: opened,
    }
}

/// Through sealed storage and back, as after a restart.
fn restored(keys: &PairKeys) -> PairKeys {
    PairKeys::from_secret_bytes(&keys.to_secret_bytes()).unwrap()
}

/// So many sites that every map and list of secrets has grown and split on the way.
#[test]
fn t51_a_finished_session_leaves_no_secret_in_memory() {
    let world = World::new(15);
    let mut wanted = Wanted::default();
    let alive = session(&world, &mut wanted);
    overwrite_stack();
    let mut kept = wanted.names();
    kept.retain(|name| !["e", "b", "K"].contains(name)); // gone as soon as the masks are derived
    assert_eq!(wanted.found(), kept, "the scan finds what is alive");
    drop(alive);
    overwrite_stack();
    assert_eq!(wanted.found(), [""; 0]);
}

/// The same scan after secrets that only went out of scope, in many small places as a list of them would.
#[test]
fn t51_without_erasure_what_was_dropped_is_found() {
    let mut wanted = Wanted::default();
    let secret = seed("dropped and not erased", 0);
    wanted.note("seed", secret.expose());
    let copies: Vec<Box<[u8; 32]>> = (0..256).map(|_| Box::new(*secret.expose())).collect();
    black_box(&copies);
    drop((copies, secret));
    overwrite_stack();
    assert_eq!(wanted.found(), ["seed"]);
}
